# The seam: everything that kernel code may ask of the machine it runs on.
#
# Kernel code is plain nogil Cython on C structs and takes the current thread first.  Of machine/ it cimports this file
# and thread.pxd, nothing else.  Which machine answers is data: calls go through `td.machine.ops`, and the few that are
# made at every step look at `td.simulated`: on real threads they are nothing, or one instruction; what they are in
# the simulation stands in simulated/coherence.pxd.
#
#   now             the thread's clock
#   cpu_id, domain  where it runs: the CPU, its memory domain
#   cpus_using      which other CPUs run with a pmap
#   charge          work costs time
#   charge_lines, charge_zeroed
#                   work on whole pages, which pass through the caches
#   touch_read, touch_write
#                   a data line that other CPUs write is read or written
#   atomic_*        a lock word is read or written: a point where other threads may run first
#   critical_enter, critical_exit
#                   the thread stays on its CPU: what per-CPU state relies on
#   spinlock_enter, spinlock_exit
#                   no interrupts: what holders of spin mutexes rely on
#   pin, unpin      no preemption, over scheduling points: what others who spin rely on
#   raw_lock, raw_unlock
#                   guards bookkeeping that is not part of the system under study; costs no simulated time
#   spin_until_changed, word_changed
#                   busy waiting on a word, and the store that ends it
#   park, unpark    off the CPU, and back
#   leaving         what a thread has to say before it leaves its CPU
#   running         is that thread on a CPU now
#   shootdown       make other CPUs forget translations
#   user            user time passes; may be preempted
#   sleep_for       off the CPU for a time that no other thread ends
#   stopping        is the run to stop
#   spawn           a new thread
#   set_priority    a thread's priority changes, and its place among those that wait for a CPU
#   leave_run_time  a thread that ends leaves its CPU time to another's account
#   panic           stop the run, with the state of every thread
#   line_neighbours what lies here may share cache lines with others of its kind: tell whose accesses are whose
#   arena_alloc, arena_free
#                   kernel memory, all from one arena; an "address" in any decision or result is its offset there

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from finegrain.machine.simulated.coherence cimport (
    sim_atomic_access, sim_charge, sim_charge_lines, sim_charge_zeroed, sim_cpu_id, sim_domain, sim_last_line, sim_now,
    sim_sched_point, sim_touch, sim_wait_until, sim_word_changed)
from finegrain.machine.thread cimport (
    LINE_HIT, MAX_ANONYMOUS, TD_BLOCKED, TD_RUNNING, TD_SLEEPING, TD_STALLED, lock_delay_arg, machine, ps_t, thread)

cdef extern from "atomics.h" nogil:
    uint64_t atomic_load_acq(uint64_t* word)
    uint8_t atomic_load8(uint8_t* byte)
    int atomic_load_int(int* value)
    void atomic_store8(uint8_t* byte, uint8_t value)
    void* atomic_load_pointer(void** pointer)
    void atomic_store_pointer(void** pointer, void* value)
    void atomic_store_rel(uint64_t* word, uint64_t value)
    bint atomic_cas_acq(uint64_t* word, uint64_t expected, uint64_t value)
    uint64_t atomic_fetchadd_raw(uint64_t* word, uint64_t value)
    uint64_t atomic_fetchor_raw(uint64_t* word, uint64_t bits)
    uint64_t atomic_swap_raw(uint64_t* word, uint64_t value)
    bint raw_spin_try(uint64_t* word)
    void raw_spin_unlock(uint64_t* word)
    bint likely "finegrain_likely"(bint condition)
    bint unlikely "finegrain_unlikely"(bint condition)


# --- time and place

# Offset of a kernel address in the arena: the only form in which an address may enter a decision or a result.
cdef inline uint64_t arena_offset(machine* m, const void* address) noexcept nogil:
    return <uint64_t>(<const char*>address - <const char*>m.arena)


cdef inline ps_t now(thread* td) noexcept nogil:
    return sim_now(td) if likely(td.simulated) else td.machine.ops.now(td)


# The CPU that td runs on: its number, and its memory domain.  Good until td may be preempted.
cdef inline uint32_t cpu_id(thread* td) noexcept nogil:
    return sim_cpu_id(td) if likely(td.simulated) else td.machine.ops.cpu_id(td)


cdef inline uint32_t domain(thread* td) noexcept nogil:
    return sim_domain(td) if likely(td.simulated) else td.machine.ops.domain(td)


# The CPUs other than td's whose thread uses the pmap now, as a set (MAX_CPUS bits); False: there are none, and the set
# is not filled in.
cdef inline bint cpus_using(thread* td, const void* pmap, uint64_t* cpus) noexcept nogil:
    return td.machine.ops.cpus_using(td, pmap, cpus)


