# Physical memory from Python: pages, objects, reservations, per-CPU caches, page queues.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.boot cimport KERNEL_PHYS, kernel_config, kernel_config_from, kernel_create
from finegrain.kernel.locks cimport lock_name, lock_site, rw_init, rw_wlock, rw_wunlock
from finegrain.kernel.phys cimport (
    PHYS_TO_VM_PAGE, PQ_COUNT, VM_NFREELIST, VM_NFREEORDER, VM_NFREEPOOL, VPRC_OBJREF, pagequeue_count, pgcache_count,
    phys_allocated_pages, phys_audit, phys_free_pages, queue_started, vm_domain, vm_page_activate, vm_page_alloc,
    vm_page_alloc_noobj, vm_page_free, vm_page_insert, vm_page_remove, vm_page_rename, vm_radix_lookup,
    vm_page_unwire, vm_page_wire, vm_page_xunbusy, vm_radix_free, vm_radix_lookup_le, vm_reserv, vm_reserv_break_all,
    vm_reserv_level_iffullpop, vm_reserv_reclaim_inactive, vm_reserv_to_superpage)
from finegrain.kernel.types cimport PAGE_SHIFT, PG_ALLOCATED, VPB_EXCLUSIVE
from finegrain.lab.run cimport PAGE, checked_config, fresh, lacks, shown, whole
from finegrain.machine.seam cimport arena_alloc, charge, sleep_for, user
from finegrain.machine.simulated.simulated cimport SimulatedMachine

cdef uint16_t NAME_OBJECT = lock_name(b"rw", b"vm object")
cdef uint16_t SITE = lock_site(b"lab/object")
cdef uint16_t SITE_PAGE = lock_site(b"lab/page")


# --- time

cdef int64_t op_charge(thread* td, lab_call* c) noexcept nogil:
    charge(td, c.a[0], 1)
    return 0


cdef int64_t op_user(thread* td, lab_call* c) noexcept nogil:
    user(td, c.a[0])
    return 0


cdef int64_t op_sleep(thread* td, lab_call* c) noexcept nogil:
    sleep_for(td, c.a[0])
    return 0


cdef int add_times(Operations table) except -1:
    table.add("charge", "time", op_charge, "work in the kernel")
    table.add("user", "time", op_user, "user time; the thread may be preempted")
    table.add("sleep", "time", op_sleep, "off the CPU")
    return 0


# --- pages

cdef inline int64_t address(vm_page* m) noexcept nogil:
    return 0 if m == NULL else <int64_t>m.phys_addr


cdef enum:
    MAX_WIRINGS = 1 << 30


cdef inline vm_page* page_of(thread* td, int64_t pa) noexcept nogil:
    return PHYS_TO_VM_PAGE(td, <uint64_t>pa)


cdef inline vm_object* object_at(lab_call* c, int i) noexcept nogil:
    return (<memory_world*>c.world).objects[c.a[i]]


cdef inline bint not_allocated(lab_call* c, vm_page* m) noexcept nogil:
    return lacks(c, (m.flags & PG_ALLOCATED) != 0, b"the page is free")


# Lock the page's object, if it is in one.  False: refused, nothing is locked.  An object that is terminated meanwhile
# takes its pages along; nothing else can, while the operation uses the page.
cdef inline bint lock_page(thread* td, lab_call* c, vm_page* m, vm_object** obj) noexcept nogil:
    if not_allocated(c, m):
        return False
    obj[0] = m.object
    if obj[0] != NULL:
        rw_wlock(td, &obj[0].lock, SITE)
        if lacks(c, m.object == obj[0], b"the page went with its object"):
            rw_wunlock(td, &obj[0].lock)
            return False
    return True


cdef inline void unlock_object(thread* td, vm_object* obj) noexcept nogil:
    if obj != NULL:
        rw_wunlock(td, &obj.lock)


cdef void terminate(thread* td, vm_object* obj) noexcept nogil:
    while obj.memq_first != NULL:
        vm_page_free(td, obj.memq_first)
    vm_reserv_break_all(td, obj)
    vm_radix_free(td, obj)


