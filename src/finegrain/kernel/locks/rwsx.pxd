# The one algorithm behind rw, sx and lockmgr: a word that readers count in, with writer preference.  They differ only
# in how their waiters wait (`kind`): off the CPU on a turnstile, which lends priority, or on a sleep queue, which does
# not; and before that spinning, or not at all.

from libc.stdint cimport int64_t, uint16_t, uint64_t

from finegrain.kernel.locks.profile cimport lock_object, lock_object_id
from finegrain.machine.seam cimport atomic_load_acq
from finegrain.machine.thread cimport lock_id, thread

cdef enum rwsx_kind:
    RWSX_RW = 0                         # spins, then blocks on a turnstile
    RWSX_SX                             # spins, then sleeps
    RWSX_LOCKMGR                        # sleeps

cdef enum:
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

cdef struct rwlock:                     # 32 bytes
    lock_object lock_object
    uint64_t rw_lock

cdef void rwsx_init(rwlock* rw, uint16_t name, uint16_t flags) noexcept nogil
cdef void rwsx_wlock(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil
cdef bint rwsx_try_wlock(thread* td, rwlock* rw, uint16_t site) noexcept nogil
cdef void rwsx_wunlock(thread* td, rwlock* rw, int kind) noexcept nogil
cdef void rwsx_rlock(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil
cdef bint rwsx_try_rlock(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil
cdef void rwsx_runlock(thread* td, rwlock* rw, int kind) noexcept nogil
cdef bint rwsx_try_upgrade(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil
cdef void rwsx_downgrade(thread* td, rwlock* rw, uint16_t site, int kind) noexcept nogil


cdef inline thread* rw_writer(uint64_t v) noexcept nogil:       # NULL in read mode
    return NULL if v & RW_LOCK_READ else <thread*>(v & ~<uint64_t>RW_LOCK_FLAGMASK)


cdef inline int64_t rw_readers(uint64_t v) noexcept nogil:
    return <int64_t>(v >> RW_READERS_SHIFT) if v & RW_LOCK_READ else 0


# Does this thread hold the lock for writing?
#
# Locks in: any.  Locks out: the same.  May block: never.  Stands for: FreeBSD rw_wowned(), sx_xlocked().
cdef inline bint rwsx_wowned(thread* td, rwlock* rw) noexcept nogil:
    return rw_writer(atomic_load_acq(&rw.rw_lock)) == td


cdef inline lock_id rwsx_id(rwlock* rw) noexcept nogil:
    return lock_object_id(&rw.lock_object)
