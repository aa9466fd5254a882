# Page tables: x86-64 PTE bits, walking, page-table pages (PTPs), TLB invalidation.
#
# A PTP is a physical page without an object, seen through the direct map.  While it is one, its vm_page is used so:
#   ref_count   how many of its entries are valid
#   pindex      which PTP of its pmap it is: level and address (ptp_pindex and below)
#   valid       0xff: saved at a promotion, its PTEs are those of the superpage; 0: they are stale
#   plinks      a local list of PTPs that are to be freed once the TLBs cannot reach them (spglist)

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport mtx, mtx_lock, mtx_owned, mtx_trylock, mtx_unlock
from finegrain.kernel.phys cimport (
    PHYS_TO_DMAP, PHYS_TO_VM_PAGE, vm_page_aflag_clear, vm_page_aflag_set, vm_page_dirty)
from finegrain.kernel.pmap.pvlock cimport PV_LIST_LOCK_ASSERT, pvlock
from finegrain.kernel.types cimport (
    NPTEPG, PAGE_SHIFT, PAGE_SIZE, PDRSHIFT, PGA_REFERENCED, PGA_WRITEABLE, md_page, pmap, pt_entry_t, vm_offset_t,
    vm_paddr_t, vm_page, vm_pindex_t)
from finegrain.machine.seam cimport panic, touch_read, touch_write, unlikely
from finegrain.machine.thread cimport thread

# Bits of a PTE, PDE, PDPE or PML4E: the hardware's, then those it leaves to software.
cdef extern from *:
    """
    #define PG_V        0x001ul              /* valid */
    #define PG_RW       0x002ul              /* writable */
    #define PG_U        0x004ul              /* user */
    #define PG_A        0x020ul              /* accessed; the CPU sets it */
    #define PG_M        0x040ul              /* modified (dirty); the CPU sets it */
    #define PG_PS       0x080ul              /* a PDE that maps 2 MB */
    #define PG_G        0x100ul              /* global */
    #define PG_MANAGED  0x400ul              /* software: has a pv entry */
    #define PG_W        0x800ul              /* software: wired */
    #define PG_PROMOTED (1ul << 54)          /* software, PDE: made by promotion, so 4 KB TLB entries may live */
    #define PG_NX       (1ul << 63)          /* no execution */
    #define PG_FRAME    0x000ffffffffff000ul
    #define PG_PS_FRAME 0x000fffffffe00000ul
    #define PG_PTE_CACHE 0x098ul             /* cache attributes: WT, CD, PAT */
    /* In what the PTEs of a superpage must agree. */
    #define PG_PTE_PROMOTE (PG_NX | PG_MANAGED | PG_W | PG_G | PG_PTE_CACHE | PG_M | PG_A | PG_U | PG_RW | PG_V)
    #define VM_MAXUSER_ADDRESS 0x800000000000ul
    """
    const pt_entry_t PG_V, PG_RW, PG_U, PG_A, PG_M, PG_PS, PG_G, PG_MANAGED, PG_W, PG_PROMOTED, PG_NX
    const pt_entry_t PG_FRAME, PG_PS_FRAME, PG_PTE_PROMOTE
    const vm_offset_t VM_MAXUSER_ADDRESS

cdef enum:
    NBPDR = 1 << 21
    PDRMASK = (1 << 21) - 1
    PDPSHIFT = 30
    PML4SHIFT = 39
    # Numbers of PTPs: PTs by va >> 21, then PDs by va >> 30, then PDPs by va >> 39; of the kernel's half of the
    # address space too.
    NUPDE = 1 << 27
    NUPDPE = 1 << 18

# What groups of simple instructions cost, in units of cost.op [A].  The lines that a step reads and writes are charged
# apart, by touch_*().
cdef enum:
    OPS_WALK = 4                        # four levels of page table
    OPS_PTE = 2                         # look at or store one PTE and its bookkeeping
    OPS_PV = 3                          # take or give back a pv entry and link it
    OPS_CALL = 8                        # an operation's entry and exit

