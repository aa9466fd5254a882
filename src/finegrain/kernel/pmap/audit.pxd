# Auditing a pmap of a machine that has stopped.

from libc.stdint cimport int64_t, uint64_t

from finegrain.kernel.types cimport pmap
from finegrain.machine.thread cimport machine

# Machine stopped: every valid managed PTE of pm has exactly one pv entry on the right page's list and the reverse;
# counts agree.  0, or the number of faults found with the first one described.  (pv_audit: all chunks.)
cdef int64_t pmap_audit(machine* m, pmap* pm, char* why, uint64_t why_size) noexcept nogil
