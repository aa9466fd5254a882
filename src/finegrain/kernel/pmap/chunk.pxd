# The chunks that pv entries come in, and the three kinds of list: of a pmap's chunks, of all chunks (the LRU), of the
# entries that map a page.  Structure alone: who allocates and frees is pv's business, and in shortage reclaim's.

from libc.stdint cimport int64_t, uint64_t, uintptr_t

from finegrain.kernel.list cimport (
    list_insert_after, list_insert_head, list_insert_tail, list_remove, list_touch_insert_after,
    list_touch_insert_head, list_touch_insert_tail, list_touch_remove)
from finegrain.kernel.locks cimport mtx, mtx_assert_owned
from finegrain.kernel.pmap.pt cimport PMAP_LOCK_ASSERT
from finegrain.kernel.pmap.pvlock cimport PV_LIST_LOCK_ASSERT
from finegrain.kernel.types cimport PAGE_SIZE, md_page, pmap, pv_chunk, pv_entry, vm_paddr_t
from finegrain.machine.seam cimport touch_write
from finegrain.machine.thread cimport thread

cdef enum:
    CHUNKS_FREED_MAX = 256              # the histogram's last bucket: this many and more

# machine.pv points here.  k: the chunk list mutex; a: atomic
cdef struct pv_state:
    mtx chunk_list_lock                 # "pmap pv chunk list"
    pv_chunk* lru_first                 # k: all chunks, oldest first
    pv_chunk* lru_last                  # k
    int64_t active_reclaims             # k
    int64_t chunks                      # k: on the list now
    int64_t chunk_allocs                # k: ever
    int64_t reclaims                    # statistics: calls of reclaim_pv_chunk
    uint64_t chunks_freed[CHUNKS_FREED_MAX + 1]     # statistics: pmap_remove_pages calls by how many chunks each freed

cdef extern from *:
    """
    #define PC_FREE_MASK(field) ((field) < 2 ? ~0ul : (1ul << 40) - 1)
    """
    const uint64_t PC_FREE_MASK(int field) noexcept nogil
    int ctz "__builtin_ctzl"(uint64_t x) noexcept nogil
    int popcount "__builtin_popcountl"(uint64_t x) noexcept nogil


cdef inline pv_state* pv_of(thread* td) noexcept nogil:
    return <pv_state*>td.machine.pv


cdef inline pv_chunk* pv_to_chunk(pv_entry* pv) noexcept nogil:
    return <pv_chunk*>(<uintptr_t>pv & ~<uintptr_t>(PAGE_SIZE - 1))


# The pmap whose mapping the entry stands for.
cdef inline pmap* PV_PMAP(pv_entry* pv) noexcept nogil:
    return pv_to_chunk(pv).pc_pmap


cdef inline bint chunk_full(pv_chunk* pc) noexcept nogil:
    return (pc.pc_map[0] | pc.pc_map[1] | pc.pc_map[2]) == 0


cdef inline bint chunk_empty(pv_chunk* pc) noexcept nogil:
    return (pc.pc_map[0] == PC_FREE_MASK(0) and pc.pc_map[1] == PC_FREE_MASK(1) and
            pc.pc_map[2] == PC_FREE_MASK(2))


# --- a pmap's chunks: pmap locked

# Locks in: the pmap lock of pm.  Locks out: the same.  May block: never.
# Stands for: FreeBSD's TAILQ_REMOVE() on pm_pvchunk.
cdef inline void pmap_chunk_remove(thread* td, pmap* pm, pv_chunk* pc) noexcept nogil:
    PMAP_LOCK_ASSERT(td, pm)
    list_touch_remove(td, <void**>&pm.pm_pvchunk_first, pc, <void**>&pc.pc_list_next, <void**>&pc.pc_list_prev)
    list_remove(<void**>&pm.pm_pvchunk_first, <void**>&pm.pm_pvchunk_last, pc, <void**>&pc.pc_list_next,
                <void**>&pc.pc_list_prev)


# Locks in: the pmap lock of pm.  Locks out: the same.  May block: never.
# Stands for: FreeBSD's TAILQ_INSERT_HEAD() on pm_pvchunk.
cdef inline void pmap_chunk_insert_head(thread* td, pmap* pm, pv_chunk* pc) noexcept nogil:
    PMAP_LOCK_ASSERT(td, pm)
    list_touch_insert_head(td, <void**>&pm.pm_pvchunk_first, pc, <void**>&pc.pc_list_next, <void**>&pc.pc_list_prev)
    list_insert_head(<void**>&pm.pm_pvchunk_first, <void**>&pm.pm_pvchunk_last, pc, <void**>&pc.pc_list_next,
                     <void**>&pc.pc_list_prev)


# Locks in: the pmap lock of pm.  Locks out: the same.  May block: never.
# Stands for: FreeBSD's TAILQ_INSERT_TAIL() on pm_pvchunk.
cdef inline void pmap_chunk_insert_tail(thread* td, pmap* pm, pv_chunk* pc) noexcept nogil:
    PMAP_LOCK_ASSERT(td, pm)
    list_touch_insert_tail(td, <void**>&pm.pm_pvchunk_first, <void**>&pm.pm_pvchunk_last, pc,
                           <void**>&pc.pc_list_next, <void**>&pc.pc_list_prev)
    list_insert_tail(<void**>&pm.pm_pvchunk_first, <void**>&pm.pm_pvchunk_last, pc, <void**>&pc.pc_list_next,
                     <void**>&pc.pc_list_prev)


