# The mutex, sleeping and spinning: FreeBSD's word layout and rules, 32 bytes, a lock_object and the word.  `site` is
# the acquisition point (lock_site()).

from libc.stdint cimport uint16_t, uint64_t

from finegrain.kernel.locks.profile cimport lock_object, lock_object_id
from finegrain.machine.seam cimport atomic_load_acq, panic, unlikely
from finegrain.machine.thread cimport lock_id, thread

cdef enum:
    # mtx words (FreeBSD sys/mutex.h)
    MTX_UNOWNED = 0
    MTX_CONTESTED = 2
    MTX_FLAGMASK = 7

cdef struct mtx:
    lock_object lock_object
    uint64_t mtx_lock

# name: from lock_name("sleep mutex", ...) or ("spin mutex", ...)
cdef void mtx_init(mtx* m, uint16_t name, uint16_t flags) noexcept nogil
cdef void mtx_lock(thread* td, mtx* m, uint16_t site) noexcept nogil             # may block
cdef bint mtx_trylock(thread* td, mtx* m, uint16_t site) noexcept nogil
cdef void mtx_unlock(thread* td, mtx* m) noexcept nogil
cdef void mtx_lock_spin(thread* td, mtx* m, uint16_t site) noexcept nogil        # spins, never blocks
cdef void mtx_unlock_spin(thread* td, mtx* m) noexcept nogil


cdef inline thread* mtx_owner(uint64_t v) noexcept nogil:
    return <thread*>(v & ~<uint64_t>MTX_FLAGMASK)


# Does this thread hold the mutex?
#
# Locks in: any.  Locks out: the same.  May block: never.  Stands for: FreeBSD mtx_owned().
cdef inline bint mtx_owned(thread* td, mtx* m) noexcept nogil:
    return mtx_owner(atomic_load_acq(&m.mtx_lock)) == td


# Locks in: the mutex.  Locks out: the same.  May block: never.  Stands for: FreeBSD mtx_assert(m, MA_OWNED).
cdef inline void mtx_assert_owned(thread* td, mtx* m, const char* why) noexcept nogil:
    if unlikely(not mtx_owned(td, m)):
        panic(td, why)


cdef inline lock_id mtx_id(mtx* m) noexcept nogil:
    return lock_object_id(&m.lock_object)
