"""A small machine with one object's pages allocated, for tests of the pmap that need no model."""

from __future__ import annotations

from typing import Any

from doors.pmap import Pmaps
from finegrain.design import Design
from finegrain.machine.costs import CostModel
from finegrain.machine.simulated import SimulatedMachine

PAGE, SUPER, MB = 4096, 1 << 21, 1 << 20
READ, WRITE, EXECUTE = 1, 2, 4
VA = 0x40000000
US = 1_000_000  # picoseconds
PV, PMAP, CHUNKS = "rw:pmap pv list", "sleep mutex:pmap", "sleep mutex:pmap pv chunk list"
IPI = "spin mutex:smp rendezvous"
DESIGNS = [{"locks": 256}, {"locks": 256, "batch": True}, {"locks": 0}, {"locks": 0, "batch": True}]


def design(
    *, locks: int = 256, pad: int = 0, batch: bool = False, lock: str = "rw", table: str = "sparse"
) -> Design:
    """A design by its parts; no locks: one for each superpage."""
    layout = "hashed" if locks else "superpage"
    return Design("of a test", layout, locks=locks, pad=pad, batch=batch, lock=lock, table=table)


class World:
    """A machine with `pmaps` pmaps and `pages` pages of an object (colored: from reservations)."""

    def __init__(
        self,
        *,
        pages: int = 512,
        pmaps: int = 2,
        memory: int = 64 * MB,
        cpus: int = 4,
        color: int | None = 0,
        checked: bool = True,
        costs: CostModel | None = None,
        **parts: Any,
    ) -> None:
        self.machine = SimulatedMachine(sockets=1, cores=cpus, threads=1, memory=memory, costs=costs)
        self.door = Pmaps(self.machine, [(PAGE, memory, 0)], design=design(**parts), checked=checked)
        self.run, self.do = self.door.run, self.door.do
        self.object = self.door.object(max(pages, 1), color=color)
        self.pages = self.run(*(("alloc", self.object, i) for i in range(pages)))
        self.before = self.door.counts()
        self.numbers = range(pmaps)
        self.run(*(("pinit", p) for p in self.numbers))

    def enter(self, p: int, first: int = 0, last: int | None = None, prot: int = READ | WRITE) -> None:
        """Fault pages in, one by one, at their place from VA on."""
        pages = list(enumerate(self.pages))[first:last]
        self.run(*(("enter", p, VA + i * PAGE, pa, prot, prot & WRITE, 0) for i, pa in pages))

    def counted(self, *operations: tuple) -> dict[tuple[str, ...], int]:
        """Locks taken by these operations, those of objects left out."""
        before = self.door.acquisitions()
        self.run(*operations)
        after = self.door.acquisitions()
        counts = {key: n - before.get(key, 0) for key, n in after.items() if key[0] != "rw:vm object"}
        return {key: n for key, n in counts.items() if n}

    def audit(self) -> None:
        assert self.door.audit(*self.numbers) == (0, "")
        assert self.door.counts()["faults"] == 0

    def finish(self) -> None:
        """Everything is given back."""
        self.audit()
        for p in self.numbers:
            self.run(("remove_pages", p), ("remove", p, 0, 1 << 47), ("release", p))
        self.audit_empty()

    def audit_empty(self) -> None:
        after = self.door.counts()
        assert after["chunks"] == 0
        assert after["allocated"] == self.before["allocated"]
        assert self.machine.threads == 0


def taken(counts: dict[tuple[str, ...], int], lock: str) -> int:
    return sum(n for key, n in counts.items() if key[0] == lock and len(key) == 2)


def held_by_waiter(
    w: World, holder: tuple, *operations: tuple, after: int = US
) -> tuple[str | None, list[str]]:
    """Let a thread do what takes and holds a lock for long, then another the operations; what the other one wants."""
    w.door.start([holder])
    w.machine.run(until=w.machine.time_ps + after)
    w.door.start(list(operations))
    answer: tuple[str | None, list[str]] = (None, [])
    for _ in range(500):
        w.machine.run(until=w.machine.time_ps + US)
        answer = w.door.threads()[-1]
        if answer[0] is not None:
            break
    w.machine.run()
    return answer
