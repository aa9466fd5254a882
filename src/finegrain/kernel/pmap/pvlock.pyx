# The designs of the PV list lock, laid out in memory.
#
# head        One array of hashed 32-byte rw locks, two to a 64-byte line; the generations, 8 bytes each, in an array
#             of their own; the superpage PV list heads, 24 bytes each, in a third, one for each 2 MB from physical
#             address 0 to the end of memory.
#
# superpage   One 64-byte struct for each 2 MB of physical memory: lock, list head and generation share a line that no
#             other superpage uses.  The table of these is sparse: address space for all, memory only where physical
#             memory is, from the memory domain of the superpages described.
#
# Either way an address is turned into a pointer by base + index * stride (pvlock.pxd), so a design is data.
#
# Who gets which part of the sparse table, segment by segment in ascending order.  A backing page holds 64 structs,
# that is 128 MB of physical memory.  A segment's run starts where the run before it ended, so that a hole before the
# segment is filled from the segment's domain, and it ends on a page boundary of the table, past the segment's end if
# need be; a superpage that two segments share belongs to the earlier one, and a segment covered entirely by an
# earlier run gets none of its own:
#
#     physical   |#### seg 0 ####|....hole....|######## seg 1 ########|
#     runs       |---- domain of seg 0 ----|---- domain of seg 1 --------|

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport LO_PV_LIST, lock_name, lock_profile, mtx_init, pv_wait_record, rw_init
from finegrain.kernel.phys cimport phys_state
from finegrain.kernel.types cimport PAGE_SIZE
from finegrain.machine.seam cimport arena_alloc, line_neighbours
from finegrain.machine.thread cimport machine

cdef uint16_t NAME_PV_LIST = lock_name(b"rw", b"pmap pv list")
cdef uint16_t NAME_PV_LIST_MTX = lock_name(b"sleep mutex", b"pmap pv list")

cdef enum:
    LOCK_SIZE = 32
    LARGE_MD_PAGE_SIZE = 64
    # What "a cache line of its own" means to FreeBSD/amd64 (CACHE_LINE_SIZE): two 64-byte lines, which the hardware
    # prefetches as a pair.
    PADALIGN = 128
    NBPDR = 1 << PDRSHIFT


cdef int init_locks(machine* m, pvlock_state* s, uint64_t start, uint64_t count) except -1:
    cdef uint64_t i
    cdef char* lock
    for i in range(start, start + count):
        lock = s.lock_base + i * s.lock_stride
        if s.kind == PV_LOCK_RW:
            rw_init(<rwlock*>lock, NAME_PV_LIST, LO_PV_LIST)
            (<rwlock*>lock).lock_object.lo_instance = <uint32_t>i
        else:
            mtx_init(<mtx*>lock, NAME_PV_LIST_MTX, LO_PV_LIST)
            (<mtx*>lock).lock_object.lo_instance = <uint32_t>i
        line_neighbours(m, lock, LOCK_SIZE if s.hash_modulus else sizeof(pmap_large_md_page))
    return 0


cdef int create_hashed(machine* m, pvlock_state* s, const pvlock_design* design, uint64_t superpages) except -1:
    cdef uint64_t n = design.locks
    s.hash_modulus = design.locks
    s.hash_inverse = ~<uint64_t>0 // n + 1
    s.nlocks = <uint32_t>n
    s.lock_stride = PADALIGN if design.padded else LOCK_SIZE
    s.lock_base = <char*>arena_alloc(m, n * s.lock_stride)
    s.gen_stride = sizeof(uint64_t)
    s.gen_base = <char*>arena_alloc(m, n * s.gen_stride)
    s.head_stride = sizeof(md_page)
    s.head_base = <char*>arena_alloc(m, superpages * s.head_stride)
    s.bytes = n * (s.lock_stride + s.gen_stride) + superpages * s.head_stride
    s.kva_bytes = s.bytes
    return init_locks(m, s, 0, n)


cdef int create_per_superpage(machine* m, pvlock_state* s, phys_state* p, uint64_t superpages) except -1:
    cdef char* table
    cdef int64_t highest = -1
    cdef int64_t end
    cdef uint64_t entries = 0
    cdef uint32_t i
    cdef pvlock_fill* fill
    # Where the runs lie comes first: their end is what must be addressable.
    for i in range(p.nsegs):
        end = <int64_t>(p.segs[i].end // NBPDR)
        if highest >= end:
            continue
        fill = &s.fills[s.nfills]
        s.nfills += 1
        fill.start = <uint64_t>(highest + 1)
        fill.domain = p.segs[i].domain
        fill.bytes = (<uint64_t>(end - highest) * LARGE_MD_PAGE_SIZE + PAGE_SIZE - 1) // PAGE_SIZE * PAGE_SIZE
        fill.entries = fill.bytes // LARGE_MD_PAGE_SIZE
        highest = <int64_t>(fill.start + fill.entries) - 1
        entries = fill.start + fill.entries
        s.bytes += fill.bytes
    s.kva_bytes = (superpages * LARGE_MD_PAGE_SIZE + PAGE_SIZE - 1) // PAGE_SIZE * PAGE_SIZE
    table = <char*>arena_alloc(m, max(entries * LARGE_MD_PAGE_SIZE, s.kva_bytes))
    s.nlocks = <uint32_t>entries
    s.lock_stride = s.gen_stride = s.head_stride = LARGE_MD_PAGE_SIZE
    s.lock_base = <char*>&(<pmap_large_md_page*>table).pv_lock
    s.head_base = <char*>&(<pmap_large_md_page*>table).pv_page
    s.gen_base = <char*>&(<pmap_large_md_page*>table).pv_invl_gen
    for i in range(s.nfills):
        init_locks(m, s, s.fills[i].start, s.fills[i].entries)
    return 0


# The profile keeps PV list waits by lock and by superpage; now it is known how many there are.
cdef int create_profile(machine* m, pvlock_state* s, uint64_t superpages) except -1:
    cdef lock_profile* profile = <lock_profile*>m.profile
    profile.pv_lock_count = s.nlocks
    profile.superpage_count = <uint32_t>superpages
    profile.pv_locks = <pv_wait_record*>arena_alloc(m, s.nlocks * sizeof(pv_wait_record))
    profile.superpages = <pv_wait_record*>arena_alloc(m, superpages * sizeof(pv_wait_record))
    profile.last_superpage = <uint32_t*>arena_alloc(m, s.nlocks * sizeof(uint32_t))
    return 0


cdef int pvlock_create(machine* m, const pvlock_design* design) except -1:
    cdef phys_state* p = <phys_state*>m.phys
    cdef pvlock_state* s = <pvlock_state*>arena_alloc(m, sizeof(pvlock_state))
    cdef uint64_t superpages = (p.last_pa + NBPDR - 1) // NBPDR
    if (sizeof(rwlock) != LOCK_SIZE or sizeof(mtx) != LOCK_SIZE or sizeof(md_page) != 24
            or sizeof(pmap_large_md_page) != LARGE_MD_PAGE_SIZE):
        raise AssertionError("the layout of a PV list lock is not FreeBSD's")
    m.pvlock = s
    s.last_pa = p.last_pa
    s.batch = design.batch
    s.kind = design.kind
    s.pv_dummy = <md_page*>arena_alloc(m, sizeof(md_page))
    if design.layout == PV_LAYOUT_HASHED:
        create_hashed(m, s, design, superpages)
    else:
        create_per_superpage(m, s, p, superpages)
    return create_profile(m, s, superpages)
