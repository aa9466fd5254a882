# Whose fault a cache-line transfer is: the lock's own, or a neighbour's in the line.
#
# A lock word's line is not at hand when others have taken it.  If nobody else has used the lock since this CPU last
# wrote it - its word, or what lies in one struct with it - then the line can only have gone for something else in it:
# the transfer is a neighbour's, and a lock with the line to itself would not have paid it.  If somebody else has used
# the lock meanwhile, the line would have had to come anyway: the transfer is the lock's own, whoever had the line last.
# What capacity threw out is nobody's fault, and the lock's own.  With the adjacent-line prefetcher on, whoever works in
# the other line of the pair is a neighbour too: a prefetch is no use of what it brings.
#
# For that, each struct with a lock that may share lines is told to the machine when it is made (line_neighbours), and
# in those lines, and only in those, the machine remembers for each struct which CPU has had it to itself.

from libc.stdint cimport uint64_t

from finegrain.machine.simulated.types cimport line
from finegrain.machine.thread cimport machine, ps_t, thread

# What lies from address on is one struct with a lock; size in bytes.
cdef void sim_neighbours(machine* m, const void* address, uint64_t size) noexcept nogil
# td is about to use what lies at an address in a shared line.
cdef void use_part(thread* td, line* at, const void* address, bint write) noexcept nogil
# An atomic operation on a word has just had to get the line; that took so long.
cdef void transferred(thread* td, line* at, const void* word, ps_t time) noexcept nogil
