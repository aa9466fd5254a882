"""A contended cache line is served at the rates that were measured, its own socket first, nobody starved."""

from dataclasses import replace

import pytest

from doors.counter import Counter
from finegrain.machine.costs import CostModel
from finegrain.machine.simulated import SimulatedMachine
from machine.plays import US, play

COSTS = CostModel()


def ns_an_operation(sockets: int, cores: int, threads: int = 1, costs: CostModel = COSTS) -> float:
    machine = SimulatedMachine(sockets=sockets, cores=cores, threads=threads, costs=costs)
    counter = Counter(machine, sockets * cores * threads)
    machine.run(until=100 * US)
    before = counter.value
    machine.run(until=1100 * US)
    return 1e6 / (counter.value - before)


# Rates of one contended line: cost-model sources in machine/costs.py, [SOSP13, Downs, LKP].
@pytest.mark.parametrize(
    ("rmw", "cores"), [*((18, n) for n in (2, 3, 4, 8, 16, 26)), *((290, n) for n in (4, 8, 16, 26))]
)
def test_a_counter_within_a_socket_takes_35_to_60_ns_an_operation(rmw: int, cores: int) -> None:
    """Whatever else an operation costs its thread, once there are enough others to use the line meanwhile."""
    assert 35 <= ns_an_operation(1, cores, costs=replace(COSTS, rmw_hit_cycles=rmw)) <= 60


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (4, 1), (13, 1), (26, 1), (26, 2)])
@pytest.mark.parametrize("rmw", [18, 290])
def test_a_counter_across_sockets_takes_50_to_130_ns_an_operation(cores: int, threads: int, rmw: int) -> None:
    costs = replace(COSTS, rmw_hit_cycles=rmw)
    assert 50 <= ns_an_operation(2, cores, threads, costs) <= 130.1


def test_in_order_of_arrival_every_operation_crosses() -> None:
    """Threads of two sockets that come in turn: what local-first saves."""
    first_come = replace(COSTS, line_local_first=0, tick=0)
    assert ns_an_operation(2, 13, costs=first_come) == pytest.approx(COSTS.xfer_cross, rel=0.01)
    assert ns_an_operation(2, 13) < 70


@pytest.mark.parametrize("bound", [0, 1, 4])
def test_nobody_is_passed_over_more_often_than_the_bound(bound: int) -> None:
    """Thread 0 has the line; 1 of the other socket comes next, then the others of socket 0."""
    costs = replace(COSTS, line_local_first=bound)
    scripts = [[("add", 0)], [("charge", 1000), ("add", 0)]]
    for late in range(6):
        scripts += [[("charge", 2000 + late * 10), ("add", 0)], []]
    s = play(*scripts, costs=costs, sockets=2, cores=8, threads=1)
    adds = sorted((row[1], row[2]) for row in s.trace() if row[4] == "add")
    order = [thread for _, thread in adds]
    assert order[0] == 0
    assert order.index(1) == 1 + bound
