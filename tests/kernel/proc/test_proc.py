"""Processes: who waits for whom, and who gets whose children."""

import pytest

from doors.processes import processes
from finegrain.design import parse_design
from finegrain.machine.simulated import SimulatedMachine
from finegrain.replay.replay import Replay
from finegrain.workload import program as pr
from workload.synthetic import ANONYMOUS, Process, build

MS = 1_000_000  # ns
PS_PER_MS = 1_000_000_000


class Run:
    """One builder that runs hand-made processes from the beginning."""

    def __init__(self, *family):
        for process in family:
            process.do(pr.EXIT)
        program = build(list(family))
        self.machine = SimulatedMachine(sockets=1, cores=4, threads=1, memory=1 << 30, seed=1)
        self.replay = Replay(self.machine, program, parse_design("head"), jobs=1, seed=1, stagger=False)
        self.start = self.replay.prepare()

    def at(self, ms):
        self.machine.run(until=self.start + round(ms * PS_PER_MS))
        return [(number, parent) for _, number, parent in processes(self.machine)]

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
