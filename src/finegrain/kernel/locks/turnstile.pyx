# Turnstiles and sleep queues.  See turnstile.pxd for the idea.
#
# Priority propagation: a waiter that is more urgent than the owner of its lock lends the owner its priority; if
# that owner is itself blocked on a lock, its place in that queue is found anew and its owner is lent to in turn.
# The walk ends at an unknown owner or at one that runs or is runnable.  An owner gives the loan back when it
# releases: its priority becomes the best of its own and of the waiters of locks that it still owns.

from libc.stdint cimport uint8_t, uint64_t

from finegrain.kernel.list cimport list_insert_after, list_remove
from finegrain.kernel.locks.delay cimport delay_init
from finegrain.machine.seam cimport (
    arena_alloc, arena_free, arena_offset, atomic_cas, atomic_load_acq, atomic_load_pointer, atomic_store,
    atomic_store_pointer, blocked, charge, leaving, now, panic, park, raw_lock, raw_unlock, set_priority, sleeping,
    spin_until_changed, spinlock_enter, spinlock_exit, touch_read, touch_write, unlikely, unpark, word_changed)
from finegrain.machine.thread cimport lock_delay_arg, machine, ps_t, thread

cdef struct turnstile_tables:
    turnstile_chain turnstiles[TC_TABLESIZE]
    turnstile_chain sleepqueues[SC_TABLESIZE]
    uint64_t lock                       # raw: all queues, owners and loans; see below


# The queues' raw lock: a loan changes places in queues of other chains.
#
# Locks in: any but this one.  Locks out: this one too.  May block: never; on real threads spins.
# Stands for: FreeBSD ts_lock of each turnstile and td_contested_lock.
cdef inline void queues_lock(thread* td) noexcept nogil:
    raw_lock(td, &(<turnstile_tables*>td.machine.turnstiles).lock)


# Locks in: the queues' raw lock.  Locks out: none of it.  May block: never.
# Stands for: the release of FreeBSD ts_lock and td_contested_lock.
cdef inline void queues_unlock(thread* td) noexcept nogil:
    raw_unlock(td, &(<turnstile_tables*>td.machine.turnstiles).lock)


cdef int turnstiles_create(machine* m) except -1:
    cdef turnstile_tables* t = <turnstile_tables*>arena_alloc(m, sizeof(turnstile_tables))
    cdef int i
    for i in range(SC_TABLESIZE):
        t.sleepqueues[i].tc_kind = SLEEPQUEUE
    m.turnstiles = t
    return 0


# The chain of an address.
#
# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD TC_LOOKUP() and SC_LOOKUP(); the hashes are theirs, over arena offsets.
cdef turnstile_chain* turnstile_chain_of(thread* td, int kind, const void* address) noexcept nogil:
    cdef turnstile_tables* t = <turnstile_tables*>td.machine.turnstiles
    cdef uint64_t offset = arena_offset(td.machine, address)
    if kind == TURNSTILE:
        return &t.turnstiles[(offset >> 8) & (TC_TABLESIZE - 1)]
    return &t.sleepqueues[((offset >> 8) ^ offset) & (SC_TABLESIZE - 1)]


# Locks in: the chain lock.  Locks out: the same.  May block: never.
# Stands for: FreeBSD mtx_assert(&tc->tc_lock, MA_OWNED).
cdef inline void chain_assert_locked(thread* td, turnstile_chain* tc) noexcept nogil:
    if unlikely(atomic_load_acq(&tc.tc_lock) != <uint64_t>td):
        panic(td, b"a turnstile or sleep queue chain is not locked")


# Take the spin lock of a chain.
#
# Locks in:   any but a chain lock.
# Locks out:  the chain lock too.
# May block:  never; spins.
# Stands for: FreeBSD mtx_lock_spin() on a chain's lock.
cdef void chain_lock(thread* td, turnstile_chain* tc) noexcept nogil:
    cdef lock_delay_arg delay
    cdef uint64_t seen
    delay_init(td, &delay)
    while not atomic_cas(td, &tc.tc_lock, 0, <uint64_t>td):
        seen = atomic_load_acq(&tc.tc_lock)
        if seen != 0:
            spin_until_changed(td, &tc.tc_lock, seen, NULL, &delay, 0)
    spinlock_enter(td)


# Give a chain's spin lock up.
#
# Locks in:   the chain lock.
# Locks out:  none of it.
# May block:  never.
# Stands for: FreeBSD mtx_unlock_spin() on a chain's lock.
cdef void chain_unlock(thread* td, turnstile_chain* tc) noexcept nogil:
    chain_assert_locked(td, tc)
    atomic_store(td, &tc.tc_lock, 0)
    spinlock_exit(td)
    word_changed(td, &tc.tc_lock)


