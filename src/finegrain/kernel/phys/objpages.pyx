# The pages of an object: see objpages.pxd.

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from finegrain.kernel.list cimport list_insert_after, list_remove, list_touch_insert_after, list_touch_remove
from finegrain.kernel.phys.types cimport VPRC_OBJREF, deferred_pages
from finegrain.kernel.types cimport vm_object, vm_page, vm_pindex_t
from finegrain.machine.seam cimport arena_alloc, arena_free, charge, panic, touch_read, touch_write, unlikely
from finegrain.machine.thread cimport machine, thread

cdef enum:
    INSERT_OPS = 20                     # [A] a descent of FreeBSD's tree, the list; the lines are extra
    REMOVE_OPS = 20
    LEAF_SHIFT = 6
    LEAF_BYTES = 64 * 8
    MIN_CAPACITY = 4

cdef extern from *:
    int __builtin_ctzll(unsigned long long x) noexcept nogil
    int __builtin_clzll(unsigned long long x) noexcept nogil


# --- the index

cdef inline uint64_t radix_bytes(uint64_t capacity) noexcept nogil:
    return sizeof(vm_radix) + (capacity + 63) // 64 * 8 + capacity * sizeof(radix_leaf)


# A directory of `capacity` entries from leaf `first` on, in one piece: header, summary, entries.
cdef vm_radix* radix_create(machine* m, vm_pindex_t first, uint32_t capacity) noexcept nogil:
    cdef vm_radix* r = <vm_radix*>arena_alloc(m, radix_bytes(capacity))
    r.first = first
    r.capacity = capacity
    r.leaves = 0
    r.summary = <uint64_t*>(r + 1)
    r.directory = <radix_leaf*>(r.summary + (capacity + 63) // 64)
    return r


# Make the directory cover leaf `leaf`; it at least doubles, towards the side where the leaf is.
#
# Locks in:   the object's lock, for writing; or for reading, where deferred pages become resident.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing in FreeBSD: its tree grows node by node.
cdef vm_radix* radix_cover(machine* m, vm_object* obj, vm_pindex_t leaf) noexcept nogil:
    cdef vm_radix* old = <vm_radix*>obj.pages
    cdef vm_radix* r
    cdef uint64_t capacity, i
    cdef vm_pindex_t first, end
    if old == NULL:
        r = radix_create(m, leaf, MIN_CAPACITY)
    else:
        first = old.first
        end = old.first + old.capacity
        capacity = old.capacity * <uint64_t>2
        if leaf < first:
            while end - leaf > capacity:
                capacity *= 2
            first = end - capacity if end > capacity else 0
        else:
            while leaf - first >= capacity:
                capacity *= 2
        r = radix_create(m, first, <uint32_t>capacity)
        memcpy(&r.directory[old.first - first], old.directory, old.capacity * sizeof(radix_leaf))
        r.leaves = old.leaves
        for i in range(old.capacity):
            if old.directory[i].present != 0:
                r.summary[(old.first - first + i) >> 6] |= <uint64_t>1 << ((old.first - first + i) & 63)
        arena_free(m, old, radix_bytes(old.capacity))
    obj.pages = r
    return r


# Find a page by its index.
#
# Locks in:   the object's lock, for reading or for writing.
# Locks out:  the same.
# May block:  never.
# Returns:    the page; NULL when it is not resident.
# Stands for: FreeBSD vm_radix_lookup().
cdef vm_page* vm_radix_lookup(vm_object* obj, vm_pindex_t pindex) noexcept nogil:
    cdef vm_radix* r = <vm_radix*>obj.pages
    cdef uint64_t i
    if r != NULL:
        i = (pindex >> LEAF_SHIFT) - r.first            # below first: wraps, and so is out of range too
        if i < r.capacity and r.directory[i].present >> (pindex & 63) & 1:
            return r.directory[i].pages[pindex & 63]
    if unlikely(obj.deferred != NULL):
        return (<deferred_pages*>obj.deferred).look_up(obj, pindex)
    return NULL


# Touch what a descent of the index to pindex reads, or with write, changes: its head, the entry of the leaf, the page's
# slot in that.  As many lines as FreeBSD's tree has nodes on the way, in a file or heap of up to 16 MB: three.
#
# Locks in:   the object's lock, for reading or for writing.
# Locks out:  the same.
# May block:  never.
# Stands for: the loads and stores of FreeBSD vm_radix_lookup() and its like.
cdef void touch_index(thread* td, vm_object* obj, vm_pindex_t pindex, bint write) noexcept nogil:
    cdef vm_radix* r = <vm_radix*>obj.pages
    cdef uint64_t i
    cdef radix_leaf* entry
    VM_OBJECT_ASSERT_LOCKED(td, obj)
    if r == NULL:
        return
    touch_read(td, r)
    i = (pindex >> LEAF_SHIFT) - r.first
    if i >= r.capacity:
        return
    entry = &r.directory[i]
    if write:
        touch_write(td, entry)
    else:
        touch_read(td, entry)
    if entry.pages != NULL and write:
        touch_write(td, &entry.pages[pindex & 63])
    elif entry.pages != NULL:
        touch_read(td, &entry.pages[pindex & 63])


# Find a page by its index, and look at it.
#
# Locks in:   the object's lock, for reading or for writing.
# Locks out:  the same.
# May block:  never.
# Returns:    the page; NULL when it is not resident.
# Stands for: FreeBSD vm_page_lookup().
cdef vm_page* vm_page_lookup(thread* td, vm_object* obj, vm_pindex_t pindex) noexcept nogil:
    cdef vm_page* m
    VM_OBJECT_ASSERT_LOCKED(td, obj)
    touch_index(td, obj, pindex, False)
    m = vm_radix_lookup(obj, pindex)
    if m != NULL:
        touch_read(td, &m.valid)
    return m


# Find the last page at or before an index.
#
# Locks in:   the object's lock, for reading or for writing.
# Locks out:  the same.
# May block:  never.
# Returns:    the page; NULL when there is none.
# Stands for: FreeBSD vm_radix_lookup_le().
cdef vm_page* vm_radix_lookup_le(vm_object* obj, vm_pindex_t pindex) noexcept nogil:
    cdef vm_radix* r = <vm_radix*>obj.pages
    cdef vm_pindex_t leaf = pindex >> LEAF_SHIFT
    cdef uint64_t i, bits
    cdef int word
    if r == NULL or leaf < r.first:
        return NULL
    i = leaf - r.first
    if i < r.capacity:
        bits = r.directory[i].present & (~<uint64_t>0 >> (63 - (pindex & 63)))
        if bits != 0:
            return r.directory[i].pages[63 - __builtin_clzll(bits)]
        if i == 0:
            return NULL
        i -= 1
    else:
        i = r.capacity - 1
    word = <int>(i >> 6)
    bits = r.summary[word] & (~<uint64_t>0 >> (63 - (i & 63)))
    while bits == 0:
        word -= 1
        if word < 0:
            return NULL
        bits = r.summary[word]
    i = (<uint64_t>word << 6) + 63 - __builtin_clzll(bits)
    return r.directory[i].pages[63 - __builtin_clzll(r.directory[i].present)]


# Enter a page at its pindex.
#
# Locks in:   the object's lock, for writing; or for reading, where deferred pages become resident.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD vm_radix_insert().
cdef void vm_radix_insert(machine* m, vm_object* obj, vm_page* page) noexcept nogil:
    cdef vm_radix* r = <vm_radix*>obj.pages
    cdef vm_pindex_t leaf = page.pindex >> LEAF_SHIFT
    cdef uint64_t i
    cdef radix_leaf* entry
    if r == NULL or leaf - r.first >= r.capacity:
        r = radix_cover(m, obj, leaf)
    i = leaf - r.first
    entry = &r.directory[i]
    if entry.present == 0:
        entry.pages = <vm_page**>arena_alloc(m, LEAF_BYTES)
        r.summary[i >> 6] |= <uint64_t>1 << (i & 63)
        r.leaves += 1
    entry.present |= <uint64_t>1 << (page.pindex & 63)
    entry.pages[page.pindex & 63] = page


# Take the page at pindex out; there is one.
#
# Locks in:   the object's lock, for writing.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD vm_radix_remove().
cdef void vm_radix_remove(thread* td, vm_object* obj, vm_pindex_t pindex) noexcept nogil:
    cdef vm_radix* r = <vm_radix*>obj.pages
    cdef uint64_t i = (pindex >> LEAF_SHIFT) - r.first
    cdef radix_leaf* entry = &r.directory[i]
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    entry.present &= ~(<uint64_t>1 << (pindex & 63))
    if entry.present == 0:
        arena_free(td.machine, entry.pages, LEAF_BYTES)
        entry.pages = NULL
        r.summary[i >> 6] &= ~(<uint64_t>1 << (i & 63))
        r.leaves -= 1


# Release the index of an object that has no pages left.
#
# Locks in:   the object's lock, for writing.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing: FreeBSD's tree shrinks with its last page.
cdef void vm_radix_free(thread* td, vm_object* obj) noexcept nogil:
    cdef vm_radix* r = <vm_radix*>obj.pages
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    if r == NULL:
        return
    if r.leaves != 0:
        panic(td, b"vm_radix_free: the object has resident pages")
    arena_free(td.machine, r, radix_bytes(r.capacity))
    obj.pages = NULL


# --- list and index together

# Make a page resident at an index of an object.
#
# Locks in:   the object's lock, for writing.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD vm_page_insert_after(), vm_page_insert_radixdone().
cdef void vm_page_insert_after(thread* td, vm_page* m, vm_object* obj, vm_pindex_t pindex,
                               vm_page* mpred) noexcept nogil:
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    if m.object != NULL:
        panic(td, b"vm_page_insert: the page is in an object already")
    if mpred != NULL and mpred.pindex >= pindex:
        panic(td, b"vm_page_insert: a page is resident at this index already")
    become_resident(td.machine, m, obj, pindex, mpred)
    touch_index(td, obj, pindex, True)
    touch_write(td, &m.ref_count)
    touch_write(td, &obj.memq_first)
    list_touch_insert_after(td, <void**>&obj.memq_first, mpred, m, <void**>&m.listq_next, <void**>&m.listq_prev)
    charge(td, td.machine.cost.op, INSERT_OPS)


# Locks in:   the object's lock, for writing; or for reading, where deferred pages become resident.
# Locks out:  the same.
# May block:  never.
# Stands for: what the insertion of a page changes in FreeBSD.
cdef inline void become_resident(machine* m, vm_page* page, vm_object* obj, vm_pindex_t pindex,
                                 vm_page* mpred) noexcept nogil:
    page.object = obj
    page.pindex = pindex
    page.ref_count |= VPRC_OBJREF
    vm_radix_insert(m, obj, page)
    list_insert_after(<void**>&obj.memq_first, <void**>&obj.memq_last, mpred, page, <void**>&page.listq_next,
                      <void**>&page.listq_prev)
    obj.resident_page_count += 1


# A page that was the object's all along becomes one that can be found.
#
# Locks in:   the object's lock, for reading or for writing; no scheduling point inside.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef void vm_page_make_resident(machine* m, vm_page* page, vm_object* obj, vm_pindex_t pindex) noexcept nogil:
    become_resident(m, page, obj, pindex, vm_radix_lookup_le(obj, pindex))


# Take a page out of its object.
#
# Locks in:   the object's lock, for writing.
# Locks out:  the same.  The object's reference to the page is still counted: the caller drops it.
# May block:  never.
# Stands for: FreeBSD vm_page_object_remove().
cdef void vm_page_object_remove(thread* td, vm_page* m) noexcept nogil:
    cdef vm_object* obj = m.object
    if obj == NULL:
        panic(td, b"vm_page_remove: the page is in no object")
    if unlikely(obj.deferred != NULL):
        panic(td, b"vm_page_remove: the object has deferred pages")
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    touch_index(td, obj, m.pindex, True)
    touch_write(td, &obj.memq_first)
    list_touch_remove(td, <void**>&obj.memq_first, m, <void**>&m.listq_next, <void**>&m.listq_prev)
    vm_radix_remove(td, obj, m.pindex)
    list_remove(<void**>&obj.memq_first, <void**>&obj.memq_last, m, <void**>&m.listq_next, <void**>&m.listq_prev)
    m.object = NULL
    obj.resident_page_count -= 1
    charge(td, td.machine.cost.op, REMOVE_OPS)
