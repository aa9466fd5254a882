# The mutex.  See mtx.pxd.
#
# An uncontended acquire is one compare-and-set, a release another (or a store); everything else is in one slow path.
# A wait, in the order in which it may go:
#   the owner runs     -> spin with back-off until the word shows another owner, or the owner left its CPU
#   otherwise          -> chain lock, look again, set the contested bit, queue, leave the CPU
# A release with waiters wakes them all and leaves the word free: the woken race with newcomers.

from libc.stdint cimport uint16_t, uint64_t

from finegrain.kernel.locks.delay cimport delay_init
from finegrain.kernel.locks.profile cimport (
    LK_MTX, lock_kind_owner, lock_object_init, lock_profile_failed, lock_profile_holding, lock_profile_releasing,
    profile_wait_begin)
from finegrain.kernel.locks.turnstile cimport (
    TS_EXCLUSIVE_QUEUE, TURNSTILE, chain_lock, chain_unlock, turnstile_add, turnstile_block, turnstile_broadcast,
    turnstile_chain, turnstile_chain_of)
from finegrain.machine.seam cimport (
    atomic_cas, atomic_load, atomic_load_acq, atomic_store, panic, running, sched_point, spin_until_changed,
    spinlock_enter, spinlock_exit, unlikely, word_changed)
from finegrain.machine.thread cimport lock_delay_arg, lock_id, thread


cdef void mtx_init(mtx* m, uint16_t name, uint16_t flags) noexcept nogil:
    lock_object_init(&m.lock_object, LK_MTX, name, flags)
    m.mtx_lock = MTX_UNOWNED


cdef thread* mtx_owner_at(const void* address) noexcept nogil:
    return mtx_owner(atomic_load_acq(&(<mtx*>address).mtx_lock))


lock_kind_owner(LK_MTX, mtx_owner_at)


# Take a mutex.
#
# Locks in:   not this one (no recursion); no spin lock.
# Locks out:  the mutex too.
# May block:  on the mutex: spins while its owner runs, else on the turnstile.
# Stands for: FreeBSD mtx_lock().
cdef void mtx_lock(thread* td, mtx* m, uint16_t site) noexcept nogil:
    if not atomic_cas(td, &m.mtx_lock, MTX_UNOWNED, <uint64_t>td):
        mtx_lock_hard(td, m, site)
    lock_profile_holding(td, mtx_id(m), site, False, False)


# The contended half of mtx_lock(): spin while the owner runs, else block on the turnstile.
#
# Locks in:   not this mutex.
# Locks out:  the mutex too.
# May block:  on the mutex: spins while its owner runs, else on the turnstile.
# Stands for: FreeBSD __mtx_lock_sleep().
cdef void mtx_lock_hard(thread* td, mtx* m, uint16_t site) noexcept nogil:
    cdef lock_delay_arg delay
    cdef turnstile_chain* tc
    cdef thread* owner
    cdef lock_id id = mtx_id(m)
    cdef uint64_t v = atomic_load(td, &m.mtx_lock)
    if unlikely(mtx_owner(v) == td):
        panic(td, b"locking a mutex that this thread holds")
    profile_wait_begin(td, &id, site, False)
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


# Take a mutex if it is free.
#
# Locks in:   any but this one.
# Locks out:  the mutex too, when the answer is True.
# May block:  never.
# Stands for: FreeBSD mtx_trylock().
cdef bint mtx_trylock(thread* td, mtx* m, uint16_t site) noexcept nogil:
    if atomic_cas(td, &m.mtx_lock, MTX_UNOWNED, <uint64_t>td):
        lock_profile_holding(td, mtx_id(m), site, False, False)
        return True
    lock_profile_failed(td, mtx_id(m), site)
    return False


# Give a mutex up; all its waiters wake.
#
# Locks in:   the mutex.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD mtx_unlock(), __mtx_unlock_sleep().
cdef void mtx_unlock(thread* td, mtx* m) noexcept nogil:
    cdef turnstile_chain* tc
    sched_point(td)
    if unlikely(mtx_owner(atomic_load_acq(&m.mtx_lock)) != td):
        panic(td, b"unlocking a mutex that this thread does not hold")
    lock_profile_releasing(td, m)
    if atomic_cas(td, &m.mtx_lock, <uint64_t>td, MTX_UNOWNED):
        word_changed(td, &m.mtx_lock)
        return
    tc = turnstile_chain_of(td, TURNSTILE, m)
    chain_lock(td, tc)
    atomic_store(td, &m.mtx_lock, MTX_UNOWNED)
    word_changed(td, &m.mtx_lock)
    turnstile_broadcast(td, tc, m, TS_EXCLUSIVE_QUEUE)
    chain_unlock(td, tc)


# Take a spin mutex: busy-waits whether or not the owner runs.
#
# Locks in:   not this one.
# Locks out:  the mutex too; the thread must not block or sleep until it is released.
# May block:  never; spins.
# Stands for: FreeBSD mtx_lock_spin().
cdef void mtx_lock_spin(thread* td, mtx* m, uint16_t site) noexcept nogil:
    cdef lock_delay_arg delay
    cdef lock_id id
    cdef uint64_t v
    if not atomic_cas(td, &m.mtx_lock, MTX_UNOWNED, <uint64_t>td):
        if unlikely(mtx_owner(atomic_load_acq(&m.mtx_lock)) == td):
            panic(td, b"locking a spin mutex that this thread holds")
        id = mtx_id(m)
        profile_wait_begin(td, &id, site, False)
        delay_init(td, &delay)
        while True:
            v = atomic_load(td, &m.mtx_lock)
            if v != MTX_UNOWNED:
                spin_until_changed(td, &m.mtx_lock, v, NULL, &delay, 0)
            elif atomic_cas(td, &m.mtx_lock, MTX_UNOWNED, <uint64_t>td):
                break
    spinlock_enter(td)
    lock_profile_holding(td, mtx_id(m), site, False, False)


# Give a spin mutex up.
#
# Locks in:   the spin mutex.
# Locks out:  none of it.
# May block:  never.
# Stands for: FreeBSD mtx_unlock_spin().
cdef void mtx_unlock_spin(thread* td, mtx* m) noexcept nogil:
    sched_point(td)
    if unlikely(mtx_owner(atomic_load_acq(&m.mtx_lock)) != td):
        panic(td, b"unlocking a spin mutex that this thread does not hold")
    lock_profile_releasing(td, m)
    atomic_store(td, &m.mtx_lock, MTX_UNOWNED)
    spinlock_exit(td)
    word_changed(td, &m.mtx_lock)
