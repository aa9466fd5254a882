# Threads that busy-wait on a word.  See spin.pxd.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from finegrain.machine.seam cimport running
from finegrain.machine.simulated.coherence cimport line_of
from finegrain.machine.simulated.events cimport push_event
from finegrain.machine.simulated.interrupts cimport interrupts_owed
from finegrain.machine.simulated.types cimport SPIN_BUCKETS
from finegrain.machine.thread cimport TD_RUNNING, TD_SPINNING

cdef ps_t FOREVER = 0x7fffffffffffffff


cdef inline uint32_t spin_bucket(sim* s, uint64_t* word) noexcept nogil:
    return <uint32_t>(((<uint64_t>(<char*>word - s.m.arena) >> 3) * <uint64_t>2654435761) >> 12) & (SPIN_BUCKETS - 1)


# When td looks at its word next, at t or later: rounds of pauses, each twice as long as the last, up to the limit.
cdef ps_t next_look(sim* s, sim_thread* td, ps_t t) noexcept nogil:
    cdef lock_delay_arg* d = td.spin_delay
    cdef ps_t pause = s.m.cost.pause if s.m.cost.pause > 0 else 1
    cdef int64_t rounds
    while True:
        if d.delay < d.max:
            d.delay = d.delay * 2 if d.delay * 2 < d.max else d.max
        elif t > td.spin_from:
            # Whole rounds of the longest kind that end before t and before the limit.
            rounds = (t - td.spin_from - 1) // (d.max * pause)
            if td.spin_limit != 0 and rounds > (td.spin_limit - d.spin_cnt - 1) // d.max:
                rounds = (td.spin_limit - d.spin_cnt - 1) // d.max
            if rounds > 0:
                td.spin_from += rounds * d.max * pause
                d.spin_cnt += rounds * d.max
        td.spin_from += d.delay * pause
        d.spin_cnt += d.delay
        if td.spin_from >= t or (td.spin_limit != 0 and d.spin_cnt >= td.spin_limit):
            return td.spin_from


cdef void schedule_look(sim* s, sim_thread* td, ps_t t) noexcept nogil:
    if td.spin_scheduled:
        return
    td.spin_scheduled = 1
    push_event(s, td, next_look(s, td, t))


cdef inline bint worth_spinning(sim_thread* td) noexcept nogil:
    return td.spin_word[0] == td.spin_seen and (
        td.spin_owner == NULL or running(&td.spin_owner.td))


cdef bint spin_look(sim* s, sim_thread* td, ps_t t) noexcept nogil:
    cdef uint32_t b
    cdef ps_t owed, hidden
    if not td.spin_scheduled:
        next_look(s, td, FOREVER)       # the bound is reached: the pauses up to it are spent
    td.spin_scheduled = 0
    if worth_spinning(td) and not (td.cpu.preempt and td.td.pinned == 0):
        if td.spin_limit == 0:
            return False                # it changed and changed back: spin on
        if td.spin_delay.spin_cnt < td.spin_limit:
            limit_look(s, td)
            return False
    b = spin_bucket(s, td.spin_word)
    if td.spin_prev != NULL:
        td.spin_prev.spin_next = td.spin_next
    else:
        s.spinning[b] = td.spin_next
    if td.spin_next != NULL:
        td.spin_next.spin_prev = td.spin_prev
    line_of(s, td.spin_word).spinners -= 1
    if td.spin_owner != NULL:
        if td.owner_prev != NULL:
            td.owner_prev.owner_next = td.owner_next
        else:
            td.spin_owner.spun_by = td.owner_next
        if td.owner_next != NULL:
            td.owner_next.owner_prev = td.owner_prev
    td.td.state = TD_RUNNING
    # Interrupts that came while it waited are part of the wait, as far as that is long enough.
    owed = interrupts_owed(s, td.cpu, t)
    hidden = min(owed, t - td.clock)
    td.cpu.times.spin += t - td.clock - hidden
    td.clock = t + owed - hidden
    return True


# The look that ends a bounded spin; an earlier one takes its place when the word changes.  The pauses until then are
# counted when they are spent, not now.
cdef void limit_look(sim* s, sim_thread* td) noexcept nogil:
    cdef lock_delay_arg d = td.spin_delay[0]
    cdef ps_t begin = td.spin_from
    cdef ps_t t = next_look(s, td, FOREVER)
    td.spin_delay[0] = d
    td.spin_from = begin
    push_event(s, td, t)


cdef void spin_begin(sim* s, sim_thread* td, uint64_t* word, uint64_t seen, sim_thread* owner, lock_delay_arg* delay,
                     int64_t max_pauses) noexcept nogil:
    cdef uint32_t b = spin_bucket(s, word)
    td.spin_word = word
    td.spin_seen = seen
    td.spin_owner = owner
    td.spin_delay = delay
    td.spin_limit = max_pauses
    td.spin_from = td.clock
    td.spin_scheduled = 0
    td.spin_prev = NULL
    td.spin_next = s.spinning[b]
    if td.spin_next != NULL:
        td.spin_next.spin_prev = td
    s.spinning[b] = td
    line_of(s, word).spinners += 1
    if owner != NULL:
        td.owner_prev = NULL
        td.owner_next = owner.spun_by
        if td.owner_next != NULL:
            td.owner_next.owner_prev = td
        owner.spun_by = td
    if worth_spinning(td) and not (td.cpu.preempt and td.td.pinned == 0):
        td.td.state = TD_SPINNING
        if max_pauses != 0:
            limit_look(s, td)
    else:
        td.td.state = TD_SPINNING
        schedule_look(s, td, td.clock)


cdef void spin_word_changed(thread* td, uint64_t* word) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    cdef sim_thread* w = s.spinning[spin_bucket(s, word)]
    while w != NULL:
        if w.spin_word == word:
            schedule_look(s, w, (<sim_thread*>td).clock)
        w = w.spin_next


cdef void disown_spinners(sim_thread* td) noexcept nogil:
    cdef sim_thread* spinner = td.spun_by
    while spinner != NULL:
        spinner.spin_owner = NULL
        spinner.spin_seen = ~spinner.spin_word[0]
        spinner = spinner.owner_next
    td.spun_by = NULL
