# Page queues: which pages are active.  Locks: "vm page" (the state of a page, by superpage) and, once for a
# batch of operations, "vm active pagequeue" or "vm inactive pagequeue".

from libc.stdint cimport int64_t, uint16_t

from finegrain.kernel.locks cimport mtx, mtx_assert_owned
from finegrain.kernel.phys.types cimport phys_of, phys_state
from finegrain.kernel.types cimport vm_page
from finegrain.machine.thread cimport thread

# The "vm page" mutex of the page.
cdef mtx* vm_page_lockptr(phys_state* s, vm_page* m) noexcept nogil


# What the page's "vm page" mutex guards, its queue above all, may be changed by this thread.
#
# Locks in: the "vm page" mutex of the page.  Locks out: the same.  May block: never.
# Stands for: FreeBSD vm_page_assert_locked().
cdef inline void vm_page_assert_locked(thread* td, vm_page* m) noexcept nogil:
    mtx_assert_owned(td, vm_page_lockptr(phys_of(td), m), b"the page is not locked")


# A slow-path fault has mapped the page.  None held; takes vm page.
cdef void vm_page_activate(thread* td, vm_page* m, uint16_t site) noexcept nogil
# The page goes to the inactive queue, unless it is active already.  vm page held.
cdef void vm_page_deactivate_locked(thread* td, vm_page* m) noexcept nogil
# Off its queue: soon (with the CPU's batch), or now.
cdef void vm_page_dequeue_deferred(thread* td, vm_page* m) noexcept nogil
cdef void vm_page_dequeue(thread* td, vm_page* m) noexcept nogil

cdef void pagequeue_init(phys_state* s) noexcept nogil
# For audits (machine stopped).
cdef int64_t pagequeue_count(phys_state* s, int queue) noexcept nogil
