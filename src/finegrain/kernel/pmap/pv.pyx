# PV entries and chunks: allocation, freeing, reclaim.
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

from finegrain.kernel.list cimport list_insert_after, list_insert_tail, list_remove
from finegrain.kernel.locks cimport lock_name, lock_site, mtx_init, mtx_lock, mtx_unlock
from finegrain.kernel.phys cimport (
    DMAP_TO_PHYS, PHYS_TO_DMAP, PHYS_TO_VM_PAGE, VM_ALLOC_NORMAL, VM_ALLOC_WIRED, vm_page_alloc_noobj, vm_page_free)
from finegrain.kernel.pmap.di cimport (
    pmap_delayed_invl_finish, pmap_delayed_invl_page, pmap_delayed_invl_start, pmap_not_in_di)
from finegrain.kernel.pmap.pt cimport (
    OPS_PTE, OPS_PV, OPS_WALK, PG_FRAME, PG_PS, PG_W, PMAP_LOCK, PMAP_LOCK_ASSERT, PMAP_TRYLOCK, PMAP_UNLOCK,
    count_shortage, harvest, maybe_clear_writeable, pmap_invalidate_all, pmap_pde, pmap_pde_to_pte, pmap_state_of,
    pmap_unuse_pt, pte_load_clear, spglist, vm_page_free_pages_toq)
from finegrain.kernel.pmap.pvlock cimport CHANGE_PV_LIST_LOCK_TO_PHYS, RELEASE_PV_LIST_LOCK, page_to_pvh
from finegrain.kernel.types cimport pt_entry_t
from finegrain.machine.seam cimport arena_alloc, arena_free, arena_offset, panic

cdef uint16_t NAME_CHUNK_LIST = lock_name(b"sleep mutex", b"pmap pv chunk list")
cdef uint16_t SITE_GET = lock_site(b"get_pv_entry")
cdef uint16_t SITE_RESERVE = lock_site(b"reserve_pv_entries")
cdef uint16_t SITE_FREE = lock_site(b"free_pv_chunk")
cdef uint16_t SITE_BATCH = lock_site(b"free_pv_chunk_batch")
cdef uint16_t SITE_RECLAIM = lock_site(b"reclaim_pv_chunk")
cdef uint16_t SITE_RECLAIM_PV = lock_site(b"reclaim_pv_chunk/pv list")
cdef uint16_t SITE_RECLAIM_PMAP = lock_site(b"reclaim_pv_chunk/pmap")

cdef enum:
    CHUNK_HEADER = 64                   # bytes of a pv_chunk before its entries


cdef int pv_create(machine* m) except -1:
    cdef pv_state* s = <pv_state*>arena_alloc(m, sizeof(pv_state))
    if sizeof(pv_entry) != 24 or sizeof(pv_chunk) != PAGE_SIZE:
        raise AssertionError("the layout of a pv chunk is not FreeBSD's")
    mtx_init(&s.chunk_list_lock, NAME_CHUNK_LIST, 0)
    m.pv = s
    return 0


cdef void pv_reset(machine* m) noexcept nogil:
    memset((<pv_state*>m.pv).chunks_freed, 0, (CHUNKS_FREED_MAX + 1) * sizeof(uint64_t))


# --- the LRU: chunk list mutex held.  Chunks next to each other belong to different pmaps.

cdef inline void lru_insert_tail(thread* td, pv_state* s, pv_chunk* pc) noexcept nogil:
    touch_write(td, &s.lru_first)
    if s.lru_last != NULL:
        touch_write(td, s.lru_last)
    list_insert_tail(<void**>&s.lru_first, <void**>&s.lru_last, pc, <void**>&pc.pc_lru_next, <void**>&pc.pc_lru_prev)


cdef inline void lru_insert_after(thread* td, pv_state* s, pv_chunk* where, pv_chunk* pc) noexcept nogil:
    cdef pv_chunk* after = s.lru_first if where == NULL else where.pc_lru_next
    touch_write(td, &s.lru_first)
    if where != NULL:
        touch_write(td, where)
    if after != NULL:
        touch_write(td, after)
    list_insert_after(<void**>&s.lru_first, <void**>&s.lru_last, where, pc, <void**>&pc.pc_lru_next,
                      <void**>&pc.pc_lru_prev)


