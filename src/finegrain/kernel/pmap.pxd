# The pmap operations.  Each function's locks are stated above its body in the .pyx files; the short form is here.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from finegrain.kernel.types cimport pmap, vm_object, vm_offset_t, vm_page, vm_paddr_t, vm_pindex_t
from finegrain.machine.machine cimport machine, thread

cdef enum:
    PMAP_ENTER_WRITE = 2                # flags: the access that caused it (vm_prot bits)
    PMAP_ENTER_NOSLEEP = 0x100
    PMAP_ENTER_WIRED = 0x200
    KERN_SUCCESS = 0
    KERN_FAILURE = 5
    KERN_RESOURCE_SHORTAGE = 6

cdef int pmap_create_state(machine* m) except -1            # once a machine, after pvlock_create
cdef void pmap_pinit(thread* td, pmap* pm) noexcept nogil                                   # none held; may wait for a page
cdef void pmap_release(thread* td, pmap* pm) noexcept nogil                                 # none held; empty pmap
# The thread's CPU starts, or stops, using the pmap (pm_active; a CR3 write).
cdef void pmap_activate(thread* td, pmap* pm) noexcept nogil
cdef void pmap_deactivate(thread* td, pmap* pm) noexcept nogil

cdef int pmap_enter(thread* td, pmap* pm, vm_offset_t va, vm_page* m, int prot, int flags, int psind) noexcept nogil  # page busied or object locked; takes pmap, PV list
cdef void pmap_enter_object(thread* td, pmap* pm, vm_offset_t start, vm_offset_t end, vm_page* m_start, int prot) noexcept nogil  # object R; takes pmap once, PV list carried
cdef void pmap_enter_quick(thread* td, pmap* pm, vm_offset_t va, vm_page* m, int prot) noexcept nogil  # object R; takes pmap, PV list
cdef void pmap_copy(thread* td, pmap* dst, pmap* src, vm_offset_t start, vm_offset_t end) noexcept nogil  # takes both pmaps, PV list carried
cdef void pmap_protect(thread* td, pmap* pm, vm_offset_t start, vm_offset_t end, int prot) noexcept nogil  # takes pmap
cdef void pmap_remove(thread* td, pmap* pm, vm_offset_t start, vm_offset_t end) noexcept nogil  # takes pmap, PV list carried; DI block
cdef void pmap_remove_all(thread* td, vm_page* m) noexcept nogil                            # object W or page busied; takes PV list, pmaps
cdef void pmap_remove_write(thread* td, vm_page* m) noexcept nogil                          # likewise
cdef void pmap_remove_pages(thread* td, pmap* pm) noexcept nogil                            # current pmap; takes pmap, PV list carried
cdef vm_paddr_t pmap_extract(thread* td, pmap* pm, vm_offset_t va) noexcept nogil           # takes pmap; 0: not mapped
cdef bint pmap_is_prefaultable(thread* td, pmap* pm, vm_offset_t va) noexcept nogil         # takes pmap
cdef bint pmap_page_exists_quick(thread* td, pmap* pm, vm_page* m) noexcept nogil           # takes PV list R
cdef int pmap_ts_referenced(thread* td, vm_page* m) noexcept nogil                          # takes PV list, pmaps by trylock
cdef bint pmap_is_modified(thread* td, vm_page* m) noexcept nogil                           # takes PV list R, pmaps

# What the hardware does on an access, no lock: returns True and sets PG_A (and PG_M) when the PTE allows it, False
# when it would fault.
cdef bint pmap_access(thread* td, pmap* pm, vm_offset_t va, int prot) noexcept nogil

# Audit, machine stopped: every valid managed PTE of pm has exactly one pv entry on the right page's list and the
# reverse; counts agree.  0, or the number of faults found with the first one described.
cdef int64_t pmap_audit(machine* m, pmap* pm, char* why, uint64_t why_size) noexcept nogil
