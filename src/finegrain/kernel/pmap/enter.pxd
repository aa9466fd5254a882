# Making mappings.

from finegrain.kernel.types cimport pmap, vm_offset_t, vm_page
from finegrain.machine.thread cimport thread

cdef enum:
    PMAP_ENTER_NOSLEEP = 0x100          # flags, beside the access that caused it (vm_prot bits)
    PMAP_ENTER_WIRED = 0x200
    PMAP_ENTER_NOREPLACE = 0x400
    PMAP_ENTER_NORECLAIM = 0x800
    KERN_SUCCESS = 0
    KERN_FAILURE = 5
    KERN_RESOURCE_SHORTAGE = 6

cdef int pmap_enter(thread* td, pmap* pm, vm_offset_t va, vm_page* m, int prot, int flags, int psind) noexcept nogil
cdef void pmap_enter_object(thread* td, pmap* pm, vm_offset_t start, vm_offset_t end, vm_page* m_start,
                            int prot) noexcept nogil
cdef void pmap_enter_quick(thread* td, pmap* pm, vm_offset_t va, vm_page* m, int prot) noexcept nogil
