# File images.
#
# A bulk build copies its file system into a tmpfs for each builder, and several builders do so at the same time.
# Their pages come one by one from the caches of the CPUs that the copying runs on, because a file has no color, and
# so no reservation, before it is first mapped.  A CPU's cache is filled with 253 pages at a time.  So the pages of a
# file lie in runs of at most that length between pages of the same file of other builders, and a superpage holds
# pieces of two or three of them.  Here each builder's first thread fills that builder's image, all at once, and where
# the pages come to lie is the allocator's doing.
#
# Pages that no step of the program can reach (most of a large library) are never looked at again, but they take up
# room between the others.  To spare the host a vm_page for each of them, they are taken from the free memory in
# blocks, which belong to no object.

from libc.stdint cimport int64_t, uint16_t, uint64_t

from finegrain.kernel.locks cimport lock_site, rw_wlock, rw_wunlock
from finegrain.kernel.phys cimport (
    FREE_LOCK_ALLOC, FREE_LOCK_FREE, VM_ALLOC_NOBUSY, VM_ALLOC_NORMAL, VM_FREEPOOL_DEFAULT, phys_of, phys_state,
    vm_domain, vm_domain_allocate, vm_domain_free_lock, vm_domain_free_unlock, vm_domain_freecnt_inc, vm_page_alloc,
    vm_phys_alloc_pages, vm_phys_free_pages)
from finegrain.kernel.types cimport OBJT_SWAP, vm_object, vm_page
from finegrain.kernel.vm cimport vm_object_allocate, vm_object_deallocate
from finegrain.machine.seam cimport arena_alloc, arena_free, charge, domain as domain_of, panic, unlikely, user
from finegrain.machine.thread cimport thread
from finegrain.replay.random cimport next_random

cdef uint16_t SITE_FILL = lock_site(b"uiomove_object_page")

cdef enum:
    WRITE_PAGES = 16                    # a write() of 64 KB
    WRITE_USER_PS = 8000000             # user time between two, on average [A]


# Take a block of memory for pages that nobody reaches.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on the free page queue mutex.
# Returns:    the order of the block, `order` or less; -1 when memory is exhausted.
# Stands for: nothing in FreeBSD: 2**order pages of a file that no step of the program needs.
cdef int hole_add(thread* td, image* im, int order) noexcept nogil:
    cdef phys_state* s = phys_of(td)
    cdef int domain = <int>(domain_of(td) % s.ndomains)
    cdef vm_domain* d = &s.domains[domain]
    cdef vm_page* m
    cdef image_hole* hole
    if not vm_domain_allocate(td, d, <int64_t>1 << order):
        return -1
    vm_domain_free_lock(td, d, FREE_LOCK_ALLOC)
    m = vm_phys_alloc_pages(td, s, domain, VM_FREEPOOL_DEFAULT, order)
    vm_domain_free_unlock(td, d)
    if m == NULL:
        vm_domain_freecnt_inc(td, d, <int64_t>1 << order)
        return hole_add(td, im, order - 1) if order > 0 else -1
    hole = <image_hole*>arena_alloc(td.machine, sizeof(image_hole))
    hole.block = m
    hole.order = order
    hole.domain = domain
    hole.next = im.holes
    im.holes = hole
    return order


cdef void out_of_memory(thread* td) noexcept nogil:
    panic(td, b"the file images do not fit in physical memory; give the machine more, or run fewer builders")


# Write runs number first up to, not including, last.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on object locks and, holding one, the free page locks.  User time passes in between.
# Stands for: FreeBSD tmpfs_write(), uiomove_object(): the part of it that decides where pages come to lie.
cdef void image_fill(thread* td, image* im, const int64_t* sizes, const fill_run* runs, int64_t first, int64_t last,
                     uint64_t seed) noexcept nogil:
    cdef uint64_t state = seed
    cdef const fill_run* run
    cdef vm_object* obj
    cdef vm_page* m
    cdef int64_t i, page, end, stop
    cdef int order
    user(td, <int64_t>(next_random(&state) % (<uint64_t>512 * WRITE_USER_PS)))
    for i in range(first, last):
        run = &runs[i]
        obj = im.files[run.file]
        if obj == NULL:
            obj = im.files[run.file] = vm_object_allocate(td, OBJT_SWAP, <uint64_t>sizes[run.file])
            obj.file = run.file
            obj.builder = im.builder
        page = run.page
        end = run.page + run.pages
        while page < end:
            if not run.reached:
                order = HOLE_ORDER
                while (<int64_t>1 << order) > end - page:
                    order -= 1
                order = hole_add(td, im, order)
                if unlikely(order < 0):
                    out_of_memory(td)
                page += <int64_t>1 << order
                continue
            stop = page + WRITE_PAGES if page + WRITE_PAGES < end else end
            rw_wlock(td, &obj.lock, SITE_FILL)
            while page < stop:
                m = vm_page_alloc(td, obj, <uint64_t>page, VM_ALLOC_NORMAL | VM_ALLOC_NOBUSY)
                if unlikely(m == NULL):
                    out_of_memory(td)
                m.valid = 0xff
                m.dirty = 0xff
                page += 1
            rw_wunlock(td, &obj.lock)
            charge(td, td.machine.cost.copy_4k, WRITE_PAGES)
            user(td, <int64_t>(next_random(&state) % (<uint64_t>2 * WRITE_USER_PS)))


# Give an image back.
#
# Locks in:   none; no map refers to the files.
# Locks out:  none.
# May block:  on object locks and the free page locks.  Sleeps, as vm_object_deallocate() does.
# Stands for: FreeBSD's unmounting of a tmpfs.
cdef void image_free(thread* td, image* im) noexcept nogil:
    cdef phys_state* s = phys_of(td)
    cdef vm_domain* d
    cdef image_hole* hole
    cdef int64_t i
    for i in range(im.nfiles):
        if im.files[i] != NULL:
            im.files[i].file = -1
            vm_object_deallocate(td, im.files[i])
            im.files[i] = NULL
    while im.holes != NULL:
        hole = im.holes
        im.holes = hole.next
        d = &s.domains[hole.domain]
        vm_domain_free_lock(td, d, FREE_LOCK_FREE)
        vm_phys_free_pages(td, s, hole.block, hole.order, VM_FREEPOOL_DEFAULT)
        vm_domain_free_unlock(td, d)
        vm_domain_freecnt_inc(td, d, <int64_t>1 << hole.order)
        arena_free(td.machine, hole, sizeof(image_hole))
