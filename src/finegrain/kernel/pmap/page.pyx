# Operations that start from a page: bottom-up, against the lock order.
#
# The order is pmap lock, then PV list lock.  A bottom-up operation holds the PV list lock when it learns whose pmap
# lock it needs, so it may only try that:
#
#     PV list lock held; the next entry belongs to pmap P
#     try P's lock
#       got it: go on
#       else:   remember the generation of the list (for a page's own list, of the superpage's list too)
#               drop the PV list lock; lock P, waiting; retake the PV list lock
#               generation unchanged: the entry is still there, and still P's: go on
#               changed: an entry was inserted, removed or moved meanwhile, perhaps this one (it, its chunk, even P may
#               be gone): drop P and start the scan again
#
# On a new start remove_all and remove_write let go of the PV list lock too; ts_referenced and is_modified keep it.
# A failed try is not a wait; the lock that follows it may be.
#
# A new start is always owed to somebody's progress, but for one: ts_referenced moves the entries that it visits, and
# so changes the generation for no lasting gain.  Two of them on one list, where a pmap appears more than once, can make
# each other start again for ever: each gets an entry further while the other waits, has the pmap taken from it at the
# next one, and finds the list moved when it comes back.  Nothing in the protocol ends that; FreeBSD's callers do, which
# hold the "vm page" mutex, one for all pages of a superpage: no list is scanned by two.

from libc.stdint cimport uint16_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport lock_site
from finegrain.kernel.phys cimport vm_page_aflag_clear, vm_page_assert_locked, vm_page_dirty
from finegrain.kernel.pmap.chunk cimport PV_PMAP, pv_list_insert_tail, pv_list_remove, pv_to_chunk
from finegrain.kernel.pmap.di cimport pmap_delayed_invl_wait
from finegrain.kernel.pmap.pt cimport (
    OPS_CALL, OPS_PTE, OPS_WALK, PG_A, PG_M, PG_RW, PG_W, PMAP_LOCK, PMAP_TRYLOCK, PMAP_UNLOCK, harvest,
    pmap_invalidate_page, pmap_pde, pmap_pde_to_pte, pmap_state_of, pmap_unuse_pt, pte_cas, pte_clear_bits, pte_dirty,
    pte_load_clear, spglist, vm_page_free_pages_toq)
from finegrain.kernel.pmap.pv cimport free_pv_entry
from finegrain.kernel.pmap.pvlock cimport (
    PHYS_TO_PV_LIST_LOCK, PV_LIST_LOCK_ASSERT, PV_LIST_READ_ASSERT, page_to_pvh, pv_list_rlock, pv_list_runlock,
    pv_list_wlock, pv_list_wunlock, pvlock)
from finegrain.kernel.pmap.superpage cimport pmap_demote_pde_locked
from finegrain.kernel.types cimport (
    NPTEPG, PAGE_SHIFT, PDRSHIFT, PGA_WRITEABLE, VPB_UNBUSIED, VPO_UNMANAGED, md_page, pt_entry_t, pv_entry,
    vm_paddr_t)
from finegrain.machine.seam cimport arena_offset, charge, panic, touch_read, touch_write, unlikely

cdef uint16_t SITE_ALL = lock_site(b"pmap_remove_all")
cdef uint16_t SITE_ALL_PMAP = lock_site(b"pmap_remove_all/pmap")
cdef uint16_t SITE_WRITE = lock_site(b"pmap_remove_write")
cdef uint16_t SITE_WRITE_PMAP = lock_site(b"pmap_remove_write/pmap")
cdef uint16_t SITE_TS = lock_site(b"pmap_ts_referenced")
cdef uint16_t SITE_TS_PMAP = lock_site(b"pmap_ts_referenced/pmap")
cdef uint16_t SITE_TEST = lock_site(b"pmap_page_test_mappings")
cdef uint16_t SITE_TEST_PMAP = lock_site(b"pmap_page_test_mappings/pmap")
cdef uint16_t SITE_EXISTS = lock_site(b"pmap_page_exists_quick")

