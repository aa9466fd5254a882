# pseudofs: what procfs and its like keep of their files.
#
# One list for the machine holds every vnode that any of them has, under one mutex, and every process that ends walks
# all of it, to throw out what is the process's.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from finegrain.kernel.vfs.types cimport pfs_vdata, vfs_options
from finegrain.machine.thread cimport machine, thread

# Once a machine.  Raises MemoryError.
cdef int pfs_create(machine* m, const vfs_options* options) except -1
# Somebody looks at a file of procfs: a process's (its pid), or one that is there anyway (NO_PID).  It is in the cache
# afterwards.  None held; takes pfs_vncache.
cdef void pfs_vncache_alloc(thread* td, int64_t pid, uint64_t which) noexcept nogil
# A process ends.  None held; takes pfs_vncache.
cdef void pfs_exit(thread* td, int64_t pid) noexcept nogil