# --- what costs time

# Work of n units costs time on this CPU, more when its sibling is busy.
cdef inline void charge(thread* td, ps_t cost, int64_t n) noexcept nogil:
    if likely(td.simulated):
        sim_charge(td, cost, n)


# The thread has waited until t (its clock's; no time passes when that is over): memory time.
cdef inline void wait_until(thread* td, ps_t t) noexcept nogil:
    if likely(td.simulated):
        sim_wait_until(td, t)


# Work that passes so many lines through this CPU's caches, of pages that nobody else touches line by line: user pages
# zeroed or copied.
cdef inline void charge_lines(thread* td, ps_t cost, int64_t lines) noexcept nogil:
    if likely(td.simulated):
        sim_charge_lines(td, cost, lines)


# A page of the kernel's own, in the direct map, has been zeroed.
cdef inline void charge_zeroed(thread* td, const void* page) noexcept nogil:
    if likely(td.simulated):
        sim_charge_zeroed(td, page)


# A data line that other CPUs write is read, or written, under a lock or without one.
cdef inline void touch_read(thread* td, const void* address) noexcept nogil:
    if likely(td.simulated):
        sim_touch(td, address, False)


cdef inline void touch_write(thread* td, const void* address) noexcept nogil:
    if likely(td.simulated):
        sim_touch(td, address, True)


# Where the cache line of the thread's last access came from: LINE_HIT where nobody knows.
cdef inline uint8_t last_line(thread* td) noexcept nogil:
    return sim_last_line(td) if likely(td.simulated) else LINE_HIT


# --- atomic operations on lock words

# Let threads whose clocks are behind go first; then nobody can act before this thread's clock.
cdef inline void sched_point(thread* td) noexcept nogil:
    if likely(td.simulated):
        sim_sched_point(td)


cdef inline uint64_t atomic_load(thread* td, uint64_t* word) noexcept nogil:
    if likely(td.simulated):
        sim_atomic_access(td, word, False)
    return atomic_load_acq(word)


cdef inline void atomic_store(thread* td, uint64_t* word, uint64_t value) noexcept nogil:
    if likely(td.simulated):
        sim_atomic_access(td, word, True)
    atomic_store_rel(word, value)


cdef inline bint atomic_cas(thread* td, uint64_t* word, uint64_t expected, uint64_t value) noexcept nogil:
    if likely(td.simulated):
        sim_atomic_access(td, word, True)
    return atomic_cas_acq(word, expected, value)


cdef inline uint64_t atomic_fetchadd(thread* td, uint64_t* word, uint64_t value) noexcept nogil:
    if likely(td.simulated):
        sim_atomic_access(td, word, True)
    return atomic_fetchadd_raw(word, value)


cdef inline uint64_t atomic_fetchor(thread* td, uint64_t* word, uint64_t bits) noexcept nogil:
    if likely(td.simulated):
        sim_atomic_access(td, word, True)
    return atomic_fetchor_raw(word, bits)


# --- staying put

# Between enter and exit the thread is not preempted, does not block and passes no scheduling point: what it does to the
# state of its CPU, other threads of that CPU see whole or not at all.  Sections nest.  Stands for FreeBSD
# critical_enter() and critical_exit().
cdef inline void critical_enter(thread* td) noexcept nogil:
    td.critical += 1
    if unlikely(not td.simulated):
        td.machine.ops.critical_enter(td)


cdef inline void critical_exit(thread* td) noexcept nogil:
    if unlikely(not td.simulated):
        td.machine.ops.critical_exit(td)
    td.critical -= 1


# Between enter and exit the thread takes no interrupt, and so is not preempted, but may pass scheduling points: others
# spin for what it holds.  Nests.  Stands for FreeBSD spinlock_enter() and spinlock_exit().
cdef inline void spinlock_enter(thread* td) noexcept nogil:
    td.spinlocks += 1


cdef inline void spinlock_exit(thread* td) noexcept nogil:
    td.spinlocks -= 1


# Between pin and unpin the thread is not preempted, though it is interrupted and may pass scheduling points: others
# spin until it has done.  Nests.  Stands for FreeBSD critical_enter() and critical_exit() where others wait for what is
# inside.
cdef inline void pin(thread* td) noexcept nogil:
    td.pinned += 1


cdef inline void unpin(thread* td) noexcept nogil:
    td.pinned -= 1


# A spin lock around bookkeeping that the kernel under study does not have (profiles, lists for audits) or has behind
# locks that we do not model (turnstiles).  Nothing may wait inside.  In the simulation fibers switch at scheduling
# points only, of which there is none inside, so it is a critical section and costs no time.
cdef inline void raw_lock(thread* td, uint64_t* word) noexcept nogil:
    td.critical += 1
    if unlikely(not td.simulated):
        while not raw_spin_try(word):
            td.machine.ops.relax(td)


