# Address spaces.
#
# fork copies the map: each entry of the child refers to the same object as the parent's, both are marked as in need
# of a copy, and the parent's pages become read-only.  Then pmap_copy() enters what is resident into the child's pmap:
# a pv entry a page.  vfork copies nothing: parent and child use one address space until the child's exec or exit.
#
# The end is the reverse: pmap_remove_pages() takes all mappings out at once, in the order of the pv chunks, which
# leaves nothing for pmap_remove() to do when the map is taken apart after that.

from libc.stdint cimport uint16_t, uint32_t, uint64_t

from finegrain.kernel.list cimport list_insert_head, list_remove
from finegrain.kernel.locks cimport (
    LO_DUPOK, lock_name, lock_site, rw_wlock, rw_wunlock, sx_init, sx_try_xlock, sx_xlock, sx_xunlock)
from finegrain.kernel.pmap cimport (
    pmap_activate, pmap_copy, pmap_deactivate, pmap_pinit, pmap_protect, pmap_release, pmap_remove_pages)
from finegrain.kernel.types cimport (
    OBJT_DEFAULT, PAGE_SHIFT, VM_PROT_WRITE, vm_map_entry, vm_object, vm_offset_t, vmspace)
from finegrain.kernel.vm.map cimport VM_MAP_ASSERT_XLOCKED, vm_map_append, vm_map_delete, vm_map_process_deferred
from finegrain.kernel.vm.object cimport (
    OBJ_ONEMAPPING, vm_object_allocate, vm_object_anonymous, vm_object_collapse, vm_object_ref_add, vm_object_shadow)
from finegrain.kernel.vm.state cimport vm_of, vm_state
from finegrain.machine.seam cimport (
    arena_alloc, atomic_cas, atomic_fetchadd, atomic_load, charge, panic, raw_lock, raw_unlock, touch_read, unlikely)
from finegrain.machine.thread cimport thread

cdef uint16_t NAME_MAP = lock_name(b"sx", b"vm map (user)")
cdef uint16_t SITE_FORK = lock_site(b"vmspace_fork")
cdef uint16_t SITE_COPY = lock_site(b"vm_map_copy_entry")
cdef uint16_t SITE_REMOVE = lock_site(b"vm_map_remove")

cdef enum:
    OPS_SPACE = 200                     # units of cost.op: the fields of a new address space

cdef extern from *:
    """
    #define FG_END_OF_SPACE 0x800000000000ul
    """
    const vm_offset_t FG_END_OF_SPACE


# Make an address space.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on the free page locks.  Sleeps for memory.
# Returns:    an empty address space with one reference.
# Stands for: FreeBSD vmspace_alloc().
cdef vmspace* vmspace_alloc(thread* td) noexcept nogil:
    cdef vm_state* st = vm_of(td)
    cdef vmspace* vms
    charge(td, td.machine.cost.op, OPS_SPACE)
    raw_lock(td, &st.lock)
    vms = st.free_maps
    if vms != NULL:
        st.free_maps = vms.all_next
    raw_unlock(td, &st.lock)
    if vms != NULL:
        vms.hint = 0
    else:
        vms = <vmspace*>arena_alloc(td.machine, sizeof(vmspace))
    sx_init(&vms.lock, NAME_MAP, LO_DUPOK)
    pmap_pinit(td, &vms.pm)
    vms.refcount = 1
    raw_lock(td, &st.lock)
    list_insert_head(<void**>&st.all_maps, NULL, vms, <void**>&vms.all_next, <void**>&vms.all_prev)
    st.maps += 1
    raw_unlock(td, &st.lock)
    return vms


# Take a reference.
#
# Locks in:   none; the caller has one.
# Locks out:  none.
# May block:  never.
# Stands for: the shared address space of FreeBSD vm_forkproc().
cdef void vmspace_ref(thread* td, vmspace* vms) noexcept nogil:
    atomic_fetchadd(td, &vms.refcount, 1)


