# The lock primitives.  See locks.pxd.
#
# An uncontended acquire is one compare-and-set, a release another (or a store); everything else is below, in one
# slow path for mtx and one for rw and sx, which differ only in where their waiters wait off the CPU: a turnstile,
# which lends priority, or a sleep queue, which does not.
#
# A wait, in the order in which it may go:
#   the owner runs     -> spin with back-off until the word shows another owner, or the owner left its CPU
#   readers hold it    -> a writer announces itself (W_SPINNER) and spins a bounded number of rounds
#   otherwise          -> chain lock, look again, set the waiters bit, queue, leave the CPU
# A release with waiters wakes every thread of one queue and leaves the word free: the woken race with newcomers.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from finegrain.kernel.lock_profile cimport (
    lock_object, lock_profile_holding, lock_profile_releasing, lock_record_of, profile_wait_begin)
from finegrain.kernel.turnstile cimport (
    SLEEPQUEUE, TS_EXCLUSIVE_QUEUE, TS_SHARED_QUEUE, TURNSTILE, chain_lock, chain_unlock, turnstile_add,
    turnstile_block, turnstile_broadcast, turnstile_chain, turnstile_chain_of, turnstile_claim, turnstile_disown,
    turnstiles_create)
from finegrain.machine.machine cimport (
    atomic_cas, atomic_load, atomic_store, lock_delay_arg, machine, panic, running, sched_point, spin_until_changed,
    thread, unlikely, word_changed)

cdef enum:
    # mtx words (FreeBSD sys/mutex.h)
    MTX_UNOWNED = 0
    MTX_CONTESTED = 2
    MTX_FLAGMASK = 7
    # rw and sx words (FreeBSD sys/rwlock.h, sys/sx.h: the same bits in both)
    RW_LOCK_READ = 1
    RW_LOCK_READ_WAITERS = 2
    RW_LOCK_WRITE_WAITERS = 4
    RW_LOCK_WRITE_SPINNER = 8
    RW_LOCK_WAITERS = 6
    RW_LOCK_FLAGMASK = 31
    RW_READERS_SHIFT = 5
    RW_ONE_READER = 32
    RW_UNLOCKED = 1                     # read mode, no readers
    # Back-off (FreeBSD subr_lock.c, kern_rwlock.c): see freebsd-facts in the documentation
    LOCK_DELAY_MAX_CAP = 32678
    ROWNER_RETRIES = 10
    ROWNER_LOOPS_MIN = 10000


cdef int locks_create(machine* m) except -1:
    cdef uint32_t rounded = 1
    while rounded <= m.ncpus:           # lock_roundup_2(): above the number of CPUs
        rounded <<= 1
    m.delay_max = min(rounded * 256, LOCK_DELAY_MAX_CAP)
    turnstiles_create(m)
    return 0


cdef inline void lock_object_init(lock_object* lock, uint16_t name, uint16_t flags) noexcept nogil:
    memset(lock, 0, sizeof(lock_object))
    lock.lo_name = name
    lock.lo_flags = flags


cdef inline void delay_init(thread* td, lock_delay_arg* delay) noexcept nogil:
    delay.delay = 1
    delay.spin_cnt = 0
    delay.max = td.machine.delay_max


# --- mtx ------------------------------------------------------------------------------------------------------------

cdef void mtx_init(mtx* m, uint16_t name, uint16_t flags) noexcept nogil:
    lock_object_init(&m.lock_object, name, flags)
    m.mtx_lock = MTX_UNOWNED


cdef inline thread* mtx_owner(uint64_t v) noexcept nogil:
    return <thread*>(v & ~<uint64_t>MTX_FLAGMASK)


# Take a mutex.
#
# Locks in:   not this one (no recursion); no spin lock.
# Locks out:  the mutex too.
# May block:  on the mutex.
# Stands for: FreeBSD mtx_lock(), __mtx_lock_sleep().
cdef void mtx_lock(thread* td, mtx* m, uint16_t site) noexcept nogil:
    if not atomic_cas(td, &m.mtx_lock, MTX_UNOWNED, <uint64_t>td):
        mtx_lock_hard(td, m, site)
    lock_profile_holding(td, &m.lock_object, site, False, False)


