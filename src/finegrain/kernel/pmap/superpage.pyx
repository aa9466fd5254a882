# Superpages.  One entry on the superpage's PV list stands for what would be 512 entries on the lists of its pages;
# promotion and demotion change the one into the other, under one PV list lock: that of the superpage, which in every
# design is also that of each of its pages.
#
# At promotion the PTP leaves the page tables but not the pmap: it is saved in a tree (pm_root, radix), its PTEs as they
# were, so that demotion needs no memory for it.  Demotion refills it when the superpage's attributes have changed.

from libc.stdint cimport uint16_t

from finegrain.kernel.locks cimport lock_site
from finegrain.kernel.phys cimport PHYS_TO_DMAP, PHYS_TO_VM_PAGE
from finegrain.kernel.pmap.chunk cimport chunk_full, chunk_take, pv_list_insert_tail
from finegrain.kernel.pmap.di cimport pmap_delayed_invl_page
from finegrain.kernel.pmap.pt cimport (
    OPS_PTE, OPS_PV, OPS_WALK, PDRMASK, PG_A, PG_FRAME, PG_M, PG_MANAGED, PG_PROMOTED, PG_PS, PG_PS_FRAME,
    PG_PTE_PROMOTE, PG_RW, PG_U, PG_V, PG_W, PMAP_LOCK_ASSERT, harvest, maybe_clear_writeable,
    pmap_add_delayed_free_list, pmap_invalidate_pde_page, pmap_pdpe, pmap_state_of, pmap_unuse_pt, pte_cas,
    pte_load_clear, ptp_alloc, table_of, vm_page_free_pages_toq)
from finegrain.kernel.pmap.pv cimport get_pv_entry, pmap_pvh_free, pmap_pvh_remove, reserve_pv_entries
from finegrain.kernel.pmap.pvlock cimport (
    CHANGE_PV_LIST_LOCK_TO_PHYS, PV_LIST_CARRIED_ASSERT, RELEASE_PV_LIST_LOCK, pa_to_pvh)
from finegrain.kernel.pmap.radix cimport pmap_insert_pt_page, pmap_remove_pt_page
from finegrain.kernel.types cimport NPTEPG, PAGE_SIZE, md_page, pv_chunk, pv_entry, vm_paddr_t, vm_page
from finegrain.machine.seam cimport charge, panic, touch_write, unlikely

cdef uint16_t SITE_DEMOTE = lock_site(b"pmap_demote_pde")
cdef uint16_t SITE_PROMOTE = lock_site(b"pmap_promote_pde")


# Put an entry for a superpage mapping on the superpage's list.
#
# Locks in:   the pmap lock of pm; *lockp is NULL or a PV list lock held for write.
# Locks out:  the pmap lock of pm and the PV list lock of the superpage; on False, whatever lockp says.
# May block:  on PV list, chunk list and free page locks; with reclaim, on other pmaps' locks.
# Returns:    False when no entry could be had.
# Stands for: FreeBSD pmap_pv_insert_pde().
cdef bint pmap_pv_insert_pde(thread* td, pmap* pm, vm_offset_t va, pt_entry_t pde, bint reclaim, pvlock** lockp,
                             uint16_t site) noexcept nogil:
    cdef vm_paddr_t pa = pde & PG_PS_FRAME
    cdef pv_entry* pv
    PMAP_LOCK_ASSERT(td, pm)
    PV_LIST_CARRIED_ASSERT(td, lockp)
    pv = get_pv_entry(td, pm, lockp if reclaim else NULL)
    if pv == NULL:
        return False
    pv.pv_va = va
    charge(td, td.machine.cost.op, OPS_PV)
    CHANGE_PV_LIST_LOCK_TO_PHYS(td, lockp, pa, site)
    pv_list_insert_tail(td, pa_to_pvh(td, pa), pa, pv)
    return True


