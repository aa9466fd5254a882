"""Who runs next: clocks, slices, priorities, parking."""

from dataclasses import replace

import pytest

from doors.script import Scripts
from finegrain.machine.costs import FREE
from finegrain.machine.errors import KernelPanic
from finegrain.machine.simulated import SimulatedMachine
from machine.plays import US, Script, check_times, ends, play


def test_run_until_and_on() -> None:
    m = SimulatedMachine(sockets=1, cores=1, threads=1, costs=FREE)
    s = Scripts(m, [], [[("charge", 10 * US), ("user", 10 * US)]])
    assert m.run(5 * US) is True
    assert m.time_ps == 5 * US
    assert m.run(15 * US) is True
    with pytest.raises(ValueError, match="already"):
        m.run(1)
    assert m.run() is False
    assert ends(s, "user") == [20]


def test_time_slices() -> None:
    """Three threads of 6 ms of user time on one CPU, in slices of 2 ms."""
    costs = replace(FREE, time_slice=2.0e6, ctx_switch=1000.0)
    s = play(*[[("user", 6000 * US)]] * 3, cores=1, costs=costs)
    # Rounds of three slices, a microsecond of switching before each but the first.
    assert ends(s, "user") == [14_006, 16_007, 18_008]
    m = s.machine
    assert m.counters()["context_switches"] == 8
    check_times(m)


def test_a_better_priority_waits_for_a_cpu_first_and_is_not_preempted() -> None:
    costs = replace(FREE, time_slice=1.0e6)
    urgent: Script = [("priority", 50), ("sleep", 10 * US), ("user", 3000 * US)]
    s = play(urgent, [("user", 5000 * US)], [("user", 5000 * US)], cores=1, costs=costs)
    # Back from its sleep at 10 us it gets the CPU at the first slice's end, for as long as it wants.
    assert ends(s, "user")[0] == 4000


def test_an_unpark_before_the_park_counts() -> None:
    s = play([("charge", 10 * US), ("park",), ("charge", US)], [("charge", US), ("unpark", 0)])
    assert ends(s, "park") == [10]
    s = play([("park",)], [("charge", 7 * US), ("unpark", 0)])
    assert ends(s, "park") == [7]


def test_a_scheduling_point_in_a_critical_section_panics() -> None:
    s = play([("critical", 0)], [("charge", 10)])
    assert s.machine.threads == 0
    with pytest.raises(KernelPanic, match="a scheduling point in a critical section"):
        play([("critical", 1)], [("charge", 10), ("charge", 10)])
