# Reservations.
#
# The first page that an object needs in an aligned 2 MB of itself sets aside a whole block of 512 free pages;
# pages that it needs there later come from the same block, at the place where a superpage wants them.  The
# block counts as free memory except for the pages in use.  A reservation ends when its last page is freed
# (the block goes back to the buddy allocator whole), when its object dies or when memory is short (the unused
# pages go back, run by run).
#
# Each domain keeps its partly populated reservations in a queue, least recently changed first, under a mutex
# that all CPUs share: "VM reserv domain".  Moving a reservation to the queue's tail at every page would be
# too dear, so it is done once a tick (a millisecond): a page goes in without the mutex if the reservation is
# queued already, was moved in this tick, and does not become full; a page goes out without it if the
# reservation was moved in this tick and does not become empty.
#
# Lock order: object rw > "vm reserv" > {"VM reserv domain", "resv obj lock", "vm page free queue"}.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t

from finegrain.kernel.list cimport (
    list_insert_head, list_insert_tail, list_remove, list_touch_insert_head, list_touch_insert_tail, list_touch_remove)
from finegrain.kernel.locks cimport lock_name, lock_site, mtx, mtx_assert_owned, mtx_init, mtx_lock, mtx_unlock
from finegrain.kernel.phys.free cimport (
    FREE_LOCK_RESERV_ALLOC, FREE_LOCK_RESERV_BREAK, FREE_LOCK_RESERV_FREE, charge_blocks, vm_domain_allocate,
    vm_domain_free_lock, vm_domain_free_unlock, vm_domain_freecnt_inc, vm_phys_alloc_pages, vm_phys_free_contig,
    vm_phys_free_pages)
from finegrain.kernel.phys.objpages cimport VM_OBJECT_ASSERT_LOCKED, VM_OBJECT_ASSERT_WLOCKED
from finegrain.kernel.phys.types cimport (
    NPOPMAP, VM_FREEPOOL_DEFAULT, VM_LEVEL_0_NPAGES, VM_LEVEL_0_ORDER, VM_RESERV_OBJ_LOCK_COUNT, phys_of, phys_state,
    vm_domain, vm_reserv)
from finegrain.kernel.types cimport OBJT_VNODE, PDRSHIFT, vm_object, vm_page, vm_pindex_t
from finegrain.machine.seam cimport arena_offset, charge, now, panic, touch_read, touch_write
from finegrain.machine.thread cimport thread

cdef uint16_t NAME_RESERV = lock_name(b"sleep mutex", b"vm reserv")
cdef uint16_t NAME_DOMAIN = lock_name(b"sleep mutex", b"VM reserv domain")
cdef uint16_t NAME_OBJECT = lock_name(b"sleep mutex", b"resv obj lock")
cdef uint16_t SITE_EXTEND = lock_site(b"vm_reserv_extend")
cdef uint16_t SITE_ALLOC = lock_site(b"vm_reserv_alloc_page/reserv")
cdef uint16_t SITE_FREE = lock_site(b"vm_reserv_free_page")
cdef uint16_t SITE_BREAK_ALL = lock_site(b"vm_reserv_break_all")
cdef uint16_t SITE_RECLAIM = lock_site(b"vm_reserv_reclaim_inactive")
cdef uint16_t SITE_RENAME = lock_site(b"vm_reserv_rename")
cdef uint16_t SITE_POPULATE = lock_site(b"vm_reserv_populate")
cdef uint16_t SITE_DEPOPULATE = lock_site(b"vm_reserv_depopulate")
cdef uint16_t SITE_BREAK_ALL_DOMAIN = lock_site(b"vm_reserv_break_all/domain")
cdef uint16_t SITE_FITS = lock_site(b"vm_reserv_alloc_page/object")
cdef uint16_t SITE_INSERT = lock_site(b"vm_reserv_insert")
cdef uint16_t SITE_REMOVE = lock_site(b"vm_reserv_remove")

cdef extern from *:
    """
    #define FG_PS_PER_TICK 1000000000LL     /* hz = 1000: FreeBSD's default; simulated time is in picoseconds */
    """
    int64_t PS_PER_TICK "FG_PS_PER_TICK"
    int __builtin_ctzll(unsigned long long x) noexcept nogil
    int __builtin_popcountll(unsigned long long x) noexcept nogil

