# Address spaces from Python: mmap, faults, fork, exec, exit; what each program sees in its memory.
#
# Pages have contents here, a number each, which copy-on-write copies; so one can ask who sees what.

from itertools import islice

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.boot cimport KERNEL_VM, kernel_config, kernel_config_from, kernel_create
from finegrain.kernel.locks cimport lock_site, rw_wlock, rw_wunlock
from finegrain.kernel.phys cimport (
    VM_ALLOC_NOBUSY, phys_allocated_pages, phys_audit, phys_state, vm_page_alloc)
from finegrain.kernel.pmap cimport pmap_access, pmap_activate, pmap_deactivate, pmap_extract, pv_state, radix_pages
from finegrain.kernel.types cimport (
    OBJT_SWAP, PAGE_SHIFT, VM_PROT_READ, VM_PROT_WRITE, pmap, vm_map_entry, vm_offset_t, vm_paddr_t, vm_page)
from finegrain.kernel.vm cimport (
    FAULT_KINDS, map_request, vm_audit, vm_fault, vm_map_brk, vm_map_mmap, vm_map_mprotect, vm_map_munmap,
    vm_object_allocate, vm_object_deallocate, vm_state, vmspace_alloc, vmspace_exec, vmspace_exit,
    vmspace_fork, vmspace_ref)
from finegrain.lab.memory cimport add_times
from finegrain.lab.run cimport (
    ALONE, MAX_INDEX, Operations, checked_config, fresh, lab_call, lab_job, lacks, shown, whole)
from finegrain.machine.seam cimport arena_alloc, charge, panic
from finegrain.machine.simulated.simulated cimport SimulatedMachine
from finegrain.machine.thread cimport thread

from finegrain.options import KernelOptions

cdef uint16_t SITE_FILL = lock_site(b"lab/file")

cdef enum:
    BAD_ACCESS = -1


cdef inline vmspace** place_of(lab_call* c, int i) noexcept nogil:
    return &(<spaces_world*>c.world).spaces[c.a[i]]


# The space that the operation is about, with which the thread runs from now on; NULL: refused.
cdef inline vmspace* space_at(thread* td, lab_call* c) noexcept nogil:
    cdef vmspace* vms = place_of(c, 0)[0]
    if lacks(c, vms != NULL, b"there is no address space at this place: new or fork makes one"):
        return NULL
    pmap_activate(td, &vms.pm)
    return vms


# It runs with none between two operations, so that others may end the space.
cdef inline int64_t done(thread* td, int64_t answer) noexcept nogil:
    if td.pmap != NULL:
        pmap_deactivate(td, <pmap*>td.pmap)
    return answer


cdef inline bint bad_range(lab_call* c) noexcept nogil:
    return (lacks(c, c.a[1] < c.a[2], b"the range is empty, or ends before it begins")
            or lacks(c, (c.a[2] - c.a[1]) >> PAGE_SHIFT <= MAX_INDEX, b"the range is longer than 64 GiB"))


# --- lives

cdef int64_t op_new(thread* td, lab_call* c) noexcept nogil:
    if not lacks(c, place_of(c, 0)[0] == NULL, b"there is an address space at this place already"):
        place_of(c, 0)[0] = vmspace_alloc(td)
    return 0


cdef int64_t op_fork(thread* td, lab_call* c) noexcept nogil:
    cdef vmspace* vms = space_at(td, c)
    if vms != NULL and not lacks(c, place_of(c, 1)[0] == NULL, b"there is an address space at the child's place"):
        place_of(c, 1)[0] = vmspace_fork(td, vms)
    return done(td, 0)


cdef int64_t op_vfork(thread* td, lab_call* c) noexcept nogil:
    cdef vmspace* vms = space_at(td, c)
    if vms != NULL and not lacks(c, place_of(c, 1)[0] == NULL, b"there is an address space at the child's place"):
        vmspace_ref(td, vms)
        place_of(c, 1)[0] = vms
    return done(td, 0)


