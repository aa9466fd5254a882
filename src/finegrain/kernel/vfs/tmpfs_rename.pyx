# Rename.
#
# Four vnodes are to be locked exclusively: both directories, the file, and the file that loses the name, if there is
# one.  A directory's lock comes before those of the files in it; but which of two directories comes first, nobody can
# say: either may lie in the other, at any depth, and a moment later the other way round.  So rename never waits for a
# lock while it holds another one of these, but for the two that the look-up of the new name has left it with.  It tries
# for the rest, and when one is taken it lets all go, waits for that one with nothing in its hands, lets it go too, and
# begins anew.  In the hard case, two renames between the same directories a and b, in opposite directions, and a
# look-up in a:
#
#   T1: a/x -> b/x                      T2: b/y -> a/y                    T3: looks up a/x/...
#   looked up: holds b, wants a         looked up: holds a, wants b       waits for a, share-locked by nobody yet
#   tries a: taken                      tries b: taken
#   lets b go, waits for a              lets a go, waits for b
#                                       gets b                            gets a, wants x
#   waits for a                         tries a: shared by T3
#                                       lets b go, waits for a            gets x, lets a go
#   gets a; tries b: free
#   looks x up anew: it is there;
#   tries x: shared by T3
#   lets a and b go, waits for x        gets a; tries b: free; looks y
#                                       up anew; tries y: free; does it   lets x go
#   gets x, lets it go, begins anew,
#   and does it
#
# While it holds nothing, the names may have come to mean other files, or nothing: so both are looked up again once the
# directories are locked.  What it holds all along is the use of each vnode, which keeps them what they are.
#
# That nobody moves a directory into itself, must hold over two renames at once that hold no lock in common: each looks
# up the way from the new place to the root and changes where its directory is in one step, under the mount's raw lock
# `tree`.  FreeBSD walks up with the interlock of one node at a time and takes the risk (M).

from libc.errno cimport EINVAL, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY, EXDEV
from libc.stdint cimport uint16_t

from finegrain.kernel.locks cimport lock_site, lockmgr_assert_xlocked, lockmgr_try_xlock
from finegrain.kernel.vfs.cache cimport cache_purge, cache_purge_negative
from finegrain.kernel.vfs.tmpfs_dir cimport (
    tmpfs_dir_attach, tmpfs_dir_detach, tmpfs_dir_lookup, tmpfs_dirent_name, tmpfs_free_dirent)
from finegrain.kernel.vfs.tmpfs_subr cimport tmpfs_alloc_vp, tmpfs_parent, tmpfs_set_parent, tmpfs_set_status
from finegrain.kernel.vfs.types cimport (
    TMPFS_NODE_ACCESSED, TMPFS_NODE_CHANGED, TMPFS_NODE_MODIFIED, VDIR, tmpfs_dirent, tmpfs_mount, tmpfs_node, vfs_of)
from finegrain.kernel.vfs.vnode cimport ASSERT_VOP_ELOCKED, LK_EXCLUSIVE, VOP_UNLOCK, vn_lock_retry, vrele
from finegrain.machine.seam cimport charge, raw_lock, raw_unlock, touch_write

cdef uint16_t SITE_RENAME = lock_site(b"tmpfs_rename")
cdef uint16_t SITE_RELOCK = lock_site(b"tmpfs_rename_relock")

# Work in units of cost.op: our estimates [A].
cdef enum:
    OPS_RENAME = 200                    # checks, times, links

# A rename under way.  Each vnode that it has is used; those that are locked, exclusively.
cdef struct renaming:
    vnode* fdvp
    vnode* fvp
    vnode* tdvp
    vnode* tvp                          # NULL: nothing has the new name
    uint32_t fname
    uint32_t tname


# Lock the vnode, after whatever else is held has gone, and let it go.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on the vnode's lock.
# Stands for: the vn_lock() and VOP_UNLOCK() before each `goto relock' of FreeBSD tmpfs_rename_relock().
cdef inline void wait_for(thread* td, vnode* vp) noexcept nogil:
    vn_lock_retry(td, vp, LK_EXCLUSIVE, SITE_RELOCK)
    VOP_UNLOCK(td, vp)


# The directories are locked: get the vnode of what a name stands for now, in place of the one that is known, and lock
# it if that needs no waiting.
#
# Locks in:   the lock of the vnode dvp, exclusively.
# Locks out:  the same; the vnode's, exclusively, unless `busy` says True.
# May block:  on nodes' interlocks.
# Returns:    the vnode, used; NULL: nothing has the name.
# Stands for: the "re-resolve" steps of FreeBSD tmpfs_rename_relock().
cdef vnode* resolve(thread* td, vnode* dvp, uint32_t name, bint* busy) noexcept nogil:
    cdef tmpfs_dirent* de
    ASSERT_VOP_ELOCKED(td, dvp)
    busy[0] = False
    de = tmpfs_dir_lookup(td, dvp, name)
    return tmpfs_alloc_vp(td, dvp.v_mount, de.td_node, LK_EXCLUSIVE, busy) if de != NULL else NULL


