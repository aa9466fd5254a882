# Address-space maps.
#
# FreeBSD keeps the entries of a map in a splay tree and a list; here they are an array sorted by address, searched
# from the entry of the last lookup.  A map of a build process has some dozens of entries.  The lock "vm map (user)"
# is an sx: shared in faults, exclusive in everything here.
#
# Entries that a call takes out of the map are only collected while the map is locked.  What they refer to is let go
# when it no longer is, because the last reference to an object may take long to give up.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove

from finegrain.kernel.locks cimport (
    lock_site, rw_rlock, rw_runlock, rw_wlock, rw_wunlock, sx_slock, sx_sunlock, sx_xlock, sx_xunlock)
from finegrain.kernel.phys cimport vm_page_lookup
from finegrain.kernel.pmap cimport pmap_enter_object, pmap_protect, pmap_remove
from finegrain.kernel.types cimport (
    OBJT_DEFAULT, PAGE_SHIFT, VM_PROT_EXECUTE, VM_PROT_READ, VM_PROT_WRITE, vm_map_entry, vm_object, vm_offset_t,
    vm_page, vm_pindex_t, vmspace)
from finegrain.kernel.vm.object cimport (
    OBJ_ONEMAPPING, vm_object_allocate, vm_object_coalesce, vm_object_collapse, vm_object_color, vm_object_deallocate,
    vm_object_page_remove, vm_object_ref_add, vm_object_reference)
from finegrain.kernel.vm.state cimport vm_of
from finegrain.machine.seam cimport arena_alloc, arena_free, charge, panic, touch_read, touch_write, unlikely
from finegrain.machine.thread cimport thread

cdef uint16_t SITE_MMAP = lock_site(b"vm_mmap")
cdef uint16_t SITE_MUNMAP = lock_site(b"kern_munmap")
cdef uint16_t SITE_PROTECT = lock_site(b"vm_map_protect")
cdef uint16_t SITE_BREAK = lock_site(b"kern_break")
cdef uint16_t SITE_GROW = lock_site(b"vm_map_growstack")
cdef uint16_t SITE_EXPORT = lock_site(b"kern_proc_vmmap_out")
cdef uint16_t SITE_RESIDENT = lock_site(b"kern_proc_vmmap_resident")
cdef uint16_t SITE_INSERT = lock_site(b"vm_map_insert")
cdef uint16_t SITE_DELETE = lock_site(b"vm_map_entry_delete")
cdef uint16_t SITE_PREMAP = lock_site(b"vm_map_pmap_enter")

# Work in units of cost.op: our estimates [A].
cdef enum:
    OPS_SEARCH = 40                     # find an address in the tree
    OPS_ENTRY = 60                      # make or free an entry
    OPS_EXPORT = 600                    # [A] a struct of 1 KB filled in and copied out
    OPS_RESIDENT = 60                   # [A] look for the next page of an object that is resident
    FIRST_CAPACITY = 32


# --- the array

# Find an address.
#
# Locks in:   the map lock, shared or exclusively.
# Locks out:  the same.
# May block:  never.
# Returns:    the number of the first entry that ends above va; nentries when there is none.
# Stands for: FreeBSD vm_map_lookup_entry().
cdef uint32_t vm_map_find(thread* td, vmspace* vms, vm_offset_t va) noexcept nogil:
    cdef uint32_t low = 0
    cdef uint32_t high = vms.nentries
    cdef uint32_t middle = vms.hint
    VM_MAP_ASSERT_LOCKED(td, vms)
    if middle < high and vms.entries[middle].start <= va < vms.entries[middle].end:
        return middle
    while low < high:
        middle = (low + high) >> 1
        touch_read(td, vms.entries[middle])
        if vms.entries[middle].end > va:
            high = middle
        else:
            low = middle + 1
    vms.hint = low
    return low


# The entries before number `first` and after number `last` change: in FreeBSD, links of list and tree.
#
# Locks in: the map lock, exclusively.  Locks out: the same.  May block: never.
# Stands for: the stores of FreeBSD vm_map_entry_link() and vm_map_entry_unlink() into neighbours.
cdef inline void touch_neighbours(thread* td, vmspace* vms, uint32_t first, uint32_t last) noexcept nogil:
    VM_MAP_ASSERT_XLOCKED(td, vms)
    if first > 0:
        touch_write(td, vms.entries[first - 1])
    if last + 1 < vms.nentries:
        touch_write(td, vms.entries[last + 1])


