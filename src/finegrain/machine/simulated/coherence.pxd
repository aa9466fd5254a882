# What the seam's inline calls are in the simulation: the thread's clock, and the cache lines that it touches.
#
# Every line that matters (lock words by their real layout, PV list heads, page structs) remembers who wrote it last,
# who read it, and which sockets hold a clean copy; an access costs a local hit, a transfer within the socket, or one
# across sockets.  So two 32-byte locks in one line do fight, and eight 8-byte ones fight more.  Caches are finite: what
# has not been used for long comes from further away (caches.pxd).

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from finegrain.machine.simulated.types cimport AGE_AHEAD, AGE_BITS, AGE_SHIFT, LINE_SHIFT, cpu, line, sim, sim_thread
from finegrain.machine.thread cimport LINE_HIT, ps_t, thread

cdef extern from "atomics.h" nogil:
    bint unlikely "finegrain_unlikely"(bint condition)


cdef inline ps_t sim_now(thread* td) noexcept nogil:
    return (<sim_thread*>td).clock


cdef inline uint32_t sim_cpu_id(thread* td) noexcept nogil:
    return (<sim_thread*>td).cpu.id


cdef inline uint32_t sim_domain(thread* td) noexcept nogil:
    return (<sim_thread*>td).cpu.socket


cdef inline uint8_t sim_last_line(thread* td) noexcept nogil:
    return (<sim_thread*>td).cpu.last_line


cdef inline void sim_charge(thread* td, ps_t cost, int64_t n) noexcept nogil:
    cdef ps_t t = cost * n
    cdef cpu* c = (<sim_thread*>td).cpu
    if c.sibling_busy:
        t = t * td.machine.cost.smt_kernel_den // td.machine.cost.smt_kernel_num
    (<sim_thread*>td).clock += t
    c.times.kernel += t


cdef inline void sim_charge_memory(thread* td, ps_t t) noexcept nogil:
    (<sim_thread*>td).clock += t
    (<sim_thread*>td).cpu.times.memory += t


cdef inline void sim_wait_until(thread* td, ps_t t) noexcept nogil:
    if (<sim_thread*>td).clock < t:
        sim_charge_memory(td, t - (<sim_thread*>td).clock)


# How long ago the line was last used, at `when` (both in units of its `used`).  Below 0: by one whose clock is ahead.
cdef inline int64_t line_age(line* at, int64_t when) noexcept nogil:
    return <int64_t>((<uint64_t>when + AGE_AHEAD - at.used) & ((1 << AGE_BITS) - 1)) - AGE_AHEAD


# Was the line left in this CPU's caches, in a state that lets it be read or written?
cdef inline bint line_left_here(line* at, cpu* c, bint write) noexcept nogil:
    cdef uint16_t me = c.id + 1
    return (at.owner == me and (at.sharers == 0 or not write)) or (
        not write and at.reader == me and at.sharers >> (c.socket & 15) & 1)


# What reading (or, with write, owning) the line of an address costs this CPU; the line remembers.
cdef inline ps_t line_cost(thread* td, const void* address, line* at, bint write) noexcept nogil:
    cdef cpu* c = (<sim_thread*>td).cpu
    cdef int64_t when = (<sim_thread*>td).clock >> AGE_SHIFT
    if unlikely(at.shared):
        (<sim*>td.machine).use_part(td, at, address, write)
    if not (line_left_here(at, c, write) and line_age(at, when) <= when - c.cache.l1.horizon):
        return (<sim*>td.machine).miss(td, at, write)
    c.lines[LINE_HIT] += 1
    c.last_line = LINE_HIT
    at.used = <uint64_t>when
    return td.machine.cost.l1_hit


cdef inline line* line_of(sim* s, const void* address) noexcept nogil:
    return &s.lines[(<const char*>address - <const char*>s.m.arena) >> LINE_SHIFT]


cdef inline void sim_touch(thread* td, const void* address, bint write) noexcept nogil:
    sim_charge_memory(td, line_cost(td, address, line_of(<sim*>td.machine, address), write))


# Work on whole pages: so many lines pass through the caches, and nobody else will touch them one by one.
cdef inline void sim_charge_lines(thread* td, ps_t cost, int64_t lines) noexcept nogil:
    sim_charge(td, cost, 1)
    (<sim*>td.machine).fill(td, lines)


# A page of the kernel's own has been zeroed: its lines are here.
cdef inline void sim_charge_zeroed(thread* td, const void* page) noexcept nogil:
    sim_charge(td, td.machine.cost.zero_4k, 1)
    (<sim*>td.machine).touch_page(td, page)


# Let threads whose clocks are behind go first.
cdef inline void sim_sched_point(thread* td) noexcept nogil:
    if (<sim_thread*>td).clock >= (<sim*>td.machine).next_event:
        (<sim*>td.machine).reschedule(td)


# Wait for one's turn on a line that an atomic operation needs, and pay for it.  Others have to wait until the line is
# here, and while the operation runs on a line that has been here all along; what an operation costs beyond the transfer
# is its thread's affair.  (Transfers were measured between threads that do atomic operations in turn [c2c], so those
# are in their time.)
cdef inline void sim_atomic_access(thread* td, const void* word, bint write) noexcept nogil:
    cdef line* at
    cdef ps_t t, since
    sim_sched_point(td)
    at = line_of(<sim*>td.machine, word)
    since = (<sim_thread*>td).clock
    if unlikely(at.busy_until > (<sim_thread*>td).clock or
                (at.busy_until == (<sim_thread*>td).clock and (<sim*>td.machine).stalled_count != 0)):
        (<sim*>td.machine).stall(td, at)
    t = line_cost(td, word, at, write)
    if sim_last_line(td) != LINE_HIT:
        (<sim*>td.machine).transferred(td, at, word, (<sim_thread*>td).clock + t - since)
    if write:
        at.busy_until = (<sim_thread*>td).clock + t
        t += td.machine.cost.rmw_hit
        if sim_last_line(td) == LINE_HIT:
            at.busy_until += td.machine.cost.rmw_hit
    sim_charge_memory(td, t)
    if unlikely((<sim*>td.machine).stalled_count != 0):
        (<sim*>td.machine).served(<sim*>td.machine, at, at.busy_until if write else (<sim_thread*>td).clock)


cdef inline void sim_word_changed(thread* td, uint64_t* word) noexcept nogil:
    if unlikely(line_of(<sim*>td.machine, word).spinners != 0):
        (<sim*>td.machine).word_changed(td, word)
