# The simulated machine.
#
# Every simulated thread is a fiber with a clock.  Pending events are (time, number, thread) in a heap: a running
# thread whose clock another thread's event has reached, a spinning thread's next look at its word, a sleeper's
# alarm.  A thread runs on until a scheduling point of the seam finds an earlier event; then it queues an event for
# itself and the earliest thread's fiber is switched to, directly, with no scheduler between.
#
# Nobody ever acts before the machine's time, so lock operations happen in the order of simulated time.  Between
# scheduling points a thread's clock runs ahead of the others; what it does there is private or lock-protected.
#
# Real time is looked at for one purpose only: to return to Python now and then, so that Ctrl-C and the progress
# display work.  It decides nothing that is simulated.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from cpython.exc cimport PyErr_CheckSignals

from finegrain.machine.machine cimport Machine
from finegrain.machine.seam cimport (
    LINE_CROSS, LINE_HIT, LINE_MEMORY, LINE_SHIFT, LINE_SIBLING, LINE_SOCKET, MAX_CPUS, NO_CPU, TD_BLOCKED, TD_DEAD,
    TD_RUNNABLE, TD_RUNNING, TD_SLEEPING, TD_SPINNING, TD_STARTING, charge, cpu, line, line_of, lock_delay_arg,
    machine, ps_t, sched_point, thread, unlikely)

from finegrain.machine.costs import CostModel
from finegrain.machine.errors import KernelPanic

cdef extern from "fiber.h" nogil:
    ctypedef void (*fiber_entry)(void* argument) noexcept nogil
    void* fiber_prepare(char* top, fiber_entry entry, void* argument)
    void fiber_switch(void** save, void* load)
    int fiber_watch(char* region, size_t size, size_t stride)
    void fiber_unwatch()

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* address, size_t length, int prot, int flags, int fd, int64_t offset)
    int munmap(void* address, size_t length)
    int mprotect(void* address, size_t length, int prot)
    int madvise(void* address, size_t length, int advice)
    int PROT_NONE, PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS, MAP_NORESERVE, MADV_NOHUGEPAGE
    void* MAP_FAILED

cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        int64_t tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec* t)

cdef extern from *:
    int __builtin_ctzll(unsigned long long x) noexcept nogil
    int __builtin_clzll(unsigned long long x) noexcept nogil

cdef enum:
    BREATH = 256                        # events between looks at the real clock
    BREATHE_NS = 20000000               # real time between returns to Python
    TICK_PS = 1000000000                # 1 ms: user time passes in pieces, to see the run queue and the sibling
    LONE_PS = 200000000                 # 200 us: the longest that a thread runs without a look at the real clock
    FULL_FLUSH_PAGES = 4096             # FreeBSD r291906: from here on a flush is a full one
    PAGE_ARRAY_AND_KERNEL = 96          # GiB of the arena beside the direct map: page array, locks, kernel memory

cdef ps_t FOREVER = 0x7fffffffffffffff


# --- events ---------------------------------------------------------------------------------------------------------

cdef inline bint earlier(event* a, event* b) noexcept nogil:
    return a.time < b.time or (a.time == b.time and a.number < b.number)


cdef inline void sift_down(sim* s, event e) noexcept nogil:
    # The root is a hole; e belongs somewhere below.
    cdef uint64_t i = 0, child, best, last, n = s.count
    cdef event* heap = s.heap
    while True:
        child = 4 * i + 1
        if child >= n:
            break
        best = child
        last = child + 4 if child + 4 < n else n
        child += 1
        while child < last:
            if earlier(&heap[child], &heap[best]):
                best = child
            child += 1
        if not earlier(&heap[best], &e):
            break
        heap[i] = heap[best]
        i = best
    heap[i] = e


cdef inline void sift_up(sim* s, uint64_t i, event e) noexcept nogil:
    cdef uint64_t parent
    while i > 0:
        parent = (i - 1) // 4
        if not earlier(&e, &s.heap[parent]):
            break
        s.heap[i] = s.heap[parent]
        i = parent
    s.heap[i] = e


