# Auditing a pmap of a machine that has stopped.

from libc.stdint cimport int64_t, uint64_t

from finegrain.kernel.types cimport pmap
from finegrain.machine.machine cimport machine

cdef int64_t audit_pmap(machine* m, pmap* pm, char* why, uint64_t why_size) noexcept nogil
