# Test door: a machine of real OS threads, on which the lock layer runs as it stands, and a stress of every lock on it.
#
# The machine answers the seam as the simulation does, in the same order.  Time is the real clock's and work costs what
# it costs, so charge(), touch_*() and word_changed() are nothing.  A thread's CPU is its number.  What only the
# operating system knows (is a thread on a CPU just now) is told by flags that the thread keeps: one that waits in
# park(), user() or sleep_for() says so before; one that the system takes the CPU from still counts as running.
#
# A panic stops all threads: each notices at its next call of the seam and leaves it for good, with what it wants and
# holds still in its record.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from cpython.exc cimport PyErr_CheckSignals

import os

from finegrain.kernel.locks.bit2 cimport (
    bit2_lock, bit2_owned, bit2_set_value, bit2_trylock, bit2_unlock, bit2_value)
from finegrain.kernel.locks.create cimport locks_create
from finegrain.kernel.locks.mtx cimport (
    mtx, mtx_init, mtx_lock, mtx_lock_spin, mtx_owned, mtx_trylock, mtx_unlock, mtx_unlock_spin)
from finegrain.kernel.locks.mtx8 cimport mtx8_lock, mtx8_owned, mtx8_trylock, mtx8_unlock
from finegrain.kernel.locks.profile cimport (
    LK_BIT2, LK_MTX8, MAX_SITES, lock_class_text, lock_name, lock_name_count, lock_name_text, lock_profile, lock_profile_sum, lock_record,
    lock_site, lock_site_count)
from finegrain.kernel.locks.rw cimport (
    rw_downgrade, rw_init, rw_rlock, rw_runlock, rw_try_rlock, rw_try_upgrade, rw_try_wlock, rw_wlock, rw_wowned,
    rw_wunlock, rwlock)
from finegrain.kernel.locks.sleepq cimport msleep, sleep_sx, wakeup
from finegrain.kernel.locks.sx cimport (
    sx, sx_downgrade, sx_init, sx_slock, sx_sunlock, sx_try_slock, sx_try_upgrade, sx_try_xlock, sx_xlock, sx_xlocked,
    sx_xunlock)
from finegrain.kernel.locks.turnstile cimport (
    SC_TABLESIZE, SLEEPQUEUE, TC_TABLESIZE, TURNSTILE, turnstile_chain, turnstile_chain_of)
from finegrain.machine.arena cimport arena, arena_create, arena_destroy, arena_give, arena_take
from finegrain.machine.machine cimport Machine
from finegrain.machine.panic cimport panic_text
from finegrain.machine.seam cimport (
    arena_alloc, atomic_load_acq, atomic_store8, leaving, panic, running, sleep_for, stopping, user)
from finegrain.machine.thread cimport (
    MAX_CPUS, TD_BLOCKED, TD_DEAD, TD_RUNNABLE, TD_RUNNING, TD_SLEEPING, TD_SPINNING, TD_STARTING, WAIT_CHAINS,
    lock_delay_arg, lock_id, machine, ps_t, thread)

from finegrain.machine.errors import KernelPanic

cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        int64_t tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec* t)
    int nanosleep(const timespec* length, timespec* left)

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_t:
        pass
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_create(pthread_t* new, void* attributes, void* (*start)(void*) noexcept nogil, void* argument)
    int pthread_join(pthread_t other, void** result)
    void pthread_exit(void* result)
    int pthread_mutex_init(pthread_mutex_t* mutex, void* attributes)
    int pthread_mutex_lock(pthread_mutex_t* mutex)
    int pthread_mutex_unlock(pthread_mutex_t* mutex)
    int sched_yield()

cdef extern from *:
    """
    #include <linux/futex.h>
    #include <stdint.h>
    #include <sys/syscall.h>
    #include <unistd.h>

    /* Returns when woken, when *word is not `seen`, or for no reason. */
    static void futex_wait(uint32_t *word, uint32_t seen) {
      syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, (void *)0, (void *)0, 0);
    }
    static void futex_wake(uint32_t *word, int count) {
      syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, (void *)0, (void *)0, 0);
    }
    static uint32_t load32(uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
    static void store32(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
    static uint32_t swap32(uint32_t *word, uint32_t value) {
      return __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);
    }
    static uint32_t add32(uint32_t *word, uint32_t value) { return __atomic_fetch_add(word, value, __ATOMIC_ACQ_REL); }

    /* For what the stress counts beside the locks: orders nothing, so that only the locks do. */
    static uint32_t load_relaxed(uint32_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
    static uint32_t add_relaxed(uint32_t *word, uint32_t value) {
      return __atomic_fetch_add(word, value, __ATOMIC_RELAXED);
    }
    """
    void futex_wait(uint32_t* word, uint32_t seen) noexcept nogil
    void futex_wake(uint32_t* word, int count) noexcept nogil
    uint32_t load32(uint32_t* word) noexcept nogil
    void store32(uint32_t* word, uint32_t value) noexcept nogil
    uint32_t swap32(uint32_t* word, uint32_t value) noexcept nogil
    uint32_t add32(uint32_t* word, uint32_t value) noexcept nogil
    uint32_t load_relaxed(uint32_t* word) noexcept nogil
    uint32_t add_relaxed(uint32_t* word, uint32_t value) noexcept nogil

cdef extern from "atomics.h" nogil:
    void cpu_pause()

cdef enum:
    PRI_MIN_TIMESHARE = 120             # as in the simulation
    ARENA_GIB = 8
    PANIC_TEXT = 16384
    EVERYBODY = 0x7fffffff
    YIELD_AFTER = 256                   # pauses, where there are more threads than CPUs
    LEAVE_NS = 5000000000               # within which a thread comes by the seam, unless it is lost

