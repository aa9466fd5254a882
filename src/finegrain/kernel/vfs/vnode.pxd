# Vnodes: users, holds, locks.
#
# A vnode is used (v_usecount) by whoever works with it, and held (v_holdcnt) by whoever must find its memory there
# still: all users together, its entries in the name cache together, a look-up on its way to the lock.  Without users a
# vnode stays what it is, for the next one; when its file has no name any more it is reclaimed (VI_DOOMED), and without
# holds then its memory is free for another.
#
# Order of locks: a directory's vnode, then one in it; "ncvn"; "ncbuc"; "vnode interlock".

from libc.stdint cimport uint16_t

from finegrain.kernel.locks cimport lockmgr_assert_locked, lockmgr_assert_xlocked, lockmgr_unlock
from finegrain.kernel.vfs.types cimport tmpfs_mount, vnode, vop_vector
from finegrain.machine.thread cimport thread

cdef enum vn_lock_mode:
    LK_SHARED = 0
    LK_EXCLUSIVE

cdef enum vget_state:
    VGET_USECOUNT = 0
    VGET_HOLDCNT

# A new vnode with one user, locked exclusively.  None held; takes mount mutex.
cdef vnode* getnewvnode(thread* td, tmpfs_mount* mp, const vop_vector* op, int type) noexcept nogil
# Become a user in two steps: take hold of it where it was found, under that place's lock; then lock it.  The second
# answers False when the vnode is doomed: no hold, no lock is left.
cdef vget_state vget_prep(thread* td, vnode* vp) noexcept nogil
cdef bint vget_finish(thread* td, vnode* vp, vn_lock_mode mode, vget_state how, uint16_t site) noexcept nogil
# The second step without a lock.  None that may not be held with an interlock.
cdef void vget_unlocked(thread* td, vnode* vp, vget_state how) noexcept nogil
# One user more, of a vnode that has some.
cdef void vref(thread* td, vnode* vp) noexcept nogil
# One user less: not locked; locked, and unlocked thereby.  The last one reclaims a vnode whose file has no name.
cdef void vrele(thread* td, vnode* vp) noexcept nogil
cdef void vput(thread* td, vnode* vp) noexcept nogil
cdef void vhold(thread* td, vnode* vp) noexcept nogil
cdef void vdrop(thread* td, vnode* vp) noexcept nogil
# False: it is doomed, and not locked.
cdef bint vn_lock(thread* td, vnode* vp, vn_lock_mode mode, uint16_t site) noexcept nogil
# The same even if it is doomed.
cdef void vn_lock_retry(thread* td, vnode* vp, vn_lock_mode mode, uint16_t site) noexcept nogil


# Locks in: the vnode's lock.  Locks out: none of it.  May block: never.  Stands for: FreeBSD VOP_UNLOCK().
cdef inline void VOP_UNLOCK(thread* td, vnode* vp) noexcept nogil:
    lockmgr_unlock(td, &vp.v_lock)


# Locks in: the vnode's lock.  Locks out: the same.  May block: never.  Stands for: FreeBSD ASSERT_VOP_LOCKED().
cdef inline void ASSERT_VOP_LOCKED(thread* td, vnode* vp) noexcept nogil:
    lockmgr_assert_locked(td, &vp.v_lock, b"the vnode is not locked")


# Locks in: the vnode's lock, exclusively.  Locks out: the same.  May block: never.
# Stands for: FreeBSD ASSERT_VOP_ELOCKED().
cdef inline void ASSERT_VOP_ELOCKED(thread* td, vnode* vp) noexcept nogil:
    lockmgr_assert_xlocked(td, &vp.v_lock, b"the vnode is not locked exclusively")
