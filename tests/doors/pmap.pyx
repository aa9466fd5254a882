# Test door to the pmap: lists of operations run on one simulated thread, or several at once, and everything is shown.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.boot cimport KERNEL_PMAP, kernel_config, kernel_config_from, kernel_create
from finegrain.kernel.locks.mtx cimport mtx_lock, mtx_unlock
from finegrain.kernel.locks.profile cimport (
    MAX_LOCK_NAMES, MAX_SITES, lock_class_text, lock_name, lock_name_text, lock_profile, lock_record, lock_site,
    lock_site_text)
from finegrain.kernel.locks.rw cimport rw_init, rw_wlock, rw_wunlock, rwlock
from finegrain.kernel.phys.objpages cimport vm_radix_free
from finegrain.kernel.phys.page cimport (
    PHYS_TO_VM_PAGE, VM_ALLOC_NOBUSY, phys_allocated_pages, phys_audit, vm_page_alloc,
    vm_page_alloc_noobj, vm_page_free)
from finegrain.kernel.phys.reserv cimport vm_reserv_break_all
from finegrain.kernel.phys.types cimport phys_state
from finegrain.kernel.pmap.audit cimport pmap_audit
from finegrain.kernel.pmap.copy cimport pmap_copy, pmap_protect
from finegrain.kernel.pmap.di cimport (
    pmap_delayed_invl_finish, pmap_delayed_invl_page, pmap_delayed_invl_start, pmap_delayed_invl_wait)
from finegrain.kernel.pmap.enter cimport pmap_enter, pmap_enter_object, pmap_enter_quick
from finegrain.kernel.pmap.life cimport (
    pmap_access, pmap_activate, pmap_deactivate, pmap_extract, pmap_is_prefaultable,
    pmap_pinit, pmap_release)
from finegrain.kernel.pmap.page cimport (
    pmap_is_modified, pmap_page_exists_quick, pmap_remove_all, pmap_remove_write, pmap_ts_referenced)
from finegrain.kernel.pmap.pt cimport pmap_state
from finegrain.kernel.pmap.pv cimport CHUNKS_FREED_MAX, PV_PMAP, pv_audit, pv_state
from finegrain.kernel.pmap.pvlock cimport (
    PHYS_TO_PV_LIST_LOCK, pv_list_wlock, pv_list_wunlock, pv_lock_id, pv_lock_index, pvlock, pvlock_state)
from finegrain.kernel.pmap.remove cimport pmap_remove, pmap_remove_pages
from finegrain.kernel.types cimport (
    NPCM, NPTEPG, PAGE_SHIFT, PDRSHIFT, md_page, pmap, pt_entry_t, pv_chunk, pv_entry, vm_object, vm_page)
from finegrain.machine.machine cimport Machine
from finegrain.machine.seam cimport arena_alloc, arena_offset, charge, now, panic, sleep_for, user
from finegrain.machine.thread cimport machine, thread

from finegrain.design import parse_design

cdef uint16_t NAME_OBJECT = lock_name(b"rw", b"vm object")
cdef uint16_t SITE = lock_site(b"door pmap")
cdef uint16_t SITE_OBJECT = lock_site(b"door pmap/object")

cdef enum:
    MAX_PMAPS = 256
    MAX_OBJECTS = 64
    MAX_HOGGED = 1 << 16

OPS = (
    "pinit", "release", "activate", "deactivate", "enter", "enter_object", "enter_quick", "copy", "protect", "remove",
    "remove_all", "remove_write", "remove_pages", "extract", "is_prefaultable", "exists_quick", "ts_referenced",
    "is_modified", "access", "alloc", "free", "terminate", "hog", "unhog", "wait", "sleep", "hold_chunk_list",
    "hold_pv_list", "hold_pmap", "di_start", "di_page", "di_finish", "di_wait", "clock", "corrupt")
OP_NUMBERS = {name: number for number, name in enumerate(OPS)}

cdef struct op:
    int code
    int64_t a[6]
    int64_t result

cdef struct world:
    pmap pmaps[MAX_PMAPS]
    vm_object objects[MAX_OBJECTS]
    vm_page* hogged[MAX_HOGGED]
    int64_t nhogged

cdef struct job:
    world* w
    op* ops
    int64_t count
    int64_t done


