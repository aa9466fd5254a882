# Making mappings: pmap_enter for a fault, pmap_enter_quick and pmap_enter_object for prefaults.
#
# pmap_enter may replace a mapping, sleeps for memory if it may, marks the mapping accessed, and tries to promote.
# The quick ones do none of this: they give up on any difficulty, and map read-only and not accessed.

from libc.stdint cimport int64_t, uint16_t

from finegrain.kernel.locks cimport lock_site
from finegrain.kernel.phys cimport (
    PHYS_TO_DMAP, PHYS_TO_VM_PAGE, vm_page_aflag_set, vm_page_dirty, vm_reserv_level_iffullpop)
from finegrain.kernel.pmap.chunk cimport pv_list_insert_tail
from finegrain.kernel.pmap.di cimport pmap_delayed_invl_finish, pmap_delayed_invl_start
from finegrain.kernel.pmap.kernel cimport pmap_kernel_ptp
from finegrain.kernel.pmap.pt cimport (
    NBPDR, OPS_CALL, OPS_PTE, OPS_PV, OPS_WALK, PDRMASK, PG_A, PG_FRAME, PG_G, PG_M, PG_MANAGED, PG_NX, PG_PS, PG_RW,
    PG_U, PG_V, PG_W, PMAP_LOCK, PMAP_LOCK_ASSERT, PMAP_UNLOCK, VM_MAXUSER_ADDRESS, harvest, maybe_clear_writeable,
    pmap_abort_ptp, pmap_allocpde, pmap_allocpte_new, pmap_invalidate_all, pmap_invalidate_page,
    pmap_invalidate_pde_page, pmap_pde, pmap_pde_index, pmap_pde_pindex, pmap_pte_index, pmap_state_of, pte_dirty,
    pte_load_clear, pte_load_store, spglist, vm_page_free_pages_toq)
from finegrain.kernel.pmap.pv cimport free_pv_entry, get_pv_entry, pmap_pvh_remove
from finegrain.kernel.pmap.pvlock cimport (
    CHANGE_PV_LIST_LOCK_TO_PHYS, PHYS_TO_PV_LIST_LOCK, PV_LIST_CARRIED_ASSERT, RELEASE_PV_LIST_LOCK, page_to_pvh,
    pvlock)
from finegrain.kernel.pmap.remove cimport pmap_remove_ptes
from finegrain.kernel.pmap.superpage cimport (
    pmap_demote_pde_locked, pmap_promote_pde, pmap_pv_insert_pde, pmap_remove_pde)
from finegrain.kernel.types cimport (
    NPTEPG, PAGE_SHIFT, PGA_WRITEABLE, PG_FICTITIOUS, VM_PROT_EXECUTE, VM_PROT_WRITE, VPO_UNMANAGED, pt_entry_t,
    pv_entry, vm_paddr_t, vm_pindex_t)
from finegrain.machine.seam cimport charge, panic, touch_write, unlikely

cdef uint16_t SITE_ENTER = lock_site(b"pmap_enter")
cdef uint16_t SITE_ENTER_PMAP = lock_site(b"pmap_enter/pmap")
cdef uint16_t SITE_OBJECT = lock_site(b"pmap_enter_object")
cdef uint16_t SITE_OBJECT_PMAP = lock_site(b"pmap_enter_object/pmap")
cdef uint16_t SITE_QUICK = lock_site(b"pmap_enter_quick")
cdef uint16_t SITE_QUICK_PMAP = lock_site(b"pmap_enter_quick/pmap")


# The PTP of va for a new entry, counted in it: the one in the tree, or a new one.  A superpage in the way is demoted.
# The kernel's are there, and count nothing.
#
# Locks in:   the pmap lock of pm; *lockp is NULL or a PV list lock held for write.
# Locks out:  the pmap lock of pm; *lockp may be another lock or NULL; both may have been dropped meanwhile.
# May block:  on the free page locks; to demote, on PV list and chunk list locks and, in shortage, other pmaps' locks.
#             Sleeps for memory, then blocks on the pmap lock, unless nosleep.
# Returns:    the PTP; NULL: none could be had without sleeping.
# Stands for: FreeBSD pmap_allocpte() and the search for a PTP in pmap_enter().
cdef inline vm_page* ptp_for_enter(thread* td, pmap* pm, vm_offset_t va, bint nosleep,
                                   pvlock** lockp) noexcept nogil:
    cdef pt_entry_t* pde
    cdef vm_page* mpte
    PMAP_LOCK_ASSERT(td, pm)
    PV_LIST_CARRIED_ASSERT(td, lockp)
    if va >= VM_MAXUSER_ADDRESS:
        return pmap_kernel_ptp(td, pm, va)
    while True:
        pde = pmap_pde(td, pm, va)
        if pde != NULL and pde[0] & PG_V and (
                (pde[0] & PG_PS) == 0 or pmap_demote_pde_locked(td, pm, pde, va, lockp)):
            mpte = PHYS_TO_VM_PAGE(td, pde[0] & PG_FRAME)
            touch_write(td, &mpte.ref_count)
            mpte.ref_count += 1
            return mpte
        mpte = pmap_allocpte_new(td, pm, pmap_pde_pindex(va), NULL if nosleep else lockp)
        if mpte != NULL or nosleep:
            return mpte


