# The kernel's own pmap: its page tables stay, its mappings are global.

from libc.stdint cimport int64_t

from finegrain.kernel.types cimport pmap, vm_offset_t, vm_page
from finegrain.machine.thread cimport machine, thread

# Make pm the kernel's pmap.  Once a machine, after pmap_create().  Raises MemoryError.
cdef int pmap_kernel_create(machine* m, pmap* pm) except -1
# Make page tables for the kernel's addresses [start, end).  None held; takes pmap; sleeps for memory.
cdef void pmap_growkernel(thread* td, vm_offset_t start, vm_offset_t end) noexcept nogil
# The page table of a kernel address.  Pmap locked.
cdef vm_page* pmap_kernel_ptp(thread* td, pmap* pm, vm_offset_t va) noexcept nogil
# Machine stopped: pages that the kernel's page tables have taken; they are never given back.
cdef int64_t pmap_kernel_ptps(machine* m) noexcept nogil
