# Fork's two operations: take write permission from the parent, and give the child the parent's mappings.

from libc.stdint cimport int64_t, uint16_t

from finegrain.kernel.locks cimport lock_site
from finegrain.kernel.phys cimport PHYS_TO_DMAP, PHYS_TO_VM_PAGE, vm_page_dirty
from finegrain.kernel.pmap.chunk cimport pv_list_insert_tail
from finegrain.kernel.pmap.pt cimport (
    NBPDR, OPS_CALL, OPS_PTE, OPS_PV, OPS_WALK, PG_A, PG_FRAME, PG_M, PG_MANAGED, PG_NX, PG_PROMOTED, PG_PS,
    PG_PS_FRAME, PG_RW, PG_V, PG_W, PMAP_LOCK, PMAP_LOCK_ASSERT, PMAP_UNLOCK, pmap_abort_ptp, pmap_allocpde,
    pmap_allocpte_new, pmap_invalidate_all, pmap_next_pde, pmap_pde, pmap_pde_index, pmap_pde_pindex, pmap_pde_to_pte,
    pmap_pte_index, pmap_state_of, pte_cas, pte_dirty, touch_next_pte)
from finegrain.kernel.pmap.pv cimport get_pv_entry
from finegrain.kernel.pmap.pvlock cimport (
    CHANGE_PV_LIST_LOCK_TO_PHYS, PHYS_TO_PV_LIST_LOCK, PV_LIST_CARRIED_ASSERT, RELEASE_PV_LIST_LOCK, pvlock)
from finegrain.kernel.pmap.remove cimport pmap_remove
from finegrain.kernel.pmap.superpage cimport pmap_demote_pde, pmap_pv_insert_pde
from finegrain.kernel.types cimport (
    NPTEPG, PAGE_SIZE, VM_PROT_EXECUTE, VM_PROT_READ, VM_PROT_WRITE, pt_entry_t, pv_entry, vm_page)
from finegrain.machine.seam cimport arena_offset, charge, touch_write

cdef uint16_t SITE_COPY = lock_site(b"pmap_copy")
cdef uint16_t SITE_COPY_PMAP = lock_site(b"pmap_copy/pmap")
cdef uint16_t SITE_PROTECT_PMAP = lock_site(b"pmap_protect/pmap")


# Copy a superpage mapping.
#
# Locks in:   the pmap lock of dst and that of src; *lockp is NULL or a PV list lock held for write.
# Locks out:  the same locks of pmaps; *lockp may be another lock.
# May block:  on PV list, chunk list and free page locks.  Never sleeps.
# Returns:    False when memory is short: the whole copy ends.
# Stands for: the superpage case of FreeBSD pmap_copy().
cdef bint copy_superpage(thread* td, pmap* dst, vm_offset_t va, pt_entry_t srcpde, pvlock** lockp) noexcept nogil:
    cdef vm_page* pdpg
    cdef pt_entry_t* pde
    PMAP_LOCK_ASSERT(td, dst)
    PV_LIST_CARRIED_ASSERT(td, lockp)
    pdpg = pmap_allocpde(td, dst, va, NULL)
    if pdpg == NULL:
        return False
    pde = &(<pt_entry_t*>PHYS_TO_DMAP(td, pdpg.phys_addr))[pmap_pde_index(va)]
    touch_write(td, pde)
    charge(td, td.machine.cost.op, OPS_WALK)
    if pde[0] == 0 and ((srcpde & PG_MANAGED) == 0 or pmap_pv_insert_pde(td, dst, va, srcpde, False, lockp, SITE_COPY)):
        pde[0] = srcpde & ~PG_W
        dst.resident_count += NPTEPG
        pmap_state_of(td).mappings += 1
    else:
        pmap_abort_ptp(td, dst, va, pdpg)
    return True


# The page table of dst for va, one more entry counted.
#
# A superpage mapping of dst in the way ends the copy, as any mapping does.  fork has none, its dst being new; to demote
# it could take reclaiming a chunk of the other pmap, whose lock is held.
#
# Locks in:   the pmap lock of dst and that of src; *lockp is NULL or a PV list lock held for write.
# Locks out:  the same.
# May block:  on the free page locks.  Never sleeps.
# Returns:    the page table; NULL when memory is short, or a superpage is mapped there.
# Stands for: FreeBSD pmap_allocpte() without sleeping.
cdef inline vm_page* dst_page_table(thread* td, pmap* dst, vm_offset_t va, pvlock** lockp) noexcept nogil:
    cdef pt_entry_t* pde = pmap_pde(td, dst, va)
    cdef vm_page* mpte
    PMAP_LOCK_ASSERT(td, dst)
    PV_LIST_CARRIED_ASSERT(td, lockp)
    if pde != NULL and pde[0] & PG_PS:
        return NULL
    if pde != NULL and pde[0] & PG_V:
        mpte = PHYS_TO_VM_PAGE(td, pde[0] & PG_FRAME)
        touch_write(td, &mpte.ref_count)
        mpte.ref_count += 1
        return mpte
    return pmap_allocpte_new(td, dst, pmap_pde_pindex(va), NULL)