# Take the mapping of another page away that pmap_enter replaces.  Its pv entry, if it had one, for the new page.
#
# Locks in:   the pmap lock of pm; *lockp is NULL or a PV list lock held for write.
# Locks out:  the pmap lock of pm; the PV list lock of the old page, if that is managed.
# May block:  on PV list, chunk list and free page locks; waits for the other CPUs' acknowledgements.
# Returns:    the entry; NULL when there was none or it was not to be kept.
# Stands for: a part of FreeBSD pmap_enter().
cdef pv_entry* replace_mapping(thread* td, pmap* pm, vm_offset_t va, pt_entry_t* pte, bint keep,
                               pvlock** lockp) noexcept nogil:
    cdef pt_entry_t old
    cdef pv_entry* pv = NULL
    cdef vm_page* om
    PMAP_LOCK_ASSERT(td, pm)
    PV_LIST_CARRIED_ASSERT(td, lockp)
    old = pte_load_clear(pte)
    if old & PG_MANAGED:
        om = PHYS_TO_VM_PAGE(td, old & PG_FRAME)
        harvest(td, om, old)
        charge(td, td.machine.cost.op, OPS_PV)
        CHANGE_PV_LIST_LOCK_TO_PHYS(td, lockp, om.phys_addr, SITE_ENTER)
        pv = pmap_pvh_remove(td, &om.md, om.phys_addr, pm, va)
        if not keep:
            free_pv_entry(td, pm, pv)
            pv = NULL
        maybe_clear_writeable(td, om, page_to_pvh(td, om))
    # Under the PV list lock: whoever comes from the old page must not think that it is unmapped before this.
    if old & PG_A:
        pmap_invalidate_page(td, pm, va)
    return pv