# The queue of an address; NULL when nobody waits there.
#
# Locks in:   the chain lock.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD turnstile_lookup(), sleepq_lookup().
cdef turnstile* turnstile_lookup(thread* td, turnstile_chain* tc, const void* address) noexcept nogil:
    cdef turnstile* ts = tc.tc_turnstiles
    chain_assert_locked(td, tc)
    while ts != NULL:
        touch_read(td, ts)
        if ts.ts_address == address:
            break
        ts = ts.ts_next
    return ts


# Queue by priority, first come first served among equals.
#
# Locks in:   the queues' raw lock.
# Locks out:  the same.
# May block:  never.
# Stands for: the walk in FreeBSD turnstile_wait() and turnstile_adjust_thread().
cdef void queue_insert(turnstile* ts, thread* td, int queue) noexcept nogil:
    cdef thread* after = ts.ts_last[queue]
    while after != NULL and after.priority > td.priority:
        after = after.queue_prev
    list_insert_after(<void**>&ts.ts_first[queue], <void**>&ts.ts_last[queue], after, td, <void**>&td.queue_next,
                      <void**>&td.queue_prev)


# Locks in:   the queues' raw lock.
# Locks out:  the same.
# May block:  never.
# Stands for: TAILQ_REMOVE() of td_lockq in FreeBSD subr_turnstile.c.
cdef void queue_remove(turnstile* ts, thread* td, int queue) noexcept nogil:
    list_remove(<void**>&ts.ts_first[queue], <void**>&ts.ts_last[queue], td, <void**>&td.queue_next,
                <void**>&td.queue_prev)


# Lend td's priority along the chain of owners.
#
# Locks in:   the queues' raw lock.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD propagate_priority().
cdef void propagate_priority(thread* td) noexcept nogil:
    cdef turnstile* ts = <turnstile*>td.blocked_on
    cdef uint8_t priority = td.priority
    cdef thread* owner
    while True:
        owner = ts.ts_owner
        if owner == NULL:
            return
        ts = <turnstile*>owner.blocked_on
        if sleeping(owner) or (blocked(owner) and ts != NULL and ts.ts_chain.tc_kind == SLEEPQUEUE):
            panic(td, b"the owner of a lock that must not be held across a sleep is asleep")
        if owner.priority <= priority:
            return
        set_priority(owner, priority)
        if ts == NULL or ts.ts_chain.tc_kind == SLEEPQUEUE:
            return
        queue_remove(ts, owner, owner.blocked_queue)
        queue_insert(ts, owner, owner.blocked_queue)


# Somebody else owns the turnstile's lock from now on; NULL: nobody who could be lent to.
#
# Locks in:   the queues' raw lock.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD turnstile_setowner().
cdef void set_owner(turnstile* ts, thread* owner) noexcept nogil:
    cdef turnstile** at
    if ts.ts_owner == owner:
        return
    if ts.ts_owner != NULL:
        at = <turnstile**>&ts.ts_owner.contested
        while at[0] != ts:
            at = &at[0].ts_contested_next
        at[0] = ts.ts_contested_next
    ts.ts_owner = owner
    if owner != NULL:
        ts.ts_contested_next = <turnstile*>owner.contested
        owner.contested = ts


# What td's priority is without loans from locks that it no longer owns.
#
# Locks in:   the queues' raw lock.
# Locks out:  the same.
# May block:  never.
# Stands for: the end of FreeBSD turnstile_disown() and turnstile_unpend(): sched_unlend_prio().
cdef void recompute_priority(thread* td) noexcept nogil:
    cdef turnstile* ts = <turnstile*>td.contested
    cdef uint8_t best = td.base_priority
    cdef int q
    while ts != NULL:
        for q in range(2):
            if ts.ts_first[q] != NULL and ts.ts_first[q].priority < best:
                best = ts.ts_first[q].priority
        ts = ts.ts_contested_next
    if td.priority != best:
        set_priority(td, best)


# The queue of an address, made if there is none.
#
# Locks in:   the chain lock.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD turnstile_wait() where the thread gives its own turnstile to the lock.
cdef turnstile* turnstile_at(thread* td, turnstile_chain* tc, const void* address) noexcept nogil:
    cdef turnstile* ts
    ts = turnstile_lookup(td, tc, address)
    if ts == NULL:
        ts = <turnstile*>arena_alloc(td.machine, sizeof(turnstile))
        ts.ts_address = address
        ts.ts_chain = tc
        ts.ts_next = tc.tc_turnstiles
        tc.tc_turnstiles = ts
    return ts


