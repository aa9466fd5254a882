# What programs reach by descriptors and paths: pipes, and files in memory.
#
#   pipe      pipes: made, written, read, closed                    "pipe mutex"
#   descrip   the descriptors of a process
#   files     open files: read, written, closed                     vnodes' locks
#   syscalls  calls on paths: stat, mkdir, unlink, rename ...
#   lookup    from a path to vnodes
#   cache     the name cache                                        "ncvn", "ncbuc", "ncnegl", "ncneghot"
#   vnode     vnodes: users, holds, locks                           "tmpfs" (lockmgr), "vnode interlock"
#   tmpfs_*   the file system: nodes, directories, contents         "tmpfs node interlock", "tmpfs allnode lock"
#   pseudofs  what procfs keeps of its files                        "pfs_vncache"
#   state     the layer comes to be; its audit
#   types     the structs
#
# Order of locks: a directory's vnode, a vnode in it, object, "vm page"; vnode, "ncvn", "ncbuc", "vnode interlock".

from finegrain.kernel.vfs.cache cimport cache_fullpath
from finegrain.kernel.vfs.descrip cimport (
    FD_FILE, fd_end, fdclose, fdcloseall, fdcopy, fdescfree, fdinit, fdinstall, fdinstall_file, fdlookup,
    fdlookup_file, fdwake, filedesc)
from finegrain.kernel.vfs.files cimport (
    FREAD, FWRITE, O_APPEND, O_CREAT, O_EXCL, O_TRUNC, fdrop, fhold, start_dirs, vn_getdirentries, vn_mmap, vn_open,
    vn_read, vn_seek, vn_stat, vn_truncate, vn_write)
from finegrain.kernel.vfs.lookup cimport vfs_mount_on
from finegrain.kernel.vfs.pipe cimport (
    BIG_PIPE_SIZE, PIPE_READ_END, PIPE_WRITE_END, kern_pipe, pipe_close, pipe_read, pipe_write)
from finegrain.kernel.vfs.pseudofs cimport pfs_exit, pfs_vncache_alloc
from finegrain.kernel.vfs.state cimport vfs_audit, vfs_create
from finegrain.kernel.vfs.syscalls cimport (
    kern_chdir, kern_find, kern_link, kern_mkdir, kern_rename, kern_rmdir, kern_setattr, kern_stat, kern_symlink,
    kern_truncate, kern_unlink, path_arg)
from finegrain.kernel.vfs.tmpfs_subr cimport tmpfs_mount_new, tmpfs_plant, tmpfs_unmount
from finegrain.kernel.vfs.types cimport (
    NAME_DOT, NAME_DOTDOT, NO_PID, PATH_COMPONENTS, VDIR, VLNK, VREG, openfile, pipepair, tmpfs_mount, tmpfs_node,
    vfs_of, vfs_options, vfs_state, vnode)
from finegrain.kernel.vfs.vnode cimport LK_EXCLUSIVE, LK_SHARED, VOP_UNLOCK, vn_lock, vput, vref, vrele
