# Test door to pmaps: what the lab has, and besides it memory hogged, locks held to look at their waiters, delayed
# invalidation by hand, things broken on purpose, and operations that do not ask first.

from libc.stdint cimport int64_t, uint16_t, uint64_t

from finegrain.kernel.locks.mtx cimport mtx_lock, mtx_unlock
from finegrain.kernel.locks.profile cimport lock_site
from finegrain.kernel.phys.page cimport PHYS_TO_VM_PAGE, vm_page_alloc_noobj, vm_page_free
from finegrain.kernel.pmap.chunk cimport pv_list_insert_tail, pv_state
from finegrain.kernel.pmap.di cimport (
    pmap_delayed_invl_finish, pmap_delayed_invl_page, pmap_delayed_invl_start, pmap_delayed_invl_wait)
from finegrain.kernel.pmap.pvlock cimport (
    PHYS_TO_PV_LIST_LOCK, pv_head_at, pv_list_rlock, pv_list_runlock, pv_list_wlock, pv_list_wunlock, pvlock)
from finegrain.kernel.types cimport pmap, pv_chunk, pv_entry, vm_page
from finegrain.lab.pmaps cimport Pmaps as LabPmaps, pmaps_world
from finegrain.lab.run cimport Operations, lab_call, whole
from finegrain.machine.simulated.types cimport sim
from finegrain.machine.seam cimport arena_alloc, charge, now
from finegrain.machine.thread cimport thread

cdef extern from "<sys/mman.h>":
    int mincore(void* start, size_t length, unsigned char* seen)

cdef uint16_t SITE = lock_site(b"door pmap")

cdef enum:
    MAX_HOGGED = 1 << 16

# What corrupt() can break.
cdef enum breaks:
    BREAK_RESIDENT = 0                  # the pmap counts a page too many
    BREAK_VA                            # an entry's address
    BREAK_FREED                         # an entry in use is marked free
    BREAK_TAKEN                         # a free one in use
    BREAK_LINK                          # a PV list's link
    BREAK_TABLES                        # the pmap counts a page table too few
    BREAK_WIRED                         # a wired page too few
    BREAK_LAST                          # the end of its list of chunks
    BREAK_NOTHING                       # harmless: what a check that always complains would trip on
    BREAK_LRU                           # the list of all chunks

BREAKS = ("resident", "va", "freed", "taken", "link", "tables", "wired", "last", "nothing", "lru")

cdef struct hogs:
    vm_page* pages[MAX_HOGGED]
    int64_t count


# --- memory

cdef int64_t op_unhog(thread* td, lab_call* c) noexcept nogil:
    cdef hogs* h = <hogs*>c.world.extra
    while h.count > 0:
        h.count -= 1
        vm_page_free(td, h.pages[h.count])
    return 0


cdef int64_t op_hog(thread* td, lab_call* c) noexcept nogil:
    cdef hogs* h = <hogs*>c.world.extra
    cdef int64_t _i
    cdef vm_page* m
    while h.count < MAX_HOGGED:
        m = vm_page_alloc_noobj(td, -1, 0)
        if m == NULL:
            break
        h.pages[h.count] = m
        h.count += 1
    for _i in range(c.a[0]):
        if h.count > 0:
            h.count -= 1
            vm_page_free(td, h.pages[h.count])
    return h.count


# --- locks held on a CPU: what waits for them can be looked at

cdef int64_t op_hold_chunk_list(thread* td, lab_call* c) noexcept nogil:
    cdef pv_state* pv = <pv_state*>td.machine.pv
    mtx_lock(td, &pv.chunk_list_lock, SITE)
    charge(td, c.a[0], 1)
    mtx_unlock(td, &pv.chunk_list_lock)
    return 0


cdef int64_t op_hold_pv_list(thread* td, lab_call* c) noexcept nogil:
    cdef pvlock* lock = PHYS_TO_PV_LIST_LOCK(td, <uint64_t>c.a[0])
    pv_list_wlock(td, lock, <uint64_t>c.a[0], SITE)
    charge(td, c.a[1], 1)
    pv_list_wunlock(td, lock)
    return 0


cdef int64_t op_read_pv_list(thread* td, lab_call* c) noexcept nogil:
    cdef pvlock* lock = PHYS_TO_PV_LIST_LOCK(td, <uint64_t>c.a[0])
    pv_list_rlock(td, lock, <uint64_t>c.a[0], SITE)
    charge(td, c.a[1], 1)
    pv_list_runlock(td, lock)
    return 0


cdef int64_t op_hold_pmap(thread* td, lab_call* c) noexcept nogil:
    cdef pmap* pm = &(<pmaps_world*>c.world).pmaps[c.a[0]]
    mtx_lock(td, &pm.pm_mtx, SITE)
    charge(td, c.a[1], 1)
    mtx_unlock(td, &pm.pm_mtx)
    return 0


# --- delayed invalidation

cdef int64_t op_di_start(thread* td, lab_call* c) noexcept nogil:
    pmap_delayed_invl_start(td)
    return 0


cdef int64_t op_di_page(thread* td, lab_call* c) noexcept nogil:
    cdef pvlock* lock = PHYS_TO_PV_LIST_LOCK(td, <uint64_t>c.a[0])
    pv_list_wlock(td, lock, <uint64_t>c.a[0], SITE)
    pmap_delayed_invl_page(td, PHYS_TO_VM_PAGE(td, <uint64_t>c.a[0]))
    pv_list_wunlock(td, lock)
    return 0


