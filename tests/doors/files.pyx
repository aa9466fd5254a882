# Test door to files: file systems, calls on paths and open files, on the threads of a lab.

from libc.errno cimport EBADF, EMFILE
from libc.stdint cimport int64_t, uint32_t, uint64_t

from finegrain.kernel.boot cimport KERNEL_VFS, kernel_config, kernel_config_from, kernel_create
from finegrain.kernel.phys cimport phys_allocated_pages, phys_audit
from finegrain.kernel.pmap cimport radix_pages
from finegrain.kernel.types cimport vm_object
from finegrain.kernel.vfs cimport (
    NAME_DOT, NAME_DOTDOT, PATH_COMPONENTS, VDIR, VLNK, VREG, cache_fullpath, fdrop, kern_chdir, kern_find,
    kern_link, kern_mkdir, kern_rename, kern_rmdir, kern_setattr, kern_stat, kern_symlink, kern_truncate, kern_unlink,
    openfile, path_arg, pfs_exit, pfs_vncache_alloc, start_dirs, tmpfs_mount, tmpfs_mount_new, tmpfs_node, tmpfs_plant,
    tmpfs_unmount, vfs_audit, vfs_mount_on, vfs_state, vn_getdirentries, vn_mmap, vn_open, vn_read, vn_seek, vn_stat,
    vn_truncate, vn_write, vnode, vref, vrele)
from finegrain.kernel.vfs.cache cimport cache_audit
from finegrain.kernel.vfs.types cimport tmpfs_dirent, vfs_of
from finegrain.kernel.vm cimport vm_audit, vm_state
from finegrain.lab.memory cimport add_times
from finegrain.lab.run cimport Lab, Operations, checked_config, fresh, lab_call, lab_world, lacks, whole
from finegrain.machine.seam cimport arena_alloc, arena_offset
from finegrain.machine.simulated.simulated cimport SimulatedMachine
from finegrain.machine.thread cimport thread

cdef enum:
    MAX_MOUNTS = 8
    MAX_FDS = 1024
    MAX_PATHS = 8192

cdef struct files_world:
    lab_world lab                       # first
    tmpfs_mount* mounts[MAX_MOUNTS]
    start_dirs dirs[MAX_MOUNTS]
    openfile* fds[MAX_FDS]
    path_arg paths[MAX_PATHS]


cdef files_world* world_of(lab_call* c) noexcept nogil:
    return <files_world*>c.world


cdef start_dirs* dirs_at(lab_call* c) noexcept nogil:
    return &world_of(c).dirs[c.a[0]]


cdef path_arg* path_at(lab_call* c, int i) noexcept nogil:
    return &world_of(c).paths[c.a[i]]


cdef bint lacks_mount(lab_call* c) noexcept nogil:
    return lacks(c, world_of(c).mounts[c.a[0]] != NULL, b"nothing is mounted at this place")


cdef int64_t op_mount(thread* td, lab_call* c) noexcept nogil:
    cdef files_world* w = world_of(c)
    if lacks(c, w.mounts[c.a[0]] == NULL, b"something is mounted at this place"):
        return 0
    w.mounts[c.a[0]] = tmpfs_mount_new(td, <int>c.a[0])
    w.dirs[c.a[0]].root = w.mounts[c.a[0]].tm_root_vnode
    w.dirs[c.a[0]].cwd = w.dirs[c.a[0]].root
    vref(td, w.dirs[c.a[0]].cwd)
    return 0


cdef int64_t op_unmount(thread* td, lab_call* c) noexcept nogil:
    if lacks_mount(c):
        return 0
    vrele(td, dirs_at(c).cwd)
    tmpfs_unmount(td, world_of(c).mounts[c.a[0]])
    world_of(c).mounts[c.a[0]] = NULL
    return 0


cdef int64_t op_mount_on(thread* td, lab_call* c) noexcept nogil:
    cdef vnode* vp
    cdef int error = kern_find(td, dirs_at(c), path_at(c, 1), &vp)
    if error == 0:
        vfs_mount_on(td, vp, world_of(c).mounts[c.a[2]].tm_root_vnode if c.a[2] >= 0 else NULL)
        vrele(td, vp)
    return -error


cdef int64_t op_plant(thread* td, lab_call* c) noexcept nogil:
    # a directory of directories of files, by numbers
    cdef tmpfs_mount* mp = world_of(c).mounts[c.a[0]]
    cdef tmpfs_node* dnode
    cdef int64_t i, k
    for i in range(c.a[1]):
        dnode = tmpfs_plant(td, mp, mp.tm_root, <uint32_t>i, VDIR, NULL)
        for k in range(c.a[2]):
            tmpfs_plant(td, mp, dnode, <uint32_t>k, VREG, NULL)
    return 0


