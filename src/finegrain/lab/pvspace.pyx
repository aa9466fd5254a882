# What the tables of a PV list lock design take in memory.  See pvspace.pxd.

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint32_t

from finegrain.kernel.boot cimport pvlock_design_from
from finegrain.kernel.phys cimport phys_split, vm_phys_seg
from finegrain.kernel.pmap cimport pvlock_design, pvtable_plan_make, pvtable_region
from finegrain.lab.run cimport checked_design, whole

from typing import NamedTuple

PARTS = ("pointers", "structs", "locks", "generations", "heads", "dummy")      # by pvtable_part
MAX_SEGMENTS = 1 << 20
MAX_ADDRESS = 1 << 57                   # five levels of page tables


class PVRegion(NamedTuple):
    """Bytes of a table with memory behind them, from one domain."""

    what: str
    domain: int
    start: int
    bytes: int
    used: int


class PVSpace(NamedTuple):
    """What a design takes on a machine: `reserved` bytes of address space, and memory in `regions`."""

    reserved: int
    lock_bytes: int
    struct_bytes: int
    superpages: int
    regions: list


cdef list regions_of(const pvtable_plan* plan):
    return [PVRegion(PARTS[plan.regions[i].part], plan.regions[i].domain, plan.regions[i].start,
                     plan.regions[i].bytes, plan.regions[i].used) for i in range(plan.nregions)]


def pv_space(design, segments):
    """What the PV list locks, generations and list heads of a design take on a machine with this memory.

    `design` is a spelling or a Design; `segments` are (start, end, domain), ascending, addresses below 2**57. The plan
    is the one that a run lays out in its memory. A region is so many `bytes` from `start` on in its table; of these,
    `used` serve superpages that hold memory; domain -1: in the kernel's image, or spread over all domains, as FreeBSD's
    allocator does by default. `struct_bytes` is what there is for each superpage: the struct, or the list head where
    locks are hashed. Raises ValueError for segments that are empty, overlap or are not ascending.
    """
    cdef pvlock_design d
    cdef pvtable_plan plan
    cdef vm_phys_seg* segs = NULL
    cdef uint32_t n
    rows = []
    last = 0
    pvlock_design_from(&d, checked_design(design))
    for i, (start, end, domain) in enumerate(segments):
        start = whole(f"memory segment {i}: start", start, last, MAX_ADDRESS, f"an address from {last:#x} to 2**57")
        last = whole(f"memory segment {i}: end", end, start + 1, MAX_ADDRESS,
                     f"an address above {start:#x}, up to 2**57")
        rows.append((start, last, whole(f"memory segment {i}: domain", domain, 0, 255, "a memory domain's number")))
    if not 0 < len(rows) <= MAX_SEGMENTS:
        raise ValueError(f"{len(rows)} memory segments: give 1 to {MAX_SEGMENTS}")
    # each may be split in three
    segs = <vm_phys_seg*>PyMem_Malloc(4 * len(rows) * sizeof(vm_phys_seg))
    plan.regions = <pvtable_region*>PyMem_Malloc((6 * len(rows) + 4) * sizeof(pvtable_region))
    try:
        if segs == NULL or plan.regions == NULL:
            raise MemoryError("no memory for the memory segments")
        for i, (start, end, domain) in enumerate(rows):
            segs[3 * len(rows) + i].start = start
            segs[3 * len(rows) + i].end = end
            segs[3 * len(rows) + i].domain = domain
        n = phys_split(segs + 3 * len(rows), <uint32_t>len(rows), segs, <uint32_t>(3 * len(rows)))
        pvtable_plan_make(&d, segs, n, &plan)
        return PVSpace(plan.reserved, plan.lock_bytes, plan.struct_bytes, plan.superpages, regions_of(&plan))
    finally:
        PyMem_Free(segs)
        PyMem_Free(plan.regions)
