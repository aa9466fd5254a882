# tmpfs: files in memory.
#
# A node is a file; its vnode, made when somebody first comes by, is how it is used and locked.  A directory's entries
# are a tree of its own; a regular file's pages are an object's, which lives as long as the node and can be mapped.
# Nodes never move, and an entry is a pointer to one: so nothing of it has a lock of its own but the vnode's, which
# guards what the file is, and the node's interlock, which guards the way from node to vnode.
#
#   tmpfs_subr    nodes, their vnodes, mounts
#   tmpfs_dir     the entries of a directory
#   tmpfs_vnops   look up, make, remove, read directories, attributes
#   tmpfs_io      read, write, truncate
#   tmpfs_rename  rename

from libc.stdint cimport int32_t, uint32_t, uint64_t

from finegrain.kernel.types cimport vm_object
from finegrain.kernel.vfs.types cimport tmpfs_mount, tmpfs_node, vnode
from finegrain.kernel.vfs.vnode cimport vn_lock_mode
from finegrain.machine.thread cimport thread

# --- mounts

# Mount an empty file system; its root's vnode is used until it is unmounted.  None held.
cdef tmpfs_mount* tmpfs_mount_new(thread* td, int32_t number) noexcept nogil
# Give all of it back; nobody uses it.  None held; takes vnode locks, object locks, the free page locks.
cdef void tmpfs_unmount(thread* td, tmpfs_mount* mp) noexcept nogil
# Put a file there as if it had always been: no locks, no time.  Nobody uses the directory yet.  obj: a regular file's
# pages, whose reference goes over to it; NULL: it is empty.
cdef tmpfs_node* tmpfs_plant(thread* td, tmpfs_mount* mp, tmpfs_node* dnode, uint32_t name, int type,
                             vm_object* obj) noexcept nogil

# --- nodes and vnodes

# The vnode of a node, used and locked in that mode; NULL: the file has gone.  Sleeps.  With `busy`: exclusively and
# only if that needs no waiting; else busy[0] says True and the vnode is used but not locked.
cdef vnode* tmpfs_alloc_vp(thread* td, tmpfs_mount* mp, tmpfs_node* node, vn_lock_mode mode, bint* busy) noexcept nogil
# A node without a name, its vnode used and locked exclusively.  None held but vnode locks.
cdef vnode* tmpfs_alloc_node(thread* td, tmpfs_mount* mp, int type, tmpfs_node* parent) noexcept nogil
# One reference less to a node.
cdef void tmpfs_ref_node(thread* td, tmpfs_node* node) noexcept nogil
cdef void tmpfs_free_node(thread* td, tmpfs_mount* mp, tmpfs_node* node) noexcept nogil
# What has happened to the file, for its times.  Its vnode locked; takes the node's interlock.
cdef void tmpfs_set_status(thread* td, tmpfs_node* node, uint64_t status) noexcept nogil
# The directory that this one is in; NULL: it has been removed.
cdef tmpfs_node* tmpfs_parent(thread* td, tmpfs_node* node) noexcept nogil
# Put it there; NULL: it is removed.
cdef void tmpfs_set_parent(thread* td, tmpfs_node* node, tmpfs_node* parent) noexcept nogil
