# Sleeping on an address until wakeup() on it.

from libc.stdint cimport uint16_t

from finegrain.kernel.locks.mtx cimport mtx
from finegrain.kernel.locks.sx cimport sx
from finegrain.machine.thread cimport thread

# Sleep on an address until wakeup() on it, dropping `interlock` (may be NULL) while asleep; it is retaken.
# Stands for msleep(9) and sx_sleep(9) by the kind of lock.
cdef void msleep(thread* td, const void* channel, mtx* interlock, uint16_t site) noexcept nogil
cdef void sleep_sx(thread* td, const void* channel, sx* interlock, uint16_t site) noexcept nogil
cdef void wakeup(thread* td, const void* channel) noexcept nogil                 # all sleepers