# Queue td on the address.
#
# Locks in:   the chain lock.
# Locks out:  the same.
# May block:  never; turnstile_block() must follow, with no other wait between.
# Stands for: the first half of FreeBSD turnstile_wait(), sleepq_add().
cdef void turnstile_add(thread* td, turnstile_chain* tc, const void* address, thread* owner, int queue) noexcept nogil:
    cdef turnstile* ts
    chain_assert_locked(td, tc)
    ts = turnstile_at(td, tc, address)
    charge(td, td.machine.cost.op, 20)
    touch_write(td, ts)
    touch_write(td, &td.blocked_on)
    queues_lock(td)
    if ts.ts_last[queue] != NULL:
        touch_write(td, &ts.ts_last[queue].queue_next)
    if owner != NULL:                   # who may be lent to, and on what it is blocked
        touch_write(td, &owner.contested)
        touch_read(td, &owner.priority)
    set_owner(ts, owner)
    queue_insert(ts, td, queue)
    ts.ts_waiters += 1
    atomic_store_pointer(&td.blocked_on, ts)
    td.blocked_queue = queue
    td.asleep = tc.tc_kind == SLEEPQUEUE
    propagate_priority(td)
    queues_unlock(td)


# Leave the CPU until another thread takes td off its queue.
#
# Locks in:   no chain lock, no spin mutex; none that may not be held across a sleep, on a sleep queue.
# Locks out:  the same.
# May block:  always: blocks on a turnstile, sleeps on a sleep queue.
# Stands for: the second half of FreeBSD turnstile_wait(), sleepq_wait().
cdef void turnstile_block(thread* td) noexcept nogil:
    cdef ps_t start
    leaving(td)
    start = now(td)
    while atomic_load_pointer(&td.blocked_on) != NULL:
        park(td)
    if td.wanted.address != NULL:
        # The counting may have begun afresh meanwhile.
        td.blocked += now(td) - (start if start > td.wait_since else td.wait_since)


# td owns the lock at the address, for which threads still wait: it borrows from them.
#
# Locks in:   the chain lock; the one at the address, just taken by td.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD turnstile_claim().
cdef void turnstile_claim(thread* td, turnstile_chain* tc, const void* address) noexcept nogil:
    cdef turnstile* ts
    chain_assert_locked(td, tc)
    ts = turnstile_lookup(td, tc, address)
    if ts != NULL:
        queues_lock(td)
        set_owner(ts, td)
        recompute_priority(td)
        queues_unlock(td)


# td owns the lock at the address, and the turnstile knows from here on.  It has no waiters yet, so nothing is lent.
#
# Locks in:   the chain lock; the one at the address is td's, and has no turnstile.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing in FreeBSD, whose lock words name their owners.
cdef void turnstile_publish(thread* td, turnstile_chain* tc, const void* address) noexcept nogil:
    cdef turnstile* ts
    chain_assert_locked(td, tc)
    ts = turnstile_at(td, tc, address)
    charge(td, td.machine.cost.op, 10)
    touch_write(td, ts)
    touch_write(td, &td.contested)
    queues_lock(td)
    set_owner(ts, td)
    queues_unlock(td)


# Locks in:   the chain lock.
# Locks out:  the same.
# May block:  never.
# Stands for: reading ts_owner of FreeBSD's turnstile.
cdef thread* turnstile_owner(thread* td, turnstile_chain* tc, const void* address) noexcept nogil:
    cdef turnstile* ts
    chain_assert_locked(td, tc)
    ts = turnstile_lookup(td, tc, address)
    return ts.ts_owner if ts != NULL else NULL


# td no longer owns the lock at the address, for which threads still wait: it gives back what it borrowed.
#
# Locks in:   the chain lock; the one at the address was td's until now.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD turnstile_disown().
cdef void turnstile_disown(thread* td, turnstile_chain* tc, const void* address) noexcept nogil:
    cdef turnstile* ts
    chain_assert_locked(td, tc)
    ts = turnstile_lookup(td, tc, address)
    if ts != NULL:
        queues_lock(td)
        set_owner(ts, NULL)
        recompute_priority(td)
        queues_unlock(td)


# Wake all threads of one queue of the address.
#
# Locks in:   the chain lock; the one at the address is td's or was until now (or it is a sleep channel).
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD turnstile_broadcast() with turnstile_unpend(), sleepq_broadcast().
cdef void turnstile_broadcast(thread* td, turnstile_chain* tc, const void* address, int queue) noexcept nogil:
    cdef turnstile* ts
    cdef turnstile** at
    cdef thread* waiter
    cdef thread* owner
    chain_assert_locked(td, tc)
    ts = turnstile_lookup(td, tc, address)
    if ts == NULL:
        return
    touch_write(td, ts)
    queues_lock(td)
    owner = ts.ts_owner
    set_owner(ts, NULL)
    if owner != NULL:
        recompute_priority(owner)
    while ts.ts_first[queue] != NULL:
        waiter = ts.ts_first[queue]
        touch_write(td, &waiter.blocked_on)
        queue_remove(ts, waiter, queue)
        ts.ts_waiters -= 1
        atomic_store_pointer(&waiter.blocked_on, NULL)
        charge(td, td.machine.cost.op, 10)
        unpark(td, waiter)
    queues_unlock(td)
    if ts.ts_waiters == 0:
        at = &tc.tc_turnstiles
        while at[0] != ts:
            at = &at[0].ts_next
        at[0] = ts.ts_next
        arena_free(td.machine, ts, sizeof(turnstile))
