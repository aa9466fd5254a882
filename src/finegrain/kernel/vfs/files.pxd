# Open files.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from finegrain.kernel.types cimport vm_object
from finegrain.kernel.vfs.types cimport openfile, vnode
from finegrain.machine.thread cimport thread

cdef enum:
    # sys/fcntl.h
    FREAD = 1
    FWRITE = 2
    O_APPEND = 8
    O_CREAT = 0x200
    O_TRUNC = 0x400
    O_EXCL = 0x800

# Where a process's paths begin.
cdef struct start_dirs:
    vnode* root                         # used by somebody all the time, as is the other
    vnode* cwd                          # where relative ones begin

# Open a path, or make the file: 0 and fp[0], which its descriptors hold from now on; else an error of errno.h.
cdef int vn_open(thread* td, const start_dirs* at, const uint32_t* path, uint32_t count, bint absolute, int flags,
                 openfile** fp) noexcept nogil
# One descriptor more, or fewer; the last one's closes the file.  None held; takes the vnode's lock.
cdef void fhold(thread* td, openfile* fp) noexcept nogil
cdef void fdrop(thread* td, openfile* fp) noexcept nogil
# Read or write from the file's place on, which moves on (offset -1), or at an offset: how many bytes.  None held; take
# the vnode's lock, object W, vm page; the free page locks.
cdef int64_t vn_read(thread* td, openfile* fp, int64_t offset, uint64_t bytes) noexcept nogil
cdef int64_t vn_write(thread* td, openfile* fp, int64_t offset, uint64_t bytes) noexcept nogil
cdef void vn_seek(thread* td, openfile* fp, uint64_t offset) noexcept nogil
# Names from a directory: how many; 0: there are no more.
cdef int64_t vn_getdirentries(thread* td, openfile* fp, uint64_t bytes) noexcept nogil
# Its attributes; its size.
cdef uint64_t vn_stat(thread* td, openfile* fp) noexcept nogil
cdef int vn_truncate(thread* td, openfile* fp, uint64_t size) noexcept nogil
# For mmap: the pages of a regular file, kept by the file; NULL: it is none.
cdef vm_object* vn_mmap(thread* td, openfile* fp) noexcept nogil
