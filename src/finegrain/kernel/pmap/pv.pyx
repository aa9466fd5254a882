# PV entries: allocation and freeing, of their chunks too.
#
# Which lock guards what.  The pmap lock: the pmap's list of chunks (those with free entries first), the bit maps.  The
# chunk list mutex: the LRU that all chunks of all pmaps are on.  A PV list lock: the links between entries.
#
# Where chunks are freed is the difference between the kernels under study.  free_pv_entry frees a chunk that becomes
# empty on the spot, chunk list mutex and page allocator included, under whatever PV list lock its caller holds; so
# does pmap_remove_pages, unless the design batches: then it collects the chunks and hands them all to
# free_pv_chunk_batch after it has dropped the PV list lock.
#
# Chunks lie in their physical page, through the direct map, and name their pmap; so an entry finds its pmap by masking
# its own address.

from libc.stdint cimport int64_t, uint16_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memset

from finegrain.kernel.locks cimport lock_name, lock_site, mtx_init, mtx_lock, mtx_unlock
from finegrain.kernel.phys cimport (
    DMAP_TO_PHYS, PHYS_TO_DMAP, PHYS_TO_VM_PAGE, VM_ALLOC_NORMAL, VM_ALLOC_WIRED, vm_page_alloc_noobj, vm_page_free)
from finegrain.kernel.pmap.chunk cimport (
    PC_FREE_MASK, chunk_empty, lru_insert_tail, lru_remove, pmap_chunk_insert_head, pmap_chunk_remove, popcount,
    pv_list_remove, pv_to_chunk)
from finegrain.kernel.pmap.pt cimport OPS_PV, PMAP_LOCK_ASSERT, count_shortage, pmap_state_of
from finegrain.kernel.pmap.pvlock cimport PV_LIST_CARRIED_ASSERT, PV_LIST_LOCK_ASSERT
from finegrain.kernel.pmap.reclaim cimport reclaim_pv_chunk
from finegrain.kernel.types cimport NPCPV, PAGE_SIZE, vm_page
from finegrain.machine.seam cimport arena_alloc, charge, panic, touch_read

cdef uint16_t NAME_CHUNK_LIST = lock_name(b"sleep mutex", b"pmap pv chunk list")
cdef uint16_t SITE_GET = lock_site(b"get_pv_entry")
cdef uint16_t SITE_RESERVE = lock_site(b"reserve_pv_entries")
cdef uint16_t SITE_FREE = lock_site(b"free_pv_chunk")
cdef uint16_t SITE_BATCH = lock_site(b"free_pv_chunk_batch")


cdef int pv_create(machine* m) except -1:
    cdef pv_state* s = <pv_state*>arena_alloc(m, sizeof(pv_state))
    if sizeof(pv_entry) != 24 or sizeof(pv_chunk) != PAGE_SIZE:
        raise AssertionError("the layout of a pv chunk is not FreeBSD's")
    mtx_init(&s.chunk_list_lock, NAME_CHUNK_LIST, 0)
    m.pv = s
    return 0


cdef void pv_reset(machine* m) noexcept nogil:
    memset((<pv_state*>m.pv).chunks_freed, 0, (CHUNKS_FREED_MAX + 1) * sizeof(uint64_t))


# --- entries

# A page made a chunk of pm, all entries free, on no list yet.
cdef inline pv_chunk* init_chunk(thread* td, pmap* pm, vm_page* m) noexcept nogil:
    cdef pv_chunk* pc = <pv_chunk*>PHYS_TO_DMAP(td, m.phys_addr)
    touch_write(td, pc)
    pc.pc_pmap = pm
    pc.pc_map[0] = PC_FREE_MASK(0)
    pc.pc_map[1] = PC_FREE_MASK(1)
    pc.pc_map[2] = PC_FREE_MASK(2)
    return pc


