# File images: the files that the builders map, resident in memory.

from libc.stdint cimport int32_t, int64_t, uint64_t

from finegrain.kernel.types cimport vm_object
from finegrain.machine.thread cimport thread

# A run of pages of a file, in the order in which an image is filled.
cdef struct fill_run:
    int32_t file
    int64_t page
    int64_t pages

cdef struct image:
    int32_t builder                     # whose; -1: shared by all
    int64_t nfiles
    vm_object** files                   # NULL: no such file, or nothing of it is ever mapped

# Fill a part of an image as a builder's first process would: by writing its files.
cdef void image_fill(thread* td, image* im, const int64_t* sizes, const fill_run* runs, int64_t first, int64_t last,
                     uint64_t seed) noexcept nogil
# Nobody maps the files any more: give everything back.
cdef void image_free(thread* td, image* im) noexcept nogil
