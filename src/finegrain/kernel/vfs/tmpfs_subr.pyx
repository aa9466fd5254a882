# Nodes of a tmpfs, their vnodes, and mounts.  See tmpfs_subr.pxd.
#
# From a node to its vnode: under the node's interlock there is one, or somebody makes one (TMPFS_VNODE_ALLOCATING) and
# the others sleep until it is there, or there will never be one again (TMPFS_VNODE_DOOMED).  The vnode is got hold of
# under the interlock and locked after it; when it turns out doomed then, the way begins anew.

from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.list cimport list_insert_head, list_remove, list_touch_insert_head, list_touch_remove
from finegrain.kernel.locks cimport (
    lock_name, lock_site, lockmgr_downgrade, lockmgr_try_xlock, msleep, mtx_init, mtx_lock, mtx_unlock, rw_wlock,
    rw_wunlock, wakeup)
from finegrain.kernel.types cimport OBJT_SWAP, PAGE_SHIFT
from finegrain.kernel.vfs.cache cimport cache_purge
from finegrain.kernel.vfs.tmpfs_dir cimport (
    tmpfs_alloc_dirent, tmpfs_dir_plant, tmpfs_dir_uproot, tmpfs_free_dirent)
from finegrain.kernel.vfs.types cimport (
    TMPFS_VNODE_ALLOCATING, TMPFS_VNODE_DOOMED, TMPFS_VNODE_WANT, VDIR, VI_DOOMED, VREG, tmpfs_dirent, vfs_of,
    vfs_state, vop_vector)
from finegrain.kernel.vfs.vnode cimport (
    ASSERT_VOP_ELOCKED, ASSERT_VOP_LOCKED, LK_EXCLUSIVE, LK_SHARED, VOP_UNLOCK, getnewvnode, vget_finish, vget_prep,
    vget_state, vget_unlocked, vput, vrele)
from finegrain.kernel.vm cimport OBJ_TMPFS_NODE, vm_object_allocate, vm_object_deallocate
from finegrain.machine.seam cimport (
    arena_alloc, arena_free, charge, panic, raw_lock, raw_unlock, touch_read, touch_write, unlikely)

cdef uint16_t NAME_NODE = lock_name(b"sleep mutex", b"tmpfs node interlock")
cdef uint16_t NAME_ALLNODE = lock_name(b"sleep mutex", b"tmpfs allnode lock")
cdef uint16_t NAME_MOUNT = lock_name(b"sleep mutex", b"struct mount mtx")
cdef uint16_t SITE_VP = lock_site(b"tmpfs_alloc_vp")
cdef uint16_t SITE_NODE = lock_site(b"tmpfs_alloc_node")
cdef uint16_t SITE_FREE = lock_site(b"tmpfs_free_node")
cdef uint16_t SITE_RECLAIM = lock_site(b"tmpfs_reclaim")
cdef uint16_t SITE_STATUS = lock_site(b"tmpfs_set_status")
cdef uint16_t SITE_PARENT = lock_site(b"tmpfs_dir_parent")
cdef uint16_t SITE_FLUSH = lock_site(b"vflush")

# Work in units of cost.op: our estimates [A].
cdef enum:
    OPS_NODE = 150                      # a UMA allocation and the fields, or the reverse
    OPS_STATUS = 10


# --- nodes

# Memory for a node, filled in, on no list.  A root has no parent: it is its own.
#
# Locks in:   any.
# Locks out:  the same.
# May block:  never.
# Stands for: the uma_zalloc_arg(tmpfs_node_pool) of FreeBSD tmpfs_alloc_node(), and the fields.
cdef tmpfs_node* node_new(thread* td, tmpfs_mount* mp, int type, tmpfs_node* parent) noexcept nogil:
    cdef vfs_state* st = vfs_of(td)
    cdef tmpfs_node* node
    raw_lock(td, &st.lock)
    node = st.free_nodes
    if node != NULL:
        st.free_nodes = node.tn_entries_next
    st.nodes += 1
    raw_unlock(td, &st.lock)
    if node == NULL:
        node = <tmpfs_node*>arena_alloc(td.machine, sizeof(tmpfs_node))
        mtx_init(&node.tn_interlock, NAME_NODE, 0)
    node.tn_type = <uint64_t>type
    node.tn_status = 0
    node.tn_size = 0
    node.tn_links = 0
    node.tn_vnode = NULL
    node.tn_vpstate = 0
    node.tn_refcount = 1
    node.tn_parent = parent if parent != NULL else node
    node.tn_dirhead = NULL
    node.tn_aobj = NULL
    node.tn_link = NULL
    node.tn_link_count = 0
    return node