cdef inline void raw_unlock(thread* td, uint64_t* word) noexcept nogil:
    if unlikely(not td.simulated):
        raw_spin_unlock(word)
    td.critical -= 1


# --- waiting

# Busy-wait, with lock_delay's back-off, until a look at the word finds another value than `seen`, `owner` (when
# given) off its CPU, or max_pauses (when not 0) spent.
cdef inline void spin_until_changed(thread* td, uint64_t* word, uint64_t seen, thread* owner,
                                    lock_delay_arg* delay, int64_t max_pauses) noexcept nogil:
    td.machine.ops.spin_until_changed(td, word, seen, owner, delay, max_pauses)


# After a store that busy-waiting threads may be looking for.
cdef inline void word_changed(thread* td, uint64_t* word) noexcept nogil:
    if likely(td.simulated):
        sim_word_changed(td, word)


# Off the CPU until unpark(); an unpark that came first counts.  May return for an old one: look again at what is waited
# for.
cdef inline void park(thread* td) noexcept nogil:
    td.machine.ops.park(td)


cdef inline void unpark(thread* td, thread* other) noexcept nogil:
    td.machine.ops.unpark(td, other)


# td is about to leave its CPU: locks that it holds and that do not name it get to know who has them.  Whoever takes a
# thread off its CPU calls this first, as the thread and where it may take a spin lock: the lock layer before it parks;
# the machine before it preempts, ends a slice, or puts to sleep.  May pass scheduling points, on which the thread is
# not preempted; whether it still has to leave is asked again afterwards.
cdef inline void leaving(thread* td) noexcept nogil:
    cdef int i
    for i in range(MAX_ANONYMOUS):
        if unlikely(td.anonymous[i] != NULL):
            td.machine.leaving(td)
            return


# The record of a thread that has ended stays one, so an owner's may be looked at in good faith.
cdef inline bint running(thread* other) noexcept nogil:
    cdef uint8_t state = atomic_load8(&other.state)
    return TD_RUNNING <= state <= TD_STALLED


# Off its CPU until somebody unparks it, or until a time.
cdef inline bint blocked(thread* other) noexcept nogil:
    return atomic_load8(&other.state) == TD_BLOCKED


cdef inline bint sleeping(thread* other) noexcept nogil:
    return atomic_load8(&other.state) == TD_SLEEPING


# User time of this length, as measured with an idle sibling.
cdef inline void user(thread* td, ps_t duration) noexcept nogil:
    td.machine.ops.user(td, duration)


cdef inline void sleep_for(thread* td, ps_t duration) noexcept nogil:
    td.machine.ops.sleep_for(td, duration)


# Is the run to stop?  User time and sleeps pass at once from then on.
cdef inline bint stopping(machine* m) noexcept nogil:
    return atomic_load_int(&m.stopping) != 0


# Make the CPUs of the set (MAX_CPUS bits) forget `pages` translations (0: all); returns when all have.
cdef inline void shootdown(thread* td, const uint64_t* cpus, int64_t pages) noexcept nogil:
    td.machine.ops.shootdown(td, cpus, pages)


# --- threads and memory

# A new thread that will run start(thread, argument); td is its creator.
cdef inline thread* spawn(thread* td, void (*start)(thread*, void*) noexcept nogil, void* argument,
                          void* proc) noexcept nogil:
    return td.machine.ops.spawn(td, td.machine, start, argument, proc)


cdef inline void set_priority(thread* other, uint8_t priority) noexcept nogil:
    other.machine.ops.set_priority(other, priority)


# td is about to end; the time that it ran counts against the other thread (its parent's), as if that had run itself.
# Stands for FreeBSD sched_exit().
cdef inline void leave_run_time(thread* td, thread* heir) noexcept nogil:
    td.machine.ops.leave_run_time(td, heir)


# Stop the run with this reason and the state of every thread.  Does not return.
cdef inline void panic(thread* td, const char* why) noexcept nogil:
    td.machine.ops.panic(td, why)


# A lock, with what lies beside it in one struct, may share its cache lines with others: from now on transfers of the
# line that only others are the cause of are counted as such (word_transfers).
cdef inline void line_neighbours(machine* m, const void* address, uint64_t size) noexcept nogil:
    if m.ops.neighbours != NULL:
        m.ops.neighbours(m, address, size)


# Zeroed kernel memory, aligned to its size rounded up to a power of two (a page at most).
cdef inline void* arena_alloc(machine* m, uint64_t size) noexcept nogil:
    return m.ops.arena_alloc(m, size)


cdef inline void arena_free(machine* m, void* memory, uint64_t size) noexcept nogil:
    m.ops.arena_free(m, memory, size)
