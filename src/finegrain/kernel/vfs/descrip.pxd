# The descriptors of a process: ends of pipes, and open files.
#
# A process has one thread, and nobody else looks at its descriptors: the lock of FreeBSD's table ("filedesc structure")
# is never waited for, and left out.

from libc.stdint cimport int32_t, uint32_t

from finegrain.kernel.vfs.files cimport start_dirs
from finegrain.kernel.vfs.types cimport openfile, pipepair, vnode
from finegrain.machine.thread cimport thread

cdef enum:
    FD_FILE = 2                         # an end that is none: the descriptor is a file's

# A descriptor.
cdef struct fd_end:
    pipepair* pipe                      # of a pipe
    openfile* file                      # of a file
    int32_t number                      # what the process knows the pipe or the file by: each has numbers of its own
    int32_t end                         # PIPE_READ_END, PIPE_WRITE_END, FD_FILE

# Keys: s the process itself
cdef struct filedesc:
    fd_end* ends                        # s: in the order in which they came
    uint32_t count                      # s
    uint32_t capacity                   # s: kept when a process's memory is used for another
    int32_t directory                   # s: what the process knows its working directory by
    start_dirs dirs                     # s: where its paths begin; NULL: it knows no files

# Add a descriptor, whose reference goes over to it.
cdef void fdinstall(thread* td, filedesc* fdp, pipepair* pp, int32_t number, int32_t end) noexcept nogil
cdef void fdinstall_file(thread* td, filedesc* fdp, openfile* fp, int32_t number) noexcept nogil
# The file that the process has open under that number; NULL: it has none.
cdef openfile* fdlookup_file(filedesc* fdp, int32_t number) noexcept nogil
# The pipe whose end the process has under that number; NULL: it has not.
cdef pipepair* fdlookup(filedesc* fdp, int32_t number, int32_t end) noexcept nogil
# Close a descriptor, if it is there: `end` FD_FILE for a file's.  None held; as pipe_close(), fdrop().
cdef void fdclose(thread* td, filedesc* fdp, int32_t number, int32_t end) noexcept nogil
# The root directory, which is the working directory too: one user more of it.
cdef void fdinit(thread* td, filedesc* fdp, vnode* root, int32_t directory) noexcept nogil
# A child's descriptors and directories, which were none: its parent's.
cdef void fdcopy(thread* td, filedesc* fdp, filedesc* child) noexcept nogil
# Close all.  None held; as pipe_close(), fdrop().
cdef void fdcloseall(thread* td, filedesc* fdp) noexcept nogil
# The same, and leave the directories.  None held; besides as vrele().
cdef void fdescfree(thread* td, filedesc* fdp) noexcept nogil
# Have those who sleep on these pipes look again: the run is to stop.  None held; takes pipe mutexes.
cdef void fdwake(thread* td, filedesc* fdp) noexcept nogil
