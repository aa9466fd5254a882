# The life of a pmap, and looking things up in it.

from libc.stdint cimport int64_t, uint64_t

from finegrain.kernel.pmap.pvtable cimport pvlock_design
from finegrain.kernel.types cimport pmap, vm_offset_t, vm_paddr_t
from finegrain.machine.thread cimport machine, thread

# Once a machine, after phys_create: the design of the PV list lock laid out, then the pmap layer's own state.
cdef int pmap_create(machine* m, const pvlock_design* design) except -1

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
