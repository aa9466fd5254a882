# The pages of an object: the index from pindex to page, and the list in order of pindex.
#
# The index stands for FreeBSD's radix tree and is cheap for three pages as for 10^5: a directory over leaves
# of 64 pages, which covers only the span of leaves in use.

from libc.stdint cimport uint32_t, uint64_t

from finegrain.kernel.locks cimport rw_assert_locked, rw_assert_wlocked
from finegrain.kernel.types cimport vm_object, vm_page, vm_pindex_t
from finegrain.machine.thread cimport machine, thread

cdef struct radix_leaf:                 # a directory entry
    uint64_t present                    # o: a set bit is a page
    vm_page** pages                     # o: 64 of them; NULL when none is present

cdef struct vm_radix:                   # vm_object.pages points here; o: the object's rw lock guards it all
    vm_pindex_t first                   # o: leaf number of entry 0
    uint32_t capacity                   # o: entries, a power of two
    uint32_t leaves                     # o: entries with a leaf
    uint64_t* summary                   # o: a set bit is an entry with a leaf; a bit an entry
    radix_leaf* directory               # o


# The object's pages and fields may be read, or changed, by this thread.
#
# Locks in: the object's lock, for reading or for writing.  Locks out: the same.  May block: never.
# Stands for: FreeBSD VM_OBJECT_ASSERT_LOCKED().
cdef inline void VM_OBJECT_ASSERT_LOCKED(thread* td, vm_object* obj) noexcept nogil:
    rw_assert_locked(td, &obj.lock, b"the object is not locked")


# Locks in: the object's lock, for writing.  Locks out: the same.  May block: never.
# Stands for: FreeBSD VM_OBJECT_ASSERT_WLOCKED().
cdef inline void VM_OBJECT_ASSERT_WLOCKED(thread* td, vm_object* obj) noexcept nogil:
    rw_assert_wlocked(td, &obj.lock, b"the object is not write-locked")


# The page at pindex; NULL when none is resident.  Object R.  The first touches what is looked at; the second is for
# audits.
cdef vm_page* vm_page_lookup(thread* td, vm_object* obj, vm_pindex_t pindex) noexcept nogil
cdef vm_page* vm_radix_lookup(vm_object* obj, vm_pindex_t pindex) noexcept nogil
# The page with the largest index not above pindex; NULL when there is none.  Object R.
cdef vm_page* vm_radix_lookup_le(vm_object* obj, vm_pindex_t pindex) noexcept nogil
# Touch the index on the way to pindex.  Object R, or W to write.
cdef void touch_index(thread* td, vm_object* obj, vm_pindex_t pindex, bint write) noexcept nogil
# Object W.
cdef void vm_radix_insert(machine* m, vm_object* obj, vm_page* page) noexcept nogil
cdef void vm_radix_remove(thread* td, vm_object* obj, vm_pindex_t pindex) noexcept nogil
# Release the index of an empty object.  Object W.
cdef void vm_radix_free(thread* td, vm_object* obj) noexcept nogil
# Both: list and index.  mpred: the page before it in the object, or NULL.  Object W.
cdef void vm_page_insert_after(thread* td, vm_page* m, vm_object* obj, vm_pindex_t pindex,
                               vm_page* mpred) noexcept nogil
# The same behind the page before it, without a charge: for pages that were there all along.  Object R.
cdef void vm_page_make_resident(machine* m, vm_page* page, vm_object* obj, vm_pindex_t pindex) noexcept nogil
cdef void vm_page_object_remove(thread* td, vm_page* m) noexcept nogil
