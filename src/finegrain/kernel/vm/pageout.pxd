# The page daemon, as far as it works without any shortage of memory.

from finegrain.machine.thread cimport machine

# A thread for each memory domain, unless the kernel's options say that nothing is scanned.  Raises MemoryError.
cdef int vm_pageout_start(machine* m) except -1
