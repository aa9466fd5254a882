# Pages that nobody has looked at yet.  See deferred.pxd.
#
# Nothing of this is FreeBSD's, and nothing of it costs simulated time.

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memmove

from finegrain.kernel.phys.free cimport pgcache_alloc, vm_page_first_use
from finegrain.kernel.phys.objpages cimport VM_OBJECT_ASSERT_WLOCKED, vm_page_make_resident
from finegrain.kernel.phys.page cimport VM_ALLOC_NOBUSY, VM_ALLOC_NORMAL, vm_page_alloc, vm_page_fill_in
from finegrain.kernel.phys.types cimport VM_FREEPOOL_DEFAULT, deferred_pages, deferred_run, phys_of, phys_state
from finegrain.kernel.types cimport PG_PCPU_CACHE
from finegrain.machine.seam cimport arena_alloc, arena_free, domain as domain_of

cdef enum:
    MIN_CAPACITY = 4


# The page of a run at an index within it.
cdef inline vm_page* page_of_run(const deferred_run* run, vm_pindex_t pindex) noexcept nogil:
    return run.page + <int64_t>(pindex - run.first) * run.step


# Fill in the page struct and the object's index.
#
# Locks in:   the object's lock, for reading or for writing; no scheduling point inside.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing in FreeBSD, where all of this was done when the page was allocated.
cdef vm_page* make_real(vm_object* obj, vm_page* m, vm_pindex_t pindex) noexcept nogil:
    cdef phys_state* s = (<deferred_pages*>obj.deferred).phys
    if m.phys_addr == 0:
        vm_page_first_use(s, m)
    vm_page_fill_in(m, VM_FREEPOOL_DEFAULT, VM_ALLOC_NORMAL | VM_ALLOC_NOBUSY, 0)
    m.flags |= PG_PCPU_CACHE
    m.valid = 0xff
    m.dirty = 0xff
    vm_page_make_resident(s.machine, m, obj, pindex)
    return m


# How many runs begin at an index or before it.
cdef uint64_t runs_up_to(const deferred_pages* d, vm_pindex_t pindex) noexcept nogil:
    cdef uint64_t low = 0, high = d.count, middle
    if high != 0 and d.runs[high - 1].first <= pindex:
        return high                     # who fills an object alone, appends
    while low < high:
        middle = (low + high) // 2
        if d.runs[middle].first <= pindex:
            low = middle + 1
        else:
            high = middle
    return low


# Look for a page that is not in the object's index among the deferred ones.
#
# Locks in:   the object's lock, for reading or for writing.
# Locks out:  the same.
# May block:  never.
# Returns:    the page, resident now; NULL when there is none.
# Stands for: nothing in FreeBSD.
cdef vm_page* look_up_deferred(vm_object* obj, vm_pindex_t pindex) noexcept nogil:
    cdef deferred_pages* d = <deferred_pages*>obj.deferred
    cdef uint64_t after = runs_up_to(d, pindex)
    if after == 0 or d.runs[after - 1].first + d.runs[after - 1].pages <= pindex:
        return NULL
    return make_real(obj, page_of_run(&d.runs[after - 1], pindex), pindex)


# Room for one more run.
#
# Locks in:   the object's lock, for writing.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef deferred_pages* room_for_a_run(thread* td, vm_object* obj) noexcept nogil:
    cdef deferred_pages* d = <deferred_pages*>obj.deferred
    cdef deferred_run* larger
    cdef uint64_t capacity
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    if d == NULL:
        obj.deferred = d = <deferred_pages*>arena_alloc(td.machine, sizeof(deferred_pages))
        d.look_up = look_up_deferred
        d.phys = phys_of(td)
        d.count = 0
        d.capacity = 0
        d.runs = NULL
    if d.count == d.capacity:
        capacity = max(d.capacity * 2, <uint64_t>MIN_CAPACITY)
        larger = <deferred_run*>arena_alloc(td.machine, capacity * sizeof(deferred_run))
        if d.capacity != 0:
            memcpy(larger, d.runs, d.count * sizeof(deferred_run))
            arena_free(td.machine, d.runs, d.capacity * sizeof(deferred_run))
        d.runs = larger
        d.capacity = capacity
    return d


# Allocate a page and defer what can be.
#
# Locks in:   the object's lock, for writing; the object takes no part in reservations.
# Locks out:  the same.
# May block:  on the free page locks.
# Returns:    False when no domain has a free page.
# Stands for: FreeBSD vm_page_alloc(), and the writing of the page.
cdef bint vm_page_alloc_deferred(thread* td, vm_object* obj, vm_pindex_t pindex) noexcept nogil:
    cdef deferred_pages* d
    cdef deferred_run* last
    cdef uint64_t at
    cdef vm_page* m
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    m = pgcache_alloc(td, <int>(domain_of(td) % phys_of(td).ndomains), VM_FREEPOOL_DEFAULT)
    if m == NULL:
        m = vm_page_alloc(td, obj, pindex, VM_ALLOC_NORMAL | VM_ALLOC_NOBUSY)
        if m != NULL:
            m.valid = 0xff
            m.dirty = 0xff
        return m != NULL
    d = room_for_a_run(td, obj)
    at = runs_up_to(d, pindex)          # several may fill the object, each a part of it
    last = &d.runs[at - 1] if at != 0 else NULL
    if last != NULL and last.pages == 1 and last.first + 1 == pindex and m == last.page - 1:
        last.step = -1                  # caches hand out a block from its end
    if last != NULL and last.first + last.pages == pindex and m == page_of_run(last, pindex):
        last.pages += 1
    else:
        last = &d.runs[at]
        memmove(last + 1, last, (d.count - at) * sizeof(deferred_run))
        last.first = pindex
        last.pages = 1
        last.step = 1
        last.page = m
        d.count += 1
    return True


# Make all of them real.
#
# Locks in:   the object's lock, for writing.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef void vm_object_undefer(vm_object* obj) noexcept nogil:
    cdef deferred_pages* d = <deferred_pages*>obj.deferred
    cdef uint64_t i, k
    cdef vm_page* m
    if d == NULL:
        return
    for i in range(d.count):
        for k in range(d.runs[i].pages):
            m = page_of_run(&d.runs[i], d.runs[i].first + k)
            if m.object == NULL:
                make_real(obj, m, d.runs[i].first + k)
    if d.capacity != 0:
        arena_free(d.phys.machine, d.runs, d.capacity * sizeof(deferred_run))
    obj.deferred = NULL
    arena_free(d.phys.machine, d, sizeof(deferred_pages))


# Locks in:   none; the machine has stopped.
# Locks out:  none.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef uint64_t deferred_within(vm_object* obj, vm_page* first, vm_page* end) noexcept nogil:
    cdef deferred_pages* d = <deferred_pages*>obj.deferred
    cdef uint64_t i, k, n = 0
    cdef vm_page* m
    cdef vm_page* last
    if d == NULL:
        return 0
    for i in range(d.count):
        last = page_of_run(&d.runs[i], d.runs[i].first + d.runs[i].pages - 1)
        if max(d.runs[i].page, last) < first or min(d.runs[i].page, last) >= end:
            continue
        for k in range(d.runs[i].pages):
            m = page_of_run(&d.runs[i], d.runs[i].first + k)
            n += first <= m < end and m.object == NULL
    return n