# Make a new entry, as number `at`.
#
# Locks in:   the map lock, exclusively.
# Locks out:  the same.
# May block:  never.
# Returns:    the entry, a copy of `like` that refers to its object without counting.
# Stands for: FreeBSD vm_map_entry_create(), vm_map_entry_link().
cdef vm_map_entry* entry_insert(thread* td, vmspace* vms, uint32_t at, const vm_map_entry* like) noexcept nogil:
    cdef vm_map_entry* entry = <vm_map_entry*>arena_alloc(td.machine, sizeof(vm_map_entry))
    cdef uint32_t capacity
    cdef vm_map_entry** entries
    VM_MAP_ASSERT_XLOCKED(td, vms)
    charge(td, td.machine.cost.op, OPS_ENTRY)
    memcpy(entry, like, sizeof(vm_map_entry))
    entry.next = NULL
    if vms.nentries == vms.capacity:
        capacity = vms.capacity * 2 if vms.capacity != 0 else FIRST_CAPACITY
        entries = <vm_map_entry**>arena_alloc(td.machine, capacity * sizeof(vm_map_entry*))
        if vms.capacity != 0:
            memcpy(entries, vms.entries, vms.nentries * sizeof(vm_map_entry*))
            arena_free(td.machine, vms.entries, vms.capacity * sizeof(vm_map_entry*))
        vms.entries = entries
        vms.capacity = capacity
    memmove(&vms.entries[at + 1], &vms.entries[at], (vms.nentries - at) * sizeof(vm_map_entry*))
    vms.entries[at] = entry
    vms.nentries += 1
    touch_write(td, entry)
    touch_write(td, &vms.nentries)
    touch_neighbours(td, vms, at, at)
    vm_of(td).entries += 1
    return entry


# Take entries number first up to, not including, last out of the array.
#
# Locks in:   the map lock, exclusively.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD vm_map_entry_unlink().
cdef void entries_remove(thread* td, vmspace* vms, uint32_t first, uint32_t last) noexcept nogil:
    VM_MAP_ASSERT_XLOCKED(td, vms)
    if first == last:
        return
    touch_write(td, &vms.nentries)
    touch_neighbours(td, vms, first, last - 1)
    memmove(&vms.entries[first], &vms.entries[last], (vms.nentries - last) * sizeof(vm_map_entry*))
    vms.nentries -= last - first


cdef void entry_free(thread* td, vm_map_entry* entry) noexcept nogil:
    charge(td, td.machine.cost.op, OPS_ENTRY)
    arena_free(td.machine, entry, sizeof(vm_map_entry))
    vm_of(td).entries -= 1


# Make a new entry behind all others.
#
# Locks in:   the map lock, exclusively.
# Locks out:  the same.
# May block:  never.
# Returns:    as entry_insert().
# Stands for: the vm_map_entry_create() and vm_map_entry_link() of FreeBSD vmspace_fork().
cdef vm_map_entry* vm_map_append(thread* td, vmspace* vms, const vm_map_entry* like) noexcept nogil:
    return entry_insert(td, vms, vms.nentries, like)


# --- entries

# Split entry number i at an address inside it; the upper part becomes number i + 1.  Anonymous memory without an
# object gets one first, so that both parts share it.
#
# Locks in:   the map lock, exclusively.
# Locks out:  the same.
# May block:  on the object's lock.
# Stands for: FreeBSD vm_map_clip_start(), vm_map_clip_end().
cdef void clip(thread* td, vmspace* vms, uint32_t i, vm_offset_t va) noexcept nogil:
    cdef vm_map_entry* entry = vms.entries[i]
    cdef vm_map_entry* upper
    VM_MAP_ASSERT_XLOCKED(td, vms)
    if entry.object == NULL:
        entry.object = vm_object_allocate(td, OBJT_DEFAULT, (entry.end - entry.start) >> PAGE_SHIFT)
        entry.offset = 0
    vm_object_reference(td, entry.object)               # first: another thread's fault may have the object's lock
    upper = entry_insert(td, vms, i + 1, entry)
    upper.start = va
    upper.offset = entry.offset + ((va - entry.start) >> PAGE_SHIFT)
    upper.grows_down = 0
    entry.end = va


