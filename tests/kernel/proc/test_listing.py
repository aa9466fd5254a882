"""Lists of all processes: a reader of address spaces that come to an end under it."""

from dataclasses import replace

from finegrain.design import parse_design
from finegrain.lab.profile import read_profile
from finegrain.machine.costs import CostModel
from finegrain.machine.simulated import SimulatedMachine
from finegrain.options import KernelOptions
from finegrain.replay.replay import Replay
from replay.made import PS_PER_MS, family


def test_processes_end_while_they_are_listed():
    machine = SimulatedMachine(
        sockets=1, cores=4, threads=1, memory=1 << 30, seed=3, costs=replace(CostModel(), copy_4k=4000.0)
    )
    replay = Replay(
        machine,
        [(1 << 20, 1 << 30, 0)],
        family(),
        parse_design("head"),
        jobs=3,
        seed=3,
        options=KernelOptions(listings_per_s=1e6),
    )
    machine.run(until=replay.prepare() + 60 * PS_PER_MS)
    assert replay.kernel.audit()[1] == ""
    counts = replay.counts()
    assert counts["listings"] > 20
    assert counts["exits"] > 20
    contested = {
        row["site"]: row["contested"] for row in read_profile(machine) if row["name"] == "vm map (user)"
    }
    assert sum(contested.values()) > 0  # nobody else looks into another's map
    assert set(replay.drain().values()) == {0}
