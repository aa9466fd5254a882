"""Processes: who waits for whom, and who gets whose children."""

import pytest

from doors.processes import processes
from finegrain.design import parse_design
from finegrain.lab.profile import read_profile
from finegrain.machine.simulated import SimulatedMachine
from finegrain.options import KernelOptions
from finegrain.replay.replay import Replay
from finegrain.workload import program as pr
from workload.synthetic import ANONYMOUS, Process, build

MS = 1_000_000  # ns
PS_PER_MS = 1_000_000_000


class Run:
    """One builder that runs hand-made processes from the beginning."""

    def __init__(self, *family, options=None):
        for process in family:
            process.do(pr.EXIT)
        program = build(list(family))
        self.machine = SimulatedMachine(sockets=1, cores=4, threads=1, memory=1 << 30, seed=1)
        self.replay = Replay(
            self.machine,
            [(1 << 20, 1 << 30, 0)],
            program,
            parse_design("head"),
            jobs=1,
            seed=1,
            stagger=False,
            options=options,
        )
        self.start = self.replay.prepare()

    def at(self, ms):
        self.machine.run(until=self.start + round(ms * PS_PER_MS))
        return [(number, parent) for _, number, parent in processes(self.machine)]

    def acquisitions(self, lock):
        """How often the lock was taken so far: {acquisition point: count}."""
        rows = read_profile(self.machine)
        return {row["site"]: row["acquisitions"] for row in rows if row["name"] == lock}

    def end(self):
        assert self.replay.kernel.audit()[1] == ""
        assert set(self.replay.drain().values()) == {0}


def root():
    process = Process(-1)
    process.exec()
    return process


def test_parent_waits_for_its_child():
    parent, child = root(), Process(0)
    parent.do(pr.FORK, 1)
    parent.do(pr.WAIT, 1)
    parent.do(pr.SLEEP, 5 * MS)
    child.do(pr.SLEEP, 2 * MS)
    run = Run(parent, child)
    assert run.at(1) == [(-1, None), (0, -1), (1, 0)]
    assert run.at(4) == [(-1, None), (0, -1)]  # the child has ended, the parent goes on
    assert run.replay.counts()["exits"] == 1
    run.end()


def test_wait_for_one_child_leaves_the_other():
    parent, slow, fast = root(), Process(0), Process(0)
    parent.do(pr.FORK, 1)
    parent.do(pr.FORK, 2)
    parent.do(pr.WAIT, 1)
    parent.do(pr.SLEEP, 9 * MS)
    slow.do(pr.SLEEP, 3 * MS)
    run = Run(parent, slow, fast)
    assert run.at(1) == [(-1, None), (0, -1), (1, 0)]
    assert run.replay.kernel.in_use()["processes"] == 4  # the fast one is a zombie: nobody waits for it
    run.at(4)
    assert run.replay.kernel.in_use()["processes"] == 3
    run.end()


def test_wait_for_nobody_returns():
    parent = root()
    parent.do(pr.WAIT, 0)
    parent.do(pr.SLEEP, 5 * MS)
    run = Run(parent)
    assert run.at(1) == [(-1, None), (0, -1)]
    run.end()


@pytest.mark.parametrize("way_out", ["exec", "exit"])
def test_vfork_holds_the_parent(way_out):
    parent, child = root(), Process(0)
    parent.do(pr.VFORK, 1)
    parent.do(pr.FORK, 2)
    parent.do(pr.SLEEP, 9 * MS)
    child.do(pr.SLEEP, 2 * MS)
    if way_out == "exec":
        child.exec()
        child.do(pr.SLEEP, 9 * MS)
    run = Run(parent, child, Process(0))
    run.at(1.5)
    assert (run.replay.counts()["vforks"], run.replay.counts()["forks"]) == (1, 1)  # 1: the builder's own
    maps_before = run.replay.kernel.in_use()["maps"]
    run.at(4)
    assert run.replay.counts()["forks"] == 2
    assert maps_before == 1
    assert run.replay.kernel.in_use()["maps"] == (2 if way_out == "exec" else 1)
    run.end()


