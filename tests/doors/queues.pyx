# Test door to the engine: queues with known closed forms, on nothing but the seam; and the arena.
#
# N customers think (exponential or fixed times), ask for the one server, are served, and go round.  Each has a CPU of
# its own; with costs of nothing the only thing that passes time is thinking and service, so means and variances
# must come out as queueing theory says.

from libc.math cimport log
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from finegrain.machine.machine cimport Machine
from finegrain.machine.seam cimport (
    arena_alloc, arena_free, arena_offset, charge, now, park, sched_point, stopping, unpark)
from finegrain.machine.thread cimport ps_t, thread

cdef enum:
    FIFO = 0                            # one at a time, in order of arrival
    READERS_FIRST                       # readers together; they come in whenever no writer is in
    WRITERS_FIRST                       # readers together; none comes in while a writer waits
    TICKET                              # FIFO; with k waiting, service is exponential with mean hold + k * slow / 2

cdef tuple DISCIPLINES = ("fifo", "readers first", "writers first", "ticket")

cdef struct station

cdef struct customer:
    station* at
    thread* td
    customer* next                      # behind it in its queue
    ps_t arrived
    bint writer
    bint granted
    uint64_t random

cdef struct line_up:                    # a queue
    customer* first
    customer* last

cdef struct station:
    int kind
    double think
    double hold
    double slow
    double writers                      # probability of asking as a writer
    bint fixed                          # all times are as given, not exponential
    line_up waiting[2]                  # readers, writers
    int nwaiting
    int readers                         # in service
    bint writer
    double work                         # TICKET: what is left of the service, in means
    ps_t worked                         # TICKET: up to when that is accounted for
    # by readers, writers
    int64_t served[2]
    int64_t waited[2]                   # how many had to
    ps_t wait[2]
    double wait_squared[2]


cdef inline double uniform(uint64_t* state) noexcept nogil:
    # xorshift64* (Vigna 2016)
    state[0] ^= state[0] >> 12
    state[0] ^= state[0] << 25
    state[0] ^= state[0] >> 27
    return <double>((state[0] * <uint64_t>0x2545f4914f6cdd1d) >> 11) * (1.0 / 9007199254740992.0)


cdef inline double duration(customer* c, double mean) noexcept nogil:
    return mean if c.at.fixed else -log(1.0 - uniform(&c.random)) * mean


# How fast a ticket lock's service goes: its mean length while `nwaiting` wait.
cdef inline double pace(station* s) noexcept nogil:
    return s.hold + s.nwaiting * s.slow / 2


cdef bint may_enter(station* s, customer* c) noexcept nogil:
    if s.writer or (c.writer and s.readers > 0):
        return False
    return c.writer or s.kind != WRITERS_FIRST or s.waiting[1].first == NULL


cdef void enter(station* s, customer* c) noexcept nogil:
    c.granted = True
    if c.writer:
        s.writer = True
    else:
        s.readers += 1


cdef void grant(station* s, thread* td, int queue) noexcept nogil:
    cdef customer* c = s.waiting[queue].first
    s.waiting[queue].first = c.next
    s.nwaiting -= 1
    enter(s, c)
    unpark(td, c.td)


cdef void ask(station* s, customer* c) noexcept nogil:
    cdef line_up* q = &s.waiting[c.writer]
    sched_point(c.td)
    c.arrived = now(c.td)
    c.granted = False
    if may_enter(s, c):
        enter(s, c)
    else:
        if s.kind == TICKET:
            s.work -= <double>(c.arrived - s.worked) / pace(s)
            s.worked = c.arrived
        c.next = NULL
        if q.first == NULL:
            q.first = c
        else:
            q.last.next = c
        q.last = c
        s.nwaiting += 1
        while not c.granted:
            park(c.td)
    s.served[c.writer] += 1
    s.waited[c.writer] += now(c.td) > c.arrived
    s.wait[c.writer] += now(c.td) - c.arrived
    s.wait_squared[c.writer] += (<double>(now(c.td) - c.arrived)) * <double>(now(c.td) - c.arrived)


