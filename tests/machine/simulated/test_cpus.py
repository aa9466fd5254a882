"""CPUs: where a thread goes, siblings, wake-ups, interrupts."""

from dataclasses import replace

import pytest

from finegrain.machine.costs import FREE
from machine.plays import US, Script, check_times, ends, play


def test_wake_up_goes_to_the_last_cpu_then_to_an_idle_core_nearby() -> None:
    # Four threads on 2 sockets x 2 cores x 2 siblings: a core each.
    costs = replace(FREE, smt_kernel=0.5)
    s = play(*[[("charge", 10 * US)]] * 4, sockets=2, cores=2, threads=2, costs=costs)
    assert ends(s, "charge") == [10] * 4
    # A fifth shares one, and both are slow meanwhile.
    s = play(*[[("charge", 10 * US), ("charge", 10 * US)]] * 5, sockets=2, cores=2, threads=2, costs=costs)
    assert sorted(ends(s, "charge")) == [10, 10, 10, 20, 20, 20, 20, 20, 40, 40]


def test_wake_up_and_switching_cost_what_they_say() -> None:
    costs = replace(FREE, wakeup=3000.0, ipi_send=300.0)
    s = play([("park",)], [("charge", 7 * US), ("unpark", 0)], costs=costs)
    # Started at 3 us; awake 3 us after the interrupt was sent.
    assert ends(s, "unpark") == [10.3]
    assert ends(s, "park") == [13.3]


def test_siblings_slow_each_other() -> None:
    costs = replace(FREE, smt_kernel=0.5, smt_user=0.8)
    s = play([("charge", 10 * US)], [("charge", 10 * US)], cores=1, threads=2, costs=costs)
    assert ends(s, "charge") == [20, 20]
    s = play([("user", 10 * US)], [("user", 10 * US)], cores=1, threads=2, costs=costs)
    assert ends(s, "user") == [12.5, 12.5]
    s = play([("sleep", US), ("user", 10 * US)], [("sleep", 20 * US)], cores=1, threads=2, costs=costs)
    assert ends(s, "user") == [11]


def test_a_shootdown_interrupts_busy_cpus_and_waits_for_the_last() -> None:
    costs = replace(
        FREE, ipi_send=300.0, ipi_per_target=200.0, ipi_flight=900.0, ipi_handler=500.0, invlpg_cycles=270.0,
        cr3_write_cycles=2700.0,
    )  # fmt: skip
    for pages, handler in ((2, 500 + 2 * 100), (0, 500 + 1000), (5000, 500 + 1000)):
        busy: Script = [("user", 100 * US), ("user", US)]
        s = play([("charge", 10 * US), ("shootdown", 0b11111111, pages)], busy, busy, costs=costs)
        m = s.machine
        # Itself and five idle CPUs left out.
        assert m.counters()["ipis"] == m.counters()["ipi_acknowledgements"] == 2
        assert ends(s, "shootdown") == pytest.approx([10 + (300 + 2 * 200 + 900 + handler) / 1000])
        assert ends(s, "user") == pytest.approx([100, 101 + handler / 1000] * 2)
        assert [cpu["interrupt"] for cpu in m.cpu_times()][1:3] == [handler * 1000] * 2
        check_times(m)