cdef inline void lru_remove(thread* td, pv_state* s, pv_chunk* pc) noexcept nogil:
    touch_read(td, pc)
    touch_write(td, pc.pc_lru_prev if pc.pc_lru_prev != NULL else <pv_chunk*>&s.lru_first)
    touch_write(td, pc.pc_lru_next if pc.pc_lru_next != NULL else <pv_chunk*>&s.lru_first)
    list_remove(<void**>&s.lru_first, <void**>&s.lru_last, pc, <void**>&pc.pc_lru_next, <void**>&pc.pc_lru_prev)


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
# May block:  on the chunk list and free page locks; with lockp, on another pmap's lock.  Never sleeps.
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
            return chunk_take(pm, pc)
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
    pmap_chunk_insert_head(pm, pc)
    return &pc.pc_pventry[0]


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
            pmap_chunk_remove(pm, pc)
            pmap_chunk_insert_head(pm, pc)
        return
    pmap_chunk_remove(pm, pc)
    free_pv_chunk(td, pc)


# Locks in:   the pmap lock of pm; *lockp is NULL or a PV list lock held for write.
# Locks out:  the pmap lock of pm; *lockp may have been dropped, and may be another lock or NULL.
# May block:  on the chunk list and free page locks, and another pmap's lock.  Never sleeps.
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
            pmap_chunk_insert_head(pm, pc)
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


cdef pv_entry* pmap_pvh_remove(thread* td, md_page* pvh, vm_paddr_t pa, pmap* pm, vm_offset_t va) noexcept nogil:
    cdef pv_entry* pv = pvh.pv_first
    PV_LIST_LOCK_ASSERT(td, pa)
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

cdef inline void free_pv_chunk_dequeued(thread* td, pv_chunk* pc) noexcept nogil:
    cdef vm_page* m = PHYS_TO_VM_PAGE(td, DMAP_TO_PHYS(td, pc))
    pc.pc_pmap = NULL
    m.ref_count = 0
    vm_page_free(td, m)


# Locks in:   the pmap lock; in pmap_remove and, without batching, in pmap_remove_pages also a PV list lock.
# Locks out:  the same.
# May block:  on the chunk list mutex and the free page locks.
# Stands for: FreeBSD free_pv_chunk().
cdef void free_pv_chunk(thread* td, pv_chunk* pc) noexcept nogil:
    cdef pv_state* s = pv_of(td)
    mtx_lock(td, &s.chunk_list_lock, SITE_FREE)
    s.chunks -= 1
    lru_remove(td, s, pc)
    mtx_unlock(td, &s.chunk_list_lock)
    free_pv_chunk_dequeued(td, pc)


# Locks in:   the pmap lock; no PV list lock.
# Locks out:  the same.
# May block:  on the chunk list mutex, once, and the free page locks.
# Stands for: FreeBSD free_pv_chunk_batch().
cdef void free_pv_chunk_batch(thread* td, pv_chunk* first) noexcept nogil:
    cdef pv_state* s = pv_of(td)
    cdef pv_chunk* pc = first
    cdef pv_chunk* after
    if first == NULL:
        return
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


# --- reclaim

cdef void reclaim_leave_pmap(thread* td, pmap* pm, pmap* locked_pmap, bint start_di) noexcept nogil:
    if pm == NULL:
        return
    pmap_invalidate_all(td, pm)
    if pm != locked_pmap:
        PMAP_UNLOCK(td, pm)
    if start_di:
        pmap_delayed_invl_finish(td)


# Destroy the unwired 4 KB mappings of one chunk.  How many there were.
cdef int64_t reclaim_mappings(thread* td, pmap* pm, pv_chunk* pc, spglist* free, pvlock** lockp) noexcept nogil:
    cdef int field
    cdef int bit
    cdef int64_t freed = 0
    cdef uint64_t inuse
    cdef pv_entry* pv
    cdef pt_entry_t* pde
    cdef pt_entry_t* pte
    cdef pt_entry_t old
    cdef vm_page* m
    for field in range(NPCM):
        inuse = ~pc.pc_map[field] & PC_FREE_MASK(field)
        while inuse != 0:
            bit = ctz(inuse)
            inuse &= inuse - 1
            pv = &pc.pc_pventry[field * 64 + bit]
            charge(td, td.machine.cost.op, OPS_WALK + OPS_PTE + OPS_PV)
            pde = pmap_pde(td, pm, pv.pv_va)
            if pde[0] & PG_PS:
                continue
            pte = pmap_pde_to_pte(td, pde[0], pv.pv_va)
            if pte[0] & PG_W:
                continue
            old = pte_load_clear(pte)
            m = PHYS_TO_VM_PAGE(td, old & PG_FRAME)
            harvest(td, m, old)
            CHANGE_PV_LIST_LOCK_TO_PHYS(td, lockp, m.phys_addr, SITE_RECLAIM_PV)
            pv_list_remove(td, &m.md, m.phys_addr, pv)
            maybe_clear_writeable(td, m, page_to_pvh(td, m))
            pmap_delayed_invl_page(td, m)
            pc.pc_map[field] |= (<uint64_t>1) << bit
            pmap_unuse_pt(td, pm, pv.pv_va, pde[0], free)
            freed += 1
    pm.resident_count -= freed
    return freed


