# Free memory as a machine has it that has been in use.
#
# After boot free memory is whole: a CPU's cache is filled with 253 pages in a row, and what a process gets page by page
# lies side by side.  Processes give their pages back in another order than they took them, to the caches of the CPUs
# that they end on, and a full cache gives 253 of them to the free lists as single pages, which the next empty cache
# takes first.  So the free pages of a machine in use are in no order, and neighbours in an address space come from many
# superpages: pmap_remove_pages() and pmap_copy() change PV list locks from page to page where at first they kept one.
#
# A replay that begins with whole memory gets there by itself, but not soon: the PV list locks taken a fault grow by a
# quarter within 0.3 simulated seconds and then by some 2% each time the span doubles (docs/statistics.md).  A build
# takes an hour and a half, so the end of that is what is wanted: free memory in random order, as much of it as the
# builders' processes and the caches hold.  The pages that belong to no object (page tables, pv chunks) are left alone:
# they have no PV lists.

from libc.stdint cimport int64_t, uint16_t, uint64_t

from finegrain.kernel.locks cimport lock_site, rw_wlock, rw_wunlock
from finegrain.kernel.phys cimport VM_ALLOC_NOBUSY, VM_ALLOC_NORMAL, vm_page_alloc, vm_page_free
from finegrain.kernel.types cimport OBJT_SWAP, vm_object, vm_page
from finegrain.kernel.vm cimport vm_object_allocate, vm_object_deallocate
from finegrain.machine.seam cimport arena_alloc, arena_free
from finegrain.machine.thread cimport thread
from finegrain.replay.random cimport next_random

cdef uint16_t SITE_AGE = lock_site(b"replay/age")


# Mix npages of free memory, fewer if there are not so many: take them, and give them back in random order.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on the free page locks.  Sleeps, as vm_object_deallocate() does.
# Stands for: nothing in FreeBSD: what processes that ended before the replay have done to free memory.
cdef void memory_age(thread* td, int64_t npages, uint64_t seed) noexcept nogil:
    cdef uint64_t state = seed
    cdef vm_object* obj
    cdef vm_page** pages
    cdef vm_page* m
    cdef int64_t taken = 0, i, j
    if npages <= 0:
        return
    # an object without a color has no reservations: its pages come singly
    obj = vm_object_allocate(td, OBJT_SWAP, <uint64_t>npages)
    pages = <vm_page**>arena_alloc(td.machine, <uint64_t>npages * sizeof(vm_page*))
    rw_wlock(td, &obj.lock, SITE_AGE)
    while taken < npages:
        m = vm_page_alloc(td, obj, <uint64_t>taken, VM_ALLOC_NORMAL | VM_ALLOC_NOBUSY)
        if m == NULL:
            break
        pages[taken] = m
        taken += 1
    for i in range(taken - 1, -1, -1):
        j = <int64_t>(next_random(&state) % <uint64_t>(i + 1))
        m = pages[j]
        pages[j] = pages[i]
        vm_page_free(td, m)
    rw_wunlock(td, &obj.lock)
    arena_free(td.machine, pages, <uint64_t>npages * sizeof(vm_page*))
    vm_object_deallocate(td, obj)
