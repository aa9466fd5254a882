# The seam: everything that kernel code may ask of the machine it runs on.
#
# Kernel code is plain nogil Cython on C structs and takes the current thread first.  It cimports this file and
# nothing else of machine/.  Which machine answers is data: `td.machine.ops`.
#
#   now             the thread's clock
#   charge          work costs time
#   touch_read, touch_write
#                   a data line that other CPUs write is read or written
#   atomic_*        a lock word is read or written: a point where other threads may run first
#   spin_until_changed, word_changed
#                   busy waiting on a word, and the store that ends it
#   park, unpark    off the CPU, and back
#   running         is that thread on a CPU now
#   shootdown       make other CPUs forget translations
#   user            user time passes; may be preempted
#   sleep_for       off the CPU for a time that no other thread ends
#   spawn           a new thread
#   set_priority    a thread's priority changes, and its place among those that wait for a CPU
#   panic           stop the run, with the state of every thread
#   arena_alloc, arena_free
#                   kernel memory, all from one arena; an "address" in any decision or result is its offset there

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t

ctypedef int64_t ps_t                   # simulated time: picoseconds; 2**63 of them are 106 days

cdef enum:
    MAX_HELD = 48                       # locks that one thread may hold at once
    MAX_CPUS = 1024
    CPU_WORDS = 16                      # words of a set of CPUs
    LINE_SHIFT = 6                      # a 64-byte cache line
    NO_CPU = 0xffff

cdef struct thread
cdef struct machine

cdef enum thread_state:
    TD_STARTING = 0                     # has been given a CPU; waking up or being switched to
    TD_RUNNING                          # on a CPU
    TD_SPINNING                         # on a CPU, busy waiting on a word
    TD_RUNNABLE                         # waiting for a CPU
    TD_BLOCKED                          # off the CPU until unpark
    TD_SLEEPING                         # off the CPU until a time
    TD_DEAD

# What things cost, in picoseconds.  Values and their sources: finegrain.machine.costs.
cdef struct cost_model:
    ps_t op                             # one simple instruction group
    ps_t l1_hit
    ps_t llc_hit
    ps_t dram_local                     # a line that nobody has touched yet
    ps_t xfer_smt                       # a modified line from the sibling, the socket, the other socket
    ps_t xfer_socket
    ps_t xfer_cross
    ps_t share_socket                   # a clean line from a cache in the socket, the other socket
    ps_t share_cross
    ps_t rmw_hit                        # an atomic read-modify-write on a line held here
    ps_t pause
    ps_t syscall
    ps_t fault                          # exception entry and return
    ps_t invlpg
    ps_t cr3_write                      # a full local TLB flush, refill included
    ps_t ipi_send
    ps_t ipi_flight
    ps_t ipi_handler
    ps_t ipi_per_target
    ps_t ctx_switch
    ps_t wakeup                         # from unpark to running, on an idle CPU
    ps_t zero_4k
    ps_t copy_4k
    ps_t time_slice                     # the longest that a thread runs while others wait for a CPU
    # The speed of a CPU whose sibling is busy is numerator/denominator of an idle sibling's.
    int64_t smt_kernel_num
    int64_t smt_kernel_den
    int64_t smt_user_num
    int64_t smt_user_den

# A cache line that matters, as the coherence protocol sees it.  One for each 64 bytes of the arena.
cdef struct line:
    ps_t busy_until                     # when its last transfer ends: atomic operations on a line are served in turn
    uint16_t owner                      # CPU that wrote it last, plus 1; 0: nobody yet
    uint16_t reader                     # CPU that read it last, plus 1
    uint16_t sharers                    # sockets that hold a clean copy since the last write, as bits
    uint16_t spinners                   # threads that busy-wait on a word in it

# Where the time of a CPU went.  # invariant: the fields sum to the span of the run (identity 4)
cdef struct cpu_times:
    ps_t user
    ps_t kernel
    ps_t memory                         # waiting for cache lines
    ps_t spin
    ps_t idle
    ps_t switching
    ps_t interrupt

# Where a line came from.
cdef enum:
    LINE_HIT = 0
    LINE_SIBLING
    LINE_SOCKET
    LINE_CROSS
    LINE_MEMORY
    LINE_KINDS

cdef struct cpu:
    uint16_t id
    uint16_t core
    uint16_t socket                     # also the number of its memory domain
    uint16_t sibling                    # NO_CPU: none
    uint8_t busy                        # runs a thread (spinning counts)
    uint8_t sibling_busy                # # invariant: equals busy of the sibling
    thread* current
    ps_t slice_end
    ps_t idle_since
    ps_t stolen                         # interrupt time that its thread has yet to pay
    cpu_times times
    int64_t lines[LINE_KINDS]           # identity 5: accesses by where the line came from
    uint8_t last_line                   # where the line of the last access came from

