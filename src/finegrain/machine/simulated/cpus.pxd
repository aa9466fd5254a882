# CPUs: which thread is on which, the run queue of those that wait for one, and interrupts between them.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from finegrain.machine.simulated.types cimport cpu, sim, sim_thread
from finegrain.machine.thread cimport ps_t, thread

# Where the n-th thread from outside starts: socket by socket, cores before siblings.
cdef cpu* spread(sim* s, uint32_t n) noexcept nogil
# td, off the CPU, may run from t on: it gets an idle CPU, or waits for one.
cdef void make_runnable(sim* s, sim_thread* td, ps_t t) noexcept nogil
# td leaves its CPU at its clock; the CPU takes the next thread or idles.
cdef void leave_cpu(sim* s, sim_thread* td) noexcept nogil
# Into the run queue: behind all of the same or a better priority.
cdef void run_insert(sim* s, sim_thread* td) noexcept nogil

# The seam's calls.
cdef void sim_set_priority(thread* other, uint8_t priority) noexcept nogil
cdef void sim_shootdown(thread* td, const uint64_t* cpus, int64_t pages) noexcept nogil
cdef bint sim_cpus_using(thread* td, const void* pmap, uint64_t* cpus) noexcept nogil
