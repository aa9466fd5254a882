# The threads of a process: made, ended, waited for.  Lock: "process lock".
#
# They share the process's address space and descriptors.  A process that ends waits for its other threads first.

from finegrain.kernel.proc.types cimport proc
from finegrain.machine.thread cimport thread

# One thread more, which runs start(td, argument).  None held; takes the process lock.
cdef void kern_thr_new(thread* td, proc* p, void (*start)(thread* td, void* argument) noexcept nogil,
                       void* argument) noexcept nogil
# A thread ends that is not the last one; it must not look at the process again.  None held; takes the process lock.
cdef void kern_thr_exit(thread* td, proc* p) noexcept nogil
# Sleep until the thread is the process's only one.  None held; takes the process lock.
cdef void thread_single(thread* td, proc* p) noexcept nogil