cdef inline event new_event(sim* s, thread* td, ps_t t) noexcept nogil:
    cdef event e
    s.last_number += 1
    td.event = s.last_number
    e.time = t
    e.number = s.last_number
    e.td = td
    return e


cdef void push_event(sim* s, thread* td, ps_t t) noexcept nogil:
    cdef event* bigger
    if s.count == s.capacity:
        bigger = <event*>realloc(s.heap, 2 * s.capacity * sizeof(event))
        if bigger == NULL:
            sim_panic(td, b"no memory for the event queue")
            return
        s.heap = bigger
        s.capacity *= 2
    s.count += 1
    sift_up(s, s.count - 1, new_event(s, td, t))
    if t < s.m.next_event:
        s.m.next_event = t


cdef inline void pop_event(sim* s) noexcept nogil:
    s.count -= 1
    if s.count > 0:
        sift_down(s, s.heap[s.count])


cdef inline void set_next_event(sim* s, ps_t t) noexcept nogil:
    cdef ps_t next = t + LONE_PS
    if s.until < next:
        next = s.until
    if s.count > 0 and s.heap[0].time < next:
        next = s.heap[0].time
    s.m.next_event = next


# --- which fiber runs -----------------------------------------------------------------------------------------------

cdef bint out_of_breath(sim* s) noexcept nogil:
    cdef timespec t
    s.breath = BREATH
    clock_gettime(CLOCK_MONOTONIC, &t)
    return t.tv_sec * 1000000000 + t.tv_nsec >= s.breathe_at


# Run the earliest event.  td is the caller's thread (NULL: the main context), whose own event, if it wants to go on,
# is queued.  Returns when td's turn comes.
cdef void dispatch(sim* s, thread* td) noexcept nogil:
    cdef void** save = &td.context if td != NULL else &s.main_context
    cdef event e
    cdef thread* next
    while True:
        if s.count == 0:
            s.reason = STOP_EMPTY
            break
        e = s.heap[0]
        if e.time >= s.until:
            s.reason = STOP_UNTIL
            break
        s.breath -= 1
        if s.breath == 0 and out_of_breath(s):
            s.reason = STOP_BREATHE
            break
        pop_event(s)
        next = e.td
        if next.event != e.number:
            continue
        s.events += 1
        s.time = e.time
        next.event = 0
        if next.state == TD_STARTING:
            next.state = TD_RUNNING
        elif next.state == TD_SPINNING:
            if not spin_look(s, next, e.time):
                continue
        elif next.state == TD_SLEEPING:
            make_runnable(s, next, e.time)
            continue
        set_next_event(s, e.time)
        if next == td:
            return
        s.current = next
        if next != s.last:
            s.last = next
            s.switches += 1
        fiber_switch(save, next.context)
        return
    if td != NULL:
        s.current = NULL
        fiber_switch(save, s.main_context)


# The seam's scheduling point, out of line: an event is due.
cdef void sim_reschedule(thread* td) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    cdef event e
    cdef thread* next
    if s.count == 0 or s.heap[0].time > td.clock:
        # Nobody is behind: only a look at the real clock, or the end of the run.
        if td.clock < s.until and not out_of_breath(s):
            s.events += 1
            set_next_event(s, td.clock)
            return
        s.breath = 1                    # out of breath still when dispatch looks
        push_event(s, td, td.clock)
        dispatch(s, td)
        return
    e = s.heap[0]
    next = e.td
    if next.state == TD_RUNNING and next.event == e.number and e.time < s.until and s.breath > 1:
        # The common case: change places with the earliest thread.
        s.breath -= 1
        s.events += 1
        s.time = e.time
        next.event = 0
        sift_down(s, new_event(s, td, td.clock))
        set_next_event(s, e.time)
        s.current = next
        s.last = next
        s.switches += 1
        fiber_switch(&td.context, next.context)
        return
    push_event(s, td, td.clock)
    dispatch(s, td)


# --- CPUs -----------------------------------------------------------------------------------------------------------

