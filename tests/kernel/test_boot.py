"""A kernel comes to be: once on a machine, from data that is checked first."""

from itertools import pairwise

import pytest

from finegrain.design import Design
from finegrain.lab import AddressSpaces, LockScripts, PhysicalMemory, Pmaps, read_profile
from finegrain.machine.simulated import SimulatedMachine

MIB, PAGE = 1 << 20, 4096


def machine() -> SimulatedMachine:
    return SimulatedMachine(sockets=1, cores=2, threads=1, memory=64 * MIB)


def test_layers_are_made_as_far_up_as_asked() -> None:
    """Each lab's kernel knows the locks of its layers and takes no others."""
    seen = []
    for lab in (PhysicalMemory, Pmaps, AddressSpaces):
        m = machine()
        made = lab(m)
        if lab is PhysicalMemory:
            made.do("alloc_noobj")
        elif lab is Pmaps:
            made.do("pinit", 0)
        else:
            made.run(("new", 0), ("mmap", 0, MIB, 2 * MIB, "rw"), ("write", 0, MIB, 1))
        seen.append({row["name"] for row in read_profile(m)})
    assert all(below <= above for below, above in pairwise(seen))
    assert "vm map (user)" in seen[2] - seen[1]


def test_a_machine_has_one_kernel() -> None:
    m = machine()
    LockScripts(m, ["mtx"])
    for lab in (PhysicalMemory, Pmaps, AddressSpaces):
        with pytest.raises(ValueError, match="has a kernel already"):
            lab(m)


def test_memory_is_taken_in_segments_up_to_63() -> None:
    segments = [(MIB + 2 * i * PAGE, MIB + (2 * i + 1) * PAGE, 0) for i in range(64)]
    with pytest.raises(ValueError, match="64 memory segments; at most 63"):
        PhysicalMemory(machine(), segments)
    memory = PhysicalMemory(machine(), segments[:63])
    assert [row[:3] for row in memory.segments()] == segments[:63]
    assert memory.counts()["free"] == 63


def test_the_whole_design_reaches_the_kernel() -> None:
    design = Design("of a test", "hashed", locks=7, pad=128, lock="mtx", batch=True)
    m = machine()
    pmaps = Pmaps(m, design=design)
    layout = pmaps.layout()
    assert (layout["locks"], layout["lock_bytes"]) == (7, 128)
    obj = pmaps.object(1)
    page = pmaps.do("alloc", obj, 0)
    pmaps.run(("pinit", 0), ("enter", 0, MIB, page, "r"), ("remove_pages", 0))
    taken = pmaps.acquisitions()
    assert taken["sleep mutex:pmap pv list", "pmap_enter"] == 1
    assert taken["sleep mutex:pmap pv chunk list", "free_pv_chunk_batch"] == 1