cdef int64_t run_physical(thread* td, world* w, op* o) noexcept nogil:
    cdef vm_object* obj
    cdef vm_page* m
    if o.code == 19:                    # alloc object pindex
        obj = &w.objects[o.a[0]]
        rw_wlock(td, &obj.lock, SITE_OBJECT)
        m = vm_page_alloc(td, obj, <uint64_t>o.a[1], VM_ALLOC_NOBUSY)
        rw_wunlock(td, &obj.lock)
        return 0 if m == NULL else <int64_t>m.phys_addr
    if o.code == 20:                    # free pa
        m = PHYS_TO_VM_PAGE(td, <uint64_t>o.a[0])
        obj = m.object
        rw_wlock(td, &obj.lock, SITE_OBJECT)
        vm_page_free(td, m)
        rw_wunlock(td, &obj.lock)
    elif o.code == 21:                  # terminate object
        obj = &w.objects[o.a[0]]
        rw_wlock(td, &obj.lock, SITE_OBJECT)
        while obj.memq_first != NULL:
            vm_page_free(td, obj.memq_first)
        vm_reserv_break_all(td, obj)
        vm_radix_free(td, obj)
        rw_wunlock(td, &obj.lock)
    elif o.code == 22:                  # hog: leave so many pages free
        while w.nhogged < MAX_HOGGED:
            m = vm_page_alloc_noobj(td, -1, 0)
            if m == NULL:
                break
            w.hogged[w.nhogged] = m
            w.nhogged += 1
        while o.a[0] > 0 and w.nhogged > 0:
            o.a[0] -= 1
            w.nhogged -= 1
            vm_page_free(td, w.hogged[w.nhogged])
        return w.nhogged
    elif o.code == 23:
        while w.nhogged > 0:
            w.nhogged -= 1
            vm_page_free(td, w.hogged[w.nhogged])
    return 0


cdef int64_t run_locking(thread* td, world* w, op* o) noexcept nogil:
    cdef pv_state* pv = <pv_state*>td.machine.pv
    cdef pvlock* lock
    if o.code == 24:                    # wait: user time, so many ps
        user(td, o.a[0])
    elif o.code == 25:
        sleep_for(td, o.a[0])
    elif o.code == 26:                  # hold a lock asleep on a CPU: what waits for it can be looked at
        mtx_lock(td, &pv.chunk_list_lock, SITE)
        charge(td, o.a[0], 1)
        mtx_unlock(td, &pv.chunk_list_lock)
    elif o.code == 27:
        lock = PHYS_TO_PV_LIST_LOCK(td, <uint64_t>o.a[0])
        pv_list_wlock(td, lock, <uint64_t>o.a[0], SITE)
        charge(td, o.a[1], 1)
        pv_list_wunlock(td, lock)
    elif o.code == 28:
        mtx_lock(td, &w.pmaps[o.a[0]].pm_mtx, SITE)
        charge(td, o.a[1], 1)
        mtx_unlock(td, &w.pmaps[o.a[0]].pm_mtx)
    elif o.code == 29:
        pmap_delayed_invl_start(td)
    elif o.code == 30:
        lock = PHYS_TO_PV_LIST_LOCK(td, <uint64_t>o.a[0])
        pv_list_wlock(td, lock, <uint64_t>o.a[0], SITE)
        pmap_delayed_invl_page(td, PHYS_TO_VM_PAGE(td, <uint64_t>o.a[0]))
        pv_list_wunlock(td, lock)
    elif o.code == 31:
        pmap_delayed_invl_finish(td)
    elif o.code == 32:
        pmap_delayed_invl_wait(td, PHYS_TO_VM_PAGE(td, <uint64_t>o.a[0]))
        return now(td)
    elif o.code == 33:
        return now(td)
    return 0


# Break something on purpose, for the audits to find.
cdef int64_t corrupt(thread* td, world* w, int64_t what, pmap* pm) noexcept nogil:
    cdef pv_chunk* pc = pm.pm_pvchunk_first
    cdef pv_entry* pv = &pc.pc_pventry[0]
    if what == 0:
        pm.resident_count += 1
    elif what == 1:
        pv.pv_va += 1 << 12
    elif what == 2:
        pc.pc_map[0] |= 1
    elif what == 3:
        pc.pc_map[2] &= ~(<uint64_t>1 << 39)
    elif what == 4:
        pv.pv_next = &pc.pc_pventry[1] if pv.pv_next == NULL else NULL
    elif what == 5:
        pm.ptp_count -= 1
    elif what == 6:
        pm.wired_count -= 1
    elif what == 7:
        pm.pm_pvchunk_last = NULL
    elif what == 8:
        pm.pm_pml4_page.md.pv_gen += 1  # harmless: what a check that always complains would trip on
    elif what == 9:
        (<pv_state*>td.machine.pv).lru_first = NULL
    return 0