cdef enum:
    PMAP_TS_REFERENCED_MAX = 5          # enough references to stop counting
    EXISTS_QUICK_MAX = 16               # entries that page_exists_quick looks at


cdef enum lock_mode:
    READ                                # PV list lock held for read
    WRITE
    WRITE_DROP                          # for write, and let go before a new start

# Lock the pmap of an entry while its PV list lock is held.  Which of the two generations must not change is said by
# md (NULL: that of the first list alone counts).
#
# Locks in:   the PV list lock of m, in this mode; no pmap lock.
# Locks out:  the PV list lock, perhaps dropped in between; the pmap lock if True is returned.
# May block:  on the pmap lock, then on the PV list lock.
# Returns:    False when the list changed while the PV list lock was dropped: the scan must start again.
# Stands for: the retry protocol of FreeBSD's bottom-up operations.
cdef bint lock_pmap_of(thread* td, pmap* pm, pvlock* lock, vm_page* m, md_page* pvh, md_page* md, lock_mode mode,
                       uint16_t site, uint16_t pmap_site) noexcept nogil:
    cdef uint32_t pvh_gen
    cdef uint32_t md_gen
    if mode == READ:
        PV_LIST_READ_ASSERT(td, lock)
    else:
        PV_LIST_LOCK_ASSERT(td, m.phys_addr)
    if PMAP_TRYLOCK(td, pm, pmap_site):
        return True
    pvh_gen = pvh.pv_gen
    md_gen = md.pv_gen if md != NULL else 0
    if mode == READ:
        pv_list_runlock(td, lock)
    else:
        pv_list_wunlock(td, lock)
    PMAP_LOCK(td, pm, pmap_site)
    if mode == READ:
        pv_list_rlock(td, lock, m.phys_addr, site)
    else:
        pv_list_wlock(td, lock, m.phys_addr, site)
    if pvh.pv_gen == pvh_gen and (md == NULL or md.pv_gen == md_gen):
        return True
    pmap_state_of(td).restarts += 1
    if mode == WRITE_DROP:
        pv_list_wunlock(td, lock)
    PMAP_UNLOCK(td, pm)
    if mode == WRITE_DROP:
        pv_list_wlock(td, lock, m.phys_addr, site)
    return False


# What it costs to look at an entry: its line, its chunk's header (whose pmap is it?), and a walk to its PTE.
cdef inline void visit(thread* td, pv_entry* pv) noexcept nogil:
    touch_read(td, pv)
    touch_read(td, pv_to_chunk(pv))
    charge(td, td.machine.cost.op, OPS_WALK + OPS_PTE)


cdef inline void assert_managed(thread* td, vm_page* m) noexcept nogil:
    if unlikely(m.oflags & VPO_UNMANAGED):
        panic(td, b"a bottom-up pmap operation on an unmanaged page")


