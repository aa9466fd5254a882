# The kernel's own map, as far as pipes use it: pipe_map, one for the machine, of pageable kernel memory.

from libc.stdint cimport uint64_t

from finegrain.kernel.types cimport vm_offset_t
from finegrain.kernel.vm.state cimport vm_of
from finegrain.machine.thread cimport machine, thread

# Once a machine, after vm_create().  Raises MemoryError.
cdef int kmap_create(machine* m) except -1
# How much pipe_map can hold, bytes (maxpipekva).
cdef uint64_t pipe_map_size(machine* m) noexcept nogil
# Addresses for `size` bytes, a multiple of 4096; 0: there is no room.  Takes pipe_map X; sleeps.
cdef vm_offset_t pipe_map_find(thread* td, uint64_t size) noexcept nogil
# Give them, and the pages behind them, back.  Takes pipe_map X, under it objects W, pmap, PV list X; all CPUs forget.
cdef void pipe_map_remove(thread* td, vm_offset_t start, vm_offset_t end) noexcept nogil
# The kernel reads or writes (VM_PROT_*) its own pageable memory.  None held but what may be held over a fault.
cdef void kernel_access(thread* td, vm_offset_t va, int prot) noexcept nogil