# Find a page for a pv chunk when there is no free one, by destroying mappings, oldest chunks first.
#
# Two markers in the LRU bound the walk, since the chunk list mutex is dropped while a chunk is worked on.  A pmap above
# the held one (in lock order: by address) may be waited for, once the PV list lock is dropped; one below is only tried.
#
# Locks in:   the pmap lock of locked_pmap; *lockp is NULL or a PV list lock held for write.
# Locks out:  the pmap lock of locked_pmap; *lockp may have been dropped, and may be another lock or NULL.
# May block:  on other pmaps' locks, PV list locks, the chunk list mutex, the free page locks.  Never sleeps.
# Returns:    a wired page, of a chunk that became empty or a PTP; NULL when an entry of locked_pmap was freed, or
#             there was nothing to take.
# Stands for: FreeBSD reclaim_pv_chunk().
cdef vm_page* reclaim_pv_chunk(thread* td, pmap* locked_pmap, pvlock** lockp) noexcept nogil:
    cdef pv_state* s = pv_of(td)
    cdef pv_chunk* marker = <pv_chunk*>arena_alloc(td.machine, CHUNK_HEADER)
    cdef pv_chunk* marker_end = <pv_chunk*>arena_alloc(td.machine, CHUNK_HEADER)
    cdef pv_chunk* pc
    cdef pmap* pm = NULL
    cdef pmap* wanted
    cdef vm_page* page = NULL
    cdef spglist free
    cdef bint start_di = pmap_not_in_di(td)
    cdef bint skip
    cdef int64_t freed
    PMAP_LOCK_ASSERT(td, locked_pmap)
    free.first = NULL
    mtx_lock(td, &s.chunk_list_lock, SITE_RECLAIM)
    s.reclaims += 1
    s.active_reclaims += 1
    lru_insert_after(td, s, NULL, marker)
    lru_insert_tail(td, s, marker_end)
    while True:
        pc = marker.pc_lru_next
        if pc == marker_end or free.first != NULL:
            break
        wanted = pc.pc_pmap
        skip = wanted == NULL           # another reclaimer's marker
        if not skip:
            mtx_unlock(td, &s.chunk_list_lock)
            if pm != wanted:
                reclaim_leave_pmap(td, pm, locked_pmap, start_di)
                pm = wanted
                if arena_offset(td.machine, pm) > arena_offset(td.machine, locked_pmap):
                    RELEASE_PV_LIST_LOCK(td, lockp)
                    PMAP_LOCK(td, pm, SITE_RECLAIM_PMAP)
                elif pm != locked_pmap and not PMAP_TRYLOCK(td, pm, SITE_RECLAIM_PMAP):
                    pm = NULL
                if pm != NULL and start_di:
                    pmap_delayed_invl_start(td)
                if pm != locked_pmap:
                    mtx_lock(td, &s.chunk_list_lock, SITE_RECLAIM)
                    if pm != NULL:
                        continue        # the chunk may have gone while nothing held it: look again
                    pc = marker.pc_lru_next
                    if pc == marker_end or pc.pc_pmap != wanted:
                        continue
                    skip = True
            if not skip:
                freed = reclaim_mappings(td, pm, pc, &free, lockp)
                if freed != 0:
                    pmap_chunk_remove(pm, pc)
                    if chunk_empty(pc):
                        page = PHYS_TO_VM_PAGE(td, DMAP_TO_PHYS(td, pc))
                        pc.pc_pmap = NULL
                        mtx_lock(td, &s.chunk_list_lock, SITE_RECLAIM)
                        s.chunks -= 1
                        lru_remove(td, s, pc)
                        break
                    pmap_chunk_insert_head(pm, pc)
                mtx_lock(td, &s.chunk_list_lock, SITE_RECLAIM)
                if freed != 0 and pm == locked_pmap:
                    break
        lru_remove(td, s, marker)
        lru_insert_after(td, s, pc, marker)
        if s.active_reclaims == 1 and pm != NULL:
            # Chunks looked at go to the end, so that the next reclaimer does not look at them first.
            while s.lru_first != marker:
                pc = s.lru_first
                lru_remove(td, s, pc)
                lru_insert_tail(td, s, pc)
    lru_remove(td, s, marker)
    lru_remove(td, s, marker_end)
    s.active_reclaims -= 1
    mtx_unlock(td, &s.chunk_list_lock)
    reclaim_leave_pmap(td, pm, locked_pmap, start_di)
    if page == NULL and free.first != NULL:
        page = free.first
        free.first = page.plinks_next
        page.plinks_next = NULL
        page.ref_count = 1
    vm_page_free_pages_toq(td, &free)
    arena_free(td.machine, marker, CHUNK_HEADER)
    arena_free(td.machine, marker_end, CHUNK_HEADER)
    return page


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
