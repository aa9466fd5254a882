# Interrupts: the clock's, and those that CPUs send each other to have translations forgotten.
#
# An interrupt takes time from whatever thread its CPU runs, in user code or in the kernel, with locks held or not: the
# hold that it hits is so much longer.  The thread pays at its next scheduling point after the interrupt came (every
# release of a lock is one); in a spin it hides the interrupt behind the waiting.  A holder of a spin mutex has them
# off and pays when it has let go.  An idle CPU takes no clock interrupts.
#
# An interrupt may also say that a better thread waits for this CPU (`cpu.preempt`, see schedule.pyx).

from finegrain.machine.simulated.types cimport cpu, sim, sim_thread
from finegrain.machine.thread cimport ps_t, thread

from libc.stdint cimport int64_t, uint64_t

cdef ps_t NO_TICK = 0x7fffffffffffffff


# The CPU has a thread from t on: its clock interrupts go on from there.  CPUs have theirs in turn, not all at once.
cdef inline void start_ticks(sim* s, cpu* c, ps_t t) noexcept nogil:
    cdef ps_t period = s.m.cost.tick_period
    cdef ps_t phase
    if s.m.cost.tick == 0:
        c.next_tick = NO_TICK
    else:
        phase = period * c.id // s.m.ncpus
        c.next_tick = phase if t < phase else t - (t - phase) % period + period
    c.interrupt_at = c.next_tick if c.stolen == 0 else 0


# The time that interrupts up to t take from the CPU's thread, which it has not paid; it has now.
cdef inline ps_t interrupts_owed(sim* s, cpu* c, ps_t t) noexcept nogil:
    cdef ps_t owed = c.stolen
    cdef int64_t n
    c.stolen = 0
    if c.next_tick <= t:
        n = (t - c.next_tick) // s.m.cost.tick_period + 1
        c.next_tick += n * s.m.cost.tick_period
        s.ticks += n
        owed += n * s.m.cost.tick
    c.times.interrupt += owed
    c.interrupt_at = 0 if c.preempt else c.next_tick
    return owed


# td pays for the interrupts up to its clock.
cdef inline void take_interrupts(sim* s, sim_thread* td) noexcept nogil:
    if td.cpu.interrupt_at <= td.clock:
        td.clock += interrupts_owed(s, td.cpu, td.clock)


# The seam's call.
cdef void sim_shootdown(thread* td, const uint64_t* cpus, int64_t pages) noexcept nogil
