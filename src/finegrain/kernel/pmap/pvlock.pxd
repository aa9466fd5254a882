# The designs under study: from a physical address to its PV list lock, superpage PV list and invalidation
# generation.  All designs are the same three strided arrays with different bases, strides and index rules, so the
# operations of the pmap never ask which design they run on.
#
# The lock is known to the rest of the pmap by its verbs only: write lock, read lock, unlock, try, owned.  They switch
# on the design's lock kind, which is data; this file alone knows the kinds.

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport (
    lock_held, may_be_waited_for, mtx, mtx_id, mtx_lock, mtx_owned, mtx_trylock, mtx_unlock, profile_charge_waiters,
    rw_id, rw_rlock, rw_runlock, rw_try_wlock, rw_wlock, rw_wowned, rw_wunlock, rwlock)
from finegrain.kernel.phys cimport VM_PHYSSEG_MAX
from finegrain.kernel.types cimport PDRSHIFT, PG_FICTITIOUS, md_page, vm_paddr_t, vm_page
from finegrain.machine.seam cimport likely, panic, unlikely
from finegrain.machine.thread cimport lock_id, machine, thread

# Where a PV list lock is; what stands there depends on the design.
cdef struct pvlock:
    uint64_t word

# The kinds of PV list lock.  Mutexes admit no readers: a read lock of theirs is exclusive.
cdef enum pvlock_kind:
    PV_LOCK_RW = 0
    PV_LOCK_MTX

cdef enum pvlock_layout:
    PV_LAYOUT_HASHED = 0
    PV_LAYOUT_SUPERPAGE

# A design as finegrain.design.Design has it, which says what each field means.
cdef struct pvlock_design:
    uint8_t layout                      # pvlock_layout
    uint8_t kind                        # pvlock_kind
    uint32_t locks                      # hashed: this many (a power of two or not)
    bint padded                         # hashed: each lock on a cache line of its own
    bint batch                          # pmap_remove_pages frees chunks after it dropped the PV list lock

# The superpage design's struct: one 64-byte line for each 2 MB of physical memory.
cdef struct pmap_large_md_page:
    rwlock pv_lock                      # or a mtx, as large
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
    uint32_t hash_modulus               # index = superpage number % this, when hashed (0: index = superpage number)
    uint64_t hash_inverse               # 2**64 / hash_modulus, rounded up
    char* head_base                     # md_page of a superpage: head_base + superpage number * head_stride
    uint64_t head_stride
    uint64_t last_pa                    # memory ends here; no page lies beyond
    md_page* pv_dummy                   # the superpage list of pages that have none; always empty
    uint32_t nlocks
    uint8_t kind                        # pvlock_kind
    bint batch
    uint64_t bytes                      # memory that the design takes: locks, generations, heads
    uint64_t kva_bytes                  # address space that it reserves; more than bytes where the table is sparse
    uint32_t nfills                     # superpage design: the table's populated runs, ascending
    pvlock_fill fills[VM_PHYSSEG_MAX]

# Lay the design out in the arena, over the physical segments (phys_create comes first).
cdef int pvlock_create(machine* m, const pvlock_design* design) except -1


# a % modulus by two multiplications, where a division would take several times as long and is needed at every mapping:
# Lemire, Kaser and Kurz, "Faster remainder by direct computation", 2019; exact for all 32-bit numbers.
cdef extern from *:
    """
    static inline uint32_t remainder_by(uint32_t a, uint32_t modulus, uint64_t inverse) {
      return (uint32_t)(((unsigned __int128)(inverse * a) * modulus) >> 64);
    }
    """
    uint32_t remainder_by(uint32_t a, uint32_t modulus, uint64_t inverse) noexcept nogil


cdef inline uint64_t pv_lock_index(pvlock_state* s, vm_paddr_t pa) noexcept nogil:
    cdef uint32_t superpage = <uint32_t>(pa >> PDRSHIFT)
    if s.hash_modulus != 0:
        return remainder_by(superpage, s.hash_modulus, s.hash_inverse)
    return superpage


cdef inline pvlock* PHYS_TO_PV_LIST_LOCK(thread* td, vm_paddr_t pa) noexcept nogil:
    cdef pvlock_state* s = <pvlock_state*>td.machine.pvlock
    return <pvlock*>(s.lock_base + pv_lock_index(s, pa) * s.lock_stride)