cdef int64_t op_di_finish(thread* td, lab_call* c) noexcept nogil:
    pmap_delayed_invl_finish(td)
    return 0


cdef int64_t op_di_wait(thread* td, lab_call* c) noexcept nogil:
    pmap_delayed_invl_wait(td, PHYS_TO_VM_PAGE(td, <uint64_t>c.a[0]))
    return now(td)


cdef int64_t op_clock(thread* td, lab_call* c) noexcept nogil:
    return now(td)


# --- what must not be

cdef int64_t op_insert_unlocked(thread* td, lab_call* c) noexcept nogil:
    cdef pv_entry pv
    cdef vm_page* m = PHYS_TO_VM_PAGE(td, <uint64_t>c.a[0])
    pv_list_insert_tail(td, &m.md, m.phys_addr, &pv)
    return 0


# Break something on purpose, for the audits to find.
cdef int64_t op_corrupt(thread* td, lab_call* c) noexcept nogil:
    cdef pmap* pm = &(<pmaps_world*>c.world).pmaps[c.a[0]]
    cdef int64_t what = c.a[1]
    cdef pv_chunk* pc = pm.pm_pvchunk_first
    cdef pv_entry* pv = &pc.pc_pventry[0]
    if what == BREAK_RESIDENT:
        pm.resident_count += 1
    elif what == BREAK_VA:
        pv.pv_va += 1 << 12
    elif what == BREAK_FREED:
        pc.pc_map[0] |= 1
    elif what == BREAK_TAKEN:
        pc.pc_map[2] &= ~(<uint64_t>1 << 39)
    elif what == BREAK_LINK:
        pv.pv_next = &pc.pc_pventry[1] if pv.pv_next == NULL else NULL
    elif what == BREAK_TABLES:
        pm.ptp_count -= 1
    elif what == BREAK_WIRED:
        pm.wired_count -= 1
    elif what == BREAK_LAST:
        pm.pm_pvchunk_last = NULL
    elif what == BREAK_NOTHING:
        pm.pm_pml4_page.md.pv_gen += 1
    elif what == BREAK_LRU:
        (<pv_state*>td.machine.pv).lru_first = NULL
    return 0


cdef Operations OPERATIONS = None


cdef class Pmaps(LabPmaps):
    """The lab's pmaps with more operations. `checked` False: no operation asks before it acts."""

    def __cinit__(self, machine, segments=None, *, design="head", checked=True):
        self.world.extra = arena_alloc(self.machine.m, sizeof(hogs))
        self.world.checked = checked

    def __init__(self, machine, segments=None, *, design="head", checked=True):
        """See the class."""

    cdef Operations table(self):
        global OPERATIONS
        if OPERATIONS is None:
            OPERATIONS = LabPmaps.table(self).extended()
            OPERATIONS.add("hog", "number", op_hog, "take memory until so many pages are left")
            OPERATIONS.add("unhog", "", op_unhog, "give it back")
            OPERATIONS.add("hold_chunk_list", "time", op_hold_chunk_list, "hold the chunk list's mutex")
            OPERATIONS.add("hold_pv_list", "page time", op_hold_pv_list, "hold a page's PV list lock for write")
            OPERATIONS.add("read_pv_list", "page time", op_read_pv_list, "hold it for read")
            OPERATIONS.add("hold_pmap", "pmap time", op_hold_pmap, "hold a pmap's lock")
            OPERATIONS.add("di_start", "", op_di_start, "begin a delayed-invalidation block")
            OPERATIONS.add("di_page", "page", op_di_page, "mark a page in it")
            OPERATIONS.add("di_finish", "", op_di_finish, "end it")
            OPERATIONS.add("di_wait", "page", op_di_wait, "wait for a page's blocks: the time then")
            OPERATIONS.add("clock", "", op_clock, "the time")
            OPERATIONS.add("insert_unlocked", "page", op_insert_unlocked, "a pv entry for a page, without its lock")
            OPERATIONS.add("corrupt", "pmap what:breaks", op_corrupt, "break something on purpose")
        return OPERATIONS

    cdef object value(self, str kind, str what, object given):
        if kind == "breaks":
            return BREAKS.index(given)
        if kind == "number":
            return whole(what, given, 0, MAX_HOGGED, "a number of pages")
        return LabPmaps.value(self, kind, what, given)

    def write_back(self, start, end):
        """Write to each superpage's list head from `start` up to `end` the byte that is there."""
        cdef uint64_t pa
        cdef volatile char* at
        self.place(start)               # refuses what is no address
        for pa in range(start, end, 2 << 20):
            at = <volatile char*>pv_head_at(self.locks, pa)
            at[0] = at[0]

    def arena_resident(self):
        """Bytes of the kernel's memory that are resident: of what was allocated, what has been touched."""
        cdef sim* machine = <sim*>self.machine.m
        cdef char* start = machine.memory.base + machine.m.dmap_size
        cdef uint64_t pages = (machine.memory.bump - machine.m.dmap_size + 4095) // 4096
        cdef bytearray seen = bytearray(pages)
        if mincore(start, pages * 4096, <unsigned char*>seen) != 0:
            raise OSError("mincore")
        return 4096 * sum(page & 1 for page in seen)
