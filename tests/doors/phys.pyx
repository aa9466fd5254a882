# Test door to physical memory: runs a list of operations on one simulated thread and shows what the state is
# then.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from finegrain.kernel.boot cimport KERNEL_PHYS, kernel_config, kernel_config_from, kernel_create
from finegrain.kernel.locks.profile cimport lock_name, lock_site
from finegrain.kernel.locks.rw cimport rw_init, rw_wlock, rw_wunlock
from finegrain.kernel.phys.free cimport pgcache_count
from finegrain.kernel.phys.objpages cimport vm_page_lookup, vm_radix_free, vm_radix_lookup_le
from finegrain.kernel.phys.page cimport (
    PHYS_TO_VM_PAGE, phys_allocated_pages, phys_audit, phys_free_pages, vm_page_alloc,
    vm_page_alloc_noobj, vm_page_free, vm_page_insert, vm_page_remove, vm_page_rename, vm_page_unwire, vm_page_wire,
    vm_page_xunbusy)
from finegrain.kernel.phys.pagequeue cimport pagequeue_count, vm_page_activate, vm_page_lockptr
from finegrain.kernel.phys.reserv cimport (
    vm_reserv_break_all, vm_reserv_level_iffullpop, vm_reserv_reclaim_inactive, vm_reserv_to_superpage)
from finegrain.kernel.phys.types cimport (
    PQ_COUNT, VM_NFREELIST, VM_NFREEORDER, VM_NFREEPOOL, VPRC_OBJREF, mtx_padalign, phys_state, vm_domain, vm_reserv)
from finegrain.kernel.types cimport PAGE_SHIFT, md_page, pv_chunk, pv_entry, vm_object, vm_page, vm_pindex_t
from finegrain.machine.machine cimport Machine
from finegrain.machine.seam cimport arena_alloc, charge, user
from finegrain.machine.thread cimport ps_t, thread
from finegrain.machine.simulated.types cimport cpu, sim, sim_thread

from finegrain.design import parse_design

cdef uint16_t NAME_OBJECT = lock_name(b"rw", b"vm object")
cdef uint16_t SITE = lock_site(b"door phys")
cdef uint16_t SITE_UNWIRE = lock_site(b"door phys/unwire")

OPS = ("alloc", "noobj", "free", "lookup", "lookup_le", "insert", "remove", "rename", "wire", "unwire", "activate",
       "xunbusy", "break_all", "terminate", "reclaim", "iffullpop", "superpage", "cpu", "wait", "alloc_unlocked")
OP_NUMBERS = {name: number for number, name in enumerate(OPS)}

cdef enum:
    PROBE = 65536                       # a size that nothing here ever frees

cdef struct op:
    int code
    int64_t a, b, c
    int64_t result

cdef struct job:
    vm_object** objects
    op* ops
    int64_t count
    ps_t clock                          # when the last run ended


# Free all pages of an object as its termination does, then its reservations and its index.
cdef void terminate(thread* td, vm_object* obj) noexcept nogil:
    while obj.memq_first != NULL:
        vm_page_free(td, obj.memq_first)
    vm_reserv_break_all(td, obj)
    vm_radix_free(td, obj)


cdef inline int64_t address(vm_page* m) noexcept nogil:
    return 0 if m == NULL else <int64_t>m.phys_addr


# Operations that do not need the object locked take pa in a.
cdef int64_t run_page_op(thread* td, job* j, op* o) noexcept nogil:
    cdef vm_page* m = PHYS_TO_VM_PAGE(td, <uint64_t>o.a)
    if o.code == 2:
        vm_page_free(td, m)
    elif o.code == 6:
        vm_page_remove(td, m)
    elif o.code == 8:
        vm_page_wire(td, m)
    elif o.code == 9:
        vm_page_unwire(td, m, SITE_UNWIRE)
    elif o.code == 10:
        vm_page_activate(td, m, SITE_UNWIRE)
    elif o.code == 11:
        vm_page_xunbusy(td, m)
    elif o.code == 15:
        return vm_reserv_level_iffullpop(td, m)
    elif o.code == 16:
        return address(vm_reserv_to_superpage(td, m))
    return 0


cdef int64_t run_object_op(thread* td, job* j, op* o) noexcept nogil:
    cdef vm_object* obj = j.objects[o.a]
    cdef vm_page* m
    if o.code == 0 or o.code == 19:
        return address(vm_page_alloc(td, obj, <uint64_t>o.b, <int>o.c))
    if o.code == 3:
        return address(vm_page_lookup(obj, <uint64_t>o.b))
    if o.code == 4:
        m = vm_radix_lookup_le(obj, <uint64_t>o.b)
        return -1 if m == NULL else <int64_t>m.pindex
    if o.code == 5:
        vm_page_insert(td, PHYS_TO_VM_PAGE(td, <uint64_t>o.c), obj, <uint64_t>o.b)
    elif o.code == 12:
        vm_reserv_break_all(td, obj)
    elif o.code == 13:
        terminate(td, obj)
    return 0


