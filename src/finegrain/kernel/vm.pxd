# Objects, address-space maps, faults.  Locks: "vm map (user)", "vm object", and those of phys and pmap below.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from finegrain.kernel.types cimport vm_object, vm_offset_t, vm_page, vm_pindex_t, vmspace
from finegrain.machine.machine cimport machine, thread

cdef int vm_create(machine* m) except -1

# Objects.
cdef vm_object* vm_object_allocate(thread* td, int type, vm_pindex_t size) noexcept nogil   # none; one reference
cdef void vm_object_reference(thread* td, vm_object* obj) noexcept nogil                    # takes object W
cdef void vm_object_deallocate(thread* td, vm_object* obj) noexcept nogil                   # takes object W; may free all pages

# Address spaces.
cdef vmspace* vmspace_alloc(thread* td) noexcept nogil
cdef vmspace* vmspace_fork(thread* td, vmspace* parent) noexcept nogil                      # both maps X
cdef void vmspace_exit(thread* td, vmspace* vms) noexcept nogil                             # last reference: remove_pages, teardown
cdef void vmspace_exec(thread* td, vmspace* vms) noexcept nogil                             # unshared: remove_pages, empty map

# System calls and faults, each with FreeBSD's locks.  obj NULL: anonymous.  prefault: 0 none, 1 partial, 2 full.
cdef void vm_map_mmap(thread* td, vmspace* vms, vm_offset_t start, vm_offset_t end, vm_object* obj,
                      vm_pindex_t offset, int prot, bint private, bint stack, int prefault) noexcept nogil
cdef void vm_map_munmap(thread* td, vmspace* vms, vm_offset_t start, vm_offset_t end) noexcept nogil
cdef void vm_map_mprotect(thread* td, vmspace* vms, vm_offset_t start, vm_offset_t end, int prot) noexcept nogil
cdef void vm_map_brk(thread* td, vmspace* vms, vm_offset_t end) noexcept nogil
# 0, or -1: no mapping or no permission there (the program would be killed by a signal).
cdef int vm_fault(thread* td, vmspace* vms, vm_offset_t va, int prot) noexcept nogil

cdef int64_t vm_audit(machine* m, char* why, uint64_t why_size) noexcept nogil
