# Files: see files.pxd.
#
# A program's paths are known from the root.  What lies below the working directory is looked up from there, as most
# programs do, and the rest from the root.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from finegrain.kernel.locks cimport lock_site, rw_wlock, rw_wunlock
from finegrain.kernel.phys cimport vm_page_alloc_deferred
from finegrain.kernel.types cimport OBJT_SWAP, PAGE_SHIFT, PAGE_SIZE
from finegrain.kernel.vfs cimport (
    FD_FILE, FWRITE, O_APPEND, O_CREAT, O_EXCL, O_TRUNC, PATH_COMPONENTS, VDIR, VREG, fdclose, fdinstall_file,
    fdlookup_file, kern_chdir, kern_find, kern_link, kern_mkdir, kern_rename, kern_rmdir, kern_setattr, kern_stat,
    kern_symlink, kern_truncate, kern_unlink, openfile, path_arg, tmpfs_node, tmpfs_plant, vn_getdirentries, vn_open,
    vn_read, vn_stat, vn_truncate, vn_write)
from finegrain.kernel.vm cimport vm_object_allocate
from finegrain.machine.seam cimport arena_alloc, arena_free, panic, unlikely

from finegrain.workload import program as pr

cdef uint16_t SITE_PLANT = lock_site(b"uiomove_object_page")

cdef uint8_t OP_OPEN = pr.FILE_OPEN
cdef uint8_t OP_CLOSE = pr.FILE_CLOSE
cdef uint8_t OP_FSTAT = pr.FILE_FSTAT
cdef uint8_t OP_READ = pr.FILE_READ
cdef uint8_t OP_WRITE = pr.FILE_WRITE
cdef uint8_t OP_GETDENTS = pr.FILE_GETDENTS
cdef uint8_t OP_TRUNCATE = pr.FILE_TRUNCATE
cdef uint8_t OP_STAT = pr.FILE_STAT
cdef uint8_t OP_LSTAT = pr.FILE_LSTAT
cdef uint8_t OP_UNLINK = pr.FILE_UNLINK
cdef uint8_t OP_RMDIR = pr.FILE_RMDIR
cdef uint8_t OP_MKDIR = pr.FILE_MKDIR
cdef uint8_t OP_CHDIR = pr.FILE_CHDIR
cdef uint8_t OP_SETATTR = pr.FILE_SETATTR
cdef uint8_t OP_RENAME = pr.FILE_RENAME
cdef uint8_t OP_LINK = pr.FILE_LINK
cdef uint8_t OP_SYMLINK = pr.FILE_SYMLINK
assert (pr.OPEN_WRITE, pr.OPEN_APPEND, pr.OPEN_CREAT, pr.OPEN_TRUNC, pr.OPEN_EXCL) == (
    FWRITE, O_APPEND, O_CREAT, O_TRUNC, O_EXCL)


cdef bint is_file_step(uint8_t op) noexcept nogil:
    return op >= OP_OPEN


# --- trees

# A regular file's pages: those of the image, or as many as its bytes need.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on the object's lock and, holding it, on the free page locks.
# Stands for: nothing in FreeBSD: the file has been written long ago.
cdef vm_object* pages_of(thread* td, const tree_entry* entry, image* im) noexcept nogil:
    cdef vm_object* obj
    cdef uint64_t page, pages = (<uint64_t>entry.bytes + PAGE_SIZE - 1) >> PAGE_SHIFT
    if entry.file >= 0 and im.files[entry.file] != NULL:
        obj = im.files[entry.file]
        im.files[entry.file] = NULL
        return obj
    obj = vm_object_allocate(td, OBJT_SWAP, pages)
    obj.builder = im.builder
    if pages == 0:
        return obj
    rw_wlock(td, &obj.lock, SITE_PLANT)
    for page in range(pages):
        if unlikely(not vm_page_alloc_deferred(td, obj, page)):
            panic(td, b"the files do not fit in physical memory; give the machine more, or run fewer builders")
    rw_wunlock(td, &obj.lock)
    return obj


# Locks in:   none.
# Locks out:  none.
# May block:  as pages_of().
# Stands for: nothing in FreeBSD: what a builder's file system holds before the run.
cdef void tree_plant(thread* td, const file_paths* paths, tmpfs_mount* mp, int32_t root, const tree_entry* entries,
                     int64_t first, int64_t last, image* im) noexcept nogil:
    cdef uint64_t size = <uint64_t>paths.count * sizeof(void*)
    cdef tmpfs_node** nodes = <tmpfs_node**>arena_alloc(td.machine, size)
    cdef tmpfs_node* above
    cdef tmpfs_node* node
    cdef const tree_entry* entry
    cdef uint64_t bytes
    cdef int64_t i
    memset(nodes, 0, size)
    nodes[root] = mp.tm_root
    for i in range(first, last):
        entry = &entries[i]
        above = nodes[paths.parent[entry.path]]
        if above == NULL or nodes[entry.path] != NULL:
            continue
        if entry.bytes < 0:
            node = tmpfs_plant(td, mp, above, paths.name[entry.path], VDIR, NULL)
        else:
            node = tmpfs_plant(td, mp, above, paths.name[entry.path], VREG, pages_of(td, entry, im))
            bytes = <uint64_t>entry.bytes       # a file that is mapped reaches to its last page mapped
            node.tn_size = max(bytes, node.tn_size - (PAGE_SIZE - 1)) if node.tn_size > 0 else bytes
        nodes[entry.path] = node
    arena_free(td.machine, nodes, size)