cdef void run_job(thread* td, void* argument) noexcept nogil:
    cdef job* j = <job*>argument
    cdef sim_thread* here = <sim_thread*>td
    cdef cpu* cpus = (<sim*>td.machine).cpus
    cdef cpu* home = here.cpu
    cdef int64_t i
    cdef op* o
    cdef vm_object* obj
    cdef vm_object* other
    here.cpu = &cpus[0]
    here.clock = j.clock
    for i in range(j.count):
        o = &j.ops[i]
        if o.code == 1:
            o.result = address(vm_page_alloc_noobj(td, <int>o.a, <int>o.c))
        elif o.code == 14:
            o.result = vm_reserv_reclaim_inactive(td, <int>o.a)
        elif o.code == 17:
            here.cpu = &cpus[o.a]              # as if it had moved; it is alone on the machine
        elif o.code == 18:
            charge(td, o.a, 1)
        elif o.code == 19:
            o.result = run_object_op(td, j, o)
        elif o.code == 7:
            obj = PHYS_TO_VM_PAGE(td, <uint64_t>o.c).object
            other = j.objects[o.a]
            rw_wlock(td, &obj.lock, SITE)
            if other != obj:
                rw_wlock(td, &other.lock, SITE)
            vm_page_rename(td, PHYS_TO_VM_PAGE(td, <uint64_t>o.c), other, <uint64_t>o.b)
            if other != obj:
                rw_wunlock(td, &other.lock)
            rw_wunlock(td, &obj.lock)
        elif o.code in (0, 3, 4, 5, 12, 13):
            obj = j.objects[o.a]
            rw_wlock(td, &obj.lock, SITE)
            o.result = run_object_op(td, j, o)
            rw_wunlock(td, &obj.lock)
        else:
            obj = PHYS_TO_VM_PAGE(td, <uint64_t>o.a).object
            if obj != NULL:
                rw_wlock(td, &obj.lock, SITE)
            o.result = run_page_op(td, j, o)
            if obj != NULL:
                rw_wunlock(td, &obj.lock)
    here.cpu = home
    j.clock = here.clock


# --- many threads at once

cdef struct storm:
    vm_object* shared                   # everybody's pages
    vm_object** own                     # a thread's: [number of the thread]
    uint64_t* marks                     # by page: who has it; in step with every allocation and free
    int64_t rounds
    uint64_t seed
    uint64_t started
    int64_t refused                     # allocations that found no memory
    int64_t faults                      # pages that were somebody else's


cdef inline uint64_t next_random(uint64_t* state) noexcept nogil:
    # xorshift64* (Vigna 2016)
    state[0] ^= state[0] >> 12
    state[0] ^= state[0] << 25
    state[0] ^= state[0] >> 27
    return state[0] * <uint64_t>0x2545f4914f6cdd1d >> 33


cdef inline void mark(thread* td, storm* w, vm_page* m, uint64_t expected, uint64_t value) noexcept nogil:
    cdef uint64_t* place = &w.marks[m.phys_addr >> PAGE_SHIFT]
    if place[0] != expected:
        w.faults += 1
    place[0] = value


cdef void free_first(thread* td, storm* w, vm_object* obj, vm_pindex_t at) noexcept nogil:
    cdef vm_page* m = vm_radix_lookup_le(obj, at)
    if m != NULL:
        mark(td, w, m, obj.size, 0)
        vm_page_free(td, m)


