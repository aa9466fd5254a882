# Pipes.  Each has a buffer of pageable kernel memory out of pipe_map.
#
# The two ends are files, each with as many references as descriptors; the last one's close closes the end.

from libc.stdint cimport uint32_t

from finegrain.kernel.vfs.types cimport pipepair
from finegrain.machine.thread cimport thread

cdef enum:
    PIPE_READ_END = 0
    PIPE_WRITE_END = 1
    # sys/pipe.h
    PIPE_SIZE = 16384                   # a buffer's first size
    SMALL_PIPE_SIZE = 4096              # the same when pipes fill half of pipe_map
    BIG_PIPE_SIZE = 65536               # the most that it grows to
    PIPE_BUF = 512                      # sys/syslimits.h: writes of so much are not divided

# A pipe with one reference to each end.  None held; takes pipe_map X.
cdef pipepair* kern_pipe(thread* td) noexcept nogil
# Read up to `size` bytes; sleeps while there are none and somebody can write.  How many; 0: end of file, or the run is
# to stop.  None held; takes pipe mutex, pipe_map S.
cdef uint32_t pipe_read(thread* td, pipepair* pp, uint32_t size) noexcept nogil
# Write; sleeps while the buffer is full.  False: nobody can read it, or the run is to stop.
# None held; takes pipe mutex, pipe_map S; pipe_map X to grow.
cdef bint pipe_write(thread* td, pipepair* pp, uint32_t size) noexcept nogil
# One reference to an end less; the last closes it, and the last end's frees the pair.
# None held; takes pipe mutex, pipe_map X.
cdef void pipe_close(thread* td, pipepair* pp, int end) noexcept nogil
# Whoever sleeps there looks again whether the run is to stop.  None held; takes pipe mutex.
cdef void pipe_wake(thread* td, pipepair* pp) noexcept nogil
