# The kernel's map of pipe buffers.
#
# FreeBSD makes pipe_map with kmem_suballoc(): a map like any program's, with the same kind of lock under the same name,
# "vm map (user)", but one for the whole machine, and on the kernel's pmap.  Every pipe() takes addresses from it and
# every last close gives them back, both with the map locked exclusively; the first write to each page of a buffer
# faults, with the map locked shared.  Giving back is the expensive one: the mappings are global, so that all CPUs have
# to forget them, and that is waited for with the map, the kernel's pmap and a PV list lock held.
#
# Adjacent buffers are one entry with one object (vm_object_coalesce()), so the pipes of all programs share an object's
# lock and its superpages: no design of the PV list lock tells them apart.

from libc.stdint cimport uint16_t, uint32_t

from finegrain.kernel.locks cimport (
    LO_DUPOK, lock_name, lock_site, mtx_init, mtx_lock, mtx_unlock, sx_init, sx_xlock, sx_xunlock)
from finegrain.kernel.phys cimport phys_state
from finegrain.kernel.pmap cimport pmap_access, pmap_growkernel, pmap_kernel_create
from finegrain.kernel.types cimport PAGE_SHIFT, VM_PROT_READ, VM_PROT_WRITE, vm_map_entry, vmspace
from finegrain.kernel.vm.fault cimport vm_fault
from finegrain.kernel.vm.map cimport (
    PREMAP_NONE, map_request, vm_map_delete, vm_map_insert, vm_map_process_deferred)
from finegrain.kernel.vm.state cimport vm_state
from finegrain.machine.seam cimport arena_alloc, charge, panic, unlikely

cdef uint16_t NAME_MAP = lock_name(b"sx", b"vm map (user)")
cdef uint16_t NAME_SYSTEM_MAP = lock_name(b"sleep mutex", b"vm map (system)")
cdef uint16_t SITE_FIND = lock_site(b"vm_map_find/pipe_map")
cdef uint16_t SITE_REMOVE = lock_site(b"vm_map_remove/pipe_map")
cdef uint16_t SITE_LOOKUP = lock_site(b"vm_map_lookup/kernel_map")

cdef extern from *:
    """
    /* amd64's VM_MIN_KERNEL_ADDRESS (vmparam.h), 0xfffffe0000000000, without its sign extension: pmap/kernel.pyx */
    #define FG_MIN_KERNEL_ADDRESS 0xfe0000000000ul
    """
    const vm_offset_t FG_MIN_KERNEL_ADDRESS

cdef enum:
    OPS_LOOKUP = 60                     # units of cost.op: find pipe_map in the kernel's map, as in fault.pyx [A]
    OPS_FINDSPACE = 60                  # find a hole: down a tree (vm_map_findspace()) [A]
    # kern.ipc.maxpipekva: this part of physical memory, 512 KB at least (subr_param.c) (M)
    PIPE_KVA_PART = 64
    MIN_PIPE_KVA = 512 * 1024


cdef int kmap_create(machine* m) except -1:
    cdef vm_state* st = <vm_state*>m.vm
    st.pipe_map = <vmspace*>arena_alloc(m, sizeof(vmspace))
    if st.pipe_map == NULL:
        raise MemoryError("no room for the kernel's map")
    mtx_init(&st.kernel_map, NAME_SYSTEM_MAP, 0)
    sx_init(&st.pipe_map.lock, NAME_MAP, LO_DUPOK)
    st.pipe_map.refcount = 1
    return pmap_kernel_create(m, &st.pipe_map.pm)


cdef uint64_t pipe_map_size(machine* m) noexcept nogil:
    cdef uint64_t size = (<phys_state*>m.phys).last_pa // PIPE_KVA_PART & ~<uint64_t>((1 << PAGE_SHIFT) - 1)
    return size if size > MIN_PIPE_KVA else MIN_PIPE_KVA


# Take addresses: the lowest hole that is large enough.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on pipe_map; on object locks, on the free page and the pmap's locks.  Sleeps for memory, and as
#             vm_object_deallocate() does.
# Returns:    the first address; 0: pipe_map is full.
# Stands for: FreeBSD vm_map_find() with pipe_map and VMFS_ANY_SPACE, in pipespace_new().
cdef vm_offset_t pipe_map_find(thread* td, uint64_t size) noexcept nogil:
    cdef vmspace* map = vm_of(td).pipe_map
    cdef vm_offset_t start = FG_MIN_KERNEL_ADDRESS
    cdef uint32_t i = 0
    cdef map_request request
    request.protection = VM_PROT_READ | VM_PROT_WRITE
    request.copy_on_write = 0
    request.shared = 0
    request.grows_down = 0
    request.premap = PREMAP_NONE
    sx_xlock(td, &map.lock, SITE_FIND)
    charge(td, td.machine.cost.op, OPS_FINDSPACE)
    while i < map.nentries and map.entries[i].start < start + size:
        start = map.entries[i].end
        i += 1
    if start + size > FG_MIN_KERNEL_ADDRESS + pipe_map_size(td.machine):
        sx_xunlock(td, &map.lock)
        return 0
    pmap_growkernel(td, start, start + size)
    vm_map_insert(td, map, start, start + size, NULL, 0, &request)
    sx_xunlock(td, &map.lock)
    return start


# Give addresses back, with the pages behind them.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on pipe_map; on object locks, on the free page and the pmap's locks; waits for the
#             acknowledgements of all CPUs with pipe_map and a PV list lock held.  Sleeps, as vm_object_deallocate()
#             does.
# Guarantees: no TLB of any CPU holds a translation of the range.
# Stands for: FreeBSD vm_map_remove() with pipe_map, in pipe_free_kmem().
cdef void pipe_map_remove(thread* td, vm_offset_t start, vm_offset_t end) noexcept nogil:
    cdef vmspace* map = vm_of(td).pipe_map
    cdef vm_map_entry* deferred
    sx_xlock(td, &map.lock, SITE_REMOVE)
    deferred = vm_map_delete(td, map, start, end)
    sx_xunlock(td, &map.lock)
    vm_map_process_deferred(td, deferred)


# The kernel touches its own pageable memory.
#
# Locks in:   none that may not be held across a sleep.
# Locks out:  the same.
# May block:  if it is not mapped yet: on the lock of the kernel's map; as vm_fault(), which sleeps.
# Stands for: the CPU's access in uiomove(), and FreeBSD trap_pfault() when it fails: vm_map_lookup() goes from the
#             kernel's map to the submap.
cdef void kernel_access(thread* td, vm_offset_t va, int prot) noexcept nogil:
    cdef vm_state* st = vm_of(td)
    if pmap_access(td, &st.pipe_map.pm, va, prot):
        return
    charge(td, td.machine.cost.fault, 1)
    mtx_lock(td, &st.kernel_map, SITE_LOOKUP)
    charge(td, td.machine.cost.op, OPS_LOOKUP)
    mtx_unlock(td, &st.kernel_map)
    if unlikely(vm_fault(td, st.pipe_map, va, prot) != 0):
        panic(td, b"the kernel touched memory of its own that is not mapped")
