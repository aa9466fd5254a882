# The structs of the simulated machine.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from finegrain.machine.arena cimport arena
from finegrain.machine.thread cimport CPU_WORDS, LINE_KINDS, lock_delay_arg, machine, ps_t, thread

cdef enum:
    LINE_SHIFT = 6                      # a 64-byte cache line
    LINE_WORDS = 8
    MANY_CPUS = 0xffff
    NO_CPU = 0xffff
    SPIN_BUCKETS = 1024
    STALL_BUCKETS = 256
    PANIC_TEXT = 32768
    AGE_SHIFT = 20                      # a line's last use is known to 2**20 ps, a microsecond
    AGE_BITS = 26                       # modulo 70 seconds: what is older may be taken for new, once in thousands
    AGE_AHEAD = 1 << 12                 # a thread's clock is ahead of another's by 4 ms at most
    CACHE_MARKS = 16

cdef enum stop_reason:
    STOP_UNTIL = 0                      # the time asked for has come
    STOP_EMPTY                          # no event is pending
    STOP_BREATHE                        # real time passed: let Python look at signals
    STOP_PANIC

# A cache line that matters, as the coherence protocol sees it.  One for each 64 bytes of the arena, so in 16 bytes.
#   owner       CPU that wrote it last, plus 1; 0: nobody yet
#   shared      locks of several owners may lie in it: line_parts tells whose accesses are whose
#   busy_until  when its last transfer ends: atomic operations on a line are served in turn.  Good for 2**51 ps, 37
#               minutes; later a line is never busy
#   sharers     sockets that hold a clean copy since the last write, as bits
#   reader      CPU that read it last, plus 1
#   spinners    threads that busy-wait on a word in it
#   used        when it was last used, by whomever, in units of 2**AGE_SHIFT ps, modulo 2**AGE_BITS
cdef extern from *:
    """
    typedef struct {
        uint64_t owner : 11;
        uint64_t shared : 1;
        int64_t busy_until : 52;
        uint64_t sharers : 16;
        uint64_t reader : 11;
        uint64_t spinners : 11;
        uint64_t used : 26;
    } finegrain_line;
    """
    ctypedef struct line "finegrain_line":
        uint16_t owner
        bint shared
        ps_t busy_until
        uint16_t sharers
        uint16_t reader
        uint16_t spinners
        uint64_t used

# What lies in a line that several locks may share, by word: which part of the line the word belongs to (numbered by its
# first word), and which CPU alone has used the part since it was last written, plus 1; several: MANY_CPUS.
cdef struct line_parts:
    uint8_t part[LINE_WORDS]
    uint16_t used_by[LINE_WORDS]

# How long ago a cache brought in as many lines as it holds: what has not been used since has left it.  The time is kept
# for every sixteenth of its capacity.
cdef struct cache_clock:
    int64_t horizon                     # what was last used before this has left (units of a line's `used`)
    int64_t left                        # thousandths of a line to come in until the next mark
    int64_t step                        # thousandths of a line between marks; 0: it holds everything, for ever
    uint32_t next                       # the oldest mark
    int64_t marks[CACHE_MARKS]          # when they were passed

# The caches of a core, and those of its socket taken together.
cdef struct caches:
    cache_clock l1
    cache_clock l2
    cache_clock* chip

# Where the time of a CPU went.
# invariant: the fields sum to the span of the run (the time balance, SimulatedMachine.cpu_times)
cdef struct cpu_times:
    ps_t user
    ps_t kernel
    ps_t memory                         # waiting for cache lines
    ps_t spin
    ps_t idle
    ps_t switching
    ps_t interrupt

# Threads that wait for a CPU, best priority first.
cdef struct run_queue:
    sim_thread* first
    sim_thread* last
    uint32_t count

cdef struct cpu:
    uint16_t id
    uint16_t core
    uint16_t socket                     # also the number of its memory domain
    uint16_t sibling                    # NO_CPU: none
    uint8_t busy                        # runs a thread (spinning counts)
    uint8_t sibling_busy                # invariant: equals busy of the sibling (set_busy)
    uint8_t last_line                   # where the line of the last access came from
    uint8_t last_taken                  # if not from its own caches: others had taken it
    uint8_t last_own                    # in a shared line: it had had this part to itself
    uint8_t preempt                     # its thread is to let a better one have it, in the kernel too
    uint8_t need_resched                # ... on its way back to user code
    caches* cache                       # its core's
    sim_thread* current
    run_queue queue
    ps_t slice_start
    ps_t idle_since
    ps_t next_tick                      # the next clock interrupt
    ps_t stolen                         # interrupt time that its thread has yet to pay
    ps_t interrupt_at                   # when its thread has to look at the three above: invariant: next_tick, or 0
    cpu_times times
    int64_t lines[LINE_KINDS]           # accesses by where the line came from; they sum to all accesses