cdef int64_t op_exec(thread* td, lab_call* c) noexcept nogil:
    cdef vmspace* vms = space_at(td, c)
    if vms != NULL:
        place_of(c, 0)[0] = vmspace_exec(td, vms)
    return done(td, 0)


cdef int64_t op_exit(thread* td, lab_call* c) noexcept nogil:
    cdef vmspace* vms = space_at(td, c)
    if vms != NULL:
        place_of(c, 0)[0] = NULL
        vmspace_exit(td, vms)
    return done(td, 0)


# --- mappings

# The files, in use by one operation more; False: refused.  With `checked` off nobody counts.
cdef bint take_files(lab_call* c) noexcept nogil:
    cdef uint32_t* uses = c.world.slots[SLOT_FILES]
    if lacks(c, uses[0] != ALONE, b"another thread is at work on the files"):
        return False
    uses[0] += 1
    return True


cdef int64_t op_mmap(thread* td, lab_call* c) noexcept nogil:
    cdef spaces_world* w = <spaces_world*>c.world
    cdef int64_t* a = c.a
    cdef vm_object* file = w.files[a[4]] if a[4] >= 0 else NULL
    cdef map_request request
    cdef vmspace* vms
    if (bad_range(c) or lacks(c, a[4] < 0 or file != NULL, b"the file is not filled")
            or lacks(c, not a[7] or (a[4] < 0 and not a[6]), b"a stack is private and of no file")
            or lacks(c, a[4] >= 0 or (a[5] == 0 and a[8] == 0), b"offset and premap are for files")
            or not take_files(c)):
        return 0
    vms = space_at(td, c)
    if vms != NULL:
        request.protection = <unsigned char>a[3]
        request.copy_on_write = file != NULL and not a[6]
        request.shared = a[6] != 0
        request.grows_down = a[7] != 0
        request.premap = <unsigned char>a[8]
        vm_map_mmap(td, vms, <uint64_t>a[1], <uint64_t>a[2], file, <uint64_t>a[5], &request)
    c.world.slots[SLOT_FILES][0] -= 1
    return done(td, 0)


cdef int64_t op_munmap(thread* td, lab_call* c) noexcept nogil:
    cdef vmspace* vms
    if lacks(c, c.a[1] < c.a[2], b"the range is empty, or ends before it begins"):
        return 0
    vms = space_at(td, c)
    if vms != NULL:
        vm_map_munmap(td, vms, <uint64_t>c.a[1], <uint64_t>c.a[2])
    return done(td, 0)


cdef int64_t op_mprotect(thread* td, lab_call* c) noexcept nogil:
    cdef vmspace* vms
    if lacks(c, c.a[1] < c.a[2], b"the range is empty, or ends before it begins"):
        return 0
    vms = space_at(td, c)
    if vms != NULL:
        vm_map_mprotect(td, vms, <uint64_t>c.a[1], <uint64_t>c.a[2], <unsigned char>c.a[3])
    return done(td, 0)


cdef int64_t op_brk(thread* td, lab_call* c) noexcept nogil:
    cdef int64_t most = <int64_t>MAX_INDEX << PAGE_SHIFT
    cdef vmspace* vms
    if (lacks(c, c.a[1] != c.a[2], b"the heap would end where it does now")
            or lacks(c, -most <= c.a[2] - c.a[1] <= most, b"the range is longer than 64 GiB")):
        return 0
    vms = space_at(td, c)
    if vms != NULL:
        vm_map_brk(td, vms, <uint64_t>c.a[1], <uint64_t>c.a[2])
    return done(td, 0)


# --- accesses

