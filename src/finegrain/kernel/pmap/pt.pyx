# Page-table pages: making, counting, freeing, saving them; and making TLBs forget.
#
# The tree of a pmap: PML4 (pinit makes it) -> PDP -> PD -> PT.  A PTP's ref_count is the number of its valid entries;
# whoever makes an entry valid counts it first (pmap_allocpte_new, pmap_allocpde and callers that found the PTP), and
# whoever clears one lets go with pmap_unuse_pt.  The root is not counted and not freed by this.
# invariant: pm.ptp_count = the root, the PTPs in the tree and the saved ones (pmap_audit)

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from finegrain.kernel.locks cimport lock_site, mtx, mtx_lock_spin, mtx_unlock_spin
from finegrain.kernel.phys cimport (
    VM_ALLOC_NORMAL, VM_ALLOC_WIRED, VM_ALLOC_ZERO, vm_page_alloc_noobj, vm_page_free_toq)
from finegrain.kernel.pmap.pvlock cimport PV_LIST_CARRIED_ASSERT, RELEASE_PV_LIST_LOCK
from finegrain.kernel.types cimport PG_ZERO
from finegrain.machine.seam cimport (
    atomic_load_acq, charge, charge_zeroed, cpus_using, shootdown, sleep_for, touch_read, touch_write)
from finegrain.machine.thread cimport CPU_WORDS, ps_t, thread

cdef uint16_t SITE_WAIT = lock_site(b"pmap_allocpte/pmap")
cdef uint16_t SITE_SHOOTDOWN = lock_site(b"smp_targeted_tlb_shootdown")

cdef enum:
    TICK_US = 1000                      # a waiter for memory looks again after a tick of 1 ms
    MAX_SHORTAGES = 100000              # looks in vain, of all threads, before we say that nobody will free any


# Once more nothing was free.
#
# Locks in:   any.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing in FreeBSD, whose page daemon would kill a process.
cdef void count_shortage(thread* td) noexcept nogil:
    cdef pmap_state* s = pmap_state_of(td)
    s.shortages += 1
    if s.shortages > MAX_SHORTAGES:
        panic(td, b"physical memory is exhausted: the simulated machine needs more")


# Wait until a page may be free.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps for a tick.
# Stands for: FreeBSD vm_wait().
cdef void vm_wait(thread* td) noexcept nogil:
    count_shortage(td)
    sleep_for(td, <ps_t>TICK_US * 1000000)


# A page for a PTP, with no entry counted; zeroed on wish.
#
# Locks in:   any that may be held over the free page locks.
# Locks out:  the same.
# May block:  on the free page locks.
# Returns:    the page; NULL when memory is exhausted.
# Stands for: the vm_page_alloc(VM_ALLOC_NOOBJ | VM_ALLOC_WIRED | VM_ALLOC_ZERO) of FreeBSD _pmap_allocpte() and its
# like.
cdef vm_page* ptp_alloc(thread* td, bint zero) noexcept nogil:
    cdef vm_page* m = vm_page_alloc_noobj(td, -1, VM_ALLOC_NORMAL | VM_ALLOC_WIRED | (VM_ALLOC_ZERO if zero else 0))
    if m == NULL:
        return NULL
    pmap_state_of(td).shortages = 0
    if zero and (m.flags & PG_ZERO) == 0:
        memset(PHYS_TO_DMAP(td, m.phys_addr), 0, PAGE_SIZE)
        charge_zeroed(td, PHYS_TO_DMAP(td, m.phys_addr))
    m.valid = 0
    m.listq_next = NULL
    m.listq_prev = NULL
    return m


# The entry above a PTP, in its parent.  The parent exists.
cdef inline pt_entry_t* parent_entry(thread* td, pmap* pm, vm_pindex_t pindex) noexcept nogil:
    if pindex >= NUPDE + NUPDPE:
        return &pm.pm_pml4[pindex - NUPDE - NUPDPE]
    if pindex >= NUPDE:
        return pmap_pdpe(td, pm, (pindex - NUPDE) << PDPSHIFT)
    return pmap_pde(td, pm, pindex << PDRSHIFT)


