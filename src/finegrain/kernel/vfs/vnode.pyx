# Vnodes.  See vnode.pxd.
#
# Left out: the lists of active and free vnodes with their mutexes, and the recycling of vnodes beyond
# kern.maxvnodes, which a machine with memory for thirty million pages does not come to.

from libc.stdint cimport uint16_t, uint64_t

from finegrain.kernel.list cimport list_insert_head, list_remove, list_touch_insert_head, list_touch_remove
from finegrain.kernel.locks cimport (
    lock_name, lock_site, lockmgr_init, lockmgr_slock, lockmgr_try_upgrade, lockmgr_xlock, lockmgr_xlocked,
    mtx_assert_owned, mtx_init, mtx_lock, mtx_unlock)
from finegrain.kernel.vfs.types cimport VI_DOOMED, vfs_of, vfs_state
from finegrain.machine.seam cimport (
    arena_alloc, atomic_cas, atomic_fetchadd, atomic_load, atomic_load_acq, charge, panic, raw_lock, raw_unlock,
    touch_read, touch_write, unlikely)

cdef uint16_t NAME_VNODE = lock_name(b"lockmgr", b"tmpfs")
cdef uint16_t NAME_INTERLOCK = lock_name(b"sleep mutex", b"vnode interlock")
cdef uint16_t SITE_NEW = lock_site(b"getnewvnode")
cdef uint16_t SITE_INSERT = lock_site(b"insmntque1")
cdef uint16_t SITE_DELETE = lock_site(b"delmntque")
cdef uint16_t SITE_HOLD = lock_site(b"_vhold")
cdef uint16_t SITE_DROP = lock_site(b"_vdrop")
cdef uint16_t SITE_PUT = lock_site(b"vputx")
cdef uint16_t SITE_GONE = lock_site(b"vgonel")

# Work in units of cost.op: our estimates [A].
cdef enum:
    OPS_NEW = 300                       # about 100 ns: a UMA allocation and 480 bytes to fill in
    OPS_GONE = 300                      # the reverse, bufobj and pollinfo to look at


# --- holds

# Another hold, if there is one or a vnode that nobody holds may be found by it.
#
# Locks in:   whatever keeps the vnode findable; not its interlock.
# Locks out:  the same.
# May block:  on the interlock, when nobody holds it.
# Stands for: FreeBSD vhold().
cdef void vhold(thread* td, vnode* vp) noexcept nogil:
    cdef uint64_t n = atomic_load(td, &vp.v_holdcnt)
    while n != 0:
        if atomic_cas(td, &vp.v_holdcnt, n, n + 1):
            return
        n = atomic_load_acq(&vp.v_holdcnt)
    mtx_lock(td, &vp.v_interlock, SITE_HOLD)
    atomic_fetchadd(td, &vp.v_holdcnt, 1)
    mtx_unlock(td, &vp.v_interlock)


# Drop a hold; without any, a doomed vnode's memory is free.
#
# Locks in:   the interlock of vp.
# Locks out:  none of it.
# May block:  never.
# Stands for: FreeBSD vdropl().
cdef void vdropl(thread* td, vnode* vp) noexcept nogil:
    cdef vfs_state* st = vfs_of(td)
    cdef bint gone
    mtx_assert_owned(td, &vp.v_interlock, b"the vnode's interlock is not held")
    gone = atomic_fetchadd(td, &vp.v_holdcnt, ~<uint64_t>0) == 1 and vp.v_iflag & VI_DOOMED
    mtx_unlock(td, &vp.v_interlock)
    if not gone:
        return
    if unlikely(vp.v_usecount != 0 or vp.v_cache_src != NULL or vp.v_cache_dst_first != NULL or vp.v_data != NULL):
        panic(td, b"a vnode that is freed is in use, or has names")
    charge(td, td.machine.cost.op, OPS_GONE)
    raw_lock(td, &st.lock)
    vp.v_nmntvnodes_next = st.free_vnodes
    st.free_vnodes = vp
    st.vnodes -= 1
    raw_unlock(td, &st.lock)


# Locks in:   none of the vnode's.
# Locks out:  the same.
# May block:  on the interlock, with the last hold.
# Stands for: FreeBSD vdrop().
cdef void vdrop(thread* td, vnode* vp) noexcept nogil:
    cdef uint64_t n = atomic_load(td, &vp.v_holdcnt)
    while n > 1:
        if atomic_cas(td, &vp.v_holdcnt, n, n - 1):
            return
        n = atomic_load_acq(&vp.v_holdcnt)
    mtx_lock(td, &vp.v_interlock, SITE_DROP)
    vdropl(td, vp)


# --- users

