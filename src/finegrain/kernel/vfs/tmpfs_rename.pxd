# Rename in a tmpfs: see tmpfs_rename.pyx.

from libc.stdint cimport uint32_t

from finegrain.kernel.vfs.types cimport vnode
from finegrain.machine.thread cimport thread

# Give fvp, which has the name fname in fdvp, the name tname in tdvp, in place of tvp if that is not NULL.  Each vnode
# is used, tdvp and tvp are locked exclusively; afterwards they are neither.  0, or an error of errno.h.
cdef int tmpfs_rename(thread* td, vnode* fdvp, vnode* fvp, uint32_t fname, vnode* tdvp, vnode* tvp,
                      uint32_t tname) noexcept nogil
