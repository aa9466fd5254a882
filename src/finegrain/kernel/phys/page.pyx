# Physical memory: pages.
#
# A page for an object comes, in this order, from a reservation that covers its place (nothing but "vm reserv"
# and perhaps "VM reserv domain" is taken), from a new reservation, from the CPU's cache of single pages, from
# the buddy allocator directly; and then the same in the next domain, the CPU's own being first ("first
# touch").  Pages without an object - page tables and pv chunks - take the last two steps, in the pool of
# pages used through the direct map.
#
# A page goes back where it came from: into the CPU's cache if it came out of one (PG_PCPU_CACHE), else to its
# reservation, else (the reservation has been broken meanwhile) to the buddy allocator.
#
# The page array spans all physical addresses and is never initialised as a whole: see types.pxd.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport mtx, mtx_lock, mtx_unlock, rw_assert_wlocked
from finegrain.kernel.phys.free cimport (
    FREE_LOCK_ALLOC, FREE_LOCK_FREE, charge_blocks, page_at, pgcache_alloc, pgcache_count, pgcache_free, queue_started,
    vm_domain_allocate, vm_domain_free_lock, vm_domain_free_unlock, vm_domain_freecnt_inc, vm_page_first_use,
    vm_phys_alloc_pages, vm_phys_free_pages, vm_phys_init)
from finegrain.kernel.phys.objpages cimport (
    VM_OBJECT_ASSERT_WLOCKED, touch_index, vm_page_insert_after, vm_page_object_remove)
from finegrain.kernel.phys.pagequeue cimport (
    pagequeue_init, vm_page_deactivate_locked, vm_page_dequeue, vm_page_dequeue_deferred, vm_page_lockptr)
from finegrain.kernel.phys.reserv cimport (
    vm_object_reserv, vm_reserv_alloc_page, vm_reserv_audit, vm_reserv_extend, vm_reserv_free_page, vm_reserv_init,
    vm_reserv_reclaim_inactive, vm_reserv_rename)
from finegrain.kernel.phys.types cimport (
    MAXMEMDOM, PA_LOCK_COUNT, PQ_COUNT, VM_FREELIST_DEFAULT, VM_FREELIST_DMA32, VM_FREELIST_LOWMEM,
    VM_FREEPOOL_DEFAULT, VM_FREEPOOL_DIRECT, VM_NFREELIST, VM_NFREEORDER, VM_NFREEPOOL, VM_RESERV_OBJ_LOCK_COUNT,
    mtx_padalign, pgcache, vm_batchqueue, vm_domain, vm_reserv)
from finegrain.kernel.types cimport (
    PDRSHIFT, PG_ALLOCATED, PG_PCPU_CACHE, PG_ZERO, PQ_NONE, VPB_UNBUSIED, VPO_UNMANAGED)
from finegrain.machine.seam cimport arena_alloc, atomic_fetchadd, charge, domain as domain_of, panic, touch_write

cdef extern from *:
    """
    #define FG_LOWMEM_BOUNDARY 0x1000000ULL             /* 16 MB: FreeBSD/amd64 vmparam.h */
    #define FG_DMA32_BOUNDARY 0x100000000ULL            /* 4 GB */
    #define FG_DMA32_THRESHOLD 0x1000000000ULL          /* 64 GB (VM_DMA32_NPAGES_THRESHOLD pages) */
    """
    vm_paddr_t LOWMEM_BOUNDARY "FG_LOWMEM_BOUNDARY"
    vm_paddr_t DMA32_BOUNDARY "FG_DMA32_BOUNDARY"
    vm_paddr_t DMA32_THRESHOLD "FG_DMA32_THRESHOLD"


cdef enum:
    PREPARE_OPS = 60                    # [A] policy, cache and page struct of an allocation
    FREE_OPS = 40                       # [A] checks and page struct of a free


# --- creation

