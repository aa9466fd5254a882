# Files: the trees that builders work in, and the calls of their programs.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from finegrain.kernel.types cimport vm_object
from finegrain.kernel.vfs cimport filedesc, tmpfs_mount, vnode
from finegrain.machine.thread cimport thread
from finegrain.replay.image cimport image

# What the paths of steps stand for; each comes after its directory, and 0 is the root.
cdef struct file_paths:
    int64_t count                       # 0: the program has no file calls
    const int32_t* parent
    const uint32_t* name

# A file that is there when the replay begins.
cdef struct tree_entry:
    int32_t path
    int32_t file                        # of the image, whose pages it has; -1: none
    int64_t bytes                       # -2: a directory

# The root of a file system that all builders see, in the place of a directory of theirs.
cdef struct shared_tree:
    int32_t root                        # the path
    int64_t first                       # what is in it
    int64_t last
    tmpfs_mount* mount

# Put what is there below the path `root` into a file system, as if it had always been there: pages are allocated, no
# time passes.  Files of the image become those of the tree.  None held; takes object locks and the free page locks.
cdef void tree_plant(thread* td, const file_paths* paths, tmpfs_mount* mp, int32_t root, const tree_entry* entries,
                     int64_t first, int64_t last, image* im) noexcept nogil
# Take a step that is a file call.
cdef void file_step(thread* td, filedesc* fdp, const file_paths* paths, uint8_t op, int32_t path, uint64_t arg1,
                    uint32_t arg2) noexcept nogil
# Is it one?
cdef bint is_file_step(uint8_t op) noexcept nogil
# The vnode of a path, used, NULL if there is nothing; pages[0]: a regular file's, else NULL.
cdef vnode* file_find(thread* td, filedesc* fdp, const file_paths* paths, int32_t path,
                      vm_object** pages) noexcept nogil
