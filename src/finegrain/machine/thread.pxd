# What kernel code may know of the thread that runs it and of its machine.
#
# The part of a thread that is the kernel's business is here; what a machine keeps for itself (clock, CPU, stack, queue
# links) lies behind it, in a struct of the machine's own that begins with this one.  The same holds for the machine.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

ctypedef int64_t ps_t                   # simulated time: picoseconds; 2**63 of them are 106 days

cdef enum:
    MAX_HELD = 44                       # locks that one thread may hold at once
    MAX_ANONYMOUS = 4                   # of those, locks whose words do not name it
    WAIT_CHAINS = 4096
    MAX_CPUS = 1024
    CPU_WORDS = 16                      # words of a set of CPUs

cdef struct thread
cdef struct machine

cdef enum thread_state:
    TD_STARTING = 0                     # has been given a CPU; waking up or being switched to
    TD_RUNNING                          # on a CPU
    TD_SPINNING                         # on a CPU, busy waiting on a word
    TD_STALLED                          # on a CPU, waiting for a cache line
    TD_RUNNABLE                         # waiting for a CPU
    TD_BLOCKED                          # off the CPU until unpark
    TD_SLEEPING                         # off the CPU until a time
    TD_DEAD

# Where the cache line of an access came from.
cdef enum:
    LINE_HIT = 0
    LINE_SIBLING
    LINE_SOCKET
    LINE_CROSS
    LINE_MEMORY
    LINE_KINDS

cdef enum:
    TRANSFER_WORDS = 4                  # words whose transfers a thread tells apart

# What things cost, in picoseconds.  Values and their sources: finegrain.machine.costs.
cdef struct cost_model:
    ps_t op                             # one simple instruction group
    ps_t l1_hit
    ps_t l2_hit
    ps_t llc_hit
    ps_t dram_local                     # from memory of the own socket, of another (0: as the own)
    ps_t dram_remote
    ps_t xfer_smt                       # a modified line from the sibling, the socket, the other socket
    ps_t xfer_socket
    ps_t xfer_cross
    ps_t share_socket                   # a clean line from a cache in the socket, the other socket
    ps_t share_cross
    ps_t rmw_hit                        # an atomic read-modify-write on a line held here
    int64_t line_local_first            # so often is who waits longest for a line passed over for its socket
    # What caches hold, in lines (0: everything, for ever): a core's L1, its L2, its part of the socket's LLC
    int64_t l1_lines
    int64_t l2_lines
    int64_t llc_lines
    # What user code brings into each from further out: thousandths of a line a microsecond
    int64_t user_l1_fills
    int64_t user_l2_fills
    int64_t user_llc_fills
    ps_t pause
    ps_t probe                          # what the lock profile takes for a pair of lock and unlock; 0: it takes nothing
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
    ps_t tick                           # the clock interrupt's handler; 0: there is none
    ps_t tick_period
    ps_t idle_exit                      # before an idle CPU handles an interrupt
    int64_t run_queues                  # 1: each CPU has its own; 0: one for all
    int64_t preemption                  # 1: ULE's priorities and preemption; 0: a thread keeps its CPU in the kernel
    int64_t adjacent_line               # 1: a line comes with the other one of its aligned pair
    int64_t serial_shootdowns           # 1: one shootdown at a time on the machine
    # The speed of a CPU whose sibling is busy is numerator/denominator of an idle sibling's.
    int64_t smt_kernel_num
    int64_t smt_kernel_den
    int64_t smt_user_num
    int64_t smt_user_den

# A lock's identity, which is no part of its word: what waiters and turnstiles are found by, and what a profile counts
# under.  The lock layer fills it in (kernel/locks/profile.pxd).
cdef struct lock_id:
    const void* address
    uint16_t name                       # index in the table of lock names (class and name)
    uint8_t kind                        # how its owner is read
    uint8_t flags
    uint32_t instance                   # PV list locks: number of the lock

# Where a word's cache line was not at hand when an atomic operation needed it: what getting it has cost the thread
# since the lock layer last looked.
cdef struct word_transfers:
    const void* word                    # NULL: this entry and those after it are unused
    ps_t time                           # waiting for one's turn on the line included
    ps_t neighbour_time                 # the part of those that a neighbour in the line was the cause of
    uint32_t count
    uint32_t neighbours

# Threads that wait for locks whose addresses hash alike, youngest first.  Waiters are found by address, as turnstiles
# are.
cdef struct wait_chain:
    uint64_t lock                       # raw
    thread* first

# A lock that a thread holds: what the profile needs when it is released.
cdef struct held_lock:
    lock_id lock
    ps_t since
    uint32_t superpage                  # PV list locks: the superpage worked on
    uint16_t site                       # the acquisition point
    uint8_t shared

# lock_delay's state: the back-off of one wait.
cdef struct lock_delay_arg:
    int64_t delay                       # pauses of the last round
    int64_t spin_cnt                    # pauses so far
    int64_t max                         # a round's most pauses

