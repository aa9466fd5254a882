# Open files: FreeBSD's vfs_vnops.c.  See files.pxd.
#
# Modes of the vnode's lock, by what is done: S to open for reading, to close after it, to read, to list, to ask for
# attributes; X to open for writing, to close after it, to write, to truncate.

from libc.errno cimport EEXIST, EISDIR
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport lock_site
from finegrain.kernel.vfs.lookup cimport (
    CREATE, FOLLOW, LOCKLEAF, LOCKPARENT, LOCKSHARED, LOOKUP, namei, nameidata)
from finegrain.kernel.vfs.tmpfs_io cimport tmpfs_read, tmpfs_truncate, tmpfs_write
from finegrain.kernel.vfs.tmpfs_vnops cimport tmpfs_create, tmpfs_getattr, tmpfs_readdir
from finegrain.kernel.vfs.types cimport VDIR, VREG, vfs_of, vfs_state
from finegrain.kernel.vfs.vnode cimport (
    ASSERT_VOP_ELOCKED, LK_EXCLUSIVE, LK_SHARED, VOP_UNLOCK, vn_lock_retry, vput)
from finegrain.machine.seam cimport (
    arena_alloc, atomic_fetchadd, charge, raw_lock, raw_unlock, touch_read, touch_write)

cdef uint16_t SITE_CLOSE = lock_site(b"vn_close")
cdef uint16_t SITE_READ = lock_site(b"vn_read")
cdef uint16_t SITE_WRITE = lock_site(b"vn_write")
cdef uint16_t SITE_STAT = lock_site(b"vn_statfile")
cdef uint16_t SITE_TRUNCATE = lock_site(b"vn_truncate")
cdef uint16_t SITE_LIST = lock_site(b"kern_getdirentries")
cdef uint16_t SITE_MMAP = lock_site(b"vm_mmap_vnode")

# Work in units of cost.op: our estimates [A] of what the calls cost on an idle machine, look-up, locks and copies left
# out.
cdef enum:
    OPS_OPEN = 600                      # about 200 ns: descriptor, file, VOP_OPEN(), access checks
    OPS_CLOSE = 300
    OPS_IO = 450                        # descriptor, offset, checks, uio, as for a pipe
    OPS_STAT = 150


# Locks in: the vnode's lock, exclusively.  Locks out: the same.  May block: never.
# Stands for: FreeBSD VOP_ADD_WRITECOUNT().
cdef inline void add_writecount(thread* td, vnode* vp, int n) noexcept nogil:
    ASSERT_VOP_ELOCKED(td, vp)
    touch_write(td, &vp.v_writecount)
    vp.v_writecount += n


# Open a file, or make it.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on vnodes' locks; as namei() and tmpfs_create().
# Stands for: FreeBSD vn_open_cred(), kern_openat().
cdef int vn_open(thread* td, const start_dirs* at, const uint32_t* path, uint32_t count, bint absolute, int flags,
                 openfile** fp) noexcept nogil:
    cdef vfs_state* st = vfs_of(td)
    cdef nameidata nd
    cdef openfile* f
    cdef int error
    charge(td, td.machine.cost.op, OPS_OPEN)
    nd.ni_startdir = at.root if absolute else at.cwd
    nd.ni_rootdir = at.root
    nd.ni_path = path
    nd.ni_count = count
    if flags & O_CREAT and count > 0:
        nd.ni_op = CREATE
        nd.ni_flags = LOCKPARENT | LOCKLEAF | (0 if flags & O_EXCL else FOLLOW)
    else:
        nd.ni_op = LOOKUP
        nd.ni_flags = LOCKLEAF | FOLLOW
    if not flags & FWRITE:
        nd.ni_flags |= LOCKSHARED
    error = namei(td, &nd)
    if error != 0:
        return error
    if nd.ni_vp == NULL:
        error = tmpfs_create(td, nd.ni_dvp, nd.ni_last, VREG, &nd.ni_vp)
        vput(td, nd.ni_dvp)
        if error != 0:
            return error
        flags &= ~<int>O_TRUNC
    else:
        if nd.ni_dvp != NULL:
            vput(td, nd.ni_dvp)
        if nd.ni_op == CREATE and flags & O_EXCL:
            error = EEXIST
    if error == 0 and nd.ni_vp.v_type == VDIR and flags & FWRITE:
        error = EISDIR
    if error != 0:
        vput(td, nd.ni_vp)
        return error
    if flags & FWRITE:
        add_writecount(td, nd.ni_vp, 1)
    if flags & O_TRUNC and flags & FWRITE and nd.ni_vp.v_type == VREG:
        tmpfs_truncate(td, nd.ni_vp, 0)
    VOP_UNLOCK(td, nd.ni_vp)
    raw_lock(td, &st.lock)
    f = st.free_files
    if f != NULL:
        st.free_files = f.next
    st.files += 1
    st.opens += 1
    raw_unlock(td, &st.lock)
    if f == NULL:
        f = <openfile*>arena_alloc(td.machine, sizeof(openfile))
    touch_write(td, f)
    f.f_vnode = nd.ni_vp                # which it uses from now on
    f.f_count = 1
    f.f_offset = 0
    f.f_flag = <uint32_t>flags
    fp[0] = f
    return 0


# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD fhold().
cdef void fhold(thread* td, openfile* fp) noexcept nogil:
    atomic_fetchadd(td, &fp.f_count, 1)