# Take one pv entry for pm when its first chunk has none: allocate or reclaim a chunk.
#
# Locks in:   the pmap lock of pm; if lockp is given, *lockp is NULL or a PV list lock held for write.
# Locks out:  the pmap lock of pm; with lockp, *lockp may have been dropped, and may be another lock or NULL.
# May block:  on the chunk list and free page locks; with lockp, in shortage, on other pmaps' and PV list locks.  Never
#             sleeps.
# Returns:    the entry; NULL only when lockp is NULL and no chunk could be had.
# Stands for: FreeBSD get_pv_entry(), of which the common case is inline (pv.pxd).
cdef pv_entry* get_pv_entry_chunk(thread* td, pmap* pm, pvlock** lockp) noexcept nogil:
    cdef pv_state* s = pv_of(td)
    cdef pv_chunk* pc
    cdef vm_page* m
    PMAP_LOCK_ASSERT(td, pm)
    while True:
        m = vm_page_alloc_noobj(td, -1, VM_ALLOC_NORMAL | VM_ALLOC_WIRED)
        if m != NULL:
            break
        if lockp == NULL:
            return NULL
        m = reclaim_pv_chunk(td, pm, lockp)
        if m != NULL:
            break
        pc = pm.pm_pvchunk_first
        if pc != NULL and not chunk_full(pc):
            return chunk_take(td, pm, pc)
        count_shortage(td)
    pmap_state_of(td).shortages = 0
    pc = init_chunk(td, pm, m)
    pc.pc_map[0] &= ~<uint64_t>1
    charge(td, td.machine.cost.op, OPS_PV)
    mtx_lock(td, &s.chunk_list_lock, SITE_GET)
    s.chunks += 1
    s.chunk_allocs += 1
    lru_insert_tail(td, s, pc)
    mtx_unlock(td, &s.chunk_list_lock)
    pmap_chunk_insert_head(td, pm, pc)
    return &pc.pc_pventry[0]


# Give an entry back, and its chunk if that is empty now.
#
# Locks in:   the pmap lock of pm; perhaps a PV list lock.
# Locks out:  the same.
# May block:  on the chunk list and free page locks, when the chunk is empty now.
# Stands for: FreeBSD free_pv_entry().
cdef void free_pv_entry(thread* td, pmap* pm, pv_entry* pv) noexcept nogil:
    cdef pv_chunk* pc = pv_to_chunk(pv)
    cdef uint64_t i = <uint64_t>(pv - pc.pc_pventry)
    PMAP_LOCK_ASSERT(td, pm)
    touch_write(td, pc)
    pc.pc_map[i >> 6] |= (<uint64_t>1) << (i & 63)
    charge(td, td.machine.cost.op, OPS_PV)
    if not chunk_empty(pc):
        if pc != pm.pm_pvchunk_first:
            pmap_chunk_remove(td, pm, pc)
            pmap_chunk_insert_head(td, pm, pc)
        return
    pmap_chunk_remove(td, pm, pc)
    free_pv_chunk(td, pc)


# Get pm enough free entries that `needed` can be taken without allocating.
#
# Locks in:   the pmap lock of pm; *lockp is NULL or a PV list lock held for write.
# Locks out:  the pmap lock of pm; *lockp may have been dropped, and may be another lock or NULL.
# May block:  on the chunk list and free page locks; in shortage on other pmaps' and PV list locks.  Never sleeps.
# Guarantees: the first chunks of the pmap have `needed` free entries between them.
# Stands for: FreeBSD reserve_pv_entries().
cdef void reserve_pv_entries(thread* td, pmap* pm, int needed, pvlock** lockp) noexcept nogil:
    cdef pv_state* s = pv_of(td)
    cdef pv_chunk* pc
    cdef pv_chunk* first = NULL         # new ones, to go onto the LRU together; linked by pc_lru_next
    cdef pv_chunk* last = NULL
    cdef vm_page* m
    cdef int available
    cdef int free
    cdef bint reclaimed = False
    PMAP_LOCK_ASSERT(td, pm)
    PV_LIST_CARRIED_ASSERT(td, lockp)
    while True:
        available = 0
        pc = pm.pm_pvchunk_first
        while pc != NULL and available < needed:
            free = popcount(pc.pc_map[0]) + popcount(pc.pc_map[1]) + popcount(pc.pc_map[2])
            if free == 0:
                break
            available += free
            pc = pc.pc_list_next
            charge(td, td.machine.cost.op, OPS_PV)
        if available >= needed:
            break
        reclaimed = False
        while available < needed and not reclaimed:
            m = vm_page_alloc_noobj(td, -1, VM_ALLOC_NORMAL | VM_ALLOC_WIRED)
            if m == NULL:
                m = reclaim_pv_chunk(td, pm, lockp)
                reclaimed = True        # it may have freed entries of pm: count again
                if m == NULL:
                    count_shortage(td)
                    break
            pc = init_chunk(td, pm, m)
            pmap_chunk_insert_head(td, pm, pc)
            pc.pc_lru_next = NULL
            if last == NULL:
                first = pc
            else:
                last.pc_lru_next = pc
            last = pc
            available += NPCPV
        if not reclaimed:
            break
    if first == NULL:
        return
    mtx_lock(td, &s.chunk_list_lock, SITE_RESERVE)
    while first != NULL:
        pc = first
        first = pc.pc_lru_next
        s.chunks += 1
        s.chunk_allocs += 1
        lru_insert_tail(td, s, pc)
    mtx_unlock(td, &s.chunk_list_lock)


