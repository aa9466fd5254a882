# ULE's interactivity.  See interactivity.pxd.

from libc.stdint cimport int64_t

from finegrain.machine.thread cimport TD_BLOCKED

cdef enum:
    INTERACT_HALF = 50
    INTERACT_THRESHOLD = 30             # below this score a thread is interactive

# FreeBSD sched_ule.c (M): SCHED_SLP_RUN_MAX, SCHED_SLP_RUN_FORK; one tick of the statistics clock, 127 Hz.
cdef ps_t SLP_RUN_MAX = 5000000000000
cdef ps_t SLP_RUN_FORK = 500000000000
cdef ps_t STAT_TICK = 7874000000


# 0 for a thread that only sleeps to 100 for one that only runs.  Stands for FreeBSD sched_interact_score().
cdef int64_t interact_score(sim_thread* td) noexcept nogil:
    if td.run_time > td.sleep_time:
        return 2 * INTERACT_HALF - INTERACT_HALF * td.sleep_time // td.run_time
    if td.sleep_time > td.run_time:
        return INTERACT_HALF * td.run_time // td.sleep_time
    return INTERACT_HALF


# Keep the account to the recent past.  Stands for FreeBSD sched_interact_update().
cdef void forget_old(sim_thread* td) noexcept nogil:
    cdef ps_t sum = td.run_time + td.sleep_time
    if sum < SLP_RUN_MAX:
        return
    if sum > SLP_RUN_MAX * 2:
        if td.run_time > td.sleep_time:
            td.run_time = SLP_RUN_MAX
            td.sleep_time = 1
        else:
            td.sleep_time = SLP_RUN_MAX
            td.run_time = 1
    elif sum > SLP_RUN_MAX // 5 * 6:
        td.run_time //= 2
        td.sleep_time //= 2
    else:
        td.run_time = td.run_time // 5 * 4
        td.sleep_time = td.sleep_time // 5 * 4


# The priority that follows from the account; td has it when it is back in user code.  Stands for FreeBSD
# sched_priority(), whose range for interactive threads is as long as the scores are many.
cdef void reconsider(sim_thread* td) noexcept nogil:
    cdef int64_t score
    forget_old(td)
    score = interact_score(td)
    td.user_priority = <uint8_t>(PRI_MIN_INTERACT + score) if score < INTERACT_THRESHOLD else SCHED_PRI_MIN


cdef void return_to_user(sim* s, sim_thread* td) noexcept nogil:
    if s.m.cost.preemption:
        td.td.base_priority = td.user_priority
        td.td.priority = td.user_priority


cdef void account_run(sim* s, sim_thread* td) noexcept nogil:
    td.run_time += td.clock - td.on_since
    td.on_since = td.clock
    if s.m.cost.preemption:
        reconsider(td)


cdef void account_sleep(sim* s, sim_thread* td, ps_t t) noexcept nogil:
    if not s.m.cost.preemption or (td.td.state == TD_BLOCKED and not td.td.asleep):
        return                          # waiting on a turnstile is not sleeping
    if td.td.priority > PRI_MIN_BATCH:
        td.td.base_priority = PRI_MIN_BATCH
        td.td.priority = PRI_MIN_BATCH
    if t - td.off_since < s.m.cost.tick_period:
        return                          # ULE counts whole ticks
    td.sleep_time += t - td.off_since
    reconsider(td)


cdef void account_fork(sim* s, sim_thread* creator, sim_thread* new) noexcept nogil:
    cdef ps_t sum
    if not s.m.cost.preemption:
        return
    if creator != NULL:
        sum = creator.run_time + creator.sleep_time
        new.run_time = creator.run_time
        new.sleep_time = creator.sleep_time
        if sum > SLP_RUN_FORK:
            new.run_time //= sum // SLP_RUN_FORK
            new.sleep_time //= sum // SLP_RUN_FORK
        creator.run_time += STAT_TICK   # forking has its price
        reconsider(creator)
    reconsider(new)
    return_to_user(s, new)


cdef bint should_preempt(uint8_t priority, uint8_t other, bint remote) noexcept nogil:
    if priority >= other:
        return False
    return priority <= PRI_MIN_KERN or (remote and priority <= PRI_MAX_INTERACT < other)


cdef void account_heir(sim* s, sim_thread* td, sim_thread* heir) noexcept nogil:
    if s.m.cost.preemption:
        account_run(s, td)
        heir.run_time += td.run_time
        reconsider(heir)
