# Who is served next by a contended cache line.
#
# An atomic operation has its line for as long as the line takes to come; meanwhile others queue.  Hardware does not
# serve them in order of arrival: requests from the socket where the line is reach it first.  So: the one that has
# waited longest, unless another waits on the line's own socket and the first has been passed over fewer than
# cost.line_local_first times (0: strictly in order).
#
# Threads that wait for one line have one pending event between them, that of the one that has waited longest, at the
# time when the line is free again.  invariant: it is at the line's busy_until, so who finds busy_until in the past
# finds nobody waiting.

from finegrain.machine.simulated.types cimport line, sim, sim_thread
from finegrain.machine.thread cimport ps_t

# Who waits for the line, longest; NULL: nobody.
cdef sim_thread* longest_waiting(sim* s, line* at) noexcept nogil
# td waits for the line, behind others.
cdef void line_join(sim* s, sim_thread* td, line* at) noexcept nogil
# The line for which td, whose event has come, waits is free: the thread whose turn it is, no longer waiting.
cdef sim_thread* line_turn(sim* s, sim_thread* td) noexcept nogil
# The line has been served, and is free from a time on: that is when the next is served, if anybody waits.
cdef void line_served(sim* s, line* at, ps_t free) noexcept nogil
