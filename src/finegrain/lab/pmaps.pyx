# Pmaps from Python: mappings made and removed, PV lists, superpages, and the locks that it took.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.boot cimport KERNEL_PMAP, kernel_config, kernel_config_from, kernel_create
from finegrain.kernel.locks cimport (
    MAX_LOCK_NAMES, MAX_SITES, lock_class_text, lock_name, lock_name_text, lock_profile_sum, lock_record, lock_site,
    lock_site_text, mtx, mtx_lock, mtx_unlock, rw_init, rw_rlock, rw_runlock, rw_wlock, rw_wunlock)
from finegrain.kernel.phys cimport (
    PHYS_TO_VM_PAGE, VM_ALLOC_NOBUSY, phys_allocated_pages, phys_audit, phys_of, vm_page_alloc, vm_page_free,
    vm_page_lockptr, vm_radix_lookup, vm_radix_free, vm_reserv_break_all, vm_reserv_to_superpage)
from finegrain.kernel.pmap cimport (
    CHUNKS_FREED_MAX, PMAP_ENTER_NOSLEEP, PMAP_ENTER_WIRED, PV_PMAP, pm_radix_lookup_ge, pmap_access,
    pmap_activate, pmap_audit, pmap_copy, pmap_deactivate, pmap_enter, pmap_enter_object, pmap_enter_quick,
    pmap_extract, pmap_is_modified, pmap_is_prefaultable, pmap_page_exists_quick, pmap_pinit, pmap_protect,
    pmap_release, pmap_remove, pmap_remove_all, pmap_remove_pages, pmap_remove_write, pmap_state,
    pmap_ts_referenced, pv_audit, pv_head_at, pv_invl_gen_at, pv_invl_gen_of, pv_lock_at, pv_lock_id, pv_lock_index,
    pv_state, radix_pages)
from finegrain.kernel.types cimport (
    NPCM, NPTEPG, PAGE_SHIFT, PDRSHIFT, PG_ALLOCATED, VM_PROT_WRITE, VPB_EXCLUSIVE, VPB_UNBUSIED, pv_chunk, pv_entry,
    vm_page)
from finegrain.lab.memory cimport add_times, page_address
from finegrain.lab.pvspace cimport regions_of
from finegrain.lab.run cimport ALONE, Operations, checked_config, fresh, lab_call, lab_job, lacks, whole
from finegrain.machine.seam cimport arena_offset, panic, sleep_for, stopping
from finegrain.machine.simulated.simulated cimport SimulatedMachine
from finegrain.machine.thread cimport machine as machine_struct, thread

cdef enum:
    BUSY_PS = 1000000                   # 1 us: between looks whether a page is still busied

cdef uint16_t NAME_OBJECT = lock_name(b"rw", b"vm object")
cdef uint16_t SITE_OBJECT = lock_site(b"lab/object")
cdef uint16_t SITE_PAGE = lock_site(b"lab/page")

cdef enum:
    SUPERPAGE = 1 << PDRSHIFT
    USER_TOP = 1 << 47


cdef inline pmap* pmap_at(lab_call* c, int i) noexcept nogil:
    return &(<pmaps_world*>c.world).pmaps[c.a[i]]


cdef inline vm_page* page_at(thread* td, lab_call* c, int i) noexcept nogil:
    return PHYS_TO_VM_PAGE(td, <uint64_t>c.a[i])


cdef inline bint not_made(lab_call* c, int i) noexcept nogil:
    return lacks(c, pmap_at(c, i).pm_pml4 != NULL, b"the pmap is not made: pinit comes first")


# Pages of page tables and pv chunks are the kernel's own.
cdef inline bint not_yours(lab_call* c, vm_page* m) noexcept nogil:
    return lacks(c, m.flags & PG_ALLOCATED and m.object != NULL, b"the page is free, or the kernel's own")


cdef bint mapped(thread* td, vm_page* m) noexcept nogil:
    return (m.md.pv_first != NULL
            or pv_head_at(<pvlock_state*>td.machine.pvlock, m.phys_addr).pv_first != NULL)


# --- the pmaps' lives