# Map the page m at va with the protection prot; flags say what access caused it, and PMAP_ENTER_*.
#
# Locks in:   none of the pmap's.  Nobody frees the page: it is busied, or its object locked.
# Locks out:  the same.
# May block:  on the pmap lock, PV list, chunk list and free page locks; in shortage on other pmaps' locks; waits for
#             the other CPUs' acknowledgements.  Sleeps for memory, with no lock of its own held, unless NOSLEEP.
# Returns:    KERN_SUCCESS; KERN_RESOURCE_SHORTAGE with NOSLEEP or psind 1.
# Stands for: FreeBSD pmap_enter().
cdef int pmap_enter(thread* td, pmap* pm, vm_offset_t va, vm_page* m, int prot, int flags, int psind) noexcept nogil:
    cdef pvlock* lock = NULL
    cdef vm_paddr_t pa = m.phys_addr
    cdef pt_entry_t newpte = pa | PG_A | PG_V
    cdef pt_entry_t origpte
    cdef pt_entry_t* pte
    cdef pv_entry* pv = NULL
    cdef vm_page* mpte
    cdef int rv = KERN_SUCCESS
    cdef bint kernel = va >= VM_MAXUSER_ADDRESS
    newpte |= PG_G if kernel else PG_U
    if flags & VM_PROT_WRITE:
        newpte |= PG_M
    if prot & VM_PROT_WRITE:
        newpte |= PG_RW
    elif unlikely(flags & VM_PROT_WRITE):
        panic(td, b"pmap_enter for a write without write permission")
    if (prot & VM_PROT_EXECUTE) == 0:
        newpte |= PG_NX
    if flags & PMAP_ENTER_WIRED:
        newpte |= PG_W
    if m.oflags & VPO_UNMANAGED:
        if newpte & PG_RW:
            newpte |= PG_M
    else:
        newpte |= PG_MANAGED
    PMAP_LOCK(td, pm, SITE_ENTER_PMAP)
    charge(td, td.machine.cost.op, OPS_CALL + OPS_WALK + OPS_PTE)
    if psind == 1:
        rv = pmap_enter_pde(td, pm, va, newpte | PG_PS, flags, m, &lock, SITE_ENTER)
        RELEASE_PV_LIST_LOCK(td, &lock)
        PMAP_UNLOCK(td, pm)
        return rv
    mpte = ptp_for_enter(td, pm, va, (flags & PMAP_ENTER_NOSLEEP) != 0, &lock)
    if mpte == NULL:
        RELEASE_PV_LIST_LOCK(td, &lock)
        PMAP_UNLOCK(td, pm)
        return KERN_RESOURCE_SHORTAGE
    pte = &(<pt_entry_t*>PHYS_TO_DMAP(td, mpte.phys_addr))[pmap_pte_index(va)]
    touch_write(td, pte)
    origpte = pte[0]
    if origpte & PG_V:
        pm.wired_count += <int64_t>((newpte & PG_W) != 0) - <int64_t>((origpte & PG_W) != 0)
        if not kernel:
            mpte.ref_count -= 1         # the entry was counted already
        if origpte & PG_FRAME != pa:
            pv = replace_mapping(td, pm, va, pte, (newpte & PG_MANAGED) != 0, &lock)
            origpte = 0
        elif origpte & PG_MANAGED and newpte & PG_RW:
            vm_page_aflag_set(td, m, PGA_WRITEABLE)
    else:
        if newpte & PG_W:
            pm.wired_count += 1
        touch_write(td, &pm.resident_count)
        pm.resident_count += 1
    if origpte & PG_V:
        # The same page again: no PV work.
        if (origpte ^ newpte) & ~(PG_M | PG_A):
            origpte = pte_load_store(pte, newpte)
            if (newpte & PG_M) == 0 and pte_dirty(origpte):
                # The CPU may write through its TLB and not set PG_M again: flush below.
                if origpte & PG_MANAGED:
                    vm_page_dirty(td, m)
                if origpte & PG_A:
                    pmap_invalidate_page(td, pm, va)
            elif (origpte & PG_NX) == 0 and newpte & PG_NX and origpte & PG_A:
                pmap_invalidate_page(td, pm, va)
    else:
        if newpte & PG_MANAGED:
            if pv == NULL:
                pv = get_pv_entry(td, pm, &lock)
                pv.pv_va = va
            charge(td, td.machine.cost.op, OPS_PV)
            CHANGE_PV_LIST_LOCK_TO_PHYS(td, &lock, pa, SITE_ENTER)
            pv_list_insert_tail(td, &m.md, m.phys_addr, pv)
            if newpte & PG_RW:
                vm_page_aflag_set(td, m, PGA_WRITEABLE)
        pte[0] = newpte
    if (not kernel and mpte.ref_count == NPTEPG and (m.flags & PG_FICTITIOUS) == 0 and
            vm_reserv_level_iffullpop(td, m) == 0):
        pmap_promote_pde(td, pm, pmap_pde(td, pm, va), va, &lock)
    RELEASE_PV_LIST_LOCK(td, &lock)
    PMAP_UNLOCK(td, pm)
    return rv


