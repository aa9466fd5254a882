# Page queues: which pages are active.  Locks: "vm page" (the state of a page, by superpage) and, once for a
# batch of operations, "vm active pagequeue" or "vm inactive pagequeue".

from libc.stdint cimport int64_t, uint8_t, uint16_t

from finegrain.kernel.locks cimport mtx, mtx_assert_owned
from finegrain.kernel.phys.types cimport (
    PGA_DEQUEUE, VM_BATCHQUEUE_SIZE, VPRC_OBJREF, phys_of, phys_state, vm_domain, vm_pagequeue)
from finegrain.kernel.types cimport PQ_NONE, vm_page
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

# Off its queue, onto the inactive one.  vm page held.
cdef void vm_page_deactivate(thread* td, vm_page* m) noexcept nogil


# The queue that the page is on, or will be once what is noted in it has been carried out.
#
# Locks in: the "vm page" mutex of the page.  Locks out: the same.  May block: never.
# Stands for: FreeBSD vm_page_queue().
cdef inline uint8_t vm_page_queue(thread* td, vm_page* m) noexcept nogil:
    vm_page_assert_locked(td, m)
    return PQ_NONE if m.aflags & PGA_DEQUEUE else m.queue


cdef inline bint vm_page_wired(vm_page* m) noexcept nogil:
    return (m.ref_count & ~VPRC_OBJREF) != 0


# The page daemon's walk along a domain's active queue: a batch at a time, and round and round.
cdef struct active_scan:
    vm_pagequeue* pq
    vm_domain* domain
    int64_t left                        # pages to look at
    int count                           # in the batch
    int at
    vm_page* batch[VM_BATCHQUEUE_SIZE]

# Put the clock's hands on the queue.  None held; all take the queue's mutex.
cdef void vm_pageout_clock_init(thread* td, int domain) noexcept nogil
cdef void vm_pageout_init_scan(thread* td, active_scan* ss, int domain, int64_t pages) noexcept nogil
# The next page, which may have left the queue meanwhile; NULL: enough.  Perhaps a vm page mutex held.
cdef vm_page* vm_pageout_next(thread* td, active_scan* ss) noexcept nogil
cdef void vm_pageout_end_scan(thread* td, active_scan* ss) noexcept nogil
# How many pages there are; may be a little behind.
cdef int64_t vm_active_count(thread* td, int domain) noexcept nogil

cdef void pagequeue_init(phys_state* s) noexcept nogil
# For audits (machine stopped).
cdef int64_t pagequeue_count(phys_state* s, int queue) noexcept nogil
