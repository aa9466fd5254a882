# From a path to vnodes.  See lookup.pxd.
#
# What comes of it in locks, for /a/b/c to be created in /a/b:
#
#   /     S
#   a     bucket R; a S; / out
#   b     bucket R; b S; a out
#   c     b upgraded to X: alone, at once; among others that share it, let go and taken anew
#         bucket R; then the directory itself
#
# ".." is against the order of locks: the directory is let go before its parent is locked, and locked again after it,
# as in FreeBSD, which cannot know yet that it is not needed any more.

from libc.errno cimport EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EEXIST
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy, memmove

from finegrain.kernel.locks cimport lock_site, lockmgr_upgrade, lockmgr_xlocked
from finegrain.kernel.vfs.cache cimport (
    CACHE_CREATE, CACHE_HIT, CACHE_LOOKUP, CACHE_NEGATIVE, CACHE_REMOVE, cache_answer, cache_lookup,
    cache_lookup_dotdot)
from finegrain.kernel.vfs.tmpfs_subr cimport tmpfs_alloc_vp, tmpfs_free_node, tmpfs_parent, tmpfs_ref_node
from finegrain.kernel.vfs.tmpfs_vnops cimport tmpfs_lookup
from finegrain.kernel.vfs.types cimport (
    NAME_DOT, NAME_DOTDOT, VDIR, VI_DOOMED, VLNK, tmpfs_node, vfs_of)
from finegrain.kernel.vfs.vnode cimport (
    ASSERT_VOP_LOCKED, LK_EXCLUSIVE, LK_SHARED, VOP_UNLOCK, vget_finish, vget_state, vn_lock_mode, vn_lock_retry,
    vput, vref, vrele)
from finegrain.machine.seam cimport charge, touch_read, unlikely

cdef uint16_t SITE_LOOKUP = lock_site(b"lookup")
cdef uint16_t SITE_UPGRADE = lock_site(b"lookup/upgrade")
cdef uint16_t SITE_DOTDOT = lock_site(b"lookup/dotdot")

cdef enum:
    MAXSYMLINKS = 32                    # sys/param.h
    # Work in units of cost.op: our estimates [A].
    OPS_NAMEI = 450                     # about 150 ns: copy the path in, the buffer for it, the starting directory
    OPS_COMPONENT = 60                  # find the end of the name, hash it, ask whether the directory may be searched
    OPS_LINK = 60                       # read a symbolic link and put the path together


# Make a directory one that a file system is mounted on, or (NULL) no longer.
#
# Locks in:   none; nobody looks anything up there yet, or any more.
# Locks out:  none.
# May block:  never.
# Stands for: the end of FreeBSD vfs_domount_first().
cdef void vfs_mount_on(thread* td, vnode* covered, vnode* root) noexcept nogil:
    covered.v_mountedhere = root


# The parent of a directory that is not the root.
#
# Locks in:   the lock of the vnode dp, shared.
# Locks out:  the same, dropped meanwhile; without an error also the parent's, in that mode.
# May block:  on the mutex of dp in the name cache, on nodes' interlocks; sleeps on both locks.
# Stands for: the ".." of FreeBSD cache_lookup() and tmpfs_lookup1(), vn_vget_ino_gen().
cdef int lookup_dotdot(thread* td, vnode* dp, vn_lock_mode mode, vnode** vpp) noexcept nogil:
    cdef vget_state how
    cdef vnode* vp
    cdef tmpfs_node* parent
    ASSERT_VOP_LOCKED(td, dp)
    vp = cache_lookup_dotdot(td, dp, &how)
    if vp != NULL:
        VOP_UNLOCK(td, dp)
        if not vget_finish(td, vp, mode, how, SITE_DOTDOT):
            vp = NULL
    else:
        parent = tmpfs_parent(td, dp.v_data)
        if parent == NULL:
            return ENOENT
        tmpfs_ref_node(td, parent)
        VOP_UNLOCK(td, dp)
        vp = tmpfs_alloc_vp(td, dp.v_mount, parent, mode, NULL)
        tmpfs_free_node(td, dp.v_mount, parent)
    if vp == NULL:
        vn_lock_retry(td, dp, LK_SHARED, SITE_DOTDOT)
        return ENOENT
    vpp[0] = vp
    vn_lock_retry(td, dp, LK_SHARED, SITE_DOTDOT)
    if unlikely(dp.v_iflag & VI_DOOMED):
        vput(td, vp)
        return ENOENT
    return 0


