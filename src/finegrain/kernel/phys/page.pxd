# Pages: allocation and freeing, wiring, busying, and what they say of themselves; and the creation of all of physical
# memory.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from finegrain.kernel.phys.objpages cimport vm_page_lookup, vm_radix_free, vm_radix_lookup, vm_radix_lookup_le
from finegrain.kernel.phys.pagequeue cimport vm_page_activate
from finegrain.kernel.phys.reserv cimport vm_reserv_break_all, vm_reserv_level_iffullpop, vm_reserv_to_superpage
from finegrain.kernel.phys.types cimport (
    VM_LEVEL_0_ORDER, VM_PHYSSEG_MAX, VPRC_OBJREF, phys_of, phys_state, vm_phys_seg)
from finegrain.kernel.types cimport (
    PAGE_SHIFT, PG_ALLOCATED, PG_ZERO, VPB_EXCLUSIVE, VPB_UNBUSIED, VPO_UNMANAGED, vm_object, vm_paddr_t, vm_page,
    vm_pindex_t)
from finegrain.machine.seam cimport touch_read, touch_write
from finegrain.machine.thread cimport machine, thread

cdef enum vm_alloc_request:
    VM_ALLOC_NORMAL = 0
    VM_ALLOC_WIRED = 1
    VM_ALLOC_ZERO = 2                   # PG_ZERO in m.flags tells whether it is zero; if not, the caller zeroes it
    VM_ALLOC_NOBUSY = 4

# Segments in ascending order; builds the page array (in the arena) and the free lists.  Segments that
# straddle 16 MB, or 4 GB on a machine with much memory above, are split there, as FreeBSD does.
# Segments as they become when free lists divide them: into `out`, which has room for so many; how many there are.
cdef uint32_t phys_split(const vm_phys_seg* segs, uint32_t nsegs, vm_phys_seg* out, uint32_t room) noexcept nogil
cdef int phys_create(machine* m, const vm_phys_seg* segs, uint32_t nsegs) except -1


cdef inline vm_page* PHYS_TO_VM_PAGE(thread* td, vm_paddr_t pa) noexcept nogil:
    return &(<phys_state*>td.machine.phys).page_array[pa >> PAGE_SHIFT]


# The contents of a page, through the direct map.
cdef inline void* PHYS_TO_DMAP(thread* td, vm_paddr_t pa) noexcept nogil:
    return td.machine.dmap + pa


cdef inline vm_paddr_t DMAP_TO_PHYS(thread* td, const void* address) noexcept nogil:
    return <vm_paddr_t>(<const char*>address - <const char*>td.machine.dmap)


# What a page struct says when its page has just been allocated.
#
# Locks in: none of the page's: it is the caller's alone.  Locks out: the same.  May block: never.
# Stands for: the end of FreeBSD vm_page_alloc_domain_after().
cdef inline void vm_page_fill_in(vm_page* m, int pool, int request, uint8_t oflags) noexcept nogil:
    if not request & VM_ALLOC_ZERO:
        m.flags &= ~<uint16_t>PG_ZERO
    m.flags |= PG_ALLOCATED
    m.aflags = 0
    m.oflags = oflags
    m.pool = <uint8_t>pool
    m.act_count = 0
    m.valid = 0
    m.dirty = 0
    m.ref_count = 1 if request & VM_ALLOC_WIRED else 0
    m.busy_lock = VPB_UNBUSIED if request & VM_ALLOC_NOBUSY or oflags & VPO_UNMANAGED else VPB_EXCLUSIVE