# Remove every mapping of the page.
#
# Locks in:   no pmap and no PV list lock.  Nobody maps the page meanwhile: its object is write-locked, or it is busied.
# Locks out:  the same.
# May block:  on the page's PV list lock (fixed for the whole call), pmap locks, chunk list and free page locks; then
#             for DI blocks to end; waits for the other CPUs' acknowledgements, the PV list lock held.  Never sleeps.
# Guarantees: the page has no mapping and no TLB knows one.
# Stands for: FreeBSD pmap_remove_all().
cdef void pmap_remove_all(thread* td, vm_page* m) noexcept nogil:
    cdef pvlock* lock = PHYS_TO_PV_LIST_LOCK(td, m.phys_addr)
    cdef pvlock* carried
    cdef md_page* pvh = page_to_pvh(td, m)
    cdef spglist free
    cdef pv_entry* pv
    cdef pmap* pm
    cdef pt_entry_t* pde
    cdef pt_entry_t* pte
    cdef pt_entry_t old
    assert_managed(td, m)
    free.first = NULL
    charge(td, td.machine.cost.op, OPS_CALL)
    pv_list_wlock(td, lock, m.phys_addr, SITE_ALL)
    touch_read(td, pvh)
    touch_read(td, &m.md)
    while True:
        pv = pvh.pv_first
        if pv != NULL:
            pm = PV_PMAP(pv)
            visit(td, pv)
            if lock_pmap_of(td, pm, lock, m, pvh, NULL, WRITE_DROP, SITE_ALL, SITE_ALL_PMAP):
                carried = lock
                pmap_demote_pde_locked(td, pm, pmap_pde(td, pm, pv.pv_va), pv.pv_va, &carried)
                if unlikely(carried != lock):
                    panic(td, b"demotion changed the PV list lock")
                PMAP_UNLOCK(td, pm)
            continue
        pv = m.md.pv_first
        if pv == NULL:
            break
        pm = PV_PMAP(pv)
        visit(td, pv)
        if not lock_pmap_of(td, pm, lock, m, pvh, &m.md, WRITE_DROP, SITE_ALL, SITE_ALL_PMAP):
            continue
        pm.resident_count -= 1
        pde = pmap_pde(td, pm, pv.pv_va)
        pte = pmap_pde_to_pte(td, pde[0], pv.pv_va)
        touch_write(td, pte)
        touch_write(td, &pm.resident_count)
        old = pte_load_clear(pte)
        if old & PG_W:
            pm.wired_count -= 1
        harvest(td, m, old)
        pmap_unuse_pt(td, pm, pv.pv_va, pde[0], &free)
        pmap_invalidate_page(td, pm, pv.pv_va)
        pv_list_remove(td, &m.md, m.phys_addr, pv)
        free_pv_entry(td, pm, pv)
        PMAP_UNLOCK(td, pm)
    vm_page_aflag_clear(td, m, PGA_WRITEABLE)
    pv_list_wunlock(td, lock)
    pmap_delayed_invl_wait(td, m)
    vm_page_free_pages_toq(td, &free)


# Make every mapping of the page read-only.
#
# Locks in:   no pmap and no PV list lock.  Nobody maps the page meanwhile: its object is write-locked, or it is busied.
# Locks out:  the same.
# May block:  on the page's PV list lock, pmap locks; to demote, on chunk list and free page locks; then for DI blocks
#             to end; waits for the other CPUs' acknowledgements, the PV list lock held.  Never sleeps.
# Guarantees: nobody writes the page through a mapping; what was written is in its dirty field.
# Stands for: FreeBSD pmap_remove_write().
cdef void pmap_remove_write(thread* td, vm_page* m) noexcept nogil:
    cdef pvlock* lock = PHYS_TO_PV_LIST_LOCK(td, m.phys_addr)
    assert_managed(td, m)
    if (m.aflags & PGA_WRITEABLE) == 0:
        return
    charge(td, td.machine.cost.op, OPS_CALL)
    pv_list_wlock(td, lock, m.phys_addr, SITE_WRITE)
    while not write_protect_superpages(td, m, lock) or not write_protect_small(td, m, lock):
        pass
    pv_list_wunlock(td, lock)
    vm_page_aflag_clear(td, m, PGA_WRITEABLE)
    pmap_delayed_invl_wait(td, m)


# One pass over the superpage list: demote what is writable.
#
# Locks in:   the PV list lock of m, for write; no pmap lock.
# Locks out:  the same; dropped and taken again where a pmap lock had to be waited for.
# May block:  on pmap locks, the page's PV list lock; to demote, on chunk list and free page locks; waits for
#             the other CPUs' acknowledgements.  Never sleeps.
# Returns:    False: start again.
# Stands for: the first loop of FreeBSD pmap_remove_write().
cdef bint write_protect_superpages(thread* td, vm_page* m, pvlock* lock) noexcept nogil:
    cdef md_page* pvh = page_to_pvh(td, m)
    cdef pvlock* carried
    cdef pv_entry* pv = pvh.pv_first
    cdef pv_entry* next_pv
    cdef pmap* pm
    cdef pt_entry_t* pde
    PV_LIST_LOCK_ASSERT(td, m.phys_addr)
    touch_read(td, pvh)
    while pv != NULL:
        next_pv = pv.pv_next
        pm = PV_PMAP(pv)
        visit(td, pv)
        if not lock_pmap_of(td, pm, lock, m, pvh, NULL, WRITE_DROP, SITE_WRITE, SITE_WRITE_PMAP):
            return False
        pde = pmap_pde(td, pm, pv.pv_va)
        if pde[0] & PG_RW:
            carried = lock
            pmap_demote_pde_locked(td, pm, pde, pv.pv_va, &carried)
            if unlikely(carried != lock):
                panic(td, b"demotion changed the PV list lock")
        PMAP_UNLOCK(td, pm)
        pv = next_pv
    return True