# One component.
#
# Locks in:   the lock of the vnode dp: shared, or exclusively where it is to change.
# Locks out:  the same; without an error also that of what is found, in that mode.
# May block:  as cache_lookup() and tmpfs_lookup(): sleeps on the vnode's lock.
# Stands for: FreeBSD VOP_LOOKUP(): vfs_cache_lookup().
cdef int lookup_name(thread* td, vnode* dp, uint32_t name, int what, vn_lock_mode mode, vnode** vpp) noexcept nogil:
    cdef cache_answer answer
    ASSERT_VOP_LOCKED(td, dp)
    charge(td, td.machine.cost.op, OPS_COMPONENT)
    vfs_of(td).lookups += 1
    answer = cache_lookup(td, dp, name, what, mode, vpp)
    if answer == CACHE_HIT:
        return 0
    if answer == CACHE_NEGATIVE:
        return ENOENT
    return tmpfs_lookup(td, dp, name, what, mode, vpp)


# Put what a symbolic link says before the rest of the path.
#
# Locks in:   the lock of the link's vnode.
# Locks out:  the same.
# May block:  never.
# Stands for: the part of FreeBSD namei() after VOP_READLINK().
cdef int follow(thread* td, nameidata* nd, vnode* vp, uint32_t rest) noexcept nogil:
    cdef tmpfs_node* node = vp.v_data
    ASSERT_VOP_LOCKED(td, vp)
    touch_read(td, node.tn_link)
    charge(td, td.machine.cost.op, OPS_LINK)
    nd.ni_links += 1
    if nd.ni_links > MAXSYMLINKS:
        return ELOOP
    if node.tn_link_count + rest > PATH_COMPONENTS:
        return ENAMETOOLONG
    memmove(&nd.ni_buffer[node.tn_link_count], nd.ni_path + nd.ni_count - rest, rest * sizeof(uint32_t))
    memcpy(nd.ni_buffer, node.tn_link, node.tn_link_count * sizeof(uint32_t))
    nd.ni_path = nd.ni_buffer
    nd.ni_count = node.tn_link_count + rest
    return 0


# The vnode is to be locked exclusively; with others that share it, its lock is given up meanwhile.
#
# Locks in:   the lock of the vnode, in any mode.
# Locks out:  the same, exclusively.
# May block:  sleeps on it.
# Stands for: the vn_lock(LK_UPGRADE | LK_RETRY) of FreeBSD lookup().
cdef void make_exclusive(thread* td, vnode* vp) noexcept nogil:
    ASSERT_VOP_LOCKED(td, vp)
    if not lockmgr_xlocked(td, &vp.v_lock):
        lockmgr_upgrade(td, &vp.v_lock, SITE_UPGRADE)


# What is mounted on a directory, in its place.
#
# Locks in:   the lock of the vnode.
# Locks out:  not its, but that of what is mounted there, in that mode.
# May block:  as vput(); on the node's interlock; sleeps on the root's lock.
# Stands for: the vfs_busy() and VFS_ROOT() of FreeBSD lookup().
cdef vnode* cross(thread* td, vnode* vp, vn_lock_mode mode) noexcept nogil:
    cdef vnode* root
    ASSERT_VOP_LOCKED(td, vp)
    while vp.v_mountedhere != NULL:
        root = vp.v_mountedhere
        vput(td, vp)
        vp = tmpfs_alloc_vp(td, root.v_mount, root.v_data, mode, NULL)
    return vp


