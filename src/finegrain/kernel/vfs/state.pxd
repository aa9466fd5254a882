# The layer comes to be, and its audit.

from libc.stdint cimport uint32_t, uint64_t

from finegrain.kernel.vfs.types cimport tmpfs_mount, vfs_options
from finegrain.machine.thread cimport machine

# Once a machine, after the VM.  Raises MemoryError.
cdef int vfs_create(machine* m, const vfs_options* options) except -1
# Machine stopped, no thread in a system call: is the tree below a mount's root what nodes, vnodes and the name cache
# say of it?  0, or the number of inconsistencies, with the first one described.
cdef int vfs_audit(machine* m, tmpfs_mount* mp, char* why, uint64_t why_size) noexcept nogil