# A lock that a thread holds: what the profile needs when it is released.
cdef struct held_lock:
    void* lock                          # lock_object*
    ps_t since
    uint32_t superpage                  # PV list locks: the superpage worked on
    uint16_t site                       # the acquisition point
    uint8_t shared

# lock_delay's state: the back-off of one wait.
cdef struct lock_delay_arg:
    int64_t delay                       # pauses of the last round
    int64_t spin_cnt                    # pauses so far
    int64_t max                         # a round's most pauses

cdef struct thread:
    # c: constant; s: the thread itself; m: the machine; l: the lock layer
    machine* machine                    # c
    cpu* cpu                            # m: where it runs; kept while off the CPU as the CPU it ran on last
    ps_t clock                          # s: its simulated time
    uint32_t id                         # c: counts from 1, in order of creation
    uint8_t state                       # m: thread_state
    uint8_t permit                      # m: an unpark came before its park
    uint8_t priority                    # l: smaller runs first, lent priority included
    uint8_t base_priority               # c
    # the lock layer
    uint32_t nheld                      # s
    held_lock held[MAX_HELD]            # s
    uint32_t superpage                  # s: the superpage whose PV list lock is wanted or worked on
    uint32_t read_held[2]               # s: rw and sx locks held for reading
    void* wanted                        # l: lock_object* it waits for
    uint16_t wanted_site                # l
    uint8_t wanted_shared               # l
    ps_t wait_since                     # l: when the wait began
    ps_t wait_charged                   # l: up to when the wait is charged to holders
    ps_t blocked                        # l: how much of the wait was off the CPU
    thread* wait_next                   # l: waiters of the same lock
    thread* wait_prev
    void* turnstile                     # l: the one it owns and may lend
    void* blocked_on                    # l: turnstile or sleep queue channel it is queued on
    uint8_t blocked_queue               # l: exclusive or shared
    thread* queue_next                  # l: turnstile or sleep queue links
    thread* queue_prev
    void* contested                     # l: turnstiles of locks that it owns (list)
    # the kernel above
    void* proc                          # struct proc*
    void* pmap                          # s: the struct pmap that it uses (pmap_activate), or NULL
    uint64_t invl                       # s: its delayed-invalidation record (pmap_di); 0: not in a DI block
    # private to the machine
    void (*start)(thread* td, void* argument) noexcept nogil
    void* argument
    void* stack                         # fiber stack
    void* context                       # saved stack pointer
    uint64_t* spin_word                 # the word it busy-waits on
    uint64_t spin_seen
    thread* spin_owner
    ps_t spin_from                      # when the current round of pauses began
    lock_delay_arg* spin_delay
    ps_t spin_limit                     # when a bounded spin gives up; 0: never
    uint8_t spin_scheduled              # its next look at the word is a pending event
    thread* spin_next                   # threads that spin on words of one hash bucket
    thread* spin_prev
    thread* owner_next                  # threads that spin because spin_owner runs
    thread* owner_prev
    thread* spun_by                     # head of that list, for this thread as owner
    thread* run_next                    # run queue
    thread* run_prev
    thread* all_next                    # every thread
    thread* all_prev
    uint64_t event                      # number of its pending event; others of its are stale

cdef struct machine_ops:
    void (*reschedule)(thread* td) noexcept nogil
    void (*spin_until_changed)(thread* td, uint64_t* word, uint64_t seen, thread* owner, lock_delay_arg* delay,
                               int64_t max_pauses) noexcept nogil
    void (*word_changed)(thread* td, uint64_t* word) noexcept nogil
    void (*park)(thread* td) noexcept nogil
    void (*unpark)(thread* td, thread* other) noexcept nogil
    void (*shootdown)(thread* td, const uint64_t* cpus, int64_t pages) noexcept nogil
    void (*user)(thread* td, ps_t duration) noexcept nogil
    void (*sleep_for)(thread* td, ps_t duration) noexcept nogil
    thread* (*spawn)(thread* td, machine* m, void (*start)(thread*, void*) noexcept nogil, void* argument,
                     void* proc) noexcept nogil
    void (*set_priority)(thread* other, uint8_t priority) noexcept nogil
    void (*panic)(thread* td, const char* why) noexcept nogil
    void* (*arena_alloc)(machine* m, uint64_t size) noexcept nogil
    void (*arena_free)(machine* m, void* memory, uint64_t size) noexcept nogil

