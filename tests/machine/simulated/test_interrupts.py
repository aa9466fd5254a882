"""Interrupts: whom they hit, and what the hit one pays."""

from dataclasses import replace

import pytest

from finegrain.lab.profile import read_profile
from finegrain.machine.costs import FREE
from machine.plays import US, Script, check_times, ends, play

TICKS = replace(FREE, tick=2000.0, tick_period=1.0e6)


def test_a_shootdown_interrupts_busy_cpus_and_waits_for_the_last() -> None:
    costs = replace(
        FREE, ipi_send=300.0, ipi_per_target=200.0, ipi_flight=900.0, ipi_handler=500.0, invlpg_cycles=270.0,
        cr3_write_cycles=2700.0,
    )  # fmt: skip
    for pages, handler in ((2, 500 + 2 * 100), (0, 500 + 1000), (5000, 500 + 1000)):
        busy: Script = [("user", 100 * US), ("user", US)]
        s = play([("charge", 10 * US), ("shootdown", 0b111, pages)], busy, busy, costs=costs)
        m = s.machine
        # Itself left out.
        assert m.counters()["ipis"] == m.counters()["ipi_acknowledgements"] == 2
        assert ends(s, "shootdown") == pytest.approx([10 + (300 + 2 * 200 + 900 + handler) / 1000])
        assert ends(s, "user") == pytest.approx([100, 101 + handler / 1000] * 2)
        assert [cpu["interrupt"] for cpu in m.cpu_times()][1:3] == [handler * 1000] * 2
        check_times(m)


def test_a_tick_lengthens_the_hold_that_it_hits() -> None:
    """CPU 0 has its ticks at whole milliseconds."""
    s = play(
        [("user", 995 * US), ("lock", 0), ("charge", 10 * US), ("unlock", 0)], costs=TICKS, locks=["mtx"]
    )
    assert ends(s, "unlock") == [1007]
    (row,) = read_profile(s.machine)
    assert row["hold_max_ps"] == 12 * US
    check_times(s.machine)


def test_cpus_have_their_ticks_in_turn_and_idle_ones_none() -> None:
    s = play(*[[("user", 990 * US), ("user", US)]] * 3, cores=4, costs=TICKS)
    # CPUs 1 and 2 have theirs at 0.25 and 0.5 ms, CPU 0 at 1 ms, when it has finished.
    assert ends(s, "user") == [990, 991, 990, 993, 990, 993]
    assert s.machine.counters()["ticks"] == 2
    check_times(s.machine)


def test_a_spin_hides_the_ticks_within_it() -> None:
    holder: Script = [("lock", 0), ("charge", 600 * US), ("unlock", 0)]
    waiter: Script = [("charge", US), ("lock", 0), ("charge", 10 * US), ("unlock", 0)]
    s = play(holder, waiter, cores=2, costs=TICKS, locks=["mtx"])
    # The waiter's CPU had its tick at 0.5 ms, while it waited.
    assert ends(s, "unlock") == [600, pytest.approx(610, abs=0.1)]
    assert [cpu["interrupt"] for cpu in s.machine.cpu_times()] == [0, 2 * US]
    check_times(s.machine)


def test_the_holder_of_a_spin_mutex_takes_interrupts_after_it_has_let_go() -> None:
    script: Script = [("user", 995 * US), ("lock", 0), ("charge", 10 * US), ("unlock", 0), ("charge", US)]
    s = play([*script, ("lock", 0), ("unlock", 0)], costs=TICKS, locks=["spin"])
    row = read_profile(s.machine)[0]
    assert row["hold_max_ps"] == 10 * US
    assert ends(s, "unlock") == [1005, 1008]


def test_a_shootdown_lengthens_the_hold_that_it_hits_and_rouses_idle_cpus() -> None:
    costs = replace(FREE, ipi_flight=900.0, ipi_handler=500.0, idle_exit=2000.0)
    holder: Script = [("lock", 0), ("charge", 10 * US), ("unlock", 0)]
    s = play(
        holder, [("charge", US), ("shootdown", 0b101, 1)], [("sleep", 50 * US)], costs=costs, locks=["mtx"]
    )
    assert ends(s, "unlock") == [10.5]
    # CPU 2 was idle, and is the last to acknowledge.
    assert ends(s, "shootdown") == [1 + 0.9 + 2.5]
    assert [cpu["interrupt"] for cpu in s.machine.cpu_times()][:3] == [0.5 * US, 3.4 * US, 2.5 * US]
    check_times(s.machine)
