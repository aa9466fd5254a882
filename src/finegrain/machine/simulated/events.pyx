# Pending events.  See events.pxd.

from libc.stdlib cimport realloc


cdef bint grow(sim* s) noexcept nogil:
    cdef event* bigger = <event*>realloc(s.heap, 2 * s.capacity * sizeof(event))
    if bigger == NULL:
        return False
    s.heap = bigger
    s.capacity *= 2
    return True
