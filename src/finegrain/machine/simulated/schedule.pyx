# Who runs next.  See schedule.pxd.
#
# Every simulated thread is a fiber with a clock.  A thread runs on until a scheduling point of the seam finds an
# earlier event; then it queues an event for itself and the fiber of the next thread is switched to, directly, with no
# scheduler between.  Pending events are: a running thread whose clock another thread's event has reached, a spinning
# thread's next look at its word, a sleeper's alarm, a busy cache line's next service.
#
# Nobody ever acts before the machine's time, so lock operations happen in the order of simulated time.  Between
# scheduling points a thread's clock runs ahead of the others; what it does there is private or lock-protected.
#
# Real time is looked at for one purpose only: to return to Python now and then, so that Ctrl-C and the progress
# display work.  It decides nothing that is simulated.

from libc.stdint cimport int64_t, uint64_t

from finegrain.machine.seam cimport leaving, unlikely
from finegrain.machine.simulated.arbiter cimport line_join, line_turn, longest_waiting
from finegrain.machine.simulated.caches cimport user_fills
from finegrain.machine.simulated.coherence cimport sim_charge, sim_sched_point, sim_wait_until
from finegrain.machine.simulated.cpus cimport (
    give_cpu_up, leave_cpu, make_runnable, others_may_go, to_be_preempted, turn_is_over)
from finegrain.machine.simulated.events cimport new_event, push_event, remove_event, set_next_event, sift_down
from finegrain.machine.simulated.interactivity cimport account_run, return_to_user
from finegrain.machine.simulated.interrupts cimport take_interrupts
from finegrain.machine.simulated.spin cimport spin_begin, spin_look
from finegrain.machine.simulated.types cimport STOP_BREATHE, STOP_EMPTY, STOP_UNTIL, cpu, event
from finegrain.machine.thread cimport (
    TD_BLOCKED, TD_RUNNING, TD_SLEEPING, TD_SPINNING, TD_STALLED, TD_STARTING)

cdef extern from "fiber.h" nogil:
    void fiber_switch(void** save, void* load)

cdef extern from *:
    void prefetch "__builtin_prefetch"(const void* address) noexcept nogil

cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        int64_t tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec* t)

cdef enum:
    TICK_PS = 1000000000                # 1 ms: user time passes in pieces, to see the run queue and the sibling


cdef bint out_of_breath(sim* s) noexcept nogil:
    cdef timespec t
    s.breath = BREATH
    clock_gettime(CLOCK_MONOTONIC, &t)
    return t.tv_sec * 1000000000 + t.tv_nsec >= s.breathe_at


cdef void dispatch(sim* s, sim_thread* td) noexcept nogil:
    cdef void** save = &td.context if td != NULL else &s.main_context
    cdef uint64_t i = 0
    cdef event e
    cdef sim_thread* next
    while True:
        if s.count == 0:
            s.reason = STOP_EMPTY
            break
        if unlikely(s.choose != NULL):
            i = s.choose(s)
        e = s.heap[i]
        if e.time >= s.until:
            s.reason = STOP_UNTIL
            break
        s.breath -= 1
        if s.breath == 0 and out_of_breath(s):
            s.reason = STOP_BREATHE
            break
        remove_event(s, i)
        next = e.td
        if next.event != e.number:
            continue
        s.events += 1
        s.time = e.time
        next.event = 0
        if next.td.state == TD_STARTING:
            next.td.state = TD_RUNNING
        elif next.td.state == TD_SPINNING:
            if not spin_look(s, next, e.time):
                continue
        elif next.td.state == TD_STALLED:
            next = line_turn(s, next)
            sim_wait_until(&next.td, e.time)
        elif next.td.state == TD_SLEEPING:
            make_runnable(s, next, e.time, next.cpu)
            continue
        set_next_event(s, next.cpu, e.time)
        if next == td:
            return
        s.current = next
        if next != s.last:
            s.last = next
            s.switches += 1
        fiber_switch(save, next.context)
        return
    if td != NULL:
        s.current = NULL
        fiber_switch(save, s.main_context)


cdef void leave_for_main(sim* s, sim_thread* td) noexcept nogil:
    s.current = NULL
    while True:
        fiber_switch(&td.context, s.main_context)


# An interrupt is due, or has been for as long as td had them off.
cdef void interrupted(sim* s, sim_thread* td) noexcept nogil:
    if td.td.spinlocks != 0:
        return
    take_interrupts(s, td)
    if td.cpu.preempt and td.td.pinned == 0 and to_be_preempted(s, td):
        leaving(&td.td)
        if to_be_preempted(s, td):      # still: the better one may have gone elsewhere meanwhile
            s.preemptions += 1
            give_cpu_up(s, td, True)
            dispatch(s, td)