# machine.pmap points here.  Counters: statistics, may be a little behind on real threads.
cdef struct pmap_state:
    uint64_t pmaps                      # a: created so far: the source of pm_id
    int64_t shortages                   # looks for memory in vain since a page was last got
    int64_t promotions
    int64_t promotion_failures
    int64_t demotions
    int64_t mappings                    # superpage mappings made whole: psind 1, prefault, fork
    int64_t restarts                    # bottom-up operations that found a changed generation
    void* di                            # delayed invalidation (di.pyx: di_state)
    void* radix                         # nodes of trees of saved PTPs (radix.pxd: radix_zone)
    pmap* kernel_pmap                   # c: NULL where there is no kernel map (see kernel.pxd)
    mtx smp_ipi_mtx                     # spin: only one shootdown is under way at a time

# PTPs to free once no TLB can reach them; linked through plinks_next.
cdef struct spglist:
    vm_page* first


cdef inline pmap_state* pmap_state_of(thread* td) noexcept nogil:
    return <pmap_state*>td.machine.pmap


cdef inline uint32_t pmap_pml4e_index(vm_offset_t va) noexcept nogil:
    return <uint32_t>(va >> PML4SHIFT) & (NPTEPG - 1)


cdef inline uint32_t pmap_pdpe_index(vm_offset_t va) noexcept nogil:
    return <uint32_t>(va >> PDPSHIFT) & (NPTEPG - 1)


cdef inline uint32_t pmap_pde_index(vm_offset_t va) noexcept nogil:
    return <uint32_t>(va >> PDRSHIFT) & (NPTEPG - 1)


cdef inline uint32_t pmap_pte_index(vm_offset_t va) noexcept nogil:
    return <uint32_t>(va >> PAGE_SHIFT) & (NPTEPG - 1)


cdef inline vm_pindex_t pmap_pde_pindex(vm_offset_t va) noexcept nogil:
    return va >> PDRSHIFT


# The table that a PML4E, PDPE or PDE points to.
cdef inline pt_entry_t* table_of(thread* td, pt_entry_t entry) noexcept nogil:
    return <pt_entry_t*>PHYS_TO_DMAP(td, entry & PG_FRAME)


# The PDPE of va, NULL when there is no PDP.
cdef inline pt_entry_t* pmap_pdpe(thread* td, pmap* pm, vm_offset_t va) noexcept nogil:
    cdef pt_entry_t e = pm.pm_pml4[pmap_pml4e_index(va)]
    touch_read(td, &pm.pm_pml4[pmap_pml4e_index(va)])
    if (e & PG_V) == 0:
        return NULL
    return &table_of(td, e)[pmap_pdpe_index(va)]


# The PDE of va, NULL when there is no page directory.
cdef inline pt_entry_t* pmap_pde(thread* td, pmap* pm, vm_offset_t va) noexcept nogil:
    cdef pt_entry_t* pdpe = pmap_pdpe(td, pm, va)
    cdef pt_entry_t* pde
    if pdpe == NULL:
        return NULL
    touch_read(td, pdpe)
    if (pdpe[0] & PG_V) == 0:
        return NULL
    pde = &table_of(td, pdpe[0])[pmap_pde_index(va)]
    touch_read(td, pde)
    return pde


# The PTE of va in the page table that the PDE points to.
cdef inline pt_entry_t* pmap_pde_to_pte(thread* td, pt_entry_t pde, vm_offset_t va) noexcept nogil:
    cdef pt_entry_t* pte = &table_of(td, pde)[pmap_pte_index(va)]
    touch_read(td, pte)
    return pte


# A walk along a page table has come to this entry: it reads line after line, of eight entries.  (pmap_pde_to_pte()
# touches where it begins.)
cdef inline void touch_next_pte(thread* td, pt_entry_t* pte) noexcept nogil:
    if (<uint64_t>pte & 63) == 0:
        touch_read(td, pte)


# The address after va at which a walk goes on, `end` at most.
cdef inline vm_offset_t next_boundary(vm_offset_t va, int shift, vm_offset_t end) noexcept nogil:
    cdef vm_offset_t next = ((va >> shift) + 1) << shift
    return end if next > end or next < va else next


