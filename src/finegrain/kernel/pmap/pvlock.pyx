# The designs of the PV list lock come to be: the plan of their tables (pvtable) is laid out in memory, and what is in
# them initialised.  The locks of the design, but for rw, whose verbs are inline.

from libc.stdint cimport uint16_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport (
    LK_BIT2, LK_MTX8, LO_PV_LIST, bit2_lock, bit2_owned, bit2_trylock, bit2_unlock, lock_name, lock_profile, mtx,
    mtx8_lock, mtx8_owned, mtx8_trylock, mtx8_unlock, mtx_id, mtx_init, mtx_lock, mtx_owned, mtx_trylock, mtx_unlock,
    pv_wait_record, rw_init)
from finegrain.kernel.phys cimport phys_state
from finegrain.kernel.pmap.pvtable cimport (
    PV_LAYOUT_HASHED, PV_LOCK_BIT2, PV_LOCK_KINDS, PV_LOCK_MTX, PV_LOCK_MTX8, PV_PART_STRUCTS, PV_TABLE_FILLED,
    PV_TABLE_POINTERS, pvtable_plan_make, pvtable_region)
from finegrain.machine.seam cimport arena_alloc, line_neighbours
from finegrain.machine.thread cimport machine

cdef uint16_t NAMES[PV_LOCK_KINDS]
NAMES[:] = [lock_name(b"rw", b"pmap pv list"), lock_name(b"sleep mutex", b"pmap pv list"),
            lock_name(b"mtx8", b"pmap pv list"), lock_name(b"bit2", b"pmap pv list")]
cdef uint16_t DUMMY_NAMES[PV_LOCK_KINDS]
DUMMY_NAMES[:] = [lock_name(b"rw", b"pmap pv list dummy"), lock_name(b"sleep mutex", b"pmap pv list dummy"),
                  lock_name(b"mtx8", b"pmap pv list dummy"), lock_name(b"bit2", b"pmap pv list dummy")]


cdef enum:
    LINE = 64                           # a cache line; two of them are what the adjacent-line prefetcher brings


# --- creation

# May a struct of so many bytes, in an array that begins a page, have neighbours in its line, or its pair of lines?
cdef inline bint may_share(machine* m, uint64_t bytes) noexcept nogil:
    return bytes % (2 * LINE if m.cost.adjacent_line != 0 else LINE) != 0


# A zeroed word is a free lock of the smaller kinds.
cdef void init_lock(machine* m, pvlock_state* s, pvlock* lock, uint64_t index) noexcept nogil:
    cdef uint16_t name = s.name if s.hash_modulus != 0 or index != s.superpages else s.dummy_name
    if s.kind == PV_LOCK_RW:
        rw_init(<rwlock*>lock, name, LO_PV_LIST)
        (<rwlock*>lock).lock_object.lo_instance = <uint32_t>index
    elif s.kind == PV_LOCK_MTX:
        mtx_init(<mtx*>lock, name, LO_PV_LIST)
        (<mtx*>lock).lock_object.lo_instance = <uint32_t>index
    if s.hash_modulus != 0:
        if may_share(m, s.lock_stride):
            line_neighbours(m, lock, s.plan.lock_bytes)
    elif may_share(m, s.struct_stride):
        line_neighbours(m, <char*>lock - s.lock_offset, s.gen_offset + sizeof(uint64_t))


cdef void init_hashed(machine* m, pvlock_state* s, const pvlock_design* design) noexcept nogil:
    cdef uint64_t n = design.locks
    cdef uint64_t i
    s.hash_modulus = design.locks
    s.hash_inverse = ~<uint64_t>0 // n + 1
    s.nlocks = <uint32_t>n
    s.lock_stride = s.plan.lock_bytes
    s.lock_base = <char*>arena_alloc(m, n * s.lock_stride)
    s.gen_base = <char*>arena_alloc(m, n * sizeof(uint64_t))
    for i in range(n):
        init_lock(m, s, <pvlock*>(s.lock_base + i * s.lock_stride), i)


