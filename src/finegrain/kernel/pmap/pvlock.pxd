# The designs under study: from a physical address to its PV list lock, superpage PV list and invalidation
# generation.  What a superpage has is found by its number, in an array or through an array of pointers; hashed locks
# and their generations lie in arrays of their own.  Where all that lies is data (pvtable), so the operations of the
# pmap never ask which design they run on.
#
# The lock is known to the rest of the pmap by its verbs only: write lock, read lock, unlock, try, owned.  They switch
# on the design's lock kind, which is data; this file alone knows the kinds.

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport (
    bit2_set_value, lock_held, may_be_waited_for, profile_charge_waiters, rw_id, rw_rlock, rw_runlock, rw_try_wlock,
    rw_wlock, rw_wowned, rw_wunlock, rwlock)
from finegrain.kernel.pmap.pvtable cimport PV_LOCK_RW, pvlock_design, pvtable_plan
from finegrain.kernel.types cimport PDRSHIFT, PG_FICTITIOUS, md_page, vm_paddr_t, vm_page
from finegrain.machine.seam cimport atomic_load_acq, likely, panic, touch_read, unlikely
from finegrain.machine.thread cimport lock_id, machine, thread

# Where a PV list lock is; what stands there depends on the design.
cdef struct pvlock:
    uint64_t word

# machine.pvlock points here; all constant after pvlock_create.
cdef struct pvlock_state:
    char* lock_base                     # hashed: lock of index i: lock_base + i * lock_stride
    uint64_t lock_stride
    char* gen_base                      # hashed: generation (u64) of index i: gen_base + i * 8
    uint32_t hash_modulus               # hashed: index = superpage number % this (0: not hashed)
    uint64_t hash_inverse               # 2**64 / hash_modulus, rounded up
    uint64_t superpages                 # superpages have smaller numbers; this is the number of the dummy
    uint64_t* memory                    # a bit for each superpage: it holds memory, or has a struct all the same
    char** pointers                     # to each superpage's struct, the dummy's too; NULL: they are in a table
    char* table                         # struct of superpage n: table + n * struct_stride; hashed: list heads
    uint64_t struct_stride
    uint64_t lock_offset                # in the struct, where locks are not hashed
    uint64_t head_offset
    uint64_t gen_offset
    int gen_shift                       # the generation is the word without so many bits
    uint32_t nlocks                     # of them, the dummy's among them
    uint8_t kind                        # pvlock_kind
    bint batch
    uint16_t name                       # of the locks, and of the dummy's
    uint16_t dummy_name
    pvtable_plan plan

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


# The number of the superpage, or the dummy's where no memory is: a device's, or past the end.
cdef inline uint64_t pv_superpage(pvlock_state* s, vm_paddr_t pa) noexcept nogil:
    cdef uint64_t superpage = pa >> PDRSHIFT
    if unlikely(superpage >= s.superpages or not (s.memory[superpage >> 6] >> (superpage & 63)) & 1):
        return s.superpages
    return superpage


cdef inline char* pv_struct(pvlock_state* s, vm_paddr_t pa) noexcept nogil:
    cdef uint64_t superpage = pv_superpage(s, pa)
    if unlikely(s.pointers != NULL):
        return s.pointers[superpage]
    return s.table + superpage * s.struct_stride


# The number of the lock: hashed, or the superpage's.
cdef inline uint64_t pv_lock_index(pvlock_state* s, vm_paddr_t pa) noexcept nogil:
    if s.hash_modulus != 0:
        return remainder_by(<uint32_t>(pa >> PDRSHIFT), s.hash_modulus, s.hash_inverse)
    return pv_superpage(s, pa)


cdef inline pvlock* pv_lock_at(pvlock_state* s, vm_paddr_t pa) noexcept nogil:
    if s.hash_modulus != 0:
        return <pvlock*>(s.lock_base + pv_lock_index(s, pa) * s.lock_stride)
    return <pvlock*>(pv_struct(s, pa) + s.lock_offset)


cdef inline md_page* pv_head_at(pvlock_state* s, vm_paddr_t pa) noexcept nogil:
    return <md_page*>(pv_struct(s, pa) + s.head_offset)