# Make a node, and its vnode.
#
# Locks in:   any vnode locks.
# Locks out:  the new vnode's too, exclusively.
# May block:  on the mount's mutexes; as tmpfs_alloc_vp().
# Returns:    the vnode, used, of a node with no name yet.
# Stands for: FreeBSD tmpfs_alloc_node(), and the tmpfs_alloc_vp() that follows it.
cdef vnode* tmpfs_alloc_node(thread* td, tmpfs_mount* mp, int type, tmpfs_node* parent) noexcept nogil:
    cdef tmpfs_node* node = node_new(td, mp, type, parent)
    charge(td, td.machine.cost.op, OPS_NODE)
    touch_write(td, node)
    touch_write(td, &node.tn_vnode)
    touch_write(td, &node.tn_parent)
    if type == VREG:
        node.tn_aobj = vm_object_allocate(td, OBJT_SWAP, 0)
        node.tn_aobj.flags |= OBJ_TMPFS_NODE
        node.tn_aobj.builder = mp.tm_number
    mtx_lock(td, &mp.tm_allnode_lock, SITE_NODE)
    mp.tm_ino += 1
    node.tn_id = mp.tm_ino
    list_touch_insert_head(td, <void**>&mp.tm_nodes_used, node, <void**>&node.tn_entries_next,
                           <void**>&node.tn_entries_prev)
    list_insert_head(<void**>&mp.tm_nodes_used, NULL, node, <void**>&node.tn_entries_next,
                     <void**>&node.tn_entries_prev)
    mp.tm_nodes_inuse += 1
    mtx_unlock(td, &mp.tm_allnode_lock)
    return tmpfs_alloc_vp(td, mp, node, LK_EXCLUSIVE, NULL)


# Locks in:   any that come before a node's interlock.
# Locks out:  the same.
# May block:  on the node's interlock.
# Stands for: FreeBSD tmpfs_ref_node().
cdef void tmpfs_ref_node(thread* td, tmpfs_node* node) noexcept nogil:
    mtx_lock(td, &node.tn_interlock, SITE_VP)
    touch_write(td, &node.tn_refcount)
    node.tn_refcount += 1
    mtx_unlock(td, &node.tn_interlock)


# Drop a reference to a node; the last one's memory is free, and its pages unless they are mapped.
#
# Locks in:   any vnode locks.
# Locks out:  the same.
# May block:  on the node's interlock, on the mount's mutex; on object locks and the free page locks.  Sleeps as
#             vm_object_deallocate().
# Stands for: FreeBSD tmpfs_free_node(), tmpfs_free_node_locked().
cdef void tmpfs_free_node(thread* td, tmpfs_mount* mp, tmpfs_node* node) noexcept nogil:
    cdef vfs_state* st = vfs_of(td)
    cdef bint last
    mtx_lock(td, &mp.tm_allnode_lock, SITE_FREE)
    mtx_lock(td, &node.tn_interlock, SITE_FREE)
    touch_write(td, &node.tn_refcount)
    node.tn_refcount -= 1
    last = node.tn_refcount == 0
    if last:
        list_touch_remove(td, <void**>&mp.tm_nodes_used, node, <void**>&node.tn_entries_next,
                          <void**>&node.tn_entries_prev)
        list_remove(<void**>&mp.tm_nodes_used, NULL, node, <void**>&node.tn_entries_next,
                    <void**>&node.tn_entries_prev)
        mp.tm_nodes_inuse -= 1
    mtx_unlock(td, &node.tn_interlock)
    mtx_unlock(td, &mp.tm_allnode_lock)
    if not last:
        return
    if unlikely(node.tn_vnode != NULL or node.tn_dirhead != NULL):
        panic(td, b"tmpfs_free_node: the node has a vnode, or entries")
    charge(td, td.machine.cost.op, OPS_NODE)
    if node.tn_aobj != NULL:
        rw_wlock(td, &node.tn_aobj.lock, SITE_FREE)
        touch_write(td, &node.tn_aobj.flags)
        node.tn_aobj.flags &= ~<unsigned char>OBJ_TMPFS_NODE
        node.tn_aobj.file = -1
        rw_wunlock(td, &node.tn_aobj.lock)
        vm_object_deallocate(td, node.tn_aobj)
        node.tn_aobj = NULL
    if node.tn_link != NULL:
        arena_free(td.machine, node.tn_link, node.tn_link_count * sizeof(uint32_t))
        node.tn_link = NULL
    raw_lock(td, &st.lock)
    node.tn_entries_next = st.free_nodes
    st.free_nodes = node
    st.nodes -= 1
    raw_unlock(td, &st.lock)