# Allocate and free pages of one's own object and of the shared one, page-table pages, reservations; end with nothing.
cdef void storm_thread(thread* td, void* argument) noexcept nogil:
    cdef storm* w = <storm*>argument
    cdef vm_page* tables[16]
    cdef vm_object* obj
    cdef vm_page* m
    cdef uint64_t me = w.started, state, what, at
    cdef int64_t _i
    cdef int j
    w.started += 1
    state = (w.seed + me + 1) * <uint64_t>0x9e3779b97f4a7c15
    memset(tables, 0, sizeof(tables))
    for _i in range(w.rounds):
        what = next_random(&state) % 16
        obj = w.shared if what & 1 else w.own[me]
        at = next_random(&state) % 1200
        if what < 10:
            rw_wlock(td, &obj.lock, SITE)
            if vm_page_lookup(obj, at) != NULL:
                free_first(td, w, obj, at)
            else:
                m = vm_page_alloc(td, obj, at, 0)
                if m == NULL:
                    w.refused += 1
                    free_first(td, w, obj, 1200)
                else:
                    mark(td, w, m, 0, obj.size)
            rw_wunlock(td, &obj.lock)
        elif what < 14:
            j = <int>(at & 15)
            if tables[j] == NULL:
                tables[j] = vm_page_alloc_noobj(td, -1, 1)
                if tables[j] == NULL:
                    w.refused += 1
                else:
                    mark(td, w, tables[j], 0, me + 1)
            else:
                mark(td, w, tables[j], me + 1, 0)
                vm_page_unwire(td, tables[j], SITE_UNWIRE)
                tables[j] = NULL
        else:
            rw_wlock(td, &obj.lock, SITE)
            m = vm_radix_lookup_le(obj, at)
            if m != NULL:
                vm_page_activate(td, m, SITE_UNWIRE)
            if what == 15 and at < 20:
                vm_reserv_break_all(td, obj)
            rw_wunlock(td, &obj.lock)
        user(td, 1000 * <int64_t>(next_random(&state) % 2000))
    for j in range(16):
        if tables[j] != NULL:
            mark(td, w, tables[j], me + 1, 0)
            vm_page_unwire(td, tables[j], SITE_UNWIRE)
    obj = w.own[me]
    rw_wlock(td, &obj.lock, SITE)
    while obj.memq_first != NULL:
        mark(td, w, obj.memq_first, obj.size, 0)
        vm_page_free(td, obj.memq_first)
    terminate(td, obj)
    rw_wunlock(td, &obj.lock)


