# CPUs.  See cpus.pxd.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from finegrain.machine.seam cimport running
from finegrain.machine.simulated.events cimport push_event
from finegrain.machine.simulated.interactivity cimport (
    account_heir, account_run, account_sleep, should_preempt)
from finegrain.machine.simulated.interrupts cimport start_ticks, take_interrupts
from finegrain.machine.simulated.spin cimport schedule_look
from finegrain.machine.simulated.types cimport NO_CPU
from finegrain.machine.thread cimport CPU_WORDS, TD_BLOCKED, TD_RUNNABLE, TD_SLEEPING, TD_SPINNING, TD_STARTING

cdef extern from *:
    int __builtin_ctzll(unsigned long long x) noexcept nogil

cdef enum:
    NO_PRIORITY = -1
    SLICE_MIN_DIVISOR = 6               # FreeBSD SCHED_SLICE_MIN_DIVISOR (M): so many share a slice at most


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


# --- run queues

cdef inline run_queue* queue_of(sim* s, cpu* c) noexcept nogil:
    return &c.queue if s.m.cost.run_queues else &s.cpus[0].queue


# Behind all of the same or a better priority; `ahead` of those of the same.
cdef void run_insert(sim* s, run_queue* queue, sim_thread* td, bint ahead) noexcept nogil:
    cdef sim_thread* after = queue.last
    while after != NULL and (after.td.priority > td.td.priority or
                             (ahead and after.td.priority == td.td.priority)):
        after = after.run_prev
    td.run_prev = after
    td.run_next = after.run_next if after != NULL else queue.first
    if td.run_next != NULL:
        td.run_next.run_prev = td
    else:
        queue.last = td
    if after != NULL:
        after.run_next = td
    else:
        queue.first = td
    td.waits_in = queue
    queue.count += 1
    s.queued += 1


cdef void run_remove(sim* s, sim_thread* td) noexcept nogil:
    cdef run_queue* queue = td.waits_in
    if td.run_prev != NULL:
        td.run_prev.run_next = td.run_next
    else:
        queue.first = td.run_next
    if td.run_next != NULL:
        td.run_next.run_prev = td.run_prev
    else:
        queue.last = td.run_prev
    queue.count -= 1
    s.queued -= 1


# The best priority of the threads that a busy CPU runs and has waiting.
cdef inline uint8_t best_priority(sim* s, cpu* c) noexcept nogil:
    cdef sim_thread* first = queue_of(s, c).first
    cdef uint8_t priority = c.current.td.priority
    return first.td.priority if first != NULL and first.td.priority < priority else priority


# The least loaded CPU of [first, last) whose threads are all worse than the priority, or any if that is NO_PRIORITY;
# among equals the next from `begin` on.  NULL: there is none.  All are busy.
cdef cpu* least_loaded(sim* s, uint32_t first, uint32_t last, int priority, uint32_t begin) noexcept nogil:
    cdef cpu* best = NULL
    cdef cpu* c
    cdef uint32_t i
    if not first <= begin < last:
        begin = first
    for i in range(last - first):
        c = &s.cpus[first + (begin - first + i) % (last - first)]
        if best_priority(s, c) > priority and (best == NULL or c.queue.count < best.queue.count):
            best = c
    return best


# Where a thread waits when no CPU is idle: where it would be the best, in its socket or else anywhere, then anywhere;
# but on the CPU that wakes it, `here`, if that is no worse.  (FreeBSD sched_pickcpu().)
cdef cpu* choose_queue(sim* s, sim_thread* td, cpu* here) noexcept nogil:
    cdef uint32_t size = s.cores_per_socket * s.threads_per_core
    cdef uint32_t first = td.cpu.socket * size
    cdef cpu* c = least_loaded(s, first, first + size, td.td.priority, td.cpu.id)
    if c == NULL:
        c = least_loaded(s, 0, s.m.ncpus, td.td.priority, td.cpu.id)
    if c == NULL:
        c = least_loaded(s, 0, s.m.ncpus, NO_PRIORITY, td.cpu.id)
    if best_priority(s, here) > td.td.priority and here.queue.count <= c.queue.count + 1:
        c = here
    return c


# An idle CPU takes a thread from the longest queue, nearest first.  NULL: nobody waits.  (FreeBSD tdq_idled().)
cdef sim_thread* steal(sim* s, cpu* c) noexcept nogil:
    cdef uint32_t size = s.cores_per_socket * s.threads_per_core
    cdef uint32_t first[3]
    cdef uint32_t span[3]
    cdef uint32_t i
    cdef int group
    cdef cpu* longest = NULL
    if s.queued == 0:
        return NULL
    first[0] = c.core * s.threads_per_core
    span[0] = s.threads_per_core
    first[1] = c.socket * size
    span[1] = size
    first[2] = 0
    span[2] = s.m.ncpus
    for group in range(3):
        for i in range(first[group], first[group] + span[group]):
            if s.cpus[i].queue.count > (longest.queue.count if longest != NULL else 0):
                longest = &s.cpus[i]
        if longest != NULL:
            s.steals += 1
            return longest.queue.first
    return NULL


# User code is interrupted at t, if the piece that runs does not end before.
cdef inline void interrupt_user(sim* s, sim_thread* td, ps_t t) noexcept nogil:
    if t < td.piece_end:
        td.piece_end = max(t, td.clock)
        push_event(s, td, td.piece_end)


