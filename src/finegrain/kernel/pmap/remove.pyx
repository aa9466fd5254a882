# Removing mappings from the pmap's side.
#
# Both operations walk entries with the pmap locked and carry a PV list lock from page to page: it changes only when
# the next page needs another one.
#
#     pmap_remove                                   pmap_remove_pages
#     -----------                                   -----------------
#     DI start                                      pmap lock {
#     pmap lock {                                     for each chunk, for each entry:
#       for each PTE:                                   clear its PTE
#         clear it                                      PV list lock X carried {
#         PV list lock X carried {                        unlink the entry: it is in hand, no search
#           search the list, unlink, free the entry     }
#         }                                             chunk empty: head: free it, PV list lock held
#       drop the PV list lock                                        batch: remember it
#       flush                                         drop the PV list lock
#     }                                               flush this CPU
#     DI finish; free PTPs                            batch: free the chunks
#                                                   } free PTPs

from libc.stdint cimport int64_t, uint16_t, uint64_t

from finegrain.kernel.locks cimport lock_site
from finegrain.kernel.phys cimport PHYS_TO_VM_PAGE, vm_page_dirty
from finegrain.kernel.pmap.chunk cimport PC_FREE_MASK, ctz, pmap_chunk_remove, pv_list_remove
from finegrain.kernel.pmap.di cimport pmap_delayed_invl_finish, pmap_delayed_invl_page, pmap_delayed_invl_start
from finegrain.kernel.pmap.pt cimport (
    NBPDR, OPS_CALL, OPS_PTE, OPS_PV, OPS_WALK, PG_FRAME, PG_G, PG_MANAGED, PG_PS, PG_PS_FRAME, PG_V, PG_W, PMAP_LOCK,
    PMAP_LOCK_ASSERT, PMAP_UNLOCK, harvest, maybe_clear_writeable, pmap_active_elsewhere, pmap_add_delayed_free_list,
    pmap_invalidate_all, pmap_invalidate_page, pmap_invalidate_range, pmap_next_pde, pmap_pde, pmap_pde_index,
    pmap_pde_to_pte, pmap_pdpe, pmap_unuse_pt, pte_dirty, pte_load_clear, table_of, touch_next_pte,
    vm_page_free_pages_toq)
from finegrain.kernel.pmap.pv cimport count_chunks_freed, free_pv_chunk, free_pv_chunk_batch, pmap_pvh_free
from finegrain.kernel.pmap.pvlock cimport (
    CHANGE_PV_LIST_LOCK_TO_PHYS, PHYS_TO_PV_LIST_LOCK, PV_LIST_CARRIED_ASSERT, PV_LIST_LOCK_ASSERT,
    RELEASE_PV_LIST_LOCK, page_to_pvh, pvlock_state)
from finegrain.kernel.pmap.radix cimport pmap_remove_pt_page
from finegrain.kernel.pmap.superpage cimport pmap_demote_pde_locked, pmap_remove_pde
from finegrain.kernel.types cimport NPCM, NPTEPG, PAGE_SIZE, pv_chunk, pv_entry, vm_page
from finegrain.machine.seam cimport charge, panic, touch_read, touch_write, unlikely

cdef uint16_t SITE_REMOVE = lock_site(b"pmap_remove")
cdef uint16_t SITE_REMOVE_PMAP = lock_site(b"pmap_remove/pmap")
cdef uint16_t SITE_PAGES = lock_site(b"pmap_remove_pages")
cdef uint16_t SITE_PAGES_PMAP = lock_site(b"pmap_remove_pages/pmap")


# Remove one small mapping; the caller invalidates.
#
# Locks in:   the pmap lock of pm; *lockp is NULL or a PV list lock held for write.
# Locks out:  the pmap lock of pm; the PV list lock of the page, if it is managed.
# May block:  on PV list, chunk list and free page locks.
# Returns:    True when the page table went with it.
# Stands for: FreeBSD pmap_remove_pte().
cdef bint pmap_remove_pte(thread* td, pmap* pm, pt_entry_t* pte, vm_offset_t va, pt_entry_t pde, spglist* free,
                          pvlock** lockp) noexcept nogil:
    cdef pt_entry_t old
    cdef vm_page* m
    PMAP_LOCK_ASSERT(td, pm)
    PV_LIST_CARRIED_ASSERT(td, lockp)
    touch_write(td, pte)
    old = pte_load_clear(pte)
    touch_write(td, &pm.resident_count)
    charge(td, td.machine.cost.op, OPS_PTE)
    if old & PG_W:
        pm.wired_count -= 1
    pm.resident_count -= 1
    if old & PG_MANAGED:
        m = PHYS_TO_VM_PAGE(td, old & PG_FRAME)
        harvest(td, m, old)
        CHANGE_PV_LIST_LOCK_TO_PHYS(td, lockp, m.phys_addr, SITE_REMOVE)
        pmap_pvh_free(td, &m.md, m.phys_addr, pm, va)
        maybe_clear_writeable(td, m, page_to_pvh(td, m))
        pmap_delayed_invl_page(td, m)
    return pmap_unuse_pt(td, pm, va, pde, free)