# Add a segment to n others, split at a boundary between free lists; how many there are then, written or not.
cdef uint32_t add_segment(vm_phys_seg* out, uint32_t n, uint32_t room, vm_paddr_t start, vm_paddr_t end,
                          uint32_t domain, bint dma32) noexcept nogil:
    if start < LOWMEM_BOUNDARY < end:
        n = add_segment(out, n, room, start, LOWMEM_BOUNDARY, domain, dma32)
        start = LOWMEM_BOUNDARY
    if dma32 and start < DMA32_BOUNDARY < end:
        n = add_segment(out, n, room, start, DMA32_BOUNDARY, domain, dma32)
        start = DMA32_BOUNDARY
    if n < room:
        out[n].start = start
        out[n].end = end
        out[n].domain = domain
        out[n].freelist = VM_FREELIST_DEFAULT
        if end <= LOWMEM_BOUNDARY:
            out[n].freelist = VM_FREELIST_LOWMEM
        elif dma32 and end <= DMA32_BOUNDARY:
            out[n].freelist = VM_FREELIST_DMA32
    return n + 1


# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Returns:    how many segments there are once they are split at the boundaries of free lists; so many as have room are
#             written.
# Stands for: FreeBSD vm_phys_add_seg().
cdef uint32_t phys_split(const vm_phys_seg* segs, uint32_t nsegs, vm_phys_seg* out, uint32_t room) noexcept nogil:
    cdef vm_paddr_t high = 0
    cdef uint32_t i, n = 0
    for i in range(nsegs):
        if segs[i].end > DMA32_BOUNDARY:
            high += segs[i].end - max(segs[i].start, DMA32_BOUNDARY)
    for i in range(nsegs):
        n = add_segment(out, n, room, segs[i].start, segs[i].end, segs[i].domain, high > DMA32_THRESHOLD)
    return n


# Locks in:   none; nothing runs yet.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD vm_page_startup(), vm_phys_init(), vm_reserv_init().
cdef int phys_create(machine* m, const vm_phys_seg* segs, uint32_t nsegs) except -1:
    cdef phys_state* s = <phys_state*>arena_alloc(m, sizeof(phys_state))
    cdef vm_paddr_t last = 0
    cdef uint32_t i
    s.machine = m
    s.ncpus = m.ncpus
    for i in range(nsegs):
        if (segs[i].start == 0 or segs[i].start < last or segs[i].end <= segs[i].start
                or (segs[i].start | segs[i].end) & 0xfff or segs[i].domain >= MAXMEMDOM):
            raise ValueError(f"memory segment {i} ({segs[i].start:#x}-{segs[i].end:#x}, domain {segs[i].domain}) is "
                             "not page-aligned, ascending, above address 0 and in one of "
                             f"{<int>MAXMEMDOM} domains")
        last = segs[i].end
        s.ndomains = max(s.ndomains, segs[i].domain + 1)
    if last == 0 or last > m.dmap_size:
        raise ValueError(f"memory segments end at {last:#x}, the direct map at {m.dmap_size:#x}")
    s.nsegs = phys_split(segs, nsegs, s.segs, VM_PHYSSEG_MAX)
    if s.nsegs > VM_PHYSSEG_MAX:
        raise ValueError(f"{s.nsegs} memory segments; at most {<int>VM_PHYSSEG_MAX} are possible")
    s.last_pa = last
    s.page_array = <vm_page*>arena_alloc(m, (last >> PAGE_SHIFT) * sizeof(vm_page))
    for i in range(s.nsegs):
        s.segs[i].first_page = page_at(s, s.segs[i].start)
    s.domains = <vm_domain*>arena_alloc(m, s.ndomains * sizeof(vm_domain))
    s.caches = <pgcache*>arena_alloc(m, <uint64_t>s.ncpus * s.ndomains * VM_NFREEPOOL * sizeof(pgcache))
    s.batches = <vm_batchqueue*>arena_alloc(m, <uint64_t>s.ncpus * s.ndomains * PQ_COUNT * sizeof(vm_batchqueue))
    s.nreservs = (last + (<vm_paddr_t>1 << PDRSHIFT) - 1) >> PDRSHIFT
    s.reservs = <vm_reserv*>arena_alloc(m, s.nreservs * sizeof(vm_reserv))
    s.pa_locks = <mtx_padalign*>arena_alloc(m, PA_LOCK_COUNT * sizeof(mtx_padalign))
    s.resv_obj_locks = <mtx_padalign*>arena_alloc(m, VM_RESERV_OBJ_LOCK_COUNT * sizeof(mtx_padalign))
    vm_phys_init(s)
    vm_reserv_init(s)
    pagequeue_init(s)
    m.phys = s
    return 0


