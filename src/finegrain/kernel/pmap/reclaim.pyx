# Reclaim: when no page is free for a pv chunk, one is got by destroying mappings.
#
# Chunks are looked at in the order of the LRU that they are all on, oldest first; a chunk's pmap must be locked before
# its entries may be touched, and the one for which the page is wanted is locked already:
#
#     reclaimer (holds pmap P, perhaps a PV list lock)
#     ------------------------------------------------
#     chunk list mutex { marker to the front of the LRU }
#     for the chunk behind the marker, of pmap Q:
#       Q above P in address: drop the PV list lock, lock Q, waiting
#       Q below P:            try; skip the chunk if Q is locked
#       the chunk list mutex was dropped meanwhile: is the chunk still behind the marker?
#       for each unwired 4 KB mapping: clear its PTE, unlink its entry (PV list lock carried), note it with the DI block
#       the chunk is empty: its page is the answer
#     flush Q's TLBs, unlock it, leave the DI block
#
# With memory to spare this never runs.  A thread that holds a pmap above P must not call it: it would wait for itself.

from libc.stdint cimport int64_t, uint16_t, uint64_t

from finegrain.kernel.locks cimport lock_site, mtx_lock, mtx_unlock
from finegrain.kernel.phys cimport DMAP_TO_PHYS, PHYS_TO_VM_PAGE
from finegrain.kernel.pmap.chunk cimport (
    PC_FREE_MASK, chunk_empty, ctz, lru_insert_after, lru_insert_tail, lru_remove, pmap_chunk_insert_head,
    pmap_chunk_remove, pv_list_remove, pv_of, pv_state)
from finegrain.kernel.pmap.di cimport (
    pmap_delayed_invl_finish, pmap_delayed_invl_page, pmap_delayed_invl_start, pmap_not_in_di)
from finegrain.kernel.pmap.pt cimport (
    OPS_PTE, OPS_PV, OPS_WALK, PG_FRAME, PG_PS, PG_W, PMAP_LOCK, PMAP_LOCK_ASSERT, PMAP_TRYLOCK, PMAP_UNLOCK, harvest,
    maybe_clear_writeable, pmap_invalidate_all, pmap_pde, pmap_pde_to_pte, pmap_unuse_pt, pte_load_clear, spglist,
    vm_page_free_pages_toq)
from finegrain.kernel.pmap.pvlock cimport (
    CHANGE_PV_LIST_LOCK_TO_PHYS, PV_LIST_CARRIED_ASSERT, RELEASE_PV_LIST_LOCK, page_to_pvh)
from finegrain.kernel.types cimport NPCM, pt_entry_t, pv_chunk, pv_entry
from finegrain.machine.seam cimport arena_alloc, arena_free, arena_offset, charge, touch_write

cdef uint16_t SITE_RECLAIM = lock_site(b"reclaim_pv_chunk")
cdef uint16_t SITE_RECLAIM_PV = lock_site(b"reclaim_pv_chunk/pv list")
cdef uint16_t SITE_RECLAIM_PMAP = lock_site(b"reclaim_pv_chunk/pmap")

cdef enum:
    CHUNK_HEADER = 64                   # bytes of a pv_chunk before its entries: enough for a marker


# Done with a pmap, if any: flush what went, and unlock it unless it is the caller's own.
#
# Locks in:   if pm is given, its pmap lock; with start_di, a DI block is open.  No chunk list mutex.
# Locks out:  the pmap lock of pm only if it is locked_pmap; the DI block, if opened here, is closed.
# May block:  never; waits for the other CPUs' acknowledgements, spins as pmap_delayed_invl_finish().
# Stands for: FreeBSD reclaim_pv_chunk_leave_pmap().
cdef void reclaim_leave_pmap(thread* td, pmap* pm, pmap* locked_pmap, bint start_di) noexcept nogil:
    if pm == NULL:
        return
    pmap_invalidate_all(td, pm)
    if pm != locked_pmap:
        PMAP_UNLOCK(td, pm)
    if start_di:
        pmap_delayed_invl_finish(td)


# Destroy the unwired 4 KB mappings of one chunk.
#
# Locks in:   the pmap lock of pm, whose chunk it is; *lockp is NULL or a PV list lock held for write; a DI block is
#             open.
# Locks out:  the pmap lock of pm; *lockp may be another lock.
# May block:  on PV list locks.
# Returns:    how many there were.
# Stands for: the inner loop of FreeBSD reclaim_pv_chunk().
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
    PMAP_LOCK_ASSERT(td, pm)
    PV_LIST_CARRIED_ASSERT(td, lockp)
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
            touch_write(td, pte)
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
# Locks in:   the pmap lock of locked_pmap; *lockp is NULL or a PV list lock held for write; no other pmap lock.
# Locks out:  the pmap lock of locked_pmap; *lockp may have been dropped, and may be another lock or NULL.
# May block:  on other pmaps' locks, PV list locks, the chunk list mutex, the free page locks; waits for the other
#             CPUs' acknowledgements.  Never sleeps.
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
    PV_LIST_CARRIED_ASSERT(td, lockp)
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
                    pmap_chunk_remove(td, pm, pc)
                    if chunk_empty(pc):
                        page = PHYS_TO_VM_PAGE(td, DMAP_TO_PHYS(td, pc))
                        pc.pc_pmap = NULL
                        mtx_lock(td, &s.chunk_list_lock, SITE_RECLAIM)
                        s.chunks -= 1
                        lru_remove(td, s, pc)
                        break
                    pmap_chunk_insert_head(td, pm, pc)
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
