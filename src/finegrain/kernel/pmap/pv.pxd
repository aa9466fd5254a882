# PV entries: taking them and giving them back.
#
# For each mapping of a managed page there is a pv entry on the page's PV list (4 KB mappings) or on its superpage's
# (2 MB mappings).  A pmap takes its entries from its own chunks, pages of 168; all chunks of all pmaps are on one LRU.
# The structs and lists are chunk.pxd's.

from libc.stdint cimport int64_t, uint64_t

from finegrain.kernel.pmap.chunk cimport (
    CHUNKS_FREED_MAX, PV_PMAP, chunk_full, chunk_take, pv_of, pv_state)
from finegrain.kernel.pmap.pt cimport PMAP_LOCK_ASSERT
from finegrain.kernel.pmap.pvlock cimport pvlock
from finegrain.kernel.types cimport md_page, pmap, pv_chunk, pv_entry, vm_offset_t, vm_paddr_t
from finegrain.machine.seam cimport touch_write
from finegrain.machine.thread cimport machine, thread

cdef int pv_create(machine* m) except -1
# Start the histogram afresh.
cdef void pv_reset(machine* m) noexcept nogil

# --- entries: pmap locked

# The out-of-line half of get_pv_entry: a new chunk.
cdef pv_entry* get_pv_entry_chunk(thread* td, pmap* pm, pvlock** lockp) noexcept nogil
# Give an entry back; may free its chunk, under whatever PV list lock is held.
cdef void free_pv_entry(thread* td, pmap* pm, pv_entry* pv) noexcept nogil
# Make sure that `needed` entries can be taken without allocating; may change *lockp.
cdef void reserve_pv_entries(thread* td, pmap* pm, int needed, pvlock** lockp) noexcept nogil


# An entry for pm.  With lockp, *lockp may be dropped when memory is short; without, NULL is the answer then.
#
# Locks in: the pmap lock of pm; if lockp is given, *lockp is NULL or a PV list lock held for write.
# Locks out: the pmap lock of pm; with lockp, *lockp may have been dropped, and may be another lock or NULL.
# May block: on the chunk list and free page locks; with lockp, in shortage, on other pmaps' and PV list locks.
# Stands for: FreeBSD get_pv_entry().
cdef inline pv_entry* get_pv_entry(thread* td, pmap* pm, pvlock** lockp) noexcept nogil:
    cdef pv_chunk* pc = pm.pm_pvchunk_first
    PMAP_LOCK_ASSERT(td, pm)
    if pc != NULL and not chunk_full(pc):
        touch_write(td, pc)             # a list search on another CPU may have read the header
        return chunk_take(td, pm, pc)
    return get_pv_entry_chunk(td, pm, lockp)


# --- chunks

# Give back an empty chunk that is off its pmap's list: chunk list mutex, then the free page locks.
cdef void free_pv_chunk(thread* td, pv_chunk* pc) noexcept nogil
# The same for a list of them (linked by pc_list_next): the chunk list mutex is taken once.
cdef void free_pv_chunk_batch(thread* td, pv_chunk* first) noexcept nogil


# One call of pmap_remove_pages() has freed n chunks: statistics, which real threads may lose some of.
#
# Locks in: none.  Locks out: none.  May block: never.  Stands for: nothing in FreeBSD.
cdef inline void count_chunks_freed(thread* td, uint64_t n) noexcept nogil:
    cdef pv_state* s = pv_of(td)
    if n > CHUNKS_FREED_MAX:
        n = CHUNKS_FREED_MAX
    s.chunks_freed[n] += 1


# --- PV lists, beside chunk.pxd's

# Search the list for the entry of (pm, va) and unlink it.  The search reads, for each entry passed, the entry and the
# header of its chunk.  Panics when there is none.
cdef pv_entry* pmap_pvh_remove(thread* td, md_page* pvh, vm_paddr_t pa, pmap* pm, vm_offset_t va) noexcept nogil


# ... and give the entry back.
#
# Locks in: the PV list lock of pa, for write; the pmap lock of pm.  Locks out: the same.
# May block: on the chunk list and free page locks, when the chunk is empty now.  Stands for: FreeBSD pmap_pvh_free().
cdef inline void pmap_pvh_free(thread* td, md_page* pvh, vm_paddr_t pa, pmap* pm,
                               vm_offset_t va) noexcept nogil:
    free_pv_entry(td, pm, pmap_pvh_remove(td, pvh, pa, pm, va))


# Audit, machine stopped: the LRU is sound and each chunk is on its pmap's list.  Faults found; the first is described.
cdef int64_t pv_audit(machine* m, char* why, uint64_t why_size) noexcept nogil
