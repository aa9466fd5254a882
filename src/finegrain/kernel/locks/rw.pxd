# The readers-writer lock that must not be held across a sleep: waiters block on a turnstile, which lends priority.

from libc.stdint cimport uint16_t

from finegrain.kernel.locks.profile cimport lock_held
from finegrain.kernel.locks.rwsx cimport (
    RWSX_RW, rwlock, rwsx_downgrade, rwsx_id, rwsx_init, rwsx_rlock, rwsx_runlock, rwsx_try_rlock, rwsx_try_upgrade,
    rwsx_try_wlock, rwsx_wlock, rwsx_wowned, rwsx_wunlock)
from finegrain.machine.seam cimport panic, unlikely
from finegrain.machine.thread cimport lock_id, thread


# name: from lock_name("rw", ...)
cdef inline void rw_init(rwlock* rw, uint16_t name, uint16_t flags) noexcept nogil:
    rwsx_init(rw, name, flags)


# Locks in:   not this one.
# Locks out:  the lock, for writing.
# May block:  on the lock: spins while its owner runs, a while also on readers, else on the turnstile.
# Stands for: FreeBSD rw_wlock(), __rw_wlock_hard().
cdef inline void rw_wlock(thread* td, rwlock* rw, uint16_t site) noexcept nogil:
    rwsx_wlock(td, rw, site, RWSX_RW)


# Locks in:   any.
# Locks out:  the lock for writing, when the answer is True.
# May block:  never.
# Stands for: FreeBSD rw_try_wlock().
cdef inline bint rw_try_wlock(thread* td, rwlock* rw, uint16_t site) noexcept nogil:
    return rwsx_try_wlock(td, rw, site)


# Locks in:   the lock, for writing.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD rw_wunlock(), __rw_wunlock_hard().
cdef inline void rw_wunlock(thread* td, rwlock* rw) noexcept nogil:
    rwsx_wunlock(td, rw, RWSX_RW)


# Locks in:   not this one for writing.
# Locks out:  the lock, for reading.
# May block:  on the lock: spins while its owner runs, a while also on readers, else on the turnstile.
# Stands for: FreeBSD rw_rlock(), __rw_rlock_hard().
cdef inline void rw_rlock(thread* td, rwlock* rw, uint16_t site) noexcept nogil:
    rwsx_rlock(td, rw, site, RWSX_RW)


# Locks in:   any.
# Locks out:  the lock for reading, when the answer is True.
# May block:  never.
# Stands for: FreeBSD rw_try_rlock().
cdef inline bint rw_try_rlock(thread* td, rwlock* rw, uint16_t site) noexcept nogil:
    return rwsx_try_rlock(td, rw, site, RWSX_RW)


# Locks in:   the lock, for reading.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD rw_runlock(), __rw_runlock_hard().
cdef inline void rw_runlock(thread* td, rwlock* rw) noexcept nogil:
    rwsx_runlock(td, rw, RWSX_RW)


# Locks in:   the lock, for reading.
# Locks out:  the lock: for writing when the answer is True, else still for reading.
# May block:  never; spins on the chain.
# Stands for: FreeBSD rw_try_upgrade().
cdef inline bint rw_try_upgrade(thread* td, rwlock* rw, uint16_t site) noexcept nogil:
    return rwsx_try_upgrade(td, rw, site, RWSX_RW)


# Locks in:   the lock, for writing.
# Locks out:  the lock, for reading.
# May block:  never; spins on the chain.
# Stands for: FreeBSD rw_downgrade().
cdef inline void rw_downgrade(thread* td, rwlock* rw, uint16_t site) noexcept nogil:
    rwsx_downgrade(td, rw, site, RWSX_RW)


# Does this thread hold the lock for writing?
#
# Locks in: any.  Locks out: the same.  May block: never.  Stands for: FreeBSD rw_wowned().
cdef inline bint rw_wowned(thread* td, rwlock* rw) noexcept nogil:
    return rwsx_wowned(td, rw)


# Locks in: the lock, for writing.  Locks out: the same.  May block: never.
# Stands for: FreeBSD rw_assert(rw, RA_WLOCKED).
cdef inline void rw_assert_wlocked(thread* td, rwlock* rw, const char* why) noexcept nogil:
    if unlikely(not rw_wowned(td, rw)):
        panic(td, why)


# Locks in: the lock, for reading or for writing.  Locks out: the same.  May block: never.
# Stands for: FreeBSD rw_assert(rw, RA_LOCKED) with WITNESS; without, FreeBSD sees only that somebody reads.
cdef inline void rw_assert_locked(thread* td, rwlock* rw, const char* why) noexcept nogil:
    if unlikely(not (rw_wowned(td, rw) or lock_held(td, rw))):
        panic(td, why)


cdef inline lock_id rw_id(rwlock* rw) noexcept nogil:
    return rwsx_id(rw)