# May it be renamed at all, by what the names in the locked directories stand for?  After this no lock that is tried
# for is one that the thread has.
#
# Locks in:   the locks of both directories' vnodes, exclusively.
# Locks out:  the same.
# May block:  never.
# Stands for: the first checks of FreeBSD tmpfs_rename().
cdef int precheck(thread* td, renaming* r) noexcept nogil:
    cdef tmpfs_dirent* fde
    cdef tmpfs_dirent* tde
    ASSERT_VOP_ELOCKED(td, r.fdvp)
    ASSERT_VOP_ELOCKED(td, r.tdvp)
    if r.tdvp.v_data.tn_parent == NULL:
        return ENOENT                   # the directory has been removed
    fde = tmpfs_dir_lookup(td, r.fdvp, r.fname)
    tde = tmpfs_dir_lookup(td, r.tdvp, r.tname)
    if fde == NULL:
        return ENOENT
    if fde.td_node == r.tdvp.v_data:
        return EINVAL                   # into itself
    if tde != NULL and tde.td_node == r.fdvp.v_data:
        return ENOTEMPTY                # the file lies in what it would replace
    if tde != NULL and tde.td_node == fde.td_node:
        return RENAME_SAME
    return 0


cdef enum:
    RENAME_SAME = -1                    # both names stand for the same file: nothing is to be done


# Lock all four: see above.
#
# Locks in:   the locks of tdvp and, if there is one, tvp, exclusively.
# Locks out:  those of all four, exclusively; none with an error.
# May block:  sleeps, with none of them held, on each; on nodes' interlocks.
# Returns:    0; an error, or RENAME_SAME, when it cannot be done or need not.
# Stands for: the beginning of FreeBSD tmpfs_rename(), and tmpfs_rename_relock().
cdef int rename_lock(thread* td, renaming* r) noexcept nogil:
    cdef bint tvp_locked = r.tvp != NULL    # since the look-up, with tdvp
    cdef vnode* waited = NULL
    cdef vnode* vp
    cdef bint busy
    cdef int error = 0
    lockmgr_assert_xlocked(td, &r.tdvp.v_lock, b"the new name's directory is not locked exclusively")
    if r.tdvp != r.fdvp and not lockmgr_try_xlock(td, &r.fdvp.v_lock, SITE_RENAME):
        waited = r.fdvp
        VOP_UNLOCK(td, r.tdvp)
    while True:
        if waited == NULL:
            error = precheck(td, r)
            if error == 0:
                vp = resolve(td, r.fdvp, r.fname, &busy)
                vrele(td, r.fvp)
                r.fvp = vp
                if busy:
                    waited = vp
                elif tvp_locked:
                    return 0
                else:
                    vp = resolve(td, r.tdvp, r.tname, &busy)
                    if r.tvp != NULL:
                        vrele(td, r.tvp)
                    r.tvp = vp
                    if not busy:
                        return 0
                    VOP_UNLOCK(td, r.fvp)
                    waited = vp
            VOP_UNLOCK(td, r.fdvp)
            if r.tdvp != r.fdvp:
                VOP_UNLOCK(td, r.tdvp)
        if tvp_locked:
            VOP_UNLOCK(td, r.tvp)
            tvp_locked = False
        if error != 0:
            return error
        # Nothing is held.
        vfs_of(td).rename_restarts += 1
        if waited != r.fdvp:
            wait_for(td, waited)
        waited = NULL
        vn_lock_retry(td, r.fdvp, LK_EXCLUSIVE, SITE_RELOCK)
        if r.tdvp != r.fdvp and not lockmgr_try_xlock(td, &r.tdvp.v_lock, SITE_RELOCK):
            waited = r.tdvp
            VOP_UNLOCK(td, r.fdvp)


# Put the directory below another one, unless that lies in it.
#
# Locks in:   the locks of the vnodes of the directory and of both places, exclusively.
# Locks out:  the same.
# May block:  on nodes' interlocks.
# Returns:    EINVAL when it lies in it.
# Stands for: the walk up from tdnode in FreeBSD tmpfs_rename().
cdef int move_directory(thread* td, tmpfs_mount* mp, tmpfs_node* node, tmpfs_node* place) noexcept nogil:
    cdef tmpfs_node* at = place
    ASSERT_VOP_ELOCKED(td, node.tn_vnode)
    while at != NULL and at != node and at != mp.tm_root:       # what the walk costs; the answer is below
        at = tmpfs_parent(td, at)
    raw_lock(td, &mp.tree)
    at = place
    while at != NULL and at != node and at != mp.tm_root:
        at = at.tn_parent
    if at == mp.tm_root:
        node.tn_parent = place
    raw_unlock(td, &mp.tree)
    if at != mp.tm_root:
        return EINVAL
    tmpfs_set_parent(td, node, place)
    return 0