# --- calls

# Put together what a program would say: names from the working directory on, or from the root.
cdef void path_from(filedesc* fdp, const file_paths* paths, int32_t path, uint32_t* names,
                    path_arg* arg) noexcept nogil:
    cdef uint32_t n = PATH_COMPONENTS
    while path != 0 and path != fdp.directory and n > 0:
        n -= 1
        names[n] = paths.name[path]
        path = paths.parent[path]
    arg.names = names + n
    arg.count = PATH_COMPONENTS - n
    arg.absolute = path == 0


# Locks in:   none.
# Locks out:  none.
# May block:  as kern_find(): sleeps.
# Stands for: the look-up of FreeBSD do_execve().
cdef vnode* file_find(thread* td, filedesc* fdp, const file_paths* paths, int32_t path,
                      vm_object** pages) noexcept nogil:
    cdef uint32_t names[PATH_COMPONENTS]
    cdef path_arg arg
    cdef vnode* vp
    pages[0] = NULL
    path_from(fdp, paths, path, names, &arg)
    if kern_find(td, &fdp.dirs, &arg, &vp) != 0:
        return NULL
    if vp.v_type == VREG:
        pages[0] = vp.v_object
    return vp


# A call on a file that the process has open; nothing happens if it has not.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as the calls do: sleeps.
# Stands for: FreeBSD sys_close(), sys_fstat(), sys_pread(), sys_pwrite(), sys_getdirentries(), sys_ftruncate().
cdef void descriptor_step(thread* td, filedesc* fdp, uint8_t op, int32_t path, uint64_t arg1,
                          uint32_t arg2) noexcept nogil:
    cdef openfile* fp = fdlookup_file(fdp, path)
    if fp == NULL:
        return
    if op == OP_CLOSE:
        fdclose(td, fdp, path, FD_FILE)
    elif op == OP_FSTAT:
        vn_stat(td, fp)
    elif op == OP_READ:
        vn_read(td, fp, <int64_t>arg1, arg2)
    elif op == OP_WRITE:
        vn_write(td, fp, <int64_t>arg1, arg2)
    elif op == OP_GETDENTS:
        vn_getdirentries(td, fp, arg2)
    else:
        vn_truncate(td, fp, arg1)


# Locks in:   none.
# Locks out:  none.
# May block:  as the calls do: sleeps.
# Stands for: FreeBSD sys_open() and the other calls on paths, by what the program says.
cdef void file_step(thread* td, filedesc* fdp, const file_paths* paths, uint8_t op, int32_t path, uint64_t arg1,
                    uint32_t arg2) noexcept nogil:
    cdef uint32_t names[PATH_COMPONENTS]
    cdef uint32_t others[PATH_COMPONENTS]
    cdef path_arg arg, other
    cdef openfile* fp
    if fdp.dirs.root == NULL:
        return
    if OP_CLOSE <= op <= OP_GETDENTS or (op == OP_TRUNCATE and arg2 != 0):
        descriptor_step(td, fdp, op, path, arg1, arg2)
        return
    path_from(fdp, paths, path, names, &arg)
    if op == OP_OPEN:
        if vn_open(td, &fdp.dirs, arg.names, arg.count, arg.absolute, <int>arg2, &fp) == 0:
            fdinstall_file(td, fdp, fp, path)
    elif op == OP_STAT or op == OP_LSTAT:
        kern_stat(td, &fdp.dirs, &arg, op == OP_LSTAT, NULL)
    elif op == OP_UNLINK:
        kern_unlink(td, &fdp.dirs, &arg)
    elif op == OP_RMDIR:
        kern_rmdir(td, &fdp.dirs, &arg)
    elif op == OP_MKDIR:
        kern_mkdir(td, &fdp.dirs, &arg)
    elif op == OP_TRUNCATE:
        kern_truncate(td, &fdp.dirs, &arg, arg1)
    elif op == OP_SETATTR:
        kern_setattr(td, &fdp.dirs, &arg)
    elif op == OP_CHDIR:
        if kern_chdir(td, &fdp.dirs, &arg) == 0:
            fdp.directory = path
    else:
        path_from(fdp, paths, <int32_t>arg1, others, &other)
        if op == OP_RENAME:
            kern_rename(td, &fdp.dirs, &arg, &other)
        elif op == OP_LINK:
            kern_link(td, &fdp.dirs, &arg, &other)
        elif op == OP_SYMLINK:
            kern_symlink(td, &fdp.dirs, &other, &arg)