# Move the superpage's entry to its first page, and give the other 511 pages one each.
#
# Locks in:   the pmap lock of pm; *lockp is NULL or a PV list lock held for write; 511 entries are reserved.
# Locks out:  the pmap lock of pm and the PV list lock of the superpage.
# May block:  on that PV list lock.
# Stands for: FreeBSD pmap_pv_demote_pde().
cdef void pmap_pv_demote_pde(thread* td, pmap* pm, vm_offset_t va, vm_paddr_t pa, pvlock** lockp) noexcept nogil:
    cdef vm_page* m = PHYS_TO_VM_PAGE(td, pa)
    cdef pv_entry* pv
    cdef pv_chunk* pc
    cdef int i
    PMAP_LOCK_ASSERT(td, pm)
    PV_LIST_CARRIED_ASSERT(td, lockp)
    CHANGE_PV_LIST_LOCK_TO_PHYS(td, lockp, pa, SITE_DEMOTE)
    va &= ~<vm_offset_t>PDRMASK
    pv = pmap_pvh_remove(td, pa_to_pvh(td, pa), pa, pm, va)
    pv_list_insert_tail(td, &m.md, m.phys_addr, pv)
    for i in range(1, NPTEPG):
        pc = pm.pm_pvchunk_first
        if unlikely(pc == NULL or chunk_full(pc)):
            panic(td, b"demotion ran out of reserved pv entries")
        pv = chunk_take(td, pm, pc)
        touch_write(td, pc)
        m += 1
        pv.pv_va = va + <vm_offset_t>i * PAGE_SIZE
        pv_list_insert_tail(td, &m.md, m.phys_addr, pv)
        charge(td, td.machine.cost.op, OPS_PV)


# Move the first page's entry to the superpage, and give those of the other 511 pages back: a list search for each.
#
# Locks in:   the pmap lock of pm; *lockp is NULL or a PV list lock held for write.
# Locks out:  the pmap lock of pm and the PV list lock of the superpage.
# May block:  on that PV list lock; under it on the chunk list and free page locks.
# Stands for: FreeBSD pmap_pv_promote_pde().
cdef void pmap_pv_promote_pde(thread* td, pmap* pm, vm_offset_t va, vm_paddr_t pa, pvlock** lockp) noexcept nogil:
    cdef vm_page* m = PHYS_TO_VM_PAGE(td, pa)
    cdef pv_entry* pv
    cdef int i
    PMAP_LOCK_ASSERT(td, pm)
    PV_LIST_CARRIED_ASSERT(td, lockp)
    CHANGE_PV_LIST_LOCK_TO_PHYS(td, lockp, pa, SITE_PROMOTE)
    va &= ~<vm_offset_t>PDRMASK
    pv = pmap_pvh_remove(td, &m.md, pa, pm, va)
    pv_list_insert_tail(td, pa_to_pvh(td, pa), pa, pv)
    for i in range(1, NPTEPG):
        pmap_pvh_free(td, &m[i].md, pa, pm, va + <vm_offset_t>i * PAGE_SIZE)


cdef void pmap_fill_ptp(thread* td, pt_entry_t* firstpte, pt_entry_t newpte) noexcept nogil:
    cdef int i
    for i in range(NPTEPG):
        firstpte[i] = newpte + <pt_entry_t>i * PAGE_SIZE
    charge(td, td.machine.cost.op, NPTEPG)


