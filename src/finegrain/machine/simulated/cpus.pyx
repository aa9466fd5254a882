# CPUs.  See cpus.pxd.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from finegrain.machine.seam cimport running
from finegrain.machine.simulated.coherence cimport sim_charge
from finegrain.machine.simulated.events cimport push_event
from finegrain.machine.simulated.spin cimport pay_stolen, schedule_look
from finegrain.machine.simulated.types cimport NO_CPU
from finegrain.machine.thread cimport CPU_WORDS, TD_RUNNABLE, TD_STARTING

cdef extern from *:
    int __builtin_ctzll(unsigned long long x) noexcept nogil

cdef enum:
    FULL_FLUSH_PAGES = 4096             # FreeBSD r291906: from here on a flush is a full one


cdef inline void set_busy(sim* s, cpu* c, bint busy) noexcept nogil:
    c.busy = busy
    if c.sibling != NO_CPU:
        s.cpus[c.sibling].sibling_busy = busy
    if busy:
        s.idle[c.id >> 6] &= ~(<uint64_t>1 << (c.id & 63))
        s.idle_count -= 1
    else:
        s.idle[c.id >> 6] |= <uint64_t>1 << (c.id & 63)
        s.idle_count += 1


# The lowest idle CPU in [first, last), with an idle sibling if `whole`; NULL if there is none.
cdef cpu* find_idle(sim* s, uint32_t first, uint32_t last, bint whole) noexcept nogil:
    cdef uint32_t word = first >> 6, id
    cdef uint64_t bits
    while word << 6 < last:
        bits = s.idle[word]
        while bits:
            id = (word << 6) + __builtin_ctzll(bits)
            bits &= bits - 1
            if id >= first and id < last and not (whole and s.cpus[id].sibling_busy):
                return &s.cpus[id]
        word += 1
    return NULL


cdef inline bint core_idle(cpu* c) noexcept nogil:
    return not c.busy and not c.sibling_busy


# Where a woken thread goes: the CPU it ran on if its core is idle, an idle core of its socket, the CPU it ran on, any
# idle CPU of its socket, the same elsewhere.  NULL: nowhere.  (FreeBSD sched_pickcpu(): affinity, then the cache
# group, then the machine.)
cdef cpu* choose_cpu(sim* s, sim_thread* td) noexcept nogil:
    cdef uint32_t size = s.cores_per_socket * s.threads_per_core
    cdef uint32_t first
    cdef cpu* c
    if s.idle_count == 0:
        return NULL
    if core_idle(td.cpu):
        return td.cpu
    first = td.cpu.socket * size
    c = find_idle(s, first, first + size, True)
    if c == NULL and not td.cpu.busy:
        c = td.cpu
    if c == NULL:
        c = find_idle(s, first, first + size, False)
    if c == NULL:
        c = find_idle(s, 0, s.m.ncpus, True)
    if c == NULL:
        c = find_idle(s, 0, s.m.ncpus, False)
    return c