cdef struct sim_thread:
    thread td                           # first: a sim_thread* is a thread*
    ps_t clock                          # its simulated time
    cpu* cpu                            # where it runs; kept while off the CPU as the CPU it ran on last
    uint64_t event                      # number of its pending event; others of its are stale
    void* context                       # saved stack pointer
    void* stack                         # fiber stack
    uint8_t permit                      # an unpark came before its park
    uint8_t spin_scheduled              # its next look at the word is a pending event
    uint64_t* spin_word                 # the word it busy-waits on
    uint64_t spin_seen
    sim_thread* spin_owner
    ps_t spin_from                      # when the current round of pauses began
    lock_delay_arg* spin_delay
    int64_t spin_limit                  # pauses after which a bounded spin gives up; 0: never
    sim_thread* spin_next               # threads that spin on words of one hash bucket
    sim_thread* spin_prev
    sim_thread* owner_next              # threads that spin because spin_owner runs
    sim_thread* owner_prev
    sim_thread* spun_by                 # head of that list, for this thread as owner
    line* stalled_on                    # the cache line it waits for, or NULL
    sim_thread* stall_next              # threads that wait for lines of one hash bucket, longest first
    int64_t passed_over                 # how often others got the line before it
    run_queue* waits_in                 # the run queue that it is in, or was last
    sim_thread* run_next
    sim_thread* run_prev
    uint8_t in_user                     # user code runs: its event is the end of a piece of it, or an interrupt
    ps_t piece_end
    ps_t on_since                       # on the CPU since; its run time is accounted for up to here
    ps_t off_since                      # off the CPU since
    uint8_t user_priority               # what its priority is when it is back in user code
    ps_t run_time                       # ULE's account of the recent past
    ps_t sleep_time
    void (*start)(thread* td, void* argument) noexcept nogil
    void* argument

cdef struct event:
    ps_t time
    uint64_t number                     # ties go to the older one
    sim_thread* td

cdef struct sim:
    machine m                           # first: a sim* is a machine*
    ps_t next_event                     # earliest pending event; a thread ahead of it must let others go first
    # what the inline calls (coherence) need of the modules above them: an event is due; somebody spins on the word; the
    # line is busy; it has been served; it is not in the core's L1; lines come in that are not touched one by one; locks
    # share the line; a lock word's line was not here
    void (*reschedule)(thread* td) noexcept nogil
    void (*word_changed)(thread* td, uint64_t* word) noexcept nogil
    void (*stall)(thread* td, line* at) noexcept nogil
    ps_t (*miss)(thread* td, line* at, bint write) noexcept nogil
    void (*fill)(thread* td, int64_t lines) noexcept nogil
    void (*touch_page)(thread* td, const void* page) noexcept nogil
    void (*served)(sim* s, line* at, ps_t free) noexcept nogil
    void (*use_part)(thread* td, line* at, const void* address, bint write) noexcept nogil
    void (*transferred)(thread* td, line* at, const void* word, ps_t time) noexcept nogil
    uint64_t stalled_count              # threads that wait for a line
    line* lines                         # a line for each 64 bytes of the arena
    line_parts* parts                   # likewise; good for shared lines
    # events: a heap with four children a node
    event* heap
    uint64_t count
    uint64_t capacity
    uint64_t last_number
    # who runs next: see schedule.pxd; NULL: the earliest
    uint64_t (*choose)(sim* s) noexcept nogil
    # running
    sim_thread* current                 # NULL: the main context
    sim_thread* last                    # the one whose fiber ran last
    void* main_context
    ps_t until
    int reason
    ps_t time                           # simulated time of the latest event
    uint32_t breath                     # events until the next look at the real clock
    int64_t breathe_at                  # real time, ns
    # CPUs
    uint32_t cores_per_socket
    uint32_t threads_per_core
    cpu* cpus
    caches* core_caches                 # by core
    cache_clock* chips                  # by socket
    uint32_t queued                     # threads that wait for a CPU
    uint64_t idle[CPU_WORDS]            # CPUs that run nothing
    uint32_t idle_count
    sim_thread* spinning[SPIN_BUCKETS]
    sim_thread* stalled[STALL_BUCKETS]
    # threads
    uint32_t nthreads                   # alive
    uint32_t last_thread_id
    char* stacks
    uint32_t stacks_made
    void* free_stacks                   # linked through their first word
    sim_thread* free_threads            # records of dead threads, linked by run_next
    arena memory
    uint64_t lines_size
    # counts
    int64_t switches                    # fiber switches
    int64_t events                      # events handled
    int64_t ipis
    int64_t ipi_acks
    int64_t ctx_switches
    int64_t wakeups
    int64_t ticks
    int64_t preemptions
    int64_t steals
    char panic_text[PANIC_TEXT]