cdef void serve(station* s, customer* c) noexcept nogil:
    if s.kind != TICKET:
        charge(c.td, <ps_t>duration(c, s.hold), 1)
        return
    # Arrivals slow the service down, so it may last longer than it seemed to when it began.
    s.work = duration(c, 1.0)
    s.worked = now(c.td)
    while s.work > 1e-12:
        charge(c.td, <ps_t>(s.work * pace(s)) + 1, 1)
        sched_point(c.td)
        s.work -= <double>(now(c.td) - s.worked) / pace(s)
        s.worked = now(c.td)


cdef void leave(station* s, customer* c) noexcept nogil:
    sched_point(c.td)
    if c.writer:
        s.writer = False
    else:
        s.readers -= 1
    if s.readers > 0:
        return
    if s.waiting[1].first != NULL and (s.kind != READERS_FIRST or s.waiting[0].first == NULL):
        grant(s, c.td, 1)
    else:
        while s.waiting[0].first != NULL:
            grant(s, c.td, 0)


cdef void live(thread* td, void* argument) noexcept nogil:
    cdef customer* c = <customer*>argument
    cdef station* s = c.at
    c.td = td
    while not stopping(td.machine):
        charge(td, <ps_t>duration(c, s.think), 1)
        c.writer = s.writers >= 1.0 or uniform(&c.random) < s.writers
        ask(s, c)
        serve(s, c)
        leave(s, c)


cdef class Station:
    """`customers` threads round one server.

    `kind` is "fifo", "readers first", "writers first" or "ticket"; `think`, `hold` and `slow` are picoseconds;
    `writers` is the probability that a customer asks as a writer; `fixed` makes all times as given instead of
    exponential.
    """

    cdef Machine machine
    cdef station* at

    def __init__(self, Machine machine, int customers, double think, double hold, *, str kind="fifo", double slow=0.0,
                 double writers=1.0, bint fixed=False, uint64_t seed=1):
        cdef station* s = <station*>arena_alloc(machine.m, sizeof(station))
        cdef customer* c
        cdef int i
        self.machine = machine
        self.at = s
        s.kind = DISCIPLINES.index(kind)
        s.think = think
        s.hold = hold
        s.slow = slow
        s.writers = writers
        s.fixed = fixed
        for i in range(customers):
            c = <customer*>arena_alloc(machine.m, sizeof(customer))
            c.at = s
            c.random = (seed * 1000 + i + 1) * <uint64_t>0x9e3779b97f4a7c15
            for _ in range(8):
                uniform(&c.random)
            if machine.m.ops.spawn(NULL, machine.m, live, c, NULL) == NULL:
                raise MemoryError

    def counts(self):
        """Totals so far for readers and for writers: (served, had to wait, wait in ps, squared waits)."""
        return tuple((self.at.served[i], self.at.waited[i], self.at.wait[i], self.at.wait_squared[i]) for i in range(2))


def arena_blocks(Machine machine, list steps):
    """Allocate and free kernel memory: a positive step is a size in bytes, a negative one, -1 - n, frees block n.

    Returns the blocks' offsets in the arena. Raises ValueError when a block does not come zeroed.
    """
    cdef char* memory
    cdef uint64_t i
    offsets = []
    sizes = []
    for step in steps:
        if step < 0:
            arena_free(machine.m, machine.m.arena + <uint64_t>offsets[-1 - step], sizes[-1 - step])
            continue
        memory = <char*>arena_alloc(machine.m, step)
        for i in range(<uint64_t>step):
            if memory[i] != 0:
                raise ValueError(f"byte {i} of a block of {step} is not zero")
        memset(memory, 0xff, step)
        offsets.append(arena_offset(machine.m, memory))
        sizes.append(step)
    return offsets