# Keys: c constant; s the thread itself; m the machine; l the lock layer; t turnstiles; w the lock layer, under the
# waiters' raw lock; y the kernel layer named
cdef struct thread:
    word_transfers transfers[TRANSFER_WORDS]    # s, m
    held_lock held[MAX_HELD]            # s
    # the lock layer, off the CPU
    void* blocked_on                    # t: turnstile or sleep queue channel it is queued on
    thread* queue_next                  # t: turnstile or sleep queue links
    thread* queue_prev                  # t
    void* contested                     # t: turnstiles of locks that it owns (list)
    # the kernel above
    void* proc                          # c: struct proc*
    void* pmap                          # y pmap: the struct pmap that it uses (pmap_activate), or NULL
    uint64_t invl                       # y pmap: its delayed-invalidation record (di); 0: not in a DI block
    thread* all_next                    # m: every thread
    thread* all_prev                    # m
    uint16_t read_held[4]               # s: rw, sx and lockmgr locks held for reading
    uint64_t* anonymous[MAX_ANONYMOUS]  # s: the words of locks that it holds and that do not name it; NULL: none
    const void* released_word           # l: the lock word that it gave up last, and where that is counted
    void* released_record
    # One cache line: what those look at who charge the waits of others.
    lock_id wanted                      # s, w: the lock it waits for; address NULL: none
    thread* wait_next                   # w: waiters of the same chain
    thread* wait_prev                   # w
    ps_t wait_since                     # s: when the wait began
    ps_t wait_charged                   # w: up to when the wait is charged to holders
    ps_t blocked                        # s: how much of the wait was off the CPU
    uint32_t superpage                  # s: the superpage whose PV list lock is wanted or worked on
    uint16_t wanted_site                # s
    uint8_t wanted_shared               # s
    uint8_t blocked_queue               # t: exclusive or shared
    # One cache line, with what the machine keeps first: what every lock operation looks at.
    void* profile                       # c: where its locks are counted
    machine* machine                    # c
    uint16_t nheld                      # s
    uint8_t pinned                      # s: what it does must not be left half done: interrupted, but not preempted
    uint8_t asleep                      # s: blocked on a sleep queue, not on a turnstile
    uint16_t critical                   # s: critical sections open (td_critnest)
    uint16_t spinlocks                  # s: spin mutexes held: no interrupts meanwhile (md_spinlock_count)
    uint32_t id                         # c: counts from 1, in order of creation
    uint8_t state                       # m: thread_state
    uint8_t priority                    # m: smaller runs first, lent priority included; changed by set_priority()
    uint8_t base_priority               # m: without loans
    uint8_t simulated                   # c: the machine is a simulation

cdef struct machine_ops:
    # time and place
    ps_t (*now)(thread* td) noexcept nogil
    uint32_t (*cpu_id)(thread* td) noexcept nogil
    uint32_t (*domain)(thread* td) noexcept nogil
    bint (*cpus_using)(thread* td, const void* pmap, uint64_t* cpus) noexcept nogil
    # critical sections
    void (*critical_enter)(thread* td) noexcept nogil
    void (*critical_exit)(thread* td) noexcept nogil
    # waiting
    void (*relax)(thread* td) noexcept nogil    # once round a raw lock's loop; the simulation never waits for one
    void (*spin_until_changed)(thread* td, uint64_t* word, uint64_t seen, thread* owner, lock_delay_arg* delay,
                               int64_t max_pauses) noexcept nogil
    void (*park)(thread* td) noexcept nogil
    void (*unpark)(thread* td, thread* other) noexcept nogil
    void (*user)(thread* td, ps_t duration) noexcept nogil
    void (*sleep_for)(thread* td, ps_t duration) noexcept nogil
    void (*shootdown)(thread* td, const uint64_t* cpus, int64_t pages) noexcept nogil
    # threads and memory
    thread* (*spawn)(thread* td, machine* m, void (*start)(thread*, void*) noexcept nogil, void* argument,
                     void* proc) noexcept nogil
    void (*set_priority)(thread* other, uint8_t priority) noexcept nogil
    void (*leave_run_time)(thread* td, thread* heir) noexcept nogil
    void (*panic)(thread* td, const char* why) noexcept nogil
    void* (*arena_alloc)(machine* m, uint64_t size) noexcept nogil
    void (*arena_free)(machine* m, void* memory, uint64_t size) noexcept nogil
    void (*neighbours)(machine* m, const void* address, uint64_t size) noexcept nogil   # NULL: nobody counts them

cdef struct machine:
    machine_ops ops                     # c
    cost_model cost                     # c: for charge()
    char* arena                         # c: its start; offsets count from here
    uint64_t arena_size                 # c
    char* dmap                          # c: the direct map: physical address pa is at dmap + pa
    uint64_t dmap_size                  # c
    uint32_t ncpus                      # c
    uint32_t ndomains                   # c: memory domains, one a socket
    uint64_t seed                       # c
    thread* threads                     # every thread that lives, youngest first
    int stopping                        # set once the run is to stop; threads see it in user() and sleep_for()
    # the kernel's state, by module; opaque here
    wait_chain waiters[WAIT_CHAINS]
    void* profile
    void* turnstiles
    int64_t delay_max                   # lock_delay: the most pauses of one round
    void* phys
    void* pvlock
    void* pv
    void* pmap
    void* vm
    void* vfs
    void* proc
    # set by the lock layer: for each new thread before it starts; for one that holds anonymous locks, before it leaves
    # its CPU (leaving() in the seam); what a thread wants and holds, as text, for panic
    void (*attach)(thread* td) noexcept nogil
    void (*leaving)(thread* td) noexcept nogil
    int (*describe)(thread* td, char* text, size_t size) noexcept nogil
