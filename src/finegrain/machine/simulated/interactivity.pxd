# Who is interactive: ULE's account of how long a thread ran and slept lately, and the priority that follows.
#
# A thread that sleeps much more than it runs is interactive and has one of the priorities PRI_MIN_INTERACT and up, the
# better the less it runs; all others share SCHED_PRI_MIN.  What its account says counts when a thread is back in user
# code; until then it has the priority that it had, or PRI_MIN_BATCH if it slept and that is better.  (ULE spreads those
# that are not interactive over a range by their share of the CPU, which orders them among themselves; here they go by
# turns.)  A child begins with its parent's account, cut down; when it ends, its run time is put on the parent's
# account: so the make of a build whose compilers run is not interactive.

from libc.stdint cimport uint8_t

from finegrain.machine.simulated.types cimport sim, sim_thread
from finegrain.machine.thread cimport ps_t

cdef enum:
    # FreeBSD sys/priority.h and sched_ule.c (M)
    PRI_MIN_KERN = 80
    PRI_MIN_INTERACT = 120              # PRI_MIN_TIMESHARE
    PRI_MAX_INTERACT = 151
    PRI_MIN_BATCH = 152                 # of who is not interactive and was asleep, until it is back in user code
    SCHED_PRI_MIN = 172                 # of who is not interactive: PRI_MIN_BATCH and half of 40 for nice values

# td, on its CPU, ran up to its clock.
cdef void account_run(sim* s, sim_thread* td) noexcept nogil
# td, off the CPU by its own will, is woken at t.
cdef void account_sleep(sim* s, sim_thread* td, ps_t t) noexcept nogil
# A new thread inherits its creator's account (NULL: it has none).
cdef void account_fork(sim* s, sim_thread* creator, sim_thread* new) noexcept nogil
# td is in user code, or about to be: it has its own priority again, as its account is now.
cdef void return_to_user(sim* s, sim_thread* td) noexcept nogil
# Is a thread of the priority to get the CPU at once from one of the other priority?  remote: on another CPU.
cdef bint should_preempt(uint8_t priority, uint8_t other, bint remote) noexcept nogil
# td ends: its run time goes to another's account.
cdef void account_heir(sim* s, sim_thread* td, sim_thread* heir) noexcept nogil