cdef struct machine:
    machine_ops ops
    cost_model cost
    ps_t next_event                     # earliest pending event; a thread ahead of it must let others go first
    # the arena
    char* arena                         # its start; offsets count from here
    uint64_t arena_size
    char* dmap                          # the direct map: physical address pa is at dmap + pa
    uint64_t dmap_size
    line* lines                         # a line for each 64 bytes of the arena
    thread* threads                     # every thread that lives, youngest first
    # shape
    uint32_t ncpus
    uint32_t nsockets                   # as many memory domains
    uint32_t cores_per_socket
    uint32_t threads_per_core
    cpu* cpus
    uint64_t seed
    # the kernel's state, by module; opaque here
    void* profile
    void* turnstiles
    int64_t delay_max                   # lock_delay: the most pauses of one round
    void* phys
    void* pvlock
    void* pv
    void* pmap
    void* vm
    void* proc
    # what a thread wants and holds, as text, for panic; set by the lock layer
    int (*describe)(thread* td, char* text, size_t size) noexcept nogil
    # set once the run is to stop; threads see it in user() and sleep_for()
    int stopping

cdef extern from "atomics.h" nogil:
    uint64_t atomic_load_acq(uint64_t* word)
    void atomic_store_rel(uint64_t* word, uint64_t value)
    bint atomic_cas_acq(uint64_t* word, uint64_t expected, uint64_t value)
    uint64_t atomic_fetchadd_raw(uint64_t* word, uint64_t value)
    uint64_t atomic_swap_raw(uint64_t* word, uint64_t value)
    bint likely "finegrain_likely"(bint condition)
    bint unlikely "finegrain_unlikely"(bint condition)


# Offset of a kernel address in the arena: the only form in which an address may enter a decision or a result.
cdef inline uint64_t arena_offset(machine* m, const void* address) noexcept nogil:
    return <uint64_t>(<const char*>address - <const char*>m.arena)


cdef inline ps_t now(thread* td) noexcept nogil:
    return td.clock


# Work of n units costs time on this CPU, more when its sibling is busy.
cdef inline void charge(thread* td, ps_t cost, int64_t n) noexcept nogil:
    cdef ps_t t = cost * n
    cdef cpu* c = td.cpu
    if c.sibling_busy:
        t = t * td.machine.cost.smt_kernel_den // td.machine.cost.smt_kernel_num
    td.clock += t
    c.times.kernel += t


cdef inline void charge_memory(thread* td, ps_t t) noexcept nogil:
    td.clock += t
    td.cpu.times.memory += t


# What reading (or, with write, owning) the line costs this CPU; the line remembers.
cdef inline ps_t line_cost(thread* td, line* at, bint write) noexcept nogil:
    cdef cpu* c = td.cpu
    cdef cost_model* cost = &td.machine.cost
    cdef uint16_t me = c.id + 1
    cdef uint16_t bit = <uint16_t>(1 << (c.socket & 15))
    cdef cpu* from_cpu
    cdef ps_t t
    cdef uint8_t kind
    if (at.owner == me and (at.sharers == 0 or not write)) or (not write and at.reader == me and at.sharers & bit):
        c.lines[LINE_HIT] += 1
        c.last_line = LINE_HIT
        return cost.l1_hit
    if at.owner == 0:
        kind = LINE_MEMORY
        t = cost.dram_local
    elif not write and at.sharers & bit:
        kind = LINE_SOCKET
        t = cost.llc_hit
    elif at.owner == me:                                 # own line, but clean copies must be invalidated
        kind = LINE_CROSS if at.sharers & ~bit else LINE_SOCKET
        t = cost.xfer_cross if kind == LINE_CROSS else cost.xfer_socket
    else:
        from_cpu = &td.machine.cpus[at.owner - 1]
        if from_cpu.socket != c.socket or (write and at.sharers & ~bit):
            kind = LINE_CROSS
            t = cost.xfer_cross if write or at.sharers == 0 else cost.share_cross
        elif from_cpu.core == c.core:
            kind = LINE_SIBLING
            t = cost.xfer_smt
        else:
            kind = LINE_SOCKET
            t = cost.xfer_socket if write or at.sharers == 0 else cost.share_socket
    c.lines[kind] += 1
    c.last_line = kind
    if write:
        at.owner = me
        at.reader = 0
        at.sharers = 0
    elif at.owner == 0:
        at.owner = me                    # the only copy: writing it next is a hit
    else:
        at.reader = me
        at.sharers |= bit
    return t


cdef inline line* line_of(machine* m, const void* address) noexcept nogil:
    return &m.lines[(<const char*>address - <const char*>m.arena) >> LINE_SHIFT]


