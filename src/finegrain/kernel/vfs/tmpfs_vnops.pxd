# Operations on the files of a tmpfs: look up, make, remove, list, attributes.  Answers are 0 or an error of errno.h.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from finegrain.kernel.vfs.types cimport vnode
from finegrain.kernel.vfs.vnode cimport vn_lock_mode
from finegrain.machine.thread cimport thread

# The file of a name: used and locked in that mode.  ENOENT; dvp locked.  `what`: a CACHE_*, for entering the answer.
cdef int tmpfs_lookup(thread* td, vnode* dvp, uint32_t name, int what, vn_lock_mode mode, vnode** vpp) noexcept nogil
# Make a file of a name that nothing has: used and locked exclusively.  dvp X.
cdef int tmpfs_create(thread* td, vnode* dvp, uint32_t name, int type, vnode** vpp) noexcept nogil
# A symbolic link to a path.  Likewise.
cdef int tmpfs_symlink(thread* td, vnode* dvp, uint32_t name, const uint32_t* target, uint32_t count, bint absolute,
                       vnode** vpp) noexcept nogil
# One name more for a file.  dvp X, vp X.
cdef int tmpfs_link(thread* td, vnode* dvp, vnode* vp, uint32_t name) noexcept nogil
# Take a name away: of a file, of an empty directory.  dvp X, vp X.
cdef int tmpfs_remove(thread* td, vnode* dvp, vnode* vp, uint32_t name) noexcept nogil
cdef int tmpfs_rmdir(thread* td, vnode* dvp, vnode* vp, uint32_t name) noexcept nogil
# Names from a place on (0: the beginning; moved on) into a buffer of so many bytes: how many.  vp locked.
cdef int64_t tmpfs_readdir(thread* td, vnode* vp, uint64_t* place, uint64_t bytes) noexcept nogil
# Read the attributes; vp locked.  Change them; vp X.
cdef void tmpfs_getattr(thread* td, vnode* vp) noexcept nogil
cdef void tmpfs_setattr(thread* td, vnode* vp) noexcept nogil