cdef int64_t op_pinit(thread* td, lab_call* c) noexcept nogil:
    cdef pmap* pm = pmap_at(c, 0)
    if lacks(c, pm.pm_pml4 == NULL, b"the pmap is made already"):
        return 0
    pmap_pinit(td, pm)
    return pm.pm_id


cdef int64_t op_release(thread* td, lab_call* c) noexcept nogil:
    cdef pmap* pm = pmap_at(c, 0)
    if (not_made(c, 0) or lacks(c, pm.pm_active == 0, b"a thread uses the pmap: deactivate comes first")
            or lacks(c, pm.resident_count == 0 and pm.ptp_count == 1 and pm.pm_root == NULL
                     and pm.pm_pvchunk_first == NULL, b"the pmap is not empty")):
        return 0
    pmap_release(td, pm)
    return 0


cdef int64_t op_activate(thread* td, lab_call* c) noexcept nogil:
    if not not_made(c, 0):
        pmap_activate(td, pmap_at(c, 0))
    return 0


cdef int64_t op_deactivate(thread* td, lab_call* c) noexcept nogil:
    if not lacks(c, td.pmap == <void*>pmap_at(c, 0), b"the thread does not use the pmap"):
        pmap_deactivate(td, pmap_at(c, 0))
    return 0


# One thread at a time maps a page, takes its mappings away or makes them read-only: those functions need it, and their
# callers in FreeBSD busy the page.  Costs no time unless another thread is at it.
#
# Locks in: none.  Locks out: the page is busied.  May block: sleeps until it is not.
cdef void page_busy(thread* td, vm_page* m) noexcept nogil:
    while m.busy_lock != VPB_UNBUSIED and not stopping(td.machine):
        sleep_for(td, BUSY_PS)
    m.busy_lock = VPB_EXCLUSIVE


# Locks in: the page is busied by td.  Locks out: it is not.  May block: never.
cdef void page_unbusy(vm_page* m) noexcept nogil:
    m.busy_lock = VPB_UNBUSIED


# --- making mappings

# Is the page the first of a full reservation?
#
# Locks in: not its object.  Locks out: the same.  May block: on the object's lock.
cdef bint begins_superpage(thread* td, vm_page* m) noexcept nogil:
    cdef vm_object* obj = m.object
    cdef bint answer
    rw_rlock(td, &obj.lock, SITE_OBJECT)
    answer = vm_reserv_to_superpage(td, m) == m
    rw_runlock(td, &obj.lock)
    return answer