# Do it.
#
# Locks in:   the locks of all four vnodes, exclusively.
# Locks out:  the same.
# May block:  on nodes' interlocks; as cache_purge().
# Stands for: FreeBSD tmpfs_rename() once everything is locked.
cdef int rename_locked(thread* td, renaming* r) noexcept nogil:
    cdef tmpfs_node* fdnode = r.fdvp.v_data
    cdef tmpfs_node* tdnode = r.tdvp.v_data
    cdef tmpfs_node* fnode = r.fvp.v_data
    cdef tmpfs_node* tnode = r.tvp.v_data if r.tvp != NULL else NULL
    cdef tmpfs_dirent* de
    cdef tmpfs_dirent* old
    cdef int error
    ASSERT_VOP_ELOCKED(td, r.fdvp)
    ASSERT_VOP_ELOCKED(td, r.tdvp)
    ASSERT_VOP_ELOCKED(td, r.fvp)
    charge(td, td.machine.cost.op, OPS_RENAME)
    if tnode != NULL:
        if fnode.tn_type == VDIR and tnode.tn_type != VDIR:
            return ENOTDIR
        if fnode.tn_type != VDIR and tnode.tn_type == VDIR:
            return EISDIR
        if tnode.tn_type == VDIR and tnode.tn_size > 0:
            return ENOTEMPTY
    if fnode.tn_type == VDIR and fdnode != tdnode:
        error = move_directory(td, r.fdvp.v_mount, fnode, tdnode)
        if error != 0:
            return error
        touch_write(td, &fdnode.tn_links)
        touch_write(td, &tdnode.tn_links)
        fdnode.tn_links -= 1
        tdnode.tn_links += 1
    de = tmpfs_dir_lookup(td, r.fdvp, r.fname)
    tmpfs_dir_detach(td, r.fdvp, de)
    if tnode != NULL:
        old = tmpfs_dir_lookup(td, r.tdvp, r.tname)
        tmpfs_dir_detach(td, r.tdvp, old)
        tmpfs_free_dirent(td, old)
        touch_write(td, &tnode.tn_links)
        tnode.tn_links -= 1
        if tnode.tn_type == VDIR:
            tnode.tn_links -= 1
            tdnode.tn_links -= 1
            tmpfs_set_parent(td, tnode, NULL)
    tmpfs_dirent_name(de, r.tname)
    tmpfs_dir_attach(td, r.tdvp, de)
    tmpfs_set_status(td, fdnode, TMPFS_NODE_ACCESSED | TMPFS_NODE_CHANGED | TMPFS_NODE_MODIFIED)
    tmpfs_set_status(td, fnode, TMPFS_NODE_CHANGED)
    tmpfs_set_status(td, tdnode, TMPFS_NODE_CHANGED | TMPFS_NODE_MODIFIED)
    cache_purge(td, r.fvp)
    if r.tvp != NULL:
        cache_purge(td, r.tvp)
    cache_purge_negative(td, r.tdvp)
    return 0


# Rename.
#
# Locks in:   the locks of tdvp and, if there is one, tvp, exclusively; no other.
# Locks out:  none.
# May block:  sleeps on all vnodes' locks; as rename_lock() and rename_locked(); as vrele().
# Returns:    0, or an error.  No vnode is used any more.
# Stands for: FreeBSD tmpfs_rename().
cdef int tmpfs_rename(thread* td, vnode* fdvp, vnode* fvp, uint32_t fname, vnode* tdvp, vnode* tvp,
                      uint32_t tname) noexcept nogil:
    cdef renaming r
    cdef int error
    lockmgr_assert_xlocked(td, &tdvp.v_lock, b"the new name's directory is not locked exclusively")
    r.fdvp = fdvp
    r.fvp = fvp
    r.tdvp = tdvp
    r.tvp = tvp
    r.fname = fname
    r.tname = tname
    if fdvp.v_mount != tdvp.v_mount:
        error = EXDEV
        if tvp != NULL:
            VOP_UNLOCK(td, tvp)
        VOP_UNLOCK(td, tdvp)
    else:
        error = rename_lock(td, &r)
        if error == 0:
            error = rename_locked(td, &r)
            if r.tvp != NULL:
                VOP_UNLOCK(td, r.tvp)
            VOP_UNLOCK(td, r.fvp)
            VOP_UNLOCK(td, r.fdvp)
            if r.tdvp != r.fdvp:
                VOP_UNLOCK(td, r.tdvp)
            vfs_of(td).renames += 1
    if r.tvp != NULL:
        vrele(td, r.tvp)
    vrele(td, r.tdvp)
    vrele(td, r.fvp)
    vrele(td, r.fdvp)
    return 0 if error == RENAME_SAME else error