# In a filled table, what has a struct and no memory is as good as what has both.
cdef void fill_holes(pvlock_state* s) noexcept nogil:
    cdef pvtable_region* r
    cdef uint64_t superpage, end
    cdef uint32_t i
    for i in range(s.plan.nregions):
        r = &s.plan.regions[i]
        if r.part == PV_PART_STRUCTS:
            end = min(s.superpages, (r.start + r.bytes) // s.struct_stride)
            for superpage in range(r.start // s.struct_stride, end):
                s.memory[superpage >> 6] |= <uint64_t>1 << (superpage & 63)


# The structs of each segment, in the plan's order, and where a superpage's is.
cdef void init_pointers(machine* m, pvlock_state* s, phys_state* p) noexcept nogil:
    cdef char* at = NULL
    cdef uint64_t end, superpage, region = 0, next_ = 0
    cdef uint32_t i
    cdef char* dummy = <char*>arena_alloc(m, s.struct_stride)
    s.pointers = <char**>arena_alloc(m, s.plan.table_bytes + sizeof(char*))
    for superpage in range(s.superpages + 1):
        s.pointers[superpage] = dummy
    for i in range(p.nsegs):
        next_ = max(next_, p.segs[i].start >> PDRSHIFT)
        end = ((p.segs[i].end - 1) >> PDRSHIFT) + 1
        if end <= next_:
            continue
        while s.plan.regions[region].part != PV_PART_STRUCTS:
            region += 1
        at = <char*>arena_alloc(m, s.plan.regions[region].bytes)
        region += 1
        for superpage in range(next_, end):
            s.pointers[superpage] = at
            at += s.struct_stride
        next_ = end


cdef int check_sizes(pvlock_state* s, const pvlock_design* design) except -1:
    if (sizeof(rwlock) != 32 or sizeof(mtx) != 32 or sizeof(md_page) != 24
            or (design.kind == PV_LOCK_RW and design.pad == 0 and design.layout != PV_LAYOUT_HASHED
                and s.struct_stride != 64)):
        raise AssertionError("the layout of a PV list lock is not FreeBSD's")
    return 0


# The profile keeps PV list waits by lock and by superpage; now it is known how many there are.
cdef void create_profile(machine* m, pvlock_state* s) noexcept nogil:
    cdef lock_profile* profile = <lock_profile*>m.profile
    profile.pv_lock_count = s.nlocks
    profile.superpage_count = <uint32_t>s.superpages + 1
    profile.pv_locks = <pv_wait_record*>arena_alloc(m, s.nlocks * sizeof(pv_wait_record))
    profile.superpages = <pv_wait_record*>arena_alloc(m, profile.superpage_count * sizeof(pv_wait_record))
    profile.last_superpage = <uint32_t*>arena_alloc(m, s.nlocks * sizeof(uint32_t))


# Locks in:   none; nothing runs yet.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD pmap_init_pv_table(), and the loop over pv_list_locks in pmap_init().
cdef int pvlock_create(machine* m, const pvlock_design* design) except -1:
    cdef phys_state* p = <phys_state*>m.phys
    cdef pvlock_state* s = <pvlock_state*>arena_alloc(m, sizeof(pvlock_state))
    cdef uint64_t superpage, end
    cdef uint32_t i
    m.pvlock = s
    s.batch = design.batch
    s.kind = design.kind
    s.gen_shift = 2 if design.kind == PV_LOCK_BIT2 else 0
    s.name = NAMES[design.kind]
    s.dummy_name = DUMMY_NAMES[design.kind]
    s.plan.regions = <pvtable_region*>arena_alloc(m, (2 * p.nsegs + 4) * sizeof(pvtable_region))
    pvtable_plan_make(design, p.segs, p.nsegs, &s.plan)
    s.superpages = s.plan.superpages
    s.struct_stride = s.plan.struct_bytes
    s.lock_offset = s.plan.lock_offset
    s.head_offset = s.plan.head_offset
    s.gen_offset = s.plan.gen_offset
    check_sizes(s, design)
    s.memory = <uint64_t*>arena_alloc(m, (s.superpages + 63) // 64 * sizeof(uint64_t))
    for i in range(p.nsegs):
        end = ((p.segs[i].end - 1) >> PDRSHIFT) + 1
        for superpage in range(p.segs[i].start >> PDRSHIFT, end):
            s.memory[superpage >> 6] |= <uint64_t>1 << (superpage & 63)
    if design.layout != PV_LAYOUT_HASHED and design.table == PV_TABLE_FILLED:
        fill_holes(s)
    if design.layout != PV_LAYOUT_HASHED and design.table == PV_TABLE_POINTERS:
        init_pointers(m, s, p)
    else:                               # the dummy lies past its end
        s.table = <char*>arena_alloc(m, max(s.plan.reserved, s.plan.table_bytes) + s.struct_stride)
    if design.layout == PV_LAYOUT_HASHED:
        init_hashed(m, s, design)
    else:
        s.nlocks = <uint32_t>s.superpages + 1
        for superpage in range(s.superpages + 1):
            if superpage == s.superpages or s.memory[superpage >> 6] >> (superpage & 63) & 1:
                init_lock(m, s, <pvlock*>(pv_struct(s, superpage << PDRSHIFT) + s.lock_offset), superpage)
    create_profile(m, s)
    return 0


# --- verbs of the kinds but rw

# Locks in:   any.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef lock_id pv_other_id(pvlock_state* s, pvlock* lock, vm_paddr_t pa) noexcept nogil:
    cdef lock_id id
    if s.kind == PV_LOCK_MTX:
        return mtx_id(<mtx*>lock)
    id.address = lock
    id.instance = <uint32_t>pv_lock_index(s, pa)
    id.name = s.name if s.hash_modulus != 0 or id.instance != s.superpages else s.dummy_name
    id.kind = LK_MTX8 if s.kind == PV_LOCK_MTX8 else LK_BIT2
    id.flags = LO_PV_LIST
    return id


# Locks in:   no PV list lock, nor what is ordered after one.
# Locks out:  the lock.
# May block:  on the lock.
# Stands for: FreeBSD mtx_lock().
cdef void pv_other_lock(thread* td, pvlock* lock, vm_paddr_t pa, uint16_t site) noexcept nogil:
    cdef pvlock_state* s = <pvlock_state*>td.machine.pvlock
    cdef lock_id id = pv_other_id(s, lock, pa)
    if s.kind == PV_LOCK_MTX:
        mtx_lock(td, <mtx*>lock, site)
    elif s.kind == PV_LOCK_MTX8:
        mtx8_lock(td, &lock.word, &id, site)
    else:
        bit2_lock(td, &lock.word, &id, site)


# Locks in:   any but this one.
# Locks out:  the lock too, when the answer is True.
# May block:  never.
# Stands for: FreeBSD mtx_trylock().
cdef bint pv_other_trylock(thread* td, pvlock* lock, vm_paddr_t pa, uint16_t site) noexcept nogil:
    cdef pvlock_state* s = <pvlock_state*>td.machine.pvlock
    cdef lock_id id = pv_other_id(s, lock, pa)
    if s.kind == PV_LOCK_MTX:
        return mtx_trylock(td, <mtx*>lock, site)
    if s.kind == PV_LOCK_MTX8:
        return mtx8_trylock(td, &lock.word, &id, site)
    return bit2_trylock(td, &lock.word, &id, site)


# Locks in:   the lock.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD mtx_unlock().
cdef void pv_other_unlock(thread* td, pvlock* lock) noexcept nogil:
    cdef pvlock_state* s = <pvlock_state*>td.machine.pvlock
    if s.kind == PV_LOCK_MTX:
        mtx_unlock(td, <mtx*>lock)
    elif s.kind == PV_LOCK_MTX8:
        mtx8_unlock(td, &lock.word)
    else:
        bit2_unlock(td, &lock.word)


# Locks in:   any.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD mtx_owned().
cdef bint pv_other_owned(thread* td, pvlock* lock) noexcept nogil:
    cdef pvlock_state* s = <pvlock_state*>td.machine.pvlock
    if s.kind == PV_LOCK_MTX:
        return mtx_owned(td, <mtx*>lock)
    if s.kind == PV_LOCK_MTX8:
        return mtx8_owned(td, &lock.word)
    return bit2_owned(td, &lock.word)