# The lowest free entry of a chunk that has one.  A chunk that is full now goes behind those that are not.
#
# Locks in: the pmap lock of pm.  Locks out: the same.  May block: never.
# Stands for: the part of FreeBSD get_pv_entry() that finds an entry in the first chunk.
cdef inline pv_entry* chunk_take(thread* td, pmap* pm, pv_chunk* pc) noexcept nogil:
    cdef int field = 0
    PMAP_LOCK_ASSERT(td, pm)
    while pc.pc_map[field] == 0:
        field += 1
    cdef int bit = ctz(pc.pc_map[field])
    pc.pc_map[field] &= pc.pc_map[field] - 1
    if chunk_full(pc) and pc.pc_list_next != NULL:
        pmap_chunk_remove(td, pm, pc)
        pmap_chunk_insert_tail(td, pm, pc)
    return &pc.pc_pventry[field * 64 + bit]


# --- the LRU: chunk list mutex held.  Chunks next to each other belong to different pmaps.

# Locks in: the chunk list mutex.  Locks out: the same.  May block: never.
# Stands for: FreeBSD mtx_assert(&pv_chunks_mutex, MA_OWNED).
cdef inline void PV_CHUNKS_ASSERT(thread* td, pv_state* s) noexcept nogil:
    mtx_assert_owned(td, &s.chunk_list_lock, b"the list of all pv chunks is not locked")


# Locks in: the chunk list mutex.  Locks out: the same.  May block: never.
# Stands for: FreeBSD's TAILQ_INSERT_TAIL() on pv_chunks.
cdef inline void lru_insert_tail(thread* td, pv_state* s, pv_chunk* pc) noexcept nogil:
    PV_CHUNKS_ASSERT(td, s)
    touch_write(td, &s.lru_first)
    list_touch_insert_tail(td, <void**>&s.lru_first, <void**>&s.lru_last, pc, <void**>&pc.pc_lru_next,
                           <void**>&pc.pc_lru_prev)
    list_insert_tail(<void**>&s.lru_first, <void**>&s.lru_last, pc, <void**>&pc.pc_lru_next, <void**>&pc.pc_lru_prev)


# where: a chunk that is on the list; NULL: to the front.
#
# Locks in: the chunk list mutex.  Locks out: the same.  May block: never.
# Stands for: FreeBSD's TAILQ_INSERT_AFTER() and TAILQ_INSERT_HEAD() on pv_chunks.
cdef inline void lru_insert_after(thread* td, pv_state* s, pv_chunk* where, pv_chunk* pc) noexcept nogil:
    PV_CHUNKS_ASSERT(td, s)
    touch_write(td, &s.lru_first)
    list_touch_insert_after(td, <void**>&s.lru_first, where, pc, <void**>&pc.pc_lru_next, <void**>&pc.pc_lru_prev)
    list_insert_after(<void**>&s.lru_first, <void**>&s.lru_last, where, pc, <void**>&pc.pc_lru_next,
                      <void**>&pc.pc_lru_prev)


# Locks in: the chunk list mutex.  Locks out: the same.  May block: never.
# Stands for: FreeBSD's TAILQ_REMOVE() on pv_chunks.
cdef inline void lru_remove(thread* td, pv_state* s, pv_chunk* pc) noexcept nogil:
    PV_CHUNKS_ASSERT(td, s)
    touch_write(td, &s.lru_first)
    list_touch_remove(td, <void**>&s.lru_first, pc, <void**>&pc.pc_lru_next, <void**>&pc.pc_lru_prev)
    list_remove(<void**>&s.lru_first, <void**>&s.lru_last, pc, <void**>&pc.pc_lru_next, <void**>&pc.pc_lru_prev)


# --- PV lists: the PV list lock of pa held for write; md is the list of the page at pa, or of its superpage.  The
# neighbours on a list belong to other pmaps, whose CPUs write them.

# Locks in: the PV list lock of pa, for write.  Locks out: the same.  May block: never.
# Stands for: FreeBSD's TAILQ_INSERT_TAIL() on pv_list and pv_gen++.
cdef inline void pv_list_insert_tail(thread* td, md_page* md, vm_paddr_t pa, pv_entry* pv) noexcept nogil:
    PV_LIST_LOCK_ASSERT(td, pa)
    touch_write(td, &md.pv_gen)
    list_touch_insert_tail(td, <void**>&md.pv_first, <void**>&md.pv_last, pv, <void**>&pv.pv_next,
                           <void**>&pv.pv_prev)
    list_insert_tail(<void**>&md.pv_first, <void**>&md.pv_last, pv, <void**>&pv.pv_next, <void**>&pv.pv_prev)
    md.pv_gen += 1


# Locks in: the PV list lock of pa, for write.  Locks out: the same.  May block: never.
# Stands for: FreeBSD's TAILQ_REMOVE() on pv_list and pv_gen++.
cdef inline void pv_list_remove(thread* td, md_page* md, vm_paddr_t pa, pv_entry* pv) noexcept nogil:
    PV_LIST_LOCK_ASSERT(td, pa)
    touch_write(td, &md.pv_gen)
    list_touch_remove(td, <void**>&md.pv_first, pv, <void**>&pv.pv_next, <void**>&pv.pv_prev)
    list_remove(<void**>&md.pv_first, <void**>&md.pv_last, pv, <void**>&pv.pv_next, <void**>&pv.pv_prev)
    md.pv_gen += 1