cdef void sim_reschedule(thread* kernel_td) noexcept nogil:
    cdef sim_thread* td = <sim_thread*>kernel_td
    cdef sim* s = <sim*>kernel_td.machine
    cdef event e
    cdef sim_thread* next
    if unlikely(td.td.critical != 0):
        td.td.machine.ops.panic(kernel_td, b"a scheduling point in a critical section")
    if td.cpu.interrupt_at <= td.clock:
        interrupted(s, td)
    if s.count == 0 or s.heap[0].time > td.clock:
        # Nobody is behind: only a look at the real clock, or the end of the run.
        if td.clock < s.until and not out_of_breath(s):
            s.events += 1
            set_next_event(s, td.cpu, td.clock)
            return
        s.breath = 1                    # out of breath still when dispatch looks
        push_event(s, td, td.clock)
        dispatch(s, td)
        return
    e = s.heap[0]
    next = e.td
    if next.td.state == TD_RUNNING and next.event == e.number and e.time < s.until and s.breath > 1:
        # The common case: change places with the earliest thread.
        prefetch(next.context)          # with a hundred fibers its stack is seldom in the nearest cache
        s.breath -= 1
        s.events += 1
        s.time = e.time
        next.event = 0
        sift_down(s, 0, new_event(s, td, td.clock))
        set_next_event(s, next.cpu, e.time)
        s.current = next
        s.last = next
        s.switches += 1
        fiber_switch(&td.context, next.context)
        return
    push_event(s, td, td.clock)
    dispatch(s, td)


cdef void sim_reschedule_ask(thread* kernel_td) noexcept nogil:
    cdef sim_thread* td = <sim_thread*>kernel_td
    cdef sim* s = <sim*>kernel_td.machine
    if unlikely(td.td.critical != 0):
        td.td.machine.ops.panic(kernel_td, b"a scheduling point in a critical section")
    if td.cpu.interrupt_at <= td.clock:
        interrupted(s, td)
    push_event(s, td, td.clock)
    dispatch(s, td)


# A cache line is busy, or becomes free just now and others may wait for it: until it is td's turn.
cdef void sim_stall(thread* kernel_td, line* at) noexcept nogil:
    cdef sim* s = <sim*>kernel_td.machine
    if at.busy_until == (<sim_thread*>kernel_td).clock and longest_waiting(s, at) == NULL:
        return
    if unlikely(kernel_td.critical != 0):
        kernel_td.machine.ops.panic(kernel_td, b"a wait for a cache line in a critical section")
    line_join(s, <sim_thread*>kernel_td, at)
    dispatch(s, <sim_thread*>kernel_td)


# --- the seam's calls

cdef void sim_spin_until_changed(thread* td, uint64_t* word, uint64_t seen, thread* owner, lock_delay_arg* delay,
                                 int64_t max_pauses) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    spin_begin(s, <sim_thread*>td, word, seen, <sim_thread*>owner, delay, max_pauses)
    dispatch(s, <sim_thread*>td)


cdef void sim_park(thread* td) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    sim_sched_point(td)
    if (<sim_thread*>td).permit:
        (<sim_thread*>td).permit = 0
        return
    td.state = TD_BLOCKED
    leave_cpu(s, <sim_thread*>td)
    dispatch(s, <sim_thread*>td)


cdef void sim_unpark(thread* td, thread* other) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    if other.state != TD_BLOCKED:
        (<sim_thread*>other).permit = 1
        return
    if s.idle_count > 0:
        sim_charge(td, s.m.cost.ipi_send, 1)
    make_runnable(s, <sim_thread*>other, (<sim_thread*>td).clock, (<sim_thread*>td).cpu)


cdef void sim_sleep_for(thread* td, ps_t duration) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    cdef sim_thread* me = <sim_thread*>td
    sim_sched_point(td)
    if s.m.stopping or duration <= 0:
        return
    leaving(td)
    td.state = TD_SLEEPING
    leave_cpu(s, me)
    me.clock += duration
    push_event(s, me, me.clock)
    dispatch(s, me)


cdef void sim_user(thread* td, ps_t duration) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    cdef sim_thread* me = <sim_thread*>td
    cdef cpu* c
    cdef ps_t piece, t, ran, done
    cdef bint slow
    return_to_user(s, me)
    while duration > 0 and not s.m.stopping:
        sim_sched_point(td)
        if turn_is_over(s, me):
            leaving(td)
            if others_may_go(s, me):
                give_cpu_up(s, me, False)
                dispatch(s, me)
            continue
        c = me.cpu
        piece = duration if duration < TICK_PS else TICK_PS
        t = piece
        slow = c.sibling_busy
        if slow:
            t = t * s.m.cost.smt_user_den // s.m.cost.smt_user_num
        # An interrupt that asks for the CPU ends the piece before its time.
        me.in_user = 1
        me.piece_end = me.clock + t
        push_event(s, me, me.piece_end)
        dispatch(s, me)
        me.in_user = 0
        ran = s.time - me.clock
        me.clock = s.time
        c.times.user += ran
        done = piece
        if ran != t:
            done = ran * s.m.cost.smt_user_num // s.m.cost.smt_user_den if slow else ran
        user_fills(s, c, done, me.clock)
        duration -= done
        account_run(s, me)
        return_to_user(s, me)