# A data line that other CPUs write is read, or written, under a lock or without one.
cdef inline void touch_read(thread* td, const void* address) noexcept nogil:
    charge_memory(td, line_cost(td, line_of(td.machine, address), False))


cdef inline void touch_write(thread* td, const void* address) noexcept nogil:
    charge_memory(td, line_cost(td, line_of(td.machine, address), True))


# Let threads whose clocks are behind go first; then nobody can act before this thread's clock.
cdef inline void sched_point(thread* td) noexcept nogil:
    if td.clock >= td.machine.next_event:
        td.machine.ops.reschedule(td)


# Wait for one's turn on a line that an atomic operation needs, and pay for it.
cdef inline void atomic_access(thread* td, const void* word, bint write) noexcept nogil:
    cdef line* at
    cdef ps_t t
    sched_point(td)
    at = line_of(td.machine, word)
    if at.busy_until > td.clock:
        charge_memory(td, at.busy_until - td.clock)
    t = line_cost(td, at, write)
    if write:
        t += td.machine.cost.rmw_hit
        charge_memory(td, t)
        at.busy_until = td.clock
    else:
        charge_memory(td, t)


cdef inline uint64_t atomic_load(thread* td, uint64_t* word) noexcept nogil:
    atomic_access(td, word, False)
    return atomic_load_acq(word)


cdef inline void atomic_store(thread* td, uint64_t* word, uint64_t value) noexcept nogil:
    atomic_access(td, word, True)
    atomic_store_rel(word, value)


cdef inline bint atomic_cas(thread* td, uint64_t* word, uint64_t expected, uint64_t value) noexcept nogil:
    atomic_access(td, word, True)
    return atomic_cas_acq(word, expected, value)


cdef inline uint64_t atomic_fetchadd(thread* td, uint64_t* word, uint64_t value) noexcept nogil:
    atomic_access(td, word, True)
    return atomic_fetchadd_raw(word, value)


# Busy-wait, with lock_delay's back-off, until a look at the word finds another value than `seen`, `owner` (when
# given) off its CPU, or max_pauses (when not 0) spent.
cdef inline void spin_until_changed(thread* td, uint64_t* word, uint64_t seen, thread* owner,
                                    lock_delay_arg* delay, int64_t max_pauses) noexcept nogil:
    td.machine.ops.spin_until_changed(td, word, seen, owner, delay, max_pauses)


# After a store that busy-waiting threads may be looking for.
cdef inline void word_changed(thread* td, uint64_t* word) noexcept nogil:
    if unlikely(line_of(td.machine, word).spinners != 0):
        td.machine.ops.word_changed(td, word)


# Off the CPU until unpark(); an unpark that came first counts.  May return for an old one: look again at what is waited
# for.
cdef inline void park(thread* td) noexcept nogil:
    td.machine.ops.park(td)


cdef inline void unpark(thread* td, thread* other) noexcept nogil:
    td.machine.ops.unpark(td, other)


cdef inline bint running(thread* other) noexcept nogil:
    return other.state == TD_RUNNING or other.state == TD_SPINNING


# Make the CPUs of the set (MAX_CPUS bits) forget `pages` translations (0: all); returns when all have.
cdef inline void shootdown(thread* td, const uint64_t* cpus, int64_t pages) noexcept nogil:
    td.machine.ops.shootdown(td, cpus, pages)


# User time of this length, as measured with an idle sibling.
cdef inline void user(thread* td, ps_t duration) noexcept nogil:
    td.machine.ops.user(td, duration)


cdef inline void sleep_for(thread* td, ps_t duration) noexcept nogil:
    td.machine.ops.sleep_for(td, duration)


# A new thread that will run start(thread, argument); td is its creator.
cdef inline thread* spawn(thread* td, void (*start)(thread*, void*) noexcept nogil, void* argument,
                          void* proc) noexcept nogil:
    return td.machine.ops.spawn(td, td.machine, start, argument, proc)


cdef inline void set_priority(thread* other, uint8_t priority) noexcept nogil:
    other.machine.ops.set_priority(other, priority)


# Stop the run with this reason and the state of every thread.  Does not return.
cdef inline void panic(thread* td, const char* why) noexcept nogil:
    td.machine.ops.panic(td, why)


# Zeroed kernel memory, aligned to its size rounded up to a power of two (a page at most).
cdef inline void* arena_alloc(machine* m, uint64_t size) noexcept nogil:
    return m.ops.arena_alloc(m, size)


cdef inline void arena_free(machine* m, void* memory, uint64_t size) noexcept nogil:
    m.ops.arena_free(m, memory, size)