cdef inline uint64_t* pv_invl_gen(thread* td, vm_paddr_t pa) noexcept nogil:
    cdef pvlock_state* s = <pvlock_state*>td.machine.pvlock
    return <uint64_t*>(s.gen_base + pv_lock_index(s, pa) * s.gen_stride)


# Which addresses the lock of an index covers: bytes first up to, not including, end; with a period, also those that
# many bytes further on, and again, up to the end of memory (0: that range alone).
cdef inline void pv_lock_covers(pvlock_state* s, uint64_t index, vm_paddr_t* first, vm_paddr_t* end,
                                vm_paddr_t* period) noexcept nogil:
    first[0] = index << PDRSHIFT
    end[0] = (index + 1) << PDRSHIFT
    period[0] = <vm_paddr_t>s.hash_modulus << PDRSHIFT


# The PV list head of the superpage.
cdef inline md_page* pa_to_pvh(thread* td, vm_paddr_t pa) noexcept nogil:
    cdef pvlock_state* s = <pvlock_state*>td.machine.pvlock
    return <md_page*>(s.head_base + (pa >> PDRSHIFT) * s.head_stride)


# The superpage list that a page's mappings may be on; always empty for a fictitious page.
cdef inline md_page* page_to_pvh(thread* td, vm_page* m) noexcept nogil:
    if unlikely(m.flags & PG_FICTITIOUS):
        return (<pvlock_state*>td.machine.pvlock).pv_dummy
    return pa_to_pvh(td, m.phys_addr)


# --- verbs

cdef inline lock_id pv_lock_id(pvlock_state* s, pvlock* lock) noexcept nogil:
    if likely(s.kind == PV_LOCK_RW):
        return rw_id(<rwlock*>lock)
    return mtx_id(<mtx*>lock)


# Take the PV list lock of a page for write.
#
# Locks in:   no PV list lock, nor what is ordered after one (chunk list and free page locks).
# Locks out:  the lock, for write; the superpage of pa is the one worked on.
# May block:  on the lock.
# Stands for: FreeBSD rw_wlock() on a PV list lock.
cdef inline void pv_list_wlock(thread* td, pvlock* lock, vm_paddr_t pa, uint16_t site) noexcept nogil:
    td.superpage = <uint32_t>(pa >> PDRSHIFT)
    if likely((<pvlock_state*>td.machine.pvlock).kind == PV_LOCK_RW):
        rw_wlock(td, <rwlock*>lock, site)
    else:
        mtx_lock(td, <mtx*>lock, site)


# Take the PV list lock of a page for write if it is free.
#
# Locks in:   any but this one.
# Locks out:  the lock for write, when the answer is True.
# May block:  never.
# Stands for: FreeBSD rw_try_wlock() on a PV list lock.
cdef inline bint pv_list_try_wlock(thread* td, pvlock* lock, vm_paddr_t pa, uint16_t site) noexcept nogil:
    cdef uint32_t before = td.superpage
    cdef bint got
    td.superpage = <uint32_t>(pa >> PDRSHIFT)
    if likely((<pvlock_state*>td.machine.pvlock).kind == PV_LOCK_RW):
        got = rw_try_wlock(td, <rwlock*>lock, site)
    else:
        got = mtx_trylock(td, <mtx*>lock, site)
    if not got:
        td.superpage = before
    return got


# Locks in:   the lock, for write.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD rw_wunlock() on a PV list lock.
cdef inline void pv_list_wunlock(thread* td, pvlock* lock) noexcept nogil:
    if likely((<pvlock_state*>td.machine.pvlock).kind == PV_LOCK_RW):
        rw_wunlock(td, <rwlock*>lock)
    else:
        mtx_unlock(td, <mtx*>lock)


# Take the PV list lock of a page for read, or exclusively where the kind admits no readers.
#
# Locks in:   no PV list lock.
# Locks out:  the lock, for read.
# May block:  on the lock.
# Stands for: FreeBSD rw_rlock() on a PV list lock.
cdef inline void pv_list_rlock(thread* td, pvlock* lock, vm_paddr_t pa, uint16_t site) noexcept nogil:
    td.superpage = <uint32_t>(pa >> PDRSHIFT)
    if likely((<pvlock_state*>td.machine.pvlock).kind == PV_LOCK_RW):
        rw_rlock(td, <rwlock*>lock, site)
    else:
        mtx_lock(td, <mtx*>lock, site)