# Make a superpage mapping.
#
# Locks in:   the pmap lock of pm; *lockp is NULL or a PV list lock held for write.
# Locks out:  the pmap lock of pm; *lockp may be another lock or NULL.
# May block:  on PV list, chunk list and free page locks; without NORECLAIM on other pmaps' locks; spins for DI; waits
#             for the other CPUs' acknowledgements.  Sleeps for memory, then blocks on the pmap lock, unless NOSLEEP.
# Returns:    KERN_SUCCESS; KERN_FAILURE when something is mapped and NOREPLACE was said; KERN_RESOURCE_SHORTAGE.
# Stands for: FreeBSD pmap_enter_pde().
cdef int pmap_enter_pde(thread* td, pmap* pm, vm_offset_t va, pt_entry_t newpde, int flags, vm_page* m,
                        pvlock** lockp, uint16_t site) noexcept nogil:
    cdef vm_page* pdpg
    cdef pt_entry_t* pde
    cdef pt_entry_t oldpde
    cdef spglist free
    cdef int i
    PMAP_LOCK_ASSERT(td, pm)
    PV_LIST_CARRIED_ASSERT(td, lockp)
    if unlikely(va & PDRMASK or m.phys_addr & PDRMASK or newpde & PG_W or (newpde & (PG_M | PG_RW)) == PG_RW):
        panic(td, b"pmap_enter_pde of an unaligned, wired, or writable and clean mapping")
    pdpg = pmap_allocpde(td, pm, va, NULL if flags & PMAP_ENTER_NOSLEEP else lockp)
    if pdpg == NULL:
        return KERN_RESOURCE_SHORTAGE
    pde = &(<pt_entry_t*>PHYS_TO_DMAP(td, pdpg.phys_addr))[pmap_pde_index(va)]
    touch_write(td, pde)
    oldpde = pde[0]
    if oldpde & PG_V:
        if flags & PMAP_ENTER_NOREPLACE:
            pdpg.ref_count -= 1
            return KERN_FAILURE
        free.first = NULL
        if oldpde & PG_PS:
            pmap_remove_pde(td, pm, pde, va, &free, lockp, site)
            pmap_invalidate_pde_page(td, pm, oldpde)
        else:
            pmap_delayed_invl_start(td)
            if pmap_remove_ptes(td, pm, va, va + NBPDR, pde, &free, lockp):
                pmap_invalidate_all(td, pm)
            pmap_delayed_invl_finish(td)
        vm_page_free_pages_toq(td, &free)
    if newpde & PG_MANAGED:
        if not pmap_pv_insert_pde(td, pm, va, newpde, (flags & PMAP_ENTER_NORECLAIM) == 0, lockp, site):
            pmap_abort_ptp(td, pm, va, pdpg)
            return KERN_RESOURCE_SHORTAGE
        if newpde & PG_RW:
            for i in range(NPTEPG):
                vm_page_aflag_set(td, &m[i], PGA_WRITEABLE)
            charge(td, td.machine.cost.op, NPTEPG)
    pm.resident_count += NPTEPG
    pde[0] = newpde
    pmap_state_of(td).mappings += 1
    return KERN_SUCCESS


# Make a superpage mapping, read-only, if that is easy: no sleeping, no reclaiming, no replacing.
#
# Locks in:   the pmap lock of pm; *lockp is NULL or a PV list lock held for write.
# Locks out:  the pmap lock of pm; *lockp may be another lock.
# May block:  on PV list, chunk list and free page locks.  Never sleeps.
# Returns:    True when it is made.
# Stands for: FreeBSD pmap_enter_2mpage().
cdef bint pmap_enter_2mpage(thread* td, pmap* pm, vm_offset_t va, vm_page* m, int prot, pvlock** lockp,
                            uint16_t site) noexcept nogil:
    cdef pt_entry_t newpde = m.phys_addr | PG_PS | PG_V | PG_U
    PMAP_LOCK_ASSERT(td, pm)
    if (m.oflags & VPO_UNMANAGED) == 0:
        newpde |= PG_MANAGED
    if (prot & VM_PROT_EXECUTE) == 0:
        newpde |= PG_NX
    return pmap_enter_pde(td, pm, va, newpde, PMAP_ENTER_NOSLEEP | PMAP_ENTER_NOREPLACE | PMAP_ENTER_NORECLAIM,
                          m, lockp, site) == KERN_SUCCESS


