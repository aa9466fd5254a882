# Operations on the files of a tmpfs.  See tmpfs_vnops.pxd.
#
# A directory changes with its vnode locked exclusively, from the look-up that found a name there or not: so what the
# look-up found still holds.  The name cache learns of it here: a file made is entered, a file looked up is, and that
# nothing has a name; names that are taken away left it in the look-up (CACHE_REMOVE).

from libc.errno cimport ENOENT, ENOTEMPTY
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from finegrain.kernel.vfs.cache cimport CACHE_LOOKUP, CACHE_REMOVE, cache_enter
from finegrain.kernel.vfs.tmpfs_dir cimport (
    tmpfs_alloc_dirent, tmpfs_dir_attach, tmpfs_dir_detach, tmpfs_dir_lookup, tmpfs_dir_next, tmpfs_free_dirent)
from finegrain.kernel.vfs.tmpfs_subr cimport (
    tmpfs_alloc_node, tmpfs_alloc_vp, tmpfs_set_parent, tmpfs_set_status)
from finegrain.kernel.vfs.types cimport (
    TMPFS_NODE_ACCESSED, TMPFS_NODE_CHANGED, TMPFS_NODE_MODIFIED, VDIR, VLNK, tmpfs_dirent, tmpfs_node)
from finegrain.kernel.vfs.vnode cimport ASSERT_VOP_ELOCKED, ASSERT_VOP_LOCKED
from finegrain.machine.seam cimport arena_alloc, charge, touch_read, touch_write

cdef enum:
    DIRENT_BYTES = 40                   # struct dirent with a name of ten bytes (sys/dirent.h)
    # Work in units of cost.op: our estimates [A].
    OPS_ACCESS = 40                     # VOP_ACCESS(): whose is it, who asks
    OPS_GETATTR = 60
    OPS_SETATTR = 120
    OPS_DIRENT = 45                     # fill in an entry and copy it out
    OPS_CREATE = 150                    # beside the node, the vnode and the entry: checks, times, links


# Locks in:   the lock of the vnode dvp; no mtx or rw lock.
# Locks out:  the same; without an error also the vnode's, in that mode.
# May block:  as tmpfs_alloc_vp(): sleeps on the vnode's lock; as cache_enter().
# Stands for: FreeBSD tmpfs_lookup1(), for names other than "..".
cdef int tmpfs_lookup(thread* td, vnode* dvp, uint32_t name, int what, vn_lock_mode mode,
                      vnode** vpp) noexcept nogil:
    cdef tmpfs_dirent* de
    ASSERT_VOP_LOCKED(td, dvp)
    touch_read(td, &dvp.v_data.tn_mode)
    charge(td, td.machine.cost.op, OPS_ACCESS)
    de = tmpfs_dir_lookup(td, dvp, name)
    if de == NULL:
        if what == CACHE_LOOKUP:
            cache_enter(td, dvp, NULL, name)
        return ENOENT
    vpp[0] = tmpfs_alloc_vp(td, dvp.v_mount, de.td_node, mode, NULL)
    if vpp[0] == NULL:
        return ENOENT
    if what != CACHE_REMOVE:
        cache_enter(td, dvp, vpp[0], name)
    return 0


# Locks in:   the lock of the vnode dvp, exclusively; no mtx or rw lock.
# Locks out:  the same; without an error also the new vnode's, exclusively.
# May block:  as tmpfs_alloc_node() and cache_enter().
# Stands for: FreeBSD tmpfs_create(), tmpfs_mkdir(), tmpfs_alloc_file().
cdef int tmpfs_create(thread* td, vnode* dvp, uint32_t name, int type, vnode** vpp) noexcept nogil:
    cdef tmpfs_node* dnode = dvp.v_data
    cdef tmpfs_node* node
    ASSERT_VOP_ELOCKED(td, dvp)
    charge(td, td.machine.cost.op, OPS_ACCESS + OPS_CREATE)
    if dnode.tn_parent == NULL:         # it has been removed
        return ENOENT
    vpp[0] = tmpfs_alloc_node(td, dvp.v_mount, type, dnode)
    node = vpp[0].v_data
    node.tn_links = 1
    if type == VDIR:
        node.tn_links = 2
        touch_write(td, &dnode.tn_links)
        dnode.tn_links += 1
    tmpfs_dir_attach(td, dvp, tmpfs_alloc_dirent(td, node, name))
    tmpfs_set_status(td, dnode, TMPFS_NODE_ACCESSED | TMPFS_NODE_CHANGED | TMPFS_NODE_MODIFIED)
    cache_enter(td, dvp, vpp[0], name)
    return 0


# Locks in:   the lock of the vnode dvp, exclusively; no mtx or rw lock.
# Locks out:  the same; without an error also the new vnode's, exclusively.
# May block:  as tmpfs_create().
# Stands for: FreeBSD tmpfs_symlink().
cdef int tmpfs_symlink(thread* td, vnode* dvp, uint32_t name, const uint32_t* target, uint32_t count, bint absolute,
                       vnode** vpp) noexcept nogil:
    cdef int error
    ASSERT_VOP_ELOCKED(td, dvp)
    error = tmpfs_create(td, dvp, name, VLNK, vpp)
    if error == 0:
        vpp[0].v_data.tn_link = <uint32_t*>arena_alloc(td.machine, count * sizeof(uint32_t))
        memcpy(vpp[0].v_data.tn_link, target, count * sizeof(uint32_t))
        vpp[0].v_data.tn_link_count = count
        vpp[0].v_data.tn_link_absolute = absolute
    return error