# Locks in:   none.
# Locks out:  none.
# May block:  the last one: sleeps on the vnode's lock; as vput().
# Stands for: FreeBSD fdrop(), vn_closefile(), vn_close1().
cdef void fdrop(thread* td, openfile* fp) noexcept nogil:
    cdef vfs_state* st = vfs_of(td)
    cdef vnode* vp = fp.f_vnode
    if atomic_fetchadd(td, &fp.f_count, ~<uint64_t>0) != 1:
        return
    charge(td, td.machine.cost.op, OPS_CLOSE)
    vn_lock_retry(td, vp, LK_EXCLUSIVE if fp.f_flag & FWRITE else LK_SHARED, SITE_CLOSE)
    if fp.f_flag & FWRITE:
        add_writecount(td, vp, -1)
    vput(td, vp)
    raw_lock(td, &st.lock)
    fp.next = st.free_files
    st.free_files = fp
    st.files -= 1
    raw_unlock(td, &st.lock)


# Read.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on the vnode's lock; as tmpfs_read().
# Returns:    how many bytes; 0 at the end of the file, and of what is no regular one.
# Stands for: FreeBSD vn_read(), vn_io_fault().
cdef int64_t vn_read(thread* td, openfile* fp, int64_t offset, uint64_t bytes) noexcept nogil:
    cdef uint64_t got
    charge(td, td.machine.cost.op, OPS_IO)
    if fp.f_vnode.v_type != VREG:
        return 0
    touch_read(td, fp)
    vn_lock_retry(td, fp.f_vnode, LK_SHARED, SITE_READ)
    got = tmpfs_read(td, fp.f_vnode, fp.f_offset if offset < 0 else <uint64_t>offset, bytes)
    VOP_UNLOCK(td, fp.f_vnode)
    if offset < 0 and got > 0:
        touch_write(td, &fp.f_offset)
        fp.f_offset += got
    vfs_of(td).file_reads += 1
    return <int64_t>got


# Write.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on the vnode's lock; as tmpfs_write().
# Returns:    how many bytes; 0 to what is no regular file.
# Stands for: FreeBSD vn_write(), vn_io_fault().
cdef int64_t vn_write(thread* td, openfile* fp, int64_t offset, uint64_t bytes) noexcept nogil:
    cdef uint64_t at
    charge(td, td.machine.cost.op, OPS_IO)
    if fp.f_vnode.v_type != VREG or not fp.f_flag & FWRITE:
        return 0
    touch_read(td, fp)
    vn_lock_retry(td, fp.f_vnode, LK_EXCLUSIVE, SITE_WRITE)
    at = fp.f_offset if offset < 0 else <uint64_t>offset
    if fp.f_flag & O_APPEND:
        at = fp.f_vnode.v_data.tn_size
    tmpfs_write(td, fp.f_vnode, at, bytes)
    VOP_UNLOCK(td, fp.f_vnode)
    if offset < 0:
        touch_write(td, &fp.f_offset)
        fp.f_offset = at + bytes
    vfs_of(td).file_writes += 1
    return <int64_t>bytes


# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD vn_seek() but for SEEK_END.
cdef void vn_seek(thread* td, openfile* fp, uint64_t offset) noexcept nogil:
    charge(td, td.machine.cost.op, OPS_STAT)
    touch_write(td, &fp.f_offset)
    fp.f_offset = offset


# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on the vnode's lock; as tmpfs_readdir().
# Returns:    how many names; 0 when there are no more, or it is no directory.
# Stands for: FreeBSD kern_getdirentries().
cdef int64_t vn_getdirentries(thread* td, openfile* fp, uint64_t bytes) noexcept nogil:
    cdef int64_t names
    charge(td, td.machine.cost.op, OPS_IO)
    if fp.f_vnode.v_type != VDIR:
        return 0
    touch_write(td, &fp.f_offset)
    vn_lock_retry(td, fp.f_vnode, LK_SHARED, SITE_LIST)
    names = tmpfs_readdir(td, fp.f_vnode, &fp.f_offset, bytes)
    VOP_UNLOCK(td, fp.f_vnode)
    return names


# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on the vnode's lock.
# Returns:    the size, bytes; of a directory, entries.
# Stands for: FreeBSD vn_statfile().
cdef uint64_t vn_stat(thread* td, openfile* fp) noexcept nogil:
    cdef uint64_t size
    charge(td, td.machine.cost.op, OPS_STAT)
    vn_lock_retry(td, fp.f_vnode, LK_SHARED, SITE_STAT)
    tmpfs_getattr(td, fp.f_vnode)
    size = fp.f_vnode.v_data.tn_size
    VOP_UNLOCK(td, fp.f_vnode)
    return size


# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on the vnode's lock; as tmpfs_truncate().
# Stands for: FreeBSD vn_truncate().
cdef int vn_truncate(thread* td, openfile* fp, uint64_t size) noexcept nogil:
    charge(td, td.machine.cost.op, OPS_STAT)
    if fp.f_vnode.v_type != VREG or not fp.f_flag & FWRITE:
        return EISDIR
    vn_lock_retry(td, fp.f_vnode, LK_EXCLUSIVE, SITE_TRUNCATE)
    tmpfs_truncate(td, fp.f_vnode, size)
    VOP_UNLOCK(td, fp.f_vnode)
    return 0


# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on the vnode's lock.
# Returns:    the file's pages; NULL when it is no regular file.
# Stands for: FreeBSD vm_mmap_vnode(), but for the object's reference and color, which vm_map_mmap() sees to.
cdef vm_object* vn_mmap(thread* td, openfile* fp) noexcept nogil:
    cdef vm_object* obj
    vn_lock_retry(td, fp.f_vnode, LK_SHARED, SITE_MMAP)
    tmpfs_getattr(td, fp.f_vnode)
    obj = fp.f_vnode.v_object
    VOP_UNLOCK(td, fp.f_vnode)
    return obj
