# The threads of a process: FreeBSD's kern_thr.c, kern_thread.c.  See threads.pxd.
#
# A process that ends does not stop its other threads, as FreeBSD does: it waits until they have done what they have to.

from libc.stdint cimport uint16_t

from finegrain.kernel.locks cimport lock_site, msleep, mtx_lock, mtx_unlock, wakeup
from finegrain.kernel.pmap cimport pmap_deactivate
from finegrain.machine.seam cimport charge, panic, spawn, touch_write, unlikely

cdef uint16_t SITE_NEW = lock_site(b"thread_create")
cdef uint16_t SITE_EXIT = lock_site(b"kern_thr_exit")
cdef uint16_t SITE_SINGLE = lock_site(b"thread_single")

# Work in units of cost.op: our estimates [A] of what the calls cost on an idle machine.
cdef enum:
    OPS_NEW = 3000                      # about 1 us: the thread's struct and stack, its registers
    OPS_EXIT = 1500


# Locks in:   none.
# Locks out:  none.
# May block:  on the process lock.
# Stands for: FreeBSD kern_thr_new(), thread_create().
cdef void kern_thr_new(thread* td, proc* p, void (*start)(thread* td, void* argument) noexcept nogil,
                       void* argument) noexcept nogil:
    charge(td, td.machine.cost.op, OPS_NEW)
    mtx_lock(td, &p.p_mtx, SITE_NEW)
    touch_write(td, &p.p_numthreads)
    p.p_numthreads += 1
    if unlikely(spawn(td, start, argument, p) == NULL):
        panic(td, b"no room for one more thread")
    mtx_unlock(td, &p.p_mtx)


# Locks in:   none; the process's address space is the thread's current one.
# Locks out:  none; the thread has none.
# May block:  on the process lock.
# Stands for: FreeBSD kern_thr_exit(), thread_exit().
cdef void kern_thr_exit(thread* td, proc* p) noexcept nogil:
    charge(td, td.machine.cost.op, OPS_EXIT)
    pmap_deactivate(td, &p.p_vmspace.pm)
    mtx_lock(td, &p.p_mtx, SITE_EXIT)
    touch_write(td, &p.p_numthreads)
    p.p_numthreads -= 1
    if p.p_numthreads == 1:
        wakeup(td, &p.p_numthreads)
    mtx_unlock(td, &p.p_mtx)


# Locks in:   none.
# Locks out:  none.
# May block:  on the process lock; sleeps while there are other threads.
# Stands for: FreeBSD thread_single(SINGLE_EXIT).
cdef void thread_single(thread* td, proc* p) noexcept nogil:
    mtx_lock(td, &p.p_mtx, SITE_SINGLE)
    while p.p_numthreads > 1:
        msleep(td, &p.p_numthreads, &p.p_mtx, SITE_SINGLE)
    mtx_unlock(td, &p.p_mtx)
