# The arena: all kernel memory of a machine, reserved at its start; what is not touched takes address space, not memory.

from libc.stdint cimport uint64_t

cdef enum:
    SIZE_CLASSES = 48

cdef struct arena:
    char* base
    uint64_t size
    uint64_t bump                       # offset of the first byte never handed out
    void* free[SIZE_CLASSES]            # free blocks by power of two, linked through their first word

# Address space that nothing stands behind until it is touched; NULL: there is none.
cdef void* address_space(uint64_t size, bint usable) noexcept nogil
cdef void address_space_release(void* at, uint64_t size) noexcept nogil

# An arena of this size, whose first `below` bytes are not handed out (the direct map).  False: no address space.
cdef bint arena_create(arena* a, uint64_t size, uint64_t below) noexcept nogil
cdef void arena_destroy(arena* a) noexcept nogil
# Zeroed memory, aligned to its size rounded up to a power of two (a page at most); NULL when the arena is exhausted.
cdef void* arena_take(arena* a, uint64_t size) noexcept nogil
cdef void arena_give(arena* a, void* memory, uint64_t size) noexcept nogil
