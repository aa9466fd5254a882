"""What the pages of a superpage hold."""

from typing import Any

import pytest

from finegrain.lab import AddressSpaces, LockScripts, superpage_holds
from finegrain.machine.machine import Machine
from finegrain.machine.simulated import SimulatedMachine

MIB, PAGE = 1 << 20, 4096
HERE = 1 << 30


def test_pages_are_counted_by_what_holds_them() -> None:
    m = SimulatedMachine(sockets=1, cores=1, threads=1, memory=64 * MIB)
    spaces = AddressSpaces(m, files=[7])
    spaces.run(("new", 0), ("fill",), ("mmap", 0, HERE, HERE + 3 * PAGE, "rw"))
    spaces.run(*(("write", 0, HERE + i * PAGE, 1) for i in range(3)))
    total: dict[tuple[str, int, int], int] = {}
    for superpage in range(32):
        for key, pages in superpage_holds(m, superpage).items():
            total[key] = total.get(key, 0) + pages
    # The root page table, three below it, a pv chunk.
    assert total == {("file", 0, -1): 7, ("anonymous", -1, -1): 3, ("kernel", -1, -1): 5}


@pytest.mark.parametrize("superpage", [-1, 32, 1 << 70])
def test_beyond_memory(superpage: int) -> None:
    m = SimulatedMachine(sockets=1, cores=1, threads=1, memory=64 * MIB)
    AddressSpaces(m)
    with pytest.raises(IndexError, match="does not lie below the end of memory at 0x4000000"):
        superpage_holds(m, superpage)


def test_machines_without_memory() -> None:
    locks = LockScripts(SimulatedMachine(sockets=1, cores=1, threads=1), ["mtx"])
    bare: Any = Machine()
    for m in (bare, SimulatedMachine(sockets=1, cores=1, threads=1), locks.machine):
        with pytest.raises(ValueError, match="no kernel with physical memory"):
            superpage_holds(m, 0)
    with pytest.raises(TypeError):
        superpage_holds(None, 0)  # type: ignore[arg-type]
