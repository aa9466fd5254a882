"""Scripted threads on a small machine: what comes of a play."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from doors.script import Scripts
from finegrain.lab.profile import read_charged, read_names, read_profile
from finegrain.machine.costs import FREE
from finegrain.machine.simulated import SimulatedMachine

US = 10**6  # picoseconds
# A pause lasts a nanosecond and nothing else takes time, so that every moment can be told in advance.
PAUSES_ONLY = replace(FREE, pause_cycles=2.7)


@dataclass
class Played:
    """What came of a play of scripts."""

    machine: SimulatedMachine
    scripts: Scripts
    trace: list[tuple[int, int, int, int, str, int]]

    def end(self, script: int, op: int) -> float:
        """When the operation ended, in microseconds."""
        return next(row[1] for row in self.trace if row[2:4] == (script, op)) / US

    def result(self, script: int, op: int) -> int:
        return next(row[5] for row in self.trace if row[2:4] == (script, op))

    def order(self, op: str) -> list[int]:
        """Scripts in the order in which they ended an operation of this kind."""
        return [row[2] for row in self.trace if row[4] == op]

    def profile(self, shared: bool = False) -> dict[str, Any]:
        """The record of exclusive or shared acquisitions, times in microseconds."""
        site = "script/shared" if shared else "script/exclusive"
        row = next(row for row in read_profile(self.machine) if row["site"] == site)
        return {k.replace("_ps", ""): v / US if k.endswith("_ps") else v for k, v in row.items()}

    def check_identities(self) -> None:
        """What must hold exactly when every thread has ended."""
        rows = read_profile(self.machine)
        names = read_names(self.machine, self.machine.time_ps)
        charged = read_charged(self.machine)
        for row in rows:
            assert row["wait_ps"] == row["spin_ps"] + row["block_ps"]
            assert row["spin_ps"] >= 0
            assert row["block_ps"] >= 0
            assert sum(n for _, n in row["wait_histogram_ns"]) == row["contested"]
            assert sum(n for _, n in row["hold_histogram_ns"]) == row["acquisitions"]
        assert sum(row["wait_ps"] for row in rows) == sum(charged.values())
        for (cls, name), row in names.items():
            own = [r for r in rows if (r["class"], r["name"]) == (cls, name)]
            assert row["acquired"] - row["released"] == row["held"] == 0
            assert row["acquired"] == sum(r["acquisitions"] for r in own)
            assert row["waiting"] == row["pending_ps"] == 0
            assert row["queue_integral_ps"] == sum(r["wait_ps"] for r in own)
        for cpu in self.machine.cpu_times():
            assert cpu.pop("clock") == sum(cpu.values())


Play = Callable[..., Played]
READ, R_WAITERS, W_WAITERS, W_SPINNER, READER, OWNED = 1, 2, 4, 8, 32, 1 << 40
KINDS = ["mtx", "rw", "sx"]


def hold(us: int, lock: int = 0, how: str = "charge") -> list[tuple[Any, ...]]:
    return [("lock", lock), (how, us * US), ("unlock", lock)]


def read(us: int, lock: int = 0, how: str = "charge") -> list[tuple[Any, ...]]:
    return [("rlock", lock), (how, us * US), ("unlock", lock)]


def later(us: int, script: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [("charge", us * US), *script]


def expected_look(pauses: int, most: int) -> int:
    """The first look at or after so many pauses: rounds of 2, 4, 8 ... up to the limit."""
    rounds = [min(2 << min(i, 20), most) for i in range(2000)]
    return next(t for t in accumulate(rounds) if t >= pauses)
