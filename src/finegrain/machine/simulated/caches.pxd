# What is in which cache, by age.
#
# No cache's contents are simulated. A line remembers when it was last used; a cache remembers when it last brought in
# as many lines as it holds (to a sixteenth more). What was used before then has left it, as from a cache that
# replaces what has not been used for longest. There are three: the L1 and the L2 of each core, which its hardware
# threads share, and "the chip": a socket's L2s and its last-level cache together, since that takes what the L2s throw
# out and gives it back [SKX]. A line that has left its owner's L2 has been written back: who wants it gets it from
# the last-level cache, or, once it has left the chip, from memory.
#
# Lines come in by accesses that the simulation sees, and by work that it does not see line by line: user time, pages
# zeroed and copied.  Capacities and rates are costs (costs.py); a capacity of 0 is a cache that holds everything for
# ever.

from libc.stdint cimport int64_t

from finegrain.machine.simulated.types cimport cpu, line, sim
from finegrain.machine.thread cimport ps_t, thread

# The caches of every core and socket, empty.  False: no memory.
cdef bint caches_create(sim* s) noexcept nogil
cdef void caches_destroy(sim* s) noexcept nogil
# The line is not in the L1 of td's core in the state wanted: what getting it costs, and where it is now.
cdef ps_t line_miss(thread* td, line* at, bint write) noexcept nogil
# User code has run on the CPU for a time (as with an idle sibling), until a thread's clock.
cdef void user_fills(sim* s, cpu* c, ps_t duration, ps_t clock) noexcept nogil
# td has worked through so many lines that nobody else will touch line by line.
cdef void sim_fill(thread* td, int64_t lines) noexcept nogil
# td has written all lines of a page: they are in its caches.
cdef void sim_touch_page(thread* td, const void* page) noexcept nogil