cdef int64_t run_op(thread* td, world* w, op* o) noexcept nogil:
    cdef int64_t* a = o.a
    cdef pmap* pm = &w.pmaps[a[0]]
    cdef vm_page* m
    if 19 <= o.code <= 23:
        return run_physical(td, w, o)
    if 24 <= o.code <= 33:
        return run_locking(td, w, o)
    if o.code == 0:
        pmap_pinit(td, pm)
        return pm.pm_id
    if o.code == 1:
        pmap_release(td, pm)
    elif o.code == 2:
        pmap_activate(td, pm)
    elif o.code == 3:
        pmap_deactivate(td, pm)
    elif o.code == 4:
        m = PHYS_TO_VM_PAGE(td, <uint64_t>a[2])
        return pmap_enter(td, pm, <uint64_t>a[1], m, <int>a[3], <int>a[4], <int>a[5])
    elif o.code == 5:
        pmap_enter_object(td, pm, <uint64_t>a[1], <uint64_t>a[2], PHYS_TO_VM_PAGE(td, <uint64_t>a[3]), <int>a[4])
    elif o.code == 6:
        pmap_enter_quick(td, pm, <uint64_t>a[1], PHYS_TO_VM_PAGE(td, <uint64_t>a[2]), <int>a[3])
    elif o.code == 7:
        pmap_copy(td, pm, &w.pmaps[a[1]], <uint64_t>a[2], <uint64_t>a[3])
    elif o.code == 8:
        pmap_protect(td, pm, <uint64_t>a[1], <uint64_t>a[2], <int>a[3])
    elif o.code == 9:
        pmap_remove(td, pm, <uint64_t>a[1], <uint64_t>a[2])
    elif o.code == 10:
        pmap_remove_all(td, PHYS_TO_VM_PAGE(td, <uint64_t>a[0]))
    elif o.code == 11:
        pmap_remove_write(td, PHYS_TO_VM_PAGE(td, <uint64_t>a[0]))
    elif o.code == 12:
        pmap_activate(td, pm)
        pmap_remove_pages(td, pm)
        pmap_deactivate(td, pm)
    elif o.code == 13:
        return <int64_t>pmap_extract(td, pm, <uint64_t>a[1])
    elif o.code == 14:
        return pmap_is_prefaultable(td, pm, <uint64_t>a[1])
    elif o.code == 15:
        return pmap_page_exists_quick(td, pm, PHYS_TO_VM_PAGE(td, <uint64_t>a[1]))
    elif o.code == 16:
        return pmap_ts_referenced(td, PHYS_TO_VM_PAGE(td, <uint64_t>a[0]))
    elif o.code == 17:
        return pmap_is_modified(td, PHYS_TO_VM_PAGE(td, <uint64_t>a[0]))
    elif o.code == 18:
        return pmap_access(td, pm, <uint64_t>a[1], <int>a[2])
    elif o.code == 34:
        return corrupt(td, w, a[1], pm)
    return 0


cdef void run_job(thread* td, void* argument) noexcept nogil:
    cdef job* j = <job*>argument
    while j.done < j.count:
        j.ops[j.done].result = run_op(td, j.w, &j.ops[j.done])
        j.done += 1
    if td.nheld != 0:
        panic(td, b"an operation left a lock held")


