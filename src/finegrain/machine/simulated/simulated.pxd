# The simulated machine: 1 to 1,024 CPUs in one OS thread, deterministic, with a cost model.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from finegrain.machine.machine cimport Machine
from finegrain.machine.seam cimport CPU_WORDS, machine, ps_t, thread

cdef enum:
    SPIN_BUCKETS = 1024
    SIZE_CLASSES = 48
    STACK_STRIDE = 65536                # a fiber's stack and its guard page
    STACK_GUARD = 4096
    MAX_THREADS = 30000                 # two mappings each, and Python's own, stay below Linux's default of 65,530
    PANIC_TEXT = 32768

cdef enum stop_reason:
    STOP_UNTIL = 0                      # the time asked for has come
    STOP_EMPTY                          # no event is pending
    STOP_BREATHE                        # real time passed: let Python look at signals
    STOP_PANIC

cdef struct event:
    ps_t time
    uint64_t number                     # ties go to the older one
    thread* td

cdef struct sim:
    machine m                           # first: a sim* is a machine*
    # events: a heap with four children a node
    event* heap
    uint64_t count
    uint64_t capacity
    uint64_t last_number
    # running
    thread* current                     # NULL: the main context
    thread* last                        # the one whose fiber ran last
    void* main_context
    ps_t until
    int reason
    ps_t time                           # simulated time of the latest event
    uint32_t breath                     # events until the next look at the real clock
    int64_t breathe_at                  # real time, ns
    # threads
    uint32_t nthreads                   # alive
    uint32_t last_thread_id
    char* stacks
    uint32_t stacks_made
    void* free_stacks                   # linked through their first word
    thread* free_threads                # records of dead threads, linked by all_next
    thread* run_first                   # run queue, best priority first
    thread* run_last
    uint64_t idle[CPU_WORDS]            # CPUs that run nothing
    uint32_t idle_count
    thread* spinning[SPIN_BUCKETS]
    # the arena
    uint64_t lines_size
    uint64_t bump                       # offset of the first byte never handed out
    void* free_memory[SIZE_CLASSES]     # free blocks by power of two, linked through their first word
    # counts
    int64_t switches                    # fiber switches
    int64_t events                      # events handled
    int64_t ipis
    int64_t ipi_acks
    int64_t ctx_switches
    int64_t wakeups
    char panic_text[PANIC_TEXT]


cdef class SimulatedMachine(Machine):
    cdef sim* s
    cdef bint running_now
    cdef readonly object costs
