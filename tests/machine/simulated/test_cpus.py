"""CPUs: where a thread goes, siblings, wake-ups, interrupts."""

from dataclasses import replace

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


def test_a_thread_stays_in_its_queue_until_a_cpu_becomes_idle() -> None:
    """Two CPUs, one with a long job and a thread behind it, the other with a short one: it steals."""
    costs = replace(FREE, run_queues=1, ctx_switch=1000.0)
    s = play([("user", 100 * US)], [("user", 40 * US)], [("user", 10 * US)], cores=2, costs=costs)
    assert ends(s, "user") == [100, 40, 51]
    assert s.machine.counters()["steals"] == 1
    check_times(s.machine)


def test_cpus_have_queues_of_their_own() -> None:
    """Six threads on two CPUs go by turns with their neighbour only; with one queue, with all others."""
    costs = replace(FREE, time_slice=2.0e6)
    work: list[Script] = [[("user", n * 1000 * US)] for n in (4, 4, 4, 4, 4, 4)]
    own = play(*work, cores=2, costs=replace(costs, run_queues=1))
    # Two wait behind each thread that runs, and share its slice.
    assert ends(own, "user") == [10_000, 10_000, 11_000, 11_000, 12_000, 12_000]
    one = play(*work, cores=2, costs=costs)
    assert ends(one, "user") == [8000, 8000, 10_000, 10_000, 12_000, 12_000]