# The PDE for an address in a range walk, or NULL when nothing is mapped up to next[0] (a multiple of 2 MB, or end).
cdef inline pt_entry_t* pmap_next_pde(thread* td, pmap* pm, vm_offset_t va, vm_offset_t end,
                                      vm_offset_t* next) noexcept nogil:
    cdef pt_entry_t* pdpe = pmap_pdpe(td, pm, va)
    cdef pt_entry_t* pde
    if pdpe == NULL:
        next[0] = next_boundary(va, PML4SHIFT, end)
        return NULL
    touch_read(td, pdpe)
    if (pdpe[0] & PG_V) == 0:
        next[0] = next_boundary(va, PDPSHIFT, end)
        return NULL
    next[0] = next_boundary(va, PDRSHIFT, end)
    pde = &table_of(td, pdpe[0])[pmap_pde_index(va)]
    touch_read(td, pde)
    return pde if pde[0] != 0 else NULL


# PTEs as the CPU may change them behind our back (it sets PG_A and PG_M): exchanged and compared, never just stored.
cdef extern from *:
    """
    static inline uint64_t pte_load_clear(uint64_t *pte) { return __atomic_exchange_n(pte, 0, __ATOMIC_ACQ_REL); }
    static inline uint64_t pte_load_store(uint64_t *pte, uint64_t v) {
      return __atomic_exchange_n(pte, v, __ATOMIC_ACQ_REL);
    }
    static inline int pte_cas(uint64_t *pte, uint64_t old, uint64_t v) {
      return __atomic_compare_exchange_n(pte, &old, v, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    static inline void pte_clear_bits(uint64_t *pte, uint64_t bits) {
      __atomic_fetch_and(pte, ~bits, __ATOMIC_ACQ_REL);
    }
    static inline void pte_set_bits(uint64_t *pte, uint64_t bits) { __atomic_fetch_or(pte, bits, __ATOMIC_ACQ_REL); }
    """
    pt_entry_t pte_load_clear(pt_entry_t* pte) noexcept nogil
    pt_entry_t pte_load_store(pt_entry_t* pte, pt_entry_t value) noexcept nogil
    bint pte_cas(pt_entry_t* pte, pt_entry_t old, pt_entry_t value) noexcept nogil
    void pte_clear_bits(pt_entry_t* pte, pt_entry_t bits) noexcept nogil
    void pte_set_bits(pt_entry_t* pte, pt_entry_t bits) noexcept nogil


cdef inline bint pte_dirty(pt_entry_t pte) noexcept nogil:
    return (pte & (PG_M | PG_RW)) == (PG_M | PG_RW)


# A mapping of m is gone: keep what the CPU noted in its PTE.
#
# Locks in: any.  Locks out: the same.  May block: never.
# Stands for: FreeBSD's vm_page_dirty() and vm_page_aflag_set(PGA_REFERENCED) wherever a PTE is cleared.
cdef inline void harvest(thread* td, vm_page* m, pt_entry_t pte) noexcept nogil:
    if pte_dirty(pte):
        vm_page_dirty(td, m)
    if pte & PG_A:
        vm_page_aflag_set(td, m, PGA_REFERENCED)


# After an unlink from the page's list: no mapping is left, so none can be writable.
#
# Locks in: the PV list lock of m, for write.  Locks out: the same.  May block: never.
# Stands for: the clearing of PGA_WRITEABLE in FreeBSD pmap_remove_pte() and its like.
cdef inline void maybe_clear_writeable(thread* td, vm_page* m, md_page* pvh) noexcept nogil:
    PV_LIST_LOCK_ASSERT(td, m.phys_addr)
    touch_read(td, &m.aflags)
    if m.aflags & PGA_WRITEABLE and m.md.pv_first == NULL:
        touch_read(td, pvh)
        if pvh.pv_first == NULL:
            vm_page_aflag_clear(td, m, PGA_WRITEABLE)


# Locks in: not this one.  Locks out: the pmap lock of pm too.  May block: on it.  Stands for: FreeBSD PMAP_LOCK().
cdef inline void PMAP_LOCK(thread* td, pmap* pm, uint16_t site) noexcept nogil:
    mtx_lock(td, &pm.pm_mtx, site)


# Locks in: any but this one.  Locks out: the pmap lock of pm too, when the answer is True.  May block: never.
# Stands for: FreeBSD PMAP_TRYLOCK().
cdef inline bint PMAP_TRYLOCK(thread* td, pmap* pm, uint16_t site) noexcept nogil:
    return mtx_trylock(td, &pm.pm_mtx, site)


# Locks in: the pmap lock of pm.  Locks out: none of it.  May block: never; spins on the chain.
# Stands for: FreeBSD PMAP_UNLOCK().
cdef inline void PMAP_UNLOCK(thread* td, pmap* pm) noexcept nogil:
    mtx_unlock(td, &pm.pm_mtx)


