# Pages of an object that nobody has looked at yet.
#
# The files of a thousand builders are thirty million pages, of which a run looks at a few million.  Such a page has its
# place in physical memory, taken from the same caches in the same order as all others, but neither its page struct nor
# the object's index is filled in before somebody looks it up: until then a run of neighbours is one record.  Whatever
# walks an object's pages must look each up by its index first, or call vm_object_undefer().

from libc.stdint cimport uint64_t

from finegrain.kernel.types cimport vm_object, vm_page, vm_pindex_t
from finegrain.machine.thread cimport thread

# Allocate a page for a place of the object behind all that it has so far; its contents are valid and dirty.  True: it
# is deferred or resident; False: no domain has a free page.  Object W; blocks on the free page locks.
cdef bint vm_page_alloc_deferred(thread* td, vm_object* obj, vm_pindex_t pindex) noexcept nogil
# All pages of the object are to be resident.
cdef void vm_object_undefer(vm_object* obj) noexcept nogil
# How many pages from `first` up to, not including, `end` are the object's and deferred.  The machine has stopped.
cdef uint64_t deferred_within(vm_object* obj, vm_page* first, vm_page* end) noexcept nogil