# Look a path up.
#
# Locks in:   none.
# Locks out:  without an error those that the flags ask for; else none.
# May block:  sleeps on vnodes' locks; as lookup_name().
# Stands for: FreeBSD namei(), lookup().
cdef int namei(thread* td, nameidata* nd) noexcept nogil:
    cdef bint wants_parent = nd.ni_flags & (LOCKPARENT | WANTPARENT) != 0
    cdef vn_lock_mode leaf = LK_EXCLUSIVE if nd.ni_flags & (LOCKLEAF | LOCKSHARED) == LOCKLEAF else LK_SHARED
    cdef vn_lock_mode mode
    cdef vnode* dp = nd.ni_startdir
    cdef vnode* vp
    cdef uint32_t i = 0
    cdef uint32_t name
    cdef bint last
    cdef int what
    cdef int error
    nd.ni_links = 0
    nd.ni_dvp = NULL
    nd.ni_vp = NULL
    charge(td, td.machine.cost.op, OPS_NAMEI)
    vref(td, dp)
    if nd.ni_count == 0:
        if wants_parent or nd.ni_op != LOOKUP:
            vrele(td, dp)
            return EISDIR
        vn_lock_retry(td, dp, leaf, SITE_LOOKUP)
        return leave(td, nd, NULL, dp)
    vn_lock_retry(td, dp, LK_SHARED, SITE_LOOKUP)
    while True:
        name = nd.ni_path[i]
        last = i + 1 == nd.ni_count
        mode = leaf if last else LK_SHARED
        error = 0
        if dp.v_type != VDIR:
            error = ENOTDIR
        elif name == NAME_DOT or name == NAME_DOTDOT:
            if last and (wants_parent or nd.ni_op != LOOKUP):
                error = EINVAL if nd.ni_op != CREATE else EEXIST
            elif name == NAME_DOT or dp == nd.ni_rootdir or dp == dp.v_mount.tm_root_vnode:
                vp = dp
                if last and mode == LK_EXCLUSIVE:
                    make_exclusive(td, dp)
            else:
                charge(td, td.machine.cost.op, OPS_COMPONENT)
                error = lookup_dotdot(td, dp, mode, &vp)
        else:
            if last and nd.ni_flags & LOCKPARENT:
                make_exclusive(td, dp)
            what = CACHE_LOOKUP
            if last and nd.ni_op != LOOKUP:
                what = CACHE_CREATE if nd.ni_op == CREATE else CACHE_REMOVE
            error = lookup_name(td, dp, name, what, mode, &vp)
            if error == ENOENT and last and (nd.ni_op == CREATE or nd.ni_op == RENAME):
                if dp.v_data.tn_parent != NULL:
                    nd.ni_last = name
                    return leave(td, nd, dp, NULL)
        if error != 0:
            vput(td, dp)
            return error
        if vp != dp and vp.v_mountedhere != NULL:
            vp = cross(td, vp, mode)
        if vp.v_type == VLNK and (not last or nd.ni_flags & FOLLOW):
            error = follow(td, nd, vp, nd.ni_count - i - 1)
            last = vp.v_data.tn_link_absolute
            vput(td, vp)
            if error != 0:
                vput(td, dp)
                return error
            if last:
                vput(td, dp)
                dp = nd.ni_rootdir
                vref(td, dp)
                vn_lock_retry(td, dp, LK_SHARED, SITE_LOOKUP)
            i = 0
            if nd.ni_count > 0:
                continue
            if not last or wants_parent or nd.ni_op != LOOKUP:      # a link that says nothing, or the root
                vput(td, dp)
                return EISDIR if last else ENOENT
            if leaf == LK_EXCLUSIVE:
                make_exclusive(td, dp)
            return leave(td, nd, NULL, dp)
        if last:
            nd.ni_last = name
            return leave(td, nd, dp if dp != vp else NULL, vp)
        if vp != dp:
            vput(td, dp)
        dp = vp
        i += 1


# The end of a look-up: what is asked for stays used and locked, the rest goes.
#
# Locks in:   perhaps the locks of both vnodes, as they were looked up.
# Locks out:  those that the flags ask for.
# May block:  as vput().
# Returns:    0.
# Stands for: the end of FreeBSD lookup().
cdef int leave(thread* td, nameidata* nd, vnode* dp, vnode* vp) noexcept nogil:
    nd.ni_vp = vp
    if vp != NULL and not nd.ni_flags & LOCKLEAF:
        VOP_UNLOCK(td, vp)
    if dp != NULL:
        if nd.ni_flags & LOCKPARENT:
            nd.ni_dvp = dp
        elif nd.ni_flags & WANTPARENT:
            nd.ni_dvp = dp
            VOP_UNLOCK(td, dp)
        else:
            vput(td, dp)
    return 0
