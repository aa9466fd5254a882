# The shared/exclusive lock that may be held across a sleep: waiters sleep on a sleep queue.

from libc.stdint cimport uint16_t, uint64_t

from finegrain.kernel.locks.profile cimport lock_held, lock_object
from finegrain.kernel.locks.rwsx cimport (
    RWSX_SX, rwlock, rwsx_downgrade, rwsx_init, rwsx_rlock, rwsx_runlock, rwsx_try_rlock, rwsx_try_upgrade,
    rwsx_try_wlock, rwsx_wlock, rwsx_wowned, rwsx_wunlock)
from finegrain.machine.seam cimport panic, unlikely
from finegrain.machine.thread cimport thread

cdef struct sx:                         # invariant: laid out as rwlock
    lock_object lock_object
    uint64_t sx_lock


# name: from lock_name("sx", ...)
cdef inline void sx_init(sx* s, uint16_t name, uint16_t flags) noexcept nogil:
    rwsx_init(<rwlock*>s, name, flags)


# Locks in:   no mtx or rw lock; not this one.
# Locks out:  the lock, exclusively.
# May block:  sleeps on the lock, after spinning as rw_wlock() does.
# Stands for: FreeBSD sx_xlock(), _sx_xlock_hard().
cdef inline void sx_xlock(thread* td, sx* s, uint16_t site) noexcept nogil:
    rwsx_wlock(td, <rwlock*>s, site, RWSX_SX)


# Locks in:   any.
# Locks out:  the lock exclusively, when the answer is True.
# May block:  never.
# Stands for: FreeBSD sx_try_xlock().
cdef inline bint sx_try_xlock(thread* td, sx* s, uint16_t site) noexcept nogil:
    return rwsx_try_wlock(td, <rwlock*>s, site)


# Locks in:   the lock, exclusively.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD sx_xunlock(), _sx_xunlock_hard().
cdef inline void sx_xunlock(thread* td, sx* s) noexcept nogil:
    rwsx_wunlock(td, <rwlock*>s, RWSX_SX)


# Locks in:   no mtx or rw lock; not this one exclusively.
# Locks out:  the lock, shared.
# May block:  sleeps on the lock, after spinning as rw_rlock() does.
# Stands for: FreeBSD sx_slock(), _sx_slock_hard().
cdef inline void sx_slock(thread* td, sx* s, uint16_t site) noexcept nogil:
    rwsx_rlock(td, <rwlock*>s, site, RWSX_SX)


# Locks in:   any.
# Locks out:  the lock shared, when the answer is True.
# May block:  never.
# Stands for: FreeBSD sx_try_slock().
cdef inline bint sx_try_slock(thread* td, sx* s, uint16_t site) noexcept nogil:
    return rwsx_try_rlock(td, <rwlock*>s, site, RWSX_SX)


# Locks in:   the lock, shared.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD sx_sunlock(), _sx_sunlock_hard().
cdef inline void sx_sunlock(thread* td, sx* s) noexcept nogil:
    rwsx_runlock(td, <rwlock*>s, RWSX_SX)


# Locks in:   the lock, shared.
# Locks out:  the lock: exclusively when the answer is True, else still shared.
# May block:  never.
# Stands for: FreeBSD sx_try_upgrade().
cdef inline bint sx_try_upgrade(thread* td, sx* s, uint16_t site) noexcept nogil:
    return rwsx_try_upgrade(td, <rwlock*>s, site, RWSX_SX)


# Locks in:   the lock, exclusively.
# Locks out:  the lock, shared.
# May block:  never; spins on the chain.
# Stands for: FreeBSD sx_downgrade().
cdef inline void sx_downgrade(thread* td, sx* s, uint16_t site) noexcept nogil:
    rwsx_downgrade(td, <rwlock*>s, site, RWSX_SX)


# Does this thread hold the lock exclusively?
#
# Locks in: any.  Locks out: the same.  May block: never.  Stands for: FreeBSD sx_xlocked().
cdef inline bint sx_xlocked(thread* td, sx* s) noexcept nogil:
    return rwsx_wowned(td, <rwlock*>s)


# Locks in: the lock, exclusively.  Locks out: the same.  May block: never.
# Stands for: FreeBSD sx_assert(sx, SA_XLOCKED).
cdef inline void sx_assert_xlocked(thread* td, sx* s, const char* why) noexcept nogil:
    if unlikely(not sx_xlocked(td, s)):
        panic(td, why)


# Locks in: the lock, shared or exclusively.  Locks out: the same.  May block: never.
# Stands for: FreeBSD sx_assert(sx, SA_LOCKED) with WITNESS.
cdef inline void sx_assert_locked(thread* td, sx* s, const char* why) noexcept nogil:
    if unlikely(not (sx_xlocked(td, s) or lock_held(td, s))):
        panic(td, why)
