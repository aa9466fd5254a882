# The simulated machine: 1 to 1,024 CPUs in one OS thread, deterministic, with a cost model.
#
#   events      pending events, a heap
#   schedule    who runs next; blocking, sleeping, user time
#   cpus        which thread is on which CPU, the run queue, interrupts
#   spin        busy waiting
#   fibers      threads
#   coherence   clocks and cache lines: what the seam's inline calls are here
#   types       the structs

from finegrain.machine.machine cimport Machine
from finegrain.machine.simulated.types cimport sim


cdef class SimulatedMachine(Machine):
    cdef sim* s
    cdef bint running_now
    cdef readonly object costs