# Remove the small mappings of a range within one page table; the caller invalidates, but for global mappings (the
# kernel's): each run of them is invalidated here, on all CPUs, under the PV list lock of its last page.
#
# Locks in:   the pmap lock of pm; *lockp is NULL or a PV list lock held for write.
# Locks out:  the pmap lock of pm; *lockp may be another lock.
# May block:  on PV list, chunk list and free page locks; waits for the other CPUs' acknowledgements.
# Returns:    True when anything was valid that is not global.
# Stands for: FreeBSD pmap_remove_ptes().
cdef bint pmap_remove_ptes(thread* td, pmap* pm, vm_offset_t sva, vm_offset_t eva, pt_entry_t* pde, spglist* free,
                           pvlock** lockp) noexcept nogil:
    cdef pt_entry_t entry = pde[0]
    cdef pt_entry_t* pte = pmap_pde_to_pte(td, entry, sva)
    cdef bint anyvalid = False
    cdef int64_t empty = 0
    cdef vm_offset_t run = eva          # where a run of global mappings began; eva: there is none
    PMAP_LOCK_ASSERT(td, pm)
    PV_LIST_CARRIED_ASSERT(td, lockp)
    while sva != eva:
        touch_next_pte(td, pte)
        if pte[0] == 0:
            empty += 1
            if run != eva:
                pmap_invalidate_range(td, pm, run, sva)
                run = eva
        else:
            if (pte[0] & PG_G) == 0:
                anyvalid = True
            elif run == eva:
                run = sva
            if pmap_remove_pte(td, pm, pte, sva, entry, free, lockp):
                break
        pte += 1
        sva += PAGE_SIZE
    if run != eva:
        pmap_invalidate_range(td, pm, run, sva)
    charge(td, td.machine.cost.op, empty // 4 + OPS_WALK)
    return anyvalid


# Remove all mappings of [start, end).
#
# Locks in:   none of the pmap's; usually the vm map lock, exclusively.
# Locks out:  the same.
# May block:  on the pmap lock, PV list, chunk list and free page locks; to demote in shortage, on other pmaps' locks;
#             spins for DI; waits for the other CPUs' acknowledgements.  Never sleeps.
# Guarantees: no TLB holds a translation of the range.
# Stands for: FreeBSD pmap_remove().
cdef void pmap_remove(thread* td, pmap* pm, vm_offset_t start, vm_offset_t end) noexcept nogil:
    cdef pvlock* lock = NULL
    cdef spglist free
    cdef pt_entry_t* pde
    cdef pt_entry_t* pte
    cdef vm_offset_t va_next
    cdef bint anyvalid = False
    charge(td, td.machine.cost.op, OPS_CALL)
    # Read without the lock: whoever could map something here is kept out by the vm map lock.
    if pm.resident_count == 0:
        return
    free.first = NULL
    pmap_delayed_invl_start(td)
    PMAP_LOCK(td, pm, SITE_REMOVE_PMAP)
    if start + PAGE_SIZE == end:
        pde = pmap_pde(td, pm, start)
        if pde != NULL and (pde[0] & PG_PS) == 0:
            if pde[0] & PG_V:
                pte = pmap_pde_to_pte(td, pde[0], start)
                if pte[0] & PG_V:
                    pmap_remove_pte(td, pm, pte, start, pde[0], &free, &lock)
                    RELEASE_PV_LIST_LOCK(td, &lock)
                    pmap_invalidate_page(td, pm, start)
            start = end
    while start < end and pm.resident_count != 0:
        pde = pmap_next_pde(td, pm, start, end, &va_next)
        if pde != NULL:
            if pde[0] & PG_PS and va_next - start == NBPDR:
                anyvalid = True
                pmap_remove_pde(td, pm, pde, start, &free, &lock, SITE_REMOVE)
            elif (pde[0] & PG_PS) == 0 or pmap_demote_pde_locked(td, pm, pde, start, &lock):
                if pmap_remove_ptes(td, pm, start, va_next, pde, &free, &lock):
                    anyvalid = True
        start = va_next
    # From here until the flush an entry may be gone from the PV list and alive in a TLB: the DI block's business.
    RELEASE_PV_LIST_LOCK(td, &lock)
    if anyvalid:
        pmap_invalidate_all(td, pm)
    PMAP_UNLOCK(td, pm)
    pmap_delayed_invl_finish(td)
    vm_page_free_pages_toq(td, &free)


# Unlink the entry of a superpage mapping that remove_pages has cleared.
#
# Locks in:   the pmap lock of pm; the PV list lock of the superpage, for write.
# Locks out:  the same.
# May block:  never.
# Stands for: the superpage case of FreeBSD pmap_remove_pages().
cdef void remove_superpage_entry(thread* td, pmap* pm, pv_entry* pv, pt_entry_t old, vm_page* m,
                                 spglist* free) noexcept nogil:
    cdef vm_page* mpte
    cdef int i
    PMAP_LOCK_ASSERT(td, pm)
    PV_LIST_LOCK_ASSERT(td, m.phys_addr)
    pm.resident_count -= NPTEPG
    pv_list_remove(td, page_to_pvh(td, m), m.phys_addr, pv)
    for i in range(NPTEPG):
        if pte_dirty(old):
            vm_page_dirty(td, &m[i])
        maybe_clear_writeable(td, &m[i], page_to_pvh(td, m))
    charge(td, td.machine.cost.op, NPTEPG * OPS_PTE)
    mpte = pmap_remove_pt_page(td, pm, pv.pv_va)
    if mpte != NULL:
        pm.ptp_count -= 1
        mpte.ref_count = 0
        pmap_add_delayed_free_list(mpte, free, False)


# Remove all mappings but wired ones: what exit and exec do, by far the busiest user of PV list locks.
#
# Locks in:   none of the pmap's.  The pmap is td's own, and no other CPU uses it.
# Locks out:  the same.
# May block:  on the pmap lock, PV list (carried), chunk list and free page locks.  Never sleeps.
# Guarantees: no unwired managed mapping is left, and no TLB holds one.
# Stands for: FreeBSD pmap_remove_pages().
cdef void pmap_remove_pages(thread* td, pmap* pm) noexcept nogil:
    cdef pvlock* lock = NULL
    cdef bint batch = (<pvlock_state*>td.machine.pvlock).batch
    cdef pv_chunk* emptied = NULL
    cdef pv_chunk* last_emptied = NULL
    cdef pv_chunk* pc
    cdef pv_chunk* next_pc
    cdef pv_entry* pv
    cdef spglist free
    cdef vm_page* m
    cdef pt_entry_t* pte
    cdef pt_entry_t above               # the entry that points to the table of the PTE (or PDE)
    cdef pt_entry_t old
    cdef bint superpage
    cdef bint allfree
    cdef int field
    cdef uint64_t inuse
    cdef uint64_t bitmask
    cdef int64_t work                   # operations done and not charged yet
    cdef uint64_t nfreed = 0
    if unlikely(td.pmap != <void*>pm or pmap_active_elsewhere(td, pm)):
        panic(td, b"pmap_remove_pages of a pmap that is not the current one, or is used by another CPU")
    free.first = NULL
    PMAP_LOCK(td, pm, SITE_PAGES_PMAP)
    work = OPS_CALL
    pc = pm.pm_pvchunk_first
    while pc != NULL:
        next_pc = pc.pc_list_next
        allfree = True
        touch_write(td, pc)
        for field in range(NPCM):
            inuse = ~pc.pc_map[field] & PC_FREE_MASK(field)
            while inuse != 0:
                bitmask = inuse & -inuse
                pv = &pc.pc_pventry[field * 64 + ctz(inuse)]
                touch_read(td, pv)
                inuse &= inuse - 1
                work += OPS_WALK + OPS_PTE + OPS_PV
                above = pmap_pdpe(td, pm, pv.pv_va)[0]
                pte = &table_of(td, above)[pmap_pde_index(pv.pv_va)]
                touch_read(td, pte)
                old = pte[0]
                superpage = (old & (PG_PS | PG_V)) != PG_V
                if not superpage:
                    above = old
                    pte = pmap_pde_to_pte(td, above, pv.pv_va)
                    old = pte[0]
                if unlikely((old & PG_V) == 0):
                    panic(td, b"a pv entry has no mapping")
                if old & PG_W:
                    allfree = False
                    continue
                # Nobody else runs with this pmap: no need to exchange.
                touch_write(td, pte)
                pte[0] = 0
                touch_write(td, &pm.resident_count)
                m = PHYS_TO_VM_PAGE(td, old & (PG_PS_FRAME if superpage else PG_FRAME))
                if lock != PHYS_TO_PV_LIST_LOCK(td, m.phys_addr):
                    charge(td, td.machine.cost.op, work)
                    work = 0
                CHANGE_PV_LIST_LOCK_TO_PHYS(td, &lock, m.phys_addr, SITE_PAGES)
                pc.pc_map[field] |= bitmask
                if unlikely(superpage):
                    remove_superpage_entry(td, pm, pv, old, m, &free)
                else:
                    if pte_dirty(old):
                        vm_page_dirty(td, m)
                    pm.resident_count -= 1
                    pv_list_remove(td, &m.md, m.phys_addr, pv)
                    maybe_clear_writeable(td, m, page_to_pvh(td, m))
                pmap_unuse_pt(td, pm, pv.pv_va, above, &free)
        if allfree:
            nfreed += 1
            pmap_chunk_remove(td, pm, pc)
            if batch:
                pc.pc_list_next = NULL
                if last_emptied == NULL:
                    emptied = pc
                else:
                    last_emptied.pc_list_next = pc
                last_emptied = pc
            else:
                charge(td, td.machine.cost.op, work)
                work = 0
                free_pv_chunk(td, pc)
        pc = next_pc
    charge(td, td.machine.cost.op, work)
    RELEASE_PV_LIST_LOCK(td, &lock)
    pmap_invalidate_all(td, pm)
    free_pv_chunk_batch(td, emptied)
    PMAP_UNLOCK(td, pm)
    vm_page_free_pages_toq(td, &free)
    count_chunks_freed(td, nfreed)
