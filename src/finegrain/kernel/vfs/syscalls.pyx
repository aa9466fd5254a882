# System calls on paths: FreeBSD's vfs_syscalls.c.  See syscalls.pxd.

from libc.errno cimport EBUSY, EEXIST, EINVAL, EISDIR, ENOTDIR, EPERM, EXDEV
from libc.stdint cimport uint16_t, uint64_t

from finegrain.kernel.locks cimport lock_site, lockmgr_try_xlock
from finegrain.kernel.vfs.lookup cimport (
    CREATE, DELETE, FOLLOW, LOCKLEAF, LOCKPARENT, LOCKSHARED, LOOKUP, RENAME, WANTPARENT, namei, nameidata, nameiop)
from finegrain.kernel.vfs.tmpfs_io cimport tmpfs_truncate
from finegrain.kernel.vfs.tmpfs_rename cimport tmpfs_rename
from finegrain.kernel.vfs.tmpfs_vnops cimport (
    tmpfs_create, tmpfs_getattr, tmpfs_link, tmpfs_remove, tmpfs_rmdir, tmpfs_setattr, tmpfs_symlink)
from finegrain.kernel.vfs.types cimport PATH_COMPONENTS, VDIR, VREG
from finegrain.kernel.vfs.vnode cimport LK_EXCLUSIVE, VOP_UNLOCK, vn_lock_retry, vput, vrele
from finegrain.machine.seam cimport charge

cdef uint16_t SITE_LINK = lock_site(b"kern_linkat")

# Work in units of cost.op: our estimates [A] of what the calls cost on an idle machine beside the look-up.
cdef enum:
    OPS_CALL = 300                      # about 100 ns: arguments, checks, what is copied out


# Look a path up, as a call asks for it.
#
# Locks in:   none.
# Locks out:  those that the flags ask for, without an error.
# May block:  as namei(): sleeps.
# Stands for: FreeBSD NDINIT_AT() and namei().
cdef int find(thread* td, const start_dirs* at, const path_arg* path, nameiop op, int flags,
              nameidata* nd) noexcept nogil:
    nd.ni_startdir = at.root if path.absolute else at.cwd
    nd.ni_rootdir = at.root
    nd.ni_path = path.names
    nd.ni_count = path.count
    nd.ni_op = op
    nd.ni_flags = flags
    charge(td, td.machine.cost.op, OPS_CALL)
    return namei(td, nd)


# Locks in:   none.
# Locks out:  none.
# May block:  as namei(): sleeps.
# Stands for: FreeBSD kern_statat(), kern_accessat(), kern_readlinkat().
cdef int kern_stat(thread* td, const start_dirs* at, const path_arg* path, bint nofollow,
                   uint64_t* size) noexcept nogil:
    cdef nameidata nd
    cdef int error = find(td, at, path, LOOKUP, LOCKLEAF | LOCKSHARED | (0 if nofollow else FOLLOW), &nd)
    if error == 0:
        tmpfs_getattr(td, nd.ni_vp)
        if size != NULL:
            size[0] = nd.ni_vp.v_data.tn_size
        vput(td, nd.ni_vp)
    return error


# Locks in:   none.
# Locks out:  none.
# May block:  as namei(): sleeps; on the node's interlock.
# Stands for: FreeBSD kern_fchmodat(), kern_fchownat(), kern_utimesat().
cdef int kern_setattr(thread* td, const start_dirs* at, const path_arg* path) noexcept nogil:
    cdef nameidata nd
    cdef int error = find(td, at, path, LOOKUP, LOCKLEAF | FOLLOW, &nd)
    if error == 0:
        tmpfs_setattr(td, nd.ni_vp)
        vput(td, nd.ni_vp)
    return error


