# Copying a range of mappings to another pmap (fork), and changing protection.

from finegrain.kernel.types cimport pmap, vm_offset_t
from finegrain.machine.thread cimport thread

cdef void pmap_copy(thread* td, pmap* dst, pmap* src, vm_offset_t start, vm_offset_t end) noexcept nogil
cdef void pmap_protect(thread* td, pmap* pm, vm_offset_t start, vm_offset_t end, int prot) noexcept nogil
