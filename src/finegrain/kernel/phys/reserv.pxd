# Reservations: 2 MB of physical memory set aside for 2 MB of one object, so that its pages come to lie as a
# superpage needs them.  Locks: "vm reserv" (each), "VM reserv domain" (partly populated ones), "resv obj
# lock" (those of an object), and under them "vm page free queue".

from libc.stdint cimport int64_t

from finegrain.kernel.phys.types cimport phys_state, vm_reserv
from finegrain.kernel.types cimport PDRSHIFT, vm_object, vm_page, vm_pindex_t
from finegrain.machine.thread cimport machine, thread

# May the object have reservations at all?
cdef bint vm_object_reserv(vm_object* obj) noexcept nogil
# A page of a reservation that the object has, or of a new one in the domain; NULL: neither.  Object W.
cdef vm_page* vm_reserv_extend(thread* td, vm_object* obj, vm_pindex_t pindex, vm_page* mpred) noexcept nogil
cdef vm_page* vm_reserv_alloc_page(thread* td, vm_object* obj, vm_pindex_t pindex, int domain,
                                   vm_page* mpred) noexcept nogil
# Give a page back to its reservation; False when it has none.
cdef bint vm_reserv_free_page(thread* td, vm_page* m) noexcept nogil
# Dissolve all reservations of a dying object.  Object W.
cdef void vm_reserv_break_all(thread* td, vm_object* obj) noexcept nogil
# The page moves to another object, and its reservation with it.  New object W.
cdef void vm_reserv_rename(thread* td, vm_page* m, vm_object* new_object, vm_object* old_object,
                           vm_pindex_t offset) noexcept nogil
# Dissolve the domain's least recently changed partly populated reservation; False when there is none.
cdef bint vm_reserv_reclaim_inactive(thread* td, int domain) noexcept nogil
# 0 when the page's reservation is full (promotion and superpage mapping are possible), else -1.
cdef int vm_reserv_level_iffullpop(thread* td, vm_page* m) noexcept nogil
# The first page of the full reservation that m belongs to, or NULL.  Object R.
cdef vm_page* vm_reserv_to_superpage(thread* td, vm_page* m) noexcept nogil

cdef void vm_reserv_init(phys_state* s) noexcept nogil
# Audit (machine stopped): 0, or how many reservations of the domain are inconsistent.
cdef int64_t vm_reserv_audit(phys_state* s) noexcept nogil
