"""The threads of a process: who waits for whom where it ends, and what they share."""

import pytest

from doors.processes import processes
from finegrain.lab.profile import read_profile
from finegrain.workload import recording as rec
from finegrain.workload.compile import compile_program
from replay.made import MS, PS_PER_MS, make_replay
from workload.made import Calls

RW = rec.PROT_READ | rec.PROT_WRITE
CHILD = {"process": 1}


def begun():
    """A process 0 that forks process 1, which has threads 1 and 2."""
    calls = Calls(step=10_000)
    calls.time = -calls.step
    calls.exec("/sh", 0)
    calls.add(rec.FORK, info=1)
    calls.add(rec.MAP, page=0x1000, pages=512, info=RW, **CHILD)
    for thread in (1, 2):
        calls.add(rec.THREAD, info=thread, **CHILD)
    return calls


def run(calls, **options):
    program = compile_program(calls.recording(["/sh"]))
    program.user_ns[:] = 0
    replay = make_replay(program, **({"jobs": 1, "stagger": False} | options))
    return replay, replay.prepare()


def test_a_process_that_ends_waits_for_its_threads():
    calls = begun()
    for thread in (1, 2):
        calls.sleep(thread * 2 * MS, thread=thread, **CHILD)
    calls.add(rec.EXIT, **CHILD)  # its first thread comes here at once
    calls.add(rec.WAIT, info=1)
    calls.sleep(5 * MS)
    calls.add(rec.EXIT)
    replay, start = run(calls)
    for ms, exits in ((1, 0), (3, 0), (3.9, 0), (4.5, 1)):
        replay.machine.run(until=start + round(ms * PS_PER_MS))
        assert replay.counts()["exits"] == exits
        assert ((0, 1, 0) in processes(replay.machine)) == (exits == 0)
        assert replay.kernel.audit() == (0, "")
    sites = {
        row["site"]: row["acquisitions"]
        for row in read_profile(replay.machine)
        if row["name"] == "process lock"
    }
    assert (sites["thread_create"], sites["kern_thr_exit"]) == (2, 2)
    assert set(replay.drain().values()) == {0}


def test_threads_share_an_address_space():
    """One touches what the other maps; a page is zeroed once for both; they wait for one map's lock."""
    calls = begun()
    for i in range(200):
        calls.add(rec.MAP, page=0x2000 + i * 2, pages=1, info=RW, thread=1, **CHILD)
        calls.add(rec.FAULT, page=0x2000 + i * 2, info=rec.FAULT_WRITE, thread=1, **CHILD)
        calls.add(rec.MAP, page=0x4000 + i * 2, pages=1, info=RW, thread=2, **CHILD)
        calls.add(rec.FAULT, page=0x1000 + i, info=rec.FAULT_WRITE, thread=2, **CHILD)
    for i in range(200):
        calls.add(rec.FAULT, page=0x2000 + i * 2, info=rec.FAULT_WRITE, thread=2, **CHILD)
        calls.add(rec.FAULT, page=0x1000 + i, info=rec.FAULT_WRITE, thread=1, **CHILD)
    calls.add(rec.EXIT, **CHILD)
    calls.add(rec.WAIT, info=1)
    calls.sleep(5 * MS)
    calls.add(rec.EXIT)
    replay, start = run(calls)
    before = replay.counts()
    at = start
    while not replay.counts()["exits"]:
        at += PS_PER_MS // 20
        replay.machine.run(until=at)
        assert replay.kernel.audit() == (0, "")
    counts = replay.counts()
    assert counts["faults_bad"] == 0
    assert 400 <= counts["faults_zero"] - before["faults_zero"] < 430
    contested = [row["contested"] for row in read_profile(replay.machine) if row["name"] == "vm map (user)"]
    assert sum(contested) > 0
    assert set(replay.drain().values()) == {0}


def test_an_unmapping_reaches_the_other_threads_cpu():
    calls = begun()
    for i in range(40):
        for thread in (0, 1, 2):
            calls.add(rec.FAULT, page=0x1000 + i, info=rec.FAULT_WRITE, thread=thread, **CHILD)
        calls.add(rec.UNMAP, page=0x1000 + i, pages=1, thread=i % 3, **CHILD)
    calls.add(rec.EXIT, **CHILD)
    calls.add(rec.WAIT, info=1)
    calls.sleep(5 * MS)
    calls.add(rec.EXIT)
    replay, start = run(calls)
    replay.machine.run(until=start + 4 * PS_PER_MS)
    assert replay.kernel.audit() == (0, "")
    assert replay.counts()["exits"] == 1
    assert replay.counts()["faults_bad"] == 0
    assert set(replay.drain().values()) == {0}


@pytest.mark.parametrize("reader", [0, 1])
def test_a_run_may_end_while_one_thread_waits_for_another(reader):
    """Nobody else has the pipe: the thread that would write has ended, and the one that reads must not wait on."""
    calls = begun()
    calls.add(rec.PIPE, info=0, **CHILD)
    calls.sleep(9 * MS, thread=2, **CHILD)
    calls.add(rec.WRITE, pages=5, info=0, thread=2, **CHILD)
    calls.add(rec.READ, pages=5, info=0, thread=reader, **CHILD)
    calls.add(rec.MAP, page=0x9000, pages=1, info=RW, thread=2, **CHILD)
    calls.add(rec.FAULT, page=0x9000, info=rec.FAULT_WRITE, thread=1 - reader, **CHILD)  # it waits, too
    calls.add(rec.EXIT, **CHILD)
    calls.add(rec.EXIT)
    replay, start = run(calls)
    replay.machine.run(until=start + 5 * PS_PER_MS)
    assert replay.kernel.audit() == (0, "")
    assert set(replay.drain().values()) == {0}


def test_builders_begin_amid_threads():
    calls = begun()
    for i in range(60):
        thread = {"thread": i % 3, **CHILD}
        calls.add(rec.FAULT, page=0x1000 + i, info=rec.FAULT_WRITE, **thread)
        calls.add(rec.MAP, page=0x2000 + i // 2, pages=2, info=RW, **thread)
        calls.add(rec.FAULT, page=0x2000 + i // 2, info=rec.FAULT_WRITE, **thread)
        calls.sleep(20_000, **thread)
    calls.add(rec.THREAD_EXIT, thread=1, **CHILD)
    calls.sleep(2 * MS, thread=2, **CHILD)
    calls.add(rec.EXIT, **CHILD)
    calls.add(rec.WAIT, info=1)
    calls.add(rec.EXIT)
    replay, start = run(calls, jobs=10, stagger=True)
    assert replay.kernel.audit() == (0, "")
    for half in range(1, 12):
        replay.machine.run(until=start + half * PS_PER_MS // 2)
        assert replay.kernel.audit() == (0, "")
    assert replay.counts()["faults_bad"] == 0
    assert replay.counts()["exits"] >= 10
    assert set(replay.drain().values()) == {0}
