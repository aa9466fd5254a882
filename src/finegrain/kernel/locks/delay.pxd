# lock_delay: the back-off of a wait, doubling from one pause to the machine's limit.

from finegrain.machine.thread cimport lock_delay_arg, thread

cdef enum:
    LOCK_DELAY_MAX_CAP = 32678          # FreeBSD subr_lock.c, lock_delay_default_init()


cdef inline void delay_init(thread* td, lock_delay_arg* delay) noexcept nogil:
    delay.delay = 1
    delay.spin_cnt = 0
    delay.max = td.machine.delay_max
