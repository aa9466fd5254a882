"""Hand-made programs with pipes, run by one builder from their beginning."""

from finegrain.design import parse_design
from finegrain.lab.profile import read_profile
from finegrain.machine.simulated import SimulatedMachine
from finegrain.replay.replay import Replay
from finegrain.workload import program as pr
from workload.synthetic import Process, build

MS = 1_000_000  # ns
PS_PER_MS = 1_000_000_000


def root():
    process = Process(-1)
    process.exec()
    return process


class Run:
    """One builder, from the beginning; every process gets its EXIT."""

    def __init__(self, *family, design="head", costs=None, cpus=4, jobs=1):
        for process in family:
            process.do(pr.EXIT)
        self.machine = SimulatedMachine(
            sockets=1, cores=cpus, threads=1, memory=1 << 30, seed=1, **({"costs": costs} if costs else {})
        )
        memory = [(1 << 20, 1 << 30, 0)]
        self.replay = Replay(
            self.machine, memory, build(list(family)), parse_design(design), jobs=jobs, seed=1, stagger=False
        )
        self.start = self.replay.prepare()

    def at(self, ms):
        """Run up to so many milliseconds after the start; return what was counted since."""
        self.machine.run(until=self.start + round(ms * PS_PER_MS))
        assert self.replay.kernel.audit() == (0, "")
        return self.replay.counts()

    def in_use(self):
        return self.replay.kernel.in_use()

    def profile(self, name):
        """The acquisition points of a lock: {site: row}."""
        return {row["site"]: row for row in read_profile(self.machine) if row["name"] == name}

    def end(self):
        left = self.replay.drain()
        assert set(left.values()) == {0}, left
