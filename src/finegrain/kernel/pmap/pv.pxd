# PV entries, the chunks they come in, and the lists they stand on.
#
# For each mapping of a managed page there is a pv entry on the page's PV list (4 KB mappings) or on its superpage's
# (2 MB mappings).  A pmap takes its entries from its own chunks, pages of 168; all chunks of all pmaps are on one LRU.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t, uintptr_t

from finegrain.kernel.list cimport list_insert_head, list_insert_tail, list_remove
from finegrain.kernel.locks cimport mtx
from finegrain.kernel.pmap.pvlock cimport PV_LIST_LOCK_ASSERT, pvlock
from finegrain.kernel.types cimport (
    NPCM, NPCPV, PAGE_SIZE, md_page, pmap, pv_chunk, pv_entry, vm_offset_t, vm_paddr_t, vm_page)
from finegrain.machine.seam cimport charge, touch_read, touch_write
from finegrain.machine.thread cimport machine, thread

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
    uint64_t chunks_freed[CHUNKS_FREED_MAX + 1]     # a: pmap_remove_pages calls by how many chunks each freed

cdef int pv_create(machine* m) except -1
# Start the histogram afresh.
cdef void pv_reset(machine* m) noexcept nogil

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

cdef inline void pmap_chunk_remove(pmap* pm, pv_chunk* pc) noexcept nogil:
    list_remove(<void**>&pm.pm_pvchunk_first, <void**>&pm.pm_pvchunk_last, pc, <void**>&pc.pc_list_next,
                <void**>&pc.pc_list_prev)


cdef inline void pmap_chunk_insert_head(pmap* pm, pv_chunk* pc) noexcept nogil:
    list_insert_head(<void**>&pm.pm_pvchunk_first, <void**>&pm.pm_pvchunk_last, pc, <void**>&pc.pc_list_next,
                     <void**>&pc.pc_list_prev)


cdef inline void pmap_chunk_insert_tail(pmap* pm, pv_chunk* pc) noexcept nogil:
    list_insert_tail(<void**>&pm.pm_pvchunk_first, <void**>&pm.pm_pvchunk_last, pc, <void**>&pc.pc_list_next,
                     <void**>&pc.pc_list_prev)


# The lowest free entry of a chunk that has one.  A chunk that is full now goes behind those that are not.
cdef inline pv_entry* chunk_take(pmap* pm, pv_chunk* pc) noexcept nogil:
    cdef int field = 0
    while pc.pc_map[field] == 0:
        field += 1
    cdef int bit = ctz(pc.pc_map[field])
    pc.pc_map[field] &= pc.pc_map[field] - 1
    if chunk_full(pc) and pc.pc_list_next != NULL:
        pmap_chunk_remove(pm, pc)
        pmap_chunk_insert_tail(pm, pc)
    return &pc.pc_pventry[field * 64 + bit]


# --- entries: pmap locked

# The out-of-line half of get_pv_entry: a new chunk.
cdef pv_entry* get_pv_entry_chunk(thread* td, pmap* pm, pvlock** lockp) noexcept nogil
# Give an entry back; may free its chunk, under whatever PV list lock is held.
cdef void free_pv_entry(thread* td, pmap* pm, pv_entry* pv) noexcept nogil
# Make sure that `needed` entries can be taken without allocating; may change *lockp.
cdef void reserve_pv_entries(thread* td, pmap* pm, int needed, pvlock** lockp) noexcept nogil


# An entry for pm.  With lockp, *lockp may be dropped when memory is short; without, NULL is the answer then.
cdef inline pv_entry* get_pv_entry(thread* td, pmap* pm, pvlock** lockp) noexcept nogil:
    cdef pv_chunk* pc = pm.pm_pvchunk_first
    if pc != NULL and not chunk_full(pc):
        touch_write(td, pc)             # a list search on another CPU may have read the header
        return chunk_take(pm, pc)
    return get_pv_entry_chunk(td, pm, lockp)


# --- chunks

# Give back an empty chunk that is off its pmap's list: chunk list mutex, then the free page locks.
cdef void free_pv_chunk(thread* td, pv_chunk* pc) noexcept nogil
# The same for a list of them (linked by pc_list_next): the chunk list mutex is taken once.
cdef void free_pv_chunk_batch(thread* td, pv_chunk* first) noexcept nogil
# Destroy mappings until there is a page for a chunk; NULL when an entry of pm itself was freed, or nothing could be.
cdef vm_page* reclaim_pv_chunk(thread* td, pmap* locked_pmap, pvlock** lockp) noexcept nogil


cdef inline void count_chunks_freed(thread* td, uint64_t n) noexcept nogil:
    cdef pv_state* s = pv_of(td)
    if n > CHUNKS_FREED_MAX:
        n = CHUNKS_FREED_MAX
    s.chunks_freed[n] += 1


# --- PV lists: the PV list lock of pa held for write; md is the list of the page at pa, or of its superpage.  The
# neighbours on a list belong to other pmaps, whose CPUs write them.

cdef inline void pv_list_insert_tail(thread* td, md_page* md, vm_paddr_t pa, pv_entry* pv) noexcept nogil:
    PV_LIST_LOCK_ASSERT(td, pa)
    touch_write(td, md)
    touch_write(td, pv)
    if md.pv_last != NULL:
        touch_write(td, md.pv_last)
    list_insert_tail(<void**>&md.pv_first, <void**>&md.pv_last, pv, <void**>&pv.pv_next, <void**>&pv.pv_prev)
    md.pv_gen += 1


cdef inline void pv_list_remove(thread* td, md_page* md, vm_paddr_t pa, pv_entry* pv) noexcept nogil:
    PV_LIST_LOCK_ASSERT(td, pa)
    touch_write(td, md)
    touch_read(td, pv)
    if pv.pv_next != NULL:
        touch_write(td, pv.pv_next)
    if pv.pv_prev != NULL:
        touch_write(td, pv.pv_prev)
    list_remove(<void**>&md.pv_first, <void**>&md.pv_last, pv, <void**>&pv.pv_next, <void**>&pv.pv_prev)
    md.pv_gen += 1


# Search the list for the entry of (pm, va) and unlink it.  The search reads, for each entry passed, the entry and the
# header of its chunk.  Panics when there is none.
cdef pv_entry* pmap_pvh_remove(thread* td, md_page* pvh, vm_paddr_t pa, pmap* pm, vm_offset_t va) noexcept nogil


# ... and give the entry back.
cdef inline void pmap_pvh_free(thread* td, md_page* pvh, vm_paddr_t pa, pmap* pm,
                               vm_offset_t va) noexcept nogil:
    free_pv_entry(td, pm, pmap_pvh_remove(td, pvh, pa, pm, va))


# Audit, machine stopped: the LRU is sound and each chunk is on its pmap's list.  Faults found; the first is described.
cdef int64_t pv_audit(machine* m, char* why, uint64_t why_size) noexcept nogil
