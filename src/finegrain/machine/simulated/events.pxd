# Pending events: a heap with four children a node, by time, then by number.
#
# A thread has one pending event at most that counts, the one whose number its record holds; others of its are stale and
# are passed over.

from libc.stdint cimport uint64_t

from finegrain.machine.simulated.types cimport cpu, event, sim, sim_thread
from finegrain.machine.thread cimport ps_t

cdef enum:
    LONE_PS = 200000000                 # 200 us: the longest that a thread runs without a look at the real clock

# The heap is full: make it larger.  False: no memory.
cdef bint grow(sim* s) noexcept nogil


# Without branches, here and in the choice among children: which of two events is earlier is anybody's guess, and a
# wrong one costs the processor more than all the comparing.
cdef inline uint64_t earlier(event* a, event* b) noexcept nogil:
    return <uint64_t>(a.time < b.time) | (<uint64_t>(a.time == b.time) & <uint64_t>(a.number < b.number))


# Position i is a hole; e belongs there or below.
cdef inline void sift_down(sim* s, uint64_t i, event e) noexcept nogil:
    cdef uint64_t child, best, other, n = s.count
    cdef event* heap = s.heap
    while True:
        child = 4 * i + 1
        if child + 4 <= n:
            best = child + earlier(&heap[child + 1], &heap[child])
            other = child + 2 + earlier(&heap[child + 3], &heap[child + 2])
            best += (other - best) * earlier(&heap[other], &heap[best])
        elif child < n:
            best = child
            for other in range(child + 1, n):
                best += (other - best) * earlier(&heap[other], &heap[best])
        else:
            break
        if not earlier(&heap[best], &e):
            break
        heap[i] = heap[best]
        i = best
    heap[i] = e


# Position i is a hole; e belongs there or above.
cdef inline void sift_up(sim* s, uint64_t i, event e) noexcept nogil:
    cdef uint64_t parent
    while i > 0:
        parent = (i - 1) // 4
        if not earlier(&e, &s.heap[parent]):
            break
        s.heap[i] = s.heap[parent]
        i = parent
    s.heap[i] = e


cdef inline event new_event(sim* s, sim_thread* td, ps_t t) noexcept nogil:
    cdef event e
    s.last_number += 1
    td.event = s.last_number
    e.time = t
    e.number = s.last_number
    e.td = td
    return e


cdef inline void push_event(sim* s, sim_thread* td, ps_t t) noexcept nogil:
    if s.count == s.capacity and not grow(s):
        td.td.machine.ops.panic(&td.td, b"no memory for the event queue")
        return
    s.count += 1
    sift_up(s, s.count - 1, new_event(s, td, t))
    if t < s.next_event:
        s.next_event = t


# Take the event at position i out.
cdef inline void remove_event(sim* s, uint64_t i) noexcept nogil:
    cdef event e
    s.count -= 1
    if i == s.count:
        return
    e = s.heap[s.count]
    if i > 0 and earlier(&e, &s.heap[(i - 1) // 4]):
        sift_up(s, i, e)
    else:
        sift_down(s, i, e)


# From t on, when does a thread that goes on on the CPU have to look whether others come first, or an interrupt does?
cdef inline void set_next_event(sim* s, cpu* c, ps_t t) noexcept nogil:
    cdef ps_t next = t + LONE_PS
    if c.interrupt_at < next:
        next = c.interrupt_at
    if s.until < next:
        next = s.until
    if s.count > 0 and s.heap[0].time < next:
        next = s.heap[0].time
    s.next_event = next