cdef enum:
    PARTPOPSLOP = 1                     # ticks
    OBJECT_BYTES = 192                  # [A] FreeBSD hashes by sizeof(struct vm_object); fields of ours decide nothing
    POPULATE_OPS = 20                   # [A] the map, the count, the tick
    QUEUE_OPS = 15                      # [A] off a queue and on it again; the lines are extra


cdef inline int32_t ticks(thread* td) noexcept nogil:
    return <int32_t>(now(td) // PS_PER_TICK)


cdef inline vm_reserv* vm_reserv_from_page(phys_state* s, vm_page* m) noexcept nogil:
    return &s.reservs[m.phys_addr >> PDRSHIFT]


cdef inline bint has_pindex(vm_reserv* rv, vm_pindex_t pindex) noexcept nogil:
    return pindex - rv.pindex < VM_LEVEL_0_NPAGES


cdef inline vm_pindex_t reserv_index(vm_object* obj, vm_pindex_t pindex) noexcept nogil:
    return (<vm_pindex_t>obj.color + pindex) & (VM_LEVEL_0_NPAGES - 1)


# An object takes part once its color (the alignment of its pages) is known.
cdef bint vm_object_reserv(vm_object* obj) noexcept nogil:
    return obj.color >= 0


# --- the queues

cdef inline mtx* obj_lock(phys_state* s, vm_object* obj) noexcept nogil:
    return &s.resv_obj_locks[arena_offset(s.machine, obj) // OBJECT_BYTES % VM_RESERV_OBJ_LOCK_COUNT].lock


# Locks in: the reservation's mutex.  Locks out: the same.  May block: never.
# Stands for: FreeBSD vm_reserv_assert_locked().
cdef inline void vm_reserv_assert_locked(thread* td, vm_reserv* rv) noexcept nogil:
    mtx_assert_owned(td, &rv.lock, b"the reservation is not locked")


# Locks in: the reservation domain mutex.  Locks out: the same.  May block: never.
# Stands for: FreeBSD vm_reserv_domain_assert_locked().
cdef inline void vm_reserv_domain_assert_locked(thread* td, vm_domain* d) noexcept nogil:
    mtx_assert_owned(td, &d.reserv_mtx.lock, b"the queue of partly populated reservations is not locked")


# Locks in:   the reservation domain mutex; the reservation's mutex.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD's TAILQ_REMOVE() on vmd_partpop, and inpartpopq.
cdef void partpopq_remove(thread* td, vm_domain* d, vm_reserv* rv) noexcept nogil:
    vm_reserv_domain_assert_locked(td, d)
    vm_reserv_assert_locked(td, rv)
    list_touch_remove(td, <void**>&d.partpop_first, rv, <void**>&rv.partpopq_next, <void**>&rv.partpopq_prev)
    list_remove(<void**>&d.partpop_first, <void**>&d.partpop_last, rv, <void**>&rv.partpopq_next,
                <void**>&rv.partpopq_prev)
    rv.inpartpopq = False


# Locks in:   the reservation domain mutex; the reservation's mutex.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD's TAILQ_INSERT_TAIL() on vmd_partpop, and inpartpopq.
cdef void partpopq_append(thread* td, vm_domain* d, vm_reserv* rv) noexcept nogil:
    vm_reserv_domain_assert_locked(td, d)
    vm_reserv_assert_locked(td, rv)
    list_touch_insert_tail(td, <void**>&d.partpop_first, <void**>&d.partpop_last, rv, <void**>&rv.partpopq_next,
                           <void**>&rv.partpopq_prev)
    list_insert_tail(<void**>&d.partpop_first, <void**>&d.partpop_last, rv, <void**>&rv.partpopq_next,
                     <void**>&rv.partpopq_prev)
    rv.inpartpopq = True


# Move a reservation to the tail of its domain's queue, or off it when it is full or empty.
#
# Locks in:   the reservation's mutex.
# Locks out:  the same.
# May block:  on the reservation domain mutex.
# Stands for: the common part of FreeBSD vm_reserv_populate() and vm_reserv_depopulate().
cdef void requeue(thread* td, vm_reserv* rv, uint16_t site) noexcept nogil:
    cdef vm_domain* d = &phys_of(td).domains[rv.domain]
    vm_reserv_assert_locked(td, rv)
    rv.lasttick = ticks(td)
    mtx_lock(td, &d.reserv_mtx.lock, site)
    if rv.inpartpopq:
        partpopq_remove(td, d, rv)
    if rv.popcnt != 0 and rv.popcnt < VM_LEVEL_0_NPAGES:
        partpopq_append(td, d, rv)
    if rv.popcnt == VM_LEVEL_0_NPAGES:
        touch_write(td, &rv.pages.psind)
        rv.pages.psind = 1
    charge(td, td.machine.cost.op, QUEUE_OPS)
    mtx_unlock(td, &d.reserv_mtx.lock)


# The reservation becomes one of the object's.
#
# Locks in:   the reservation's mutex; the object's lock, for writing.
# Locks out:  the same.
# May block:  on the "resv obj lock".
# Stands for: FreeBSD vm_reserv_insert().
cdef void vm_reserv_insert(thread* td, vm_reserv* rv, vm_object* obj, vm_pindex_t pindex) noexcept nogil:
    cdef mtx* lock = obj_lock(phys_of(td), obj)
    vm_reserv_assert_locked(td, rv)
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    if rv.object != NULL or rv.popcnt != 0 or rv.inpartpopq:
        panic(td, b"vm_reserv_insert: the reservation is not free")
    mtx_lock(td, lock, SITE_INSERT)
    rv.pindex = pindex
    rv.object = obj
    rv.lasttick = ticks(td)
    touch_write(td, &rv.object)
    list_touch_insert_head(td, &obj.reservations, rv, <void**>&rv.objq_next, <void**>&rv.objq_prev)
    charge(td, td.machine.cost.op, QUEUE_OPS)
    list_insert_head(&obj.reservations, NULL, rv, <void**>&rv.objq_next, <void**>&rv.objq_prev)
    mtx_unlock(td, lock)


# The reservation is its object's no more.
#
# Locks in:   the reservation's mutex.
# Locks out:  the same.
# May block:  on the "resv obj lock".
# Stands for: FreeBSD vm_reserv_remove().
cdef void vm_reserv_remove(thread* td, vm_reserv* rv) noexcept nogil:
    cdef vm_object* obj = rv.object
    cdef mtx* lock = obj_lock(phys_of(td), obj)
    vm_reserv_assert_locked(td, rv)
    if rv.inpartpopq:
        panic(td, b"vm_reserv_remove: the reservation is queued")
    mtx_lock(td, lock, SITE_REMOVE)
    touch_write(td, &rv.object)
    list_touch_remove(td, &obj.reservations, rv, <void**>&rv.objq_next, <void**>&rv.objq_prev)
    charge(td, td.machine.cost.op, QUEUE_OPS)
    list_remove(&obj.reservations, NULL, rv, <void**>&rv.objq_next, <void**>&rv.objq_prev)
    rv.object = NULL
    mtx_unlock(td, lock)


# --- pages in and out

# Count a page of the reservation as used.
#
# Locks in:   the reservation's mutex.
# Locks out:  the same.
# May block:  on the reservation domain mutex, unless the tick filter passes it by.
# Stands for: FreeBSD vm_reserv_populate().
cdef void vm_reserv_populate(thread* td, vm_reserv* rv, uint64_t index) noexcept nogil:
    vm_reserv_assert_locked(td, rv)
    if rv.popmap[index >> 6] >> (index & 63) & 1:
        panic(td, b"vm_reserv_populate: the page is in use")
    touch_write(td, &rv.popcnt)
    touch_write(td, &rv.popmap[index >> 6])
    rv.popmap[index >> 6] |= <uint64_t>1 << (index & 63)
    rv.popcnt += 1
    charge(td, td.machine.cost.op, POPULATE_OPS)
    if ticks(td) - rv.lasttick < PARTPOPSLOP and rv.inpartpopq and rv.popcnt != VM_LEVEL_0_NPAGES:
        return
    requeue(td, rv, SITE_POPULATE)


# Count a page of the reservation as unused; the last one ends the reservation.
#
# Locks in:   the reservation's mutex.
# Locks out:  the same.
# May block:  on the reservation domain mutex (see the tick filter), "resv obj lock", the free page queue
#             mutex.
# Stands for: FreeBSD vm_reserv_depopulate().
cdef void vm_reserv_depopulate(thread* td, vm_reserv* rv, uint64_t index) noexcept nogil:
    cdef phys_state* s = phys_of(td)
    cdef vm_domain* d = &s.domains[rv.domain]
    vm_reserv_assert_locked(td, rv)
    if not rv.popmap[index >> 6] >> (index & 63) & 1:
        panic(td, b"vm_reserv_depopulate: the page is free")
    touch_write(td, &rv.popcnt)
    touch_write(td, &rv.popmap[index >> 6])
    if rv.popcnt == VM_LEVEL_0_NPAGES:
        touch_write(td, &rv.pages.psind)
        rv.pages.psind = 0
    rv.popmap[index >> 6] &= ~(<uint64_t>1 << (index & 63))
    rv.popcnt -= 1
    charge(td, td.machine.cost.op, POPULATE_OPS)
    if ticks(td) - rv.lasttick >= PARTPOPSLOP or rv.popcnt == 0:
        requeue(td, rv, SITE_DEPOPULATE)
    if rv.popcnt == 0:
        vm_reserv_remove(td, rv)
        vm_domain_free_lock(td, d, FREE_LOCK_RESERV_FREE)
        charge_blocks(td, d, vm_phys_free_pages(td, s, rv.pages, VM_LEVEL_0_ORDER, VM_FREEPOOL_DEFAULT))
        vm_domain_free_unlock(td, d)
    vm_domain_freecnt_inc(td, d, 1)


# The reservation that a neighbour of pindex in the object belongs to and that covers pindex; NULL when there
# is none. msuccp: the first page of the object after pindex, when mpred's reservation was not the one.
#
# Locks in:   the object's lock, for writing.  (Reservations are read as they are; what is found is looked at again.)
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD vm_reserv_from_object().
cdef vm_reserv* vm_reserv_from_object(thread* td, phys_state* s, vm_object* obj, vm_pindex_t pindex, vm_page* mpred,
                                      vm_page** msuccp) noexcept nogil:
    cdef vm_reserv* rv
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    msuccp[0] = NULL
    if mpred != NULL:
        rv = vm_reserv_from_page(s, mpred)
        touch_read(td, &mpred.listq_next)
        touch_read(td, &rv.object)
        if rv.object == obj and has_pindex(rv, pindex):
            return rv
        msuccp[0] = mpred.listq_next
    else:
        msuccp[0] = obj.memq_first
    if msuccp[0] != NULL:
        rv = vm_reserv_from_page(s, msuccp[0])
        touch_read(td, &msuccp[0].phys_addr)
        touch_read(td, &rv.object)
        if rv.object == obj and has_pindex(rv, pindex):
            return rv
    return NULL


# Take a page from a reservation that the object has already.
#
# Locks in:   the object's lock, for writing.
# Locks out:  the same.
# May block:  on the reservation's mutex and what vm_reserv_populate takes.
# Returns:    the page; NULL when no reservation covers pindex or its place is taken.
# Stands for: FreeBSD vm_reserv_extend().
cdef vm_page* vm_reserv_extend(thread* td, vm_object* obj, vm_pindex_t pindex, vm_page* mpred) noexcept nogil:
    cdef phys_state* s = phys_of(td)
    cdef vm_reserv* rv
    cdef vm_page* msucc
    cdef vm_page* m = NULL
    cdef vm_pindex_t index
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    if pindex < reserv_index(obj, pindex) or pindex >= obj.size or obj.resident_page_count == 0:
        return NULL
    rv = vm_reserv_from_object(td, s, obj, pindex, mpred, &msucc)
    if rv == NULL:
        return NULL
    mtx_lock(td, &rv.lock, SITE_EXTEND)
    # Reclaiming may have ended the reservation; a renamed page may still count at this place.
    index = pindex - rv.pindex
    if (rv.object == obj and has_pindex(rv, pindex) and not rv.popmap[index >> 6] >> (index & 63) & 1
            and vm_domain_allocate(td, &s.domains[rv.domain], 1)):
        vm_reserv_populate(td, rv, index)
        m = &rv.pages[index]
    mtx_unlock(td, &rv.lock)
    return m


# May a new reservation begin at index `first` of the object, between the neighbours mpred and msucc?
#
# Locks in:   the object's lock, for writing.
# Locks out:  the same.
# May block:  on the "resv obj lock".
# Stands for: the part of FreeBSD vm_reserv_alloc_page() that looks for room.
cdef bint reserv_fits(thread* td, vm_object* obj, vm_pindex_t first, vm_page* mpred, vm_page* msucc) noexcept nogil:
    cdef phys_state* s = phys_of(td)
    cdef mtx* lock = obj_lock(s, obj)
    cdef vm_reserv* rv
    cdef bint fits = True
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    mtx_lock(td, lock, SITE_FITS)
    charge(td, td.machine.cost.op, QUEUE_OPS)
    if mpred != NULL:
        rv = vm_reserv_from_page(s, mpred)
        touch_read(td, &rv.object)
        fits = (mpred.pindex + 1 if rv.object != obj else rv.pindex + VM_LEVEL_0_NPAGES) <= first
    if fits and msucc != NULL:
        rv = vm_reserv_from_page(s, msucc)
        touch_read(td, &rv.object)
        fits = first + VM_LEVEL_0_NPAGES <= (msucc.pindex if rv.object != obj else rv.pindex)
    mtx_unlock(td, lock)
    # A file does not grow while it is mapped; anonymous memory may.
    return fits and (first + VM_LEVEL_0_NPAGES <= obj.size or not (
        obj.type == OBJT_VNODE or (obj.backing_object != NULL and obj.backing_object.type == OBJT_VNODE)))


# Make a reservation for the object around pindex and take that page from it.
#
# Locks in:   the object's lock, for writing; vm_reserv_extend() has failed.
# Locks out:  the same.
# May block:  on "resv obj lock", the free page queue mutex, the reservation's mutex, the reservation domain
#             mutex.
# Returns:    the page; NULL when there is no room in the object or no free block in the domain.
# Stands for: FreeBSD vm_reserv_alloc_page().
cdef vm_page* vm_reserv_alloc_page(thread* td, vm_object* obj, vm_pindex_t pindex, int domain,
                                   vm_page* mpred) noexcept nogil:
    cdef phys_state* s = phys_of(td)
    cdef vm_domain* d = &s.domains[domain]
    cdef vm_pindex_t index = reserv_index(obj, pindex)
    cdef vm_reserv* rv
    cdef vm_page* msucc
    cdef vm_page* m
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    if pindex < index or pindex >= obj.size or vm_reserv_from_object(td, s, obj, pindex, mpred, &msucc) != NULL:
        return NULL
    if not reserv_fits(td, obj, pindex - index, mpred, msucc) or not vm_domain_allocate(td, d, 1):
        return NULL
    vm_domain_free_lock(td, d, FREE_LOCK_RESERV_ALLOC)
    m = vm_phys_alloc_pages(td, s, domain, VM_FREEPOOL_DEFAULT, VM_LEVEL_0_ORDER)
    charge_blocks(td, d, 1)
    vm_domain_free_unlock(td, d)
    if m == NULL:
        vm_domain_freecnt_inc(td, d, 1)
        return NULL
    rv = vm_reserv_from_page(s, m)
    if rv.pages == NULL:                                # first use: the block is ours alone
        rv.pages = m
        rv.domain = <uint8_t>domain
        mtx_init(&rv.lock, NAME_RESERV, 0)
    mtx_lock(td, &rv.lock, SITE_ALLOC)
    vm_reserv_insert(td, rv, obj, pindex - index)
    vm_reserv_populate(td, rv, index)
    mtx_unlock(td, &rv.lock)
    return &m[index]


# Give a page back to its reservation, if it has one.
#
# Locks in:   none of the reservation's; the page is being freed.
# Locks out:  the same.
# May block:  on the reservation's mutex and what vm_reserv_depopulate takes.
# Returns:    False when the page belongs to no reservation.
# Stands for: FreeBSD vm_reserv_free_page().
cdef bint vm_reserv_free_page(thread* td, vm_page* m) noexcept nogil:
    cdef vm_reserv* rv = vm_reserv_from_page(phys_of(td), m)
    cdef bint found
    touch_read(td, &rv.object)
    if rv.object == NULL:
        return False
    mtx_lock(td, &rv.lock, SITE_FREE)
    found = rv.object != NULL
    if found:
        vm_reserv_depopulate(td, rv, <uint64_t>(m - rv.pages))
    mtx_unlock(td, &rv.lock)
    return found


# --- the end of a reservation

# Dissolve the reservation: unused pages go back to the buddy allocator run by run; used ones become single
# pages.
#
# Locks in:   the reservation's mutex; it is on no queue of partly populated ones.
# Locks out:  the same.
# May block:  on "resv obj lock" and, for each run of unused pages, on the free page queue mutex.
# Stands for: FreeBSD vm_reserv_break().
cdef void vm_reserv_break(thread* td, vm_reserv* rv) noexcept nogil:
    cdef phys_state* s = phys_of(td)
    cdef vm_domain* d = &s.domains[rv.domain]
    cdef int low = 0, high
    vm_reserv_assert_locked(td, rv)
    vm_reserv_remove(td, rv)
    rv.pages.psind = 0
    while True:
        low = next_bit(rv.popmap, low, False)
        if low == VM_LEVEL_0_NPAGES:
            break
        high = next_bit(rv.popmap, low, True)
        vm_domain_free_lock(td, d, FREE_LOCK_RESERV_BREAK)
        charge_blocks(td, d, vm_phys_free_contig(td, s, &rv.pages[low], high - low, VM_FREEPOOL_DEFAULT))
        vm_domain_free_unlock(td, d)
        low = high
    for low in range(NPOPMAP):
        rv.popmap[low] = 0
    rv.popcnt = 0


# The first place at or after `start` where the map holds `value`; VM_LEVEL_0_NPAGES when there is none.
cdef int next_bit(uint64_t* map, int start, bint value) noexcept nogil:
    cdef uint64_t word
    while start < VM_LEVEL_0_NPAGES:
        word = (map[start >> 6] if value else ~map[start >> 6]) & (~<uint64_t>0 << (start & 63))
        if word != 0:
            return (start & ~63) + __builtin_ctzll(word)
        start = (start & ~63) + 64
    return VM_LEVEL_0_NPAGES


# Dissolve all reservations of a dying object.
#
# Locks in:   the object's lock, for writing: nobody adds reservations.
# Locks out:  the same.
# May block:  on each reservation's mutex, the reservation domain mutex, and what vm_reserv_break takes.
# Stands for: FreeBSD vm_reserv_break_all().
cdef void vm_reserv_break_all(thread* td, vm_object* obj) noexcept nogil:
    cdef phys_state* s = phys_of(td)
    cdef vm_reserv* rv
    cdef mtx* lock
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    while True:
        rv = <vm_reserv*>obj.reservations               # unlocked: checked below
        if rv == NULL:
            return
        mtx_lock(td, &rv.lock, SITE_BREAK_ALL)
        if rv.object == obj:
            lock = &s.domains[rv.domain].reserv_mtx.lock
            mtx_lock(td, lock, SITE_BREAK_ALL_DOMAIN)
            if rv.inpartpopq:
                partpopq_remove(td, &s.domains[rv.domain], rv)
            mtx_unlock(td, lock)
            vm_reserv_break(td, rv)
        mtx_unlock(td, &rv.lock)


# Break the domain's least recently changed partly populated reservation.
#
# Locks in:   none of the domain's or the reservations'.
# Locks out:  the same.
# May block:  as vm_reserv_break_all.
# Returns:    False when the domain has none.
# Stands for: FreeBSD vm_reserv_reclaim_inactive(), vm_reserv_reclaim().
cdef bint vm_reserv_reclaim_inactive(thread* td, int domain) noexcept nogil:
    cdef vm_domain* d = &phys_of(td).domains[domain]
    cdef vm_reserv* rv
    while True:
        rv = d.partpop_first                            # unlocked: checked below
        if rv == NULL:
            return False
        mtx_lock(td, &rv.lock, SITE_RECLAIM)
        if rv == d.partpop_first:
            mtx_lock(td, &d.reserv_mtx.lock, SITE_RECLAIM)
            partpopq_remove(td, d, rv)
            mtx_unlock(td, &d.reserv_mtx.lock)
            vm_reserv_break(td, rv)
            d.reclaimed += 1
            mtx_unlock(td, &rv.lock)
            return True
        mtx_unlock(td, &rv.lock)


# A page has moved to another object; if its reservation is still the old object's, it moves as a whole.
#
# Locks in:   the new object's lock, for writing.
# Locks out:  the same.
# May block:  on the reservation's mutex and the "resv obj lock" of both objects.
# Stands for: FreeBSD vm_reserv_rename().
cdef void vm_reserv_rename(thread* td, vm_page* m, vm_object* new_object, vm_object* old_object,
                           vm_pindex_t offset) noexcept nogil:
    cdef phys_state* s = phys_of(td)
    cdef vm_reserv* rv = vm_reserv_from_page(s, m)
    VM_OBJECT_ASSERT_WLOCKED(td, new_object)
    if rv.object != old_object:
        return
    mtx_lock(td, &rv.lock, SITE_RENAME)
    if rv.object == old_object:
        mtx_lock(td, obj_lock(s, old_object), SITE_RENAME)
        touch_write(td, &rv.object)
        list_touch_remove(td, &old_object.reservations, rv, <void**>&rv.objq_next, <void**>&rv.objq_prev)
        rv.object = NULL
        list_remove(&old_object.reservations, NULL, rv, <void**>&rv.objq_next, <void**>&rv.objq_prev)
        mtx_unlock(td, obj_lock(s, old_object))
        mtx_lock(td, obj_lock(s, new_object), SITE_RENAME)
        rv.object = new_object
        rv.pindex -= offset
        list_touch_insert_head(td, &new_object.reservations, rv, <void**>&rv.objq_next, <void**>&rv.objq_prev)
        list_insert_head(&new_object.reservations, NULL, rv, <void**>&rv.objq_next, <void**>&rv.objq_prev)
        mtx_unlock(td, obj_lock(s, new_object))
    mtx_unlock(td, &rv.lock)


# --- questions

# Is the page's reservation full?  0: yes; -1: no.
#
# Locks in:   none: the count is read as it is.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD vm_reserv_level_iffullpop().
cdef int vm_reserv_level_iffullpop(thread* td, vm_page* m) noexcept nogil:
    cdef vm_reserv* rv = vm_reserv_from_page(phys_of(td), m)
    touch_read(td, &rv.popcnt)
    return 0 if rv.popcnt == VM_LEVEL_0_NPAGES else -1


# The first page of the full reservation that the page belongs to; NULL when there is none.
#
# Locks in:   the lock of the page's object, for reading or for writing.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD vm_reserv_to_superpage().
cdef vm_page* vm_reserv_to_superpage(thread* td, vm_page* m) noexcept nogil:
    cdef vm_reserv* rv = vm_reserv_from_page(phys_of(td), m)
    touch_read(td, &rv.object)
    if rv.object == NULL or rv.object != m.object:
        return NULL
    VM_OBJECT_ASSERT_LOCKED(td, m.object)
    return rv.pages if rv.popcnt == VM_LEVEL_0_NPAGES else NULL


cdef void vm_reserv_init(phys_state* s) noexcept nogil:
    cdef uint64_t i
    for i in range(s.ndomains):
        mtx_init(&s.domains[i].reserv_mtx.lock, NAME_DOMAIN, 0)
    for i in range(VM_RESERV_OBJ_LOCK_COUNT):
        mtx_init(&s.resv_obj_locks[i].lock, NAME_OBJECT, 0)


# Check every reservation: popcnt against popmap, the queue against popcnt.  One that is partly populated may
# be off the queue: it was full, and its first page left in the tick in which the last one came.
cdef int64_t vm_reserv_audit(phys_state* s) noexcept nogil:
    cdef vm_reserv* rv
    cdef int64_t faults = 0, bits
    cdef uint64_t i
    cdef int w
    for i in range(s.nreservs):
        rv = &s.reservs[i]
        if rv.pages == NULL:
            continue
        bits = 0
        for w in range(NPOPMAP):
            bits += __builtin_popcountll(rv.popmap[w])
        if bits != rv.popcnt or (rv.object == NULL) != (bits == 0):
            faults += 1
        elif rv.inpartpopq and not 0 < bits < VM_LEVEL_0_NPAGES:
            faults += 1
        elif rv.object != NULL and rv.pages.psind != (1 if bits == VM_LEVEL_0_NPAGES else 0):
            faults += 1
    return faults