# Locks in: the pmap lock of pm.  Locks out: the same.  May block: never.
# Stands for: FreeBSD PMAP_LOCK_ASSERT(pmap, MA_OWNED).
cdef inline void PMAP_LOCK_ASSERT(thread* td, pmap* pm) noexcept nogil:
    if unlikely(not mtx_owned(td, &pm.pm_mtx)):
        panic(td, b"the pmap lock is not held")


# Panics when memory has been looked for in vain too often: nobody is going to free any.
cdef void count_shortage(thread* td) noexcept nogil
# Sleep a tick for memory.  No lock held.
cdef void vm_wait(thread* td) noexcept nogil

# PTPs.  All with the pmap locked.

# The page table (pmap_allocpte) or page directory (pmap_allocpde) for va, one more of its entries counted as valid.
# Without it, one is made; with lockp, memory shortage is waited out (the PV list lock and the pmap lock are dropped
# meanwhile, NULL means: walk again); without, NULL is the answer.
cdef vm_page* pmap_allocpte_new(thread* td, pmap* pm, vm_pindex_t pindex, pvlock** lockp) noexcept nogil
cdef vm_page* pmap_allocpde(thread* td, pmap* pm, vm_offset_t va, pvlock** lockp) noexcept nogil
# A page for any PTP, zeroed on wish; NULL when memory is exhausted.
cdef vm_page* ptp_alloc(thread* td, bint zero) noexcept nogil
# One entry of the PTP is no longer valid: the last one frees it, and perhaps those above it, onto the list.
cdef bint pmap_free_ptp(thread* td, pmap* pm, vm_offset_t va, vm_page* mpte, spglist* free) noexcept nogil


# One entry of a PTP that was counted is not, or no longer, valid.  True when that freed the PTP.
#
# Locks in: the pmap lock of pm.  Locks out: the same.  May block: never.  Stands for: FreeBSD pmap_unwire_ptp().
cdef inline bint pmap_unwire_ptp(thread* td, pmap* pm, vm_offset_t va, vm_page* mpte, spglist* free) noexcept nogil:
    PMAP_LOCK_ASSERT(td, pm)
    touch_write(td, &mpte.ref_count)
    mpte.ref_count -= 1
    if mpte.ref_count == 0:
        return pmap_free_ptp(td, pm, va, mpte, free)
    return False


# The entry of va in the PTP that `entry` points to is gone.  True when that freed the PTP; the kernel's stay.
#
# Locks in: the pmap lock of pm.  Locks out: the same.  May block: never.  Stands for: FreeBSD pmap_unuse_pt().
cdef inline bint pmap_unuse_pt(thread* td, pmap* pm, vm_offset_t va, pt_entry_t entry, spglist* free) noexcept nogil:
    if va >= VM_MAXUSER_ADDRESS:
        PMAP_LOCK_ASSERT(td, pm)
        return False
    return pmap_unwire_ptp(td, pm, va, PHYS_TO_VM_PAGE(td, entry & PG_FRAME), free)


# Let go of an entry that was counted and not made: the PTP may have been made for it alone, and then it goes again.
cdef void pmap_abort_ptp(thread* td, pmap* pm, vm_offset_t va, vm_page* ptp) noexcept nogil
cdef void pmap_add_delayed_free_list(vm_page* m, spglist* free, bint zeroed) noexcept nogil
# Give the listed PTPs back.  No lock needed.
cdef void vm_page_free_pages_toq(thread* td, spglist* free) noexcept nogil

# TLB invalidation: here if this CPU uses the pmap, and by shootdown wherever else it is in use.
cdef void pmap_invalidate_page(thread* td, pmap* pm, vm_offset_t va) noexcept nogil
cdef void pmap_invalidate_range(thread* td, pmap* pm, vm_offset_t start, vm_offset_t end) noexcept nogil
cdef void pmap_invalidate_all(thread* td, pmap* pm) noexcept nogil
cdef void pmap_invalidate_pde_page(thread* td, pmap* pm, pt_entry_t pde) noexcept nogil
# The superpage or small mapping is in use by another thread that runs now.
cdef bint pmap_active_elsewhere(thread* td, pmap* pm) noexcept nogil
