# Test door to physical memory: what the lab has, and besides it threads moved between CPUs by hand, operations that do
# not ask first, and a storm of threads.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from finegrain.kernel.locks.profile cimport lock_name, lock_site
from finegrain.kernel.locks.rw cimport rw_wlock, rw_wunlock
from finegrain.kernel.phys.objpages cimport vm_radix_lookup, vm_radix_lookup_le
from finegrain.kernel.phys.page cimport vm_page_alloc, vm_page_alloc_noobj, vm_page_free, vm_page_unwire
from finegrain.kernel.phys.pagequeue cimport vm_page_activate, vm_page_lockptr
from finegrain.kernel.phys.reserv cimport vm_reserv_break_all
from finegrain.kernel.phys.types cimport mtx_padalign, vm_domain, vm_reserv
from finegrain.kernel.types cimport PAGE_SHIFT, md_page, pv_chunk, pv_entry, vm_object, vm_page, vm_pindex_t
from finegrain.lab.memory cimport PhysicalMemory, memory_world, terminate
from finegrain.lab.run cimport Operations, lab_call, whole
from finegrain.machine.machine cimport Machine
from finegrain.machine.seam cimport arena_alloc, user
from finegrain.machine.simulated.types cimport cpu, sim, sim_thread
from finegrain.machine.thread cimport ps_t, thread

cdef uint16_t SITE = lock_site(b"door phys")
cdef uint16_t SITE_UNWIRE = lock_site(b"door phys/unwire")

cdef enum:
    PROBE = 65536                       # a size that nothing here ever frees


# --- a thread moved by hand: it is alone on the machine

cdef struct place:
    cpu* home                           # where the machine believes it to be; NULL: there
    ps_t clock                          # when the last such thread went home


cdef int64_t op_cpu(thread* td, lab_call* c) noexcept nogil:
    cdef place* p = <place*>c.world.extra
    cdef sim_thread* here = <sim_thread*>td
    if p.home == NULL:
        p.home = here.cpu
        here.clock = max(here.clock, p.clock)
    here.cpu = &(<sim*>td.machine).cpus[c.a[0]]
    return 0


cdef int64_t op_home(thread* td, lab_call* c) noexcept nogil:
    cdef place* p = <place*>c.world.extra
    cdef sim_thread* here = <sim_thread*>td
    here.cpu = p.home
    p.home = NULL
    p.clock = here.clock
    return 0


cdef int64_t op_alloc_unlocked(thread* td, lab_call* c) noexcept nogil:
    return <int64_t>vm_page_alloc(td, (<memory_world*>c.world).objects[c.a[0]], <uint64_t>c.a[1], 0).phys_addr


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
            if vm_radix_lookup(obj, at) != NULL:
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


cdef Operations OPERATIONS = None


cdef class PhysDoor(PhysicalMemory):
    """Physical memory; `run` runs its thread on CPU 0, or where ("cpu", number) puts it. `checked` False: nobody asks."""

    cdef int64_t probes

    def __cinit__(self, machine, segments, *, checked=True):
        self.world.extra = arena_alloc(self.machine.m, sizeof(place))
        self.world.checked = checked

    def __init__(self, machine, segments, *, checked=True):
        """See the class."""

    cdef Operations table(self):
        global OPERATIONS
        if OPERATIONS is None:
            OPERATIONS = PhysicalMemory.table(self).extended()
            OPERATIONS.add("cpu", "cpu", op_cpu, "move the thread to a CPU")
            OPERATIONS.add("home", "", op_home, "move the thread back")
            OPERATIONS.add("alloc_unlocked", "object index", op_alloc_unlocked, "alloc without the object's lock")
        return OPERATIONS

    cdef object value(self, str kind, str what, object given):
        if kind == "cpu":
            return whole(what, given, 0, <int>self.machine.m.ncpus - 1, "the number of a CPU")
        if kind == "index":
            return whole(what, given, 0, 1 << 30, "an index")
        return PhysicalMemory.value(self, kind, what, given)

    def run(self, operations):
        """Run (name, a, b, c) tuples in order on one thread, on CPU 0 and after the last run; what each answered."""
        answers = super().run(("cpu", 0), *operations, ("home",))
        return answers[1:len(answers) - 1]

    def storm(self, int threads, int64_t rounds, uint64_t seed):
        """Many threads allocate and free at once; {refused allocations, pages handed out twice}, and all is freed."""
        cdef storm* w = <storm*>arena_alloc(self.machine.m, sizeof(storm))
        cdef int i, _i
        w.marks = <uint64_t*>arena_alloc(self.machine.m, (self.s.last_pa >> PAGE_SHIFT) * 8)
        w.own = <vm_object**>arena_alloc(self.machine.m, threads * sizeof(vm_object*))
        w.rounds = rounds
        w.seed = seed
        for i in range(threads):                        # an object's size tells whose it is
            w.own[i] = self.w.objects[<int>self.object(10000 + i, color=i)]
        shared = self.object(20000, color=0)
        w.shared = self.w.objects[<int>shared]
        for _i in range(threads):
            if self.machine.m.ops.spawn(NULL, self.machine.m, storm_thread, w, NULL) == NULL:
                raise MemoryError
        self.machine.run()
        self.run([("terminate", shared)])
        return {"refused": w.refused, "faults": w.faults}

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


def sizes():
    """Sizes of the structs that stand for FreeBSD's, in bytes."""
    return {"vm_page": sizeof(vm_page), "md_page": sizeof(md_page), "vm_reserv": sizeof(vm_reserv),
            "pv_entry": sizeof(pv_entry), "pv_chunk": sizeof(pv_chunk), "vm_domain": sizeof(vm_domain)}