# td waits in the queue of a busy CPU; that CPU's thread is told if td is to have it before the other's turn is over.
# (FreeBSD tdq_notify(), sched_setpreempt().)
cdef void wait_for_cpu(sim* s, sim_thread* td, cpu* here) noexcept nogil:
    cdef cpu* c = choose_queue(s, td, here) if s.m.cost.run_queues else here
    cdef sim_thread* current = c.current
    td.td.state = TD_RUNNABLE
    run_insert(s, queue_of(s, c), td, False)
    if not s.m.cost.preemption:
        return
    if c == here and td.td.priority < current.td.priority:
        c.need_resched = 1
        if current.in_user:             # it was an interrupt, which returns to user code
            interrupt_user(s, current, td.clock)
    if not should_preempt(td.td.priority, current.td.priority, c != here):
        return
    if c.preempt:
        return                          # it has been told
    c.preempt = 1
    c.interrupt_at = 0
    if c == here:
        return
    s.ipis += 1
    s.ipi_acks += 1
    c.stolen += s.m.cost.ipi_handler
    if current.td.state == TD_SPINNING and not current.spin_scheduled:
        current.spin_scheduled = 1      # between two looks
        push_event(s, current, max(td.clock + s.m.cost.ipi_flight, current.clock))
    elif current.in_user:
        interrupt_user(s, current, td.clock + s.m.cost.ipi_flight)


# --- on and off a CPU

# td gets the CPU, whose time up to t is accounted for; it runs from `start`.
cdef void give_cpu(sim* s, cpu* c, sim_thread* td, ps_t start) noexcept nogil:
    c.current = td
    td.cpu = c
    td.clock = start
    td.on_since = start
    td.td.state = TD_STARTING
    c.slice_start = start
    c.preempt = 0
    c.need_resched = 0
    start_ticks(s, c, start)
    push_event(s, td, start)


cdef void make_runnable(sim* s, sim_thread* td, ps_t t, cpu* here) noexcept nogil:
    cdef cpu* c = choose_cpu(s, td)
    cdef ps_t begin
    if td.clock > t:
        t = td.clock
    if td.td.state == TD_BLOCKED or td.td.state == TD_SLEEPING:
        account_sleep(s, td, t)
    if c == NULL:
        td.clock = t
        wait_for_cpu(s, td, here)
        return
    begin = t if t > c.idle_since else c.idle_since
    c.times.idle += begin - c.idle_since
    c.times.switching += s.m.cost.wakeup
    s.wakeups += 1
    set_busy(s, c, True)
    give_cpu(s, c, td, begin + s.m.cost.wakeup)


cdef void leave_cpu(sim* s, sim_thread* td) noexcept nogil:
    cdef cpu* c = td.cpu
    cdef sim_thread* next
    cdef sim_thread* spinner
    take_interrupts(s, td)
    account_run(s, td)
    td.off_since = td.clock
    # Those who spin because this thread runs will see that it does not.
    spinner = td.spun_by
    while spinner != NULL:
        schedule_look(s, spinner, td.clock)
        spinner = spinner.owner_next
    next = queue_of(s, c).first
    if next == NULL:
        next = steal(s, c)
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


cdef void give_cpu_up(sim* s, sim_thread* td, bint ahead) noexcept nogil:
    cdef run_queue* queue = queue_of(s, td.cpu)
    td.td.state = TD_RUNNABLE
    leave_cpu(s, td)
    run_insert(s, queue, td, ahead)


cdef bint to_be_preempted(sim* s, sim_thread* td) noexcept nogil:
    cdef cpu* c = td.cpu
    cdef sim_thread* first = queue_of(s, c).first
    c.preempt = 0
    c.interrupt_at = c.next_tick
    return first != NULL and first.td.priority < td.td.priority


cdef bint others_may_go(sim* s, sim_thread* td) noexcept nogil:
    cdef sim_thread* first = queue_of(s, td.cpu).first
    return first != NULL and first.td.priority <= td.td.priority


cdef bint turn_is_over(sim* s, sim_thread* td) noexcept nogil:
    cdef cpu* c = td.cpu
    cdef run_queue* queue = queue_of(s, c)
    cdef int64_t load = 1
    cdef bint sooner = c.need_resched
    c.need_resched = 0
    if queue.first == NULL:
        return False
    if sooner and queue.first.td.priority < td.td.priority:
        return True
    if s.m.cost.run_queues:
        load = min(queue.count, <uint32_t>SLICE_MIN_DIVISOR)
    if td.clock < c.slice_start + s.m.cost.time_slice // load:
        return False
    c.slice_start = td.clock
    return others_may_go(s, td)


# The priority of a thread that waits for a CPU has changed.
cdef inline void requeue(sim* s, sim_thread* td) noexcept nogil:
    cdef run_queue* queue = td.waits_in
    run_remove(s, td)
    run_insert(s, queue, td, False)


# --- the seam's calls

cdef void sim_set_priority(thread* other, uint8_t priority) noexcept nogil:
    cdef sim* s = <sim*>other.machine
    cdef bint better = priority < other.priority
    other.priority = priority
    if other.state != TD_RUNNABLE:
        return
    if better and s.current != NULL:
        # Lent to by a thread that runs: it looks for a CPU anew.
        run_remove(s, <sim_thread*>other)
        (<sim_thread*>other).clock = max((<sim_thread*>other).clock, s.current.clock)
        wait_for_cpu(s, <sim_thread*>other, s.current.cpu)
    else:
        requeue(s, <sim_thread*>other)


cdef void sim_leave_run_time(thread* td, thread* heir) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    account_heir(s, <sim_thread*>td, <sim_thread*>heir)
    if heir.state == TD_RUNNABLE:
        requeue(s, <sim_thread*>heir)


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