# Make the PTP with this number, and those above it that are missing.  It starts with one entry counted.
#
# Locks in:   the pmap lock of pm; if lockp is given, *lockp is NULL or a PV list lock held for write.
# Locks out:  the pmap lock of pm; on NULL with lockp, both were dropped and the PV list lock stays so.
# May block:  on the free page locks.  When memory is short, and only with lockp, sleeps, then blocks on the pmap lock.
# Returns:    the PTP; NULL when there was no page (with lockp: look again, things may have changed).
# Stands for: FreeBSD _pmap_allocpte().
cdef vm_page* pmap_allocpte_new(thread* td, pmap* pm, vm_pindex_t pindex, pvlock** lockp) noexcept nogil:
    cdef vm_page* m
    cdef vm_page* parent = NULL
    cdef vm_pindex_t above = 0
    cdef pt_entry_t* entry
    PMAP_LOCK_ASSERT(td, pm)
    if lockp != NULL:
        PV_LIST_CARRIED_ASSERT(td, lockp)
    m = ptp_alloc(td, True)
    if m == NULL:
        if lockp != NULL:
            RELEASE_PV_LIST_LOCK(td, lockp)
            PMAP_UNLOCK(td, pm)
            vm_wait(td)
            PMAP_LOCK(td, pm, SITE_WAIT)
        return NULL
    m.pindex = pindex
    if pindex < NUPDE + NUPDPE:
        # The parent: count this entry in it, or make it with this entry counted.
        if pindex >= NUPDE:
            above = NUPDE + NUPDPE + ((pindex - NUPDE) >> (PML4SHIFT - PDPSHIFT))
            entry = &pm.pm_pml4[above - NUPDE - NUPDPE]
        else:
            above = NUPDE + (pindex >> (PDPSHIFT - PDRSHIFT))
            entry = pmap_pdpe(td, pm, pindex << PDRSHIFT)
        if entry == NULL or (entry[0] & PG_V) == 0:
            parent = pmap_allocpte_new(td, pm, above, lockp)
            if parent == NULL:
                m.flags |= PG_ZERO
                m.ref_count = 0
                vm_page_free_toq(td, m)
                return NULL
        else:
            parent = PHYS_TO_VM_PAGE(td, entry[0] & PG_FRAME)
            touch_write(td, &parent.ref_count)
            parent.ref_count += 1
    m.ref_count = 1
    entry = parent_entry(td, pm, pindex)
    touch_write(td, entry)
    touch_write(td, &pm.ptp_count)
    entry[0] = m.phys_addr | PG_U | PG_RW | PG_V | PG_A | PG_M
    pm.ptp_count += 1
    charge(td, td.machine.cost.op, OPS_WALK)
    return m


# The page directory for va, one more entry counted.
#
# Locks in:   the pmap lock of pm; if lockp is given, *lockp is NULL or a PV list lock held for write.
# Locks out:  the pmap lock of pm; with lockp, both may have been dropped meanwhile, and *lockp stays so.
# May block:  on the free page locks.  When memory is short, and only with lockp, sleeps, then blocks on the pmap lock.
# Returns:    the page directory; NULL only when lockp is NULL.
# Stands for: FreeBSD pmap_allocpde().
cdef vm_page* pmap_allocpde(thread* td, pmap* pm, vm_offset_t va, pvlock** lockp) noexcept nogil:
    cdef pt_entry_t* pdpe
    cdef vm_page* pdpg
    PMAP_LOCK_ASSERT(td, pm)
    while True:
        pdpe = pmap_pdpe(td, pm, va)
        if pdpe != NULL and pdpe[0] & PG_V:
            pdpg = PHYS_TO_VM_PAGE(td, pdpe[0] & PG_FRAME)
            touch_write(td, &pdpg.ref_count)
            pdpg.ref_count += 1
            return pdpg
        pdpg = pmap_allocpte_new(td, pm, NUPDE + (va >> PDPSHIFT), lockp)
        if pdpg != NULL or lockp == NULL:
            return pdpg