# Make a vnode.
#
# Locks in:   none that may not be held across a sleep.
# Locks out:  the vnode's lock too, exclusively.
# May block:  on the mount's mutex.
# Returns:    a vnode with one user, on the mount's list.
# Stands for: FreeBSD getnewvnode(), the vn_lock() and insmntque() that follow it.
cdef vnode* getnewvnode(thread* td, tmpfs_mount* mp, const vop_vector* op, int type) noexcept nogil:
    cdef vfs_state* st = vfs_of(td)
    cdef vnode* vp
    raw_lock(td, &st.lock)
    vp = st.free_vnodes
    if vp != NULL:
        st.free_vnodes = vp.v_nmntvnodes_next
    st.vnodes += 1
    st.last_vnode += 1
    if vp == NULL:
        vp = <vnode*>arena_alloc(td.machine, sizeof(vnode))
        lockmgr_init(&vp.v_lock, NAME_VNODE, 0)
        mtx_init(&vp.v_interlock, NAME_INTERLOCK, 0)
    vp.v_id = st.last_vnode
    raw_unlock(td, &st.lock)
    charge(td, td.machine.cost.op, OPS_NEW)
    vp.v_op = op
    vp.v_data = NULL
    vp.v_mount = mp
    vp.v_mountedhere = NULL
    vp.v_object = NULL
    vp.v_cache_src = NULL
    vp.v_cache_dst_first = NULL
    vp.v_cache_dst_last = NULL
    vp.v_cache_dd = NULL
    vp.v_iflag = 0
    vp.v_writecount = 0
    vp.v_type = <unsigned char>type
    touch_write(td, &vp.v_op)
    touch_write(td, &vp.v_cache_src)
    touch_write(td, &vp.v_object)
    touch_write(td, &vp.v_usecount)
    vp.v_holdcnt = 1
    vp.v_usecount = 1
    lockmgr_xlock(td, &vp.v_lock, SITE_NEW)
    mtx_lock(td, &mp.mnt_mtx, SITE_INSERT)
    list_touch_insert_head(td, <void**>&mp.mnt_nvnodelist, vp, <void**>&vp.v_nmntvnodes_next,
                           <void**>&vp.v_nmntvnodes_prev)
    list_insert_head(<void**>&mp.mnt_nvnodelist, NULL, vp, <void**>&vp.v_nmntvnodes_next,
                     <void**>&vp.v_nmntvnodes_prev)
    mp.mnt_nvnodelistsize += 1
    mtx_unlock(td, &mp.mnt_mtx)
    return vp


# Take hold of a vnode that has been found; vget_finish() must follow.
#
# Locks in:   whatever keeps the vnode where it was found: its bucket's lock, its node's.
# Locks out:  the same.
# May block:  as vhold().
# Stands for: FreeBSD vget_prep().
cdef vget_state vget_prep(thread* td, vnode* vp) noexcept nogil:
    cdef uint64_t n = atomic_load(td, &vp.v_usecount)
    while n != 0:
        if atomic_cas(td, &vp.v_usecount, n, n + 1):
            return VGET_USECOUNT
        n = atomic_load_acq(&vp.v_usecount)
    vhold(td, vp)
    return VGET_HOLDCNT


# Lock the vnode, and become a user if that has not been done.
#
# Locks in:   none that may not be held across a sleep; not the vnode's.
# Locks out:  the vnode's lock in that mode, when the answer is True.
# May block:  sleeps on the vnode's lock; on its interlock.
# Returns:    False when the vnode is doomed.
# Stands for: FreeBSD vget_finish().
cdef bint vget_finish(thread* td, vnode* vp, vn_lock_mode mode, vget_state how, uint16_t site) noexcept nogil:
    if not vn_lock(td, vp, mode, site):
        if how == VGET_USECOUNT:
            vrele(td, vp)
        else:
            vdrop(td, vp)
        return False
    vget_unlocked(td, vp, how)
    return True


# Become a user, if that has not been done, without a look at whether it is doomed.
#
# Locks in:   any that come before a vnode's interlock.
# Locks out:  the same.
# May block:  on the vnode's interlock.
# Stands for: the end of FreeBSD vget_finish(); vrefl().
cdef void vget_unlocked(thread* td, vnode* vp, vget_state how) noexcept nogil:
    if how == VGET_HOLDCNT and atomic_fetchadd(td, &vp.v_usecount, 1) != 0:
        vdrop(td, vp)                   # there are users meanwhile, and they hold it


# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD vrefact().
cdef void vref(thread* td, vnode* vp) noexcept nogil:
    if unlikely(atomic_fetchadd(td, &vp.v_usecount, 1) == 0):
        panic(td, b"vref: nobody uses the vnode")


