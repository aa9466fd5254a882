# The entries of a directory of tmpfs.  Its vnode locked: S to look, X to change.

from libc.stdint cimport uint32_t, uint64_t

from finegrain.kernel.vfs.types cimport tmpfs_dirent, tmpfs_node, vnode
from finegrain.machine.thread cimport thread

cdef tmpfs_dirent* tmpfs_dir_lookup(thread* td, vnode* dvp, uint32_t name) noexcept nogil
# The first entry whose key is not below this one; NULL: there is none.
cdef tmpfs_dirent* tmpfs_dir_next(thread* td, vnode* dvp, uint64_t key) noexcept nogil
cdef void tmpfs_dir_attach(thread* td, vnode* dvp, tmpfs_dirent* de) noexcept nogil
cdef void tmpfs_dir_detach(thread* td, vnode* dvp, tmpfs_dirent* de) noexcept nogil
cdef tmpfs_dirent* tmpfs_alloc_dirent(thread* td, tmpfs_node* node, uint32_t name) noexcept nogil
cdef void tmpfs_free_dirent(thread* td, tmpfs_dirent* de) noexcept nogil
# The entry is to have another name; it is in no directory.
cdef void tmpfs_dirent_name(tmpfs_dirent* de, uint32_t name) noexcept nogil
# Without locks and time, for a file system that nobody uses.
cdef void tmpfs_dir_plant(tmpfs_node* dnode, tmpfs_dirent* de) noexcept nogil
cdef void tmpfs_dir_uproot(tmpfs_node* dnode, tmpfs_dirent* de) noexcept nogil