cdef inline void set_busy(sim* s, cpu* c, bint busy) noexcept nogil:
    c.busy = busy
    if c.sibling != NO_CPU:
        s.m.cpus[c.sibling].sibling_busy = busy
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
            if id >= first and id < last and not (whole and s.m.cpus[id].sibling_busy):
                return &s.m.cpus[id]
        word += 1
    return NULL


cdef inline bint core_idle(cpu* c) noexcept nogil:
    return not c.busy and not c.sibling_busy


# Where a woken thread goes: the CPU it ran on if its core is idle, an idle core of its socket, the CPU it ran on, any
# idle CPU of its socket, the same elsewhere.  NULL: nowhere.  (FreeBSD sched_pickcpu(): affinity, then the cache
# group, then the machine.)
cdef cpu* choose_cpu(sim* s, thread* td) noexcept nogil:
    cdef uint32_t size = s.m.cores_per_socket * s.m.threads_per_core
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


# Where the n-th thread from outside starts: socket by socket, cores before siblings.
cdef cpu* spread(sim* s, uint32_t n) noexcept nogil:
    cdef uint32_t cores = s.m.nsockets * s.m.cores_per_socket
    cdef uint32_t k = n % s.m.ncpus
    cdef uint32_t core = k % cores
    core = core % s.m.nsockets * s.m.cores_per_socket + core // s.m.nsockets
    return &s.m.cpus[core * s.m.threads_per_core + k // cores]


# td gets the CPU, whose time up to t is accounted for; it runs from `start`.
cdef void give_cpu(sim* s, cpu* c, thread* td, ps_t start) noexcept nogil:
    c.current = td
    td.cpu = c
    td.clock = start
    td.state = TD_STARTING
    c.slice_end = start + s.m.cost.time_slice
    push_event(s, td, start)


# Into the run queue: behind all of the same or a better priority.
cdef void run_insert(sim* s, thread* td) noexcept nogil:
    cdef thread* after = s.run_last
    while after != NULL and after.priority > td.priority:
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


cdef void run_remove(sim* s, thread* td) noexcept nogil:
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


# td, off the CPU, may run from t on.
cdef void make_runnable(sim* s, thread* td, ps_t t) noexcept nogil:
    cdef cpu* c = choose_cpu(s, td)
    cdef ps_t begin
    if td.clock > t:
        t = td.clock
    if c == NULL:
        td.clock = t
        td.state = TD_RUNNABLE
        run_insert(s, td)
        return
    begin = t if t > c.idle_since else c.idle_since
    c.times.idle += begin - c.idle_since
    c.times.switching += s.m.cost.wakeup
    s.wakeups += 1
    set_busy(s, c, True)
    give_cpu(s, c, td, begin + s.m.cost.wakeup)


# td leaves its CPU at its clock; the CPU takes the next thread or idles.
cdef void leave_cpu(sim* s, thread* td) noexcept nogil:
    cdef cpu* c = td.cpu
    cdef thread* next = s.run_first
    cdef thread* spinner
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


cdef inline void pay_stolen(thread* td) noexcept nogil:
    cdef cpu* c = td.cpu
    if unlikely(c.stolen != 0):
        td.clock += c.stolen
        c.times.interrupt += c.stolen
        c.stolen = 0


# --- the seam: blocking ---------------------------------------------------------------------------------------------

cdef void sim_park(thread* td) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    sched_point(td)
    if td.permit:
        td.permit = 0
        return
    td.state = TD_BLOCKED
    leave_cpu(s, td)
    dispatch(s, td)


cdef void sim_unpark(thread* td, thread* other) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    if other.state != TD_BLOCKED:
        other.permit = 1
        return
    if s.idle_count > 0:
        charge(td, s.m.cost.ipi_send, 1)
    make_runnable(s, other, td.clock)


cdef void sim_sleep_for(thread* td, ps_t duration) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    sched_point(td)
    if s.m.stopping or duration <= 0:
        return
    td.state = TD_SLEEPING
    leave_cpu(s, td)
    td.clock += duration
    push_event(s, td, td.clock)
    dispatch(s, td)


cdef void sim_user(thread* td, ps_t duration) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    cdef cpu* c
    cdef ps_t piece, t
    while duration > 0 and not s.m.stopping:
        sched_point(td)
        pay_stolen(td)
        c = td.cpu
        if td.clock >= c.slice_end and s.run_first != NULL and s.run_first.priority <= td.priority:
            preempt(s, td)              # the slice is over and others wait
            continue
        piece = duration if duration < TICK_PS else TICK_PS
        t = piece
        if c.sibling_busy:
            t = t * s.m.cost.smt_user_den // s.m.cost.smt_user_num
        td.clock += t
        c.times.user += t
        duration -= piece


# Put td behind the others in the run queue; the next one gets its CPU.
cdef void preempt(sim* s, thread* td) noexcept nogil:
    td.state = TD_RUNNABLE
    leave_cpu(s, td)                    # there is a next one: the CPU does not idle
    run_insert(s, td)
    dispatch(s, td)


cdef void sim_set_priority(thread* other, uint8_t priority) noexcept nogil:
    cdef sim* s = <sim*>other.machine
    other.priority = priority
    if other.state == TD_RUNNABLE:
        run_remove(s, other)
        run_insert(s, other)


# --- the seam: spinning ---------------------------------------------------------------------------------------------

cdef inline uint32_t spin_bucket(sim* s, uint64_t* word) noexcept nogil:
    return <uint32_t>(((<uint64_t>(<char*>word - s.m.arena) >> 3) * <uint64_t>2654435761) >> 12) & (SPIN_BUCKETS - 1)


# When td looks at its word next, at t or later: rounds of pauses, each twice as long as the last, up to the limit.
cdef ps_t next_look(sim* s, thread* td, ps_t t) noexcept nogil:
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


cdef void schedule_look(sim* s, thread* td, ps_t t) noexcept nogil:
    if td.spin_scheduled:
        return
    td.spin_scheduled = 1
    push_event(s, td, next_look(s, td, t))


cdef inline bint worth_spinning(thread* td) noexcept nogil:
    return td.spin_word[0] == td.spin_seen and (
        td.spin_owner == NULL or td.spin_owner.state == TD_RUNNING or td.spin_owner.state == TD_SPINNING)


# A spinning thread looks at its word at t: True when the spinning is over.
cdef bint spin_look(sim* s, thread* td, ps_t t) noexcept nogil:
    cdef uint32_t b
    if not td.spin_scheduled:
        next_look(s, td, FOREVER)       # the bound is reached: the pauses up to it are spent
    td.spin_scheduled = 0
    if worth_spinning(td):
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
    line_of(&s.m, td.spin_word).spinners -= 1
    if td.spin_owner != NULL:
        if td.owner_prev != NULL:
            td.owner_prev.owner_next = td.owner_next
        else:
            td.spin_owner.spun_by = td.owner_next
        if td.owner_next != NULL:
            td.owner_next.owner_prev = td.owner_prev
    td.state = TD_RUNNING
    td.cpu.times.spin += t - td.clock
    td.clock = t
    pay_stolen(td)
    return True


# The look that ends a bounded spin; an earlier one takes its place when the word changes.  The pauses until then are
# counted when they are spent, not now.
cdef void limit_look(sim* s, thread* td) noexcept nogil:
    cdef lock_delay_arg d = td.spin_delay[0]
    cdef ps_t begin = td.spin_from
    cdef ps_t t = next_look(s, td, FOREVER)
    td.spin_delay[0] = d
    td.spin_from = begin
    push_event(s, td, t)


cdef void sim_spin_until_changed(thread* td, uint64_t* word, uint64_t seen, thread* owner, lock_delay_arg* delay,
                                 int64_t max_pauses) noexcept nogil:
    cdef sim* s = <sim*>td.machine
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
    line_of(&s.m, word).spinners += 1
    if owner != NULL:
        td.owner_prev = NULL
        td.owner_next = owner.spun_by
        if td.owner_next != NULL:
            td.owner_next.owner_prev = td
        owner.spun_by = td
    if worth_spinning(td):
        td.state = TD_SPINNING
        if max_pauses != 0:
            limit_look(s, td)
    else:
        td.state = TD_SPINNING
        schedule_look(s, td, td.clock)
    dispatch(s, td)


cdef void sim_word_changed(thread* td, uint64_t* word) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    cdef thread* w = s.spinning[spin_bucket(s, word)]
    while w != NULL:
        if w.spin_word == word:
            schedule_look(s, w, td.clock)
        w = w.spin_next


# --- the seam: the rest ---------------------------------------------------------------------------------------------

cdef void sim_shootdown(thread* td, const uint64_t* cpus, int64_t pages) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    cdef ps_t handler = s.m.cost.ipi_handler + (s.m.cost.invlpg * pages if 0 < pages < FULL_FLUSH_PAGES
                                                else s.m.cost.cr3_write)
    cdef uint32_t word
    cdef uint64_t bits
    cdef int64_t targets = 0
    cdef cpu* c
    for word in range((s.m.ncpus + 63) // 64):
        bits = cpus[word]
        while bits:
            c = &s.m.cpus[(word << 6) + __builtin_ctzll(bits)]
            bits &= bits - 1
            if c != td.cpu and c.busy:  # an idle CPU has no translations of a process
                c.stolen += handler
                targets += 1
    if targets == 0:
        return
    s.ipis += targets
    s.ipi_acks += targets
    charge(td, s.m.cost.ipi_send + s.m.cost.ipi_per_target * targets, 1)
    # The last target acknowledges when it has flushed.
    td.clock += s.m.cost.ipi_flight + handler
    td.cpu.times.interrupt += s.m.cost.ipi_flight + handler


cdef void fiber_main(void* argument) noexcept nogil:
    cdef thread* td = <thread*>argument
    cdef sim* s = <sim*>td.machine
    td.start(td, td.argument)
    if td.nheld != 0:
        sim_panic(td, b"a thread ended with locks held")
    sched_point(td)
    s.time = td.clock
    td.state = TD_DEAD
    leave_cpu(s, td)
    disown_spinners(td)
    if td.all_prev != NULL:
        td.all_prev.all_next = td.all_next
    else:
        s.m.threads = td.all_next
    if td.all_next != NULL:
        td.all_next.all_prev = td.all_prev
    s.nthreads -= 1
    # The stack is used once more, to leave it; nobody can take it before that.
    (<void**>td.stack)[0] = s.free_stacks
    s.free_stacks = td.stack
    # Stale events may still name this record, so it is used again for threads only.
    td.event = 0
    td.all_next = s.free_threads
    s.free_threads = td
    dispatch(s, td)


# td ends: threads that spin because it ran find that its lock has changed hands, even if the next owner's record
# turns out to be the same one.
cdef void disown_spinners(thread* td) noexcept nogil:
    cdef thread* spinner = td.spun_by
    while spinner != NULL:
        spinner.spin_owner = NULL
        spinner.spin_seen = ~spinner.spin_word[0]
        spinner = spinner.owner_next
    td.spun_by = NULL


cdef thread* new_thread(sim* s) noexcept nogil:
    cdef thread* td = s.free_threads
    if td == NULL:
        return <thread*>sim_arena_alloc(&s.m, sizeof(thread))
    s.free_threads = td.all_next
    memset(td, 0, sizeof(thread))
    return td


cdef void* new_stack(sim* s) noexcept nogil:
    cdef void* stack = s.free_stacks
    if stack != NULL:
        s.free_stacks = (<void**>stack)[0]
        return stack
    if s.stacks_made == MAX_THREADS:
        return NULL
    stack = s.stacks + <uint64_t>s.stacks_made * STACK_STRIDE + STACK_GUARD
    if mprotect(stack, STACK_STRIDE - STACK_GUARD, PROT_READ | PROT_WRITE) != 0:
        return NULL
    s.stacks_made += 1
    return stack


cdef thread* sim_spawn(thread* td, machine* m, void (*start)(thread*, void*) noexcept nogil, void* argument,
                       void* proc) noexcept nogil:
    cdef sim* s = <sim*>m
    cdef thread* new
    cdef void* stack = new_stack(s)
    if stack == NULL:
        if td != NULL:
            sim_panic(td, b"too many threads: no stack for another (is vm.max_map_count low?)")
        return NULL
    new = new_thread(s)
    if new == NULL:
        return NULL
    s.last_thread_id += 1
    s.nthreads += 1
    new.machine = m
    new.id = s.last_thread_id
    new.priority = 120                  # FreeBSD PRI_MIN_TIMESHARE
    new.base_priority = new.priority
    new.start = start
    new.argument = argument
    new.proc = proc
    new.stack = stack
    new.context = fiber_prepare(<char*>stack + STACK_STRIDE - STACK_GUARD, fiber_main, new)
    new.cpu = td.cpu if td != NULL else spread(s, new.id - 1)
    new.all_next = m.threads
    if new.all_next != NULL:
        new.all_next.all_prev = new
    m.threads = new
    make_runnable(s, new, td.clock if td != NULL else s.time)
    return new


cdef const char* state_name(uint8_t state) noexcept nogil:
    if state == TD_STARTING:
        return b"waking up"
    if state == TD_RUNNING:
        return b"running"
    if state == TD_SPINNING:
        return b"spinning"
    if state == TD_RUNNABLE:
        return b"waiting for a CPU"
    if state == TD_BLOCKED:
        return b"blocked"
    if state == TD_SLEEPING:
        return b"sleeping"
    return b"ending"


cdef void write_panic(sim* s, thread* td, const char* why) noexcept nogil:
    cdef size_t n = 0, room = PANIC_TEXT - 512
    cdef thread* t
    cdef int shown = 0
    n += snprintf(s.panic_text, room, b"%s", why)
    if td != NULL:
        n += snprintf(s.panic_text + n, room - n, b"\nin thread %u on CPU %u at %lld ns", td.id,
                      <unsigned int>td.cpu.id, <long long>(td.clock // 1000))
        if s.m.describe != NULL:
            n += s.m.describe(td, s.panic_text + n, room - n)
    t = s.m.threads
    while t != NULL and n + 512 < room:
        if t != td and (t.wanted != NULL or t.nheld != 0 or shown < 8):
            shown += 1
            n += snprintf(s.panic_text + n, room - n, b"\nthread %u, CPU %u, %s at %lld ns", t.id,
                          <unsigned int>t.cpu.id, state_name(t.state), <long long>(t.clock // 1000))
            if s.m.describe != NULL:
                n += s.m.describe(t, s.panic_text + n, room - n)
        t = t.all_next


cdef void sim_panic(thread* td, const char* why) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    if s.reason != STOP_PANIC:
        write_panic(s, td, why)
        s.reason = STOP_PANIC
    if s.current == NULL:
        return                          # called from the main context, which will look
    s.current = NULL
    while True:
        fiber_switch(&td.context, s.main_context)


# --- the arena ------------------------------------------------------------------------------------------------------

# Blocks are powers of two: what is not touched of a large one costs address space, not memory.
cdef inline int size_class(uint64_t size) noexcept nogil:
    return LINE_SHIFT if size <= 1 << LINE_SHIFT else 64 - __builtin_clzll(size - 1)


cdef void* sim_arena_alloc(machine* m, uint64_t size) noexcept nogil:
    cdef sim* s = <sim*>m
    cdef int k = size_class(size)
    cdef uint64_t whole = <uint64_t>1 << k
    cdef uint64_t align = whole if whole < 4096 else 4096
    cdef void* memory = s.free_memory[k]
    if memory != NULL:
        s.free_memory[k] = (<void**>memory)[0]
        memset(memory, 0, size)
        return memory
    s.bump = (s.bump + align - 1) & ~(align - 1)
    if s.bump + whole > s.m.arena_size:
        if s.current != NULL:
            sim_panic(s.current, b"the kernel's arena is exhausted")
        return NULL
    memory = s.m.arena + s.bump
    s.bump += whole
    return memory


cdef void sim_arena_free(machine* m, void* memory, uint64_t size) noexcept nogil:
    cdef sim* s = <sim*>m
    cdef int k = size_class(size)
    (<void**>memory)[0] = s.free_memory[k]
    s.free_memory[k] = memory


# --- Python's door --------------------------------------------------------------------------------------------------

cdef class SimulatedMachine(Machine):
    """A deterministic multiprocessor in one OS thread.

    `sockets` x `cores` x `threads` CPUs (1 to 1,024). `costs` is a `finegrain.machine.costs.CostModel`. `memory` is
    the span of the direct map in bytes. Raises ValueError for shapes that cannot be, MemoryError when the address
    space cannot be reserved.
    """

    def __cinit__(self, *, int sockets=2, int cores=26, int threads=2, costs=None, size_t memory=0, uint64_t seed=1):
        cdef sim* s
        cdef uint32_t i, n
        cdef cpu* c
        cdef size_t dmap
        if sockets < 1 or cores < 1 or threads not in (1, 2) or sockets > 16:
            raise ValueError("a machine has 1 to 16 sockets, 1 core or more each and 1 or 2 threads a core")
        n = sockets * cores * threads
        if n > MAX_CPUS:
            raise ValueError(f"{n} CPUs: at most {MAX_CPUS}")
        self.costs = costs if costs is not None else CostModel()
        self.s = s = <sim*>calloc(1, sizeof(sim))
        if s == NULL:
            raise MemoryError
        dmap = (memory + 0x1fffff) & ~<size_t>0x1fffff
        self.m = &s.m
        s.m.seed = seed
        s.m.ncpus = n
        s.m.nsockets = sockets
        s.m.cores_per_socket = cores
        s.m.threads_per_core = threads
        s.m.arena_size = dmap + (<size_t>PAGE_ARRAY_AND_KERNEL << 30)
        s.m.dmap_size = dmap
        s.bump = dmap + 4096
        s.lines_size = (s.m.arena_size >> LINE_SHIFT) * sizeof(line)
        s.m.arena = <char*>reserve(s.m.arena_size, PROT_READ | PROT_WRITE)
        s.m.lines = <line*>reserve(s.lines_size, PROT_READ | PROT_WRITE)
        s.stacks = <char*>reserve(<size_t>MAX_THREADS * STACK_STRIDE, PROT_NONE)
        s.m.cpus = <cpu*>calloc(n, sizeof(cpu))
        s.capacity = 4096
        s.heap = <event*>calloc(s.capacity, sizeof(event))
        if s.m.arena == NULL or s.m.lines == NULL or s.stacks == NULL or s.m.cpus == NULL or s.heap == NULL:
            raise MemoryError(f"cannot reserve {s.m.arena_size >> 30} GiB of address space for the simulated machine")
        s.m.dmap = s.m.arena
        s.m.cost = self.costs.picoseconds()
        for i in range(n):
            c = &s.m.cpus[i]
            c.id = i
            c.core = i // threads
            c.socket = i // (threads * cores)
            c.sibling = i ^ 1 if threads == 2 else NO_CPU
            s.idle[i >> 6] |= <uint64_t>1 << (i & 63)
        s.idle_count = n
        s.breath = BREATH
        s.m.ops.reschedule = sim_reschedule
        s.m.ops.spin_until_changed = sim_spin_until_changed
        s.m.ops.word_changed = sim_word_changed
        s.m.ops.park = sim_park
        s.m.ops.unpark = sim_unpark
        s.m.ops.shootdown = sim_shootdown
        s.m.ops.user = sim_user
        s.m.ops.sleep_for = sim_sleep_for
        s.m.ops.spawn = sim_spawn
        s.m.ops.set_priority = sim_set_priority
        s.m.ops.panic = sim_panic
        s.m.ops.arena_alloc = sim_arena_alloc
        s.m.ops.arena_free = sim_arena_free

    def __dealloc__(self):
        cdef sim* s = self.s
        if s == NULL:
            return
        if s.m.arena != NULL:
            munmap(s.m.arena, s.m.arena_size)
        if s.m.lines != NULL:
            munmap(s.m.lines, s.lines_size)
        if s.stacks != NULL:
            munmap(s.stacks, <size_t>MAX_THREADS * STACK_STRIDE)
        free(s.m.cpus)
        free(s.heap)
        free(s)

    def run(self, until=None, progress=None):
        """Run until simulated time `until` (picoseconds; None: until every thread has ended).

        `progress`, if given, is called with the simulated time now and then. Returns True when threads are left,
        False when all have ended. Raises KernelPanic on an internal inconsistency or a deadlock among the
        simulated threads, KeyboardInterrupt on Ctrl-C (the machine stays as it is and can be dropped).
        """
        cdef sim* s = self.s
        cdef timespec t
        if self.running_now:
            raise RuntimeError("the machine is running already")
        if s.reason == STOP_PANIC:
            raise KernelPanic(s.panic_text.decode())
        s.until = FOREVER if until is None else until
        if s.until < s.time:
            raise ValueError(f"the machine is at {s.time} ps already, past {s.until}")
        if fiber_watch(s.stacks, <size_t>MAX_THREADS * STACK_STRIDE, STACK_STRIDE) != 0:
            raise OSError("cannot watch the fibers' stacks")
        self.running_now = True
        try:
            while True:
                clock_gettime(CLOCK_MONOTONIC, &t)
                s.breathe_at = t.tv_sec * 1000000000 + t.tv_nsec + BREATHE_NS
                s.reason = STOP_UNTIL
                with nogil:
                    dispatch(s, NULL)
                if s.reason == STOP_UNTIL:
                    s.time = s.until
                    return True
                if s.reason == STOP_EMPTY:
                    if s.nthreads == 0:
                        return False
                    write_panic(s, NULL, b"deadlock: no thread can run")
                    s.reason = STOP_PANIC
                if s.reason == STOP_PANIC:
                    raise KernelPanic(s.panic_text.decode())
                PyErr_CheckSignals()
                if progress is not None:
                    progress(s.time)
        finally:
            self.running_now = False
            fiber_unwatch()

    @property
    def ncpus(self):
        """Number of CPUs."""
        return self.s.m.ncpus

    @property
    def time_ps(self):
        """Simulated time of the latest event, picoseconds."""
        return self.s.time

    @property
    def threads(self):
        """Number of threads that have not ended."""
        return self.s.nthreads

    def stop_threads(self):
        """Ask every thread to end: user time and sleeps pass at once from here on."""
        self.s.m.stopping = 1

    def counters(self):
        """Counts since the start, by name."""
        cdef sim* s = self.s
        return {"events": s.events, "fiber_switches": s.switches, "context_switches": s.ctx_switches,
                "wakeups": s.wakeups, "ipis": s.ipis, "ipi_acknowledgements": s.ipi_acks}

    def cpu_times(self):
        """For each CPU: its clock and where its time went, picoseconds. The parts sum to the clock."""
        cdef sim* s = self.s
        cdef uint32_t i
        cdef cpu* c
        rows = []
        for i in range(s.m.ncpus):
            c = &s.m.cpus[i]
            clock = c.current.clock if c.current != NULL else c.idle_since
            rows.append({"clock": clock, "user": c.times.user, "kernel": c.times.kernel, "memory": c.times.memory,
                         "spin": c.times.spin, "idle": c.times.idle, "switching": c.times.switching,
                         "interrupt": c.times.interrupt})
        return rows

    def line_accesses(self):
        """For each CPU: accesses to shared cache lines by where the line came from."""
        cdef sim* s = self.s
        cdef uint32_t i
        rows = []
        for i in range(s.m.ncpus):
            rows.append({"hit": s.m.cpus[i].lines[LINE_HIT], "sibling": s.m.cpus[i].lines[LINE_SIBLING],
                         "socket": s.m.cpus[i].lines[LINE_SOCKET], "cross": s.m.cpus[i].lines[LINE_CROSS],
                         "memory": s.m.cpus[i].lines[LINE_MEMORY]})
        return rows


cdef void* reserve(size_t size, int prot):
    cdef void* at = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    if at == MAP_FAILED:
        return NULL
    madvise(at, size, MADV_NOHUGEPAGE)  # sparse: a huge page would hold what nobody touches
    return at
