# Lists of all processes, as ps makes them.

from finegrain.machine.thread cimport machine

# A thread that lists all processes as often as the kernel's options say, if they do.  Raises MemoryError.
cdef int listing_start(machine* m) except -1
