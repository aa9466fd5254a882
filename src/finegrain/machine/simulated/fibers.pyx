# Simulated threads as fibers.  See fibers.pxd.

from libc.stdint cimport uint64_t
from libc.string cimport memset

from finegrain.machine.arena cimport address_space, address_space_release, arena_take
from finegrain.machine.simulated.coherence cimport sim_sched_point
from finegrain.machine.simulated.cpus cimport leave_cpu, make_runnable, spread
from finegrain.machine.simulated.interactivity cimport PRI_MIN_INTERACT, account_fork
from finegrain.machine.simulated.schedule cimport dispatch
from finegrain.machine.simulated.spin cimport disown_spinners
from finegrain.machine.simulated.types cimport sim_thread
from finegrain.machine.thread cimport TD_DEAD

cdef extern from "fiber.h" nogil:
    ctypedef void (*fiber_entry)(void* argument) noexcept nogil
    void* fiber_prepare(char* top, fiber_entry entry, void* argument)
    int fiber_watch(char* region, size_t size, size_t stride)
    void fiber_unwatch()

cdef extern from "<sys/mman.h>" nogil:
    int mprotect(void* address, size_t length, int prot)
    int PROT_READ, PROT_WRITE

cdef enum:
    STACK_COLOR = 192                   # three cache lines: an odd number, to reach all sets
    STACK_COLORS = 64


cdef bint stacks_create(sim* s) noexcept nogil:
    s.stacks = <char*>address_space(<size_t>MAX_THREADS * STACK_STRIDE, False)
    return s.stacks != NULL


cdef void stacks_destroy(sim* s) noexcept nogil:
    address_space_release(s.stacks, <size_t>MAX_THREADS * STACK_STRIDE)


cdef int stacks_watch(sim* s) noexcept nogil:
    return fiber_watch(s.stacks, <size_t>MAX_THREADS * STACK_STRIDE, STACK_STRIDE)


cdef void stacks_unwatch() noexcept nogil:
    fiber_unwatch()


# Where a fiber begins and ends.
cdef void fiber_main(void* argument) noexcept nogil:
    cdef sim_thread* me = <sim_thread*>argument
    cdef thread* td = &me.td
    cdef sim* s = <sim*>td.machine
    me.start(td, me.argument)
    if td.nheld != 0:
        td.machine.ops.panic(td, b"a thread ended with locks held")
    sim_sched_point(td)
    s.time = me.clock
    td.state = TD_DEAD
    leave_cpu(s, me)
    disown_spinners(me)
    if td.all_prev != NULL:
        td.all_prev.all_next = td.all_next
    else:
        s.m.threads = td.all_next
    if td.all_next != NULL:
        td.all_next.all_prev = td.all_prev
    s.nthreads -= 1
    # The stack is used once more, to leave it; nobody can take it before that.
    (<void**>me.stack)[0] = s.free_stacks
    s.free_stacks = me.stack
    # Stale events may still name this record, so it is used again for threads only.
    me.event = 0
    me.run_next = s.free_threads
    s.free_threads = me
    dispatch(s, me)


cdef sim_thread* new_thread(sim* s) noexcept nogil:
    cdef sim_thread* td = s.free_threads
    if td == NULL:
        return <sim_thread*>arena_take(&s.memory, sizeof(sim_thread))
    s.free_threads = td.run_next
    memset(td, 0, sizeof(sim_thread))
    return td


# Where a fiber's stack begins.  Stacks lie a power of two apart: begun at the same offset in each, all would meet in
# the same few sets of the caches.
cdef inline char* stack_top(sim* s, void* stack) noexcept nogil:
    cdef uint64_t n = <uint64_t>(<char*>stack - s.stacks) // STACK_STRIDE
    return <char*>stack + STACK_STRIDE - STACK_GUARD - n % STACK_COLORS * STACK_COLOR


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
    cdef sim_thread* new
    cdef void* stack = new_stack(s)
    if stack == NULL:
        if td != NULL:
            m.ops.panic(td, b"too many threads: no stack for another (is vm.max_map_count low?)")
        return NULL
    new = new_thread(s)
    if new == NULL:
        return NULL
    s.last_thread_id += 1
    s.nthreads += 1
    new.td.machine = m
    new.td.simulated = 1
    new.td.id = s.last_thread_id
    new.td.priority = PRI_MIN_INTERACT
    new.td.base_priority = PRI_MIN_INTERACT
    new.td.proc = proc
    new.start = start
    new.argument = argument
    new.stack = stack
    new.context = fiber_prepare(stack_top(s, stack), fiber_main, new)
    new.cpu = (<sim_thread*>td).cpu if td != NULL else spread(s, new.td.id - 1)
    new.td.all_next = m.threads
    if m.threads != NULL:
        m.threads.all_prev = &new.td
    m.threads = &new.td
    if m.attach != NULL:
        m.attach(&new.td)
    account_fork(s, <sim_thread*>td, new)
    make_runnable(s, new, (<sim_thread*>td).clock if td != NULL else s.time,
                  (<sim_thread*>td).cpu if td != NULL else new.cpu)
    return &new.td