# Map one page if that is easy: nothing is mapped there, no superpage, memory at hand.
#
# Locks in:   the pmap lock of pm; *lockp is NULL or a PV list lock held for write.  Nobody frees the page: its object
#             is locked, for reading or for writing.
# Locks out:  the pmap lock of pm; *lockp may be another lock.
# May block:  on PV list, chunk list and free page locks.  Never sleeps.
# Returns:    the PTP of va, to be passed in for the next page; NULL when there is none to remember.
# Stands for: FreeBSD pmap_enter_quick_locked().
cdef inline vm_page* pmap_enter_quick_locked(thread* td, pmap* pm, vm_offset_t va, vm_page* m, int prot,
                                             vm_page* mpte, pvlock** lockp, int64_t* work,
                                             uint16_t site) noexcept nogil:
    cdef pt_entry_t* pde
    cdef pt_entry_t* pte
    cdef pt_entry_t newpte
    cdef pv_entry* pv
    PMAP_LOCK_ASSERT(td, pm)
    PV_LIST_CARRIED_ASSERT(td, lockp)
    if mpte != NULL and mpte.pindex == pmap_pde_pindex(va):
        touch_write(td, &mpte.ref_count)
        mpte.ref_count += 1
    else:
        work[0] += OPS_WALK
        pde = pmap_pde(td, pm, va)
        if pde != NULL and pde[0] & PG_V:
            if pde[0] & PG_PS:
                return NULL
            mpte = PHYS_TO_VM_PAGE(td, pde[0] & PG_FRAME)
            touch_write(td, &mpte.ref_count)
            mpte.ref_count += 1
        else:
            mpte = pmap_allocpte_new(td, pm, pmap_pde_pindex(va), NULL)
            if mpte == NULL:
                return NULL
    work[0] += OPS_PTE
    pte = &(<pt_entry_t*>PHYS_TO_DMAP(td, mpte.phys_addr))[pmap_pte_index(va)]
    touch_write(td, pte)
    if pte[0] != 0:
        mpte.ref_count -= 1
        return NULL
    newpte = m.phys_addr | PG_V | PG_U
    if (prot & VM_PROT_EXECUTE) == 0:
        newpte |= PG_NX
    if (m.oflags & VPO_UNMANAGED) == 0:
        newpte |= PG_MANAGED
        pv = get_pv_entry(td, pm, NULL)
        if pv == NULL:
            pmap_abort_ptp(td, pm, va, mpte)
            return NULL
        pv.pv_va = va
        work[0] += OPS_PV
        if lockp[0] != PHYS_TO_PV_LIST_LOCK(td, m.phys_addr):
            charge(td, td.machine.cost.op, work[0])
            work[0] = 0
        CHANGE_PV_LIST_LOCK_TO_PHYS(td, lockp, m.phys_addr, site)
        pv_list_insert_tail(td, &m.md, m.phys_addr, pv)
    touch_write(td, &pm.resident_count)
    pm.resident_count += 1
    pte[0] = newpte
    return mpte


# Map one page read-only if that is easy.
#
# Locks in:   none of the pmap's.  Nobody frees the page: its object is locked, for reading or for writing.
# Locks out:  the same.
# May block:  on the pmap lock, PV list, chunk list and free page locks.  Never sleeps.
# Stands for: FreeBSD pmap_enter_quick().
cdef void pmap_enter_quick(thread* td, pmap* pm, vm_offset_t va, vm_page* m, int prot) noexcept nogil:
    cdef pvlock* lock = NULL
    cdef int64_t work = OPS_CALL
    PMAP_LOCK(td, pm, SITE_QUICK_PMAP)
    pmap_enter_quick_locked(td, pm, va, m, prot, NULL, &lock, &work, SITE_QUICK)
    charge(td, td.machine.cost.op, work)
    RELEASE_PV_LIST_LOCK(td, &lock)
    PMAP_UNLOCK(td, pm)


# Map the resident pages of an object from m_start on, at start and up to end, read-only, where that is easy.
#
# Locks in:   none of the pmap's.  Nobody frees a page: the object is locked, for reading or for writing.
# Locks out:  the same.
# May block:  on the pmap lock (taken once), PV list (carried from page to page), chunk list and free page locks.
#             Never sleeps.
# Stands for: FreeBSD pmap_enter_object().
cdef void pmap_enter_object(thread* td, pmap* pm, vm_offset_t start, vm_offset_t end, vm_page* m_start,
                            int prot) noexcept nogil:
    cdef pvlock* lock = NULL
    cdef int64_t work = OPS_CALL
    cdef vm_pindex_t psize = (end - start) >> PAGE_SHIFT
    cdef vm_pindex_t diff
    cdef vm_offset_t va
    cdef vm_page* m = m_start
    cdef vm_page* mpte = NULL
    PMAP_LOCK(td, pm, SITE_OBJECT_PMAP)
    while m != NULL:
        diff = m.pindex - m_start.pindex
        if diff >= psize:
            break
        va = start + (diff << PAGE_SHIFT)
        if (va & PDRMASK) == 0 and va + NBPDR <= end and m.psind == 1 and pmap_enter_2mpage(
                td, pm, va, m, prot, &lock, SITE_OBJECT):
            m = &m[NPTEPG - 1]
        else:
            mpte = pmap_enter_quick_locked(td, pm, va, m, prot, mpte, &lock, &work, SITE_OBJECT)
        m = m.listq_next
    charge(td, td.machine.cost.op, work)
    RELEASE_PV_LIST_LOCK(td, &lock)
    PMAP_UNLOCK(td, pm)