# The contended half of mtx_lock(): spin while the owner runs, else block on the turnstile.
#
# Locks in:   not this mutex.
# Locks out:  the mutex too.
# May block:  on the turnstile.
# Stands for: FreeBSD __mtx_lock_sleep().
cdef void mtx_lock_hard(thread* td, mtx* m, uint16_t site) noexcept nogil:
    cdef lock_delay_arg delay
    cdef turnstile_chain* tc
    cdef thread* owner
    cdef uint64_t v = atomic_load(td, &m.mtx_lock)
    if unlikely(mtx_owner(v) == td):
        panic(td, b"locking a mutex that this thread holds")
    profile_wait_begin(td, &m.lock_object, site, False)
    delay_init(td, &delay)
    while True:
        owner = mtx_owner(v)
        if owner == NULL:
            if atomic_cas(td, &m.mtx_lock, MTX_UNOWNED, <uint64_t>td):
                return
        elif running(owner):
            spin_until_changed(td, &m.mtx_lock, v, owner, &delay, 0)
        else:
            tc = turnstile_chain_of(td, TURNSTILE, m)
            chain_lock(td, tc)
            v = atomic_load(td, &m.mtx_lock)
            owner = mtx_owner(v)
            if (owner != NULL and not running(owner)
                    and (v & MTX_CONTESTED or atomic_cas(td, &m.mtx_lock, v, v | MTX_CONTESTED))):
                turnstile_add(td, tc, m, owner, TS_EXCLUSIVE_QUEUE)
                chain_unlock(td, tc)
                turnstile_block(td)
            else:
                chain_unlock(td, tc)
        v = atomic_load(td, &m.mtx_lock)


# Locks in:   any but this one.
# Locks out:  the mutex too, when the answer is True.
# May block:  never.
# Stands for: FreeBSD mtx_trylock().
cdef bint mtx_trylock(thread* td, mtx* m, uint16_t site) noexcept nogil:
    if atomic_cas(td, &m.mtx_lock, MTX_UNOWNED, <uint64_t>td):
        lock_profile_holding(td, &m.lock_object, site, False, False)
        return True
    lock_record_of(td, &m.lock_object, site).trylock_failures += 1
    return False


# Locks in:   the mutex.
# Locks out:  none of it.
# May block:  never.
# Stands for: FreeBSD mtx_unlock(), __mtx_unlock_sleep().
cdef void mtx_unlock(thread* td, mtx* m) noexcept nogil:
    cdef turnstile_chain* tc
    sched_point(td)
    if unlikely(mtx_owner(m.mtx_lock) != td):
        panic(td, b"unlocking a mutex that this thread does not hold")
    lock_profile_releasing(td, &m.lock_object)
    if atomic_cas(td, &m.mtx_lock, <uint64_t>td, MTX_UNOWNED):
        word_changed(td, &m.mtx_lock)
        return
    tc = turnstile_chain_of(td, TURNSTILE, m)
    chain_lock(td, tc)
    atomic_store(td, &m.mtx_lock, MTX_UNOWNED)
    word_changed(td, &m.mtx_lock)
    turnstile_broadcast(td, tc, m, TS_EXCLUSIVE_QUEUE)
    chain_unlock(td, tc)


cdef bint mtx_owned(thread* td, mtx* m) noexcept nogil:
    return mtx_owner(m.mtx_lock) == td


# Take a spin mutex: busy-waits whether or not the owner runs.
#
# Locks in:   not this one.
# Locks out:  the mutex too; the thread must not block or sleep until it is released.
# May block:  never; spins.
# Stands for: FreeBSD mtx_lock_spin().
cdef void mtx_lock_spin(thread* td, mtx* m, uint16_t site) noexcept nogil:
    cdef lock_delay_arg delay
    cdef uint64_t v
    if not atomic_cas(td, &m.mtx_lock, MTX_UNOWNED, <uint64_t>td):
        if unlikely(mtx_owner(m.mtx_lock) == td):
            panic(td, b"locking a spin mutex that this thread holds")
        profile_wait_begin(td, &m.lock_object, site, False)
        delay_init(td, &delay)
        while True:
            v = atomic_load(td, &m.mtx_lock)
            if v != MTX_UNOWNED:
                spin_until_changed(td, &m.mtx_lock, v, NULL, &delay, 0)
            elif atomic_cas(td, &m.mtx_lock, MTX_UNOWNED, <uint64_t>td):
                break
    lock_profile_holding(td, &m.lock_object, site, False, False)


