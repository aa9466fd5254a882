"""Fibers: many, deep, one after the other, and overrun."""

import signal

import pytest

from doors.queues import Station
from finegrain.machine.costs import FREE
from finegrain.machine.errors import KernelPanic
from finegrain.machine.simulated import SimulatedMachine
from machine.plays import Script, ends, finish, play, run_child


def test_threads_end_and_their_stacks_are_used_again() -> None:
    # Each spawns the next: 5,000 one after the other need two stacks.
    n = 5000
    scripts: list[Script] = [[("spawn", i + 1)] for i in range(n)]
    s = play(*scripts, [("charge", 1)], cores=1)
    assert len(s.trace()) == n + 1


def test_too_many_threads() -> None:
    m = SimulatedMachine(sockets=1, cores=1, threads=1, costs=FREE)
    with pytest.raises(MemoryError):
        Station(m, 30_001, 1.0, 1.0)


def test_too_many_threads_from_within() -> None:
    with pytest.raises(KernelPanic, match="too many threads"):
        play([("spawn", 1)] * 30_001, [("park",)], checked=False)


def test_a_stack_overrun_says_so() -> None:
    child = run_child("""
        from doors.script import Scripts
        from finegrain.machine.simulated import SimulatedMachine
        m = SimulatedMachine(sockets=1, cores=2, threads=1)
        Scripts(m, [], [[("charge", 1)], [("recurse", 1_000_000)]])
        m.run()
    """)
    _, err = finish(child)
    assert child.returncode == -signal.SIGABRT
    assert "a simulated thread overran its stack of 61440 bytes" in err


def test_a_stack_is_deep_enough_for_the_kernel() -> None:
    s = play([("recurse", 80)])
    assert ends(s, "recurse") == [0]


def test_an_ordinary_crash_in_a_run_is_not_ours() -> None:
    child = run_child("""
        import ctypes
        from finegrain.machine.simulated import SimulatedMachine
        from doors.customers import customers_start
        m = SimulatedMachine(sockets=1, cores=2, threads=1)
        customers_start(m, 2, 1, 10_000_000, 300_000)
        m.run(progress=lambda at: ctypes.string_at(8))
    """)
    _, err = finish(child)
    assert child.returncode == -signal.SIGSEGV
    assert "overran" not in err
