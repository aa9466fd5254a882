# The contents of the files of a tmpfs: pages of an object.

from libc.stdint cimport uint64_t

from finegrain.kernel.vfs.types cimport vnode
from finegrain.machine.thread cimport thread

# Read up to `bytes` from a place on: how many there were.  vp locked; takes object W and vm page a page.
cdef uint64_t tmpfs_read(thread* td, vnode* vp, uint64_t offset, uint64_t bytes) noexcept nogil
# Write; the file reaches as far afterwards at least.  vp X; takes object W, the free page locks and vm page a page.
cdef void tmpfs_write(thread* td, vnode* vp, uint64_t offset, uint64_t bytes) noexcept nogil
# The file is to be so long.  vp X; takes object W, the free page locks; where pages that go are mapped, the pmap's
# locks.
cdef void tmpfs_truncate(thread* td, vnode* vp, uint64_t size) noexcept nogil