# Locks in:   the spin mutex.
# Locks out:  none of it.
# May block:  never.
# Stands for: FreeBSD mtx_unlock_spin().
cdef void mtx_unlock_spin(thread* td, mtx* m) noexcept nogil:
    sched_point(td)
    if unlikely(mtx_owner(m.mtx_lock) != td):
        panic(td, b"unlocking a spin mutex that this thread does not hold")
    lock_profile_releasing(td, &m.lock_object)
    atomic_store(td, &m.mtx_lock, MTX_UNOWNED)
    word_changed(td, &m.mtx_lock)


# --- rw and sx: one algorithm ---------------------------------------------------------------------------------------

cdef inline thread* rw_writer(uint64_t v) noexcept nogil:       # NULL in read mode
    return NULL if v & RW_LOCK_READ else <thread*>(v & ~<uint64_t>RW_LOCK_FLAGMASK)


cdef inline int64_t rw_readers(uint64_t v) noexcept nogil:
    return <int64_t>(v >> RW_READERS_SHIFT) if v & RW_LOCK_READ else 0


# May a reader come in?  In the slow path a thread that already reads some lock of the kind may pass waiting writers, or
# two threads that each read one lock and want the other behind a writer would wait for ever.
cdef inline bint rw_can_read(thread* td, uint64_t v, int kind, bint slow) noexcept nogil:
    if v & (RW_LOCK_READ | RW_LOCK_WRITE_WAITERS | RW_LOCK_WRITE_SPINNER) == RW_LOCK_READ:
        return True
    return slow and td.read_held[kind] != 0 and v & RW_LOCK_READ


# Free for a writer, whatever waiter bits and spinner flag it shows.
cdef inline bint rw_free(uint64_t v) noexcept nogil:
    return v & ~<uint64_t>(RW_LOCK_WAITERS | RW_LOCK_WRITE_SPINNER) == RW_UNLOCKED


