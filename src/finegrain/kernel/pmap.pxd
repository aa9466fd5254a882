# The pmap operations.  Each function's locks are stated above its body in the .pyx files; the short form is here.
# None needs a pmap or PV list lock of its caller.

from libc.stdint cimport int64_t, uint64_t

from finegrain.kernel.types cimport pmap, vm_offset_t, vm_paddr_t
from finegrain.machine.machine cimport machine, thread

# Making mappings.
#   pmap_enter(td, pm, va, m, prot, flags, psind)   page busied or object locked; takes pmap, PV list; may sleep.
#                                                   KERN_SUCCESS, or KERN_RESOURCE_SHORTAGE with NOSLEEP or psind 1
#   pmap_enter_object(td, pm, start, end, m, prot)  object R; takes pmap once, PV list carried.  Resident pages from m
#                                                   on (by listq_next), read-only
#   pmap_enter_quick(td, pm, va, m, prot)           object R; takes pmap, PV list.  Read-only, if nothing is there
from finegrain.kernel.pmap_enter cimport (
    KERN_FAILURE, KERN_RESOURCE_SHORTAGE, KERN_SUCCESS, PMAP_ENTER_NORECLAIM, PMAP_ENTER_NOREPLACE, PMAP_ENTER_NOSLEEP,
    PMAP_ENTER_WIRED, PMAP_ENTER_WRITE, pmap_enter, pmap_enter_object, pmap_enter_quick)

# Fork.
#   pmap_copy(td, dst, src, start, end)             both vm maps X; takes both pmaps, PV list carried
#   pmap_protect(td, pm, start, end, prot)          vm map X; takes pmap
from finegrain.kernel.pmap_copy cimport pmap_copy, pmap_protect

# Removing mappings.
#   pmap_remove(td, pm, start, end)                 vm map X; takes pmap, PV list carried; DI block
#   pmap_remove_pages(td, pm)                       td's own pmap, active nowhere else; takes pmap, PV list carried
from finegrain.kernel.pmap_remove cimport pmap_remove, pmap_remove_pages

# From a page to its mappings.
#   pmap_remove_all(td, m)                          object W or page busied; takes PV list, pmaps; waits for DI blocks
#   pmap_remove_write(td, m)                        likewise
#   pmap_ts_referenced(td, m)                       takes PV list, pmaps; how many references, 5 at most
#   pmap_is_modified(td, m)                         takes PV list R, pmaps
#   pmap_page_exists_quick(td, pm, m)               takes PV list R; looks at 16 entries at most
from finegrain.kernel.pmap_page cimport (
    pmap_is_modified, pmap_page_exists_quick, pmap_remove_all, pmap_remove_write, pmap_ts_referenced)

# Once a machine, after phys_create and locks_create: the design of the PV list lock comes first (pvlock_create).
cdef int pmap_create_state(machine* m) except -1

# The life of a pmap.  A pmap's memory must stay a pmap (never be reused for another thing) while other pmaps live:
# reclaim may look for the lock of one that has just gone.
cdef void pmap_pinit(thread* td, pmap* pm) noexcept nogil               # none held; may sleep for a page
cdef void pmap_release(thread* td, pmap* pm) noexcept nogil             # none held; empty and inactive pmap
# The thread starts, or stops, using the pmap, wherever it runs (a CR3 write).  One pmap a thread at a time.
cdef void pmap_activate(thread* td, pmap* pm) noexcept nogil
cdef void pmap_deactivate(thread* td, pmap* pm) noexcept nogil

# Looking.
cdef vm_paddr_t pmap_extract(thread* td, pmap* pm, vm_offset_t va) noexcept nogil       # takes pmap; 0: not mapped
cdef bint pmap_is_prefaultable(thread* td, pmap* pm, vm_offset_t va) noexcept nogil     # takes pmap
# What the hardware does on an access, no lock: returns True and sets PG_A (and PG_M) when the PTE allows it, False
# when it would fault.
cdef bint pmap_access(thread* td, pmap* pm, vm_offset_t va, int prot) noexcept nogil

# Audit, machine stopped: every valid managed PTE of pm has exactly one pv entry on the right page's list and the
# reverse; counts agree.  0, or the number of faults found with the first one described.  (pv_audit: all chunks.)
cdef int64_t pmap_audit(machine* m, pmap* pm, char* why, uint64_t why_size) noexcept nogil
