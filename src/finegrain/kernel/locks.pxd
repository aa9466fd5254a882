# The lock primitives: mtx, rw, sx.  Each has FreeBSD's word layout and its rules for spinning, sleeping, waking and
# preference; each is 32 bytes, a lock_object and the word.  `site` is the acquisition point (lock_site()).
# lockmgr, the 8-byte mutex and the 2-bit lock will stand beside these, on the same turnstiles and sleep queues.

from libc.stdint cimport uint16_t, uint32_t, uint64_t

from finegrain.kernel.lock_profile cimport lock_object
from finegrain.machine.machine cimport machine, thread

cdef struct mtx:
    lock_object lock_object
    uint64_t mtx_lock

cdef struct rwlock:
    lock_object lock_object
    uint64_t rw_lock

cdef struct sx:
    lock_object lock_object
    uint64_t sx_lock

# Turnstile chains, sleep queue chains and back-off limits of a machine.
cdef int locks_create(machine* m) except -1

# name: from lock_name("sleep mutex", ...), ("spin mutex", ...), ("rw", ...), ("sx", ...)
cdef void mtx_init(mtx* m, uint16_t name, uint16_t flags) noexcept nogil
cdef void mtx_lock(thread* td, mtx* m, uint16_t site) noexcept nogil             # may block
cdef bint mtx_trylock(thread* td, mtx* m, uint16_t site) noexcept nogil
cdef void mtx_unlock(thread* td, mtx* m) noexcept nogil
cdef bint mtx_owned(thread* td, mtx* m) noexcept nogil
cdef void mtx_lock_spin(thread* td, mtx* m, uint16_t site) noexcept nogil        # spins, never blocks
cdef void mtx_unlock_spin(thread* td, mtx* m) noexcept nogil

cdef void rw_init(rwlock* rw, uint16_t name, uint16_t flags) noexcept nogil
cdef void rw_wlock(thread* td, rwlock* rw, uint16_t site) noexcept nogil         # may block
cdef bint rw_try_wlock(thread* td, rwlock* rw, uint16_t site) noexcept nogil
cdef void rw_wunlock(thread* td, rwlock* rw) noexcept nogil
cdef void rw_rlock(thread* td, rwlock* rw, uint16_t site) noexcept nogil         # may block
cdef bint rw_try_rlock(thread* td, rwlock* rw, uint16_t site) noexcept nogil
cdef void rw_runlock(thread* td, rwlock* rw) noexcept nogil
cdef bint rw_try_upgrade(thread* td, rwlock* rw, uint16_t site) noexcept nogil
cdef void rw_downgrade(thread* td, rwlock* rw, uint16_t site) noexcept nogil
cdef bint rw_wowned(thread* td, rwlock* rw) noexcept nogil
cdef bint rw_owned(thread* td, rwlock* rw) noexcept nogil                        # write owned here, or read by anyone

cdef void sx_init(sx* s, uint16_t name, uint16_t flags) noexcept nogil
cdef void sx_xlock(thread* td, sx* s, uint16_t site) noexcept nogil              # may sleep
cdef bint sx_try_xlock(thread* td, sx* s, uint16_t site) noexcept nogil
cdef void sx_xunlock(thread* td, sx* s) noexcept nogil
cdef void sx_slock(thread* td, sx* s, uint16_t site) noexcept nogil              # may sleep
cdef bint sx_try_slock(thread* td, sx* s, uint16_t site) noexcept nogil
cdef void sx_sunlock(thread* td, sx* s) noexcept nogil
cdef bint sx_try_upgrade(thread* td, sx* s, uint16_t site) noexcept nogil
cdef void sx_downgrade(thread* td, sx* s, uint16_t site) noexcept nogil
cdef bint sx_xlocked(thread* td, sx* s) noexcept nogil                           # held exclusively by this thread

# Sleep on an address until wakeup() on it, dropping `interlock` (may be NULL) while asleep; it is retaken.
# Stands for msleep(9) and sx_sleep(9) by the kind of lock.
cdef void msleep(thread* td, const void* channel, mtx* interlock, uint16_t site) noexcept nogil
cdef void sleep_sx(thread* td, const void* channel, sx* interlock, uint16_t site) noexcept nogil
cdef void wakeup(thread* td, const void* channel) noexcept nogil                 # all sleepers
