# Delayed invalidation (DI): lets pmap_remove and its like drop the PV list lock before their TLB flush, and still lets
# bottom-up operations say "no mapping is left" only when those flushes are done.  The idea is told in the .pyx.

from libc.stdint cimport uint64_t

from finegrain.kernel.types cimport vm_page
from finegrain.machine.thread cimport machine, thread

cdef int pmap_di_create(machine* m) except -1

# Enter and leave a DI block.  No nesting.
cdef void pmap_delayed_invl_start(thread* td) noexcept nogil                    # no lock needed
cdef void pmap_delayed_invl_finish(thread* td) noexcept nogil                   # after the flush; no lock needed
# A mapping of m is gone that the block will flush.  PV list lock of m held for write.
cdef void pmap_delayed_invl_page(thread* td, vm_page* m) noexcept nogil
# Wait until every block that unmapped m (or, where generations are shared, a page like it) has flushed.
# No PV list lock, no pmap lock; an object lock may be held.  Blocks.
cdef void pmap_delayed_invl_wait(thread* td, vm_page* m) noexcept nogil


cdef inline bint pmap_not_in_di(thread* td) noexcept nogil:
    return td.invl == 0
