# The designs under study: from a physical address to its PV list lock, superpage PV list and invalidation
# generation.  All designs are the same three strided arrays with different bases, strides and index rules, so the
# operations of the pmap never ask which design they run on.

from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport profile_charge_waiters, rw_rlock, rw_wlock, rw_wunlock, rwlock
from finegrain.kernel.phys cimport VM_PHYSSEG_MAX
from finegrain.kernel.types cimport PDRSHIFT, PG_FICTITIOUS, md_page, vm_paddr_t, vm_page
from finegrain.machine.seam cimport machine, thread, unlikely

ctypedef rwlock pvlock                  # the lock kind; mtx8 and bit2 will be chosen here

cdef struct pvlock_design:              # what compare() asks for
    uint32_t hashed_locks               # 0: one per superpage; else this many hashed ones (a power of two or not)
    bint padded                         # hashed: each lock on a cache line of its own
    bint batch                          # pmap_remove_pages frees chunks after it dropped the PV list lock

# The superpage design's struct: one 64-byte line for each 2 MB of physical memory.
cdef struct pmap_large_md_page:
    rwlock pv_lock
    md_page pv_page                     # the superpage's PV list
    uint64_t pv_invl_gen

# A run of the sparse table that has memory behind it: which entries, and whose memory.
cdef struct pvlock_fill:
    uint64_t start                      # first superpage number
    uint64_t entries
    uint64_t bytes                      # whole pages
    uint32_t domain

# machine.pvlock points here; all constant after pvlock_create.
cdef struct pvlock_state:
    char* lock_base                     # lock of index i: lock_base + i * lock_stride
    uint64_t lock_stride
    char* gen_base                      # pv_invl_gen (u64) likewise
    uint64_t gen_stride
    uint64_t hash_modulus               # index = superpage number % this, when hashed (0: index = superpage number)
    char* head_base                     # md_page of a superpage: head_base + superpage number * head_stride
    uint64_t head_stride
    uint64_t last_pa                    # memory ends here; no page lies beyond
    md_page* pv_dummy                   # the superpage list of pages that have none; always empty
    uint32_t nlocks
    bint batch
    uint64_t bytes                      # memory that the design takes: locks, generations, heads
    uint64_t kva_bytes                  # address space that it reserves; more than bytes where the table is sparse
    uint32_t nfills                     # superpage design: the table's populated runs, ascending
    pvlock_fill fills[VM_PHYSSEG_MAX]

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


# Which addresses the lock of an index covers: bytes first up to, not including, end; with a period, also those that many
# bytes further on, and again, up to the end of memory (0: that range alone).
cdef inline void pv_lock_covers(pvlock_state* s, uint64_t index, vm_paddr_t* first, vm_paddr_t* end,
                                vm_paddr_t* period) noexcept nogil:
    first[0] = index << PDRSHIFT
    end[0] = (index + 1) << PDRSHIFT
    period[0] = s.hash_modulus << PDRSHIFT


# The PV list head of the superpage.
cdef inline md_page* pa_to_pvh(thread* td, vm_paddr_t pa) noexcept nogil:
    cdef pvlock_state* s = <pvlock_state*>td.machine.pvlock
    return <md_page*>(s.head_base + (pa >> PDRSHIFT) * s.head_stride)


# The superpage list that a page's mappings may be on; always empty for a fictitious page.
cdef inline md_page* page_to_pvh(thread* td, vm_page* m) noexcept nogil:
    if unlikely(m.flags & PG_FICTITIOUS):
        return (<pvlock_state*>td.machine.pvlock).pv_dummy
    return pa_to_pvh(td, m.phys_addr)


# Carried PV list locks.  *lockp is the lock held for write, or NULL.

# Hold the lock of pa for write.  The lock in *lockp is kept when it is the one wanted, else dropped first: never two
# at once.  The superpage worked on changes in between, so that each wait is charged against the right one.
cdef inline void CHANGE_PV_LIST_LOCK_TO_PHYS(thread* td, pvlock** lockp, vm_paddr_t pa, uint16_t site) noexcept nogil:
    cdef pvlock* wanted = PHYS_TO_PV_LIST_LOCK(td, pa)
    cdef uint32_t superpage = <uint32_t>(pa >> PDRSHIFT)
    if wanted == lockp[0]:
        if superpage != td.superpage:
            if unlikely(wanted.lock_object.lo_waiters != NULL):
                profile_charge_waiters(td, &wanted.lock_object, site, td.superpage)
            td.superpage = superpage
        return
    if lockp[0] != NULL:
        rw_wunlock(td, lockp[0])
    td.superpage = superpage
    lockp[0] = wanted
    rw_wlock(td, wanted, site)


cdef inline void RELEASE_PV_LIST_LOCK(thread* td, pvlock** lockp) noexcept nogil:
    if lockp[0] != NULL:
        rw_wunlock(td, lockp[0])
        lockp[0] = NULL


# Take the (fixed) PV list lock of a page, for operations that start from the page.
cdef inline void pv_list_wlock(thread* td, pvlock* lock, vm_paddr_t pa, uint16_t site) noexcept nogil:
    td.superpage = <uint32_t>(pa >> PDRSHIFT)
    rw_wlock(td, lock, site)


cdef inline void pv_list_rlock(thread* td, pvlock* lock, vm_paddr_t pa, uint16_t site) noexcept nogil:
    td.superpage = <uint32_t>(pa >> PDRSHIFT)
    rw_rlock(td, lock, site)