# --- allocation and freeing

# Take a single page of a domain.
#
# Locks in:   any that may be held over the free page locks.
# Locks out:  the same.
# May block:  on the free page queue mutex; in shortage on "vm reserv", "VM reserv domain", "resv obj lock".
# Returns:    the page; NULL when the domain has none.
# Stands for: FreeBSD vm_page_alloc_domain_after(), after its reservation part.
cdef vm_page* alloc_single(thread* td, phys_state* s, int domain, int pool) noexcept nogil:
    cdef vm_domain* d = &s.domains[domain]
    cdef vm_page* m
    while True:
        m = pgcache_alloc(td, domain, pool)
        if m != NULL:
            if m.phys_addr == 0:
                vm_page_first_use(s, m)
            m.flags |= PG_PCPU_CACHE
            return m
        if not vm_domain_allocate(td, d, 1):
            return NULL
        vm_domain_free_lock(td, d, FREE_LOCK_ALLOC)
        m = vm_phys_alloc_pages(td, s, domain, pool, 0)
        charge_blocks(td, d, 1)
        vm_domain_free_unlock(td, d)
        if m != NULL:
            return m
        vm_domain_freecnt_inc(td, d, 1)
        # What is free belongs to reservations: break one and look again.
        if not vm_reserv_reclaim_inactive(td, domain):
            return NULL


# A page has been taken: make it what the request asks for.
#
# Locks in:   none of the page's: it is the caller's alone.
# Locks out:  the same.
# May block:  on a page queue's mutex, when the page has not left its queue yet.
# Stands for: the last part of FreeBSD vm_page_alloc_domain_after().
cdef inline void prepare(thread* td, vm_page* m, int pool, int request, uint8_t oflags) noexcept nogil:
    if m.phys_addr == 0:
        vm_page_first_use(phys_of(td), m)
    touch_write(td, &m.ref_count)
    if m.queue != PQ_NONE:
        vm_page_dequeue(td, m)
    if m.flags & PG_ALLOCATED or m.order != 0 or m.ref_count != 0:
        panic(td, b"vm_page_alloc: the page is in use")
    vm_page_fill_in(m, pool, request, oflags)
    charge(td, td.machine.cost.op, PREPARE_OPS)


