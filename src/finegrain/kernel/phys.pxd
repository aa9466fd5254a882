# Physical memory: segments in NUMA domains, the vm_page array, free pages with per-CPU caches, reservations, page
# queues, and their locks: "vm page free queue", "vm reserv", "VM reserv domain", "resv obj lock", "vm page",
# "vm active pagequeue".

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.types cimport (
    PAGE_SHIFT, vm_object, vm_page, vm_paddr_t, vm_pindex_t)
from finegrain.machine.machine cimport machine, thread

cdef enum:
    VM_PHYSSEG_MAX = 63
    VM_LEVEL_0_ORDER = 9                # a reservation is 2**9 pages

cdef struct vm_phys_seg:                # all constant
    vm_paddr_t start
    vm_paddr_t end
    vm_page* first_page
    uint32_t domain

cdef struct phys_state:                 # machine.phys points here; the module's own fields follow in phys.pyx's order
    uint32_t nsegs                      # c
    vm_phys_seg segs[VM_PHYSSEG_MAX]    # c, ascending
    vm_paddr_t last_pa                  # c: end of the last segment
    vm_page* page_array                 # c: indexed by pa >> PAGE_SHIFT, holes included; only touched parts are real
    void* private                       # domains, caches, reservations, queues

cdef enum vm_alloc_request:
    VM_ALLOC_NORMAL = 0
    VM_ALLOC_WIRED = 1
    VM_ALLOC_ZERO = 2                   # the page must be zero (the caller pays for zeroing when it is not)
    VM_ALLOC_NOBUSY = 4

# Segments in ascending order; builds the page array (in the arena) and the free lists.
cdef int phys_create(machine* m, const vm_phys_seg* segs, uint32_t nsegs) except -1


cdef inline phys_state* phys_of(thread* td) noexcept nogil:
    return <phys_state*>td.machine.phys


cdef inline vm_page* PHYS_TO_VM_PAGE(thread* td, vm_paddr_t pa) noexcept nogil:
    return &(<phys_state*>td.machine.phys).page_array[pa >> PAGE_SHIFT]


# The contents of a page, through the direct map.
cdef inline void* PHYS_TO_DMAP(thread* td, vm_paddr_t pa) noexcept nogil:
    return td.machine.dmap + pa


cdef inline vm_paddr_t DMAP_TO_PHYS(thread* td, const void* address) noexcept nogil:
    return <vm_paddr_t>(<const char*>address - <const char*>td.machine.dmap)


# A page for (object, pindex): from a reservation where the object may have one, else a single page of the CPU's
# domain.  Inserted in the object, exclusively busied unless NOBUSY.  Locks: object W in and out; takes vm reserv,
# VM reserv domain, vm page free queue.  NULL when memory is exhausted.
cdef vm_page* vm_page_alloc(thread* td, vm_object* obj, vm_pindex_t pindex, int request) noexcept nogil
# A page with no object (page-table pages, pv chunks), pool DIRECT; domain -1: the CPU's own.  ref_count 1 when WIRED.
cdef vm_page* vm_page_alloc_noobj(thread* td, int domain, int request) noexcept nogil
# Give a page back; it is out of its object and unmapped afterwards.  Object W if it has one.
cdef void vm_page_free(thread* td, vm_page* m) noexcept nogil
# Find, insert, remove in an object's vm_radix (two-level array).  Object R to find, W to change.
cdef vm_page* vm_page_lookup(vm_object* obj, vm_pindex_t pindex) noexcept nogil
cdef void vm_page_insert(thread* td, vm_page* m, vm_object* obj, vm_pindex_t pindex) noexcept nogil
cdef void vm_page_remove(thread* td, vm_page* m) noexcept nogil
# Move to another object and index (collapse, COW of a once-referenced backing object).  Both objects W.
cdef void vm_page_rename(thread* td, vm_page* m, vm_object* obj, vm_pindex_t pindex) noexcept nogil
# Release the vm_radix memory of an empty object.
cdef void vm_radix_free(thread* td, vm_object* obj) noexcept nogil

# Busy state (atomic).
cdef void vm_page_xunbusy(thread* td, vm_page* m) noexcept nogil
# Page queue state, under the "vm page" mutex of the page (256 of them, by superpage): a slow-path fault activates.
cdef void vm_page_activate(thread* td, vm_page* m, uint16_t site) noexcept nogil
# Wire (atomic) and unwire (the last one takes the "vm page" mutex and queues the page).
cdef void vm_page_wire(thread* td, vm_page* m) noexcept nogil
cdef void vm_page_unwire(thread* td, vm_page* m, uint16_t site) noexcept nogil

# Reservations.
# 0 when the page's reservation is full (promotion and superpage mapping are possible), else -1; -1 if none.
cdef int vm_reserv_level_iffullpop(thread* td, vm_page* m) noexcept nogil
# The first page of the full reservation that m belongs to, or NULL.
cdef vm_page* vm_reserv_to_superpage(thread* td, vm_page* m) noexcept nogil
# Dissolve all reservations of a dying object.  Object W.
cdef void vm_reserv_break_all(thread* td, vm_object* obj) noexcept nogil

# For audits and reports (no locks; the machine must be stopped).
cdef int64_t phys_free_pages(machine* m) noexcept nogil         # caches included
cdef int64_t phys_allocated_pages(machine* m) noexcept nogil