# Copy the managed small mappings of [va, end), within one page table.
#
# Locks in:   the pmap lock of dst and that of src; *lockp is NULL or a PV list lock held for write.
# Locks out:  the same locks of pmaps; *lockp may be another lock or NULL.
# May block:  on PV list, chunk list and free page locks; to demote in shortage, on other pmaps' locks.  Never
#             sleeps.
# Returns:    False when memory is short or dst has a mapping: the whole copy ends.
# Stands for: the inner loop of FreeBSD pmap_copy().
cdef bint copy_ptes(thread* td, pmap* dst, vm_offset_t va, vm_offset_t end, pt_entry_t srcpde,
                    pvlock** lockp) noexcept nogil:
    cdef vm_page* srcmpte = PHYS_TO_VM_PAGE(td, srcpde & PG_FRAME)
    cdef vm_page* dstmpte = NULL
    cdef vm_page* m
    cdef pt_entry_t* src_pte = pmap_pde_to_pte(td, srcpde, va)
    cdef pt_entry_t* dst_pte
    cdef pt_entry_t* dst_table = NULL
    cdef pt_entry_t pte
    cdef pv_entry* pv
    cdef int64_t work = OPS_WALK
    PMAP_LOCK_ASSERT(td, dst)
    PV_LIST_CARRIED_ASSERT(td, lockp)
    while va < end:
        touch_next_pte(td, src_pte)
        pte = src_pte[0]
        work += 1
        if pte & PG_MANAGED:
            work += OPS_PTE + OPS_PV
            if dstmpte != NULL:
                touch_write(td, &dstmpte.ref_count)
                dstmpte.ref_count += 1
            else:
                dstmpte = dst_page_table(td, dst, va, lockp)
                if dstmpte == NULL:
                    return False
                dst_table = <pt_entry_t*>PHYS_TO_DMAP(td, dstmpte.phys_addr)
            dst_pte = &dst_table[pmap_pte_index(va)]
            touch_write(td, dst_pte)
            pv = get_pv_entry(td, dst, NULL) if dst_pte[0] == 0 else NULL
            if pv == NULL:
                charge(td, td.machine.cost.op, work)
                pmap_abort_ptp(td, dst, va, dstmpte)
                return False
            pv.pv_va = va
            m = PHYS_TO_VM_PAGE(td, pte & PG_FRAME)
            if lockp[0] != PHYS_TO_PV_LIST_LOCK(td, m.phys_addr):
                charge(td, td.machine.cost.op, work)
                work = 0
            CHANGE_PV_LIST_LOCK_TO_PHYS(td, lockp, m.phys_addr, SITE_COPY)
            pv_list_insert_tail(td, &m.md, m.phys_addr, pv)
            # Not accessed: the child has yet to use it.  Not modified: what was is the parent's to tell.
            dst_pte[0] = pte & ~(PG_W | PG_M | PG_A)
            touch_write(td, &dst.resident_count)
            dst.resident_count += 1
            if dstmpte.ref_count >= srcmpte.ref_count:
                break
        src_pte += 1
        va += PAGE_SIZE
    charge(td, td.machine.cost.op, work)
    return True


# Give dst the managed mappings that src has in [start, end).  Advisory: what is not copied, faults.
#
# Locks in:   none of the pmaps'.  Nobody maps or unmaps in either: the caller has both vm maps, exclusively.  dst is
#             empty there, or the copy ends at what it has.
# Locks out:  the same.
# May block:  on both pmap locks (lower address first), PV list, chunk list and free page locks.  Never sleeps.
# Stands for: FreeBSD pmap_copy().
cdef void pmap_copy(thread* td, pmap* dst, pmap* src, vm_offset_t start, vm_offset_t end) noexcept nogil:
    cdef pvlock* lock = NULL
    cdef pt_entry_t* pde
    cdef vm_offset_t va = start
    cdef vm_offset_t va_next
    cdef bint dst_first = arena_offset(td.machine, dst) < arena_offset(td.machine, src)
    PMAP_LOCK(td, dst if dst_first else src, SITE_COPY_PMAP)
    PMAP_LOCK(td, src if dst_first else dst, SITE_COPY_PMAP)
    charge(td, td.machine.cost.op, OPS_CALL)
    while va < end:
        pde = pmap_next_pde(td, src, va, end, &va_next)
        if pde != NULL:
            if pde[0] & PG_PS:
                if va_next - va == NBPDR and not copy_superpage(td, dst, va, pde[0], &lock):
                    break
            elif not copy_ptes(td, dst, va, va_next, pde[0], &lock):
                break
        va = va_next
    RELEASE_PV_LIST_LOCK(td, &lock)
    PMAP_UNLOCK(td, src)
    PMAP_UNLOCK(td, dst)