# Locks in:   none.
# Locks out:  none.
# May block:  as namei() and tmpfs_truncate(): sleeps.
# Stands for: FreeBSD kern_truncate().
cdef int kern_truncate(thread* td, const start_dirs* at, const path_arg* path, uint64_t size) noexcept nogil:
    cdef nameidata nd
    cdef int error = find(td, at, path, LOOKUP, LOCKLEAF | FOLLOW, &nd)
    if error == 0:
        if nd.ni_vp.v_type == VREG:
            tmpfs_truncate(td, nd.ni_vp, size)
        else:
            error = EISDIR if nd.ni_vp.v_type == VDIR else EINVAL
        vput(td, nd.ni_vp)
    return error


# A look-up for a name that nothing may have.
#
# Locks in:   none.
# Locks out:  without an error the directory's, exclusively.
# May block:  as namei(): sleeps.
# Stands for: the look-ups of FreeBSD kern_mkdirat(), kern_symlinkat(), kern_linkat().
cdef int find_free(thread* td, const start_dirs* at, const path_arg* path, nameidata* nd) noexcept nogil:
    cdef int error
    if path.count == 0:
        return EEXIST
    error = find(td, at, path, CREATE, LOCKPARENT, nd)
    if error == 0 and nd.ni_vp != NULL:
        vrele(td, nd.ni_vp)
        if nd.ni_dvp != NULL:
            vput(td, nd.ni_dvp)
        error = EEXIST
    return error


# Locks in:   none.
# Locks out:  none.
# May block:  as namei() and tmpfs_create(): sleeps.
# Stands for: FreeBSD kern_mkdirat().
cdef int kern_mkdir(thread* td, const start_dirs* at, const path_arg* path) noexcept nogil:
    cdef nameidata nd
    cdef vnode* vp
    cdef int error = find_free(td, at, path, &nd)
    if error != 0:
        return error
    error = tmpfs_create(td, nd.ni_dvp, nd.ni_last, VDIR, &vp)
    vput(td, nd.ni_dvp)
    if error == 0:
        vput(td, vp)
    return error


# Locks in:   none.
# Locks out:  none.
# May block:  as namei() and tmpfs_symlink(): sleeps.
# Stands for: FreeBSD kern_symlinkat().
cdef int kern_symlink(thread* td, const start_dirs* at, const path_arg* target, const path_arg* path) noexcept nogil:
    cdef nameidata nd
    cdef vnode* vp
    cdef int error
    if target.count > PATH_COMPONENTS:
        return EINVAL
    error = find_free(td, at, path, &nd)
    if error != 0:
        return error
    error = tmpfs_symlink(td, nd.ni_dvp, nd.ni_last, target.names, target.count, target.absolute, &vp)
    vput(td, nd.ni_dvp)
    if error == 0:
        vput(td, vp)
    return error


# Give a file one name more.  The file's lock is only tried for with the directory's held: which of them comes first,
# nobody can say.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as namei(): sleeps; sleeps on the file's lock with nothing held.
# Stands for: FreeBSD kern_linkat().
cdef int kern_link(thread* td, const start_dirs* at, const path_arg* old, const path_arg* path) noexcept nogil:
    cdef nameidata nd
    cdef vnode* vp
    cdef int error = find(td, at, old, LOOKUP, FOLLOW, &nd)
    if error != 0:
        return error
    vp = nd.ni_vp
    if vp.v_type == VDIR:
        vrele(td, vp)
        return EPERM
    while True:
        error = find_free(td, at, path, &nd)
        if error != 0:
            break
        if nd.ni_dvp.v_mount != vp.v_mount:
            error = EXDEV
        elif not lockmgr_try_xlock(td, &vp.v_lock, SITE_LINK):
            vput(td, nd.ni_dvp)
            vn_lock_retry(td, vp, LK_EXCLUSIVE, SITE_LINK)
            VOP_UNLOCK(td, vp)
            continue
        else:
            error = tmpfs_link(td, nd.ni_dvp, vp, nd.ni_last)
            VOP_UNLOCK(td, vp)
        vput(td, nd.ni_dvp)
        break
    vrele(td, vp)
    return error