# One pass over the page's own list.
#
# Locks in:   the PV list lock of m, for write; no pmap lock.
# Locks out:  the same; dropped and taken again where a pmap lock had to be waited for.
# May block:  on pmap locks, the page's PV list lock; waits for the other CPUs' acknowledgements.  Never sleeps.
# Returns:    False: start again.
# Stands for: the second loop of FreeBSD pmap_remove_write().
cdef bint write_protect_small(thread* td, vm_page* m, pvlock* lock) noexcept nogil:
    cdef md_page* pvh = page_to_pvh(td, m)
    cdef pv_entry* pv = m.md.pv_first
    cdef pmap* pm
    cdef pt_entry_t* pte
    cdef pt_entry_t old
    PV_LIST_LOCK_ASSERT(td, m.phys_addr)
    touch_read(td, &m.md)
    while pv != NULL:
        pm = PV_PMAP(pv)
        visit(td, pv)
        if not lock_pmap_of(td, pm, lock, m, pvh, &m.md, WRITE_DROP, SITE_WRITE, SITE_WRITE_PMAP):
            return False
        pte = pmap_pde_to_pte(td, pmap_pde(td, pm, pv.pv_va)[0], pv.pv_va)
        old = pte[0]
        if old & PG_RW:
            touch_write(td, pte)
        while old & PG_RW and not pte_cas(pte, old, old & ~(PG_RW | PG_M)):
            old = pte[0]
        if old & PG_RW:
            if old & PG_M:
                vm_page_dirty(td, m)
            pmap_invalidate_page(td, pm, pv.pv_va)
        PMAP_UNLOCK(td, pm)
        pv = pv.pv_next
    return True


# Move a visited entry to the end, so that the next scan starts with others.
#
# Locks in: the PV list lock of pa, for write.  Locks out: the same.  May block: never.
# Stands for: the TAILQ_REMOVE(), TAILQ_INSERT_TAIL() and pv_gen++ of FreeBSD pmap_ts_referenced().
cdef inline void rotate(thread* td, md_page* md, vm_paddr_t pa, pv_entry* pv) noexcept nogil:
    PV_LIST_LOCK_ASSERT(td, pa)
    if pv.pv_next != NULL:
        pv_list_remove(td, md, pa, pv)
        pv_list_insert_tail(td, md, pa, pv)
        md.pv_gen -= 1                  # one change, as far as anybody can see


# Count mappings through which the page was referenced, and clear their mark.  At most 5 are counted: enough to know.
#
# A superpage's mark speaks for 512 pages: it is cleared for one of them, picked by address, and only counted for the
# others.
#
# Locks in:   the "vm page" mutex of m: nobody else moves the lists' entries.  No pmap and no PV list lock.  Neither
#             object nor busy lock: the answer is a hint.
# Locks out:  the same.
# May block:  on the page's PV list lock, pmap locks; waits for the other CPUs' acknowledgements, the PV list lock held.
#             Never sleeps.
# Returns:    how many.
# Stands for: FreeBSD pmap_ts_referenced().
cdef int pmap_ts_referenced(thread* td, vm_page* m) noexcept nogil:
    cdef pvlock* lock = PHYS_TO_PV_LIST_LOCK(td, m.phys_addr)
    cdef int found = 0                  # since the last restart, and cleared ones of before it
    cdef int cleared = 0
    assert_managed(td, m)
    vm_page_assert_locked(td, m)
    charge(td, td.machine.cost.op, OPS_CALL)
    pv_list_wlock(td, lock, m.phys_addr, SITE_TS)
    while True:
        found = 0                       # not cleared, this time round; cleared ones stay counted
        if ts_referenced_superpages(td, m, lock, &cleared, &found) and (
                cleared + found >= PMAP_TS_REFERENCED_MAX or ts_referenced_small(td, m, lock, &cleared, &found)):
            break
    pv_list_wunlock(td, lock)
    return cleared + found


