# Test door to the VM: runs a list of operations on address spaces on one simulated thread, and shows what is mapped.
#
# Pages have contents here, a number each, which copy-on-write copies; so a test can ask who sees what.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from finegrain.kernel.boot cimport KERNEL_VM, kernel_config, kernel_config_from, kernel_create
from finegrain.kernel.phys.page cimport phys_allocated_pages, phys_audit
from finegrain.kernel.pmap.life cimport pmap_access, pmap_activate, pmap_deactivate, pmap_extract
from finegrain.kernel.pmap.pv cimport pv_state
from finegrain.kernel.proc.proc cimport proc, proc_state
from finegrain.kernel.types cimport (
    PAGE_SHIFT, VM_PROT_READ, VM_PROT_WRITE, pmap, vm_map_entry, vm_object, vm_offset_t, vm_paddr_t, vmspace)
from finegrain.kernel.vm.fault cimport vm_fault
from finegrain.kernel.vm.map cimport map_request, vm_map_brk, vm_map_mmap, vm_map_mprotect, vm_map_munmap
from finegrain.kernel.vm.state cimport FAULT_KINDS, vm_audit, vm_of, vm_state
from finegrain.kernel.vm.vmspace cimport vmspace_alloc, vmspace_exec, vmspace_exit, vmspace_fork, vmspace_ref
from finegrain.machine.machine cimport Machine
from finegrain.machine.seam cimport arena_alloc
from finegrain.machine.thread cimport thread
from finegrain.replay.image cimport fill_run, image, image_fill, image_free

from finegrain.design import parse_design

OPS = ("new", "fork", "vfork", "exec", "exit", "mmap", "munmap", "mprotect", "brk", "read", "write", "frame",
       "fill", "empty")
OP_NUMBERS = {name: number for number, name in enumerate(OPS)}

cdef enum:
    NSPACES = 16
    FILES = 4
    FILE_PAGES = 1100                   # more than two superpages

cdef struct op:
    int code
    int space
    int64_t a, b, c, d
    map_request request
    int64_t result

cdef struct job:
    vmspace** spaces
    image* files
    op* ops
    int64_t count


# The page that the program sees at va, after a fault if that is what it takes; 0: the access is not allowed.
cdef vm_paddr_t reach(thread* td, vmspace* vms, vm_offset_t va, int prot) noexcept nogil:
    if not pmap_access(td, &vms.pm, va, prot):
        if vm_fault(td, vms, va, prot) != 0:
            return 0
        if not pmap_access(td, &vms.pm, va, prot):
            return 1
    return pmap_extract(td, &vms.pm, va)


cdef int64_t run_op(thread* td, job* j, op* o) noexcept nogil:
    cdef vmspace* vms = j.spaces[o.space]
    cdef vm_paddr_t pa
    cdef uint32_t* contents = vm_of(td).contents
    cdef int64_t sizes[FILES]
    cdef fill_run runs[FILES]
    cdef int i
    if vms != NULL:
        pmap_activate(td, &vms.pm)
    if o.code == 0:
        j.spaces[o.space] = vmspace_alloc(td)
    elif o.code == 1:
        j.spaces[o.a] = vmspace_fork(td, vms)
    elif o.code == 2:
        vmspace_ref(td, vms)
        j.spaces[o.a] = vms
    elif o.code == 3:
        j.spaces[o.space] = vmspace_exec(td, vms)
    elif o.code == 4:
        j.spaces[o.space] = NULL
        vmspace_exit(td, vms)
    elif o.code == 5:
        vm_map_mmap(td, vms, <uint64_t>o.a, <uint64_t>o.b, j.files.files[o.c] if o.c >= 0 else NULL, <uint64_t>o.d,
                    &o.request)
    elif o.code == 6:
        vm_map_munmap(td, vms, <uint64_t>o.a, <uint64_t>o.b)
    elif o.code == 7:
        vm_map_mprotect(td, vms, <uint64_t>o.a, <uint64_t>o.b, <uint8_t>o.c)
    elif o.code == 8:
        vm_map_brk(td, vms, <uint64_t>o.a, <uint64_t>o.b)
    elif o.code == 9:
        pa = reach(td, vms, <uint64_t>o.a, VM_PROT_READ)
        return contents[pa >> PAGE_SHIFT] if pa > 1 else -1 - <int64_t>pa
    elif o.code == 10:
        pa = reach(td, vms, <uint64_t>o.a, VM_PROT_WRITE)
        if pa <= 1:
            return -1 - <int64_t>pa
        contents[pa >> PAGE_SHIFT] = <uint32_t>o.b
    elif o.code == 11:
        return <int64_t>pmap_extract(td, &vms.pm, <uint64_t>o.a)
    elif o.code == 12:
        for i in range(FILES):
            sizes[i] = FILE_PAGES
            runs[i].file = i
            runs[i].reached = 1
            runs[i].page = 0
            runs[i].pages = FILE_PAGES
        image_fill(td, j.files, sizes, runs, 0, FILES, 1)
    elif o.code == 13:
        image_free(td, j.files)
    return 0