# Allocate a page of an object.
#
# Locks in:   the object's lock, for writing.
# Locks out:  the same.
# May block:  on "vm reserv", "VM reserv domain", "resv obj lock", "vm page free queue", a page queue's mutex.
# Returns:    the page, in the object, with no valid contents; NULL when no domain has a free page.
# Stands for: FreeBSD vm_page_alloc(), vm_page_alloc_domain_after().
cdef vm_page* vm_page_alloc(thread* td, vm_object* obj, vm_pindex_t pindex, int request) noexcept nogil:
    cdef phys_state* s = phys_of(td)
    cdef bint may_reserve = vm_object_reserv(obj)
    cdef vm_page* mpred
    cdef vm_page* m
    cdef int domain
    cdef uint32_t i
    rw_assert_wlocked(td, &obj.lock, b"vm_page_alloc: the object is not write-locked")
    touch_index(td, obj, pindex, False)
    mpred = vm_radix_lookup_le(obj, pindex)
    if mpred != NULL and mpred.pindex == pindex:
        panic(td, b"vm_page_alloc: a page is resident at this index already")
    m = vm_reserv_extend(td, obj, pindex, mpred) if may_reserve else NULL
    i = 0
    while m == NULL:
        if i == s.ndomains:
            return NULL
        domain = <int>((domain_of(td) + i) % s.ndomains)
        i += 1
        if may_reserve:
            m = vm_reserv_alloc_page(td, obj, pindex, domain, mpred)
        if m == NULL:
            m = alloc_single(td, s, domain, VM_FREEPOOL_DEFAULT)
    prepare(td, m, VM_FREEPOOL_DEFAULT, request, 0)
    vm_page_insert_after(td, m, obj, pindex, mpred)
    return m


# Allocate a page that belongs to no object, from the pool of pages used through the direct map.
#
# Locks in:   any that may be held while blocking on the free page queue mutex.
# Locks out:  the same.
# May block:  on "vm page free queue", a page queue's mutex; in shortage on "vm reserv", "VM reserv domain", "resv obj
#             lock".  Never sleeps.
# Returns:    the page, unmanaged; NULL when no domain has a free page.
# Stands for: FreeBSD vm_page_alloc(NULL, ..., VM_ALLOC_NOOBJ), vm_page_alloc_domain().
cdef vm_page* vm_page_alloc_noobj(thread* td, int domain, int request) noexcept nogil:
    cdef phys_state* s = phys_of(td)
    cdef vm_page* m = NULL
    cdef uint32_t first = <uint32_t>domain if domain >= 0 else domain_of(td)
    cdef uint32_t i
    for i in range(s.ndomains):
        m = alloc_single(td, s, <int>((first + i) % s.ndomains), VM_FREEPOOL_DIRECT)
        if m != NULL:
            prepare(td, m, VM_FREEPOOL_DIRECT, request, VPO_UNMANAGED)
            return m
    return NULL


# Free a page: out of its object, off its queue (soon), and back where it came from.
#
# Locks in:   if the page is in an object, that one's lock for writing.
# Locks out:  the same.
# May block:  on a page queue's mutex, "vm reserv", "VM reserv domain", "resv obj lock", "vm page free queue".  Never
#             sleeps.
# Stands for: FreeBSD vm_page_free_toq(), vm_page_free_prep().
cdef void vm_page_free_toq(thread* td, vm_page* m) noexcept nogil:
    cdef phys_state* s = phys_of(td)
    cdef vm_domain* d
    cdef int domain
    touch_write(td, &m.ref_count)
    if not m.flags & PG_ALLOCATED:
        panic(td, b"vm_page_free: the page is free already")
    if m.object != NULL:
        vm_page_object_remove(td, m)
        m.ref_count -= VPRC_OBJREF
    if m.ref_count != 0:
        panic(td, b"vm_page_free: the page is wired")
    if m.md.pv_first != NULL:
        panic(td, b"vm_page_free: the page is mapped")
    vm_page_dequeue_deferred(td, m)
    m.valid = 0
    m.dirty = 0
    m.busy_lock = VPB_UNBUSIED
    m.flags &= ~<uint16_t>PG_ALLOCATED
    charge(td, td.machine.cost.op, FREE_OPS)
    domain = <int>s.segs[m.segind].domain
    if m.flags & PG_PCPU_CACHE:
        m.flags &= ~<uint16_t>PG_PCPU_CACHE
        pgcache_free(td, m, domain, m.pool)
        return
    if vm_reserv_free_page(td, m):
        return
    d = &s.domains[domain]
    vm_domain_free_lock(td, d, FREE_LOCK_FREE)
    charge_blocks(td, d, vm_phys_free_pages(td, s, m, 0, m.pool))
    vm_domain_free_unlock(td, d)
    vm_domain_freecnt_inc(td, d, 1)