# Make va a border of entries.
#
# Locks in:   the map lock, exclusively.
# Locks out:  the same.
# May block:  on an object's lock.
# Returns:    the number of the first entry at or above va.
# Stands for: FreeBSD's vm_map_lookup_entry() and vm_map_clip_start() after it.
cdef uint32_t clip_at(thread* td, vmspace* vms, vm_offset_t va) noexcept nogil:
    cdef uint32_t i = vm_map_find(td, vms, va)
    VM_MAP_ASSERT_XLOCKED(td, vms)
    if i < vms.nentries and vms.entries[i].start < va:
        clip(td, vms, i, va)
        i += 1
    return i


# Do two neighbours say the same of adjacent memory?
#
# Locks in:   any: which map's entries they are, the caller knows, who has it locked.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD vm_map_mergeable_neighbors().
cdef bint mergeable(const vm_map_entry* low, const vm_map_entry* high) noexcept nogil:
    return (low.end == high.start and low.object == high.object and
            (low.object == NULL or low.offset + ((low.end - low.start) >> PAGE_SHIFT) == high.offset) and
            low.protection == high.protection and low.max_protection == high.max_protection and
            low.copy_on_write == high.copy_on_write and low.needs_copy == high.needs_copy and
            low.inherit_shared == high.inherit_shared and not low.grows_down and not high.grows_down)


# Merge entry number i with its neighbours where they are alike.
#
# Locks in:   the map lock, exclusively.
# Locks out:  the same.
# May block:  on the object's lock, on the free page and the pmap's locks.  Sleeps, as vm_object_deallocate() does.
# Returns:    the number that the entry has now.
# Stands for: FreeBSD vm_map_simplify_entry().
cdef uint32_t simplify(thread* td, vmspace* vms, uint32_t i) noexcept nogil:
    cdef vm_map_entry* entry
    cdef vm_map_entry* gone
    cdef uint32_t side
    VM_MAP_ASSERT_XLOCKED(td, vms)
    for side in range(2):
        # side 0: take the entry below in; side 1: the one above
        if side == 0:
            if i == 0 or not mergeable(vms.entries[i - 1], vms.entries[i]):
                continue
            i -= 1
        elif i + 1 >= vms.nentries or not mergeable(vms.entries[i], vms.entries[i + 1]):
            continue
        entry = vms.entries[i]
        gone = vms.entries[i + 1]
        entry.end = gone.end
        entries_remove(td, vms, i + 1, i + 2)
        if gone.object != NULL:
            vm_object_deallocate(td, gone.object)
        entry_free(td, gone)
    return i


# Map what is resident of a file, for reading, before anyone asks for it.
#
# Locks in:   the map lock, exclusively.
# Locks out:  the same.
# May block:  on the object's lock and, holding that, on the pmap's locks.
# Stands for: FreeBSD vm_map_pmap_enter(), with MAP_PREFAULT or MAP_PREFAULT_PARTIAL.
cdef void vm_map_pmap_enter(thread* td, vmspace* vms, const vm_map_entry* entry, bint partial) noexcept nogil:
    cdef vm_object* obj = entry.object
    cdef vm_pindex_t first = entry.offset
    cdef vm_pindex_t pages = (entry.end - entry.start) >> PAGE_SHIFT
    cdef vm_pindex_t i, run
    cdef vm_page* m = NULL
    VM_MAP_ASSERT_XLOCKED(td, vms)
    if not entry.protection & (VM_PROT_READ | VM_PROT_EXECUTE):
        return
    rw_rlock(td, &obj.lock, SITE_PREMAP)
    if first >= obj.size:
        pages = 0
    elif first + pages > obj.size:
        pages = obj.size - first
    if partial and pages > MAX_INIT_PT:             # FreeBSD counts a superpage as one; a file's pages come singly
        pages = MAX_INIT_PT
    i = 0
    while i < pages:
        m = vm_page_lookup(td, obj, first + i)
        if m == NULL or m.valid != 0xff:
            i += 1
            continue
        run = i + 1
        if obj.resident_page_count == <int64_t>obj.size and obj.type != OBJT_DEFAULT:
            run = pages                             # a file that is all there
        while run < pages:
            m = vm_page_lookup(td, obj, first + run)
            if m == NULL or m.valid != 0xff:
                break
            run += 1
        pmap_enter_object(td, &vms.pm, entry.start + (i << PAGE_SHIFT), entry.start + (run << PAGE_SHIFT),
                          vm_page_lookup(td, obj, first + i), entry.protection)
        i = run + 1
    rw_runlock(td, &obj.lock)