cdef int64_t op_enter(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_at(td, c, 2)
    cdef int64_t* a = c.a
    cdef bint write = (a[3] & VM_PROT_WRITE) != 0
    cdef int result
    if (not_made(c, 0) or not_yours(c, m)
            or lacks(c, write or not a[4] & VM_PROT_WRITE, b"an access that writes needs the right to write")):
        return 0
    if a[5] and (lacks(c, (a[1] | a[2]) & (SUPERPAGE - 1) == 0, b"a superpage is mapped at multiples of 2 MB")
                 or lacks(c, not a[4] & PMAP_ENTER_WIRED, b"a superpage mapping cannot be wired")
                 or lacks(c, not write or a[4] & VM_PROT_WRITE, b"a writable superpage mapping must be written to")
                 or lacks(c, begins_superpage(td, m), b"the page does not begin a full superpage")):
        return 0
    page_busy(td, m)
    result = pmap_enter(td, pmap_at(c, 0), <uint64_t>a[1], m, <int>a[3], <int>a[4], <int>a[5])
    page_unbusy(m)
    return result


cdef int64_t op_enter_object(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_at(td, c, 3)
    cdef vm_object* obj = m.object
    if (not_made(c, 0) or not_yours(c, m)
            or lacks(c, c.a[1] <= c.a[2], b"the range ends before it begins")):
        return 0
    rw_rlock(td, &obj.lock, SITE_OBJECT)
    if not lacks(c, m.object == obj, b"the page went with its object"):
        pmap_enter_object(td, pmap_at(c, 0), <uint64_t>c.a[1], <uint64_t>c.a[2], m, <int>c.a[4])
    rw_runlock(td, &obj.lock)
    return 0


cdef int64_t op_enter_quick(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_at(td, c, 2)
    if not (not_made(c, 0) or not_yours(c, m)):
        pmap_enter_quick(td, pmap_at(c, 0), <uint64_t>c.a[1], m, <int>c.a[3])
    return 0


cdef int64_t op_copy(thread* td, lab_call* c) noexcept nogil:
    if not (not_made(c, 0) or not_made(c, 1) or lacks(c, c.a[0] != c.a[1], b"a pmap cannot be copied to itself")
            or lacks(c, c.a[2] <= c.a[3], b"the range ends before it begins")):
        pmap_copy(td, pmap_at(c, 0), pmap_at(c, 1), <uint64_t>c.a[2], <uint64_t>c.a[3])
    return 0


# --- changing and removing them

cdef int64_t op_protect(thread* td, lab_call* c) noexcept nogil:
    if not (not_made(c, 0) or lacks(c, c.a[1] <= c.a[2], b"the range ends before it begins")):
        pmap_protect(td, pmap_at(c, 0), <uint64_t>c.a[1], <uint64_t>c.a[2], <int>c.a[3])
    return 0


cdef int64_t op_remove(thread* td, lab_call* c) noexcept nogil:
    if not (not_made(c, 0) or lacks(c, c.a[1] <= c.a[2], b"the range ends before it begins")):
        pmap_remove(td, pmap_at(c, 0), <uint64_t>c.a[1], <uint64_t>c.a[2])
    return 0


cdef int64_t op_remove_pages(thread* td, lab_call* c) noexcept nogil:
    cdef pmap* pm = pmap_at(c, 0)
    cdef uint64_t own = td.pmap == <void*>pm
    if not_made(c, 0) or lacks(c, pm.pm_active == own, b"another thread uses the pmap"):
        return 0
    pmap_activate(td, pm)
    pmap_remove_pages(td, pm)
    pmap_deactivate(td, pm)
    return 0


cdef int64_t op_remove_all(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_at(td, c, 0)
    if not not_yours(c, m):
        page_busy(td, m)
        pmap_remove_all(td, m)
        page_unbusy(m)
    return 0


cdef int64_t op_remove_write(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_at(td, c, 0)
    if not not_yours(c, m):
        page_busy(td, m)
        pmap_remove_write(td, m)
        page_unbusy(m)
    return 0


# --- asking

cdef int64_t op_extract(thread* td, lab_call* c) noexcept nogil:
    return 0 if not_made(c, 0) else <int64_t>pmap_extract(td, pmap_at(c, 0), <uint64_t>c.a[1])


cdef int64_t op_is_prefaultable(thread* td, lab_call* c) noexcept nogil:
    return 0 if not_made(c, 0) else pmap_is_prefaultable(td, pmap_at(c, 0), <uint64_t>c.a[1])


cdef int64_t op_access(thread* td, lab_call* c) noexcept nogil:
    return 0 if not_made(c, 0) else pmap_access(td, pmap_at(c, 0), <uint64_t>c.a[1], <int>c.a[2])


cdef int64_t op_exists_quick(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_at(td, c, 1)
    return 0 if not_made(c, 0) or not_yours(c, m) else pmap_page_exists_quick(td, pmap_at(c, 0), m)


cdef int64_t op_ts_referenced(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_at(td, c, 0)
    cdef mtx* lock = vm_page_lockptr(phys_of(td), m)
    cdef int64_t count
    if not_yours(c, m):
        return 0
    mtx_lock(td, lock, SITE_PAGE)
    count = pmap_ts_referenced(td, m)
    mtx_unlock(td, lock)
    return count


cdef int64_t op_is_modified(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_at(td, c, 0)
    return 0 if not_yours(c, m) else pmap_is_modified(td, m)


# --- pages to map

cdef int64_t op_alloc(thread* td, lab_call* c) noexcept nogil:
    cdef vm_object* obj = &(<pmaps_world*>c.world).objects[c.a[0]]
    cdef vm_page* m = NULL
    rw_wlock(td, &obj.lock, SITE_OBJECT)
    if not lacks(c, vm_radix_lookup(obj, <uint64_t>c.a[1]) == NULL, b"a page is resident at this index"):
        m = vm_page_alloc(td, obj, <uint64_t>c.a[1], VM_ALLOC_NOBUSY)
    rw_wunlock(td, &obj.lock)
    return 0 if m == NULL else <int64_t>m.phys_addr


cdef int64_t op_free(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_at(td, c, 0)
    cdef vm_object* obj = m.object
    if not_yours(c, m):
        return 0
    rw_wlock(td, &obj.lock, SITE_OBJECT)
    if not (lacks(c, m.object == obj, b"the page went with its object")
            or lacks(c, not mapped(td, m), b"the page is mapped: remove_all comes first")):
        vm_page_free(td, m)
    rw_wunlock(td, &obj.lock)
    return 0


cdef int64_t op_terminate(thread* td, lab_call* c) noexcept nogil:
    cdef vm_object* obj = &(<pmaps_world*>c.world).objects[c.a[0]]
    cdef vm_page* m
    rw_wlock(td, &obj.lock, SITE_OBJECT)
    m = obj.memq_first
    while m != NULL and c.refused == NULL:
        lacks(c, not mapped(td, m), b"a page of the object is mapped")
        lacks(c, c.world.slots[SLOT_PAGE][m.phys_addr >> PAGE_SHIFT] == 0,
              b"another thread is at work on a page of the object")
        m = m.listq_next
    if c.refused == NULL:
        # Nobody may begin to work on a page while the freeing of another waits for a lock.
        m = obj.memq_first
        while m != NULL:
            c.world.slots[SLOT_PAGE][m.phys_addr >> PAGE_SHIFT] = ALONE
            m = m.listq_next
        while obj.memq_first != NULL:
            m = obj.memq_first
            vm_page_free(td, m)
            c.world.slots[SLOT_PAGE][m.phys_addr >> PAGE_SHIFT] = 0
        vm_reserv_break_all(td, obj)
        vm_radix_free(td, obj)
    rw_wunlock(td, &obj.lock)
    return 0


# Leave no pmap in use behind.
cdef void leave(thread* td, lab_job* job) noexcept nogil:
    if td.pmap != NULL:
        pmap_deactivate(td, <pmap*>td.pmap)
    if td.nheld != 0:
        panic(td, b"an operation left a lock held")


cdef Operations OPERATIONS = Operations({"object": SLOT_OBJECT, "page": SLOT_PAGE, "pmap": SLOT_PMAP})
OPERATIONS.add("pinit", "!pmap", op_pinit, "make a pmap, empty: its id in PV lists")
OPERATIONS.add("release", "!pmap", op_release, "give an empty pmap up")
OPERATIONS.add("activate", "pmap", op_activate, "the thread runs with the pmap from now on")
OPERATIONS.add("deactivate", "pmap", op_deactivate, "the thread runs with no pmap")
OPERATIONS.add("enter", "pmap va page prot access=0 superpage=0", op_enter,
               "map a page (1: the superpage that it begins) for an access of 1 read, 2 write, 4 execute, plus 0x100: "
               "do not sleep, 0x200: wired; 0, or 6 when memory was short")
OPERATIONS.add("enter_object", "pmap start:va end page prot", op_enter_object,
               "map what is resident of an object from a page on, read-only, into a range")
OPERATIONS.add("enter_quick", "pmap va page prot", op_enter_quick, "map a page read-only, if nothing is mapped there")
OPERATIONS.add("copy", "to:pmap from:pmap start:va end", op_copy, "copy the mappings of a range, as fork does")
OPERATIONS.add("protect", "pmap start:va end prot", op_protect, "take rights away in a range")
OPERATIONS.add("remove", "pmap start:va end", op_remove, "remove the mappings of a range, as munmap does")
OPERATIONS.add("remove_pages", "pmap", op_remove_pages, "remove all mappings but wired ones, as exit does")
OPERATIONS.add("remove_all", "page", op_remove_all, "remove all mappings of a page")
OPERATIONS.add("remove_write", "page", op_remove_write, "make all mappings of a page read-only")
OPERATIONS.add("extract", "pmap va:byte", op_extract, "the physical address behind a virtual one, or 0")
OPERATIONS.add("is_prefaultable", "pmap va:byte", op_is_prefaultable, "1: not mapped, and a page table is there")
OPERATIONS.add("access", "pmap va:byte prot", op_access, "what the CPU does: 1, or 0 where it would fault")
OPERATIONS.add("exists_quick", "pmap page", op_exists_quick, "1: one of the page's first 16 mappings is the pmap's")
OPERATIONS.add("ts_referenced", "page", op_ts_referenced, "count and clear a page's references, up to 5")
OPERATIONS.add("is_modified", "page", op_is_modified, "1: a mapping of the page was written through")
OPERATIONS.add("alloc", "object index", op_alloc, "a page of an object: its address, 0 when there is none")
OPERATIONS.add("free", "!page", op_free, "give a page back that is not mapped")
OPERATIONS.add("terminate", "!object", op_terminate, "free all of an object's pages")
add_times(OPERATIONS)


cdef class Pmaps(Lab):
    """Pmaps over physical memory: mappings, PV entries and lists, superpages, under a design of the PV list lock.

    `segments` are (start, end, domain); None: all of the machine's memory above 1 MB. `design` is a spelling such as
    "head" or "superpage+batch", or a `finegrain.design.Design`. `operations()` lists what threads can do. A pmap is
    known by a number from 0 to 1,023 and begins with `pinit`; an object by the number that `object()` gave it; a page
    by its physical address.
    """

    def __cinit__(self, SimulatedMachine machine not None, segments=None, *, design="head", **_):
        cdef kernel_config config
        segments, design = checked_config(machine, segments, design)
        fresh(machine)                  # the arguments' own code may have used it
        kernel_config_from(&config, segments, design)
        kernel_create(machine.m, &config, KERNEL_PMAP)
        self.s = <phys_state*>machine.m.phys
        self.locks = <pvlock_state*>machine.m.pvlock
        self.make_world(sizeof(pmaps_world))
        self.w = <pmaps_world*>self.world
        self.world.leave = leave
        self.make_slot(SLOT_OBJECT, MAX_OBJECTS, 0)
        self.make_slot(SLOT_PAGE, (self.s.last_pa >> PAGE_SHIFT) + 1, PAGE_SHIFT)
        self.make_slot(SLOT_PMAP, MAX_PMAPS, 0)

    def __init__(self, machine, segments=None, *, design="head"):
        """See the class."""

    cdef Operations table(self):
        return OPERATIONS

    cdef object value(self, str kind, str what, object given):
        if kind == "pmap":
            return whole(what, given, 0, MAX_PMAPS - 1, f"the number of a pmap from 0 to {<int>MAX_PMAPS - 1}")
        if kind == "object":
            number = whole(what, given, 0, MAX_OBJECTS - 1, "the number of an object")
            if number >= self.w.nobjects:
                raise IndexError(f"{what}: no object {number}; there are {self.w.nobjects}")
            return number
        if kind == "page":
            return page_address(self.s, what, given)
        if kind == "access":
            number = whole(what, given, 0, 0x307, "a sum of 1, 2, 4, 0x100 (do not sleep) and 0x200 (wired)")
            if number & ~(7 | PMAP_ENTER_NOSLEEP | PMAP_ENTER_WIRED):
                raise ValueError(f"{what} must be a sum of 1, 2, 4, 0x100 (do not sleep) and 0x200 (wired)")
            return number
        if kind == "superpage":
            return whole(what, given, 0, 1, "0 or 1")
        return Lab.value(self, kind, what, given)

    cdef pmap* pmap_of(self, object number) except NULL:
        at = whole("pmap", number, 0, MAX_PMAPS - 1, f"a number from 0 to {<int>MAX_PMAPS - 1}")
        self.ready()
        return &self.w.pmaps[<int>at]

    cdef uint64_t page_of(self, object pa) except? 0:
        number = page_address(self.s, "page", pa)
        self.ready()
        return number

    def object(self, size, *, color=None):
        """Make an object of `size` pages; its number.

        `color` (0 to 511): page 0's place in a superpage; its pages come from reservations then.
        """
        cdef vm_object* obj
        cdef uint64_t pages = whole("size", size, 1, 1 << 31, "a number of pages from 1 on")
        cdef int64_t place = -1 if color is None else whole("color", color, 0, 511, "a number from 0 to 511, or None")
        self.ready()
        if self.w.nobjects == MAX_OBJECTS:
            raise ValueError(f"a lab has at most {<int>MAX_OBJECTS} objects")
        obj = &self.w.objects[self.w.nobjects]
        rw_init(&obj.lock, NAME_OBJECT, 0)
        obj.size = pages
        obj.color = place
        obj.file = -1
        self.w.nobjects += 1
        return self.w.nobjects - 1

    # --- looking

    def ptes(self, number):
        """The leaf entries of a pmap: {va: (entry, pages)}, with x86-64's bits."""
        cdef pmap* pm = self.pmap_of(number)
        out = {}
        if pm.pm_pml4 != NULL:
            self.walk(pm.pm_pml4, 0, 39, out)
        return out

    cdef dict walk(self, pt_entry_t* table, uint64_t va, int shift, dict out):
        cdef int i
        cdef pt_entry_t e
        for i in range(NPTEPG):
            e = table[i]
            if e == 0:
                continue
            if shift == 12 or (shift == 21 and e & 0x80):
                out[va + (<uint64_t>i << shift)] = (e, 1 if shift == 12 else 512)
            else:
                self.walk(<pt_entry_t*>(self.machine.m.dmap + (e & <uint64_t>0x000ffffffffff000)),
                          va + (<uint64_t>i << shift), shift - 9, out)
        return out

    cdef list entries(self, md_page* md):
        cdef pv_entry* pv = md.pv_first
        cdef pv_entry* before = NULL
        out = []
        while pv != NULL:
            if pv.pv_prev != before:
                raise AssertionError("a PV list is broken")
            out.append((PV_PMAP(pv).pm_id, pv.pv_va))
            before = pv
            pv = pv.pv_next
        if md.pv_last != before:
            raise AssertionError("a PV list is broken")
        return out

    def pv_list(self, pa):
        """The PV list of a page, oldest first: [(pmap id, va)]."""
        cdef uint64_t at = self.page_of(pa)
        return self.entries(&self.s.page_array[at >> PAGE_SHIFT].md)

    def pages(self, addresses):
        """For each page: (PV list, its generation, writeable, referenced, dirty)."""
        cdef vm_page* m
        cdef uint64_t at
        out = []
        for pa in addresses:
            at = self.page_of(pa)
            m = &self.s.page_array[at >> PAGE_SHIFT]
            out.append((self.entries(&m.md), m.md.pv_gen, bool(m.aflags & 1), bool(m.aflags & 2), m.dirty == 0xff))
        return out

    def superpage_list(self, pa):
        """The PV list of the superpage that a page lies in, oldest first: [(pmap id, va)]."""
        cdef uint64_t at = self.page_of(pa)
        return self.entries(pv_head_at(self.locks, at))

    def generations(self, pa):
        """The generations of the lists of a page and of its superpage, and its invalidation generation."""
        cdef uint64_t at = self.page_of(pa)
        return (self.s.page_array[at >> PAGE_SHIFT].md.pv_gen, pv_head_at(self.locks, at).pv_gen,
                pv_invl_gen_of(self.locks, pv_invl_gen_at(self.locks, at)))

    def pmap(self, number):
        """Counts of a pmap in pages, the free entries in each of its pv chunks, its saved page tables by address."""
        cdef pmap* pm = self.pmap_of(number)
        cdef pv_chunk* pc = pm.pm_pvchunk_first
        cdef vm_page* m = pm_radix_lookup_ge(pm.pm_root, 0)
        chunks = []
        while pc != NULL:
            chunks.append(sum((<uint64_t>pc.pc_map[i]).bit_count() for i in range(NPCM)))
            pc = pc.pc_list_next
        saved = []
        while m != NULL:
            saved.append(m.pindex << PDRSHIFT)
            m = pm_radix_lookup_ge(pm.pm_root, m.pindex + 1)
        return {"id": pm.pm_id, "resident": pm.resident_count, "wired": pm.wired_count, "ptps": pm.ptp_count,
                "chunks": chunks, "saved": saved, "offset": arena_offset(self.machine.m, pm)}

    def counts(self):
        """Counts of the machine: pages allocated, faults that an audit finds, pv chunks, promotions and the like."""
        cdef pv_state* pv
        cdef pmap_state* s
        self.ready()
        pv = <pv_state*>self.machine.m.pv
        s = <pmap_state*>self.machine.m.pmap
        return {"allocated": phys_allocated_pages(self.machine.m) - radix_pages(self.machine.m),
                "faults": phys_audit(self.machine.m),
                "chunks": pv.chunks, "reclaims": pv.reclaims, "promotions": s.promotions, "demotions": s.demotions,
                "mappings": s.mappings, "promotion_failures": s.promotion_failures, "restarts": s.restarts}

    def chunks_freed(self):
        """Calls of remove_pages by the pv chunks that they freed: {chunks: calls}."""
        cdef pv_state* pv
        self.ready()
        pv = <pv_state*>self.machine.m.pv
        return {i: pv.chunks_freed[i] for i in range(CHUNKS_FREED_MAX + 1) if pv.chunks_freed[i]}

    def audit(self, *numbers):
        """Faults found in these pmaps and in the list of chunks: (how many, the first)."""
        cdef char why[256]
        cdef int64_t faults = 0
        cdef pmap* pm
        texts = []
        for number in numbers:
            pm = self.pmap_of(number)
            if pm.pm_pml4 == NULL:
                raise ValueError(f"pmap {number} is not made")
            why[0] = 0
            faults += pmap_audit(self.machine.m, pm, why, sizeof(why))
            texts.append((<bytes>why).decode())
        self.ready()
        why[0] = 0
        faults += pv_audit(self.machine.m, why, sizeof(why))
        texts.append((<bytes>why).decode())
        return faults, next((text for text in texts if text), "")

    def acquisitions(self):
        """Locks taken so far: {(class:name, acquisition point): count}; failed tries as (name, point, "failed")."""
        cdef lock_record r
        cdef int n, s
        self.ready()
        out = {}
        for n in range(MAX_LOCK_NAMES):
            for s in range(MAX_SITES):
                lock_profile_sum(self.machine.m, n, s, &r)
                if r.acquisitions:
                    out[self.name(n), lock_site_text(s).decode()] = r.acquisitions
                if r.trylock_failures:
                    out[self.name(n), lock_site_text(s).decode(), "failed"] = r.trylock_failures
        return out

    cdef str name(self, int n):
        return lock_class_text(n).decode() + ":" + lock_name_text(n).decode()

    def threads(self):
        """What each living thread wants and holds, in order of creation: [(wanted or None, [held])]."""
        cdef thread* td
        cdef uint32_t i
        self.ready()
        td = self.machine.m.threads
        out = []
        while td != NULL:
            wanted = self.name(td.wanted.name) if td.wanted.address != NULL else None
            held = [self.name(td.held[i].lock.name) for i in range(td.nheld)]
            out.append((td.id, wanted, held))
            td = td.all_next
        return [(wanted, held) for _, wanted, held in sorted(out)]

    def layout(self):
        """The design in memory: locks, sizes in bytes, and what of its tables is populated (a list of PVRegion)."""
        cdef pvlock_state* s = self.locks
        self.ready()
        return {"locks": s.nlocks, "bytes": s.plan.bytes, "reserved": s.plan.reserved,
                "lock_bytes": s.plan.lock_bytes, "struct_bytes": s.plan.struct_bytes, "regions": regions_of(&s.plan)}

    def place(self, pa):
        """Where the PV list lock, the superpage list and the generation of an address are: offsets in the arena.

        Any physical address has a place: those without memory share one.
        """
        cdef uint64_t at = self.address(pa)
        cdef machine_struct* m = self.machine.m
        return (arena_offset(m, pv_lock_at(self.locks, at)), arena_offset(m, pv_head_at(self.locks, at)),
                arena_offset(m, pv_invl_gen_at(self.locks, at)))

    def lock_index(self, pa):
        """The number of the PV list lock that a physical address has."""
        return pv_lock_index(self.locks, self.address(pa))

    def lock_instance(self, pa):
        """The number that the lock of a physical address says it has."""
        cdef uint64_t at = self.address(pa)
        return pv_lock_id(self.locks, pv_lock_at(self.locks, at), at).instance

    cdef uint64_t address(self, object pa) except? 0:
        self.ready()
        return whole("pa", pa, 0, (1 << 57) - 1, "a physical address below 2**57")