# The page that the program sees at va, after a fault if that is what it takes; 0: the access is not allowed.
cdef vm_paddr_t reach(thread* td, vmspace* vms, vm_offset_t va, int prot) noexcept nogil:
    if not pmap_access(td, &vms.pm, va, prot):
        if vm_fault(td, vms, va, prot) != 0:
            return 0
        if not pmap_access(td, &vms.pm, va, prot):
            return 1
    return pmap_extract(td, &vms.pm, va)


cdef int64_t op_read(thread* td, lab_call* c) noexcept nogil:
    cdef vmspace* vms = space_at(td, c)
    cdef vm_paddr_t pa
    if vms == NULL:
        return 0
    pa = reach(td, vms, <uint64_t>c.a[1], VM_PROT_READ)
    return done(td, (<spaces_world*>c.world).contents[pa >> PAGE_SHIFT] if pa > 1 else BAD_ACCESS - <int64_t>pa)


cdef int64_t op_write(thread* td, lab_call* c) noexcept nogil:
    cdef vmspace* vms = space_at(td, c)
    cdef vm_paddr_t pa
    if vms == NULL:
        return 0
    pa = reach(td, vms, <uint64_t>c.a[1], VM_PROT_WRITE)
    if pa <= 1:
        return done(td, BAD_ACCESS - <int64_t>pa)
    (<spaces_world*>c.world).contents[pa >> PAGE_SHIFT] = <uint32_t>c.a[2]
    return done(td, 0)


cdef int64_t op_frame(thread* td, lab_call* c) noexcept nogil:
    cdef vmspace* vms = space_at(td, c)
    return done(td, 0 if vms == NULL else <int64_t>pmap_extract(td, &vms.pm, <uint64_t>c.a[1]))


# --- files

cdef int64_t op_empty(thread* td, lab_call* c) noexcept nogil:
    cdef spaces_world* w = <spaces_world*>c.world
    cdef vm_object* file
    cdef uint32_t i
    for i in range(w.nfiles):
        if w.files[i] != NULL and lacks(c, w.files[i].ref_count == 1, b"a space still maps a file"):
            return 0
    for i in range(w.nfiles):
        file = w.files[i]
        if file != NULL:
            w.files[i] = NULL
            file.file = -1
            vm_object_deallocate(td, file)
    return 0


cdef int64_t op_fill(thread* td, lab_call* c) noexcept nogil:
    cdef spaces_world* w = <spaces_world*>c.world
    cdef vm_page* m
    cdef vm_object* file
    cdef uint32_t i
    cdef int64_t page
    for i in range(w.nfiles):
        if lacks(c, w.files[i] == NULL, b"the files are filled already"):
            return 0
    for i in range(w.nfiles):
        file = w.files[i] = vm_object_allocate(td, OBJT_SWAP, <uint64_t>w.sizes[i])
        file.file = <int>i
        file.builder = -1
        rw_wlock(td, &file.lock, SITE_FILL)
        for page in range(w.sizes[i]):
            m = vm_page_alloc(td, file, <uint64_t>page, VM_ALLOC_NOBUSY)
            if m == NULL:
                break
            m.valid = 0xff
            m.dirty = 0xff
            w.contents[m.phys_addr >> PAGE_SHIFT] = 0
        rw_wunlock(td, &file.lock)
        charge(td, td.machine.cost.copy_4k, w.sizes[i])
        if m == NULL:
            op_empty(td, c)
            lacks(c, False, b"the files do not fit in memory")
            return 0
    return 0


cdef void leave(thread* td, lab_job* job) noexcept nogil:
    done(td, 0)
    if td.nheld != 0:
        panic(td, b"an operation left a lock held")


cdef Operations OPERATIONS = Operations({"space": SLOT_SPACE, "files": SLOT_FILES})
OPERATIONS.add("new", "!space", op_new, "make an address space, empty")
OPERATIONS.add("fork", "space !child:space", op_fork, "copy an address space, on write")
OPERATIONS.add("vfork", "space !child:space", op_vfork, "share an address space until the child's exec or exit")
OPERATIONS.add("exec", "!space", op_exec, "a new program: the space is emptied, or left to who shares it")
OPERATIONS.add("exit", "!space", op_exit, "give an address space up")
OPERATIONS.add("mmap", "space start:va end prot file=-1 offset:index=0 shared:flag=0 grows_down:flag=0 premap=0",
               op_mmap,
               "map memory (file -1) or a file, in place of what is there; premap 1 some, 2 all resident pages")