# Note what has happened to the file, unless it is noted.
#
# Locks in:   the lock of the node's vnode, in any mode.
# Locks out:  the same.
# May block:  on the node's interlock.
# Stands for: FreeBSD tmpfs_set_status().
cdef void tmpfs_set_status(thread* td, tmpfs_node* node, uint64_t status) noexcept nogil:
    ASSERT_VOP_LOCKED_NODE(td, node)
    touch_read(td, &node.tn_status)
    if node.tn_status & status == status:
        return
    mtx_lock(td, &node.tn_interlock, SITE_STATUS)
    touch_write(td, &node.tn_status)
    node.tn_status |= status
    charge(td, td.machine.cost.op, OPS_STATUS)
    mtx_unlock(td, &node.tn_interlock)


# Locks in: the lock of the node's vnode.  Locks out: the same.  May block: never.
# Stands for: FreeBSD ASSERT_VOP_LOCKED() of the node's vnode.
cdef inline void ASSERT_VOP_LOCKED_NODE(thread* td, tmpfs_node* node) noexcept nogil:
    if unlikely(node.tn_vnode == NULL):
        panic(td, b"the node has no vnode")
    ASSERT_VOP_LOCKED(td, node.tn_vnode)


# Locks in:   any that come before a node's interlock.
# Locks out:  the same.
# May block:  on the node's interlock.
# Stands for: the reads of tn_dir.tn_parent under TMPFS_NODE_LOCK() in FreeBSD.
cdef tmpfs_node* tmpfs_parent(thread* td, tmpfs_node* node) noexcept nogil:
    cdef tmpfs_node* parent
    mtx_lock(td, &node.tn_interlock, SITE_PARENT)
    touch_read(td, &node.tn_parent)
    parent = node.tn_parent
    mtx_unlock(td, &node.tn_interlock)
    return parent


# Locks in:   the lock of the directory's vnode, exclusively.
# Locks out:  the same.
# May block:  on the node's interlock.
# Stands for: the writes of tn_dir.tn_parent under TMPFS_NODE_LOCK() in FreeBSD.
cdef void tmpfs_set_parent(thread* td, tmpfs_node* node, tmpfs_node* parent) noexcept nogil:
    ASSERT_VOP_ELOCKED(td, node.tn_vnode)
    mtx_lock(td, &node.tn_interlock, SITE_PARENT)
    touch_write(td, &node.tn_parent)
    node.tn_parent = parent
    mtx_unlock(td, &node.tn_interlock)


# --- vnodes

# Has the vnode's file no name any more?
cdef bint tmpfs_need_inactive(thread* td, vnode* vp) noexcept nogil:
    touch_read(td, &vp.v_data.tn_links)
    return vp.v_data.tn_links == 0