# Free a page of which nobody knows that it is zero.
#
# Locks in:   if the page is in an object, that one's lock for writing.
# Locks out:  the same.
# May block:  as vm_page_free_toq().  Never sleeps.
# Stands for: FreeBSD vm_page_free().
cdef void vm_page_free(thread* td, vm_page* m) noexcept nogil:
    if m.object != NULL:
        VM_OBJECT_ASSERT_WLOCKED(td, m.object)
    m.flags &= ~<uint16_t>PG_ZERO
    vm_page_free_toq(td, m)


# --- pages and objects

# Put a page without an object into one.
#
# Locks in:   the object's lock, for writing.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD vm_page_insert().
cdef void vm_page_insert(thread* td, vm_page* m, vm_object* obj, vm_pindex_t pindex) noexcept nogil:
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    vm_page_insert_after(td, m, obj, pindex, vm_radix_lookup_le(obj, pindex))


# Take a page out of its object; it stays allocated.
#
# Locks in:   the object's lock, for writing.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD vm_page_remove(), without its answer.
cdef void vm_page_remove(thread* td, vm_page* m) noexcept nogil:
    vm_page_object_remove(td, m)
    ref_count_add(td, m, <uint64_t>0 - VPRC_OBJREF)


# Move a page to another object and index.
#
# Locks in:   the locks of both objects, for writing.
# Locks out:  the same.
# May block:  on "vm reserv" and the "resv obj lock" of both, when the page's reservation is the old object's.
# Stands for: FreeBSD vm_page_rename() and the vm_reserv_rename() that follows it everywhere.
cdef void vm_page_rename(thread* td, vm_page* m, vm_object* obj, vm_pindex_t pindex) noexcept nogil:
    cdef vm_object* old = m.object
    cdef vm_pindex_t offset = m.pindex - pindex
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    vm_page_object_remove(td, m)        # asserts the old one's
    vm_page_insert_after(td, m, obj, pindex, vm_radix_lookup_le(obj, pindex))
    m.dirty = 0xff
    vm_reserv_rename(td, m, obj, old, offset)


# --- wirings and busy state

# ref_count and busy_lock are two halves of one aligned word, ref_count the low one; the seam's atomics are 64
# bits wide. A reference is dropped only where there is one, so nothing is ever carried from one half into the
# other.
cdef inline uint32_t ref_count_add(thread* td, vm_page* m, uint64_t value) noexcept nogil:
    return <uint32_t>atomic_fetchadd(td, <uint64_t*>&m.ref_count, value)


# Give up the exclusive busy state.
#
# Locks in:   none; the page is exclusively busied by this thread.
# Locks out:  none; the page is not busied.
# May block:  never.
# Stands for: FreeBSD vm_page_xunbusy().
cdef void vm_page_xunbusy(thread* td, vm_page* m) noexcept nogil:
    if m.busy_lock != VPB_EXCLUSIVE:
        panic(td, b"vm_page_xunbusy: the page is not exclusively busied")
    atomic_fetchadd(td, <uint64_t*>&m.ref_count, (<uint64_t>VPB_UNBUSIED - <uint64_t>VPB_EXCLUSIVE) << 32)


# Count one more wiring.
#
# Locks in:   whatever keeps the page from being freed: its object's lock, or another wiring.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD vm_page_wire().
cdef void vm_page_wire(thread* td, vm_page* m) noexcept nogil:
    ref_count_add(td, m, 1)


# Drop a wiring of a page that is on no queue.
#
# Locks in:   any; the wiring is the caller's.
# Locks out:  the same; it is no longer.
# May block:  never.
# Returns:    True when no reference is left, the object's included: the caller frees the page.
# Stands for: FreeBSD vm_page_unwire_noq().
cdef bint vm_page_unwire_noq(thread* td, vm_page* m) noexcept nogil:
    cdef uint32_t old
    if m.ref_count & ~VPRC_OBJREF == 0:
        panic(td, b"vm_page_unwire: the page is not wired")
    old = ref_count_add(td, m, ~<uint64_t>0)
    return old == 1