# The word of the invalidation generation: pv_invl_gen_of() reads it, pv_invl_gen_set() writes it.
cdef inline uint64_t* pv_invl_gen_at(pvlock_state* s, vm_paddr_t pa) noexcept nogil:
    if s.hash_modulus != 0:
        return <uint64_t*>s.gen_base + pv_lock_index(s, pa)
    return <uint64_t*>(pv_struct(s, pa) + s.gen_offset)


# Locks in: any.  Locks out: the same.  May block: never.  Stands for: reading *PHYS_TO_INVL_GEN() in FreeBSD.
cdef inline uint64_t pv_invl_gen_of(pvlock_state* s, uint64_t* word) noexcept nogil:
    return atomic_load_acq(word) >> s.gen_shift


# Which addresses the lock of an index covers: bytes first up to, not including, end; with a period, also those that
# many bytes further on, and again, up to the end of memory (0: that range alone).
cdef inline void pv_lock_covers(pvlock_state* s, uint64_t index, vm_paddr_t* first, vm_paddr_t* end,
                                vm_paddr_t* period) noexcept nogil:
    first[0] = index << PDRSHIFT
    end[0] = (index + 1) << PDRSHIFT
    period[0] = <vm_paddr_t>s.hash_modulus << PDRSHIFT


# An array of pointers is memory that is read before the struct is reached.
cdef inline void touch_pointer(thread* td, pvlock_state* s, vm_paddr_t pa) noexcept nogil:
    if unlikely(s.pointers != NULL):
        touch_read(td, &s.pointers[pv_superpage(s, pa)])


cdef inline pvlock* PHYS_TO_PV_LIST_LOCK(thread* td, vm_paddr_t pa) noexcept nogil:
    cdef pvlock_state* s = <pvlock_state*>td.machine.pvlock
    touch_pointer(td, s, pa)
    return pv_lock_at(s, pa)


# The PV list head of the superpage.
cdef inline md_page* pa_to_pvh(thread* td, vm_paddr_t pa) noexcept nogil:
    cdef pvlock_state* s = <pvlock_state*>td.machine.pvlock
    touch_pointer(td, s, pa)
    return pv_head_at(s, pa)


# The superpage list that a page's mappings may be on; always empty for a fictitious page.
cdef inline md_page* page_to_pvh(thread* td, vm_page* m) noexcept nogil:
    if unlikely(m.flags & PG_FICTITIOUS):
        return pv_head_at(<pvlock_state*>td.machine.pvlock, ~<vm_paddr_t>0)
    return pa_to_pvh(td, m.phys_addr)


# --- verbs

# The kinds but rw, out of line: mutexes, which admit no readers.
cdef lock_id pv_other_id(pvlock_state* s, pvlock* lock, vm_paddr_t pa) noexcept nogil
cdef void pv_other_lock(thread* td, pvlock* lock, vm_paddr_t pa, uint16_t site) noexcept nogil
cdef bint pv_other_trylock(thread* td, pvlock* lock, vm_paddr_t pa, uint16_t site) noexcept nogil
cdef void pv_other_unlock(thread* td, pvlock* lock) noexcept nogil
cdef bint pv_other_owned(thread* td, pvlock* lock) noexcept nogil


# The identity of the lock of pa.
#
# Locks in: any.  Locks out: the same.  May block: never.  Stands for: nothing in FreeBSD.
cdef inline lock_id pv_lock_id(pvlock_state* s, pvlock* lock, vm_paddr_t pa) noexcept nogil:
    if likely(s.kind == PV_LOCK_RW):
        return rw_id(<rwlock*>lock)
    return pv_other_id(s, lock, pa)


# Take the PV list lock of a page for write.
#
# Locks in:   no PV list lock, nor what is ordered after one (chunk list and free page locks).
# Locks out:  the lock, for write; the superpage of pa is the one worked on.
# May block:  on the lock.
# Stands for: FreeBSD rw_wlock() on a PV list lock.
cdef inline void pv_list_wlock(thread* td, pvlock* lock, vm_paddr_t pa, uint16_t site) noexcept nogil:
    td.superpage = <uint32_t>pv_superpage(<pvlock_state*>td.machine.pvlock, pa)
    if likely((<pvlock_state*>td.machine.pvlock).kind == PV_LOCK_RW):
        rw_wlock(td, <rwlock*>lock, site)
    else:
        pv_other_lock(td, lock, pa, site)