# The superpage list's part.
#
# Locks in:   the PV list lock of m, for write; no pmap lock.
# Locks out:  the same; dropped and taken again where a pmap lock had to be waited for.
# May block:  on pmap locks, the page's PV list lock; waits for the other CPUs' acknowledgements.  Never sleeps.
# Returns:    False: start again.
# Stands for: the first loop of FreeBSD pmap_ts_referenced().
cdef bint ts_referenced_superpages(thread* td, vm_page* m, pvlock* lock, int* cleared, int* found) noexcept nogil:
    cdef md_page* pvh = page_to_pvh(td, m)
    cdef pv_entry* first = pvh.pv_first
    cdef pv_entry* pv = first
    cdef pmap* pm
    cdef pt_entry_t* pde
    cdef pt_entry_t old
    cdef uint64_t pick
    PV_LIST_LOCK_ASSERT(td, m.phys_addr)
    touch_read(td, pvh)
    while pv != NULL:
        pm = PV_PMAP(pv)
        visit(td, pv)
        if not lock_pmap_of(td, pm, lock, m, pvh, NULL, WRITE, SITE_TS, SITE_TS_PMAP):
            return False
        pde = pmap_pde(td, pm, pv.pv_va)
        old = pde[0]
        if pte_dirty(old):
            vm_page_dirty(td, m)
        if old & PG_A:
            pick = (m.phys_addr >> PAGE_SHIFT) ^ (pv.pv_va >> PDRSHIFT) ^ arena_offset(td.machine, pm)
            if pick & (NPTEPG - 1) == 0 and (old & PG_W) == 0:
                touch_write(td, pde)
                pte_clear_bits(pde, PG_A)
                pmap_invalidate_page(td, pm, pv.pv_va)
                cleared[0] += 1
            else:
                found[0] += 1
        PMAP_UNLOCK(td, pm)
        rotate(td, pvh, m.phys_addr, pv)
        if cleared[0] + found[0] >= PMAP_TS_REFERENCED_MAX:
            break
        pv = pvh.pv_first
        if pv == first:
            break
    return True


# The page's own list's part.
#
# Locks in:   the PV list lock of m, for write; no pmap lock.
# Locks out:  the same; dropped and taken again where a pmap lock had to be waited for.
# May block:  on pmap locks, the page's PV list lock; waits for the other CPUs' acknowledgements.  Never sleeps.
# Returns:    False: start again.
# Stands for: the second loop of FreeBSD pmap_ts_referenced().
cdef bint ts_referenced_small(thread* td, vm_page* m, pvlock* lock, int* cleared, int* found) noexcept nogil:
    cdef md_page* pvh = page_to_pvh(td, m)
    cdef pv_entry* first = m.md.pv_first
    cdef pv_entry* pv = first
    cdef pmap* pm
    cdef pt_entry_t* pte
    PV_LIST_LOCK_ASSERT(td, m.phys_addr)
    touch_read(td, &m.md)
    while pv != NULL:
        pm = PV_PMAP(pv)
        visit(td, pv)
        if not lock_pmap_of(td, pm, lock, m, pvh, &m.md, WRITE, SITE_TS, SITE_TS_PMAP):
            return False
        pte = pmap_pde_to_pte(td, pmap_pde(td, pm, pv.pv_va)[0], pv.pv_va)
        if pte_dirty(pte[0]):
            vm_page_dirty(td, m)
        if pte[0] & PG_A:
            touch_write(td, pte)
            pte_clear_bits(pte, PG_A)
            pmap_invalidate_page(td, pm, pv.pv_va)
            cleared[0] += 1
        PMAP_UNLOCK(td, pm)
        rotate(td, &m.md, m.phys_addr, pv)
        if cleared[0] + found[0] >= PMAP_TS_REFERENCED_MAX:
            break
        pv = m.md.pv_first
        if pv == first:
            break
    return True