# A page for (object, pindex): from a reservation where the object may have one, else a single page of the
# CPU's domain.  Inserted in the object, exclusively busied unless NOBUSY.  Locks: object W in and out; takes
# vm reserv, VM reserv domain, vm page free queue.  NULL when memory is exhausted.
cdef vm_page* vm_page_alloc(thread* td, vm_object* obj, vm_pindex_t pindex, int request) noexcept nogil
# A page with no object (page-table pages, pv chunks), pool DIRECT; domain -1: the CPU's own.  ref_count 1
# when WIRED.
cdef vm_page* vm_page_alloc_noobj(thread* td, int domain, int request) noexcept nogil
# Give an unwired page back; it is out of its object and unmapped afterwards.  Object W if it has one.
cdef void vm_page_free(thread* td, vm_page* m) noexcept nogil
# The same, and what PG_ZERO says of its contents holds.
cdef void vm_page_free_toq(thread* td, vm_page* m) noexcept nogil
# vm_page_lookup(td, obj, pindex): object R.  vm_radix_free(td, obj): release the index of an empty object.
# (objpages) Insert, remove.  Object W.
cdef void vm_page_insert(thread* td, vm_page* m, vm_object* obj, vm_pindex_t pindex) noexcept nogil
cdef void vm_page_remove(thread* td, vm_page* m) noexcept nogil
# Move to another object and index (collapse, COW of a once-referenced backing object), the reservation with
# it where it has one.  Both objects W.
cdef void vm_page_rename(thread* td, vm_page* m, vm_object* obj, vm_pindex_t pindex) noexcept nogil


# What a page says of itself: read and written by all who map it, so written only when it changes.
#
# Locks in: none: whoever maps the page has its pmap locked, others the object.  Locks out: the same.  May block: never.
# Stands for: FreeBSD vm_page_dirty().
cdef inline void vm_page_dirty(thread* td, vm_page* m) noexcept nogil:
    if m.dirty != 0xff:
        touch_write(td, &m.dirty)
        m.dirty = 0xff
    else:
        touch_read(td, &m.dirty)


# Locks in: none.  Locks out: none.  May block: never.  Stands for: FreeBSD vm_page_aflag_set().
cdef inline void vm_page_aflag_set(thread* td, vm_page* m, int flag) noexcept nogil:
    if (m.aflags & flag) == 0:
        touch_write(td, &m.aflags)
        m.aflags = m.aflags | flag
    else:
        touch_read(td, &m.aflags)


# Locks in: none.  Locks out: none.  May block: never.  Stands for: FreeBSD vm_page_aflag_clear().
cdef inline void vm_page_aflag_clear(thread* td, vm_page* m, int flag) noexcept nogil:
    if m.aflags & flag:
        touch_write(td, &m.aflags)
        m.aflags = m.aflags & ~flag


# Busy state (atomic).
cdef void vm_page_xunbusy(thread* td, vm_page* m) noexcept nogil
# vm_page_activate(td, m, site): a slow-path fault has mapped the page; takes vm page.  (pagequeue)
# Wire (atomic) and unwire: the last unwire of a managed page takes the "vm page" mutex and queues the page;
# of a page that no object holds, it frees the page.
cdef void vm_page_wire(thread* td, vm_page* m) noexcept nogil
cdef void vm_page_unwire(thread* td, vm_page* m, uint16_t site) noexcept nogil
# Unwire a page without a queue (page-table pages, pv chunks); True: that was the last one, now free the page.
cdef bint vm_page_unwire_noq(thread* td, vm_page* m) noexcept nogil

# Reservations (reserv): vm_reserv_level_iffullpop(td, m): 0 when the page's reservation is full, else -1;
# vm_reserv_to_superpage(td, m): first page of the full reservation of m, or NULL; vm_reserv_break_all(td,
# obj): dissolve all reservations of a dying object, object W.

# For audits and reports (no locks; the machine must be stopped).
cdef int64_t phys_free_pages(machine* m) noexcept nogil         # per-CPU caches included
cdef int64_t phys_allocated_pages(machine* m) noexcept nogil
cdef int64_t phys_reservations_broken(machine* m) noexcept nogil    # for want of memory
# 0, or the number of inconsistencies in free lists and reservations.
cdef int64_t phys_audit(machine* m) noexcept nogil