cdef void run_ops(thread* td, void* argument) noexcept nogil:
    cdef job* j = <job*>argument
    cdef int64_t i
    for i in range(j.count):
        j.ops[i].result = run_op(td, j, &j.ops[i])
    if td.pmap != NULL:
        pmap_deactivate(td, <pmap*>td.pmap)


cdef class VM:
    """A VM on a machine of its own, with 16 places for address spaces and 4 files of 1,100 pages."""

    cdef Machine host
    cdef job* j
    cdef int64_t pages_before

    def __init__(self, Machine host, *, contents=True, uint32_t hashed_locks=256, bint batch=False):
        cdef kernel_config config
        self.host = host
        layout = f"hashed:locks={hashed_locks}" if hashed_locks else "superpage"
        kernel_config_from(&config, [(0x100000, host.m.dmap_size, 0)],
                           parse_design(layout + ("+batch" if batch else "")))
        kernel_create(host.m, &config, KERNEL_VM)
        self.pages_before = phys_allocated_pages(host.m)
        self.j = <job*>arena_alloc(host.m, sizeof(job))
        self.j.spaces = <vmspace**>arena_alloc(host.m, NSPACES * sizeof(vmspace*))
        self.j.files = <image*>arena_alloc(host.m, sizeof(image))
        self.j.files.nfiles = FILES
        self.j.files.files = <vm_object**>arena_alloc(host.m, FILES * sizeof(vm_object*))
        if contents:
            (<vm_state*>host.m.vm).contents = <uint32_t*>arena_alloc(host.m, (host.m.dmap_size >> PAGE_SHIFT) * 4)

    def run(self, ops):
        """Run operations (name, space, a, b, c, d, request) one after another and return their results.

        `request` is (protection, copy_on_write, shared, grows_down, premap). Reads give the page's contents, and
        -1 when they are not allowed; -2 would say that a fault was settled and the access still fails.
        """
        cdef int64_t i
        cdef op* o
        self.j.ops = <op*>arena_alloc(self.host.m, max(1, len(ops)) * sizeof(op))
        self.j.count = len(ops)
        for i, row in enumerate(ops):
            name, space, a, b, c, d, request = row + (0, 0, 0, 0, None)[len(row) - 2:]
            o = &self.j.ops[i]
            o.code = OP_NUMBERS[name]
            o.space, o.a, o.b, o.c, o.d = space, a, b, c, d
            if request:
                (o.request.protection, o.request.copy_on_write, o.request.shared, o.request.grows_down,
                 o.request.premap) = request
        if self.host.m.ops.spawn(NULL, self.host.m, run_ops, self.j, NULL) == NULL:
            raise MemoryError
        self.host.run()
        return [self.j.ops[i].result for i in range(len(ops))]

    def entries(self, int space):
        """Give a map's entries: (start, end, protection, file or -1, offset in it, shared, needs_copy)."""
        cdef vmspace* vms = self.j.spaces[space]
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

    def chain(self, int space, uint64_t va):
        """Give the objects that a mapping goes through, first to last: (references, resident pages, size)."""
        cdef vmspace* vms = self.j.spaces[space]
        cdef vm_object* obj
        cdef uint32_t i
        for i in range(vms.nentries):
            if vms.entries[i].start <= va < vms.entries[i].end:
                rows = []
                obj = vms.entries[i].object
                while obj != NULL:
                    rows.append((obj.ref_count, obj.resident_page_count, obj.size))
                    obj = obj.backing_object
                return rows
        return None

    def resident(self, int space):
        """Number of pages mapped in a space's pmap."""
        return self.j.spaces[space].pm.resident_count

    def faults(self):
        """Faults by kind, in the order of vm.pxd."""
        return [(<vm_state*>self.host.m.vm).faults[i] for i in range(FAULT_KINDS)]

    def audit(self):
        """Check everything, nothing being under way: "" or what is wrong."""
        cdef char why[512]
        why[0] = 0
        if vm_audit(self.host.m, True, why, sizeof(why)):
            return why.decode()
        if phys_audit(self.host.m):
            return "physical memory is inconsistent"
        return ""

    def in_use(self):
        """What is allocated: objects, maps, entries, pv chunks, pages."""
        cdef vm_state* vs = <vm_state*>self.host.m.vm
        return (vs.objects, vs.maps, vs.entries, (<pv_state*>self.host.m.pv).chunks,
                phys_allocated_pages(self.host.m) - self.pages_before)


def processes(Machine host):
    """The processes of a machine that runs a replay, zombies left out: (builder, number, parent's number).

    They are in order of creation. A reaper's number is -1.
    """
    cdef proc* p = (<proc_state*>host.m.proc).all
    rows = []
    while p != NULL:
        rows.append((p.p_builder, p.p_plan.number, p.p_pptr.p_plan.number if p.p_pptr != NULL else None))
        p = p.p_list_next
    return rows[::-1]
