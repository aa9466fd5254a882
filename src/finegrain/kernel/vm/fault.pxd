# Page faults.

from finegrain.kernel.types cimport vm_offset_t, vmspace
from finegrain.machine.thread cimport thread

cdef enum:
    PFBAK = 4                           # prefault window, pages behind
    PFFOR = 4                           # and ahead of the one that faulted

# Make the access possible that the hardware refused.  prot: one of VM_PROT_*.  0, or -1: no mapping or no permission
# there (a signal would kill the program).  Takes map S (X to make an object), object R or W, pmap, PV list, vm page.
cdef int vm_fault(thread* td, vmspace* vms, vm_offset_t va, int prot) noexcept nogil