# Locks in:   the locks of the vnodes dvp and vp, exclusively.
# Locks out:  the same.
# May block:  on the nodes' interlocks.
# Stands for: FreeBSD tmpfs_link().
cdef int tmpfs_link(thread* td, vnode* dvp, vnode* vp, uint32_t name) noexcept nogil:
    cdef tmpfs_node* node = vp.v_data
    ASSERT_VOP_ELOCKED(td, dvp)
    ASSERT_VOP_ELOCKED(td, vp)
    charge(td, td.machine.cost.op, OPS_ACCESS)
    if dvp.v_data.tn_parent == NULL or node.tn_links == 0:
        return ENOENT
    touch_write(td, &node.tn_links)
    node.tn_links += 1
    tmpfs_dir_attach(td, dvp, tmpfs_alloc_dirent(td, node, name))
    tmpfs_set_status(td, node, TMPFS_NODE_CHANGED)
    tmpfs_set_status(td, dvp.v_data, TMPFS_NODE_CHANGED | TMPFS_NODE_MODIFIED)
    return 0


# Take an entry out of a directory, and a link off its file.
#
# Locks in:   the locks of the vnodes dvp and vp, exclusively.
# Locks out:  the same.
# May block:  on the nodes' interlocks.
# Stands for: what FreeBSD tmpfs_remove() and tmpfs_rmdir() have in common.
cdef int detach(thread* td, vnode* dvp, vnode* vp, uint32_t name) noexcept nogil:
    cdef tmpfs_dirent* de
    ASSERT_VOP_ELOCKED(td, dvp)
    ASSERT_VOP_ELOCKED(td, vp)
    charge(td, td.machine.cost.op, OPS_ACCESS)
    de = tmpfs_dir_lookup(td, dvp, name)
    if de == NULL or de.td_node != vp.v_data:
        return ENOENT
    tmpfs_dir_detach(td, dvp, de)
    tmpfs_free_dirent(td, de)
    touch_write(td, &vp.v_data.tn_links)
    vp.v_data.tn_links -= 1
    tmpfs_set_status(td, dvp.v_data, TMPFS_NODE_ACCESSED | TMPFS_NODE_CHANGED | TMPFS_NODE_MODIFIED)
    tmpfs_set_status(td, vp.v_data, TMPFS_NODE_CHANGED)
    return 0


# Locks in:   the locks of the vnodes dvp and vp, exclusively.
# Locks out:  the same.
# May block:  on the nodes' interlocks.
# Stands for: FreeBSD tmpfs_remove().
cdef int tmpfs_remove(thread* td, vnode* dvp, vnode* vp, uint32_t name) noexcept nogil:
    return detach(td, dvp, vp, name)


# Locks in:   the locks of the vnodes dvp and vp, exclusively.
# Locks out:  the same.
# May block:  on the nodes' interlocks.
# Stands for: FreeBSD tmpfs_rmdir().
cdef int tmpfs_rmdir(thread* td, vnode* dvp, vnode* vp, uint32_t name) noexcept nogil:
    cdef int error
    ASSERT_VOP_ELOCKED(td, dvp)
    touch_read(td, &vp.v_data.tn_size)
    if vp.v_data.tn_size > 0:
        return ENOTEMPTY
    error = detach(td, dvp, vp, name)
    if error == 0:
        vp.v_data.tn_links -= 1         # its own "."
        dvp.v_data.tn_links -= 1        # its ".."
        tmpfs_set_parent(td, vp.v_data, NULL)
    return error


# Locks in:   the lock of the vnode, in any mode.
# Locks out:  the same.
# May block:  on the node's interlock.
# Returns:    how many names were read; 0: place[0] is the end.
# Stands for: FreeBSD tmpfs_readdir(), tmpfs_dir_getdents().
cdef int64_t tmpfs_readdir(thread* td, vnode* vp, uint64_t* place, uint64_t bytes) noexcept nogil:
    cdef tmpfs_dirent* de
    cdef int64_t names = 0
    ASSERT_VOP_LOCKED(td, vp)
    de = tmpfs_dir_next(td, vp, place[0])
    while de != NULL and bytes >= DIRENT_BYTES:
        touch_read(td, &de.td_node.tn_id)
        charge(td, td.machine.cost.op, OPS_DIRENT)
        bytes -= DIRENT_BYTES
        names += 1
        place[0] = de.td_key + 1
        de = tmpfs_dir_next(td, vp, place[0])
    tmpfs_set_status(td, vp.v_data, TMPFS_NODE_ACCESSED)
    return names


# Locks in:   the lock of the vnode, in any mode.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD tmpfs_getattr().
cdef void tmpfs_getattr(thread* td, vnode* vp) noexcept nogil:
    ASSERT_VOP_LOCKED(td, vp)
    touch_read(td, &vp.v_data.tn_size)
    touch_read(td, &vp.v_data.tn_times)
    charge(td, td.machine.cost.op, OPS_GETATTR)


# Locks in:   the lock of the vnode, exclusively.
# Locks out:  the same.
# May block:  on the node's interlock.
# Stands for: FreeBSD tmpfs_setattr() but for the size: tmpfs_chmod(), tmpfs_chown(), tmpfs_chtimes().
cdef void tmpfs_setattr(thread* td, vnode* vp) noexcept nogil:
    ASSERT_VOP_ELOCKED(td, vp)
    touch_write(td, &vp.v_data.tn_mode)
    touch_write(td, &vp.v_data.tn_times)
    charge(td, td.machine.cost.op, OPS_SETATTR)
    tmpfs_set_status(td, vp.v_data, TMPFS_NODE_CHANGED)
