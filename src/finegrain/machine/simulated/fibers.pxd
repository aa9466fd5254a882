# Simulated threads as fibers: each has a small stack of its own, with a guard page below it.

from libc.stdint cimport uint64_t

from finegrain.machine.simulated.types cimport sim
from finegrain.machine.thread cimport machine, thread

cdef enum:
    STACK_STRIDE = 65536                # a fiber's stack and its guard page
    STACK_GUARD = 4096
    MAX_THREADS = 30000                 # two mappings each, and Python's own, stay below Linux's default of 65,530

# Room for all stacks.  False: no address space.
cdef bint stacks_create(sim* s) noexcept nogil
cdef void stacks_destroy(sim* s) noexcept nogil
# While fibers run, an overrun of a stack is told as what it is.  0, or -1 where that cannot be set up.
cdef int stacks_watch(sim* s) noexcept nogil
cdef void stacks_unwatch() noexcept nogil

# The seam's call.
cdef thread* sim_spawn(thread* td, machine* m, void (*start)(thread*, void*) noexcept nogil, void* argument,
                       void* proc) noexcept nogil