# The vnode leaves its node, and one without a name goes with it.
#
# Locks in:   the lock of the vnode, exclusively.
# Locks out:  the same.
# May block:  on the mutexes of the name cache; on the object's lock, on the node's interlock; as tmpfs_free_node():
#             sleeps.
# Stands for: FreeBSD tmpfs_reclaim(), tmpfs_destroy_vobject().
cdef void tmpfs_reclaim(thread* td, vnode* vp) noexcept nogil:
    cdef tmpfs_node* node = vp.v_data
    ASSERT_VOP_ELOCKED(td, vp)
    if vp.v_object != NULL:
        rw_wlock(td, &vp.v_object.lock, SITE_RECLAIM)
        touch_write(td, &vp.v_object.flags)
        rw_wunlock(td, &vp.v_object.lock)
        vp.v_object = NULL
    cache_purge(td, vp)
    mtx_lock(td, &node.tn_interlock, SITE_RECLAIM)
    touch_write(td, &node.tn_vnode)
    node.tn_vnode = NULL
    if node.tn_links == 0:
        node.tn_vpstate |= TMPFS_VNODE_DOOMED
    mtx_unlock(td, &node.tn_interlock)
    vp.v_data = NULL
    if node.tn_links == 0:
        tmpfs_free_node(td, vp.v_mount, node)


cdef vop_vector TMPFS_VOPS
TMPFS_VOPS.need_inactive = tmpfs_need_inactive
TMPFS_VOPS.reclaim = tmpfs_reclaim


# Make the node's vnode.
#
# Locks in:   any vnode locks; the node's TMPFS_VNODE_ALLOCATING is this thread's.
# Locks out:  the same, and the new vnode's in that mode.
# May block:  as getnewvnode(); on the object's lock, on the node's interlock.
# Stands for: the second half of FreeBSD tmpfs_alloc_vp().
cdef vnode* make_vp(thread* td, tmpfs_mount* mp, tmpfs_node* node, vn_lock_mode mode) noexcept nogil:
    cdef vnode* vp = getnewvnode(td, mp, &TMPFS_VOPS, <int>node.tn_type)
    vp.v_data = node
    if node.tn_type == VREG:
        rw_wlock(td, &node.tn_aobj.lock, SITE_VP)
        touch_write(td, &node.tn_aobj.flags)
        vp.v_object = node.tn_aobj
        rw_wunlock(td, &node.tn_aobj.lock)
    mtx_lock(td, &node.tn_interlock, SITE_VP)
    touch_write(td, &node.tn_vnode)
    node.tn_vnode = vp
    if node.tn_vpstate & TMPFS_VNODE_WANT:
        wakeup(td, &node.tn_vpstate)
    node.tn_vpstate &= ~<uint32_t>(TMPFS_VNODE_ALLOCATING | TMPFS_VNODE_WANT)
    mtx_unlock(td, &node.tn_interlock)
    if mode == LK_SHARED:
        lockmgr_downgrade(td, &vp.v_lock, SITE_VP)
    return vp


# Get the vnode of a node.
#
# Locks in:   none that may not be held across a sleep; not this vnode's; whatever keeps the node: its directory's lock,
#             a reference.
# Locks out:  the same, and the vnode's in that mode, unless it is busy or there is none.
# May block:  on the node's interlock and the vnode's; sleeps while another thread makes the vnode, and, without
#             `busy`, on its lock.
# Returns:    the vnode, used; NULL when the node has no name, and its vnode has gone.
# Stands for: FreeBSD tmpfs_alloc_vp(); with `busy`, LK_NOWAIT.
cdef vnode* tmpfs_alloc_vp(thread* td, tmpfs_mount* mp, tmpfs_node* node, vn_lock_mode mode,
                           bint* busy) noexcept nogil:
    cdef vnode* vp
    cdef vget_state how
    if busy != NULL:
        busy[0] = False
    while True:
        mtx_lock(td, &node.tn_interlock, SITE_VP)
        touch_read(td, &node.tn_vnode)
        vp = node.tn_vnode
        if vp == NULL:
            touch_read(td, &node.tn_vpstate)
            if node.tn_vpstate & TMPFS_VNODE_DOOMED or (node.tn_type == VDIR and node.tn_parent == NULL):
                mtx_unlock(td, &node.tn_interlock)
                return NULL
            if node.tn_vpstate & TMPFS_VNODE_ALLOCATING:
                node.tn_vpstate |= TMPFS_VNODE_WANT
                msleep(td, &node.tn_vpstate, &node.tn_interlock, SITE_VP)
                mtx_unlock(td, &node.tn_interlock)
                continue
            touch_write(td, &node.tn_vpstate)
            node.tn_vpstate |= TMPFS_VNODE_ALLOCATING
            mtx_unlock(td, &node.tn_interlock)
            return make_vp(td, mp, node, mode)
        how = vget_prep(td, vp)
        mtx_unlock(td, &node.tn_interlock)
        if busy != NULL and not lockmgr_try_xlock(td, &vp.v_lock, SITE_VP):
            vget_unlocked(td, vp, how)
            busy[0] = True
            return vp
        if busy != NULL:
            vget_unlocked(td, vp, how)
            if not vp.v_iflag & VI_DOOMED:
                return vp
            vput(td, vp)
            continue
        if vget_finish(td, vp, mode, how, SITE_VP):
            return vp