# Enter a mapping into a range where nothing is mapped.  The object's reference goes over to the entry.  Anonymous
# memory behind anonymous memory of the same kind extends that one.
#
# Locks in:   the map lock, exclusively.
# Locks out:  the same.
# May block:  on object locks, on the free page and the pmap's locks.  Sleeps, as vm_object_deallocate() does, when it
#             merges entries.
# Stands for: FreeBSD vm_map_insert().
cdef void vm_map_insert(thread* td, vmspace* vms, vm_offset_t start, vm_offset_t end, vm_object* obj,
                        vm_pindex_t offset, const map_request* request) noexcept nogil:
    cdef uint32_t i = vm_map_find(td, vms, start)
    cdef vm_map_entry like
    cdef vm_map_entry* low
    VM_MAP_ASSERT_XLOCKED(td, vms)
    charge(td, td.machine.cost.op, OPS_SEARCH)
    if unlikely(i < vms.nentries and vms.entries[i].start < end):
        panic(td, b"vm_map_insert: something is mapped there")
    like.start = start
    like.end = end
    like.object = obj
    like.offset = offset
    like.protection = request.protection
    like.max_protection = VM_PROT_READ | VM_PROT_WRITE | VM_PROT_EXECUTE
    like.copy_on_write = request.copy_on_write
    like.needs_copy = request.copy_on_write
    like.inherit_shared = request.shared
    like.grows_down = request.grows_down
    like.pad = 0
    like.next = NULL
    if obj != NULL:
        rw_wlock(td, &obj.lock, SITE_INSERT)
        touch_read(td, &obj.ref_count)
        touch_read(td, &obj.shadow_count)
        if obj.ref_count > 1 or obj.shadow_count != 0:
            obj.flags &= ~OBJ_ONEMAPPING
        rw_wunlock(td, &obj.lock)
    elif i > 0 and not request.grows_down:
        low = vms.entries[i - 1]
        if (low.end == start and not low.copy_on_write and not low.needs_copy and not low.grows_down and
                low.inherit_shared == request.shared and
                vm_object_coalesce(td, low.object, low.offset, (low.end - low.start) >> PAGE_SHIFT,
                                   (end - start) >> PAGE_SHIFT)):
            if low.protection == request.protection:
                low.end = end
                simplify(td, vms, i - 1)
                return
            if low.object != NULL:                  # the object reaches further, but the entry is another
                like.object = low.object
                like.offset = low.offset + ((low.end - low.start) >> PAGE_SHIFT)
                vm_object_reference(td, like.object)
    entry_insert(td, vms, i, &like)
    simplify(td, vms, i)
    if obj != NULL and request.premap != PREMAP_NONE:
        like.object = obj
        vm_map_pmap_enter(td, vms, &like, request.premap == PREMAP_PARTIAL)


# Unmap a range.
#
# Locks in:   the map lock, exclusively.
# Locks out:  the same.
# May block:  on object locks, on the free page and the pmap's locks.  Never sleeps.
# Returns:    the entries, taken out of the map, as a list for vm_map_process_deferred().
# Stands for: FreeBSD vm_map_delete(), vm_map_entry_delete().
cdef vm_map_entry* vm_map_delete(thread* td, vmspace* vms, vm_offset_t start, vm_offset_t end) noexcept nogil:
    cdef uint32_t first, i
    cdef vm_map_entry* entry
    cdef vm_map_entry* deferred = NULL
    cdef vm_object* obj
    cdef vm_pindex_t last
    VM_MAP_ASSERT_XLOCKED(td, vms)
    charge(td, td.machine.cost.op, OPS_SEARCH)
    first = vm_map_find(td, vms, start)
    if first >= vms.nentries or vms.entries[first].start >= end:
        return NULL
    first = clip_at(td, vms, start)
    i = first
    while i < vms.nentries and vms.entries[i].start < end:
        entry = vms.entries[i]
        if entry.end > end:
            clip(td, vms, i, end)
        obj = entry.object
        if obj != NULL:
            pmap_remove(td, &vms.pm, entry.start, entry.end)
            last = entry.offset + ((entry.end - entry.start) >> PAGE_SHIFT)
            rw_wlock(td, &obj.lock, SITE_DELETE)
            touch_read(td, &obj.ref_count)
            touch_read(td, &obj.flags)
            if obj.ref_count != 1 and obj.flags & OBJ_ONEMAPPING:
                # Other entries use other parts of the object: free this part now.
                vm_object_collapse(td, obj)
                vm_object_page_remove(td, obj, entry.offset, last)
                if last >= obj.size and entry.offset < obj.size:
                    obj.size = entry.offset
            rw_wunlock(td, &obj.lock)
        entry.next = deferred
        deferred = entry
        i += 1
    entries_remove(td, vms, first, i)
    return deferred