# Locks in:   any; the memory of address spaces stays one, so that vms may have none left.
# Locks out:  the same.
# May block:  never.
# Returns:    False: nobody uses it any more.
# Stands for: FreeBSD vmspace_acquire_ref().
cdef bint vmspace_acquire_ref(thread* td, vmspace* vms) noexcept nogil:
    cdef uint64_t n = atomic_load(td, &vms.refcount)
    while n != 0:
        if atomic_cas(td, &vms.refcount, n, n + 1):
            return True
        n = atomic_load(td, &vms.refcount)
    return False


# Locks in:   none; the caller has a reference.
# Locks out:  none.
# May block:  if it is the last user: sleeps on the map lock; on object locks, on the free page and the pmap's locks.
#             Sleeps, as vm_object_deallocate() does.
# Stands for: FreeBSD vmspace_free().
cdef void vmspace_free(thread* td, vmspace* vms) noexcept nogil:
    if atomic_fetchadd(td, &vms.refcount, ~<uint64_t>0) == 1:
        vmspace_dofree(td, vms)


# Take everything out of the map.
#
# Locks in:   none; the pmap is mostly empty already, unless another process's thread is the last user.
# Locks out:  none.
# May block:  sleeps on the map lock; on object locks, on the free page and the pmap's locks.  Sleeps, as
#             vm_object_deallocate() does.
# Stands for: FreeBSD vm_map_remove() over the whole map.
cdef void vm_map_remove_all(thread* td, vmspace* vms) noexcept nogil:
    cdef vm_map_entry* deferred
    sx_xlock(td, &vms.lock, SITE_REMOVE)
    deferred = vm_map_delete(td, vms, 0, FG_END_OF_SPACE)
    sx_xunlock(td, &vms.lock)
    vm_map_process_deferred(td, deferred)


# Free an address space.
#
# Locks in:   none; no reference is left, nobody uses the pmap.
# Locks out:  none: it is gone.
# May block:  sleeps on the map lock; on object locks, on the free page and the pmap's locks.  Sleeps, as
#             vm_object_deallocate() does.
# Stands for: FreeBSD vmspace_dofree().
cdef void vmspace_dofree(thread* td, vmspace* vms) noexcept nogil:
    cdef vm_state* st = vm_of(td)
    vm_map_remove_all(td, vms)
    pmap_release(td, &vms.pm)
    charge(td, td.machine.cost.op, OPS_SPACE)
    raw_lock(td, &st.lock)
    list_remove(<void**>&st.all_maps, NULL, vms, <void**>&vms.all_next, <void**>&vms.all_prev)
    st.maps -= 1
    vms.all_next = st.free_maps
    st.free_maps = vms
    raw_unlock(td, &st.lock)


# The process that runs on this address space ends.
#
# Locks in:   none; the address space is the thread's current one.
# Locks out:  none; the thread has none.
# May block:  if it is the last user: on the pmap's locks; sleeps on the map lock; on object locks and the free page
#             locks.  Sleeps, as vm_object_deallocate() does.
# Stands for: FreeBSD vmspace_exit().
cdef void vmspace_exit(thread* td, vmspace* vms) noexcept nogil:
    if atomic_fetchadd(td, &vms.refcount, ~<uint64_t>0) != 1:
        pmap_deactivate(td, &vms.pm)
        return
    pmap_remove_pages(td, &vms.pm)
    pmap_deactivate(td, &vms.pm)
    vmspace_dofree(td, vms)


# Get the current process an empty address space.
#
# Locks in:   none; vms is the thread's current address space.
# Locks out:  none; the result is.
# May block:  on the pmap's locks; sleeps on the map lock; on object locks and the free page locks.  Sleeps for memory,
#             and as vm_object_deallocate() does.
# Returns:    vms, emptied; or a new one, when another process uses vms too (after vfork).
# Stands for: FreeBSD exec_new_vmspace(), vmspace_exec().
cdef vmspace* vmspace_exec(thread* td, vmspace* vms) noexcept nogil:
    cdef vmspace* new
    if vms.refcount == 1:
        pmap_remove_pages(td, &vms.pm)
        vm_map_remove_all(td, vms)
        return vms
    new = vmspace_alloc(td)
    pmap_deactivate(td, &vms.pm)
    pmap_activate(td, &new.pm)
    if atomic_fetchadd(td, &vms.refcount, ~<uint64_t>0) == 1:
        vmspace_dofree(td, vms)
    return new


