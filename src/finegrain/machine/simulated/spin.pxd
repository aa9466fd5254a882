# Threads that busy-wait on a word.  They keep their CPU and look at the word now and then, with lock_delay's back-off;
# nothing is simulated of them until the word changes or the owner they wait for leaves its CPU.

from libc.stdint cimport int64_t, uint64_t

from finegrain.machine.simulated.types cimport sim, sim_thread
from finegrain.machine.thread cimport lock_delay_arg, ps_t, thread

# td spins from its clock on; its next looks are events.
cdef void spin_begin(sim* s, sim_thread* td, uint64_t* word, uint64_t seen, sim_thread* owner, lock_delay_arg* delay,
                     int64_t max_pauses) noexcept nogil
# A spinning thread looks at its word at t: True when the spinning is over.
cdef bint spin_look(sim* s, sim_thread* td, ps_t t) noexcept nogil
# What td waits for may have happened at t: its next look after that is an event.
cdef void schedule_look(sim* s, sim_thread* td, ps_t t) noexcept nogil
# The word was written: wake up those that look at it.
cdef void spin_word_changed(thread* td, uint64_t* word) noexcept nogil
# td ends: threads that spin because it ran find that its lock has changed hands, even if the next owner's record turns
# out to be the same one.
cdef void disown_spinners(sim_thread* td) noexcept nogil
