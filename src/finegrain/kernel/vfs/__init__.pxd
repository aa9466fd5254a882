# What programs reach by descriptors: pipes, so far.  Lock: "pipe mutex".
#
#   pipe      pipes: made, written, read, closed
#   descrip   the descriptors of a process

from finegrain.kernel.vfs.descrip cimport fd_end, fdclose, fdcopy, fdescfree, fdinstall, fdlookup, fdwake, filedesc
from finegrain.kernel.vfs.pipe cimport (
    BIG_PIPE_SIZE, PIPE_READ_END, PIPE_WRITE_END, kern_pipe, pipe_close, pipe_read, pipe_write, pipepair,
    vfs_create, vfs_of, vfs_state)
