# Free memory as a machine has it that has been in use.

from libc.stdint cimport int64_t, uint64_t

from finegrain.machine.thread cimport thread

# Mix npages of free memory: take them, and give them back in random order.
cdef void memory_age(thread* td, int64_t npages, uint64_t seed) noexcept nogil