# Give up the entries of a list, and their references to objects.
#
# Locks in:   no map lock.
# Locks out:  the same.
# May block:  on object locks, on the free page and the pmap's locks.  Sleeps, as vm_object_deallocate() does.
# Stands for: FreeBSD vm_map_process_deferred().
cdef void vm_map_process_deferred(thread* td, vm_map_entry* entries) noexcept nogil:
    cdef vm_map_entry* entry
    while entries != NULL:
        entry = entries
        entries = entry.next
        if entry.object != NULL:
            vm_object_deallocate(td, entry.object)
        entry_free(td, entry)


# --- system calls

# Map an object, or anonymous memory, at a given address, in place of what is there.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on the object's lock; sleeps on the map lock; under that, and after it, on object locks, on the free page
#             and the pmap's locks.  Sleeps, as vm_object_deallocate() does.
# Stands for: FreeBSD vm_mmap_vnode() (without its vnode lock, which comes with the vfs layer: shared, around all of
#             this), vm_mmap_object(), vm_map_fixed().
cdef void vm_map_mmap(thread* td, vmspace* vms, vm_offset_t start, vm_offset_t end, vm_object* obj,
                      vm_pindex_t offset, const map_request* request) noexcept nogil:
    cdef vm_map_entry* deferred
    if obj != NULL:
        rw_wlock(td, &obj.lock, SITE_MMAP)
        vm_object_ref_add(td, obj, 1)
        vm_object_color(td, obj, 0)
        rw_wunlock(td, &obj.lock)
    sx_xlock(td, &vms.lock, SITE_MMAP)
    deferred = vm_map_delete(td, vms, start, end)
    if request.grows_down and end - start > SGROWSIZ:
        start = end - SGROWSIZ                      # the rest comes as it is touched
    vm_map_insert(td, vms, start, end, obj, offset, request)
    sx_xunlock(td, &vms.lock)
    vm_map_process_deferred(td, deferred)


# Unmap a range.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on the map lock; on object locks, on the free page and the pmap's locks.  Sleeps, as
#             vm_object_deallocate() does.
# Stands for: FreeBSD kern_munmap().
cdef void vm_map_munmap(thread* td, vmspace* vms, vm_offset_t start, vm_offset_t end) noexcept nogil:
    cdef vm_map_entry* deferred
    sx_xlock(td, &vms.lock, SITE_MUNMAP)
    deferred = vm_map_delete(td, vms, start, end)
    sx_xunlock(td, &vms.lock)
    vm_map_process_deferred(td, deferred)


# Change the protection of what is mapped in a range.  Rights that are taken away are taken from the pmap at once;
# those that are given come with the next fault.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on the map lock; on object locks, on the free page and the pmap's locks.  Sleeps, as
#             vm_object_deallocate() does, when it merges entries.
# Stands for: FreeBSD vm_map_protect().
cdef void vm_map_mprotect(thread* td, vmspace* vms, vm_offset_t start, vm_offset_t end, uint8_t prot) noexcept nogil:
    cdef uint32_t i
    cdef vm_map_entry* entry
    cdef uint8_t old
    cdef uint8_t allowed
    sx_xlock(td, &vms.lock, SITE_PROTECT)
    charge(td, td.machine.cost.op, OPS_SEARCH)
    i = clip_at(td, vms, start)
    while i < vms.nentries and vms.entries[i].start < end:
        entry = vms.entries[i]
        if entry.end > end:
            clip(td, vms, i, end)
        old = entry.protection
        entry.protection = prot
        if old & ~prot:
            allowed = prot & ~<uint8_t>VM_PROT_WRITE if entry.copy_on_write else prot
            pmap_protect(td, &vms.pm, entry.start, entry.end, allowed)
        i = simplify(td, vms, i) + 1
    sx_xunlock(td, &vms.lock)