cdef cpu* spread(sim* s, uint32_t n) noexcept nogil:
    cdef uint32_t cores = s.m.ndomains * s.cores_per_socket
    cdef uint32_t k = n % s.m.ncpus
    cdef uint32_t core = k % cores
    core = core % s.m.ndomains * s.cores_per_socket + core // s.m.ndomains
    return &s.cpus[core * s.threads_per_core + k // cores]


# td gets the CPU, whose time up to t is accounted for; it runs from `start`.
cdef void give_cpu(sim* s, cpu* c, sim_thread* td, ps_t start) noexcept nogil:
    c.current = td
    td.cpu = c
    td.clock = start
    td.td.state = TD_STARTING
    c.slice_end = start + s.m.cost.time_slice
    push_event(s, td, start)


cdef void run_insert(sim* s, sim_thread* td) noexcept nogil:
    cdef sim_thread* after = s.run_last
    while after != NULL and after.td.priority > td.td.priority:
        after = after.run_prev
    td.run_prev = after
    td.run_next = after.run_next if after != NULL else s.run_first
    if td.run_next != NULL:
        td.run_next.run_prev = td
    else:
        s.run_last = td
    if after != NULL:
        after.run_next = td
    else:
        s.run_first = td


cdef void run_remove(sim* s, sim_thread* td) noexcept nogil:
    if td.run_prev != NULL:
        td.run_prev.run_next = td.run_next
    else:
        s.run_first = td.run_next
    if td.run_next != NULL:
        td.run_next.run_prev = td.run_prev
    else:
        s.run_last = td.run_prev
    td.run_next = NULL
    td.run_prev = NULL


cdef void make_runnable(sim* s, sim_thread* td, ps_t t) noexcept nogil:
    cdef cpu* c = choose_cpu(s, td)
    cdef ps_t begin
    if td.clock > t:
        t = td.clock
    if c == NULL:
        td.clock = t
        td.td.state = TD_RUNNABLE
        run_insert(s, td)
        return
    begin = t if t > c.idle_since else c.idle_since
    c.times.idle += begin - c.idle_since
    c.times.switching += s.m.cost.wakeup
    s.wakeups += 1
    set_busy(s, c, True)
    give_cpu(s, c, td, begin + s.m.cost.wakeup)


cdef void leave_cpu(sim* s, sim_thread* td) noexcept nogil:
    cdef cpu* c = td.cpu
    cdef sim_thread* next = s.run_first
    cdef sim_thread* spinner
    pay_stolen(td)
    # Those who spin because this thread runs will see that it does not.
    spinner = td.spun_by
    while spinner != NULL:
        schedule_look(s, spinner, td.clock)
        spinner = spinner.owner_next
    if next == NULL:
        c.current = NULL
        c.idle_since = td.clock
        set_busy(s, c, False)
        return
    run_remove(s, next)
    c.times.switching += s.m.cost.ctx_switch
    s.ctx_switches += 1
    if next.clock > td.clock:
        c.times.idle += next.clock - td.clock
        give_cpu(s, c, next, next.clock + s.m.cost.ctx_switch)
    else:
        give_cpu(s, c, next, td.clock + s.m.cost.ctx_switch)


# --- the seam's calls

cdef void sim_set_priority(thread* other, uint8_t priority) noexcept nogil:
    cdef sim* s = <sim*>other.machine
    other.priority = priority
    if other.state == TD_RUNNABLE:
        run_remove(s, <sim_thread*>other)
        run_insert(s, <sim_thread*>other)


cdef void sim_shootdown(thread* td, const uint64_t* cpus, int64_t pages) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    cdef ps_t handler = s.m.cost.ipi_handler + (s.m.cost.invlpg * pages if 0 < pages < FULL_FLUSH_PAGES
                                                else s.m.cost.cr3_write)
    cdef uint32_t word
    cdef uint64_t bits
    cdef int64_t targets = 0
    cdef cpu* c
    cdef cpu* here = (<sim_thread*>td).cpu
    for word in range((s.m.ncpus + 63) // 64):
        bits = cpus[word]
        while bits:
            c = &s.cpus[(word << 6) + __builtin_ctzll(bits)]
            bits &= bits - 1
            if c != here and c.busy:  # an idle CPU has no translations of a process
                c.stolen += handler
                targets += 1
    if targets == 0:
        return
    s.ipis += targets
    s.ipi_acks += targets
    sim_charge(td, s.m.cost.ipi_send + s.m.cost.ipi_per_target * targets, 1)
    # The last target acknowledges when it has flushed.
    (<sim_thread*>td).clock += s.m.cost.ipi_flight + handler
    here.times.interrupt += s.m.cost.ipi_flight + handler


cdef bint sim_cpus_using(thread* td, const void* pmap, uint64_t* cpus) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    cdef sim_thread* other
    cdef uint32_t i
    cdef bint any = False
    for i in range(s.m.ncpus):
        other = s.cpus[i].current
        if other != NULL and &other.td != td and other.td.pmap == pmap and running(&other.td):
            if not any:
                memset(cpus, 0, CPU_WORDS * 8)
                any = True
            cpus[i >> 6] |= (<uint64_t>1) << (i & 63)
    return any