# Demote.
#
# Locks in:   the pmap lock of pm; *lockp is NULL or a PV list lock held for write.
# Locks out:  the pmap lock of pm; *lockp may be another lock or NULL, and is the superpage's if True is returned and
#             the mapping is managed.  A caller that held the superpage's own lock still holds it, unless memory was
#             so short that a chunk had to be reclaimed.
# May block:  on PV list, chunk list and free page locks; in shortage on other pmaps' locks.  Never sleeps.
# Returns:    True: the PDE points to a page table; False: the mapping was removed and invalidated.
# Stands for: FreeBSD pmap_demote_pde_locked().
cdef bint pmap_demote_pde_locked(thread* td, pmap* pm, pt_entry_t* pde, vm_offset_t va, pvlock** lockp) noexcept nogil:
    cdef pt_entry_t oldpde = pde[0]
    cdef pt_entry_t newpte = oldpde & ~(PG_PS | PG_PROMOTED)
    cdef pt_entry_t* firstpte
    cdef vm_page* mpte = NULL
    cdef spglist free
    PMAP_LOCK_ASSERT(td, pm)
    PV_LIST_CARRIED_ASSERT(td, lockp)
    if unlikely((oldpde & (PG_PS | PG_V)) != (PG_PS | PG_V)):
        panic(td, b"demotion of what is not a superpage mapping")
    if oldpde & PG_A:
        mpte = pmap_remove_pt_page(td, pm, va)
        if mpte == NULL:
            mpte = ptp_alloc(td, False)
            if mpte != NULL:
                mpte.pindex = va >> 21
                mpte.ref_count = NPTEPG
                pm.ptp_count += 1
    if mpte == NULL:
        # Never accessed, or no memory: the mapping is not worth keeping.
        free.first = NULL
        va &= ~<vm_offset_t>PDRMASK
        pmap_remove_pde(td, pm, pde, va, &free, lockp, SITE_DEMOTE)
        pmap_invalidate_pde_page(td, pm, oldpde)
        vm_page_free_pages_toq(td, &free)
        return False
    firstpte = <pt_entry_t*>PHYS_TO_DMAP(td, mpte.phys_addr)
    if mpte.valid == 0 or (firstpte[0] & PG_PTE_PROMOTE) != (newpte & PG_PTE_PROMOTE):
        pmap_fill_ptp(td, firstpte, newpte)
    mpte.valid = 0
    # Before the PDE changes: this may drop the PV list lock, and destroy mappings, of this pmap too, but no superpage.
    if oldpde & PG_MANAGED:
        reserve_pv_entries(td, pm, NPTEPG - 1, lockp)
    pde[0] = mpte.phys_addr | PG_M | PG_A | (oldpde & PG_U) | PG_RW | PG_V
    if oldpde & PG_MANAGED:
        pmap_pv_demote_pde(td, pm, va, oldpde & PG_PS_FRAME, lockp)
    charge(td, td.machine.cost.op, OPS_WALK)
    pmap_state_of(td).demotions += 1
    return True


# Demote, for callers that carry no PV list lock.
#
# Locks in:   the pmap lock of pm; no PV list lock.
# Locks out:  the same.
# May block:  on PV list, chunk list and free page locks; in shortage on other pmaps' locks.  Never sleeps.
# Returns:    as pmap_demote_pde_locked().
# Stands for: FreeBSD pmap_demote_pde().
cdef bint pmap_demote_pde(thread* td, pmap* pm, pt_entry_t* pde, vm_offset_t va) noexcept nogil:
    cdef pvlock* lock = NULL
    cdef bint demoted
    PMAP_LOCK_ASSERT(td, pm)
    demoted = pmap_demote_pde_locked(td, pm, pde, va, &lock)
    RELEASE_PV_LIST_LOCK(td, &lock)
    return demoted


# A clean writable PTE is made read-only on the way, lest the superpage be writable and not known to be dirty.
cdef inline pt_entry_t clean_read_only(pt_entry_t* pte) noexcept nogil:
    cdef pt_entry_t old
    while True:
        old = pte[0]
        if (old & (PG_M | PG_RW)) != PG_RW:
            return old
        if pte_cas(pte, old, old & ~PG_RW):
            return old & ~PG_RW