# Locks in:   the lock, for read.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD rw_runlock() on a PV list lock.
cdef inline void pv_list_runlock(thread* td, pvlock* lock) noexcept nogil:
    if likely((<pvlock_state*>td.machine.pvlock).kind == PV_LOCK_RW):
        rw_runlock(td, <rwlock*>lock)
    else:
        mtx_unlock(td, <mtx*>lock)


# Does this thread hold the lock for write?
#
# Locks in: any.  Locks out: the same.  May block: never.  Stands for: FreeBSD rw_wowned().
cdef inline bint pv_list_wowned(thread* td, pvlock* lock) noexcept nogil:
    if likely((<pvlock_state*>td.machine.pvlock).kind == PV_LOCK_RW):
        return rw_wowned(td, <rwlock*>lock)
    return mtx_owned(td, <mtx*>lock)


# The lists of the page at pa and of its superpage may be changed.
#
# Locks in: the PV list lock of pa, for write.  Locks out: the same.  May block: never.
# Stands for: FreeBSD rw_assert(lock, RA_WLOCKED).
cdef inline void PV_LIST_LOCK_ASSERT(thread* td, vm_paddr_t pa) noexcept nogil:
    if unlikely(not pv_list_wowned(td, PHYS_TO_PV_LIST_LOCK(td, pa))):
        panic(td, b"a PV list is changed whose lock is not held for write")


# The lists that the lock covers may be read.
#
# Locks in: the PV list lock, for read or for write.  Locks out: the same.  May block: never.
# Stands for: FreeBSD rw_assert(lock, RA_LOCKED).
cdef inline void PV_LIST_READ_ASSERT(thread* td, pvlock* lock) noexcept nogil:
    if unlikely(not (pv_list_wowned(td, lock) or lock_held(td, lock))):
        panic(td, b"a PV list is read whose lock is not held")


# --- carried PV list locks: *lockp is the lock held for write, or NULL

# Locks in: *lockp is NULL or a PV list lock held for write.  Locks out: the same.  May block: never.
# Stands for: the assertion that FreeBSD makes nowhere: what lockp says is so.
cdef inline void PV_LIST_CARRIED_ASSERT(thread* td, pvlock** lockp) noexcept nogil:
    if unlikely(lockp[0] != NULL and not pv_list_wowned(td, lockp[0])):
        panic(td, b"a carried PV list lock is not held for write")


# Hold the lock of pa for write.  The lock in *lockp is kept when it is the one wanted, else dropped first: never two
# at once.  The superpage worked on changes in between, so that each wait is charged against the right one.
#
# Locks in:   *lockp is NULL or a PV list lock held for write.
# Locks out:  *lockp is the lock of pa, held for write.
# May block:  on that lock.
# Stands for: FreeBSD CHANGE_PV_LIST_LOCK_TO_PHYS().
cdef inline void CHANGE_PV_LIST_LOCK_TO_PHYS(thread* td, pvlock** lockp, vm_paddr_t pa, uint16_t site) noexcept nogil:
    cdef pvlock* wanted = PHYS_TO_PV_LIST_LOCK(td, pa)
    cdef uint32_t superpage = <uint32_t>(pa >> PDRSHIFT)
    cdef lock_id id
    PV_LIST_CARRIED_ASSERT(td, lockp)
    if wanted == lockp[0]:
        if superpage != td.superpage:
            if unlikely(may_be_waited_for(td, wanted)):
                id = pv_lock_id(<pvlock_state*>td.machine.pvlock, wanted)
                profile_charge_waiters(td, &id, site, td.superpage)
            td.superpage = superpage
        return
    if lockp[0] != NULL:
        pv_list_wunlock(td, lockp[0])
    lockp[0] = wanted
    pv_list_wlock(td, wanted, pa, site)


# Locks in:   *lockp is NULL or a PV list lock held for write.
# Locks out:  none of it; *lockp is NULL.
# May block:  never; spins on the chain.
# Stands for: FreeBSD RELEASE_PV_LIST_LOCK().
cdef inline void RELEASE_PV_LIST_LOCK(thread* td, pvlock** lockp) noexcept nogil:
    if lockp[0] != NULL:
        pv_list_wunlock(td, lockp[0])
        lockp[0] = NULL