# Take the empty PTP out of the tree, and its parents if that empties them.
#
# Locks in:   the pmap lock of pm; perhaps a PV list lock.
# Locks out:  the same.
# May block:  never.
# Returns:    True; the pages are on the list, to be freed after the TLBs were invalidated.
# Stands for: FreeBSD _pmap_unwire_ptp().
cdef bint pmap_free_ptp(thread* td, pmap* pm, vm_offset_t va, vm_page* mpte, spglist* free) noexcept nogil:
    cdef pt_entry_t* entry
    cdef pt_entry_t* above = NULL
    PMAP_LOCK_ASSERT(td, pm)
    while True:
        if mpte.pindex < NUPDE:
            above = pmap_pdpe(td, pm, va)
        elif mpte.pindex < NUPDE + NUPDPE:
            above = &pm.pm_pml4[pmap_pml4e_index(va)]
        else:
            above = NULL
        entry = parent_entry(td, pm, mpte.pindex)
        touch_write(td, entry)
        touch_write(td, &pm.ptp_count)
        entry[0] = 0
        pm.ptp_count -= 1
        pmap_add_delayed_free_list(mpte, free, True)
        charge(td, td.machine.cost.op, OPS_WALK)
        if above == NULL:
            return True
        mpte = PHYS_TO_VM_PAGE(td, above[0] & PG_FRAME)
        touch_write(td, &mpte.ref_count)
        mpte.ref_count -= 1
        if mpte.ref_count != 0:
            return True


cdef void pmap_add_delayed_free_list(vm_page* m, spglist* free, bint zeroed) noexcept nogil:
    if zeroed:
        m.flags |= PG_ZERO
    else:
        m.flags &= ~PG_ZERO
    m.plinks_next = free.first
    free.first = m


# Give the listed PTPs back: no TLB can reach them any more.
#
# Locks in:   any that may be held over the free page locks.
# Locks out:  the same.
# May block:  on the free page locks.
# Stands for: FreeBSD vm_page_free_pages_toq().
cdef void vm_page_free_pages_toq(thread* td, spglist* free) noexcept nogil:
    cdef vm_page* m
    while free.first != NULL:
        m = free.first
        free.first = m.plinks_next
        m.plinks_next = NULL
        m.ref_count = 0
        vm_page_free_toq(td, m)


# Let go of an entry that was counted and not made.
#
# Locks in:   the pmap lock of pm; perhaps a PV list lock.
# Locks out:  the same.
# May block:  on the free page locks; waits for the other CPUs' acknowledgements.
# Stands for: FreeBSD pmap_abort_ptp(), which is later than the kernels under study; in them it is written out each
# time.
cdef void pmap_abort_ptp(thread* td, pmap* pm, vm_offset_t va, vm_page* ptp) noexcept nogil:
    cdef spglist free
    PMAP_LOCK_ASSERT(td, pm)
    free.first = NULL
    if pmap_unwire_ptp(td, pm, va, ptp, &free):
        # No mapping went, but paging-structure caches may know the PTP.
        pmap_invalidate_page(td, pm, va)
        vm_page_free_pages_toq(td, &free)


# --- TLBs
#
# FreeBSD keeps a set of CPUs in each pmap, changed at every context switch.  Here the machine is asked: it knows the
# thread of each CPU, and so the pmap that it uses.  The kernel's pmap is active on every CPU: its translations are
# global, so any CPU may hold them, whatever it runs, and idle.

# The CPUs, td's own perhaps among them, that may hold translations of the pmap now.  True when there are others.
#
# Locks in:   any.
# Locks out:  the same.
# May block:  never.
# Stands for: pm_active, and the CPUs picked from it in FreeBSD pmap_invalidate_page() and its like.
cdef bint other_cpus(thread* td, pmap* pm, uint64_t* cpus) noexcept nogil:
    cdef uint32_t i
    touch_read(td, &pm.pm_active)
    if pm == pmap_state_of(td).kernel_pmap:
        memset(cpus, 0, CPU_WORDS * sizeof(uint64_t))
        for i in range(td.machine.ncpus):       # its own too: wherever td is by then, that CPU is no target
            cpus[i >> 6] |= <uint64_t>1 << (i & 63)
        return td.machine.ncpus > 1
    if atomic_load_acq(&pm.pm_active) == (1 if td.pmap == <void*>pm else 0):
        return False
    return cpus_using(td, pm, cpus)