# One more mapping of an entry's memory, which both may write: the object that is shared must exist.
#
# Locks in:   the map locks of parent and child, exclusively.
# Locks out:  the same.
# May block:  on the object's lock.
# Stands for: the VM_INHERIT_SHARE part of FreeBSD vmspace_fork().
cdef void share_entry(thread* td, vmspace* parent, vm_map_entry* entry) noexcept nogil:
    cdef vm_object* obj
    VM_MAP_ASSERT_XLOCKED(td, parent)
    if entry.object == NULL:
        entry.object = vm_object_allocate(td, OBJT_DEFAULT, (entry.end - entry.start) >> PAGE_SHIFT)
        entry.offset = 0
    elif entry.needs_copy:
        vm_object_shadow(td, &entry.object, &entry.offset, (entry.end - entry.start) >> PAGE_SHIFT)
    entry.needs_copy = 0
    obj = entry.object
    rw_wlock(td, &obj.lock, SITE_FORK)
    vm_object_ref_add(td, obj, 1)
    obj.flags &= ~OBJ_ONEMAPPING
    rw_wunlock(td, &obj.lock)


# Prepare an entry for copying: the parent's pages become read-only, whoever writes first gets the copy.
#
# Locks in:   the map locks of parent and child, exclusively.
# Locks out:  the same.
# May block:  on object locks, on the free page and the pmap's locks.  Never sleeps.
# Stands for: FreeBSD vm_map_copy_entry() (without vm_object_split(), which only trims partly used objects).
cdef void copy_entry(thread* td, vmspace* parent, vm_map_entry* entry) noexcept nogil:
    cdef vm_object* obj = entry.object
    VM_MAP_ASSERT_XLOCKED(td, parent)
    if not entry.needs_copy and entry.protection & VM_PROT_WRITE:
        pmap_protect(td, &parent.pm, entry.start, entry.end, entry.protection & ~VM_PROT_WRITE)
    if obj == NULL:
        return
    rw_wlock(td, &obj.lock, SITE_COPY)
    touch_read(td, &obj.backing_object)
    if vm_object_anonymous(obj):
        vm_object_collapse(td, obj)
    vm_object_ref_add(td, obj, 1)
    obj.flags &= ~OBJ_ONEMAPPING
    rw_wunlock(td, &obj.lock)
    entry.copy_on_write = 1
    entry.needs_copy = 1


# Copy an address space for a child process.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on the parent's map lock; on object locks, on the free page and the pmap's locks.  Sleeps for
#             memory.
# Returns:    the child's, with one reference.
# Stands for: FreeBSD vmspace_fork().
cdef vmspace* vmspace_fork(thread* td, vmspace* parent) noexcept nogil:
    cdef vmspace* child = vmspace_alloc(td)
    cdef vm_map_entry* entry
    cdef uint32_t i
    sx_xlock(td, &parent.lock, SITE_FORK)
    if unlikely(not sx_try_xlock(td, &child.lock, SITE_FORK)):
        panic(td, b"vmspace_fork: somebody uses the new map")
    for i in range(parent.nentries):
        entry = parent.entries[i]
        if entry.inherit_shared:
            share_entry(td, parent, entry)
        else:
            copy_entry(td, parent, entry)
        vm_map_append(td, child, entry)
        if entry.object != NULL:
            pmap_copy(td, &child.pm, &parent.pm, entry.start, entry.end)
    sx_xunlock(td, &child.lock)
    sx_xunlock(td, &parent.lock)
    return child
