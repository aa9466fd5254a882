# The pmap: its life, and looking things up in it.

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from finegrain.kernel.locks cimport LO_DUPOK, lock_name, lock_site, mtx_init
from finegrain.kernel.phys cimport PHYS_TO_DMAP, vm_page_free_toq
from finegrain.kernel.pmap.di cimport pmap_di_create
from finegrain.kernel.pmap.pt cimport (
    OPS_WALK, PDRMASK, PG_A, PG_FRAME, PG_M, PG_NX, PG_PS, PG_PS_FRAME, PG_RW, PG_V, PMAP_LOCK, PMAP_UNLOCK, pmap_pde,
    pmap_pde_to_pte, pmap_state, pmap_state_of, pte_set_bits, ptp_alloc, vm_wait)
from finegrain.kernel.pmap.pv cimport pv_create
from finegrain.kernel.pmap.pvlock cimport pvlock_create
from finegrain.kernel.pmap.radix cimport radix_create
from finegrain.kernel.types cimport PAGE_SIZE, PG_ZERO, VM_PROT_EXECUTE, VM_PROT_WRITE, pt_entry_t, vm_page
from finegrain.machine.seam cimport arena_alloc, atomic_fetchadd_raw, charge, panic, unlikely

cdef uint16_t NAME_PMAP = lock_name(b"sleep mutex", b"pmap")
cdef uint16_t NAME_IPI = lock_name(b"spin mutex", b"smp rendezvous")     # its name in FreeBSD (M)
cdef uint16_t SITE_EXTRACT = lock_site(b"pmap_extract/pmap")
cdef uint16_t SITE_PREFAULTABLE = lock_site(b"pmap_is_prefaultable/pmap")


# Locks in:   none; nothing runs yet.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD pmap_init().
cdef int pmap_create(machine* m, const pvlock_design* design) except -1:
    pvlock_create(m, design)
    m.pmap = arena_alloc(m, sizeof(pmap_state))
    mtx_init(&(<pmap_state*>m.pmap).smp_ipi_mtx, NAME_IPI, 0)
    pmap_di_create(m)
    radix_create(m)
    return pv_create(m)


# Make a pmap.
#
# Locks in:   none that may not be held across a sleep.
# Locks out:  the same.
# May block:  on the free page locks.  Sleeps for memory.
# Stands for: FreeBSD pmap_pinit().
cdef void pmap_pinit(thread* td, pmap* pm) noexcept nogil:
    cdef vm_page* root = ptp_alloc(td, True)
    while root == NULL:
        vm_wait(td)
        root = ptp_alloc(td, True)
    memset(pm, 0, sizeof(pmap))
    mtx_init(&pm.pm_mtx, NAME_PMAP, LO_DUPOK)
    pm.pm_pml4_page = root
    pm.pm_pml4 = <pt_entry_t*>PHYS_TO_DMAP(td, root.phys_addr)
    pm.ptp_count = 1
    pm.pm_id = <uint32_t>atomic_fetchadd_raw(&pmap_state_of(td).pmaps, 1) + 1


# Give an empty pmap's last page back.
#
# Locks in:   none; nobody else knows the pmap any more.
# Locks out:  none.
# May block:  on the free page locks.
# Stands for: FreeBSD pmap_release().
cdef void pmap_release(thread* td, pmap* pm) noexcept nogil:
    if unlikely(pm.resident_count != 0 or pm.ptp_count != 1 or pm.pm_root != NULL or pm.pm_pvchunk_first != NULL):
        panic(td, b"releasing a pmap that is not empty")
    if unlikely(pm.pm_active != 0):
        panic(td, b"releasing a pmap that is in use")
    pm.pm_pml4_page.flags |= PG_ZERO
    pm.pm_pml4_page.ref_count = 0
    vm_page_free_toq(td, pm.pm_pml4_page)
    pm.pm_pml4 = NULL
    pm.pm_pml4_page = NULL
    pm.ptp_count = 0


# Locks in:   any.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD pmap_activate().
cdef void pmap_activate(thread* td, pmap* pm) noexcept nogil:
    if td.pmap == <void*>pm:
        return
    if td.pmap != NULL:
        pmap_deactivate(td, <pmap*>td.pmap)
    td.pmap = pm
    atomic_fetchadd_raw(&pm.pm_active, 1)
    charge(td, td.machine.cost.cr3_write, 1)


# Locks in:   any.
# Locks out:  the same.
# May block:  never.
# Stands for: the part of a FreeBSD context switch that leaves a pmap.
cdef void pmap_deactivate(thread* td, pmap* pm) noexcept nogil:
    if unlikely(td.pmap != <void*>pm):
        panic(td, b"pmap_deactivate of a pmap that the thread does not use")
    td.pmap = NULL
    atomic_fetchadd_raw(&pm.pm_active, <uint64_t>-1)


# The frame that va is mapped to, 0 if none.
#
# Locks in:   none of the pmap's.
# Locks out:  the same.
# May block:  on the pmap lock.
# Stands for: FreeBSD pmap_extract().
cdef vm_paddr_t pmap_extract(thread* td, pmap* pm, vm_offset_t va) noexcept nogil:
    cdef pt_entry_t* pde
    cdef pt_entry_t pte
    cdef vm_paddr_t pa = 0
    PMAP_LOCK(td, pm, SITE_EXTRACT)
    charge(td, td.machine.cost.op, OPS_WALK)
    pde = pmap_pde(td, pm, va)
    if pde != NULL and pde[0] & PG_V:
        if pde[0] & PG_PS:
            pa = (pde[0] & PG_PS_FRAME) | (va & PDRMASK)
        else:
            pte = pmap_pde_to_pte(td, pde[0], va)[0]
            if pte & PG_V:
                pa = (pte & PG_FRAME) | (va & (PAGE_SIZE - 1))
    PMAP_UNLOCK(td, pm)
    return pa


# Can va be mapped without making a page table, and is it not mapped yet?
#
# Locks in:   none of the pmap's.
# Locks out:  the same.
# May block:  on the pmap lock.
# Stands for: FreeBSD pmap_is_prefaultable().
cdef bint pmap_is_prefaultable(thread* td, pmap* pm, vm_offset_t va) noexcept nogil:
    cdef pt_entry_t* pde
    cdef bint answer = False
    PMAP_LOCK(td, pm, SITE_PREFAULTABLE)
    charge(td, td.machine.cost.op, OPS_WALK)
    pde = pmap_pde(td, pm, va)
    if pde != NULL and (pde[0] & (PG_PS | PG_V)) == PG_V:
        answer = (pmap_pde_to_pte(td, pde[0], va)[0] & PG_V) == 0
    PMAP_UNLOCK(td, pm)
    return answer


# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Stands for: the CPU's page walk.
cdef bint pmap_access(thread* td, pmap* pm, vm_offset_t va, int prot) noexcept nogil:
    cdef pt_entry_t* pte = pmap_pde(td, pm, va)
    cdef pt_entry_t bits = PG_A
    cdef pt_entry_t old
    if pte == NULL or (pte[0] & PG_V) == 0:
        return False
    if (pte[0] & PG_PS) == 0:
        pte = pmap_pde_to_pte(td, pte[0], va)
    old = pte[0]
    if (old & PG_V) == 0 or (prot & VM_PROT_EXECUTE and old & PG_NX):
        return False
    if prot & VM_PROT_WRITE:
        if (old & PG_RW) == 0:
            return False
        bits |= PG_M
    if (old & bits) != bits:
        pte_set_bits(pte, bits)
    return True