cdef int64_t op_stat(thread* td, lab_call* c) noexcept nogil:
    cdef uint64_t size
    cdef int error
    if lacks_mount(c):
        return 0
    error = kern_stat(td, dirs_at(c), path_at(c, 1), c.a[2] != 0, &size)
    return -error if error else <int64_t>size


cdef int64_t op_setattr(thread* td, lab_call* c) noexcept nogil:
    return 0 if lacks_mount(c) else -kern_setattr(td, dirs_at(c), path_at(c, 1))


cdef int64_t op_truncate(thread* td, lab_call* c) noexcept nogil:
    return 0 if lacks_mount(c) else -kern_truncate(td, dirs_at(c), path_at(c, 1), <uint64_t>c.a[2])


cdef int64_t op_mkdir(thread* td, lab_call* c) noexcept nogil:
    return 0 if lacks_mount(c) else -kern_mkdir(td, dirs_at(c), path_at(c, 1))


cdef int64_t op_rmdir(thread* td, lab_call* c) noexcept nogil:
    return 0 if lacks_mount(c) else -kern_rmdir(td, dirs_at(c), path_at(c, 1))


cdef int64_t op_unlink(thread* td, lab_call* c) noexcept nogil:
    return 0 if lacks_mount(c) else -kern_unlink(td, dirs_at(c), path_at(c, 1))


cdef int64_t op_symlink(thread* td, lab_call* c) noexcept nogil:
    return 0 if lacks_mount(c) else -kern_symlink(td, dirs_at(c), path_at(c, 1), path_at(c, 2))


cdef int64_t op_link(thread* td, lab_call* c) noexcept nogil:
    return 0 if lacks_mount(c) else -kern_link(td, dirs_at(c), path_at(c, 1), path_at(c, 2))


cdef int64_t op_rename(thread* td, lab_call* c) noexcept nogil:
    return 0 if lacks_mount(c) else -kern_rename(td, dirs_at(c), path_at(c, 1), path_at(c, 2))


cdef int64_t op_chdir(thread* td, lab_call* c) noexcept nogil:
    return 0 if lacks_mount(c) else -kern_chdir(td, dirs_at(c), path_at(c, 1))


cdef int64_t op_fullpath(thread* td, lab_call* c) noexcept nogil:
    cdef uint32_t names[PATH_COMPONENTS]
    cdef vnode* vp
    cdef int64_t sum = 0
    cdef int i, n
    cdef int error
    if lacks_mount(c):
        return 0
    error = kern_find(td, dirs_at(c), path_at(c, 1), &vp)
    if error:
        return -error
    n = cache_fullpath(td, vp, names, PATH_COMPONENTS)
    vrele(td, vp)
    for i in range(n):
        sum = sum * 1000 + names[i]
    return sum if n >= 0 else -1


cdef int64_t op_ncvn(thread* td, lab_call* c) noexcept nogil:
    cdef vnode* vp
    cdef int error
    if lacks_mount(c):
        return 0
    error = kern_find(td, dirs_at(c), path_at(c, 1), &vp)
    if error:
        return -error
    vrele(td, vp)
    return arena_offset(td.machine, vp) >> 8 & vfs_of(td).nc.vnode_mask


# --- open files

cdef openfile* file_at(lab_call* c) noexcept nogil:
    return world_of(c).fds[c.a[0]]


cdef int64_t op_open(thread* td, lab_call* c) noexcept nogil:
    cdef files_world* w = world_of(c)
    cdef path_arg* path = path_at(c, 1)
    cdef openfile* fp
    cdef int error
    if lacks_mount(c):
        return 0
    if w.fds[c.a[2]] != NULL:
        return -EMFILE
    error = vn_open(td, dirs_at(c), path.names, path.count, path.absolute, <int>c.a[3], &fp)
    if error == 0:
        w.fds[c.a[2]] = fp
    return -error


cdef int64_t op_close(thread* td, lab_call* c) noexcept nogil:
    cdef openfile* fp = file_at(c)
    if fp == NULL:
        return -EBADF
    world_of(c).fds[c.a[0]] = NULL
    fdrop(td, fp)
    return 0


cdef int64_t op_read(thread* td, lab_call* c) noexcept nogil:
    cdef openfile* fp = file_at(c)
    return -EBADF if fp == NULL else vn_read(td, fp, c.a[2], <uint64_t>c.a[1])


cdef int64_t op_write(thread* td, lab_call* c) noexcept nogil:
    cdef openfile* fp = file_at(c)
    return -EBADF if fp == NULL else vn_write(td, fp, c.a[2], <uint64_t>c.a[1])