# Find the entry of (pm, va) on a list, and unlink it.  The search reads every entry before it.
#
# Locks in:   the PV list lock of pa, for write; the pmap lock of pm, lest the entry go.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD pmap_pvh_remove().
cdef pv_entry* pmap_pvh_remove(thread* td, md_page* pvh, vm_paddr_t pa, pmap* pm, vm_offset_t va) noexcept nogil:
    cdef pv_entry* pv = pvh.pv_first
    PV_LIST_LOCK_ASSERT(td, pa)
    PMAP_LOCK_ASSERT(td, pm)
    touch_read(td, pvh)
    while pv != NULL:
        touch_read(td, pv_to_chunk(pv))
        touch_read(td, pv)
        charge(td, td.machine.cost.op, 1)
        if PV_PMAP(pv) == pm and pv.pv_va == va:
            pv_list_remove(td, pvh, pa, pv)
            return pv
        pv = pv.pv_next
    panic(td, b"a mapping has no pv entry")
    return NULL


# --- chunks

# Give the page of a chunk back that is on no list any more.
#
# Locks in: any that may be held over the free page locks.  Locks out: the same.  May block: on the free page locks.
# Stands for: FreeBSD free_pv_chunk_dequeued().
cdef inline void free_pv_chunk_dequeued(thread* td, pv_chunk* pc) noexcept nogil:
    cdef vm_page* m = PHYS_TO_VM_PAGE(td, DMAP_TO_PHYS(td, pc))
    pc.pc_pmap = NULL
    m.ref_count = 0
    vm_page_free(td, m)


# Give an empty chunk back, which is off its pmap's list.
#
# Locks in:   the pmap lock of its pmap; in pmap_remove and, without batching, in pmap_remove_pages a PV list lock too.
# Locks out:  the same.
# May block:  on the chunk list mutex and the free page locks.
# Stands for: FreeBSD free_pv_chunk().
cdef void free_pv_chunk(thread* td, pv_chunk* pc) noexcept nogil:
    cdef pv_state* s = pv_of(td)
    PMAP_LOCK_ASSERT(td, pc.pc_pmap)
    mtx_lock(td, &s.chunk_list_lock, SITE_FREE)
    s.chunks -= 1
    lru_remove(td, s, pc)
    mtx_unlock(td, &s.chunk_list_lock)
    free_pv_chunk_dequeued(td, pc)


# Give a list of empty chunks of one pmap back.
#
# Locks in:   the pmap lock of their pmap; no PV list lock.
# Locks out:  the same.
# May block:  on the chunk list mutex, once, and the free page locks.
# Stands for: FreeBSD free_pv_chunk_batch().
cdef void free_pv_chunk_batch(thread* td, pv_chunk* first) noexcept nogil:
    cdef pv_state* s = pv_of(td)
    cdef pv_chunk* pc = first
    cdef pv_chunk* after
    if first == NULL:
        return
    PMAP_LOCK_ASSERT(td, first.pc_pmap)
    mtx_lock(td, &s.chunk_list_lock, SITE_BATCH)
    while pc != NULL:
        s.chunks -= 1
        lru_remove(td, s, pc)
        pc = pc.pc_list_next
    mtx_unlock(td, &s.chunk_list_lock)
    pc = first
    while pc != NULL:
        after = pc.pc_list_next
        free_pv_chunk_dequeued(td, pc)
        pc = after


# --- audit

cdef int64_t pv_audit(machine* m, char* why, uint64_t why_size) noexcept nogil:
    cdef pv_state* s = <pv_state*>m.pv
    cdef pv_chunk* pc = s.lru_first
    cdef pv_chunk* before = NULL
    cdef pv_chunk* own
    cdef int64_t faults = 0
    cdef int64_t chunks = 0
    while pc != NULL:
        if pc.pc_lru_prev != before:
            faults += 1
            snprintf(why, why_size, b"the LRU link of pv chunk %ld is broken", <long>chunks)
            return faults
        if pc.pc_pmap != NULL:
            chunks += 1
            own = pc.pc_pmap.pm_pvchunk_first
            while own != NULL and own != pc:
                own = own.pc_list_next
            if own == NULL:
                if faults == 0:
                    snprintf(why, why_size, b"pv chunk %ld of the LRU is not on the list of its pmap %u", <long>chunks,
                             pc.pc_pmap.pm_id)
                faults += 1
            if chunk_empty(pc):
                if faults == 0:
                    snprintf(why, why_size, b"pv chunk %ld of the LRU (pmap %u) is empty", <long>chunks,
                             pc.pc_pmap.pm_id)
                faults += 1
        before = pc
        pc = pc.pc_lru_next
    if s.lru_last != before or chunks != s.chunks:
        if faults == 0:
            snprintf(why, why_size, b"%ld pv chunks on the LRU, %ld counted", <long>chunks, <long>s.chunks)
        faults += 1
    return faults
