# Pipes.  Each has a buffer of pageable kernel memory out of pipe_map.
#
# The two ends are files, each with as many references as descriptors; the last one's close closes the end.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport mtx
from finegrain.kernel.types cimport vm_offset_t
from finegrain.machine.thread cimport machine, thread

cdef enum:
    PIPE_READ_END = 0
    PIPE_WRITE_END = 1
    # sys/pipe.h
    PIPE_SIZE = 16384                   # a buffer's first size
    SMALL_PIPE_SIZE = 4096              # the same when pipes fill half of pipe_map
    BIG_PIPE_SIZE = 65536               # the most that it grows to
    PIPE_BUF = 512                      # sys/syslimits.h: writes of so much are not divided

# Keys: p pipe mutex; l whoever has PIPE_LOCKFL; a atomic; c constant
cdef struct pipepair:
    mtx pp_mtx                          # "pipe mutex"; initialised once: the memory of a pair stays one
    uint8_t pipe_state                  # p: PIPE_*
    uint32_t pipe_waiters               # p: for PIPE_LOCKFL
    uint32_t size                       # l: of the buffer, bytes
    uint32_t in_                        # l: where the next byte goes
    uint32_t out                        # l: where the next byte comes from
    uint32_t cnt                        # l: bytes in it
    vm_offset_t buffer                  # l: 0: none, the read end is closed
    uint64_t f_count[2]                 # a: references to each end
    pipepair* next                      # free pairs

# machine.vfs points here.  Counts are statistics.
cdef struct vfs_state:
    uint64_t amountpipekva              # a: bytes of pipe_map in use
    uint64_t maxpipekva                 # c
    uint64_t lock                       # raw: free, pipes
    pipepair* free
    int64_t pipes                       # there now
    int64_t made
    int64_t reads
    int64_t writes
    int64_t bytes                       # written
    int64_t grown                       # buffers that had to grow

# Once a machine, after the VM.  Raises MemoryError.
cdef int vfs_create(machine* m) except -1


cdef inline vfs_state* vfs_of(thread* td) noexcept nogil:
    return <vfs_state*>td.machine.vfs


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