cdef int64_t op_seek(thread* td, lab_call* c) noexcept nogil:
    cdef openfile* fp = file_at(c)
    if fp == NULL:
        return -EBADF
    vn_seek(td, fp, <uint64_t>c.a[1])
    return 0


cdef int64_t op_list(thread* td, lab_call* c) noexcept nogil:
    cdef openfile* fp = file_at(c)
    return -EBADF if fp == NULL else vn_getdirentries(td, fp, <uint64_t>c.a[1])


cdef int64_t op_fstat(thread* td, lab_call* c) noexcept nogil:
    cdef openfile* fp = file_at(c)
    return -EBADF if fp == NULL else <int64_t>vn_stat(td, fp)


cdef int64_t op_ftruncate(thread* td, lab_call* c) noexcept nogil:
    cdef openfile* fp = file_at(c)
    return -EBADF if fp == NULL else -vn_truncate(td, fp, <uint64_t>c.a[1])


cdef int64_t op_pages(thread* td, lab_call* c) noexcept nogil:
    cdef openfile* fp = file_at(c)
    cdef vm_object* obj = vn_mmap(td, fp) if fp != NULL else NULL
    return obj.resident_page_count if obj != NULL else -1


# --- pseudofs

cdef int64_t op_look(thread* td, lab_call* c) noexcept nogil:
    pfs_vncache_alloc(td, c.a[0], <uint64_t>c.a[1])
    return 0


cdef int64_t op_exit(thread* td, lab_call* c) noexcept nogil:
    pfs_exit(td, c.a[0])
    return 0


cdef Operations OPERATIONS = Operations({})
OPERATIONS.add("mount", "place", op_mount, "mount an empty file system")
OPERATIONS.add("unmount", "place", op_unmount, "give it back")
OPERATIONS.add("mount_on", "place path other=-1", op_mount_on, "another file system's root in a directory's place")
OPERATIONS.add("plant", "place count:size files:size", op_plant, "so many directories with so many files each")
OPERATIONS.add("stat", "place path nofollow:flag=0", op_stat, "a file's size; of a directory, entries")
OPERATIONS.add("setattr", "place path", op_setattr, "change attributes")
OPERATIONS.add("truncate", "place path size", op_truncate, "make a file so long")
OPERATIONS.add("mkdir", "place path", op_mkdir, "make a directory")
OPERATIONS.add("rmdir", "place path", op_rmdir, "remove an empty directory")
OPERATIONS.add("unlink", "place path", op_unlink, "take a name away")
OPERATIONS.add("symlink", "place target:path path", op_symlink, "make a symbolic link")
OPERATIONS.add("link", "place old:path path", op_link, "give a file one name more")
OPERATIONS.add("rename", "place old:path path", op_rename, "give a file another name")
OPERATIONS.add("chdir", "place path", op_chdir, "another working directory")
OPERATIONS.add("fullpath", "place path", op_fullpath, "names up to the root as digits of 1000; or -1")
OPERATIONS.add("ncvn", "place path", op_ncvn, "which mutex of the name cache is the file's")
OPERATIONS.add("open", "place path fd flags=1", op_open, "open a file")
OPERATIONS.add("close", "fd", op_close, "close it")
OPERATIONS.add("read", "fd size offset=-1", op_read, "read: how many bytes")
OPERATIONS.add("write", "fd size offset=-1", op_write, "write: how many bytes")
OPERATIONS.add("seek", "fd size", op_seek, "read and write from here on")
OPERATIONS.add("list", "fd size", op_list, "read names: how many")
OPERATIONS.add("fstat", "fd", op_fstat, "its size")
OPERATIONS.add("ftruncate", "fd size", op_ftruncate, "make it so long")
OPERATIONS.add("pages", "fd", op_pages, "how many pages are in memory")
OPERATIONS.add("look", "pid node:size", op_look, "look at a process's file in procfs")
OPERATIONS.add("exit", "pid", op_exit, "a process ends")
add_times(OPERATIONS)