# Take a name away.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as namei(), tmpfs_rmdir() and vput(): sleeps.
# Stands for: FreeBSD kern_funlinkat(), kern_frmdirat().
cdef int remove(thread* td, const start_dirs* at, const path_arg* path, bint directory) noexcept nogil:
    cdef nameidata nd
    cdef int error = find(td, at, path, DELETE, LOCKPARENT | LOCKLEAF, &nd)
    if error != 0:
        return error
    if nd.ni_vp.v_mount != nd.ni_dvp.v_mount:
        error = EBUSY                   # something is mounted there
    elif directory:
        error = tmpfs_rmdir(td, nd.ni_dvp, nd.ni_vp, nd.ni_last) if nd.ni_vp.v_type == VDIR else ENOTDIR
    else:
        error = tmpfs_remove(td, nd.ni_dvp, nd.ni_vp, nd.ni_last) if nd.ni_vp.v_type != VDIR else EPERM
    vput(td, nd.ni_dvp)
    vput(td, nd.ni_vp)
    return error


# Locks in:   none.
# Locks out:  none.
# May block:  as remove(): sleeps.
# Stands for: FreeBSD kern_frmdirat().
cdef int kern_rmdir(thread* td, const start_dirs* at, const path_arg* path) noexcept nogil:
    return remove(td, at, path, True)


# Locks in:   none.
# Locks out:  none.
# May block:  as remove(): sleeps.
# Stands for: FreeBSD kern_funlinkat().
cdef int kern_unlink(thread* td, const start_dirs* at, const path_arg* path) noexcept nogil:
    return remove(td, at, path, False)


# Rename.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as namei() and tmpfs_rename(): sleeps.
# Stands for: FreeBSD kern_renameat().
cdef int kern_rename(thread* td, const start_dirs* at, const path_arg* old, const path_arg* path) noexcept nogil:
    cdef nameidata source
    cdef nameidata target
    cdef int error = find(td, at, old, DELETE, WANTPARENT, &source)
    if error != 0:
        return error
    error = find(td, at, path, RENAME, LOCKPARENT | LOCKLEAF, &target)
    if error != 0:
        vrele(td, source.ni_dvp)
        vrele(td, source.ni_vp)
        return error
    if source.ni_vp.v_mount != source.ni_dvp.v_mount or (
            target.ni_vp != NULL and target.ni_vp.v_mount != target.ni_dvp.v_mount):
        vput(td, target.ni_dvp)
        if target.ni_vp != NULL:
            vput(td, target.ni_vp)
        vrele(td, source.ni_dvp)
        vrele(td, source.ni_vp)
        return EBUSY
    return tmpfs_rename(td, source.ni_dvp, source.ni_vp, source.ni_last, target.ni_dvp, target.ni_vp, target.ni_last)


# Locks in:   none.
# Locks out:  none.
# May block:  as namei(): sleeps.
# Stands for: FreeBSD namei() with neither LOCKLEAF nor a parent.
cdef int kern_find(thread* td, const start_dirs* at, const path_arg* path, vnode** vpp) noexcept nogil:
    cdef nameidata nd
    cdef int error = find(td, at, path, LOOKUP, FOLLOW, &nd)
    if error == 0:
        vpp[0] = nd.ni_vp
    return error


# Locks in:   none.
# Locks out:  none.
# May block:  as namei() and vrele(): sleeps.
# Stands for: FreeBSD kern_chdir(), pwd_chdir().
cdef int kern_chdir(thread* td, start_dirs* at, const path_arg* path) noexcept nogil:
    cdef vnode* vp
    cdef int error = kern_find(td, at, path, &vp)
    if error != 0:
        return error
    if vp.v_type != VDIR:
        vrele(td, vp)
        return ENOTDIR
    vrele(td, at.cwd)
    at.cwd = vp
    return 0