# Take the PV list lock of a page for write if it is free.
#
# Locks in:   any but this one.
# Locks out:  the lock for write, when the answer is True.
# May block:  never.
# Stands for: FreeBSD rw_try_wlock() on a PV list lock.
cdef inline bint pv_list_try_wlock(thread* td, pvlock* lock, vm_paddr_t pa, uint16_t site) noexcept nogil:
    cdef uint32_t before = td.superpage
    cdef bint got
    td.superpage = <uint32_t>pv_superpage(<pvlock_state*>td.machine.pvlock, pa)
    if likely((<pvlock_state*>td.machine.pvlock).kind == PV_LOCK_RW):
        got = rw_try_wlock(td, <rwlock*>lock, site)
    else:
        got = pv_other_trylock(td, lock, pa, site)
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
        pv_other_unlock(td, lock)


# Take the PV list lock of a page for read, or exclusively where the kind admits no readers.
#
# Locks in:   no PV list lock.
# Locks out:  the lock, for read.
# May block:  on the lock.
# Stands for: FreeBSD rw_rlock() on a PV list lock.
cdef inline void pv_list_rlock(thread* td, pvlock* lock, vm_paddr_t pa, uint16_t site) noexcept nogil:
    td.superpage = <uint32_t>pv_superpage(<pvlock_state*>td.machine.pvlock, pa)
    if likely((<pvlock_state*>td.machine.pvlock).kind == PV_LOCK_RW):
        rw_rlock(td, <rwlock*>lock, site)
    else:
        pv_other_lock(td, lock, pa, site)


# Locks in:   the lock, for read.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD rw_runlock() on a PV list lock.
cdef inline void pv_list_runlock(thread* td, pvlock* lock) noexcept nogil:
    if likely((<pvlock_state*>td.machine.pvlock).kind == PV_LOCK_RW):
        rw_runlock(td, <rwlock*>lock)
    else:
        pv_other_unlock(td, lock)


# Does this thread hold the lock for write?
#
# Locks in: any.  Locks out: the same.  May block: never.  Stands for: FreeBSD rw_wowned().
cdef inline bint pv_list_wowned(thread* td, pvlock* lock) noexcept nogil:
    if likely((<pvlock_state*>td.machine.pvlock).kind == PV_LOCK_RW):
        return rw_wowned(td, <rwlock*>lock)
    return pv_other_owned(td, lock)


# The lists of the page at pa and of its superpage may be changed.
#
# Locks in: the PV list lock of pa, for write.  Locks out: the same.  May block: never.
# Stands for: FreeBSD rw_assert(lock, RA_WLOCKED).
cdef inline void PV_LIST_LOCK_ASSERT(thread* td, vm_paddr_t pa) noexcept nogil:
    if unlikely(not pv_list_wowned(td, pv_lock_at(<pvlock_state*>td.machine.pvlock, pa))):
        panic(td, b"a PV list is changed whose lock is not held for write")


# The lists that the lock covers may be read.
#
# Locks in: the PV list lock, for read or for write.  Locks out: the same.  May block: never.
# Stands for: FreeBSD rw_assert(lock, RA_LOCKED).
cdef inline void PV_LIST_READ_ASSERT(thread* td, pvlock* lock) noexcept nogil:
    if unlikely(not (pv_list_wowned(td, lock) or lock_held(td, lock))):
        panic(td, b"a PV list is read whose lock is not held")


# Locks in: the PV list lock of pa, for write.  Locks out: the same.  May block: never.
# Stands for: writing *PHYS_TO_INVL_GEN() in FreeBSD.
cdef inline void pv_invl_gen_set(thread* td, vm_paddr_t pa, uint64_t* word, uint64_t gen) noexcept nogil:
    PV_LIST_LOCK_ASSERT(td, pa)
    if unlikely((<pvlock_state*>td.machine.pvlock).gen_shift != 0):
        bit2_set_value(td, word, gen)
    else:
        word[0] = gen


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
    cdef pvlock_state* s = <pvlock_state*>td.machine.pvlock
    cdef uint32_t superpage = <uint32_t>pv_superpage(s, pa)
    cdef lock_id id
    PV_LIST_CARRIED_ASSERT(td, lockp)
    if wanted == lockp[0]:
        if superpage != td.superpage:
            if unlikely(may_be_waited_for(td, wanted)):
                id = pv_lock_id(s, wanted, pa)
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