# One list's mappings: has one of them been written through?
#
# Locks in:   the PV list lock of m, for read; no pmap lock.
# Locks out:  the same; dropped and taken again where a pmap lock had to be waited for.
# May block:  on pmap locks, the page's PV list lock.  Never sleeps.
# Returns:    1 yes, 0 no, -1 start again.
# Stands for: a loop of FreeBSD pmap_page_test_mappings().
cdef int test_modified(thread* td, vm_page* m, pvlock* lock, md_page* list_, bint superpages) noexcept nogil:
    cdef pv_entry* pv = list_.pv_first
    cdef pmap* pm
    cdef pt_entry_t pte
    PV_LIST_READ_ASSERT(td, lock)
    touch_read(td, list_)
    while pv != NULL:
        pm = PV_PMAP(pv)
        visit(td, pv)
        # For the superpage list both generations count, for the page's list its own alone.
        if not lock_pmap_of(td, pm, lock, m, list_, &m.md if superpages else NULL, READ, SITE_TEST, SITE_TEST_PMAP):
            return -1
        pte = pmap_pde(td, pm, pv.pv_va)[0]
        if not superpages:
            pte = pmap_pde_to_pte(td, pte, pv.pv_va)[0]
        PMAP_UNLOCK(td, pm)
        if pte_dirty(pte):
            return 1
        pv = pv.pv_next
    return 0


# Has the page been written through a mapping since that was last noted in its dirty field?
#
# Locks in:   no pmap and no PV list lock.  If the answer is to last, the object locked or the page busied.
# Locks out:  the same.
# May block:  on the page's PV list lock (read), pmap locks.  Never sleeps.
# Stands for: FreeBSD pmap_is_modified() and pmap_page_test_mappings().
cdef bint pmap_is_modified(thread* td, vm_page* m) noexcept nogil:
    cdef pvlock* lock = PHYS_TO_PV_LIST_LOCK(td, m.phys_addr)
    cdef int answer = -1
    assert_managed(td, m)
    if m.busy_lock == VPB_UNBUSIED and (m.aflags & PGA_WRITEABLE) == 0:
        return False
    charge(td, td.machine.cost.op, OPS_CALL)
    pv_list_rlock(td, lock, m.phys_addr, SITE_TEST)
    while answer < 0:
        answer = test_modified(td, m, lock, &m.md, False)
        if answer == 0:
            answer = test_modified(td, m, lock, page_to_pvh(td, m), True)
    pv_list_runlock(td, lock)
    return answer == 1


# Is the page mapped by pm?  Looks at 16 entries at most: False may be wrong.
#
# Locks in:   no PV list lock.
# Locks out:  the same.
# May block:  on the page's PV list lock (read).  Never sleeps.
# Stands for: FreeBSD pmap_page_exists_quick().
cdef bint pmap_page_exists_quick(thread* td, pmap* pm, vm_page* m) noexcept nogil:
    cdef pvlock* lock = PHYS_TO_PV_LIST_LOCK(td, m.phys_addr)
    cdef pv_entry* pv = m.md.pv_first
    cdef bint in_superpages = False
    cdef bint found = False
    cdef int loops = 0
    assert_managed(td, m)
    charge(td, td.machine.cost.op, OPS_CALL)
    pv_list_rlock(td, lock, m.phys_addr, SITE_EXISTS)
    touch_read(td, &m.md)
    pv = m.md.pv_first
    while loops < EXISTS_QUICK_MAX:
        if pv == NULL:
            if in_superpages:
                break
            in_superpages = True
            pv = page_to_pvh(td, m).pv_first
            continue
        touch_read(td, pv)
        touch_read(td, pv_to_chunk(pv))
        charge(td, td.machine.cost.op, 1)
        if PV_PMAP(pv) == pm:
            found = True
            break
        pv = pv.pv_next
        loops += 1
    pv_list_runlock(td, lock)
    return found
