# Operations that start from a page and visit all its mappings.

from finegrain.kernel.types cimport pmap, vm_page
from finegrain.machine.thread cimport thread

cdef void pmap_remove_all(thread* td, vm_page* m) noexcept nogil
cdef void pmap_remove_write(thread* td, vm_page* m) noexcept nogil
cdef int pmap_ts_referenced(thread* td, vm_page* m) noexcept nogil
cdef bint pmap_is_modified(thread* td, vm_page* m) noexcept nogil
cdef bint pmap_page_exists_quick(thread* td, pmap* pm, vm_page* m) noexcept nogil
