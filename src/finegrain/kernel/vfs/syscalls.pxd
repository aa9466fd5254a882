# System calls on paths.  Answers are 0, or an error of errno.h; none is held, all take vnodes' locks.

from libc.stdint cimport uint32_t, uint64_t

from finegrain.kernel.vfs.files cimport start_dirs
from finegrain.kernel.vfs.types cimport vnode
from finegrain.machine.thread cimport thread

# A path: names from the root or from the working directory on.
cdef struct path_arg:
    const uint32_t* names
    uint32_t count
    bint absolute

# stat, access: the size (NULL: nobody asks).  nofollow: lstat, readlink.
cdef int kern_stat(thread* td, const start_dirs* at, const path_arg* path, bint nofollow, uint64_t* size) noexcept nogil
# chmod, chown, utimes: attributes other than the size.
cdef int kern_setattr(thread* td, const start_dirs* at, const path_arg* path) noexcept nogil
cdef int kern_truncate(thread* td, const start_dirs* at, const path_arg* path, uint64_t size) noexcept nogil
cdef int kern_mkdir(thread* td, const start_dirs* at, const path_arg* path) noexcept nogil
cdef int kern_rmdir(thread* td, const start_dirs* at, const path_arg* path) noexcept nogil
cdef int kern_unlink(thread* td, const start_dirs* at, const path_arg* path) noexcept nogil
cdef int kern_symlink(thread* td, const start_dirs* at, const path_arg* target, const path_arg* path) noexcept nogil
cdef int kern_link(thread* td, const start_dirs* at, const path_arg* old, const path_arg* path) noexcept nogil
cdef int kern_rename(thread* td, const start_dirs* at, const path_arg* old, const path_arg* path) noexcept nogil
# The working directory is to be another one; at.cwd's use goes, and the new one is used.
cdef int kern_chdir(thread* td, start_dirs* at, const path_arg* path) noexcept nogil
# The vnode of a path: used, not locked.  For exec, and for who wants to work with it.
cdef int kern_find(thread* td, const start_dirs* at, const path_arg* path, vnode** vpp) noexcept nogil
