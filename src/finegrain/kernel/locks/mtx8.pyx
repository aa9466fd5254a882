# The mutex.  See mtx8.pxd.
#
# An uncontended acquire is one compare-and-set, a release another (or a store); everything else is in one slow path.
# A wait, in the order in which it may go:
#   the owner runs     -> spin with back-off until the word shows another owner, or the owner left its CPU
#   otherwise          -> chain lock, look again, set the contested bit, queue, leave the CPU
# A release with waiters wakes them all and leaves the word free: the woken race with newcomers.

from libc.stdint cimport uint16_t, uint64_t

from finegrain.kernel.locks.delay cimport delay_init
from finegrain.kernel.locks.profile cimport (
    LK_MTX8, lock_kind_owner, lock_profile_failed, lock_profile_holding, lock_profile_releasing, profile_wait_begin)
from finegrain.kernel.locks.turnstile cimport (
    TS_EXCLUSIVE_QUEUE, TURNSTILE, chain_lock, chain_unlock, turnstile_add, turnstile_block, turnstile_broadcast,
    turnstile_chain, turnstile_chain_of)
from finegrain.machine.seam cimport (
    atomic_cas, atomic_load, atomic_load_acq, atomic_store, panic, running, sched_point, spin_until_changed, unlikely,
    word_changed)
from finegrain.machine.thread cimport lock_delay_arg, lock_id, thread


cdef thread* mtx8_owner_at(thread* td, const void* address) noexcept nogil:
    return mtx8_owner(atomic_load_acq(<uint64_t*>address))


lock_kind_owner(LK_MTX8, mtx8_owner_at)


# Take a mutex.
#
# Locks in:   not this one (no recursion); no spin lock.
# Locks out:  the mutex too.
# May block:  on the mutex: spins while its owner runs, else on the turnstile.
# Stands for: FreeBSD mtx_lock().
cdef void mtx8_lock(thread* td, uint64_t* word, const lock_id* id, uint16_t site) noexcept nogil:
    if not atomic_cas(td, word, MTX_UNOWNED, <uint64_t>td):
        mtx8_lock_hard(td, word, id, site)
    lock_profile_holding(td, id[0], site, False, False)


# The contended half of mtx8_lock(): spin while the owner runs, else block on the turnstile.
#
# Locks in:   not this mutex.
# Locks out:  the mutex too.
# May block:  on the mutex: spins while its owner runs, else on the turnstile.
# Stands for: FreeBSD __mtx_lock_sleep().
cdef void mtx8_lock_hard(thread* td, uint64_t* word, const lock_id* id, uint16_t site) noexcept nogil:
    cdef lock_delay_arg delay
    cdef turnstile_chain* tc
    cdef thread* owner
    cdef uint64_t v = atomic_load(td, word)
    if unlikely(mtx8_owner(v) == td):
        panic(td, b"locking a mutex that this thread holds")
    profile_wait_begin(td, id, site, False)
    delay_init(td, &delay)
    while True:
        owner = mtx8_owner(v)
        if owner == NULL:
            if atomic_cas(td, word, MTX_UNOWNED, <uint64_t>td):
                return
        elif running(owner):
            spin_until_changed(td, word, v, owner, &delay, 0)
        else:
            tc = turnstile_chain_of(td, TURNSTILE, id.address)
            chain_lock(td, tc)
            v = atomic_load(td, word)
            owner = mtx8_owner(v)
            if (owner != NULL and not running(owner)
                    and (v & MTX_CONTESTED or atomic_cas(td, word, v, v | MTX_CONTESTED))):
                turnstile_add(td, tc, id.address, owner, TS_EXCLUSIVE_QUEUE)
                chain_unlock(td, tc)
                turnstile_block(td)
            else:
                chain_unlock(td, tc)
        v = atomic_load(td, word)


# Take a mutex if it is free.
#
# Locks in:   any but this one.
# Locks out:  the mutex too, when the answer is True.
# May block:  never.
# Stands for: FreeBSD mtx_trylock().
cdef bint mtx8_trylock(thread* td, uint64_t* word, const lock_id* id, uint16_t site) noexcept nogil:
    if atomic_cas(td, word, MTX_UNOWNED, <uint64_t>td):
        lock_profile_holding(td, id[0], site, False, False)
        return True
    lock_profile_failed(td, id[0], site)
    return False


# Give a mutex up; all its waiters wake.
#
# Locks in:   the mutex.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD mtx_unlock(), __mtx_unlock_sleep().
cdef void mtx8_unlock_at(thread* td, uint64_t* word, const void* address) noexcept nogil:
    cdef turnstile_chain* tc
    sched_point(td)
    if unlikely(mtx8_owner(atomic_load_acq(word)) != td):
        panic(td, b"unlocking a mutex that this thread does not hold")
    lock_profile_releasing(td, address)
    if atomic_cas(td, word, <uint64_t>td, MTX_UNOWNED):
        word_changed(td, word)
        return
    tc = turnstile_chain_of(td, TURNSTILE, address)
    chain_lock(td, tc)
    atomic_store(td, word, MTX_UNOWNED)
    word_changed(td, word)
    turnstile_broadcast(td, tc, address, TS_EXCLUSIVE_QUEUE)
    chain_unlock(td, tc)
