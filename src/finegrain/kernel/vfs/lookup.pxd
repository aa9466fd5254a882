# From a path to vnodes.
#
# Each directory on the way is share-locked while a name is looked up in it, in the name cache first; its file is locked
# before the directory is let go.  The last component is locked as the caller wants it, and its directory, where that is
# to change, exclusively.

from libc.stdint cimport uint32_t

from finegrain.kernel.vfs.types cimport PATH_COMPONENTS, vnode
from finegrain.machine.thread cimport thread

cdef enum nameiop:
    LOOKUP = 0
    CREATE                              # nothing may have the name: then ni_vp is NULL
    DELETE
    RENAME                              # likewise, or something has it

cdef enum:
    LOCKLEAF = 1                        # ni_vp locked exclusively
    LOCKSHARED = 2                      # with LOCKLEAF: shared
    LOCKPARENT = 4                      # ni_dvp used and locked exclusively
    WANTPARENT = 8                      # ni_dvp used
    FOLLOW = 16                         # a symbolic link at the end too

cdef struct nameidata:
    # asked
    vnode* ni_startdir                  # where the path begins, used by somebody
    vnode* ni_rootdir                   # where absolute symbolic links begin; ".." goes no further
    const uint32_t* ni_path             # names, and NAME_DOT and NAME_DOTDOT
    uint32_t ni_count                   # 0: the start itself
    nameiop ni_op
    int ni_flags
    # answered
    vnode* ni_vp                        # used
    vnode* ni_dvp
    uint32_t ni_last                    # the last component's name
    # links followed
    uint32_t ni_links
    uint32_t ni_buffer[PATH_COMPONENTS]

# Look a path up: 0 or an error of errno.h, and then nothing is used or locked.  None held.
cdef int namei(thread* td, nameidata* nd) noexcept nogil
# A file system's root is to be found in a directory's place.  Nobody looks anything up there yet.
cdef void vfs_mount_on(thread* td, vnode* covered, vnode* root) noexcept nogil
