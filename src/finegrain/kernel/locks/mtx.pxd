# The mutex, sleeping and spinning: FreeBSD's word layout and rules, 32 bytes, a lock_object and the word.  `site` is
# the acquisition point (lock_site()).  A sleep mutex is a mutex in one word (mtx8) that brings its identity along.

from libc.stdint cimport uint16_t, uint64_t

from finegrain.kernel.locks.mtx8 cimport mtx8_lock, mtx8_owned, mtx8_trylock, mtx8_unlock_at
from finegrain.kernel.locks.profile cimport lock_object, lock_object_id
from finegrain.machine.seam cimport panic, unlikely
from finegrain.machine.thread cimport lock_id, thread

cdef struct mtx:
    lock_object lock_object
    uint64_t mtx_lock

# name: from lock_name("sleep mutex", ...) or ("spin mutex", ...)
cdef void mtx_init(mtx* m, uint16_t name, uint16_t flags) noexcept nogil
cdef void mtx_lock_spin(thread* td, mtx* m, uint16_t site) noexcept nogil        # spins, never blocks
cdef void mtx_unlock_spin(thread* td, mtx* m) noexcept nogil


cdef inline lock_id mtx_id(mtx* m) noexcept nogil:
    return lock_object_id(&m.lock_object)


# Locks in:   not this one (no recursion); no spin lock.
# Locks out:  the mutex too.
# May block:  on the mutex: spins while its owner runs, else on the turnstile.
# Stands for: FreeBSD mtx_lock().
cdef inline void mtx_lock(thread* td, mtx* m, uint16_t site) noexcept nogil:
    cdef lock_id id = mtx_id(m)
    mtx8_lock(td, &m.mtx_lock, &id, site)


# Locks in:   any but this one.
# Locks out:  the mutex too, when the answer is True.
# May block:  never.
# Stands for: FreeBSD mtx_trylock().
cdef inline bint mtx_trylock(thread* td, mtx* m, uint16_t site) noexcept nogil:
    cdef lock_id id = mtx_id(m)
    return mtx8_trylock(td, &m.mtx_lock, &id, site)


# Locks in:   the mutex.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD mtx_unlock(), __mtx_unlock_sleep().
cdef inline void mtx_unlock(thread* td, mtx* m) noexcept nogil:
    mtx8_unlock_at(td, &m.mtx_lock, m)


# Does this thread hold the mutex?
#
# Locks in: any.  Locks out: the same.  May block: never.  Stands for: FreeBSD mtx_owned().
cdef inline bint mtx_owned(thread* td, mtx* m) noexcept nogil:
    return mtx8_owned(td, &m.mtx_lock)


# Locks in: the mutex.  Locks out: the same.  May block: never.  Stands for: FreeBSD mtx_assert(m, MA_OWNED).
cdef inline void mtx_assert_owned(thread* td, mtx* m, const char* why) noexcept nogil:
    if unlikely(not mtx_owned(td, m)):
        panic(td, why)
