# Address spaces: made, copied by fork, emptied by exec, freed by the last exit.

from finegrain.kernel.types cimport vmspace
from finegrain.machine.thread cimport thread

# Empty, one reference.  None held.
cdef vmspace* vmspace_alloc(thread* td) noexcept nogil
# Another reference, for vfork.  None held.
cdef void vmspace_ref(thread* td, vmspace* vms) noexcept nogil
# Another reference, for who looks at the memory of another process; False: there is none left to add to.  Any.
cdef bint vmspace_acquire_ref(thread* td, vmspace* vms) noexcept nogil
# ... and its end; the last one empties and frees it: map X, objects W, pmap, PV list.  None held.
cdef void vmspace_free(thread* td, vmspace* vms) noexcept nogil
# A copy for a child.  Takes both maps X, and objects W, pmap, PV list under them.
cdef vmspace* vmspace_fork(thread* td, vmspace* parent) noexcept nogil
# Give the thread's current one up; the last reference empties and frees it: pmap, PV list; map X, objects W.
cdef void vmspace_exit(thread* td, vmspace* vms) noexcept nogil
# The address space that a program starts in: this one, the current one, emptied; or a new one when it is shared.
# Takes pmap, PV list; map X, objects W.
cdef vmspace* vmspace_exec(thread* td, vmspace* vms) noexcept nogil