# Take an rw or sx lock for writing; `kind` says where to wait off the CPU.
#
# Locks in:   not this one.
# Locks out:  the lock, for writing.
# May block:  on the turnstile, or sleeps on the sleep queue.
# Stands for: the shared part of FreeBSD rw_wlock() and sx_xlock().
cdef void rwsx_wlock(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil:
    if not atomic_cas(td, &rw.rw_lock, RW_UNLOCKED, <uint64_t>td):
        rwsx_wlock_hard(td, rw, site, kind)
    lock_profile_holding(td, &rw.lock_object, site, False, False)


# The contended half of rwsx_wlock().
#
# Locks in:   not this one.
# Locks out:  the lock, for writing.
# May block:  on the turnstile, or sleeps on the sleep queue.
# Stands for: FreeBSD __rw_wlock_hard(), _sx_xlock_hard().
cdef void rwsx_wlock_hard(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil:
    cdef lock_delay_arg delay, round
    cdef turnstile_chain* tc
    cdef thread* owner
    cdef int64_t budget = ROWNER_RETRIES * max(<int64_t>ROWNER_LOOPS_MIN, td.machine.delay_max)
    cdef int64_t spent
    cdef uint64_t v = atomic_load(td, &rw.rw_lock)
    if unlikely(rw_writer(v) == td):
        panic(td, b"write-locking a lock that this thread holds")
    profile_wait_begin(td, &rw.lock_object, site, False)
    delay_init(td, &delay)
    while True:
        v = atomic_load(td, &rw.rw_lock)
        if rw_free(v):
            # The waiters stay queued; the new owner answers for them.
            if atomic_cas(td, &rw.rw_lock, v, <uint64_t>td | (v & RW_LOCK_WAITERS)):
                if v & RW_LOCK_WAITERS and kind == TURNSTILE:
                    tc = turnstile_chain_of(td, kind, rw)
                    chain_lock(td, tc)
                    turnstile_claim(td, tc, rw)
                    chain_unlock(td, tc)
                word_changed(td, &rw.rw_lock)
                return
            continue
        owner = rw_writer(v)
        if owner != NULL and running(owner):
            spin_until_changed(td, &rw.rw_lock, v, owner, &delay, 0)
            continue
        if owner == NULL and budget > 0:
            if not v & RW_LOCK_WRITE_SPINNER and not atomic_cas(td, &rw.rw_lock, v, v | RW_LOCK_WRITE_SPINNER):
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
        tc = turnstile_chain_of(td, kind, rw)
        chain_lock(td, tc)
        v = atomic_load(td, &rw.rw_lock)
        owner = rw_writer(v)
        if (rw_free(v) or (owner != NULL and running(owner))
                or (v & (RW_LOCK_WRITE_WAITERS | RW_LOCK_WRITE_SPINNER) != RW_LOCK_WRITE_WAITERS
                    and not atomic_cas(td, &rw.rw_lock, v,
                                       (v & ~<uint64_t>RW_LOCK_WRITE_SPINNER) | RW_LOCK_WRITE_WAITERS))):
            chain_unlock(td, tc)
            continue
        turnstile_add(td, tc, rw, owner if kind == TURNSTILE else NULL, TS_EXCLUSIVE_QUEUE)
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
        lock_profile_holding(td, &rw.lock_object, site, False, False)
        return True
    lock_record_of(td, &rw.lock_object, site).trylock_failures += 1
    return False


# Wake one kind of waiter of a lock that becomes free: writers before readers.
#
# Locks in:   the lock, owned as the word `owned` says.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: the waking halves of FreeBSD __rw_wunlock_hard(), __rw_runlock_hard() and sx's.
cdef void rwsx_wake(thread* td, rwlock* rw, uint64_t owned, int kind) noexcept nogil:
    cdef turnstile_chain* tc = turnstile_chain_of(td, kind, rw)
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
    if unlikely(rw_writer(rw.rw_lock) != td):
        panic(td, b"write-unlocking a lock that this thread does not hold for writing")
    lock_profile_releasing(td, &rw.lock_object)
    if atomic_cas(td, &rw.rw_lock, <uint64_t>td, RW_UNLOCKED):
        word_changed(td, &rw.rw_lock)
    else:
        rwsx_wake(td, rw, <uint64_t>td, kind)


# Take an rw or sx lock for reading.
#
# Locks in:   not this one for writing.
# Locks out:  the lock, for reading.
# May block:  on the turnstile, or sleeps on the sleep queue.
# Stands for: the shared part of FreeBSD rw_rlock() and sx_slock().
cdef void rwsx_rlock(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil:
    cdef uint64_t v
    sched_point(td)
    v = rw.rw_lock
    if not rw_can_read(td, v, kind, False) or not atomic_cas(td, &rw.rw_lock, v, v + RW_ONE_READER):
        v = rwsx_rlock_hard(td, rw, site, kind)
    lock_profile_holding(td, &rw.lock_object, site, True, rw_readers(v) > 0)
    td.read_held[kind] += 1


# Returns the word before this reader.
#
# Locks in:   not this one for writing.
# Locks out:  the lock, for reading.
# May block:  on the turnstile, or sleeps on the sleep queue.
# Stands for: FreeBSD __rw_rlock_hard(), _sx_slock_hard().
cdef uint64_t rwsx_rlock_hard(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil:
    cdef lock_delay_arg delay, round
    cdef turnstile_chain* tc
    cdef thread* owner
    cdef int64_t budget = ROWNER_RETRIES * max(<int64_t>ROWNER_LOOPS_MIN, td.machine.delay_max)
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
            profile_wait_begin(td, &rw.lock_object, site, True)
            continue
        if owner != NULL and running(owner):
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
        tc = turnstile_chain_of(td, kind, rw)
        chain_lock(td, tc)
        v = atomic_load(td, &rw.rw_lock)
        owner = rw_writer(v)
        if (rw_can_read(td, v, kind, True) or (owner != NULL and running(owner))
                or (v & RW_LOCK_READ and rw_readers(v) == 0)
                or (not v & RW_LOCK_READ_WAITERS and not atomic_cas(td, &rw.rw_lock, v, v | RW_LOCK_READ_WAITERS))):
            chain_unlock(td, tc)
            continue
        turnstile_add(td, tc, rw, owner if kind == TURNSTILE else NULL, TS_SHARED_QUEUE)
        chain_unlock(td, tc)
        turnstile_block(td)


# Take the lock for reading if no writer has it.
#
# Locks in:   any.
# Locks out:  the lock for reading, when the answer is True.
# May block:  never.
# Stands for: FreeBSD __rw_try_rlock(), sx_try_slock().
cdef bint rwsx_try_rlock(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil:
    cdef uint64_t v
    while True:
        v = atomic_load(td, &rw.rw_lock)
        if not v & RW_LOCK_READ:
            lock_record_of(td, &rw.lock_object, site).trylock_failures += 1
            return False
        if atomic_cas(td, &rw.rw_lock, v, v + RW_ONE_READER):
            lock_profile_holding(td, &rw.lock_object, site, True, rw_readers(v) > 0)
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
    if unlikely(rw_readers(rw.rw_lock) == 0):
        panic(td, b"read-unlocking a lock that nobody holds for reading")
    lock_profile_releasing(td, &rw.lock_object)
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
# May block:  never.
# Stands for: FreeBSD __rw_try_upgrade(), sx_try_upgrade_().
cdef bint rwsx_try_upgrade(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil:
    cdef uint64_t v
    cdef turnstile_chain* tc
    while True:
        v = atomic_load(td, &rw.rw_lock)
        if rw_readers(v) != 1:
            lock_record_of(td, &rw.lock_object, site).trylock_failures += 1
            return False
        if atomic_cas(td, &rw.rw_lock, v, <uint64_t>td | (v & RW_LOCK_WAITERS)):
            break
    if v & RW_LOCK_WAITERS and kind == TURNSTILE:
        tc = turnstile_chain_of(td, kind, rw)
        chain_lock(td, tc)
        turnstile_claim(td, tc, rw)
        chain_unlock(td, tc)
    word_changed(td, &rw.rw_lock)
    lock_profile_releasing(td, &rw.lock_object)
    td.read_held[kind] -= 1
    lock_profile_holding(td, &rw.lock_object, site, False, True)
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
    if unlikely(rw_writer(rw.rw_lock) != td):
        panic(td, b"downgrading a lock that this thread does not hold for writing")
    lock_profile_releasing(td, &rw.lock_object)
    if not atomic_cas(td, &rw.rw_lock, <uint64_t>td, RW_LOCK_READ | RW_ONE_READER):
        tc = turnstile_chain_of(td, kind, rw)
        chain_lock(td, tc)
        v = atomic_load(td, &rw.rw_lock) & RW_LOCK_WAITERS
        if v & RW_LOCK_WRITE_WAITERS:
            # Readers stay behind the writer; the owner is no longer known.
            atomic_store(td, &rw.rw_lock, RW_LOCK_READ | RW_ONE_READER | v)
            if kind == TURNSTILE:
                turnstile_disown(td, tc, rw)
        else:
            atomic_store(td, &rw.rw_lock, RW_LOCK_READ | RW_ONE_READER)
            turnstile_broadcast(td, tc, rw, TS_SHARED_QUEUE)
        chain_unlock(td, tc)
    word_changed(td, &rw.rw_lock)
    lock_profile_holding(td, &rw.lock_object, site, True, True)
    td.read_held[kind] += 1


# --- rw -------------------------------------------------------------------------------------------------------------

cdef void rw_init(rwlock* rw, uint16_t name, uint16_t flags) noexcept nogil:
    lock_object_init(&rw.lock_object, name, flags)
    rw.rw_lock = RW_UNLOCKED


# Locks in:   not this one.
# Locks out:  the lock, for writing.
# May block:  on the lock.
# Stands for: FreeBSD rw_wlock(), __rw_wlock_hard().
cdef void rw_wlock(thread* td, rwlock* rw, uint16_t site) noexcept nogil:
    rwsx_wlock(td, rw, site, TURNSTILE)


# Locks in:   any.
# Locks out:  the lock for writing, when the answer is True.
# May block:  never.
# Stands for: FreeBSD rw_try_wlock().
cdef bint rw_try_wlock(thread* td, rwlock* rw, uint16_t site) noexcept nogil:
    return rwsx_try_wlock(td, rw, site)


# Locks in:   the lock, for writing.
# Locks out:  none of it.
# May block:  never.
# Stands for: FreeBSD rw_wunlock(), __rw_wunlock_hard().
cdef void rw_wunlock(thread* td, rwlock* rw) noexcept nogil:
    rwsx_wunlock(td, rw, TURNSTILE)


# Locks in:   not this one for writing.
# Locks out:  the lock, for reading.
# May block:  on the lock.
# Stands for: FreeBSD rw_rlock(), __rw_rlock_hard().
cdef void rw_rlock(thread* td, rwlock* rw, uint16_t site) noexcept nogil:
    rwsx_rlock(td, rw, site, TURNSTILE)


# Locks in:   any.
# Locks out:  the lock for reading, when the answer is True.
# May block:  never.
# Stands for: FreeBSD rw_try_rlock().
cdef bint rw_try_rlock(thread* td, rwlock* rw, uint16_t site) noexcept nogil:
    return rwsx_try_rlock(td, rw, site, TURNSTILE)


# Locks in:   the lock, for reading.
# Locks out:  none of it.
# May block:  never.
# Stands for: FreeBSD rw_runlock(), __rw_runlock_hard().
cdef void rw_runlock(thread* td, rwlock* rw) noexcept nogil:
    rwsx_runlock(td, rw, TURNSTILE)


# Locks in:   the lock, for reading.
# Locks out:  the lock: for writing when the answer is True, else still for reading.
# May block:  never.
# Stands for: FreeBSD rw_try_upgrade().
cdef bint rw_try_upgrade(thread* td, rwlock* rw, uint16_t site) noexcept nogil:
    return rwsx_try_upgrade(td, rw, site, TURNSTILE)


# Locks in:   the lock, for writing.
# Locks out:  the lock, for reading.
# May block:  never.
# Stands for: FreeBSD rw_downgrade().
cdef void rw_downgrade(thread* td, rwlock* rw, uint16_t site) noexcept nogil:
    rwsx_downgrade(td, rw, site, TURNSTILE)


cdef bint rw_wowned(thread* td, rwlock* rw) noexcept nogil:
    return rw_writer(rw.rw_lock) == td


cdef bint rw_owned(thread* td, rwlock* rw) noexcept nogil:
    return rw_writer(rw.rw_lock) == td or rw_readers(rw.rw_lock) > 0


# --- sx -------------------------------------------------------------------------------------------------------------

cdef void sx_init(sx* s, uint16_t name, uint16_t flags) noexcept nogil:
    rw_init(<rwlock*>s, name, flags)


# Locks in:   no mtx or rw lock; not this one.
# Locks out:  the lock, exclusively.
# May block:  may sleep on the lock.
# Stands for: FreeBSD sx_xlock(), _sx_xlock_hard().
cdef void sx_xlock(thread* td, sx* s, uint16_t site) noexcept nogil:
    rwsx_wlock(td, <rwlock*>s, site, SLEEPQUEUE)


# Locks in:   any.
# Locks out:  the lock exclusively, when the answer is True.
# May block:  never.
# Stands for: FreeBSD sx_try_xlock().
cdef bint sx_try_xlock(thread* td, sx* s, uint16_t site) noexcept nogil:
    return rwsx_try_wlock(td, <rwlock*>s, site)


# Locks in:   the lock, exclusively.
# Locks out:  none of it.
# May block:  never.
# Stands for: FreeBSD sx_xunlock(), _sx_xunlock_hard().
cdef void sx_xunlock(thread* td, sx* s) noexcept nogil:
    rwsx_wunlock(td, <rwlock*>s, SLEEPQUEUE)


# Locks in:   no mtx or rw lock; not this one exclusively.
# Locks out:  the lock, shared.
# May block:  may sleep on the lock.
# Stands for: FreeBSD sx_slock(), _sx_slock_hard().
cdef void sx_slock(thread* td, sx* s, uint16_t site) noexcept nogil:
    rwsx_rlock(td, <rwlock*>s, site, SLEEPQUEUE)


# Locks in:   any.
# Locks out:  the lock shared, when the answer is True.
# May block:  never.
# Stands for: FreeBSD sx_try_slock().
cdef bint sx_try_slock(thread* td, sx* s, uint16_t site) noexcept nogil:
    return rwsx_try_rlock(td, <rwlock*>s, site, SLEEPQUEUE)


# Locks in:   the lock, shared.
# Locks out:  none of it.
# May block:  never.
# Stands for: FreeBSD sx_sunlock(), _sx_sunlock_hard().
cdef void sx_sunlock(thread* td, sx* s) noexcept nogil:
    rwsx_runlock(td, <rwlock*>s, SLEEPQUEUE)


# Locks in:   the lock, shared.
# Locks out:  the lock: exclusively when the answer is True, else still shared.
# May block:  never.
# Stands for: FreeBSD sx_try_upgrade().
cdef bint sx_try_upgrade(thread* td, sx* s, uint16_t site) noexcept nogil:
    return rwsx_try_upgrade(td, <rwlock*>s, site, SLEEPQUEUE)


# Locks in:   the lock, exclusively.
# Locks out:  the lock, shared.
# May block:  never.
# Stands for: FreeBSD sx_downgrade().
cdef void sx_downgrade(thread* td, sx* s, uint16_t site) noexcept nogil:
    rwsx_downgrade(td, <rwlock*>s, site, SLEEPQUEUE)


cdef bint sx_xlocked(thread* td, sx* s) noexcept nogil:
    return rw_writer(s.sx_lock) == td


# --- sleeping on a channel ------------------------------------------------------------------------------------------

cdef void sleep_begin(thread* td, const void* channel) noexcept nogil:
    cdef turnstile_chain* tc = turnstile_chain_of(td, SLEEPQUEUE, channel)
    chain_lock(td, tc)
    turnstile_add(td, tc, channel, NULL, TS_EXCLUSIVE_QUEUE)
    chain_unlock(td, tc)


# Sleep until wakeup(channel).  Queued before the interlock is dropped, so no wakeup is lost.
#
# Locks in:   the interlock, if one is given; no other lock that may not be held across a sleep.
# Locks out:  the interlock again.
# May block:  sleeps; then on the interlock.
# Stands for: FreeBSD msleep(9) without timeout or signals.
cdef void msleep(thread* td, const void* channel, mtx* interlock, uint16_t site) noexcept nogil:
    sleep_begin(td, channel)
    if interlock != NULL:
        mtx_unlock(td, interlock)
    turnstile_block(td)
    if interlock != NULL:
        mtx_lock(td, interlock, site)


# Locks in:   the interlock exclusively, if one is given.
# Locks out:  the interlock again.
# May block:  sleeps; then on the interlock.
# Stands for: FreeBSD sx_sleep(9) without timeout or signals.
cdef void sleep_sx(thread* td, const void* channel, sx* interlock, uint16_t site) noexcept nogil:
    sleep_begin(td, channel)
    if interlock != NULL:
        sx_xunlock(td, interlock)
    turnstile_block(td)
    if interlock != NULL:
        sx_xlock(td, interlock, site)


# Locks in:   any but a chain lock.
# Locks out:  the same.
# May block:  never; spins.
# Stands for: FreeBSD wakeup(9).
cdef void wakeup(thread* td, const void* channel) noexcept nogil:
    cdef turnstile_chain* tc = turnstile_chain_of(td, SLEEPQUEUE, channel)
    chain_lock(td, tc)
    turnstile_broadcast(td, tc, channel, TS_EXCLUSIVE_QUEUE)
    chain_unlock(td, tc)
