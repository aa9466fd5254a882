# The kernel's own pmap.
#
# It differs from a program's in three things.  Its page tables are made ahead of their use and never freed, so nothing
# is counted in them.  Its mappings are global (PG_G): a change of the address space leaves them in the TLBs.  And it is
# active on every CPU, so that a mapping that goes has to be forgotten by all CPUs of the machine, idle ones too.
#
# Kernel addresses are those of amd64 without their sign extension: bits 48 to 63 are 0 here.  A program's page tables
# do not lead to the kernel's half: nothing in a program may look there, and the kernel's accesses come here directly.

from libc.stdint cimport int64_t, uint16_t

from finegrain.kernel.locks cimport LO_DUPOK, lock_name, lock_site, mtx_init
from finegrain.kernel.phys cimport PHYS_TO_VM_PAGE
from finegrain.kernel.pmap.pt cimport (
    NBPDR, PG_FRAME, PG_V, PMAP_LOCK, PMAP_LOCK_ASSERT, PMAP_UNLOCK, pmap_allocpte_new, pmap_pde, pmap_pde_pindex,
    pmap_state, pmap_state_of)
from finegrain.kernel.pmap.pvlock cimport pvlock
from finegrain.kernel.types cimport PAGE_SIZE, pt_entry_t
from finegrain.machine.seam cimport arena_alloc, panic, unlikely

cdef uint16_t NAME_PMAP = lock_name(b"sleep mutex", b"pmap")
cdef uint16_t SITE_GROW = lock_site(b"pmap_growkernel/pmap")


cdef int pmap_kernel_create(machine* m, pmap* pm) except -1:
    cdef pmap_state* s = <pmap_state*>m.pmap
    mtx_init(&pm.pm_mtx, NAME_PMAP, LO_DUPOK)
    pm.pm_pml4 = <pt_entry_t*>arena_alloc(m, PAGE_SIZE)
    if pm.pm_pml4 == NULL:
        raise MemoryError("no room for the kernel's page tables")
    pm.ptp_count = 1
    s.pmaps += 1
    pm.pm_id = <unsigned int>s.pmaps
    s.kernel_pmap = pm
    return 0


# Make the page tables of a range, where they are missing.
#
# Locks in:   none of the pmap's.
# Locks out:  the same.
# May block:  on the pmap lock of the kernel's pmap, on the free page locks.  Sleeps for memory.
# Stands for: FreeBSD pmap_growkernel(), which is called for the whole of a submap when that is made; here page tables
#             come when an address below them is first given out.
cdef void pmap_growkernel(thread* td, vm_offset_t start, vm_offset_t end) noexcept nogil:
    cdef pmap* pm = pmap_state_of(td).kernel_pmap
    cdef pvlock* lock = NULL
    cdef vm_offset_t va = start & ~<vm_offset_t>(NBPDR - 1)
    cdef pt_entry_t* pde
    PMAP_LOCK(td, pm, SITE_GROW)
    while va < end:
        pde = pmap_pde(td, pm, va)
        if (pde != NULL and pde[0] & PG_V) or pmap_allocpte_new(td, pm, pmap_pde_pindex(va), &lock) != NULL:
            va += NBPDR
    PMAP_UNLOCK(td, pm)


# Find the page table of a kernel address.
#
# Locks in:   the pmap lock of pm.
# Locks out:  the same.
# May block:  never.
# Returns:    the page table.
# Stands for: the search for a kernel PTE in FreeBSD pmap_enter(), which panics without a page directory.
cdef vm_page* pmap_kernel_ptp(thread* td, pmap* pm, vm_offset_t va) noexcept nogil:
    cdef pt_entry_t* pde = pmap_pde(td, pm, va)
    PMAP_LOCK_ASSERT(td, pm)
    if unlikely(pde == NULL or (pde[0] & PG_V) == 0):
        panic(td, b"pmap_enter: no page table for a kernel address")
    return PHYS_TO_VM_PAGE(td, pde[0] & PG_FRAME)


cdef int64_t pmap_kernel_ptps(machine* m) noexcept nogil:
    cdef pmap* pm = (<pmap_state*>m.pmap).kernel_pmap
    return 0 if pm == NULL else pm.ptp_count - 1
