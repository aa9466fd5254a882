# A page for a pv chunk when none is free: taken from other mappings.

from finegrain.kernel.pmap.pvlock cimport pvlock
from finegrain.kernel.types cimport pmap, vm_page
from finegrain.machine.thread cimport thread

# Destroy mappings until there is a page for a chunk; NULL when an entry of locked_pmap itself was freed, or nothing
# could be.  locked_pmap locked, no pmap above it; may change *lockp.
cdef vm_page* reclaim_pv_chunk(thread* td, pmap* locked_pmap, pvlock** lockp) noexcept nogil
