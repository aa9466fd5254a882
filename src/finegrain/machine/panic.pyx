# What a panic says.  See panic.pxd.

from libc.stdint cimport uint8_t
from libc.stdio cimport snprintf

from finegrain.machine.seam cimport cpu_id, now
from finegrain.machine.thread cimport (
    TD_BLOCKED, TD_RUNNABLE, TD_RUNNING, TD_SLEEPING, TD_SPINNING, TD_STALLED, TD_STARTING, machine, thread)

cdef enum:
    LINE_ROOM = 512                     # what a thread's lines may take
    BYSTANDERS = 8                      # threads shown that neither want nor hold a lock


cdef const char* state_name(uint8_t state) noexcept nogil:
    if state == TD_STARTING:
        return b"waking up"
    if state == TD_RUNNING:
        return b"running"
    if state == TD_STALLED:
        return b"waits for a cache line"
    if state == TD_SPINNING:
        return b"spinning"
    if state == TD_RUNNABLE:
        return b"waiting for a CPU"
    if state == TD_BLOCKED:
        return b"blocked"
    if state == TD_SLEEPING:
        return b"sleeping"
    return b"ending"


cdef void panic_text(machine* m, thread* td, const char* why, char* text, size_t size) noexcept nogil:
    cdef size_t n = 0, room = size - LINE_ROOM
    cdef thread* t
    cdef int shown = 0
    n += snprintf(text, room, b"%s", why)
    if td != NULL:
        n += snprintf(text + n, room - n, b"\nin thread %u on CPU %u at %lld ns", td.id, <unsigned int>cpu_id(td),
                      <long long>(now(td) // 1000))
        if m.describe != NULL:
            n += m.describe(td, text + n, room - n)
    t = m.threads
    while t != NULL and n + LINE_ROOM < room:
        if t != td and (t.wanted.address != NULL or t.nheld != 0 or shown < BYSTANDERS):
            shown += 1
            n += snprintf(text + n, room - n, b"\nthread %u, CPU %u, %s at %lld ns", t.id, <unsigned int>cpu_id(t),
                          state_name(t.state), <long long>(now(t) // 1000))
            if m.describe != NULL:
                n += m.describe(t, text + n, room - n)
        t = t.all_next
