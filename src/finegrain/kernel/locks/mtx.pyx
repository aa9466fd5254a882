# The 32-byte mutex: what it is beyond its word (mtx8.pyx), and the spin mutex.  See mtx.pxd.

from libc.stdint cimport uint16_t, uint64_t

from finegrain.kernel.locks.delay cimport delay_init
from finegrain.kernel.locks.mtx8 cimport MTX_UNOWNED, mtx8_owner
from finegrain.kernel.locks.profile cimport (
    LK_MTX, lock_kind_owner, lock_object_init, lock_profile_holding, lock_profile_releasing, profile_wait_begin)
from finegrain.machine.seam cimport (
    atomic_cas, atomic_load, atomic_load_acq, atomic_store, panic, sched_point, spin_until_changed, spinlock_enter,
    spinlock_exit, unlikely, word_changed)
from finegrain.machine.thread cimport lock_delay_arg, lock_id, thread


cdef void mtx_init(mtx* m, uint16_t name, uint16_t flags) noexcept nogil:
    lock_object_init(&m.lock_object, LK_MTX, name, flags)
    m.mtx_lock = MTX_UNOWNED


cdef thread* mtx_owner_at(thread* td, const void* address) noexcept nogil:
    return mtx8_owner(atomic_load_acq(&(<mtx*>address).mtx_lock))


lock_kind_owner(LK_MTX, mtx_owner_at)


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
        if unlikely(mtx_owned(td, m)):
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
    if unlikely(not mtx_owned(td, m)):
        panic(td, b"unlocking a spin mutex that this thread does not hold")
    lock_profile_releasing(td, m)
    atomic_store(td, &m.mtx_lock, MTX_UNOWNED)
    spinlock_exit(td)
    word_changed(td, &m.mtx_lock)