cdef class Files(Lab):
    """File systems on the whole kernel below processes. A path is a string; answers below 0 are errors of errno.h."""

    cdef files_world* w
    cdef dict names
    cdef dict paths
    cdef int64_t pages_before

    def __cinit__(self, SimulatedMachine machine not None, segments=None, *, design="head", options=None):
        cdef kernel_config config
        segments, design = checked_config(machine, segments, design)
        fresh(machine)
        kernel_config_from(&config, segments, design, options)
        kernel_create(machine.m, &config, KERNEL_VFS)
        self.make_world(sizeof(files_world))
        self.w = <files_world*>self.world
        self.names = {}
        self.paths = {}
        self.pages_before = phys_allocated_pages(machine.m)

    def __init__(self, machine, segments=None, *, design="head", options=None):
        """See the class."""

    cdef Operations table(self):
        return OPERATIONS

    cdef object value(self, str kind, str what, object given):
        if kind == "place" or kind == "other":
            return whole(what, given, -1 if kind == "other" else 0, MAX_MOUNTS - 1, "the place of a mount")
        if kind == "fd":
            return whole(what, given, 0, MAX_FDS - 1, "a descriptor")
        if kind == "size":
            return whole(what, given, 0, 1 << 40, "a number")
        if kind == "offset" or kind == "pid":
            return whole(what, given, -1, 1 << 40, "a number, or -1")
        if kind == "flags":
            return whole(what, given, 0, 0xffff, "flags of fcntl.h")
        if kind == "path":
            return self.path_number(given)
        return Lab.value(self, kind, what, given)

    def path_number(self, str path):
        """Intern a path."""
        cdef path_arg* at
        cdef uint32_t* names
        if path in self.paths:
            return self.paths[path]
        number = len(self.paths)
        assert number < MAX_PATHS
        parts = [part for part in path.split("/") if part]
        names = <uint32_t*>arena_alloc(self.machine.m, max(1, len(parts)) * sizeof(uint32_t))
        for i, part in enumerate(parts):
            special = {".": <uint32_t>NAME_DOT, "..": <uint32_t>NAME_DOTDOT}.get(part)
            names[<int>i] = self.names.setdefault(part, len(self.names)) if special is None else special
        at = &self.w.paths[<int>number]
        at.names = names
        at.count = len(parts)
        at.absolute = path.startswith("/")
        self.paths[path] = number
        return number

    cdef dict tree_of(self, tmpfs_node* dnode, dict words):
        out = {}
        self.collect(dnode.tn_dirhead, out, words)
        return out

    cdef collect(self, tmpfs_dirent* de, dict out, dict words):
        if de == NULL:
            return
        self.collect(de.td_left, out, words)
        name = words.get(<uint32_t>de.td_key, <uint32_t>de.td_key)
        if de.td_node.tn_type == VDIR:
            out[name] = self.tree_of(de.td_node, words)
        elif de.td_node.tn_type == VLNK:
            out[name] = "/" * de.td_node.tn_link_absolute + "/".join(
                words[de.td_node.tn_link[i]] for i in range(de.td_node.tn_link_count))
        else:
            out[name] = de.td_node.tn_size
        self.collect(de.td_right, out, words)

    def tree(self, int place):
        """What is mounted there: {name: size, or {name: ...}, or a link's path}."""
        words = {number: word for word, number in self.names.items()}
        words |= {<uint32_t>NAME_DOT: ".", <uint32_t>NAME_DOTDOT: ".."}
        return self.tree_of(self.w.mounts[place].tm_root, words)

    def audit(self):
        """Check everything, when no thread is at work: "" or what is wrong."""
        cdef char why[512]
        why[0] = 0
        for i in range(MAX_MOUNTS):
            if self.w.mounts[<int>i] != NULL and vfs_audit(self.machine.m, self.w.mounts[<int>i], why, sizeof(why)):
                return (<bytes>why).decode()
        if cache_audit(self.machine.m):
            return "the name cache is inconsistent"
        if vm_audit(self.machine.m, True, why, sizeof(why)):
            return (<bytes>why).decode()
        return "physical memory is inconsistent" if phys_audit(self.machine.m) else ""

    def in_use(self):
        """What is allocated: {vnodes, nodes, dirents, files, entries, objects, pages: how many}."""
        cdef vfs_state* st = <vfs_state*>self.machine.m.vfs
        return {"vnodes": st.vnodes, "nodes": st.nodes, "dirents": st.dirents, "files": st.files,
                "entries": st.nc.numcache, "objects": (<vm_state*>self.machine.m.vm).objects,
                "pages": phys_allocated_pages(self.machine.m) - radix_pages(self.machine.m) - self.pages_before}

    def counts(self):
        """What was counted: {look-ups, hits ...: how many}."""
        cdef vfs_state* st = <vfs_state*>self.machine.m.vfs
        return {"lookups": st.lookups, "hits": st.cache_hits, "negative_hits": st.negative_hits,
                "negative": st.nc.numneg, "renames": st.renames, "restarts": st.rename_restarts,
                "pfs_entries": st.pfs.entries, "pfs_scans": st.pfs.scans, "pfs_destroyed": st.pfs.destroyed}