# --- mounts

# Mount a file system.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as tmpfs_alloc_node().
# Returns:    the mount, with an empty root.
# Stands for: FreeBSD tmpfs_mount().
cdef tmpfs_mount* tmpfs_mount_new(thread* td, int32_t number) noexcept nogil:
    cdef tmpfs_mount* mp = <tmpfs_mount*>arena_alloc(td.machine, sizeof(tmpfs_mount))
    cdef vnode* vp
    mp.tm_number = number
    mtx_init(&mp.tm_allnode_lock, NAME_ALLNODE, 0)
    mtx_init(&mp.mnt_mtx, NAME_MOUNT, 0)
    vp = tmpfs_alloc_node(td, mp, VDIR, NULL)
    mp.tm_root = vp.v_data
    mp.tm_root.tn_links = 2
    mp.tm_root_vnode = vp
    VOP_UNLOCK(td, vp)
    return mp


# Unmount a file system that nobody uses.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on all that a vnode's reclaiming does: sleeps.
# Stands for: FreeBSD tmpfs_unmount(), vflush().
cdef void tmpfs_unmount(thread* td, tmpfs_mount* mp) noexcept nogil:
    cdef tmpfs_node* node
    cdef tmpfs_dirent* de
    cdef vnode* vp
    node = mp.tm_nodes_used
    while node != NULL:                 # every name goes, and so every file
        while node.tn_dirhead != NULL:
            de = node.tn_dirhead
            tmpfs_dir_uproot(node, de)
            tmpfs_free_dirent(td, de)
        node.tn_links = 0
        node = node.tn_entries_next
    vrele(td, mp.tm_root_vnode)
    while mp.tm_nodes_used != NULL:
        node = mp.tm_nodes_used
        vp = node.tn_vnode
        if vp == NULL:
            tmpfs_free_node(td, mp, node)
        elif unlikely(vp.v_usecount != 0):
            panic(td, b"tmpfs_unmount: a file is in use")
        elif vget_finish(td, vp, LK_EXCLUSIVE, vget_prep(td, vp), SITE_FLUSH):
            vput(td, vp)
    if unlikely(mp.mnt_nvnodelist != NULL):
        panic(td, b"tmpfs_unmount: the file system has vnodes left")
    arena_free(td.machine, mp, sizeof(tmpfs_mount))


# Locks in:   none; nobody uses the directory.
# Locks out:  none.
# May block:  never.
# Returns:    the file, a node without a vnode.
# Stands for: nothing in FreeBSD: the file has been there all along.
cdef tmpfs_node* tmpfs_plant(thread* td, tmpfs_mount* mp, tmpfs_node* dnode, uint32_t name, int type,
                             vm_object* obj) noexcept nogil:
    cdef tmpfs_node* node = node_new(td, mp, type, dnode if type == VDIR else NULL)
    mp.tm_ino += 1
    mp.tm_nodes_inuse += 1
    node.tn_id = mp.tm_ino
    list_insert_head(<void**>&mp.tm_nodes_used, NULL, node, <void**>&node.tn_entries_next,
                     <void**>&node.tn_entries_prev)
    node.tn_links = 1 if type != VDIR else 2
    dnode.tn_links += type == VDIR
    if type == VREG:
        node.tn_aobj = obj if obj != NULL else vm_object_allocate(td, OBJT_SWAP, 0)
        node.tn_aobj.flags |= OBJ_TMPFS_NODE
        node.tn_size = node.tn_aobj.size << PAGE_SHIFT
    tmpfs_dir_plant(dnode, tmpfs_alloc_dirent(td, node, name))
    return node