# One user less.
#
# Locks in:   none that may not be held across a sleep; if `locked`, the vnode's lock.
# Locks out:  not the vnode's.
# May block:  the last user: on the interlock; where the file has no name any more, sleeps on the vnode's lock and as
#             its file system does to reclaim it.
# Stands for: FreeBSD vputx().
cdef void vputx(thread* td, vnode* vp, bint locked) noexcept nogil:
    cdef uint64_t n = atomic_load(td, &vp.v_usecount)
    cdef bint exclusive
    while n > 1:
        if atomic_cas(td, &vp.v_usecount, n, n - 1):
            if locked:
                VOP_UNLOCK(td, vp)
            return
        n = atomic_load_acq(&vp.v_usecount)
    mtx_lock(td, &vp.v_interlock, SITE_PUT)
    if atomic_fetchadd(td, &vp.v_usecount, ~<uint64_t>0) != 1:
        mtx_unlock(td, &vp.v_interlock)
        if locked:
            VOP_UNLOCK(td, vp)
        return
    if vp.v_iflag & VI_DOOMED or not vp.v_op.need_inactive(td, vp):
        if locked:
            VOP_UNLOCK(td, vp)
        vdropl(td, vp)
        return
    # The users' hold is this thread's now.  Whoever shares the lock may be no user any more: to leave it to the others
    # would be to leave it to nobody.  FreeBSD notes that it is owed (VI_OWEINACT), for whoever comes by.
    exclusive = locked and (lockmgr_xlocked(td, &vp.v_lock) or lockmgr_try_upgrade(td, &vp.v_lock, SITE_PUT))
    mtx_unlock(td, &vp.v_interlock)
    if not exclusive:
        if locked:
            VOP_UNLOCK(td, vp)
        lockmgr_xlock(td, &vp.v_lock, SITE_PUT)
    if atomic_load(td, &vp.v_usecount) == 0 and not vp.v_iflag & VI_DOOMED:
        vgone(td, vp)
    VOP_UNLOCK(td, vp)
    vdrop(td, vp)


# Locks in:   none that may not be held across a sleep; not the vnode's.
# Locks out:  the same.
# May block:  as vputx().
# Stands for: FreeBSD vrele().
cdef void vrele(thread* td, vnode* vp) noexcept nogil:
    vputx(td, vp, False)


# Locks in:   the vnode's lock; none that may not be held across a sleep.
# Locks out:  not the vnode's.
# May block:  as vputx().
# Stands for: FreeBSD vput().
cdef void vput(thread* td, vnode* vp) noexcept nogil:
    ASSERT_VOP_LOCKED(td, vp)
    vputx(td, vp, True)


# The vnode is to be one no longer.
#
# Locks in:   the vnode's lock, exclusively; nobody uses it.
# Locks out:  the same.
# May block:  on the interlock and the mount's mutex; as its file system does to reclaim it.
# Stands for: FreeBSD vgonel(), delmntque().
cdef void vgone(thread* td, vnode* vp) noexcept nogil:
    cdef tmpfs_mount* mp = vp.v_mount
    ASSERT_VOP_ELOCKED(td, vp)
    mtx_lock(td, &vp.v_interlock, SITE_GONE)
    touch_write(td, &vp.v_iflag)
    vp.v_iflag |= VI_DOOMED
    mtx_unlock(td, &vp.v_interlock)
    vp.v_op.reclaim(td, vp)
    mtx_lock(td, &mp.mnt_mtx, SITE_DELETE)
    list_touch_remove(td, <void**>&mp.mnt_nvnodelist, vp, <void**>&vp.v_nmntvnodes_next,
                      <void**>&vp.v_nmntvnodes_prev)
    list_remove(<void**>&mp.mnt_nvnodelist, NULL, vp, <void**>&vp.v_nmntvnodes_next, <void**>&vp.v_nmntvnodes_prev)
    mp.mnt_nvnodelistsize -= 1
    mtx_unlock(td, &mp.mnt_mtx)


# --- the lock

# Locks in:   none that may not be held across a sleep; not the vnode's.
# Locks out:  the vnode's lock in that mode.
# May block:  sleeps on the vnode's lock.
# Stands for: FreeBSD vn_lock() with LK_RETRY.
cdef void vn_lock_retry(thread* td, vnode* vp, vn_lock_mode mode, uint16_t site) noexcept nogil:
    if mode == LK_EXCLUSIVE:
        lockmgr_xlock(td, &vp.v_lock, site)
    else:
        lockmgr_slock(td, &vp.v_lock, site)


# Locks in:   none that may not be held across a sleep; not the vnode's.
# Locks out:  the vnode's lock in that mode, when the answer is True.
# May block:  sleeps on the vnode's lock.
# Returns:    False when the vnode is doomed.
# Stands for: FreeBSD vn_lock().
cdef bint vn_lock(thread* td, vnode* vp, vn_lock_mode mode, uint16_t site) noexcept nogil:
    vn_lock_retry(td, vp, mode, site)
    touch_read(td, &vp.v_iflag)
    if unlikely(vp.v_iflag & VI_DOOMED):
        VOP_UNLOCK(td, vp)
        return False
    return True