# A new value for a PTE or PDE under this protection; what it loses is noted.
cdef inline pt_entry_t protected(thread* td, pt_entry_t old, int prot) noexcept nogil:
    if (prot & VM_PROT_WRITE) == 0:
        old &= ~(PG_RW | PG_M)
    if (prot & VM_PROT_EXECUTE) == 0:
        old |= PG_NX
    return old


# Protect a whole superpage mapping in place; the caller invalidates.
#
# Locks in:   the pmap lock of pm.
# Locks out:  the same.
# May block:  never.
# Returns:    True when it changed.
# Stands for: FreeBSD pmap_protect_pde().
cdef bint pmap_protect_pde(thread* td, pmap* pm, pt_entry_t* pde, int prot) noexcept nogil:
    cdef pt_entry_t old
    cdef pt_entry_t new
    cdef vm_page* m
    cdef int i
    PMAP_LOCK_ASSERT(td, pm)
    while True:
        old = pde[0]
        if (prot & VM_PROT_WRITE) == 0 and old & PG_MANAGED and pte_dirty(old):
            m = PHYS_TO_VM_PAGE(td, old & PG_PS_FRAME)
            for i in range(NPTEPG):
                vm_page_dirty(td, &m[i])
            charge(td, td.machine.cost.op, NPTEPG)
        new = protected(td, old, prot)
        if new == old:
            return False
        # What follows flushes everything, so stale small entries of a promoted mapping go too.
        if pte_cas(pde, old, new & ~PG_PROMOTED):
            return True


# Take permissions from the mappings of [start, end); none left: remove them.
#
# Locks in:   none of the pmap's; usually the vm map lock, exclusively.
# Locks out:  the same.
# May block:  on the pmap lock; to demote a superpage, on PV list, chunk list and free page locks and, in shortage,
#             other pmaps' locks; with no permission left, as pmap_remove(); waits for the other CPUs' acknowledgements.
#             Never sleeps.
# Guarantees: no TLB allows more than prot.
# Stands for: FreeBSD pmap_protect().
cdef void pmap_protect(thread* td, pmap* pm, vm_offset_t start, vm_offset_t end, int prot) noexcept nogil:
    cdef pt_entry_t* pde
    cdef pt_entry_t* pte
    cdef pt_entry_t old
    cdef pt_entry_t new
    cdef vm_offset_t va_next
    cdef bint anychanged = False
    cdef int64_t work = OPS_CALL
    if (prot & (VM_PROT_READ | VM_PROT_WRITE | VM_PROT_EXECUTE)) == 0:
        pmap_remove(td, pm, start, end)
        return
    if prot & VM_PROT_WRITE and prot & VM_PROT_EXECUTE:
        return                          # nothing is ever given here, and nothing is taken
    PMAP_LOCK(td, pm, SITE_PROTECT_PMAP)
    while start < end:
        pde = pmap_next_pde(td, pm, start, end, &va_next)
        work += OPS_WALK
        if pde != NULL and pde[0] & PG_PS:
            if va_next - start == NBPDR:
                if pmap_protect_pde(td, pm, pde, prot):
                    anychanged = True
                pde = NULL
            elif not pmap_demote_pde(td, pm, pde, start):
                pde = NULL
        if pde != NULL:
            pte = pmap_pde_to_pte(td, pde[0], start)
            while start < va_next:
                touch_next_pte(td, pte)
                old = pte[0]
                if old & PG_V:
                    new = protected(td, old, prot)
                    if new != old:
                        touch_write(td, pte)
                        if not pte_cas(pte, old, new):
                            continue    # the CPU set a bit meanwhile
                        if old & PG_MANAGED and pte_dirty(old) and (new & PG_RW) == 0:
                            vm_page_dirty(td, PHYS_TO_VM_PAGE(td, old & PG_FRAME))
                        anychanged = True
                        work += OPS_PTE
                work += 1
                pte += 1
                start += PAGE_SIZE
        start = va_next
    charge(td, td.machine.cost.op, work)
    if anychanged:
        pmap_invalidate_all(td, pm)
    PMAP_UNLOCK(td, pm)
