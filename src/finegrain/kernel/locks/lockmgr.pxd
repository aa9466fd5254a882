# The lock of a vnode: shared or exclusive, held across sleeps, for as long as an operation on a file takes.  Whoever
# cannot have it sleeps at once: in this era it never spins, however soon the owner may be done.
#
# The words and the algorithm are rw's and sx's (rwsx.pxd): FreeBSD counts sharers from bit 4 on and we from bit 5,
# which nobody sees.  What a lock is named is what its waiters sleep on: "tmpfs" for the vnodes of a tmpfs.

from libc.stdint cimport uint16_t, uint32_t

from finegrain.kernel.locks.profile cimport lock_held
from finegrain.kernel.locks.rwsx cimport (
    RWSX_LOCKMGR, rwlock, rwsx_downgrade, rwsx_init, rwsx_rlock, rwsx_runlock, rwsx_try_rlock, rwsx_try_upgrade,
    rwsx_try_wlock, rwsx_wlock, rwsx_wowned, rwsx_wunlock)
from finegrain.machine.seam cimport panic, unlikely
from finegrain.machine.thread cimport thread

cdef struct lockmgr:                    # 48 bytes: FreeBSD's struct lock
    rwlock lk                           # lock_object, lk_lock
    uint32_t lk_exslpfail
    uint32_t lk_timo
    uint32_t lk_pri
    uint32_t pad


# name: from lock_name("lockmgr", ...)
cdef inline void lockmgr_init(lockmgr* lk, uint16_t name, uint16_t flags) noexcept nogil:
    rwsx_init(&lk.lk, name, flags)


# Locks in:   no mtx or rw lock; not this one.
# Locks out:  the lock, exclusively.
# May block:  sleeps on the lock.
# Stands for: FreeBSD lockmgr(LK_EXCLUSIVE).
cdef inline void lockmgr_xlock(thread* td, lockmgr* lk, uint16_t site) noexcept nogil:
    rwsx_wlock(td, &lk.lk, site, RWSX_LOCKMGR)


# Locks in:   any.
# Locks out:  the lock exclusively, when the answer is True.
# May block:  never.
# Stands for: FreeBSD lockmgr(LK_EXCLUSIVE | LK_NOWAIT).
cdef inline bint lockmgr_try_xlock(thread* td, lockmgr* lk, uint16_t site) noexcept nogil:
    return rwsx_try_wlock(td, &lk.lk, site)


# Locks in:   no mtx or rw lock; not this one exclusively.
# Locks out:  the lock, shared.
# May block:  sleeps on the lock.
# Stands for: FreeBSD lockmgr(LK_SHARED).
cdef inline void lockmgr_slock(thread* td, lockmgr* lk, uint16_t site) noexcept nogil:
    rwsx_rlock(td, &lk.lk, site, RWSX_LOCKMGR)


# Locks in:   any.
# Locks out:  the lock shared, when the answer is True.
# May block:  never.
# Stands for: FreeBSD lockmgr(LK_SHARED | LK_NOWAIT).
cdef inline bint lockmgr_try_slock(thread* td, lockmgr* lk, uint16_t site) noexcept nogil:
    return rwsx_try_rlock(td, &lk.lk, site, RWSX_LOCKMGR)


# Give the lock up, in whatever mode it is held.
#
# Locks in:   the lock, shared or exclusively.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD lockmgr(LK_RELEASE).
cdef inline void lockmgr_unlock(thread* td, lockmgr* lk) noexcept nogil:
    if rwsx_wowned(td, &lk.lk):
        rwsx_wunlock(td, &lk.lk, RWSX_LOCKMGR)
    else:
        rwsx_runlock(td, &lk.lk, RWSX_LOCKMGR)


# Locks in:   the lock, shared.
# Locks out:  the lock: exclusively when the answer is True, else still shared.
# May block:  never.
# Stands for: FreeBSD lockmgr(LK_TRYUPGRADE).
cdef inline bint lockmgr_try_upgrade(thread* td, lockmgr* lk, uint16_t site) noexcept nogil:
    return rwsx_try_upgrade(td, &lk.lk, site, RWSX_LOCKMGR)


# From shared to exclusive, with the lock given up meanwhile where others share it.
#
# Locks in:   the lock, shared; no mtx or rw lock.
# Locks out:  the lock, exclusively.
# May block:  sleeps on the lock, unless the thread is the only one that shares it.
# Returns:    False: it was given up meanwhile, and what it guards may have changed.
# Stands for: FreeBSD lockmgr(LK_UPGRADE).
cdef inline bint lockmgr_upgrade(thread* td, lockmgr* lk, uint16_t site) noexcept nogil:
    if rwsx_try_upgrade(td, &lk.lk, site, RWSX_LOCKMGR):
        return True
    rwsx_runlock(td, &lk.lk, RWSX_LOCKMGR)
    rwsx_wlock(td, &lk.lk, site, RWSX_LOCKMGR)
    return False


# Locks in:   the lock, exclusively.
# Locks out:  the lock, shared.
# May block:  never; spins on the chain.
# Stands for: FreeBSD lockmgr(LK_DOWNGRADE).
cdef inline void lockmgr_downgrade(thread* td, lockmgr* lk, uint16_t site) noexcept nogil:
    rwsx_downgrade(td, &lk.lk, site, RWSX_LOCKMGR)


# Does this thread hold the lock exclusively?
#
# Locks in: any.  Locks out: the same.  May block: never.  Stands for: FreeBSD lockstatus() == LK_EXCLUSIVE.
cdef inline bint lockmgr_xlocked(thread* td, lockmgr* lk) noexcept nogil:
    return rwsx_wowned(td, &lk.lk)


# Locks in: the lock, exclusively.  Locks out: the same.  May block: never.
# Stands for: FreeBSD lockmgr_assert(lk, KA_XLOCKED).
cdef inline void lockmgr_assert_xlocked(thread* td, lockmgr* lk, const char* why) noexcept nogil:
    if unlikely(not lockmgr_xlocked(td, lk)):
        panic(td, why)


# Locks in: the lock, shared or exclusively.  Locks out: the same.  May block: never.
# Stands for: FreeBSD lockmgr_assert(lk, KA_LOCKED) with WITNESS.
cdef inline void lockmgr_assert_locked(thread* td, lockmgr* lk, const char* why) noexcept nogil:
    if unlikely(not (lockmgr_xlocked(td, lk) or lock_held(td, lk))):
        panic(td, why)
