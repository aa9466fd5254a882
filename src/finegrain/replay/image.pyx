# File images.
#
# A bulk build copies its file system into a tmpfs for each builder, and several builders do so at the same time.
# Their pages come one by one from the caches of the CPUs that the copying runs on, because a file has no color, and
# so no reservation, before it is first mapped.  A CPU's cache is filled with 253 pages at a time.  So the pages of a
# file lie in runs of at most that length between pages of the same file of other builders, and a superpage holds
# pieces of two or three of them.  Here each builder's first thread fills that builder's image, all at once, and where
# the pages come to lie is the allocator's doing.
#
# Most of these pages are never looked at again, but they take up room between the others.  To spare the host a vm_page
# for each of them, it is filled in when the page is first looked up (kernel/phys/deferred.pxd).

from libc.stdint cimport int64_t, uint16_t, uint64_t

from finegrain.kernel.locks cimport lock_site, rw_wlock, rw_wunlock
from finegrain.kernel.phys cimport vm_page_alloc_deferred
from finegrain.kernel.types cimport OBJT_SWAP, PAGE_LINES, vm_object
from finegrain.kernel.vm cimport vm_object_allocate, vm_object_deallocate
from finegrain.machine.seam cimport charge_lines, panic, unlikely, user
from finegrain.machine.thread cimport thread
from finegrain.replay.random cimport next_random

cdef uint16_t SITE_FILL = lock_site(b"uiomove_object_page")

cdef enum:
    WRITE_PAGES = 16                    # a write() of 64 KB
    WRITE_USER_PS = 8000000             # user time between two, on average [A]


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
    cdef int64_t i, page, end, stop
    if first == last:
        return
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
            stop = page + WRITE_PAGES if page + WRITE_PAGES < end else end
            rw_wlock(td, &obj.lock, SITE_FILL)
            while page < stop:
                if unlikely(not vm_page_alloc_deferred(td, obj, <uint64_t>page)):
                    out_of_memory(td)
                page += 1
            rw_wunlock(td, &obj.lock)
            charge_lines(td, td.machine.cost.copy_4k * WRITE_PAGES, 2 * WRITE_PAGES * PAGE_LINES)
            user(td, <int64_t>(next_random(&state) % (<uint64_t>2 * WRITE_USER_PS)))


# Give an image back.
#
# Locks in:   none; no map refers to the files.
# Locks out:  none.
# May block:  on object locks and the free page locks.  Sleeps, as vm_object_deallocate() does.
# Stands for: FreeBSD's unmounting of a tmpfs.
cdef void image_free(thread* td, image* im) noexcept nogil:
    cdef int64_t i
    for i in range(im.nfiles):
        if im.files[i] != NULL:
            im.files[i].file = -1
            vm_object_deallocate(td, im.files[i])
            im.files[i] = NULL
