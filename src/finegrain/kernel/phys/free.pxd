# Free physical memory: the buddy allocator of each domain, and in front of it each CPU's cache of single
# pages. Lock: "vm page free queue", one per domain.

from libc.stdint cimport int64_t

from finegrain.kernel.locks cimport mtx_assert_owned
from finegrain.kernel.phys.types cimport phys_state, vm_domain, vm_phys_seg
from finegrain.kernel.types cimport vm_paddr_t, vm_page
from finegrain.machine.thread cimport machine, thread

# Free blocks.  The free page queue mutex of the domain is held; or nothing runs yet, and td is NULL.
cdef vm_page* vm_phys_alloc_pages(thread* td, phys_state* s, int domain, int pool, int order) noexcept nogil
cdef int vm_phys_alloc_npages(thread* td, phys_state* s, int domain, int pool, int npages, vm_page** pages,
                              int* blocks) noexcept nogil
cdef int vm_phys_free_pages(thread* td, phys_state* s, vm_page* m, int order, int pool) noexcept nogil  # blocks handled
cdef int vm_phys_free_contig(thread* td, phys_state* s, vm_page* m, int64_t npages, int pool) noexcept nogil
# For who looks at the queues from outside, with td NULL.
cdef void queue_started(thread* td, phys_state* s, vm_domain* d) noexcept nogil
cdef void vm_phys_init(phys_state* s) noexcept nogil            # all memory of the segments becomes free

# Free counts (atomic).
cdef bint vm_domain_allocate(thread* td, vm_domain* d, int64_t npages) noexcept nogil
cdef void vm_domain_freecnt_inc(thread* td, vm_domain* d, int64_t npages) noexcept nogil

# Locks in: the free page queue mutex of the domain.  Locks out: the same.  May block: never.
# Stands for: FreeBSD vm_domain_free_assert_locked().
cdef inline void vm_domain_free_assert_locked(thread* td, vm_domain* d) noexcept nogil:
    mtx_assert_owned(td, &d.free_mtx.lock, b"vm_phys: the free page queue is not locked")


cdef void vm_domain_free_lock(thread* td, vm_domain* d, int why) noexcept nogil
# What handling so many blocks costs while it is held, beside their lines.
cdef void charge_blocks(thread* td, vm_domain* d, int blocks) noexcept nogil
cdef void vm_domain_free_unlock(thread* td, vm_domain* d) noexcept nogil
cdef enum:                                                      # why: the acquisition point
    FREE_LOCK_IMPORT = 0
    FREE_LOCK_RELEASE
    FREE_LOCK_ALLOC
    FREE_LOCK_FREE
    FREE_LOCK_RESERV_ALLOC
    FREE_LOCK_RESERV_FREE
    FREE_LOCK_RESERV_BREAK
    FREE_LOCK_SITES

# Single pages of a pool through the CPU's cache.  No lock held; may take the free page queue mutex.
cdef vm_page* pgcache_alloc(thread* td, int domain, int pool) noexcept nogil    # NULL: the domain is short of pages
cdef void pgcache_free(thread* td, vm_page* m, int domain, int pool) noexcept nogil

# The page struct's constant fields, on first use.
cdef void vm_page_first_use(phys_state* s, vm_page* m) noexcept nogil

# For audits (machine stopped): pages in per-CPU caches.
cdef int64_t pgcache_count(machine* m, int domain) noexcept nogil


cdef inline vm_page* page_at(phys_state* s, vm_paddr_t pa) noexcept nogil:
    return &s.page_array[pa >> 12]