cdef class PhysDoor:
    """Physical memory of `segments` (start, end, domain) on the machine `on`, with objects to put pages into."""

    cdef Machine machine
    cdef phys_state* s
    cdef job* j
    cdef list objects
    cdef int64_t probes

    def __init__(self, Machine on, segments):
        cdef kernel_config config
        self.machine = on
        kernel_config_from(&config, segments, parse_design("head"))
        kernel_create(on.m, &config, KERNEL_PHYS)
        self.s = <phys_state*>on.m.phys
        self.j = <job*>arena_alloc(on.m, sizeof(job))
        self.j.objects = <vm_object**>arena_alloc(on.m, 1024 * sizeof(vm_object*))
        self.objects = []

    def object(self, uint64_t size, *, int64_t color=-1, int type=0, backing=None):
        """Make an object of `size` pages; its number."""
        cdef vm_object* obj = <vm_object*>arena_alloc(self.machine.m, sizeof(vm_object))
        rw_init(&obj.lock, NAME_OBJECT, 0)
        obj.size = size
        obj.color = color
        obj.type = type
        if backing is not None:
            obj.backing_object = self.j.objects[<int>backing]
        self.j.objects[len(self.objects)] = obj
        self.objects.append(obj.size)
        return len(self.objects) - 1

    def run(self, operations):
        """Run (name, a, b, c) tuples in order on one thread, on CPU 0 and after the last run; what each answered."""
        cdef int64_t i
        operations = [tuple(o) + (0,) * (4 - len(o)) for o in operations]
        self.j.count = len(operations)
        self.j.ops = <op*>calloc(self.j.count + 1, sizeof(op))
        try:
            for i, (name, a, b, c) in enumerate(operations):
                self.j.ops[i].code = OP_NUMBERS[name]
                self.j.ops[i].a = a
                self.j.ops[i].b = b
                self.j.ops[i].c = c
            if self.machine.m.ops.spawn(NULL, self.machine.m, run_job, self.j, NULL) == NULL:
                raise MemoryError
            self.machine.run()
            return [self.j.ops[i].result for i in range(self.j.count)]
        finally:
            free(self.j.ops)
            self.j.ops = NULL

    def storm(self, int threads, int64_t rounds, uint64_t seed):
        """Many threads allocate and free at once; {refused allocations, pages handed out twice}, and all is freed."""
        cdef storm* w = <storm*>arena_alloc(self.machine.m, sizeof(storm))
        cdef int i, _i
        w.marks = <uint64_t*>arena_alloc(self.machine.m, (self.s.last_pa >> PAGE_SHIFT) * 8)
        w.own = <vm_object**>arena_alloc(self.machine.m, threads * sizeof(vm_object*))
        w.rounds = rounds
        w.seed = seed
        for i in range(threads):                        # an object's size tells whose it is
            w.own[i] = self.j.objects[<int>self.object(10000 + i, color=i)]
        shared = self.object(20000, color=0)
        w.shared = self.j.objects[<int>shared]
        for _i in range(threads):
            if self.machine.m.ops.spawn(NULL, self.machine.m, storm_thread, w, NULL) == NULL:
                raise MemoryError
        self.machine.run()
        self.run([("terminate", shared)])
        return {"refused": w.refused, "faults": w.faults}

    def free_blocks(self, int domain):
        """The free blocks of a domain: {(free list, pool, order): [addresses, first to go first]}."""
        cdef vm_domain* d = &self.s.domains[domain]
        cdef vm_page* m
        cdef uint32_t seg
        out = {}
        for freelist in range(VM_NFREELIST):
            for pool in range(VM_NFREEPOOL):
                for order in range(VM_NFREEORDER):
                    blocks = []
                    if pool == 0 and order == VM_NFREEORDER - 1:
                        for seg in range(self.s.nsegs):
                            if self.s.segs[seg].domain == <uint32_t>domain and self.s.segs[seg].freelist == freelist:
                                blocks += range(self.s.virgin[seg], self.s.virgin_end[seg], 1 << (PAGE_SHIFT + order))
                    m = d.free_queues[freelist][pool][order].first
                    while m != NULL:
                        blocks.append(m.phys_addr)
                        m = m.listq_next
                    if blocks:
                        out[freelist, pool, order] = blocks
        return out

    def partpop(self, int domain):
        """First addresses of the partly populated reservations of a domain, least recently changed first."""
        cdef vm_reserv* rv = self.s.domains[domain].partpop_first
        out = []
        while rv != NULL:
            out.append(rv.pages.phys_addr)
            rv = rv.partpopq_next
        return out

    def reservations(self, int number):
        """Reservations of an object: {first address: (pindex, pages in use)}."""
        cdef vm_reserv* rv = <vm_reserv*>self.j.objects[number].reservations
        out = {}
        while rv != NULL:
            out[rv.pages.phys_addr] = (rv.pindex, rv.popcnt)
            rv = rv.objq_next
        return out

    def page(self, uint64_t pa):
        """What the struct of a page says."""
        cdef vm_page* m = &self.s.page_array[pa >> PAGE_SHIFT]
        return {"ref_count": m.ref_count & ~VPRC_OBJREF, "in_object": m.object != NULL, "pindex": m.pindex,
                "busy_lock": m.busy_lock, "flags": m.flags, "queue": m.queue, "aflags": m.aflags,
                "oflags": m.oflags, "psind": m.psind, "pool": m.pool, "order": m.order}

    def pages(self, int number):
        """The pages of an object in list order: [(pindex, address)]."""
        cdef vm_page* m = self.j.objects[number].memq_first
        cdef vm_page* last = NULL
        out = []
        while m != NULL:
            out.append((m.pindex, m.phys_addr))
            if m.listq_prev != last:
                raise AssertionError("the list of pages is broken")
            last = m
            m = m.listq_next
        if self.j.objects[number].memq_last != last or self.j.objects[number].resident_page_count != len(out):
            raise AssertionError("the list of pages is broken")
        return out

    def page_lock(self, uint64_t pa):
        """The number of a page's "vm page" mutex."""
        cdef vm_page m
        m.phys_addr = pa
        return (<char*>vm_page_lockptr(self.s, &m) - <char*>self.s.pa_locks) // sizeof(mtx_padalign)

    def memory_taken(self):
        """Bytes that the kernel has taken from the arena up to now, free ones that it keeps for reuse included."""
        cdef char* end = <char*>arena_alloc(self.machine.m, PROBE)
        self.probes += 1
        return end - self.machine.m.arena - PROBE * (self.probes - 1)

    def counts(self):
        """Pages: free (caches included), allocated, cached by domain, queued by queue; faults that an audit finds."""
        return {"free": phys_free_pages(self.machine.m), "allocated": phys_allocated_pages(self.machine.m),
                "cached": [pgcache_count(self.machine.m, d) for d in range(self.s.ndomains)],
                "queued": [pagequeue_count(self.s, q) for q in range(PQ_COUNT)], "faults": phys_audit(self.machine.m)}

    def segments(self):
        """The segments as they are kept: [(start, end, domain, free list)]."""
        return [(self.s.segs[i].start, self.s.segs[i].end, self.s.segs[i].domain, self.s.segs[i].freelist)
                for i in range(self.s.nsegs)]


def sizes():
    """Sizes of the structs that stand for FreeBSD's, in bytes."""
    return {"vm_page": sizeof(vm_page), "md_page": sizeof(md_page), "vm_reserv": sizeof(vm_reserv),
            "pv_entry": sizeof(pv_entry), "pv_chunk": sizeof(pv_chunk), "vm_domain": sizeof(vm_domain)}
