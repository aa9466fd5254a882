# Interrupts.  See interrupts.pxd.

from libc.stdint cimport uint32_t

from finegrain.machine.simulated.coherence cimport sim_charge

cdef extern from *:
    int __builtin_ctzll(unsigned long long x) noexcept nogil

cdef enum:
    FULL_FLUSH_PAGES = 4096             # FreeBSD r291906: from here on a flush is a full one


cdef void sim_shootdown(thread* td, const uint64_t* cpus, int64_t pages) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    cdef ps_t handler = s.m.cost.ipi_handler + (s.m.cost.invlpg * pages if 0 < pages < FULL_FLUSH_PAGES
                                                else s.m.cost.cr3_write)
    cdef ps_t slowest = handler
    cdef uint32_t word
    cdef uint64_t bits
    cdef int64_t targets = 0
    cdef cpu* c
    cdef cpu* here = (<sim_thread*>td).cpu
    cdef ps_t begin
    for word in range((s.m.ncpus + 63) // 64):
        bits = cpus[word]
        while bits:
            c = &s.cpus[(word << 6) + __builtin_ctzll(bits)]
            bits &= bits - 1
            if c == here:
                continue
            targets += 1
            if c.busy:
                c.stolen += handler
                c.interrupt_at = 0
                continue
            slowest = handler + s.m.cost.idle_exit
            begin = max((<sim_thread*>td).clock, c.idle_since)
            c.times.idle += begin - c.idle_since
            c.times.interrupt += slowest
            c.idle_since = begin + slowest
    if targets == 0:
        return
    s.ipis += targets
    s.ipi_acks += targets
    sim_charge(td, s.m.cost.ipi_send + s.m.cost.ipi_per_target * targets, 1)
    # The last target acknowledges when it has flushed.
    (<sim_thread*>td).clock += s.m.cost.ipi_flight + slowest
    here.times.interrupt += s.m.cost.ipi_flight + slowest
