# Who is served next by a contended cache line.  See arbiter.pxd.

from libc.stdint cimport uint32_t, uint64_t

from finegrain.machine.simulated.events cimport push_event
from finegrain.machine.simulated.types cimport STALL_BUCKETS
from finegrain.machine.thread cimport TD_RUNNING, TD_STALLED


cdef inline uint32_t stall_bucket(sim* s, line* at) noexcept nogil:
    return <uint32_t>((<uint64_t>(at - s.lines) * <uint64_t>2654435761) >> 12) & (STALL_BUCKETS - 1)


cdef sim_thread* longest_waiting(sim* s, line* at) noexcept nogil:
    cdef sim_thread* w = s.stalled[stall_bucket(s, at)]
    while w != NULL and w.stalled_on != at:
        w = w.stall_next
    return w


cdef void line_join(sim* s, sim_thread* td, line* at) noexcept nogil:
    cdef sim_thread** link = &s.stalled[stall_bucket(s, at)]
    cdef bint first = True
    while link[0] != NULL:
        first = first and link[0].stalled_on != at
        link = &link[0].stall_next
    link[0] = td
    td.stall_next = NULL
    td.stalled_on = at
    td.passed_over = 0
    td.td.state = TD_STALLED
    s.stalled_count += 1
    if first:
        push_event(s, td, at.busy_until)


cdef sim_thread* line_turn(sim* s, sim_thread* td) noexcept nogil:
    cdef line* at = td.stalled_on
    cdef uint32_t socket = s.cpus[at.owner - 1].socket
    cdef sim_thread* oldest = longest_waiting(s, at)
    cdef sim_thread* chosen = oldest
    cdef sim_thread** link = &s.stalled[stall_bucket(s, at)]
    if oldest.passed_over < s.m.cost.line_local_first:
        while chosen != NULL and (chosen.stalled_on != at or chosen.cpu.socket != socket):
            chosen = chosen.stall_next
        if chosen == NULL:
            chosen = oldest
        elif chosen != oldest:
            oldest.passed_over += 1
    while link[0] != chosen:
        link = &link[0].stall_next
    link[0] = chosen.stall_next
    chosen.stalled_on = NULL
    chosen.td.state = TD_RUNNING
    s.stalled_count -= 1
    return chosen


cdef void line_served(sim* s, line* at, ps_t free) noexcept nogil:
    cdef sim_thread* next = longest_waiting(s, at)
    if next != NULL:
        at.busy_until = free            # a read alone would keep nobody out
        push_event(s, next, at.busy_until)
