# The designs under study: from a physical address to its PV list lock, superpage PV list and invalidation
# generation.  All designs are the same three strided arrays with different bases, strides and index rules, so the
# operations of the pmap never ask which design they run on.

from libc.stdint cimport uint32_t, uint64_t

from finegrain.kernel.locks cimport rwlock
from finegrain.kernel.types cimport PDRSHIFT, md_page, vm_paddr_t
from finegrain.machine.machine cimport machine, thread

ctypedef rwlock pvlock                  # the lock kind; mtx8 and bit2 will be chosen here

cdef struct pvlock_design:              # what compare() asks for
    uint32_t hashed_locks               # 0: one per superpage; else this many hashed ones (a power of two or not)
    bint padded                         # hashed: each lock on a cache line of its own
    bint batch                          # pmap_remove_pages frees chunks after it dropped the PV list lock

# machine.pvlock points here; all constant after pvlock_create.
cdef struct pvlock_state:
    char* lock_base                     # lock of index i: lock_base + i * lock_stride
    uint64_t lock_stride
    char* gen_base                      # pv_invl_gen (u64) likewise
    uint64_t gen_stride
    uint64_t hash_modulus               # index = superpage number % this, when hashed (0: index = superpage number)
    char* head_base                     # md_page of a superpage: head_base + superpage number * head_stride
    uint64_t head_stride
    uint64_t last_pa                    # beyond: the dummies
    md_page* pv_dummy                   # the superpage list of pages that have none; always empty
    uint32_t nlocks
    bint batch
    uint64_t bytes                      # memory that the design takes: locks, generations, heads

# Lay the design out in the arena, over the physical segments (phys_create comes first).
cdef int pvlock_create(machine* m, const pvlock_design* design) except -1


cdef inline uint64_t pv_lock_index(pvlock_state* s, vm_paddr_t pa) noexcept nogil:
    cdef uint64_t superpage = pa >> PDRSHIFT
    if s.hash_modulus != 0:
        return superpage % s.hash_modulus
    return superpage


cdef inline pvlock* PHYS_TO_PV_LIST_LOCK(thread* td, vm_paddr_t pa) noexcept nogil:
    cdef pvlock_state* s = <pvlock_state*>td.machine.pvlock
    return <pvlock*>(s.lock_base + pv_lock_index(s, pa) * s.lock_stride)


cdef inline uint64_t* pv_invl_gen(thread* td, vm_paddr_t pa) noexcept nogil:
    cdef pvlock_state* s = <pvlock_state*>td.machine.pvlock
    return <uint64_t*>(s.gen_base + pv_lock_index(s, pa) * s.gen_stride)


# The PV list head of the superpage (FreeBSD pa_to_pvh).
cdef inline md_page* pa_to_pvh(thread* td, vm_paddr_t pa) noexcept nogil:
    cdef pvlock_state* s = <pvlock_state*>td.machine.pvlock
    return <md_page*>(s.head_base + (pa >> PDRSHIFT) * s.head_stride)