# Promote: all 512 PTEs valid, accessed, to consecutive frames from a 2 MB boundary, and alike in their attributes.
#
# Locks in:   the pmap lock of pm; *lockp is NULL or a PV list lock held for write.  The page table is full.
# Locks out:  the pmap lock of pm; *lockp may be another lock.
# May block:  on PV list, chunk list and free page locks.
# Stands for: FreeBSD pmap_promote_pde().
cdef void pmap_promote_pde(thread* td, pmap* pm, pt_entry_t* pde, vm_offset_t va, pvlock** lockp) noexcept nogil:
    cdef pt_entry_t* firstpte = table_of(td, pde[0])
    cdef pt_entry_t newpde
    cdef pt_entry_t pte
    cdef vm_page* mpte
    cdef int i
    PMAP_LOCK_ASSERT(td, pm)
    PV_LIST_CARRIED_ASSERT(td, lockp)
    newpde = firstpte[0]
    if (newpde & ((PG_FRAME & PDRMASK) | PG_A | PG_V)) != (PG_A | PG_V):
        charge(td, td.machine.cost.op, OPS_PTE)
        pmap_state_of(td).promotion_failures += 1
        return
    newpde = clean_read_only(firstpte)
    for i in range(NPTEPG - 1, 0, -1):
        pte = firstpte[i]
        if (pte & (PG_FRAME | PG_A | PG_V)) == (newpde & (PG_FRAME | PG_A | PG_V)) + <pt_entry_t>i * PAGE_SIZE:
            pte = clean_read_only(&firstpte[i])
            if (pte & PG_PTE_PROMOTE) == (newpde & PG_PTE_PROMOTE):
                continue
        charge(td, td.machine.cost.op, (NPTEPG - i) * OPS_PTE)
        pmap_state_of(td).promotion_failures += 1
        return
    charge(td, td.machine.cost.op, NPTEPG * OPS_PTE)
    mpte = PHYS_TO_VM_PAGE(td, pde[0] & PG_FRAME)
    if not pmap_insert_pt_page(td, pm, mpte, True):
        pmap_state_of(td).promotion_failures += 1
        return
    if newpde & PG_MANAGED:
        pmap_pv_promote_pde(td, pm, va, newpde & PG_PS_FRAME, lockp)
    pde[0] = newpde | PG_PROMOTED | PG_PS
    pmap_state_of(td).promotions += 1


# Remove a superpage mapping; the caller invalidates.
#
# Locks in:   the pmap lock of pm; *lockp is NULL or a PV list lock held for write.  Perhaps a DI block is open.
# Locks out:  the pmap lock of pm; the PV list lock of the superpage if the mapping is managed.
# May block:  on PV list, chunk list and free page locks.
# Stands for: FreeBSD pmap_remove_pde().
cdef void pmap_remove_pde(thread* td, pmap* pm, pt_entry_t* pde, vm_offset_t sva, spglist* free,
                          pvlock** lockp, uint16_t site) noexcept nogil:
    cdef pt_entry_t oldpde
    cdef vm_paddr_t pa
    cdef md_page* pvh
    cdef vm_page* m
    cdef vm_page* mpte
    cdef int i
    PMAP_LOCK_ASSERT(td, pm)
    PV_LIST_CARRIED_ASSERT(td, lockp)
    oldpde = pte_load_clear(pde)
    if oldpde & PG_W:
        pm.wired_count -= NPTEPG
    pm.resident_count -= NPTEPG
    if oldpde & PG_MANAGED:
        pa = oldpde & PG_PS_FRAME
        CHANGE_PV_LIST_LOCK_TO_PHYS(td, lockp, pa, site)
        pvh = pa_to_pvh(td, pa)
        pmap_pvh_free(td, pvh, pa, pm, sva)
        m = PHYS_TO_VM_PAGE(td, pa)
        for i in range(NPTEPG):
            harvest(td, &m[i], oldpde)
            maybe_clear_writeable(td, &m[i], pvh)
        charge(td, td.machine.cost.op, NPTEPG * OPS_PTE)
        pmap_delayed_invl_page(td, m)   # one slot serves all pages of a superpage
    mpte = pmap_remove_pt_page(td, pm, sva)
    if mpte != NULL:
        pm.ptp_count -= 1
        mpte.ref_count = 0
        pmap_add_delayed_free_list(mpte, free, False)
    pmap_unuse_pt(td, pm, sva, pmap_pdpe(td, pm, sva)[0], free)