cdef class Pmaps:
    """A machine with physical memory, a design, objects and pmaps, all known by number."""
    cdef Machine machine
    cdef world* w
    cdef uint64_t nobjects

    def __init__(self, Machine computer, segments, *, int locks=256, bint padded=False, bint batch=False):
        cdef kernel_config config
        self.machine = computer
        layout = f"hashed:locks={locks}{',padded' if padded else ''}" if locks else "superpage"
        kernel_config_from(&config, segments, parse_design(layout + ("+batch" if batch else "")))
        kernel_create(computer.m, &config, KERNEL_PMAP)
        self.w = <world*>arena_alloc(computer.m, sizeof(world))

    def object(self, uint64_t size, *, int64_t color=-1):
        """Make an object of `size` pages; its number."""
        cdef vm_object* obj = &self.w.objects[self.nobjects]
        if self.nobjects == MAX_OBJECTS:
            raise ValueError("too many objects")
        rw_init(&obj.lock, NAME_OBJECT, 0)
        obj.size = size
        obj.color = color
        self.nobjects += 1
        return self.nobjects - 1

    def start(self, operations):
        """Give a new thread operations, (name, arguments...) tuples, to do; returns a number for results()."""
        cdef job* j = <job*>arena_alloc(self.machine.m, sizeof(job))
        cdef int64_t i, k, n = len(operations)
        j.w = self.w
        j.count = n
        j.ops = <op*>arena_alloc(self.machine.m, (n + 1) * sizeof(op))
        for i in range(n):
            j.ops[i].code = OP_NUMBERS[operations[i][0]]
            for k in range(1, len(operations[i])):
                j.ops[i].a[k - 1] = operations[i][k]
        if self.machine.m.ops.spawn(NULL, self.machine.m, run_job, j, NULL) == NULL:
            raise MemoryError
        return <uint64_t>j - <uint64_t>self.machine.m.arena

    def results(self, uint64_t number):
        """What each operation of a thread answered so far."""
        cdef job* j = <job*>(self.machine.m.arena + number)
        cdef int64_t i
        return [j.ops[i].result for i in range(j.done)]

    def run(self, *operations):
        """Run operations on one thread; what each answered."""
        number = self.start(operations)
        self.machine.run()
        return self.results(number)

    def do(self, *operation):
        """Run one operation; its answer."""
        return self.run(operation)[0]

    # --- looking

    def ptes(self, int number):
        """The leaf entries of a pmap: {va: (entry, pages)}."""
        cdef pmap* pm = &self.w.pmaps[number]
        out = {}
        if pm.pm_pml4 != NULL:
            self.walk(pm.pm_pml4, 0, 39, out)
        return out

    cdef walk(self, pt_entry_t* table, uint64_t va, int shift, dict out):
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

    cdef entries(self, md_page* md):
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

    def pv_list(self, uint64_t pa):
        """The PV list of a page, oldest first: [(pmap id, va)]."""
        return self.entries(&(<phys_state*>self.machine.m.phys).page_array[pa >> PAGE_SHIFT].md)

    def pages(self, addresses):
        """For each page: (PV list, its generation, writeable, referenced, dirty)."""
        cdef vm_page* m
        cdef uint64_t pa
        out = []
        for pa in addresses:
            m = &(<phys_state*>self.machine.m.phys).page_array[pa >> PAGE_SHIFT]
            out.append((self.entries(&m.md), m.md.pv_gen, bool(m.aflags & 1), bool(m.aflags & 2), m.dirty == 0xff))
        return out

    def superpage_list(self, uint64_t pa):
        """The PV list of a superpage, oldest first: [(pmap id, va)]."""
        cdef pvlock_state* s = <pvlock_state*>self.machine.m.pvlock
        return self.entries(<md_page*>(s.head_base + (pa >> PDRSHIFT) * s.head_stride))

    def generations(self, uint64_t pa):
        """The generations of the lists of a page and of its superpage, and its invalidation generation."""
        cdef pvlock_state* s = <pvlock_state*>self.machine.m.pvlock
        cdef md_page* pvh = <md_page*>(s.head_base + (pa >> PDRSHIFT) * s.head_stride)
        cdef uint64_t* gen = <uint64_t*>(s.gen_base + pv_lock_index(s, pa) * s.gen_stride)
        return (<phys_state*>self.machine.m.phys).page_array[pa >> PAGE_SHIFT].md.pv_gen, pvh.pv_gen, gen[0]

    def pmap(self, int number):
        """Counts of a pmap, and its chunks: (free entries in each) in list order."""
        cdef pmap* pm = &self.w.pmaps[number]
        cdef pv_chunk* pc = pm.pm_pvchunk_first
        cdef vm_page* m = pm.pm_root
        chunks = []
        while pc != NULL:
            chunks.append(sum((<uint64_t>pc.pc_map[i]).bit_count() for i in range(NPCM)))
            pc = pc.pc_list_next
        saved = []
        while m != NULL:
            saved.append(m.pindex << PDRSHIFT)
            m = m.listq_next
        return {"id": pm.pm_id, "resident": pm.resident_count, "wired": pm.wired_count, "ptps": pm.ptp_count,
                "chunks": chunks, "saved": saved, "offset": arena_offset(self.machine.m, pm)}

    def counts(self):
        """Counts of the machine."""
        cdef pv_state* pv = <pv_state*>self.machine.m.pv
        cdef pmap_state* s = <pmap_state*>self.machine.m.pmap
        return {"allocated": phys_allocated_pages(self.machine.m), "faults": phys_audit(self.machine.m),
                "chunks": pv.chunks, "reclaims": pv.reclaims, "promotions": s.promotions, "demotions": s.demotions,
                "mappings": s.mappings, "promotion_failures": s.promotion_failures, "restarts": s.restarts}

    def chunks_freed(self):
        """pmap_remove_pages calls by chunks freed: {chunks: calls}."""
        cdef pv_state* pv = <pv_state*>self.machine.m.pv
        return {i: pv.chunks_freed[i] for i in range(CHUNKS_FREED_MAX + 1) if pv.chunks_freed[i]}

    def audit(self, *numbers):
        """Faults found in these pmaps and in the list of chunks: (how many, the first)."""
        cdef char why[256]
        cdef int64_t faults = 0
        texts = []
        for number in numbers:
            why[0] = 0
            faults += pmap_audit(self.machine.m, &self.w.pmaps[<int>number], why, sizeof(why))
            texts.append((<bytes>why).decode())
        why[0] = 0
        faults += pv_audit(self.machine.m, why, sizeof(why))
        texts.append((<bytes>why).decode())
        return faults, next((text for text in texts if text), "")

    def acquisitions(self):
        """Locks taken so far: {(class:name, acquisition point): count}; failed tries as (name, point, "failed")."""
        cdef lock_profile* p = <lock_profile*>self.machine.m.profile
        cdef lock_record* r
        cdef int n, s
        out = {}
        for n in range(MAX_LOCK_NAMES):
            for s in range(MAX_SITES):
                r = &p.records[n * MAX_SITES + s]
                if r.acquisitions:
                    out[self.name(n), lock_site_text(s).decode()] = r.acquisitions
                if r.trylock_failures:
                    out[self.name(n), lock_site_text(s).decode(), "failed"] = r.trylock_failures
        return out

    cdef str name(self, int n):
        return lock_class_text(n).decode() + ":" + lock_name_text(n).decode()

    def threads(self):
        """What each living thread wants and holds, in order of creation: [(wanted or None, [held])]."""
        cdef thread* td = self.machine.m.threads
        cdef uint32_t i
        out = []
        while td != NULL:
            wanted = self.name(td.wanted.name) if td.wanted.address != NULL else None
            held = [self.name(td.held[i].lock.name) for i in range(td.nheld)]
            out.append((td.id, wanted, held))
            td = td.all_next
        return [(wanted, held) for _, wanted, held in sorted(out)]

    def layout(self):
        """The design in memory; addresses are offsets in the arena."""
        cdef pvlock_state* s = <pvlock_state*>self.machine.m.pvlock
        cdef machine* m = self.machine.m
        return {"locks": s.nlocks, "bytes": s.bytes, "kva_bytes": s.kva_bytes,
                "lock": (arena_offset(m, s.lock_base), s.lock_stride),
                "gen": (arena_offset(m, s.gen_base), s.gen_stride),
                "head": (arena_offset(m, s.head_base), s.head_stride),
                "fills": [(s.fills[i].start, s.fills[i].entries, s.fills[i].bytes, s.fills[i].domain)
                          for i in range(s.nfills)]}

    def lock_index(self, uint64_t pa):
        """Which PV list lock an address has."""
        return pv_lock_index(<pvlock_state*>self.machine.m.pvlock, pa)

    def lock_instance(self, uint64_t index):
        """The number that the lock at an index says it has; -1 for no lock there."""
        cdef pvlock_state* s = <pvlock_state*>self.machine.m.pvlock
        cdef rwlock* lock = <rwlock*>(s.lock_base + index * s.lock_stride)
        return pv_lock_id(s, <pvlock*>lock).instance if lock.lock_object.lo_flags else -1