# Drop a wiring; after the last one the page is inactive, or freed when no object holds it.
#
# Locks in:   none of the page's; the wiring is the caller's.
# Locks out:  the same; it is no longer.
# May block:  on the "vm page" mutex of the page (last wiring of a managed page), then on page queues'
#             mutexes; if it frees the page, as vm_page_free.
# Stands for: FreeBSD vm_page_unwire(m, PQ_INACTIVE), vm_page_unwire_managed().
cdef void vm_page_unwire(thread* td, vm_page* m, uint16_t site) noexcept nogil:
    cdef mtx* lock = NULL
    cdef bint last
    if not m.oflags & VPO_UNMANAGED and m.ref_count & ~VPRC_OBJREF == 1:
        # Queue it before the wiring goes, so that nobody sees it unwired and on no queue.
        lock = vm_page_lockptr(phys_of(td), m)
        mtx_lock(td, lock, site)
        vm_page_deactivate_locked(td, m)
    last = vm_page_unwire_noq(td, m)
    if lock != NULL:
        mtx_unlock(td, lock)
    if last:
        vm_page_free(td, m)


# --- audits

cdef int64_t phys_free_pages(machine* m) noexcept nogil:
    cdef phys_state* s = <phys_state*>m.phys
    cdef int64_t n = 0
    cdef uint32_t i
    for i in range(s.ndomains):
        n += <int64_t>s.domains[i].free_count + pgcache_count(m, <int>i)
    return n


cdef int64_t phys_allocated_pages(machine* m) noexcept nogil:
    cdef phys_state* s = <phys_state*>m.phys
    cdef int64_t n = 0
    cdef uint32_t i
    for i in range(s.ndomains):
        n += s.domains[i].npages
    return n - phys_free_pages(m)


cdef int64_t phys_reservations_broken(machine* m) noexcept nogil:
    cdef phys_state* s = <phys_state*>m.phys
    cdef int64_t n = 0
    cdef uint32_t i
    for i in range(s.ndomains):
        n += s.domains[i].reclaimed
    return n


# Free lists against free counts, and every reservation against itself.
#
# Locks in:   none; the machine has stopped.
# Locks out:  none.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef int64_t phys_audit(machine* m) noexcept nogil:
    cdef phys_state* s = <phys_state*>m.phys
    cdef vm_domain* d
    cdef vm_page* head
    cdef int64_t faults = vm_reserv_audit(s), pages, blocks
    cdef uint32_t i, seg
    cdef uint64_t r
    cdef int f, pool, order
    for i in range(s.ndomains):
        d = &s.domains[i]
        queue_started(NULL, s, d)
        pages = 0
        for seg in range(s.nsegs):
            if s.segs[seg].domain == i:
                pages += <int64_t>((s.virgin_end[seg] - s.virgin[seg]) >> PAGE_SHIFT)
        for f in range(VM_NFREELIST):
            for pool in range(VM_NFREEPOOL):
                for order in range(VM_NFREEORDER):
                    blocks = 0
                    head = d.free_queues[f][pool][order].first
                    while head != NULL:
                        faults += head.order != order + 1 or head.pool != pool or head.object != NULL
                        blocks += 1
                        head = head.listq_next
                    faults += blocks != d.free_queues[f][pool][order].count
                    pages += blocks << order
        for r in range(s.nreservs):                     # the unused pages of a reservation are free too
            if s.reservs[r].object != NULL and s.reservs[r].domain == i:
                pages += 512 - s.reservs[r].popcnt
        faults += pages != <int64_t>d.free_count
    return faults