# Keys: c constant; s the thread itself; a atomic; q the lock layer's raw lock around set_priority()
cdef struct real_thread:
    thread td
    real_machine* rm                    # c
    pthread_t pthread                   # c
    void (*start)(thread*, void*) noexcept nogil    # c
    void* argument                      # c
    uint32_t number                     # c: from 0
    uint32_t permit                     # a: an unpark() that no park() has used
    uint32_t paused                     # s: pauses since the last yield
    int64_t parks                       # s: park() left the CPU
    int64_t permits                     # s: park() found a permit
    int64_t spins                       # s
    int64_t loans                       # q: it was given a better priority
    int64_t returns                     # q: a worse one

cdef struct real_machine:
    machine m
    arena memory                        # arena_lock
    pthread_mutex_t arena_lock
    pthread_mutex_t threads_lock        # m.threads, created
    uint32_t gate                       # a: 1 once threads may start
    uint32_t leaving                    # a: 1 once threads are to leave for good
    uint32_t alive                      # a: threads that have neither ended nor left
    uint32_t created
    bint crowded                        # c while the gate is open: more threads than CPUs
    thread* panicked                    # written by whoever set `leaving`, read when all have left
    const char* why


cdef int64_t clock_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return t.tv_sec * 1000000000 + t.tv_nsec


cdef void doze(int64_t ns) noexcept nogil:
    cdef timespec t
    t.tv_sec = ns // 1000000000
    t.tv_nsec = ns % 1000000000
    nanosleep(&t, NULL)


# --- the seam's calls

cdef inline real_machine* machine_of(thread* td) noexcept nogil:
    return (<real_thread*>td).rm


# Every call that may wait passes here: after a panic, no thread gets any further.
cdef inline void leave_if_told(thread* td) noexcept nogil:
    if load32(&machine_of(td).leaving):
        leave(td)


cdef void leave(thread* td) noexcept nogil:
    add32(&machine_of(td).alive, <uint32_t>-1)
    pthread_exit(NULL)


cdef ps_t real_now(thread* td) noexcept nogil:
    return clock_ns() * 1000


cdef uint32_t real_cpu_id(thread* td) noexcept nogil:
    return (<real_thread*>td).number


cdef uint32_t real_domain(thread* td) noexcept nogil:
    return 0


cdef bint real_cpus_using(thread* td, const void* pmap, uint64_t* cpus) noexcept nogil:
    return False


# Each thread has a CPU of its own, so nobody else sees that CPU's state.
cdef void real_critical(thread* td) noexcept nogil:
    pass


cdef void real_relax(thread* td) noexcept nogil:
    cdef real_thread* me = <real_thread*>td
    leave_if_told(td)
    me.paused += 1
    if me.paused >= YIELD_AFTER:
        me.paused = 0
        if me.rm.crowded:
            sched_yield()
            return
    cpu_pause()


cdef void real_spin_until_changed(thread* td, uint64_t* word, uint64_t seen, thread* owner, lock_delay_arg* delay,
                                  int64_t max_pauses) noexcept nogil:
    (<real_thread*>td).spins += 1
    atomic_store8(&td.state, TD_SPINNING)
    while True:
        if delay.delay < delay.max:
            delay.delay = delay.delay * 2 if delay.delay * 2 < delay.max else delay.max
        for _ in range(delay.delay):
            real_relax(td)
        delay.spin_cnt += delay.delay
        if (atomic_load_acq(word) != seen or (owner != NULL and not running(owner))
                or (max_pauses != 0 and delay.spin_cnt >= max_pauses)):
            break
    atomic_store8(&td.state, TD_RUNNING)


# The state is stored before the permit is looked at, so whoever gives one later finds the thread blocked.
cdef void real_park(thread* td) noexcept nogil:
    cdef real_thread* me = <real_thread*>td
    atomic_store8(&td.state, TD_BLOCKED)
    if (me.parks + me.permits) % 4 == 0:
        sched_yield()                   # so that unpark() comes first now and then
    if swap32(&me.permit, 0):
        me.permits += 1
    else:
        me.parks += 1
        while True:
            leave_if_told(td)
            futex_wait(&me.permit, 0)
            if swap32(&me.permit, 0):
                break
    leave_if_told(td)
    atomic_store8(&td.state, TD_RUNNING)


cdef void real_unpark(thread* td, thread* other) noexcept nogil:
    cdef real_thread* you = <real_thread*>other
    if not swap32(&you.permit, 1):
        futex_wake(&you.permit, 1)


