# The simulated machine, put together, and Python's handle on it.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from cpython.exc cimport PyErr_CheckSignals

from finegrain.machine.arena cimport (
    address_space, address_space_release, arena_create, arena_destroy, arena_give, arena_take)
from finegrain.machine.machine cimport Machine
from finegrain.machine.panic cimport panic_text
from finegrain.machine.simulated.arbiter cimport line_served
from finegrain.machine.simulated.caches cimport caches_create, caches_destroy, line_miss, sim_fill, sim_touch_page
from finegrain.machine.simulated.cpus cimport sim_cpus_using, sim_leave_run_time, sim_set_priority
from finegrain.machine.simulated.fibers cimport sim_spawn, stacks_create, stacks_destroy, stacks_unwatch, stacks_watch
from finegrain.machine.simulated.interrupts cimport sim_shootdown
from finegrain.machine.simulated.neighbours cimport sim_neighbours, transferred, use_part
from finegrain.machine.simulated.schedule cimport (
    BREATH, dispatch, leave_for_main, sim_park, sim_reschedule, sim_sleep_for, sim_spin_until_changed, sim_stall,
    sim_unpark, sim_user)
from finegrain.machine.simulated.spin cimport spin_word_changed
from finegrain.machine.simulated.types cimport (
    LINE_SHIFT, NO_CPU, PANIC_TEXT, STOP_EMPTY, STOP_PANIC, STOP_UNTIL, cpu, event, line, line_parts, sim, sim_thread)
from finegrain.machine.thread cimport (
    LINE_CROSS, LINE_HIT, LINE_MEMORY, LINE_SIBLING, LINE_SOCKET, MAX_CPUS, machine, ps_t, thread)

from finegrain.machine.costs import CostModel
from finegrain.machine.errors import KernelPanic

cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        int64_t tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec* t)

cdef enum:
    BREATHE_NS = 20000000               # real time between returns to Python
    PAGE_ARRAY_AND_KERNEL = 96          # GiB of the arena beside the direct map: page array, locks, kernel memory

cdef ps_t FOREVER = 0x7fffffffffffffff


cdef void sim_panic(thread* td, const char* why) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    if s.reason != STOP_PANIC:
        panic_text(&s.m, td, why, s.panic_text, PANIC_TEXT)
        s.reason = STOP_PANIC
    if s.current != NULL:               # else called from the main context, which will look
        leave_for_main(s, <sim_thread*>td)


cdef void* sim_arena_alloc(machine* m, uint64_t size) noexcept nogil:
    cdef sim* s = <sim*>m
    cdef void* memory = arena_take(&s.memory, size)
    if memory == NULL and s.current != NULL:
        sim_panic(&s.current.td, b"the kernel's arena is exhausted")
    return memory


cdef void sim_arena_free(machine* m, void* memory, uint64_t size) noexcept nogil:
    arena_give(&(<sim*>m).memory, memory, size)


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
        s.m.ndomains = sockets
        s.cores_per_socket = cores
        s.threads_per_core = threads
        s.m.arena_size = dmap + (<size_t>PAGE_ARRAY_AND_KERNEL << 30)
        s.m.dmap_size = dmap
        s.lines_size = (s.m.arena_size >> LINE_SHIFT) * sizeof(line)
        arena_create(&s.memory, s.m.arena_size, dmap + 4096)
        s.m.arena = s.memory.base
        s.lines = <line*>address_space(s.lines_size, True)
        s.parts = <line_parts*>address_space((s.m.arena_size >> LINE_SHIFT) * sizeof(line_parts), True)
        stacks_create(s)
        s.cpus = <cpu*>calloc(n, sizeof(cpu))
        s.capacity = 4096
        s.heap = <event*>calloc(s.capacity, sizeof(event))
        if (s.m.arena == NULL or s.lines == NULL or s.parts == NULL or s.stacks == NULL or s.cpus == NULL
                or s.heap == NULL):
            raise MemoryError(f"cannot reserve {s.m.arena_size >> 30} GiB of address space for the simulated machine")
        s.m.dmap = s.m.arena
        s.m.cost = self.costs.picoseconds()
        for i in range(n):
            c = &s.cpus[i]
            c.id = i
            c.core = i // threads
            c.socket = i // (threads * cores)
            c.sibling = i ^ 1 if threads == 2 else NO_CPU
            s.idle[i >> 6] |= <uint64_t>1 << (i & 63)
        s.idle_count = n
        if not caches_create(s):
            raise MemoryError
        s.breath = BREATH
        s.reschedule = sim_reschedule
        s.word_changed = spin_word_changed
        s.stall = sim_stall
        s.miss = line_miss
        s.fill = sim_fill
        s.touch_page = sim_touch_page
        s.served = line_served
        s.use_part = use_part
        s.transferred = transferred
        s.m.ops.neighbours = sim_neighbours
        s.m.ops.cpus_using = sim_cpus_using
        s.m.ops.spin_until_changed = sim_spin_until_changed
        s.m.ops.park = sim_park
        s.m.ops.unpark = sim_unpark
        s.m.ops.shootdown = sim_shootdown
        s.m.ops.user = sim_user
        s.m.ops.sleep_for = sim_sleep_for
        s.m.ops.spawn = sim_spawn
        s.m.ops.set_priority = sim_set_priority
        s.m.ops.leave_run_time = sim_leave_run_time
        s.m.ops.panic = sim_panic
        s.m.ops.arena_alloc = sim_arena_alloc
        s.m.ops.arena_free = sim_arena_free

    def __dealloc__(self):
        cdef sim* s = self.s
        if s == NULL:
            return
        arena_destroy(&s.memory)
        address_space_release(s.lines, s.lines_size)
        address_space_release(s.parts, (s.m.arena_size >> LINE_SHIFT) * sizeof(line_parts))
        stacks_destroy(s)
        free(s.cpus)
        caches_destroy(s)
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
        if stacks_watch(s) != 0:
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
                    panic_text(&s.m, NULL, b"deadlock: no thread can run", s.panic_text, PANIC_TEXT)
                    s.reason = STOP_PANIC
                if s.reason == STOP_PANIC:
                    raise KernelPanic(s.panic_text.decode())
                PyErr_CheckSignals()
                if progress is not None:
                    progress(s.time)
        finally:
            self.running_now = False
            stacks_unwatch()

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
                "wakeups": s.wakeups, "ipis": s.ipis, "ipi_acknowledgements": s.ipi_acks, "ticks": s.ticks,
                "preemptions": s.preemptions, "steals": s.steals}

    def cpu_times(self):
        """For each CPU: its clock and where its time went, picoseconds. The parts sum to the clock."""
        cdef sim* s = self.s
        cdef uint32_t i
        cdef cpu* c
        rows = []
        for i in range(s.m.ncpus):
            c = &s.cpus[i]
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
            rows.append({"hit": s.cpus[i].lines[LINE_HIT], "sibling": s.cpus[i].lines[LINE_SIBLING],
                         "socket": s.cpus[i].lines[LINE_SOCKET], "cross": s.cpus[i].lines[LINE_CROSS],
                         "memory": s.cpus[i].lines[LINE_MEMORY]})
        return rows
