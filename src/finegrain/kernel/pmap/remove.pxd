# Removing mappings from the pmap's side: a range, or everything at exit and exec.

from finegrain.kernel.pmap.pt cimport spglist
from finegrain.kernel.pmap.pvlock cimport pvlock
from finegrain.kernel.types cimport pmap, pt_entry_t, vm_offset_t
from finegrain.machine.thread cimport thread

cdef void pmap_remove(thread* td, pmap* pm, vm_offset_t start, vm_offset_t end) noexcept nogil
cdef void pmap_remove_pages(thread* td, pmap* pm) noexcept nogil

# Remove the small mappings of [sva, eva), within one page table.  True when anything was valid: the caller flushes.
# pmap locked; carries *lockp.
cdef bint pmap_remove_ptes(thread* td, pmap* pm, vm_offset_t sva, vm_offset_t eva, pt_entry_t* pde, spglist* free,
                           pvlock** lockp) noexcept nogil
