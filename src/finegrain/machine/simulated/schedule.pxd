# Who runs next.
#
# One question, asked whenever a thread stops or could let others go first, through one small interface: `sim.choose`.
#
#   uint64_t choose(sim* s)     the position in s.heap of the event to take
#
# What holds when it is asked: nobody runs; each thread that could go on has one event that counts, the one whose number
# is its `event`; other events are stale, and choosing one only takes it away.  What it must guarantee: a position below
# s.count; an answer that depends on the simulated state and its own alone.  It may look at the threads (clock, state,
# what they want and hold), and must not change them.
#
# NULL answers by time: the earliest event, the older one among equals, which is position 0; then a thread that nobody
# is behind of goes on without a question (s.reschedule is sim_reschedule).  A machine that asks at every scheduling
# point, whatever the clocks, has sim_reschedule_ask there and keeps s.next_event at 0.

from libc.stdint cimport int64_t, uint64_t

from finegrain.machine.simulated.types cimport line, sim, sim_thread
from finegrain.machine.thread cimport lock_delay_arg, ps_t, thread

cdef enum:
    BREATH = 256                        # events between looks at the real clock

# Run the earliest event.  td is the caller's thread (NULL: the main context), whose own event, if it wants to go on, is
# queued.  Returns when td's turn comes.
cdef void dispatch(sim* s, sim_thread* td) noexcept nogil
# Stop the run: to the main context, for good.
cdef void leave_for_main(sim* s, sim_thread* td) noexcept nogil
# The scheduling point, out of line: an event is due; the question by time, or whatever `choose` says.
cdef void sim_reschedule(thread* td) noexcept nogil
cdef void sim_reschedule_ask(thread* td) noexcept nogil
# The wait for a busy cache line.
cdef void sim_stall(thread* td, line* at) noexcept nogil

# The seam's calls.
cdef void sim_spin_until_changed(thread* td, uint64_t* word, uint64_t seen, thread* owner, lock_delay_arg* delay,
                                 int64_t max_pauses) noexcept nogil
cdef void sim_park(thread* td) noexcept nogil
cdef void sim_unpark(thread* td, thread* other) noexcept nogil
cdef void sim_sleep_for(thread* td, ps_t duration) noexcept nogil
cdef void sim_user(thread* td, ps_t duration) noexcept nogil