# Locks in:   any.
# Locks out:  the same.
# May block:  never.
# Stands for: the KASSERT() of FreeBSD pmap_remove_pages() that looks at pm_active.
cdef bint pmap_active_elsewhere(thread* td, pmap* pm) noexcept nogil:
    cdef uint64_t cpus[CPU_WORDS]
    return other_cpus(td, pm, cpus)


# Make TLBs of other CPUs forget translations: all of them, when this returns.
#
# Locks in:   any but smp_ipi_mtx.
# Locks out:  the same.
# May block:  never; spins on smp_ipi_mtx, then waits for the acknowledgements, with interrupts off.
# Stands for: FreeBSD smp_targeted_tlb_shootdown().
cdef void smp_targeted_tlb_shootdown(thread* td, const uint64_t* cpus, int64_t pages) noexcept nogil:
    cdef mtx* lock = &pmap_state_of(td).smp_ipi_mtx
    if not td.machine.cost.serial_shootdowns:
        shootdown(td, cpus, pages)
        return
    mtx_lock_spin(td, lock, SITE_SHOOTDOWN)
    shootdown(td, cpus, pages)
    mtx_unlock_spin(td, lock)


# Make TLBs forget translations of pm: here, at the cost `here` for each, and wherever else it is in use.
#
# Locks in:   the pmap lock of pm; perhaps a PV list lock, which is then held over the shootdown.
# Locks out:  the same.
# May block:  never; spins on smp_ipi_mtx, and waits for the other CPUs' acknowledgements.
# Guarantees: no TLB has the translations, if nobody could use new ones meanwhile.
# Stands for: the common part of FreeBSD pmap_invalidate_page(), _range() and _all().
cdef void invalidate(thread* td, pmap* pm, int64_t pages, ps_t here) noexcept nogil:
    cdef uint64_t cpus[CPU_WORDS]
    PMAP_LOCK_ASSERT(td, pm)
    if td.pmap == <void*>pm or pm == pmap_state_of(td).kernel_pmap:
        charge(td, here, pages if pages != 0 else 1)
    if other_cpus(td, pm, cpus):
        smp_targeted_tlb_shootdown(td, cpus, pages)


# Locks in:   the pmap lock of pm; perhaps a PV list lock, which is then held over the shootdown.
# Locks out:  the same.
# May block:  never; waits for the other CPUs' acknowledgements.
# Stands for: FreeBSD pmap_invalidate_page().
cdef void pmap_invalidate_page(thread* td, pmap* pm, vm_offset_t va) noexcept nogil:
    invalidate(td, pm, 1, td.machine.cost.invlpg)


# Locks in:   the pmap lock of pm; perhaps a PV list lock, which is then held over the shootdown.
# Locks out:  the same.
# May block:  never; waits for the other CPUs' acknowledgements.
# Stands for: FreeBSD pmap_invalidate_range().
cdef void pmap_invalidate_range(thread* td, pmap* pm, vm_offset_t start, vm_offset_t end) noexcept nogil:
    invalidate(td, pm, <int64_t>((end - start) >> PAGE_SHIFT), td.machine.cost.invlpg)


# Locks in:   the pmap lock of pm; perhaps a PV list lock.
# Locks out:  the same.
# May block:  never; waits for the other CPUs' acknowledgements.
# Stands for: FreeBSD pmap_invalidate_all().
cdef void pmap_invalidate_all(thread* td, pmap* pm) noexcept nogil:
    invalidate(td, pm, 0, td.machine.cost.cr3_write)


# A superpage mapping changed: the entry for it, and, when it came from a promotion, those of its 512 small pages.
#
# Locks in:   the pmap lock of pm; perhaps a PV list lock.
# Locks out:  the same.
# May block:  never; waits for the other CPUs' acknowledgements.
# Stands for: FreeBSD pmap_invalidate_pde_page().
cdef void pmap_invalidate_pde_page(thread* td, pmap* pm, pt_entry_t pde) noexcept nogil:
    PMAP_LOCK_ASSERT(td, pm)
    if pde & PG_PROMOTED:
        invalidate(td, pm, NPTEPG, td.machine.cost.invlpg)
    else:
        invalidate(td, pm, 1, td.machine.cost.invlpg)
