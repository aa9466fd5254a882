# The arena.  See arena.pxd.
#
# Blocks are powers of two: what is not touched of a large one costs address space, not memory.

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* address, size_t length, int prot, int flags, int fd, int64_t offset)
    int munmap(void* address, size_t length)
    int madvise(void* address, size_t length, int advice)
    int PROT_NONE, PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS, MAP_NORESERVE, MADV_NOHUGEPAGE
    void* MAP_FAILED

cdef extern from *:
    int __builtin_clzll(unsigned long long x) noexcept nogil

cdef enum:
    SMALLEST = 6                        # a block is a cache line at least
    PAGE = 4096


cdef void* address_space(uint64_t size, bint usable) noexcept nogil:
    cdef void* at = mmap(NULL, size, PROT_READ | PROT_WRITE if usable else PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    if at == MAP_FAILED:
        return NULL
    madvise(at, size, MADV_NOHUGEPAGE)  # sparse: a huge page would hold what nobody touches
    return at


cdef void address_space_release(void* at, uint64_t size) noexcept nogil:
    if at != NULL:
        munmap(at, size)


cdef bint arena_create(arena* a, uint64_t size, uint64_t below) noexcept nogil:
    memset(a, 0, sizeof(arena))
    a.size = size
    a.bump = below
    a.base = <char*>address_space(size, True)
    return a.base != NULL


cdef void arena_destroy(arena* a) noexcept nogil:
    address_space_release(a.base, a.size)
    a.base = NULL


cdef inline int size_class(uint64_t size) noexcept nogil:
    return SMALLEST if size <= 1 << SMALLEST else 64 - __builtin_clzll(size - 1)


cdef void* arena_take(arena* a, uint64_t size) noexcept nogil:
    cdef int k = size_class(size)
    cdef uint64_t whole = <uint64_t>1 << k
    cdef uint64_t align = whole if whole < PAGE else PAGE
    cdef void* memory = a.free[k]
    if memory != NULL:
        a.free[k] = (<void**>memory)[0]
        memset(memory, 0, size)
        return memory
    a.bump = (a.bump + align - 1) & ~(align - 1)
    if a.bump + whole > a.size:
        return NULL
    memory = a.base + a.bump
    a.bump += whole
    return memory


cdef void arena_give(arena* a, void* memory, uint64_t size) noexcept nogil:
    cdef int k = size_class(size)
    (<void**>memory)[0] = a.free[k]
    a.free[k] = memory