# Move the end of the heap.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on the map lock; on object locks, on the free page and the pmap's locks.  Sleeps, as
#             vm_object_deallocate() does.
# Stands for: FreeBSD kern_break().
cdef void vm_map_brk(thread* td, vmspace* vms, vm_offset_t old, vm_offset_t end) noexcept nogil:
    cdef vm_map_entry* deferred
    cdef map_request request
    request.protection = VM_PROT_READ | VM_PROT_WRITE
    request.copy_on_write = 0
    request.shared = 0
    request.grows_down = 0
    request.premap = PREMAP_NONE
    sx_xlock(td, &vms.lock, SITE_BREAK)
    if end > old:
        deferred = vm_map_delete(td, vms, old, end)
        vm_map_insert(td, vms, old, end, NULL, 0, &request)
    else:
        deferred = vm_map_delete(td, vms, end, old)
    sx_xunlock(td, &vms.lock)
    vm_map_process_deferred(td, deferred)


# Make a stack reach down to an address below it.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on the map lock; on object locks, on the free page and the pmap's locks.  Sleeps, as
#             vm_object_deallocate() does, when it merges entries.
# Returns:    True when va is mapped now.
# Stands for: FreeBSD vm_map_growstack().
cdef bint vm_map_growstack(thread* td, vmspace* vms, vm_offset_t va) noexcept nogil:
    cdef uint32_t i, top
    cdef vm_map_entry* stack
    cdef vm_offset_t start, floor
    cdef map_request request
    sx_xlock(td, &vms.lock, SITE_GROW)
    i = vm_map_find(td, vms, va)
    if i >= vms.nentries:
        sx_xunlock(td, &vms.lock)
        return False
    stack = vms.entries[i]
    if stack.start <= va:                           # somebody else made it grow
        sx_xunlock(td, &vms.lock)
        return True
    top = i
    while top + 1 < vms.nentries and vms.entries[top + 1].start == vms.entries[top].end:
        if not vms.entries[top + 1].grows_down:
            break
        top += 1
    floor = vms.entries[i - 1].end if i > 0 else 0
    if not stack.grows_down or vms.entries[top].end - va > MAXSSIZ:
        sx_xunlock(td, &vms.lock)
        return False
    start = stack.start - (stack.start - va + SGROWSIZ - 1) // SGROWSIZ * SGROWSIZ
    if start < floor or start > stack.start:
        start = floor
    request.protection = stack.protection
    request.copy_on_write = 0
    request.shared = 0
    request.grows_down = 1
    request.premap = PREMAP_NONE
    vm_map_insert(td, vms, start, stack.start, NULL, 0, &request)
    vm_of(td).growths += 1
    sx_xunlock(td, &vms.lock)
    return True


# Say what is mapped where, and how much of it is resident.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on the map lock; holding it, on object locks.
# Stands for: FreeBSD kern_proc_vmmap_out(), kern_proc_vmmap_resident().
cdef void vm_map_export(thread* td, vmspace* vms) noexcept nogil:
    cdef vm_map_entry* entry
    cdef vm_object* obj
    cdef uint64_t pages
    cdef uint32_t i
    sx_slock(td, &vms.lock, SITE_EXPORT)
    for i in range(vms.nentries):
        entry = vms.entries[i]
        touch_read(td, entry)
        charge(td, td.machine.cost.op, OPS_EXPORT)
        obj = entry.object
        if obj == NULL:
            continue
        rw_rlock(td, &obj.lock, SITE_RESIDENT)
        touch_read(td, &obj.resident_page_count)
        pages = (entry.end - entry.start) >> PAGE_SHIFT
        if pages > <uint64_t>obj.resident_page_count:
            pages = <uint64_t>obj.resident_page_count
        charge(td, td.machine.cost.op, <int64_t>pages * OPS_RESIDENT)
        rw_runlock(td, &obj.lock)
    sx_sunlock(td, &vms.lock)