OPERATIONS.add("munmap", "space start:va end", op_munmap, "unmap a range")
OPERATIONS.add("mprotect", "space start:va end prot", op_mprotect, "change the protection of a range")
OPERATIONS.add("brk", "space end new_end:end", op_brk, "move the end of the heap")
OPERATIONS.add("read", "space va:byte", op_read, "what the program sees: the page's number, -1 when it may not")
OPERATIONS.add("write", "space va:byte number", op_write, "write the page's number: 0, or -1 when it may not")
OPERATIONS.add("frame", "space va:byte", op_frame, "the physical address behind a virtual one, 0 when not mapped")
OPERATIONS.add("fill", "!files=0", op_fill, "bring the files into memory, all zeros")
OPERATIONS.add("empty", "!files=0", op_empty, "give the files up, which nobody maps any more")
add_times(OPERATIONS)


cdef class AddressSpaces(Lab):
    """Address spaces on the whole VM: maps, objects, faults, copy-on-write, fork, exec, exit.

    `segments` are (start, end, domain); None: all of the machine's memory above 1 MB. `design` is a spelling such as
    "head" or "superpage+batch", or a `finegrain.design.Design`. `files` are the sizes of the files there are, in
    pages; `fill` brings them into memory. `options` are
    KernelOptions, the defaults if None. `operations()` lists what threads can do. A space is known by its place, 0
    to 1,023, which `new`, `fork` or `vfork` fill and `exit` empties; a file by its number. Each page holds one number
    of 32 bits, at first 0, which `write` sets and `read` gives.
    """

    def __cinit__(self, SimulatedMachine machine not None, segments=None, *, design="head", files=(), options=None,
                  **_):
        cdef kernel_config config
        segments, design = checked_config(machine, segments, design)
        if options is not None and not isinstance(options, KernelOptions):
            raise TypeError(f"options must be KernelOptions, not {shown(options)}")
        if isinstance(files, (str, bytes)):
            raise TypeError(f"files must be a list of sizes in pages, not {shown(files)}")
        try:
            files = list(islice(files, MAX_FILES + 1))
        except TypeError:
            raise TypeError(f"files must be a list of sizes in pages, not {shown(files)}") from None
        if len(files) > MAX_FILES:
            raise ValueError(f"at most {<int>MAX_FILES} files")
        sizes = [whole(f"file {i}", size, 1, MAX_INDEX, f"a number of pages from 1 to {<int>MAX_INDEX}")
                 for i, size in enumerate(files)]
        fresh(machine)                  # the arguments' own code may have used it
        kernel_config_from(&config, segments, design, options)
        kernel_create(machine.m, &config, KERNEL_VM)
        self.make_world(sizeof(spaces_world))
        self.w = <spaces_world*>self.world
        self.world.leave = leave
        for i in range(len(sizes)):
            self.w.sizes[<int>i] = sizes[i]
        self.w.nfiles = len(sizes)
        self.pages_before = phys_allocated_pages(machine.m)
        self.w.contents = <uint32_t*>arena_alloc(
            machine.m, ((<phys_state*>machine.m.phys).last_pa >> PAGE_SHIFT) * sizeof(uint32_t))
        if self.w.contents == NULL:
            raise MemoryError("the machine's arena has no room for a lab")
        (<vm_state*>machine.m.vm).contents = self.w.contents
        self.make_slot(SLOT_SPACE, MAX_SPACES, 0)
        self.make_slot(SLOT_FILES, 1, 0)

    def __init__(self, machine, segments=None, *, design="head", files=(), options=None):
        """See the class."""

    cdef Operations table(self):
        return OPERATIONS

    cdef object value(self, str kind, str what, object given):
        if kind == "space":
            return whole(what, given, 0, MAX_SPACES - 1, f"the place of a space from 0 to {<int>MAX_SPACES - 1}")
        if kind == "file":
            number = -1 if given is None else whole(what, given, -1, MAX_FILES, "the number of a file, or -1")
            if number >= <int64_t>self.w.nfiles:
                raise IndexError(f"{what}: no file {number}; there are {self.w.nfiles}")
            return number
        if kind == "files":
            return whole(what, given, 0, 0, "left out")
        if kind == "premap":
            return whole(what, given, 0, 2, "0 (none), 1 (some) or 2 (all)")
        if kind == "number":
            return whole(what, given, 0, (1 << 32) - 1, "a number of 32 bits")
        return Lab.value(self, kind, what, given)

    cdef vmspace* space_of(self, object number) except NULL:
        at = self.value("space", "space", number)
        self.ready()
        if self.w.spaces[<int>at] == NULL:
            raise LookupError(f"there is no address space at place {at}")
        return self.w.spaces[<int>at]

    # --- looking

    def entries(self, space):
        """A map's entries: [(start, end, protection, file or -1, offset in it in pages, shared, needs_copy)]."""
        cdef vmspace* vms = self.space_of(space)
        cdef vm_map_entry* e
        cdef vm_object* obj
        cdef uint64_t offset
        cdef uint32_t i
        rows = []
        for i in range(vms.nentries):
            e = vms.entries[i]
            obj = e.object
            offset = e.offset
            while obj != NULL and obj.backing_object != NULL:
                offset += obj.backing_object_offset
                obj = obj.backing_object
            file = obj.file if obj != NULL else -1
            rows.append((e.start, e.end, e.protection, file, offset if file >= 0 else 0, bool(e.inherit_shared),
                         bool(e.needs_copy)))
        return rows

    def chain(self, space, va):
        """The objects that a mapping goes through, first to last: [(references, resident pages, size)]; None: none."""
        cdef uint64_t at = self.value("byte", "va", va)
        cdef vmspace* vms = self.space_of(space)
        cdef vm_object* obj
        cdef uint32_t i
        for i in range(vms.nentries):
            if vms.entries[i].start <= at < vms.entries[i].end:
                rows = []
                obj = vms.entries[i].object
                while obj != NULL:
                    rows.append((obj.ref_count, obj.resident_page_count, obj.size))
                    obj = obj.backing_object
                return rows
        return None

    def resident(self, space):
        """Number of pages mapped in a space's pmap."""
        return self.space_of(space).pm.resident_count

    def faults(self):
        """Faults by how they were settled: {kind: count}."""
        self.ready()
        kinds = ("fast", "superpage", "resident", "backing", "zero", "copy", "move", "bad")
        return {kinds[i]: (<vm_state*>self.machine.m.vm).faults[i] for i in range(FAULT_KINDS)}

    def audit(self):
        """Check everything, when no thread is at work: "" or what is wrong."""
        cdef char why[512]
        self.ready()
        why[0] = 0
        if vm_audit(self.machine.m, self.machine.m.threads == NULL, why, sizeof(why)):
            return (<bytes>why).decode()
        if phys_audit(self.machine.m):
            return "physical memory is inconsistent"
        return ""

    def in_use(self):
        """What is allocated: {objects, maps, entries, chunks, pages: how many}."""
        cdef vm_state* vs
        self.ready()
        vs = <vm_state*>self.machine.m.vm
        return {"objects": vs.objects, "maps": vs.maps, "entries": vs.entries,
                "chunks": (<pv_state*>self.machine.m.pv).chunks,
                "pages": phys_allocated_pages(self.machine.m) - radix_pages(self.machine.m) - self.pages_before}
