# Readers-writer locks.  See rwsx.pxd.
#
# An uncontended acquire is one compare-and-set, a release another; everything else is in the slow paths.  A wait, in
# the order in which it may go:
#   the owner runs     -> spin with back-off until the word shows another owner, or the owner left its CPU
#   readers hold it    -> a writer announces itself (W_SPINNER) and spins a bounded number of rounds
#   otherwise          -> chain lock, look again, set the waiters bit, queue, leave the CPU
# A lockmgr lock knows the last of these only.
# A release with waiters wakes every thread of one queue and leaves the word free: the woken race with newcomers.

from libc.stdint cimport int64_t, uint16_t, uint64_t

from finegrain.kernel.locks.delay cimport delay_init
from finegrain.kernel.locks.profile cimport (
    LK_RWSX, lock_held, lock_kind_owner, lock_object_init, lock_profile_failed, lock_profile_holding,
    lock_profile_releasing, profile_wait_begin)
from finegrain.kernel.locks.turnstile cimport (
    SLEEPQUEUE, TS_EXCLUSIVE_QUEUE, TS_SHARED_QUEUE, TURNSTILE, chain_lock, chain_unlock, turnstile_add,
    turnstile_block, turnstile_broadcast, turnstile_chain, turnstile_chain_of, turnstile_claim, turnstile_disown)
from finegrain.machine.seam cimport (
    atomic_cas, atomic_load, atomic_load_acq, atomic_store, panic, pin, running, sched_point, spin_until_changed,
    unlikely, unpin, word_changed)
from finegrain.machine.thread cimport lock_delay_arg, lock_id, thread

cdef enum:
    # The bounded spin on readers: FreeBSD kern_rwlock.c, rowner_retries and rowner_loops
    ROWNER_RETRIES = 10
    ROWNER_LOOPS_MIN = 10000


cdef void rwsx_init(rwlock* rw, uint16_t name, uint16_t flags) noexcept nogil:
    lock_object_init(&rw.lock_object, LK_RWSX, name, flags)
    rw.rw_lock = RW_UNLOCKED


cdef thread* rwsx_owner_at(thread* td, const void* address) noexcept nogil:
    return rw_writer(atomic_load_acq(&(<rwlock*>address).rw_lock))


lock_kind_owner(LK_RWSX, rwsx_owner_at)


# May a reader come in?  In the slow path a thread that already reads some lock of the kind may pass waiting writers, or
# two threads that each read one lock and want the other behind a writer would wait for ever.
cdef inline bint rw_can_read(thread* td, uint64_t v, int kind, bint slow) noexcept nogil:
    if v & (RW_LOCK_READ | RW_LOCK_WRITE_WAITERS | RW_LOCK_WRITE_SPINNER) == RW_LOCK_READ:
        return True
    return slow and td.read_held[kind] != 0 and v & RW_LOCK_READ


# Is it worth to spin until the owner lets go?
cdef inline bint rw_spin_on(thread* owner, int kind) noexcept nogil:
    return owner != NULL and kind != RWSX_LOCKMGR and running(owner)


# How many pauses a thread spins on readers at most.
cdef inline int64_t rw_budget(thread* td, int kind) noexcept nogil:
    return 0 if kind == RWSX_LOCKMGR else ROWNER_RETRIES * max(<int64_t>ROWNER_LOOPS_MIN, td.machine.delay_max)


# Where those wait who do not spin.
#
# Locks in: any.  Locks out: the same.  May block: never.  Stands for: FreeBSD TC_LOOKUP(), SC_LOOKUP().
cdef inline turnstile_chain* rw_chain(thread* td, rwlock* rw, int kind) noexcept nogil:
    return turnstile_chain_of(td, TURNSTILE if kind == RWSX_RW else SLEEPQUEUE, rw)


