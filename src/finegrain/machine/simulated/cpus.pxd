# CPUs: which thread is on which, and the run queues of those that wait for one.
#
# Each CPU has its queue, as in FreeBSD's ULE.  A thread that wakes goes to an idle CPU if there is one, else into the
# queue of the CPU that it has the best prospects on, and stays there until it gets that CPU or one that becomes idle
# steals it.  Its CPU lets it go before it blocks when a slice is over (on the way back to user code), when a better
# one was queued by its own CPU (likewise), or, wherever it is, when ULE's rule says that a better one must not wait
# (interactivity.should_preempt; schedule.sim_reschedule).  With run_queues off there is one queue, that of CPU 0.
# ULE's long-term balancer, which moves threads once a second or so, is left out.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from finegrain.machine.simulated.types cimport cpu, run_queue, sim, sim_thread
from finegrain.machine.thread cimport ps_t, thread

# Where the n-th thread from outside starts: socket by socket, cores before siblings.
cdef cpu* spread(sim* s, uint32_t n) noexcept nogil
# td, off the CPU, may run from t on: it gets an idle CPU, or waits for one.  `here` is the CPU that says so.
cdef void make_runnable(sim* s, sim_thread* td, ps_t t, cpu* here) noexcept nogil
# td leaves its CPU at its clock; the CPU takes the next thread or idles.
cdef void leave_cpu(sim* s, sim_thread* td) noexcept nogil
# td leaves its CPU to the next of its queue, which has one, and waits there, behind its equals or ahead of them.
cdef void give_cpu_up(sim* s, sim_thread* td, bint ahead) noexcept nogil
# Is td to give its CPU up: at once, for a better one that an interrupt told of (which it asks once); on its way back to
# user code?
cdef bint to_be_preempted(sim* s, sim_thread* td) noexcept nogil
cdef bint turn_is_over(sim* s, sim_thread* td) noexcept nogil
# Does one that is no worse wait for td's CPU?
cdef bint others_may_go(sim* s, sim_thread* td) noexcept nogil

# The seam's calls.
cdef void sim_set_priority(thread* other, uint8_t priority) noexcept nogil
cdef void sim_leave_run_time(thread* td, thread* heir) noexcept nogil
cdef bint sim_cpus_using(thread* td, const void* pmap, uint64_t* cpus) noexcept nogil