cdef int64_t op_alloc(thread* td, lab_call* c) noexcept nogil:
    cdef vm_object* obj = object_at(c, 0)
    cdef int64_t pa = 0
    rw_wlock(td, &obj.lock, SITE)
    if not lacks(c, vm_radix_lookup(obj, <uint64_t>c.a[1]) == NULL, b"a page is resident at this index"):
        pa = address(vm_page_alloc(td, obj, <uint64_t>c.a[1], <int>c.a[2]))
    rw_wunlock(td, &obj.lock)
    return pa


cdef int64_t op_alloc_noobj(thread* td, lab_call* c) noexcept nogil:
    return address(vm_page_alloc_noobj(td, <int>c.a[0], <int>c.a[1]))


cdef int64_t op_free(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_of(td, c.a[0])
    cdef vm_object* obj
    if not lock_page(td, c, m, &obj):
        return 0
    if not lacks(c, m.ref_count & ~VPRC_OBJREF == 0, b"the page is wired: unwire it first"):
        vm_page_free(td, m)
    unlock_object(td, obj)
    return 0


cdef int64_t op_lookup(thread* td, lab_call* c) noexcept nogil:
    cdef vm_object* obj = object_at(c, 0)
    cdef int64_t pa
    rw_wlock(td, &obj.lock, SITE)
    pa = address(vm_radix_lookup(obj, <uint64_t>c.a[1]))
    rw_wunlock(td, &obj.lock)
    return pa


cdef int64_t op_lookup_le(thread* td, lab_call* c) noexcept nogil:
    cdef vm_object* obj = object_at(c, 0)
    cdef vm_page* m
    cdef int64_t found
    rw_wlock(td, &obj.lock, SITE)
    m = vm_radix_lookup_le(obj, <uint64_t>c.a[1])
    found = -1 if m == NULL else <int64_t>m.pindex
    rw_wunlock(td, &obj.lock)
    return found


cdef int64_t op_insert(thread* td, lab_call* c) noexcept nogil:
    cdef vm_object* obj = object_at(c, 0)
    cdef vm_page* m = page_of(td, c.a[2])
    if not_allocated(c, m) or lacks(c, m.object == NULL, b"the page is in an object: remove it first, or rename it"):
        return 0
    rw_wlock(td, &obj.lock, SITE)
    if not lacks(c, vm_radix_lookup(obj, <uint64_t>c.a[1]) == NULL, b"a page is resident at this index"):
        vm_page_insert(td, m, obj, <uint64_t>c.a[1])
    rw_wunlock(td, &obj.lock)
    return 0


cdef int64_t op_remove(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_of(td, c.a[0])
    cdef vm_object* obj
    if lacks(c, m.object != NULL, b"the page is in no object") or not lock_page(td, c, m, &obj):
        return 0
    vm_page_remove(td, m)
    unlock_object(td, obj)
    return 0


cdef int64_t op_rename(thread* td, lab_call* c) noexcept nogil:
    cdef vm_object* to = object_at(c, 0)
    cdef vm_page* m = page_of(td, c.a[2])
    cdef vm_object* old = m.object
    cdef vm_object* obj = old
    cdef vm_object* second
    if not_allocated(c, m) or lacks(c, obj != NULL, b"the page is in no object"):
        return 0
    second = to
    if to < obj:                        # in the order of their addresses, so that two threads do not wait in a ring
        second = obj
        obj = to
    rw_wlock(td, &obj.lock, SITE)
    if second != obj:
        rw_wlock(td, &second.lock, SITE)
    if (not lacks(c, m.object == old, b"the page went with its object")
            and not lacks(c, vm_radix_lookup(to, <uint64_t>c.a[1]) == NULL, b"a page is resident at this index")):
        vm_page_rename(td, m, to, <uint64_t>c.a[1])
    if second != obj:
        rw_wunlock(td, &second.lock)
    rw_wunlock(td, &obj.lock)
    return 0


cdef int64_t op_wire(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_of(td, c.a[0])
    cdef vm_object* obj
    if lacks(c, m.ref_count & ~VPRC_OBJREF < MAX_WIRINGS, b"the page is wired too often"):
        return 0
    if not lock_page(td, c, m, &obj):
        return 0
    vm_page_wire(td, m)
    unlock_object(td, obj)
    return 0


cdef int64_t op_unwire(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_of(td, c.a[0])
    cdef vm_object* obj
    if not lock_page(td, c, m, &obj):
        return 0
    if not lacks(c, m.ref_count & ~VPRC_OBJREF != 0, b"the page is not wired"):
        vm_page_unwire(td, m, SITE_PAGE)
    unlock_object(td, obj)
    return 0


cdef int64_t op_activate(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_of(td, c.a[0])
    cdef vm_object* obj
    if not lock_page(td, c, m, &obj):
        return 0
    vm_page_activate(td, m, SITE_PAGE)
    unlock_object(td, obj)
    return 0


cdef int64_t op_xunbusy(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_of(td, c.a[0])
    cdef vm_object* obj
    if not lock_page(td, c, m, &obj):
        return 0
    if not lacks(c, m.busy_lock == VPB_EXCLUSIVE, b"the page is not exclusively busied"):
        vm_page_xunbusy(td, m)
    unlock_object(td, obj)
    return 0


cdef int64_t op_full_level(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_of(td, c.a[0])
    return 0 if not_allocated(c, m) else vm_reserv_level_iffullpop(td, m)


cdef int64_t op_superpage(thread* td, lab_call* c) noexcept nogil:
    cdef vm_page* m = page_of(td, c.a[0])
    cdef vm_object* obj
    cdef int64_t pa
    if not lock_page(td, c, m, &obj):
        return 0
    pa = address(vm_reserv_to_superpage(td, m))
    unlock_object(td, obj)
    return pa


cdef int64_t op_break_all(thread* td, lab_call* c) noexcept nogil:
    cdef vm_object* obj = object_at(c, 0)
    rw_wlock(td, &obj.lock, SITE)
    vm_reserv_break_all(td, obj)
    rw_wunlock(td, &obj.lock)
    return 0


cdef int64_t op_terminate(thread* td, lab_call* c) noexcept nogil:
    cdef vm_object* obj = object_at(c, 0)
    cdef vm_page* m
    rw_wlock(td, &obj.lock, SITE)
    m = obj.memq_first
    while m != NULL and c.refused == NULL:
        lacks(c, m.ref_count & ~VPRC_OBJREF == 0, b"a page of the object is wired")
        lacks(c, c.world.slots[SLOT_PAGE][m.phys_addr >> PAGE_SHIFT] == 0,
              b"another thread is at work on a page of the object")
        m = m.listq_next
    if c.refused == NULL:
        terminate(td, obj)
    rw_wunlock(td, &obj.lock)
    return 0


cdef int64_t op_reclaim(thread* td, lab_call* c) noexcept nogil:
    return vm_reserv_reclaim_inactive(td, <int>c.a[0])


cdef Operations OPERATIONS = Operations({"object": SLOT_OBJECT, "page": SLOT_PAGE})
OPERATIONS.add("alloc", "object index flags=0", op_alloc,
               "a page of an object: its address, 0 when there is none; flags 1 wired, 2 zero, 4 not busied")
OPERATIONS.add("alloc_noobj", "domain=-1 flags=0", op_alloc_noobj,
               "a page of no object, from a domain or (-1) the thread's own first: its address or 0")
OPERATIONS.add("free", "!page", op_free, "give a page back")
OPERATIONS.add("lookup", "object index", op_lookup, "the page at an index: its address or 0")
OPERATIONS.add("lookup_le", "object index", op_lookup_le, "the last index with a page up to this one, or -1")
OPERATIONS.add("insert", "object index !page", op_insert, "put a page of no object into one")
OPERATIONS.add("remove", "!page", op_remove, "take a page out of its object; it stays allocated")
OPERATIONS.add("rename", "object index !page", op_rename, "move a page to another object or index")
OPERATIONS.add("wire", "page", op_wire, "wire a page")
OPERATIONS.add("unwire", "!page", op_unwire, "undo one wiring; the last queues the page, or frees it if in no object")
OPERATIONS.add("activate", "page", op_activate, "queue a page as active")
OPERATIONS.add("xunbusy", "page", op_xunbusy, "end the exclusive busy state in which alloc leaves a page")
OPERATIONS.add("full_level", "page", op_full_level, "0 when the page's reservation is full, else -1")
OPERATIONS.add("superpage", "page", op_superpage, "the first page of the page's full reservation, or 0")
OPERATIONS.add("break_all", "object", op_break_all, "dissolve an object's reservations")
OPERATIONS.add("terminate", "!object", op_terminate, "free an object's pages, reservations and index")
OPERATIONS.add("reclaim", "domain", op_reclaim, "break a domain's least recently used reservation: 1 if it had one")
add_times(OPERATIONS)


cdef object page_address(phys_state* s, str what, object given):
    cdef uint32_t i
    cdef uint64_t pa
    number = whole(what, given, 0, int(s.last_pa) - 1, f"a physical address below {int(s.last_pa):#x}")
    if number % PAGE != 0:
        raise ValueError(f"{what} must be a multiple of {<int>PAGE}, not {shown(number)}")
    pa = number
    for i in range(s.nsegs):
        if s.segs[i].start <= pa < s.segs[i].end:
            return number
    raise ValueError(f"{what} must lie in a memory segment; {number:#x} lies in none")


cdef class PhysicalMemory(Lab):
    """Physical memory: pages, objects to put them into, reservations, per-CPU caches, page queues.

    `segments` are (start, end, domain), page-aligned and ascending; None: all of the machine's memory above 1 MB in
    domain 0. `operations()` lists what threads can do; a page is known by its physical address, an object by the
    number that `object()` gave it.
    """

    def __cinit__(self, SimulatedMachine machine not None, segments=None, **_):
        cdef kernel_config config
        segments, design = checked_config(machine, segments, "head")
        fresh(machine)                  # the arguments' own code may have used it
        kernel_config_from(&config, segments, design)
        kernel_create(machine.m, &config, KERNEL_PHYS)
        self.s = <phys_state*>machine.m.phys
        self.make_world(sizeof(memory_world))
        self.w = <memory_world*>self.world
        self.make_slot(SLOT_OBJECT, MAX_OBJECTS, 0)
        self.make_slot(SLOT_PAGE, (self.s.last_pa >> PAGE_SHIFT) + 1, PAGE_SHIFT)

    def __init__(self, machine, segments=None):
        """See the class."""

    cdef Operations table(self):
        return OPERATIONS

    cdef object value(self, str kind, str what, object given):
        if kind == "object":
            return self.number_of(what, given)
        if kind == "page":
            return page_address(self.s, what, given)
        if kind == "flags":
            return whole(what, given, 0, 7, "a sum of 1 (wired), 2 (zero) and 4 (not busied)")
        if kind == "domain":
            low = 0 if what.startswith("reclaim") else -1
            return whole(what, given, low, <int>self.s.ndomains - 1, f"a domain from {low} to {self.s.ndomains - 1}")
        return Lab.value(self, kind, what, given)

    def number_of(self, what, given):
        """Check the number of an object."""
        number = whole(what, given, 0, MAX_OBJECTS - 1, "the number of an object")
        if number >= self.w.nobjects:
            raise IndexError(f"{what}: no object {number}; there are {self.w.nobjects}")
        return number

    cdef vm_object* object_of(self, object number) except NULL:
        at = self.number_of("object", number)
        self.ready()
        return self.w.objects[<int>at]

    cdef int domain_of(self, object number) except -1:
        at = whole("domain", number, 0, <int>self.s.ndomains - 1, f"a domain from 0 to {self.s.ndomains - 1}")
        self.ready()
        return at

    def object(self, size, *, color=None, file=False, backing=None):
        """Make an object of `size` pages; its number.

        `color` (0 to 511): page 0's place in a superpage; its pages may come from reservations then. `file`: as of a
        file, whose reservations never run past its end. `backing`: the number of the object that this one shadows.
        """
        cdef vm_object* obj
        cdef vm_object* behind = NULL
        cdef uint64_t pages = whole("size", size, 1, 1 << 31, "a number of pages from 1 on")
        cdef int64_t place = -1 if color is None else whole("color", color, 0, 511, "a number from 0 to 511, or None")
        if backing is not None:
            behind = self.object_of(backing)
        kind = 1 if file else 0
        self.ready()
        if self.w.nobjects == MAX_OBJECTS:
            raise ValueError(f"a lab has at most {<int>MAX_OBJECTS} objects")
        obj = <vm_object*>arena_alloc(self.machine.m, sizeof(vm_object))
        if obj == NULL:
            raise MemoryError("the machine's arena is full")
        rw_init(&obj.lock, NAME_OBJECT, 0)
        obj.size = pages
        obj.color = place
        obj.type = kind
        obj.file = -1
        obj.backing_object = behind
        self.w.objects[self.w.nobjects] = obj
        self.w.nobjects += 1
        return self.w.nobjects - 1

    # --- looking

    def free_blocks(self, domain):
        """The free blocks of a domain: {(free list, pool, order): [addresses, first to go first]}."""
        cdef int number = self.domain_of(domain)
        cdef vm_domain* d = &self.s.domains[number]
        cdef vm_page* m
        cdef uint32_t seg
        out = {}
        queue_started(NULL, self.s, d)
        for freelist in range(VM_NFREELIST):
            for pool in range(VM_NFREEPOOL):
                for order in range(VM_NFREEORDER):
                    blocks = []
                    if pool == 0 and order == VM_NFREEORDER - 1:
                        for seg in range(self.s.nsegs):
                            if self.s.segs[seg].domain == <uint32_t>number and self.s.segs[seg].freelist == freelist:
                                blocks += range(self.s.virgin[seg], self.s.virgin_end[seg], 1 << (PAGE_SHIFT + order))
                    m = d.free_queues[<int>freelist][<int>pool][<int>order].first
                    while m != NULL:
                        blocks.append(m.phys_addr)
                        m = m.listq_next
                    if blocks:
                        out[freelist, pool, order] = blocks
        return out

    def partpop(self, domain):
        """First addresses of the partly populated reservations of a domain, least recently changed first."""
        cdef vm_reserv* rv = self.s.domains[self.domain_of(domain)].partpop_first
        out = []
        while rv != NULL:
            out.append(rv.pages.phys_addr)
            rv = rv.partpopq_next
        return out

    def reservations(self, number):
        """Reservations of an object: {first address: (index of its first page, pages in use)}."""
        cdef vm_reserv* rv = <vm_reserv*>self.object_of(number).reservations
        out = {}
        while rv != NULL:
            out[rv.pages.phys_addr] = (rv.pindex, rv.popcnt)
            rv = rv.objq_next
        return out

    def page(self, pa):
        """What the struct of a page says: {field: value}, `ref_count` without the object's reference."""
        cdef uint64_t at = page_address(self.s, "page", pa)
        cdef vm_page* m = &self.s.page_array[at >> PAGE_SHIFT]
        self.ready()
        return {"ref_count": m.ref_count & ~VPRC_OBJREF, "in_object": m.object != NULL, "pindex": m.pindex,
                "busy_lock": m.busy_lock, "flags": m.flags, "queue": m.queue, "aflags": m.aflags,
                "oflags": m.oflags, "psind": m.psind, "pool": m.pool, "order": m.order}

    def pages(self, number):
        """The pages of an object in list order: [(index, address)]."""
        cdef vm_object* obj = self.object_of(number)
        cdef vm_page* m = obj.memq_first
        cdef vm_page* last = NULL
        out = []
        while m != NULL:
            out.append((m.pindex, m.phys_addr))
            if m.listq_prev != last:
                raise AssertionError("the list of pages is broken")
            last = m
            m = m.listq_next
        if obj.memq_last != last or obj.resident_page_count != len(out):
            raise AssertionError("the list of pages is broken")
        return out

    def counts(self):
        """Pages: free (caches included), allocated, cached by domain, queued by queue; faults that an audit finds."""
        self.ready()
        return {"free": phys_free_pages(self.machine.m), "allocated": phys_allocated_pages(self.machine.m),
                "cached": [pgcache_count(self.machine.m, d) for d in range(self.s.ndomains)],
                "queued": [pagequeue_count(self.s, q) for q in range(PQ_COUNT)], "faults": phys_audit(self.machine.m)}

    def segments(self):
        """The segments as they are kept: [(start, end, domain, free list)]."""
        self.ready()
        return [(self.s.segs[i].start, self.s.segs[i].end, self.s.segs[i].domain, self.s.segs[i].freelist)
                for i in range(self.s.nsegs)]