# Off the CPU for so long, as a thread whose time slice ended.
cdef void real_user(thread* td, ps_t duration) noexcept nogil:
    leave_if_told(td)
    if duration <= 0 or stopping(td.machine):
        return
    leaving(td)
    atomic_store8(&td.state, TD_RUNNABLE)
    doze(duration // 1000)
    leave_if_told(td)
    atomic_store8(&td.state, TD_RUNNING)


cdef void real_sleep_for(thread* td, ps_t duration) noexcept nogil:
    leave_if_told(td)
    if duration <= 0 or stopping(td.machine):
        return
    leaving(td)
    atomic_store8(&td.state, TD_SLEEPING)
    doze(duration // 1000)
    leave_if_told(td)
    atomic_store8(&td.state, TD_RUNNING)


cdef void real_shootdown(thread* td, const uint64_t* cpus, int64_t pages) noexcept nogil:
    pass


# Where a thread begins and ends.
cdef void* thread_main(void* argument) noexcept nogil:
    cdef real_thread* me = <real_thread*>argument
    cdef thread* td = &me.td
    while not load32(&me.rm.gate):
        futex_wait(&me.rm.gate, 0)
    leave_if_told(td)
    atomic_store8(&td.state, TD_RUNNING)
    me.start(td, me.argument)
    if td.nheld != 0:
        panic(td, b"a thread ended with locks held")
    atomic_store8(&td.state, TD_DEAD)
    add32(&me.rm.alive, <uint32_t>-1)
    return NULL


# Records stay until the machine goes: who spins or lends looks at owners' in good faith.
cdef thread* real_spawn(thread* td, machine* m, void (*start)(thread*, void*) noexcept nogil, void* argument,
                        void* proc) noexcept nogil:
    cdef real_machine* rm = <real_machine*>m
    cdef real_thread* new = <real_thread*>arena_alloc(m, sizeof(real_thread))
    if new == NULL:
        return NULL
    new.rm = rm
    new.td.machine = m
    new.td.state = TD_STARTING
    new.td.priority = PRI_MIN_TIMESHARE
    new.td.base_priority = PRI_MIN_TIMESHARE
    new.td.proc = proc
    new.start = start
    new.argument = argument
    pthread_mutex_lock(&rm.threads_lock)
    new.number = rm.created
    rm.created += 1
    new.td.id = rm.created
    new.td.all_next = m.threads
    if m.threads != NULL:
        m.threads.all_prev = &new.td
    m.threads = &new.td
    pthread_mutex_unlock(&rm.threads_lock)
    if m.attach != NULL:
        m.attach(&new.td)
    add32(&rm.alive, 1)
    if pthread_create(&new.pthread, NULL, thread_main, new) != 0:
        add32(&rm.alive, <uint32_t>-1)
        return NULL
    return &new.td


cdef void real_leave_run_time(thread* td, thread* heir) noexcept nogil:
    pass                                # the system keeps its own accounts


cdef void real_set_priority(thread* other, uint8_t priority) noexcept nogil:
    if priority < other.priority:
        (<real_thread*>other).loans += 1
    else:
        (<real_thread*>other).returns += 1
    other.priority = priority


# td NULL: the main thread's doing, which goes on.
cdef void real_panic(thread* td, const char* why) noexcept nogil:
    cdef real_machine* rm = machine_of(td)
    tell_to_leave(rm, td, why)
    leave(td)


cdef void tell_to_leave(real_machine* rm, thread* td, const char* why) noexcept nogil:
    cdef thread* t
    if swap32(&rm.leaving, 1):
        return
    rm.panicked = td
    rm.why = why
    store32(&rm.gate, 1)
    futex_wake(&rm.gate, EVERYBODY)
    pthread_mutex_lock(&rm.threads_lock)
    t = rm.m.threads
    while t != NULL:
        real_unpark(NULL, t)
        t = t.all_next
    pthread_mutex_unlock(&rm.threads_lock)


cdef void* real_arena_alloc(machine* m, uint64_t size) noexcept nogil:
    cdef real_machine* rm = <real_machine*>m
    cdef void* memory
    pthread_mutex_lock(&rm.arena_lock)
    memory = arena_take(&rm.memory, size)
    pthread_mutex_unlock(&rm.arena_lock)
    return memory


cdef void real_arena_free(machine* m, void* memory, uint64_t size) noexcept nogil:
    cdef real_machine* rm = <real_machine*>m
    pthread_mutex_lock(&rm.arena_lock)
    arena_give(&rm.memory, memory, size)
    pthread_mutex_unlock(&rm.arena_lock)


cdef class ThreadMachine(Machine):
    """A machine of real threads, for the lock layer. Threads start when it is run, all at once."""

    cdef real_machine* rm
    cdef bint lost                      # threads are left that may use its memory

    def __cinit__(self, int ncpus=MAX_CPUS):
        cdef real_machine* rm
        self.rm = rm = <real_machine*>calloc(1, sizeof(real_machine))
        if rm == NULL or not arena_create(&rm.memory, <uint64_t>ARENA_GIB << 30, 4096):
            raise MemoryError
        self.m = &rm.m
        pthread_mutex_init(&rm.arena_lock, NULL)
        pthread_mutex_init(&rm.threads_lock, NULL)
        rm.m.arena = rm.memory.base
        rm.m.arena_size = rm.memory.size
        rm.m.ncpus = ncpus
        rm.m.ndomains = 1
        rm.m.ops.now = real_now
        rm.m.ops.cpu_id = real_cpu_id
        rm.m.ops.domain = real_domain
        rm.m.ops.cpus_using = real_cpus_using
        rm.m.ops.critical_enter = real_critical
        rm.m.ops.critical_exit = real_critical
        rm.m.ops.relax = real_relax
        rm.m.ops.spin_until_changed = real_spin_until_changed
        rm.m.ops.park = real_park
        rm.m.ops.unpark = real_unpark
        rm.m.ops.user = real_user
        rm.m.ops.sleep_for = real_sleep_for
        rm.m.ops.shootdown = real_shootdown
        rm.m.ops.spawn = real_spawn
        rm.m.ops.set_priority = real_set_priority
        rm.m.ops.leave_run_time = real_leave_run_time
        rm.m.ops.panic = real_panic
        rm.m.ops.arena_alloc = real_arena_alloc
        rm.m.ops.arena_free = real_arena_free

    def __dealloc__(self):
        if self.rm != NULL and not self.lost:
            arena_destroy(&self.rm.memory)
            free(self.rm)

    def run(self, double seconds, double grace):
        """Run the threads, ask them to stop after `seconds`, and wait for their ends.

        Raises KernelPanic when one panics, or when they have not ended `grace` seconds later.
        """
        cdef real_machine* rm = self.rm
        cdef int64_t stop_at = clock_ns() + <int64_t>(seconds * 1e9)
        cdef int64_t end_at = stop_at + <int64_t>(grace * 1e9)
        cdef int64_t left_at = 0
        cdef bint interrupted = False
        rm.crowded = rm.created > <uint32_t>len(os.sched_getaffinity(0))
        store32(&rm.gate, 1)
        futex_wake(&rm.gate, EVERYBODY)
        while load32(&rm.alive):
            with nogil:
                doze(2000000)
            if clock_ns() >= stop_at:
                store32(<uint32_t*>&rm.m.stopping, 1)
            if clock_ns() >= end_at:
                tell_to_leave(rm, NULL, b"the threads do not end: a wake-up was lost, or they wait for each other")
            try:
                PyErr_CheckSignals()
            except BaseException:
                interrupted = True
                tell_to_leave(rm, NULL, b"interrupted")
                if left_at:
                    self.lost = True
                    raise
            if load32(&rm.leaving):
                left_at = left_at or clock_ns()
                if clock_ns() - left_at > LEAVE_NS:
                    self.lost = True
                    break
        if not self.lost:
            self.join()
        if interrupted:
            raise KeyboardInterrupt
        if load32(&rm.leaving):
            raise KernelPanic(self.why())

    cdef void join(self):
        cdef thread* td = self.m.threads
        while td != NULL:
            with nogil:
                pthread_join((<real_thread*>td).pthread, NULL)
            td = td.all_next

    cdef str why(self):
        cdef char text[PANIC_TEXT]
        panic_text(self.m, self.rm.panicked, self.rm.why, text, PANIC_TEXT)
        return text.decode() + ("\nand not every thread came back" if self.lost else "")


# --- the stress
#
# Each thread takes a random few of the locks below in their order, in random ways, and leaves the CPU now and then with
# locks held; or it sleeps for another's wakeup(), or gives one.  What a lock guards are plain words, checked at both
# ends of each critical section; under ThreadSanitizer they prove that the lock orders those who hold it.

cdef enum:
    KIND_SX = 0
    KIND_RW
    KIND_MTX
    KIND_MTX8
    KIND_BIT2
    KIND_SPIN
    KINDS

cdef enum:
    LOCKS = 16
    STRIDE = 96                         # some share a line, some a turnstile chain
    CHANNELS = 3                        # sleepers' meeting points
    MAX_THREADS = 64

cdef int ORDER[LOCKS]                   # the kind of each lock; they are taken from left to right
ORDER[:] = [KIND_SX, KIND_SX, KIND_RW, KIND_BIT2, KIND_RW, KIND_MTX, KIND_MTX8, KIND_MTX, KIND_BIT2, KIND_MTX8, KIND_BIT2,
            KIND_MTX, KIND_RW, KIND_MTX8, KIND_SPIN, KIND_SPIN]
# The locks that sleepers hold, and drop: those of the channels
cdef int INTERLOCKS[CHANNELS]
INTERLOCKS[:] = [5, 0, 7]

cdef enum:
    FREE = 0
    EXCLUSIVE
    SHARED

# What was done, by all threads together.  By kind: acquisitions that waited off the CPU (`blocked`), did so more than
# once because somebody else got the lock first (`lost`), failed to get it at once (`failed`), and changes of mode.
cdef enum:
    ROUNDS = 0
    BLOCKED                             # + kind, as the others
    LOST = BLOCKED + KINDS
    FAILED = LOST + KINDS
    UPGRADED = FAILED + KINDS
    NOT_UPGRADED = UPGRADED + KINDS
    DOWNGRADED = NOT_UPGRADED + KINDS
    SLEPT = DOWNGRADED + KINDS          # + channel
    WOKE = SLEPT + CHANNELS
    GREW = WOKE + CHANNELS              # a generation, between two looks without its lock
    COUNTS

# What a thread may do wrong on demand, to see that it is found.
cdef enum:
    FAULT_NONE = 0
    FAULT_KEEP                          # end with a lock held
    FAULT_SILENT                        # tell a sleeper to go on without wakeup()
    FAULT_BARGE                         # use what a lock guards without the lock

cdef tuple FAULTS = ("", "keep", "silent", "barge")

cdef uint16_t NAMES[KINDS]
NAMES[KIND_SX] = lock_name(b"sx", b"stress")
NAMES[KIND_RW] = lock_name(b"rw", b"stress")
NAMES[KIND_MTX] = lock_name(b"sleep mutex", b"stress")
NAMES[KIND_MTX8] = lock_name(b"mtx8", b"stress")
NAMES[KIND_BIT2] = lock_name(b"bit2", b"stress")
NAMES[KIND_SPIN] = lock_name(b"spin mutex", b"stress")
cdef uint16_t SITE_EXCLUSIVE = lock_site(b"stress/exclusive")
cdef uint16_t SITE_SHARED = lock_site(b"stress/shared")
cdef uint16_t SITE_TRY = lock_site(b"stress/try")
cdef uint16_t SITE_SLEEP = lock_site(b"stress/sleep")

cdef struct guarded:
    void* lock                          # c
    lock_id id                          # c: of those that have it nowhere else
    int kind                            # c
    uint32_t readers                    # atomic, but orders nothing
    uint32_t writer                     # the lock: id of the thread that holds it exclusively
    uint64_t entered                    # the lock: counts exclusive holders in
    uint64_t left                       # the lock: and out; a 2-bit lock's generation follows it

# A place to sleep on; the lock is the channel's interlock.
cdef struct slot:
    uint32_t waiting                    # sleepers that nobody has told to go on
    uint32_t turn                       # changes when they are told

cdef struct channel:
    guarded* interlock
    bint ended                          # interlock: nobody may begin to sleep
    slot* slots                         # interlock: of each thread, or one for all

cdef struct stress:
    uint32_t nthreads                   # c
    uint32_t sleepers                   # atomic, but orders nothing: one thread at least stays awake
    uint64_t seed                       # c
    guarded locks[LOCKS]
    channel channels[CHANNELS]
    int fault                           # c
    int asleep[MAX_THREADS]             # the thread itself: the channel it sleeps on, counted from 1
    int64_t counts[MAX_THREADS][COUNTS]

cdef struct hand:                       # one thread of the stress
    thread* td
    stress* s
    int64_t* counts
    uint64_t state
    bint hot                            # only short holds now: who waits, spins
    int mode[LOCKS]
    uint64_t seen[LOCKS]                # generations, when it last looked


cdef inline uint64_t next_random(uint64_t* state) noexcept nogil:
    # xorshift64* (Vigna 2016)
    state[0] ^= state[0] >> 12
    state[0] ^= state[0] << 25
    state[0] ^= state[0] >> 27
    return state[0] * <uint64_t>0x2545f4914f6cdd1d


cdef inline uint32_t dice(hand* h, uint32_t sides) noexcept nogil:
    return <uint32_t>((next_random(&h.state) >> 32) * sides >> 32)


# What an exclusive holder finds, and leaves.
cdef void enter(hand* h, guarded* g, int mode) noexcept nogil:
    if g.writer != 0 or g.entered != g.left:
        panic(h.td, b"entered a lock that another thread holds exclusively")
    if g.kind == KIND_BIT2 and bit2_value(h.td, <uint64_t*>g.lock) != g.left:
        panic(h.td, b"the generation of a 2-bit lock is not what its last holder left")
    if mode == SHARED:
        add_relaxed(&g.readers, 1)
        return
    if load_relaxed(&g.readers) != 0:
        panic(h.td, b"entered a lock exclusively that others read")
    g.writer = h.td.id
    g.entered += 1


cdef void come_out(hand* h, guarded* g, int mode) noexcept nogil:
    if mode == SHARED:
        if g.writer != 0 or g.entered != g.left:
            panic(h.td, b"a lock was held exclusively beside its readers")
        add_relaxed(&g.readers, <uint32_t>-1)
        return
    g.left += 1
    if g.writer != h.td.id or g.entered != g.left or load_relaxed(&g.readers) != 0:
        panic(h.td, b"a lock held exclusively was entered by another thread")
    if g.kind == KIND_BIT2:
        bit2_set_value(h.td, <uint64_t*>g.lock, g.left)
    g.writer = 0


# Look at a generation without its lock: it only grows.
cdef void look(hand* h, int i) noexcept nogil:
    cdef guarded* g = &h.s.locks[i]
    cdef uint64_t now = bit2_value(h.td, <uint64_t*>g.lock)
    if now < h.seen[i]:
        panic(h.td, b"the generation of a 2-bit lock went back")
    h.counts[GREW] += now > h.seen[i]
    h.seen[i] = now


cdef bint acquire(hand* h, guarded* g, int mode, bint only_try) noexcept nogil:
    cdef thread* td = h.td
    cdef int64_t parks = (<real_thread*>td).parks
    cdef bint got = True, owned = True
    if g.kind == KIND_SPIN:
        mtx_lock_spin(td, <mtx*>g.lock, SITE_EXCLUSIVE)
        owned = mtx_owned(td, <mtx*>g.lock)
    elif g.kind == KIND_MTX:
        if only_try:
            got = mtx_trylock(td, <mtx*>g.lock, SITE_TRY)
        else:
            mtx_lock(td, <mtx*>g.lock, SITE_EXCLUSIVE)
        owned = got == mtx_owned(td, <mtx*>g.lock)
    elif g.kind == KIND_MTX8:
        if only_try:
            got = mtx8_trylock(td, <uint64_t*>g.lock, &g.id, SITE_TRY)
        else:
            mtx8_lock(td, <uint64_t*>g.lock, &g.id, SITE_EXCLUSIVE)
        owned = got == mtx8_owned(td, <uint64_t*>g.lock)
    elif g.kind == KIND_BIT2:
        if only_try:
            got = bit2_trylock(td, <uint64_t*>g.lock, &g.id, SITE_TRY)
        else:
            bit2_lock(td, <uint64_t*>g.lock, &g.id, SITE_EXCLUSIVE)
        owned = got == bit2_owned(td, <uint64_t*>g.lock)
    elif g.kind == KIND_RW and mode == SHARED:
        if only_try:
            got = rw_try_rlock(td, <rwlock*>g.lock, SITE_TRY)
        else:
            rw_rlock(td, <rwlock*>g.lock, SITE_SHARED)
    elif g.kind == KIND_RW:
        if only_try:
            got = rw_try_wlock(td, <rwlock*>g.lock, SITE_TRY)
        else:
            rw_wlock(td, <rwlock*>g.lock, SITE_EXCLUSIVE)
        owned = got == rw_wowned(td, <rwlock*>g.lock)
    elif mode == SHARED:
        if only_try:
            got = sx_try_slock(td, <sx*>g.lock, SITE_TRY)
        else:
            sx_slock(td, <sx*>g.lock, SITE_SHARED)
    else:
        if only_try:
            got = sx_try_xlock(td, <sx*>g.lock, SITE_TRY)
        else:
            sx_xlock(td, <sx*>g.lock, SITE_EXCLUSIVE)
        owned = got == sx_xlocked(td, <sx*>g.lock)
    if not owned:
        panic(td, b"a lock does not know its owner")
    parks = (<real_thread*>td).parks - parks
    h.counts[BLOCKED + g.kind] += parks > 0
    h.counts[LOST + g.kind] += parks > 1
    h.counts[FAILED + g.kind] += not got
    if got:
        enter(h, g, mode)
    return got


cdef void release(hand* h, guarded* g, int mode) noexcept nogil:
    cdef thread* td = h.td
    come_out(h, g, mode)
    if g.kind == KIND_SPIN:
        mtx_unlock_spin(td, <mtx*>g.lock)
    elif g.kind == KIND_MTX:
        mtx_unlock(td, <mtx*>g.lock)
    elif g.kind == KIND_MTX8:
        mtx8_unlock(td, <uint64_t*>g.lock)
    elif g.kind == KIND_BIT2:
        bit2_unlock(td, <uint64_t*>g.lock)
    elif g.kind == KIND_RW and mode == SHARED:
        rw_runlock(td, <rwlock*>g.lock)
    elif g.kind == KIND_RW:
        rw_wunlock(td, <rwlock*>g.lock)
    elif mode == SHARED:
        sx_sunlock(td, <sx*>g.lock)
    else:
        sx_xunlock(td, <sx*>g.lock)


# Turn a shared hold into an exclusive one if nobody else reads, an exclusive one into a shared one.
cdef int change_mode(hand* h, guarded* g, int mode) noexcept nogil:
    cdef bint got
    if mode == SHARED:
        if g.kind == KIND_RW:
            got = rw_try_upgrade(h.td, <rwlock*>g.lock, SITE_TRY)
        else:
            got = sx_try_upgrade(h.td, <sx*>g.lock, SITE_TRY)
        h.counts[(UPGRADED if got else NOT_UPGRADED) + g.kind] += 1
        if not got:
            return SHARED
        come_out(h, g, SHARED)
        enter(h, g, EXCLUSIVE)
        return EXCLUSIVE
    come_out(h, g, EXCLUSIVE)
    enter(h, g, SHARED)                 # before the call: others may be in when it returns
    if g.kind == KIND_RW:
        rw_downgrade(h.td, <rwlock*>g.lock, SITE_SHARED)
    else:
        sx_downgrade(h.td, <sx*>g.lock, SITE_SHARED)
    h.counts[DOWNGRADED + g.kind] += 1
    return SHARED


# Let time pass with locks held, of which `kind` is the strictest: sleep where one may, be preempted where one can be.
cdef void dawdle(hand* h, int kind) noexcept nogil:
    cdef uint32_t r = dice(h, 1024)
    cdef ps_t us = 1000000
    if h.hot:
        r = max(r, <uint32_t>64)
    if kind != KIND_SPIN and r < 2:
        user(h.td, 8000 * us)           # longer than a writer spins on readers
    elif kind != KIND_SPIN and r < 24:
        user(h.td, (20 + dice(h, 200)) * us)
    elif kind == KIND_SX and r < 64:
        sleep_for(h.td, (20 + dice(h, 500)) * us)
    elif kind == KIND_SPIN and r < 68:
        for _ in range(20000):
            cpu_pause()
    elif r < 400:
        for _ in range(dice(h, 500)):
            cpu_pause()


cdef void take_some(hand* h) noexcept nogil:
    cdef guarded* g
    cdef int i, mode, kind = KIND_SX
    cdef uint32_t share = 2 + dice(h, 5)
    for i in range(LOCKS):
        g = &h.s.locks[i]
        if dice(h, share) != 0:
            if g.kind == KIND_BIT2:
                look(h, i)
            continue
        mode = SHARED if g.kind <= KIND_RW and dice(h, 2) else EXCLUSIVE
        if not acquire(h, g, mode, g.kind != KIND_SPIN and dice(h, 4) == 0):
            continue
        h.mode[i] = mode
        kind = g.kind
        if kind <= KIND_RW and dice(h, 4) == 0:
            h.mode[i] = change_mode(h, g, mode)
        dawdle(h, kind)
    if dice(h, 2):
        for i in range(LOCKS):
            let_go(h, i)
    else:
        for i in range(LOCKS - 1, -1, -1):
            let_go(h, i)


cdef void let_go(hand* h, int i) noexcept nogil:
    if h.mode[i] != FREE:
        release(h, &h.s.locks[i], h.mode[i])
        h.mode[i] = FREE


# Where the thread sleeps: on channels 0 and 1 each thread has a place of its own, on channel 2 all share one.
cdef inline slot* slot_of(channel* c, int number, uint32_t i) noexcept nogil:
    return &c.slots[0 if number == CHANNELS - 1 else i]


# Sleep until told to go on.  A sleeper is told once and woken once, so one that misses its wakeup() sleeps for ever.
cdef void sleep_on(hand* h, int number) noexcept nogil:
    cdef channel* c = &h.s.channels[number]
    cdef guarded* g = c.interlock
    cdef slot* at = slot_of(c, number, h.td.id - 1)
    cdef uint32_t turn
    acquire(h, g, EXCLUSIVE, False)
    if not c.ended:
        if add_relaxed(&h.s.sleepers, 1) < h.s.nthreads - 1:
            h.counts[SLEPT + number] += 1
            at.waiting += 1
            turn = at.turn
            while at.turn == turn:
                come_out(h, g, EXCLUSIVE)
                h.s.asleep[h.td.id - 1] = number + 1
                if g.kind == KIND_MTX:
                    msleep(h.td, at, <mtx*>g.lock, SITE_SLEEP)
                else:
                    sleep_sx(h.td, at, <sx*>g.lock, SITE_SLEEP)
                h.s.asleep[h.td.id - 1] = 0
                enter(h, g, EXCLUSIVE)
        add_relaxed(&h.s.sleepers, <uint32_t>-1)
    release(h, g, EXCLUSIVE)


# Tell the sleepers of a channel to go on: those of one slot, or of all for good.
cdef void wake_up(hand* h, int number, bint end) noexcept nogil:
    cdef channel* c = &h.s.channels[number]
    cdef guarded* g = c.interlock
    cdef uint32_t i, k, first = dice(h, h.s.nthreads)
    cdef slot* at
    cdef bint outside = dice(h, 2)      # without the interlock
    acquire(h, g, EXCLUSIVE, False)
    if end:
        c.ended = True
    for i in range(h.s.nthreads):
        k = (first + i) % h.s.nthreads
        at = slot_of(c, number, k)
        if at.waiting != 0:
            at.waiting = 0
            at.turn += 1
            h.counts[WOKE + number] += 1
            if not end and outside:
                release(h, g, EXCLUSIVE)
                if h.s.fault != FAULT_SILENT:
                    wakeup(h.td, at)
                return
            wakeup(h.td, at)
            if not end:
                break
    release(h, g, EXCLUSIVE)


cdef void stress_thread(thread* td, void* argument) noexcept nogil:
    cdef hand h
    cdef uint32_t what
    memset(&h, 0, sizeof(hand))
    h.td = td
    h.s = <stress*>argument
    h.counts = h.s.counts[td.id - 1]
    h.state = (h.s.seed + td.id) * <uint64_t>0x9e3779b97f4a7c15
    for _ in range(8):
        next_random(&h.state)
    while not stopping(td.machine):
        what = dice(&h, 16)
        h.hot = h.counts[ROUNDS] & 1024 != 0
        if what == 0:
            sleep_on(&h, dice(&h, CHANNELS))
        elif what < 4:
            wake_up(&h, dice(&h, CHANNELS), False)
        else:
            take_some(&h)
        if h.s.fault == FAULT_BARGE and td.id == 1:
            enter(&h, &h.s.locks[0], EXCLUSIVE)
            come_out(&h, &h.s.locks[0], EXCLUSIVE)
        h.counts[ROUNDS] += 1
    for what in range(CHANNELS):
        wake_up(&h, what, True)
    if h.s.fault == FAULT_KEEP and td.id == 1:
        mtx_lock(td, <mtx*>h.s.locks[INTERLOCKS[0]].lock, SITE_EXCLUSIVE)


cdef tuple KIND_WORDS = ("sx", "rw", "mtx", "mtx8", "bit2", "spin")
cdef list COUNT_NAMES = ["rounds"]
for _what in ("blocked", "lost", "failed", "upgraded", "not upgraded", "downgraded"):
    COUNT_NAMES += [f"{_what} {_kind}" for _kind in KIND_WORDS]
COUNT_NAMES += ["slept mtx", "slept sx", "slept together", "woke mtx", "woke sx", "woke together", "grew bit2"]

# What cannot be: spin mutexes never leave the CPU and are not tried, mutexes have one mode.
cdef frozenset NEVER = frozenset({
    "blocked spin", "lost spin", "failed spin",
    *(f"{_what} {_kind}" for _what in ("upgraded", "not upgraded", "downgraded")
      for _kind in ("mtx", "mtx8", "bit2", "spin"))})


cdef class LockStress:
    """Two threads or more that use every kind of lock at random on a machine of real threads.

    `fault`, if given, is something that they do wrong: "keep" a lock, be "silent" to a sleeper, "barge" in.
    """

    cdef readonly ThreadMachine machine
    cdef stress* s

    def __init__(self, int threads, *, uint64_t seed=1, str fault=""):
        cdef stress* s
        cdef machine* m
        cdef thread* td
        cdef char* memory
        cdef int i
        if not 2 <= threads <= MAX_THREADS:
            raise ValueError(f"{threads} threads: 2 to {<int>MAX_THREADS} are possible")
        self.machine = ThreadMachine(threads)
        m = self.machine.m
        locks_create(m)
        self.s = s = <stress*>arena_alloc(m, sizeof(stress))
        memory = <char*>arena_alloc(m, LOCKS * STRIDE)
        s.nthreads = threads
        s.seed = seed
        s.fault = FAULTS.index(fault)
        for i in range(LOCKS):
            s.locks[i].kind = ORDER[i]
            s.locks[i].lock = memory + i * STRIDE
            if ORDER[i] == KIND_SX:
                sx_init(<sx*>s.locks[i].lock, NAMES[KIND_SX], 0)
            elif ORDER[i] == KIND_RW:
                rw_init(<rwlock*>s.locks[i].lock, NAMES[KIND_RW], 0)
            elif ORDER[i] == KIND_MTX8 or ORDER[i] == KIND_BIT2:
                s.locks[i].id.address = s.locks[i].lock
                s.locks[i].id.name = NAMES[ORDER[i]]
                s.locks[i].id.kind = LK_MTX8 if ORDER[i] == KIND_MTX8 else LK_BIT2
            else:
                mtx_init(<mtx*>s.locks[i].lock, NAMES[ORDER[i]], 0)
        for i in range(CHANNELS):
            s.channels[i].interlock = &s.locks[INTERLOCKS[i]]
            s.channels[i].slots = <slot*>arena_alloc(m, threads * sizeof(slot))
        for i in range(threads):
            td = m.ops.spawn(NULL, m, stress_thread, s, NULL)
            if td == NULL:
                tell_to_leave(self.machine.rm, NULL, b"no more threads")
                self.machine.run(0, 1)
            td.base_priority = PRI_MIN_TIMESHARE + (threads - i) * 4    # the gate is closed yet
            td.priority = td.base_priority

    def run(self, double seconds, *, double grace=30):
        """Run for so long, check what must hold at the end, and tell how often each thing was done.

        Raises KernelPanic on what the threads found, or when they do not end; AssertionError on what is left behind.
        """
        try:
            self.machine.run(seconds, grace)
        except KernelPanic as why:
            raise KernelPanic(f"{why}{self.sleepers()}") from None
        self.check_locks()
        self.check_threads()
        self.check_profile()
        return self.counts()

    cdef str sleepers(self):
        places = ["mtx", "sx", "together"]
        return "".join([f"\nthread {i + 1} sleeps on the channel {places[self.s.asleep[i] - 1]}"
                        for i in range(self.s.nthreads) if self.s.asleep[i]])

    cdef uint64_t word_offset(self, int i):
        return 0 if self.s.locks[i].kind in (KIND_MTX8, KIND_BIT2) else sizeof(mtx) - 8

    cdef check_locks(self):
        cdef thread td
        cdef uint64_t i
        cdef stress* s = self.s
        for i in range(LOCKS):
            word = (<uint64_t*>(<char*>s.locks[i].lock + self.word_offset(i)))[0]
            free = 1 if s.locks[i].kind <= KIND_RW else s.locks[i].left << 2 if s.locks[i].kind == KIND_BIT2 else 0
            assert word == free, f"lock {i} is left as {word:#x}"
            assert s.locks[i].readers == s.locks[i].writer == 0 and s.locks[i].entered == s.locks[i].left
        for i in range(CHANNELS):
            assert s.channels[i].ended
        assert s.sleepers == 0
        td.machine = self.machine.m
        for i in range(TC_TABLESIZE):
            check_chain(turnstile_chain_of(&td, TURNSTILE, td.machine.arena + (i << 8)))
        for i in range(SC_TABLESIZE):
            check_chain(turnstile_chain_of(&td, SLEEPQUEUE, td.machine.arena + i))
        for i in range(WAIT_CHAINS):
            assert td.machine.waiters[i].first == NULL and td.machine.waiters[i].lock == 0, "a waiter is left"

    cdef check_threads(self):
        cdef thread* td = self.machine.m.threads
        while td != NULL:
            assert td.state == TD_DEAD
            assert td.nheld == 0 and td.read_held[0] == 0 and td.read_held[1] == 0 and td.critical == 0
            assert td.pinned == 0 and td.spinlocks == 0 and [td.anonymous[i] != NULL for i in range(4)] == [False] * 4
            assert td.wanted.address == NULL and td.blocked_on == NULL and td.contested == NULL
            assert td.priority == td.base_priority, (
                f"thread {td.id} has priority {td.priority}, not its own {td.base_priority}")
            td = td.all_next

    cdef check_profile(self):
        cdef lock_profile* first = <lock_profile*>self.machine.m.profile
        cdef lock_profile* p
        cdef lock_record r
        cdef uint16_t name, site, other
        cdef ps_t charged, waited, queued
        cdef int64_t acquired, released, waiting, counted
        for name in range(lock_name_count()):
            charged = waited = queued = 0
            acquired = released = waiting = counted = 0
            p = first
            while p != NULL:
                acquired += p.names[name].acquired
                released += p.names[name].released
                waiting += p.names[name].waiting
                queued += p.names[name].queue_integral
                for site in range(lock_site_count()):
                    for other in range(lock_site_count()):
                        charged += p.charged[(<uint32_t>name * MAX_SITES + site) * MAX_SITES + other]
                p = p.next
            for site in range(lock_site_count()):
                lock_profile_sum(self.machine.m, name, site, &r)
                waited += r.wait_total
                counted += r.acquisitions
                assert 0 <= r.block_total <= r.wait_total and r.wait_max <= r.wait_total
                assert sum([r.wait_histogram[i] for i in range(len(r.wait_histogram))]) == r.contested
                assert sum([r.hold_histogram[i] for i in range(len(r.hold_histogram))]) == r.acquisitions
            what = f"{lock_class_text(name).decode()} {lock_name_text(name).decode()}"
            assert acquired == released == counted and waiting == 0, f"{what}: {acquired} {released} {counted}"
            assert waited == charged == queued, f"{what}: waited {waited}, charged {charged}, queued {queued} ps"

    cdef dict counts(self):
        cdef thread* td = self.machine.m.threads
        cdef lock_record r
        cdef real_thread* t
        counts = dict.fromkeys(COUNT_NAMES, 0)
        counts.update(dict.fromkeys(("parks", "permits", "spins", "loans", "returns"), 0))
        while td != NULL:
            t = <real_thread*>td
            for i, name in enumerate(COUNT_NAMES):
                counts[name] += self.s.counts[td.id - 1][i]
            for name, n in (("parks", t.parks), ("permits", t.permits), ("spins", t.spins), ("loans", t.loans),
                            ("returns", t.returns)):
                counts[name] += n
            td = td.all_next
        for kind, name in enumerate(KIND_WORDS):
            counts[f"contested {name}"] = 0
            for site in (SITE_EXCLUSIVE, SITE_SHARED, SITE_TRY, SITE_SLEEP):
                lock_profile_sum(self.machine.m, NAMES[kind], site, &r)
                counts[f"contested {name}"] += r.contested
        return {name: n for name, n in counts.items() if n or name not in NEVER}


cdef check_chain(turnstile_chain* tc):
    assert tc.tc_lock == 0 and tc.tc_turnstiles == NULL, "a turnstile or sleep queue is left"