def test_orphans_go_to_the_reaper():
    parent, child, grandchild = root(), Process(0), Process(1)
    parent.do(pr.FORK, 1)
    parent.do(pr.SLEEP, 20 * MS)
    child.do(pr.FORK, 2)
    child.do(pr.SLEEP, 1 * MS)
    grandchild.do(pr.SLEEP, 3 * MS)
    run = Run(parent, child, grandchild)
    assert run.at(0.8) == [(-1, None), (0, -1), (1, 0), (2, 1)]
    assert run.at(2) == [(-1, None), (0, -1), (2, -1)]
    assert run.at(6) == [(-1, None), (0, -1)]
    assert (
        run.replay.kernel.in_use()["processes"] == 3
    )  # the child is the root's zombie; the orphan was reaped
    run.end()


def test_root_is_started_again():
    parent = root()
    parent.do(pr.SLEEP, 1 * MS)
    run = Run(parent)
    run.at(10.5)
    assert 8 <= run.replay.counts()["exits"] <= 10
    run.end()


def test_end_of_a_process_gives_its_memory_back():
    parent, child = root(), Process(0)
    parent.do(pr.FORK, 1)
    parent.do(pr.SLEEP, 20 * MS)
    child.do(pr.SLEEP, 1 * MS)
    child.do(pr.MMAP, 0x10000000, 300 * 4096, ANONYMOUS)
    for i in range(300):
        child.touch(0x10000000 + i * 4096)
    child.do(pr.SLEEP, 2 * MS)
    run = Run(parent, child)
    run.at(0.9)
    before = run.replay.kernel.in_use()["pages"]
    run.at(2.7)
    assert run.replay.kernel.in_use()["pages"] >= before + 300
    run.at(8)
    assert run.replay.kernel.in_use()["pages"] < before
    run.end()


def test_a_waiting_parent_looks_at_every_child_each_time():
    parent, *children = root(), Process(0), Process(0), Process(0)
    for i in (1, 2, 3):
        parent.do(pr.FORK, i)
    parent.do(pr.WAIT, 1)
    parent.do(pr.SLEEP, 9 * MS)
    children[0].do(pr.SLEEP, 3 * MS)
    children[1].do(pr.SLEEP, 5 * MS)
    children[2].do(pr.SLEEP, 5 * MS)
    run = Run(parent, *children)
    run.at(1)
    looked = run.acquisitions("process lock")["proc_to_reap"]
    run.at(4)
    assert run.acquisitions("process lock")["proc_to_reap"] == looked + 3  # the first is last
    assert run.acquisitions("pidhash")["proc_reap"] == 1
    assert run.acquisitions("process group")["leavepgrp"] == 1
    run.end()


def test_locks_of_an_exit_with_a_child():
    parent, child, grandchild = root(), Process(0), Process(1)
    parent.do(pr.FORK, 1)
    parent.do(pr.SLEEP, 9 * MS)
    child.do(pr.FORK, 2)
    child.do(pr.SLEEP, 1 * MS)
    grandchild.do(pr.SLEEP, 5 * MS)
    run = Run(parent, child, grandchild)
    run.at(1)
    assert "exit1/child" not in run.acquisitions("process lock")
    run.at(3)
    assert run.acquisitions("process lock")["exit1/child"] == 2  # the grandchild's and its new parent's
    assert run.acquisitions("sigacts") == {"exit1": 1, "childproc_exited": 1}
    assert run.acquisitions("session") == {"fork1": 3}
    run.end()


def test_all_processes_are_listed():
    parent, child = root(), Process(0)
    parent.do(pr.FORK, 1)
    parent.do(pr.SLEEP, 70 * MS)
    child.do(pr.SLEEP, 70 * MS)
    run = Run(parent, child, options=KernelOptions(listings_per_s=100))
    run.at(12)
    before, listed = run.acquisitions("process lock")["proc_iterate"], run.replay.counts()["listings"]
    walked = run.acquisitions("pidhash")["proc_iterate"]
    read = run.acquisitions("vm map (user)")["vm_map_lookup"]
    run.at(52)
    listed = run.replay.counts()["listings"] - listed
    assert listed == 4
    assert run.acquisitions("process lock")["proc_iterate"] - before == 3 * listed
    assert run.acquisitions("pidhash")["proc_iterate"] - walked == 256 * listed
    assert run.acquisitions("vm map (user)")["vm_map_lookup"] - read == 2 * 3 * listed  # no reaper's
    run.end()


def test_nobody_lists_processes_unless_asked():
    run = Run(root())
    run.at(30)
    assert run.replay.counts()["listings"] == 0
    assert "proc_iterate" not in run.acquisitions("proctree")
    run.end()
