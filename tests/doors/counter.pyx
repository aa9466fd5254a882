# Test door to atomic operations: threads that add to one counter as fast as they can.

from finegrain.machine.machine cimport Machine
from finegrain.machine.seam cimport arena_alloc, atomic_fetchadd, stopping
from finegrain.machine.thread cimport thread

from libc.stdint cimport uint64_t


cdef void add(thread* td, void* argument) noexcept nogil:
    while not stopping(td.machine):
        atomic_fetchadd(td, <uint64_t*>argument, 1)


cdef class Counter:
    """One counter, to which `threads` threads add 1 until the machine is stopped."""

    cdef uint64_t* word
    cdef readonly Machine machine

    def __init__(self, Machine machine, int threads):
        self.machine = machine
        self.word = <uint64_t*>arena_alloc(machine.m, sizeof(uint64_t))
        for _ in range(threads):
            machine.m.ops.spawn(NULL, machine.m, add, self.word, NULL)

    @property
    def value(self):
        return self.word[0]