# Free for a writer, whatever waiter bits and spinner flag it shows.
cdef inline bint rw_free(uint64_t v) noexcept nogil:
    return v & ~<uint64_t>(RW_LOCK_WAITERS | RW_LOCK_WRITE_SPINNER) == RW_UNLOCKED


# Take a lock for writing; `kind` says how to wait.
#
# Locks in:   not this one.
# Locks out:  the lock, for writing.
# May block:  on the turnstile, or sleeps on the sleep queue.
# Stands for: the shared part of FreeBSD rw_wlock(), sx_xlock() and lockmgr(LK_EXCLUSIVE).
cdef void rwsx_wlock(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil:
    if not atomic_cas(td, &rw.rw_lock, RW_UNLOCKED, <uint64_t>td):
        rwsx_wlock_hard(td, rw, site, kind)
    lock_profile_holding(td, rwsx_id(rw), site, False, False)


# The contended half of rwsx_wlock().
#
# Locks in:   not this one.
# Locks out:  the lock, for writing.
# May block:  on the turnstile, or sleeps on the sleep queue.
# Stands for: FreeBSD __rw_wlock_hard(), _sx_xlock_hard(), lockmgr_xlock_hard().
cdef void rwsx_wlock_hard(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil:
    cdef lock_delay_arg delay, round
    cdef turnstile_chain* tc
    cdef thread* owner
    cdef int64_t budget = rw_budget(td, kind)
    cdef int64_t spent
    cdef bint mine = False              # it has set the spinner flag, and is pinned: readers wait for what it does
    cdef lock_id id = rwsx_id(rw)
    cdef uint64_t v = atomic_load(td, &rw.rw_lock)
    if unlikely(rw_writer(v) == td):
        panic(td, b"write-locking a lock that this thread holds")
    profile_wait_begin(td, &id, site, False)
    delay_init(td, &delay)
    while True:
        v = atomic_load(td, &rw.rw_lock)
        if mine and not v & RW_LOCK_WRITE_SPINNER:
            mine = False
            unpin(td)
        if rw_free(v):
            # The waiters stay queued; the new owner answers for them.
            if atomic_cas(td, &rw.rw_lock, v, <uint64_t>td | (v & RW_LOCK_WAITERS)):
                if v & RW_LOCK_WAITERS and kind == RWSX_RW:
                    tc = rw_chain(td, rw, kind)
                    chain_lock(td, tc)
                    turnstile_claim(td, tc, rw)
                    chain_unlock(td, tc)
                word_changed(td, &rw.rw_lock)
                if mine:
                    unpin(td)
                return
            continue
        owner = rw_writer(v)
        if rw_spin_on(owner, kind):
            spin_until_changed(td, &rw.rw_lock, v, owner, &delay, 0)
            continue
        if owner == NULL and budget > 0:
            if not v & RW_LOCK_WRITE_SPINNER:
                pin(td)
                mine = atomic_cas(td, &rw.rw_lock, v, v | RW_LOCK_WRITE_SPINNER)
                if not mine:
                    unpin(td)
                    continue
            v |= RW_LOCK_WRITE_SPINNER
            # One step is as many pauses as there are readers; the budget counts pauses.
            round.delay = rw_readers(v)
            round.max = round.delay
            round.spin_cnt = 0
            spin_until_changed(td, &rw.rw_lock, v, NULL, &round, budget)
            spent = round.spin_cnt
            budget -= spent if spent > 0 else 1
            continue
        tc = rw_chain(td, rw, kind)
        chain_lock(td, tc)
        v = atomic_load(td, &rw.rw_lock)
        owner = rw_writer(v)
        if (rw_free(v) or rw_spin_on(owner, kind)
                or (v & (RW_LOCK_WRITE_WAITERS | RW_LOCK_WRITE_SPINNER) != RW_LOCK_WRITE_WAITERS
                    and not atomic_cas(td, &rw.rw_lock, v,
                                       (v & ~<uint64_t>RW_LOCK_WRITE_SPINNER) | RW_LOCK_WRITE_WAITERS))):
            chain_unlock(td, tc)
            continue
        turnstile_add(td, tc, rw, owner if kind == RWSX_RW else NULL, TS_EXCLUSIVE_QUEUE)
        if mine:
            mine = False
            unpin(td)
        chain_unlock(td, tc)
        word_changed(td, &rw.rw_lock)
        turnstile_block(td)


# Take the lock for writing if it is free.
#
# Locks in:   any.
# Locks out:  the lock for writing, when the answer is True.
# May block:  never.
# Stands for: FreeBSD __rw_try_wlock(), sx_try_xlock().
cdef bint rwsx_try_wlock(thread* td, rwlock* rw, uint16_t site) noexcept nogil:
    if atomic_cas(td, &rw.rw_lock, RW_UNLOCKED, <uint64_t>td):
        lock_profile_holding(td, rwsx_id(rw), site, False, False)
        return True
    lock_profile_failed(td, rwsx_id(rw), site)
    return False


# Wake one kind of waiter of a lock that becomes free: writers before readers.
#
# Locks in:   the lock, for reading or for writing, as the word `owned` says; no longer noted as held.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: the waking halves of FreeBSD __rw_wunlock_hard(), __rw_runlock_hard() and sx's.
cdef void rwsx_wake(thread* td, rwlock* rw, uint64_t owned, int kind) noexcept nogil:
    cdef turnstile_chain* tc = rw_chain(td, rw, kind)
    cdef uint64_t v, left
    cdef int queue
    chain_lock(td, tc)
    while True:
        v = atomic_load(td, &rw.rw_lock)
        if v & ~<uint64_t>(RW_LOCK_WAITERS | RW_LOCK_WRITE_SPINNER) != owned:
            # Another reader came in or left first: the last one will do it.
            if v & RW_LOCK_READ and rw_readers(v) > 1:
                if not atomic_cas(td, &rw.rw_lock, v, v - RW_ONE_READER):
                    continue
                chain_unlock(td, tc)
                word_changed(td, &rw.rw_lock)
                return
            panic(td, b"releasing a lock in an impossible state")
        if v & RW_LOCK_WRITE_WAITERS:
            queue = TS_EXCLUSIVE_QUEUE
            left = RW_UNLOCKED | (v & (RW_LOCK_READ_WAITERS | RW_LOCK_WRITE_SPINNER))
        else:
            queue = TS_SHARED_QUEUE
            left = RW_UNLOCKED | (v & RW_LOCK_WRITE_SPINNER)
        if atomic_cas(td, &rw.rw_lock, v, left):
            break
    word_changed(td, &rw.rw_lock)
    turnstile_broadcast(td, tc, rw, queue)
    chain_unlock(td, tc)


# Give the lock up by its writer.
#
# Locks in:   the lock, for writing.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD _rw_wunlock_cookie(), _sx_xunlock().
cdef void rwsx_wunlock(thread* td, rwlock* rw, int kind) noexcept nogil:
    sched_point(td)
    if unlikely(rw_writer(atomic_load_acq(&rw.rw_lock)) != td):
        panic(td, b"write-unlocking a lock that this thread does not hold for writing")
    lock_profile_releasing(td, rw)
    if atomic_cas(td, &rw.rw_lock, <uint64_t>td, RW_UNLOCKED):
        word_changed(td, &rw.rw_lock)
    else:
        rwsx_wake(td, rw, <uint64_t>td, kind)


# Take a lock for reading.
#
# Locks in:   not this one for writing.
# Locks out:  the lock, for reading.
# May block:  on the turnstile, or sleeps on the sleep queue.
# Stands for: the shared part of FreeBSD rw_rlock(), sx_slock() and lockmgr(LK_SHARED).
cdef void rwsx_rlock(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil:
    cdef uint64_t v
    sched_point(td)
    v = atomic_load_acq(&rw.rw_lock)
    if not rw_can_read(td, v, kind, False) or not atomic_cas(td, &rw.rw_lock, v, v + RW_ONE_READER):
        v = rwsx_rlock_hard(td, rw, site, kind)
    lock_profile_holding(td, rwsx_id(rw), site, True, rw_readers(v) > 0)
    td.read_held[kind] += 1


# The contended half of rwsx_rlock().
#
# Locks in:   not this one for writing.
# Locks out:  the lock, for reading.
# May block:  on the turnstile, or sleeps on the sleep queue.
# Returns:    the word before this reader.
# Stands for: FreeBSD __rw_rlock_hard(), _sx_slock_hard(), lockmgr_slock_hard().
cdef uint64_t rwsx_rlock_hard(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil:
    cdef lock_delay_arg delay, round
    cdef turnstile_chain* tc
    cdef thread* owner
    cdef int64_t budget = rw_budget(td, kind)
    cdef lock_id id = rwsx_id(rw)
    cdef uint64_t v
    cdef bint slow = False, waiting = False
    delay_init(td, &delay)
    while True:
        v = atomic_load(td, &rw.rw_lock)
        if rw_can_read(td, v, kind, slow):
            if atomic_cas(td, &rw.rw_lock, v, v + RW_ONE_READER):
                return v
            continue
        slow = True
        owner = rw_writer(v)
        if unlikely(owner == td):
            panic(td, b"read-locking a lock that this thread holds for writing")
        if not waiting:
            waiting = True
            profile_wait_begin(td, &id, site, True)
            continue
        if rw_spin_on(owner, kind):
            spin_until_changed(td, &rw.rw_lock, v, owner, &delay, 0)
            continue
        if owner == NULL:
            if v & RW_LOCK_WRITE_SPINNER and rw_readers(v) == 0:
                spin_until_changed(td, &rw.rw_lock, v, NULL, &delay, delay.max)
                continue
            if budget > 0:
                round.delay = max(rw_readers(v), <int64_t>1)
                round.max = round.delay
                round.spin_cnt = 0
                spin_until_changed(td, &rw.rw_lock, v, NULL, &round, budget)
                budget -= round.spin_cnt if round.spin_cnt > 0 else 1
                continue
        tc = rw_chain(td, rw, kind)
        chain_lock(td, tc)
        v = atomic_load(td, &rw.rw_lock)
        owner = rw_writer(v)
        if (rw_can_read(td, v, kind, True) or rw_spin_on(owner, kind)
                or (v & RW_LOCK_READ and rw_readers(v) == 0)
                or (not v & RW_LOCK_READ_WAITERS and not atomic_cas(td, &rw.rw_lock, v, v | RW_LOCK_READ_WAITERS))):
            chain_unlock(td, tc)
            continue
        turnstile_add(td, tc, rw, owner if kind == RWSX_RW else NULL, TS_SHARED_QUEUE)
        chain_unlock(td, tc)
        turnstile_block(td)


# Take the lock for reading if no writer has it; a lockmgr lock, which queues whoever cannot come in at once, also only
# if none waits, unless the thread reads another one.
#
# Locks in:   any.
# Locks out:  the lock for reading, when the answer is True.
# May block:  never.
# Stands for: FreeBSD __rw_try_rlock(), sx_try_slock(), lockmgr(LK_SHARED | LK_NOWAIT).
cdef bint rwsx_try_rlock(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil:
    cdef uint64_t v
    while True:
        v = atomic_load(td, &rw.rw_lock)
        if not v & RW_LOCK_READ or (kind == RWSX_LOCKMGR and not rw_can_read(td, v, kind, True)):
            lock_profile_failed(td, rwsx_id(rw), site)
            return False
        if atomic_cas(td, &rw.rw_lock, v, v + RW_ONE_READER):
            lock_profile_holding(td, rwsx_id(rw), site, True, rw_readers(v) > 0)
            td.read_held[kind] += 1
            return True


# Give the lock up by one of its readers; the last one wakes who waits.
#
# Locks in:   the lock, for reading.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD _rw_runlock_cookie(), _sx_sunlock().
cdef void rwsx_runlock(thread* td, rwlock* rw, int kind) noexcept nogil:
    cdef uint64_t v
    sched_point(td)
    if unlikely(rw_readers(atomic_load_acq(&rw.rw_lock)) == 0):
        panic(td, b"read-unlocking a lock that nobody holds for reading")
    lock_profile_releasing(td, rw)
    td.read_held[kind] -= 1
    while True:
        v = atomic_load(td, &rw.rw_lock)
        if rw_readers(v) == 1 and v & RW_LOCK_WAITERS:
            rwsx_wake(td, rw, RW_LOCK_READ | RW_ONE_READER, kind)
            return
        if atomic_cas(td, &rw.rw_lock, v, v - RW_ONE_READER):
            word_changed(td, &rw.rw_lock)
            return


# The sole reader becomes the writer; the profile sees a release and an acquisition.
#
# Locks in:   the lock, for reading.
# Locks out:  the lock: for writing when the answer is True, else still for reading.
# May block:  never; spins on the chain.
# Stands for: FreeBSD __rw_try_upgrade(), sx_try_upgrade_().
cdef bint rwsx_try_upgrade(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil:
    cdef uint64_t v
    cdef turnstile_chain* tc
    if unlikely(not lock_held(td, rw)):
        panic(td, b"upgrading a lock that this thread does not hold for reading")
    while True:
        v = atomic_load(td, &rw.rw_lock)
        if rw_readers(v) != 1:
            lock_profile_failed(td, rwsx_id(rw), site)
            return False
        if atomic_cas(td, &rw.rw_lock, v, <uint64_t>td | (v & RW_LOCK_WAITERS)):
            break
    if v & RW_LOCK_WAITERS and kind == RWSX_RW:
        tc = rw_chain(td, rw, kind)
        chain_lock(td, tc)
        turnstile_claim(td, tc, rw)
        chain_unlock(td, tc)
    word_changed(td, &rw.rw_lock)
    lock_profile_releasing(td, rw)
    td.read_held[kind] -= 1
    lock_profile_holding(td, rwsx_id(rw), site, False, True)
    return True


# The writer becomes a reader; waiting readers come in unless a writer waits too.
#
# Locks in:   the lock, for writing.
# Locks out:  the lock, for reading.
# May block:  never; spins on the chain.
# Stands for: FreeBSD __rw_downgrade(), sx_downgrade_().
cdef void rwsx_downgrade(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil:
    cdef uint64_t v
    cdef turnstile_chain* tc
    sched_point(td)
    if unlikely(rw_writer(atomic_load_acq(&rw.rw_lock)) != td):
        panic(td, b"downgrading a lock that this thread does not hold for writing")
    lock_profile_releasing(td, rw)
    if not atomic_cas(td, &rw.rw_lock, <uint64_t>td, RW_LOCK_READ | RW_ONE_READER):
        tc = rw_chain(td, rw, kind)
        chain_lock(td, tc)
        v = atomic_load(td, &rw.rw_lock) & RW_LOCK_WAITERS
        if v & RW_LOCK_WRITE_WAITERS:
            # Readers stay behind the writer; the owner is no longer known.
            atomic_store(td, &rw.rw_lock, RW_LOCK_READ | RW_ONE_READER | v)
            if kind == RWSX_RW:
                turnstile_disown(td, tc, rw)
        else:
            atomic_store(td, &rw.rw_lock, RW_LOCK_READ | RW_ONE_READER)
            turnstile_broadcast(td, tc, rw, TS_SHARED_QUEUE)
        chain_unlock(td, tc)
    word_changed(td, &rw.rw_lock)
    lock_profile_holding(td, rwsx_id(rw), site, True, True)
    td.read_held[kind] += 1
