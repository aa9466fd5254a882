# Objects and shadow chains.
#
# A private mapping starts out on the object of its file, or on none.  The first write to it after mmap, or after a
# fork that made it shared, puts a new object, a shadow, between the map entry and the object it had: pages written
# are copied into the shadow, pages that are only read are found further down.  So each fork can lengthen the chain
# of both sides by one:
#
#       entry of the parent -> shadow P \
#                                        shadow of before the fork -> file
#       entry of the child  -> shadow C /
#
# When the child has gone, the middle one has a single shadow and a single reference: its pages could as well be in
# P.  vm_object_collapse() moves them there and drops it; when it is still referenced but everything P can see in it
# is hidden by P's own pages, P is made to bypass it.  Both keep chains short, in fork and whenever a reference goes.
#
# Order of locks: an object before its backing object.  The one place that has to go up the chain
# (vm_object_deallocate, from a backing object to its last shadow) only tries, and starts over.

from libc.stdint cimport int64_t, uint8_t, uint16_t

from finegrain.kernel.list cimport list_insert_head, list_remove
from finegrain.kernel.locks cimport (
    LO_DUPOK, lock_name, lock_site, rw_init, rw_try_wlock, rw_wlock, rw_wunlock)
from finegrain.kernel.phys cimport (
    VM_OBJECT_ASSERT_LOCKED, VM_OBJECT_ASSERT_WLOCKED, vm_object_undefer, vm_page_free, vm_page_lookup, vm_page_rename,
    vm_radix_free, vm_reserv_break_all)
from finegrain.kernel.pmap cimport pmap_remove_all
from finegrain.kernel.types cimport OBJT_DEFAULT, OBJT_VNODE, VPB_UNBUSIED, vm_object, vm_page, vm_pindex_t
from finegrain.kernel.vm.state cimport vm_of, vm_state
from finegrain.machine.seam cimport (
    arena_alloc, arena_free, charge, panic, raw_lock, raw_unlock, sleep_for, touch_read, touch_write, unlikely)
from finegrain.machine.thread cimport thread

cdef uint16_t NAME_OBJECT = lock_name(b"rw", b"vm object")
cdef uint16_t SITE_REFERENCE = lock_site(b"vm_object_reference")
cdef uint16_t SITE_DEALLOCATE = lock_site(b"vm_object_deallocate")
cdef uint16_t SITE_SHADOW = lock_site(b"vm_object_shadow")
cdef uint16_t SITE_COLLAPSE = lock_site(b"vm_object_collapse")
cdef uint16_t SITE_COALESCE = lock_site(b"vm_object_coalesce")

# Work in units of cost.op: our estimates [A].
cdef enum:
    OPS_ALLOCATE = 80                   # a UMA allocation from the CPU's cache, and the fields
    OPS_LINK = 6
    OPS_PAGE = 6                        # look at one page of a scan

# How long vm_object_deallocate() waits before it tries again to lock up the chain.  FreeBSD: one tick.
cdef int64_t RETRY_PS = 1000000000


# --- making and linking

# Make an object.
#
# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Returns:    an object with one reference and no pages.
# Stands for: FreeBSD vm_object_allocate().
cdef vm_object* vm_object_allocate(thread* td, int type, vm_pindex_t size) noexcept nogil:
    cdef vm_state* st = vm_of(td)
    cdef vm_object* obj = <vm_object*>arena_alloc(td.machine, sizeof(vm_object))
    charge(td, td.machine.cost.op, OPS_ALLOCATE)
    rw_init(&obj.lock, NAME_OBJECT, LO_DUPOK)
    obj.type = <uint8_t>type
    obj.flags = OBJ_ONEMAPPING if type == OBJT_DEFAULT else 0
    obj.size = size
    obj.ref_count = 1
    obj.color = -1
    obj.file = -1
    obj.builder = -1
    raw_lock(td, &st.lock)
    st.objects_made += 1
    obj.id = st.objects_made
    list_insert_head(<void**>&st.all_objects, NULL, obj, <void**>&obj.all_next, <void**>&obj.all_prev)
    st.objects += 1
    raw_unlock(td, &st.lock)
    return obj


# Give the memory of an object back that has no pages and no references.
#
# Locks in:   any but this object's.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD vm_object_destroy().
cdef void vm_object_destroy(thread* td, vm_object* obj) noexcept nogil:
    cdef vm_state* st = vm_of(td)
    raw_lock(td, &st.lock)
    list_remove(<void**>&st.all_objects, NULL, obj, <void**>&obj.all_next, <void**>&obj.all_prev)
    st.objects -= 1
    raw_unlock(td, &st.lock)
    charge(td, td.machine.cost.op, OPS_ALLOCATE)
    arena_free(td.machine, obj, sizeof(vm_object))


# obj shadows backing from now on.
#
# Locks in:   the lock of backing, for writing.
# Locks out:  the same.
# May block:  never.
# Stands for: the LIST_INSERT_HEAD() on shadow_head and shadow_count++ of FreeBSD vm_object.c.
cdef void shadow_insert(thread* td, vm_object* obj, vm_object* backing) noexcept nogil:
    VM_OBJECT_ASSERT_WLOCKED(td, backing)
    obj.backing_object = backing
    touch_write(td, &obj.backing_object)
    touch_write(td, &backing.shadow_first)
    touch_write(td, &backing.shadow_count)
    if backing.shadow_first != NULL:
        touch_write(td, &backing.shadow_first.shadow_prev)
    list_insert_head(<void**>&backing.shadow_first, NULL, obj, <void**>&obj.shadow_next, <void**>&obj.shadow_prev)
    backing.shadow_count += 1
    charge(td, td.machine.cost.op, OPS_LINK)


# obj no longer shadows its backing object.
#
# Locks in:   the lock of the backing object, for writing.
# Locks out:  the same.
# May block:  never.
# Stands for: the LIST_REMOVE() on shadow_head and shadow_count-- of FreeBSD vm_object.c.
cdef void shadow_remove(thread* td, vm_object* obj) noexcept nogil:
    cdef vm_object* backing = obj.backing_object
    VM_OBJECT_ASSERT_WLOCKED(td, backing)
    touch_write(td, &obj.backing_object)
    touch_write(td, &backing.shadow_count)
    touch_write(td, &obj.shadow_prev.shadow_next if obj.shadow_prev != NULL else &backing.shadow_first)
    if obj.shadow_next != NULL:
        touch_write(td, &obj.shadow_next.shadow_prev)
    list_remove(<void**>&backing.shadow_first, NULL, obj, <void**>&obj.shadow_next, <void**>&obj.shadow_prev)
    obj.backing_object = NULL
    backing.shadow_count -= 1
    charge(td, td.machine.cost.op, OPS_LINK)


# Take a reference.
#
# Locks in:   none, or map locks.
# Locks out:  the same.
# May block:  on the object's lock.
# Stands for: FreeBSD vm_object_reference() (counts changed under the write lock until r354158).
cdef void vm_object_reference(thread* td, vm_object* obj) noexcept nogil:
    rw_wlock(td, &obj.lock, SITE_REFERENCE)
    vm_object_ref_add(td, obj, 1)
    rw_wunlock(td, &obj.lock)


# --- the end of an object

# Free a page of an object; a page that collapse found hidden may still be mapped read-only somewhere.
#
# Locks in: the lock of the page's object, for writing.  Locks out: the same.
# May block: on the free page locks; if the page is mapped, on the pmap's locks.
# Stands for: the pmap_remove_all() and vm_page_free() of FreeBSD vm_object_page_remove() and vm_object_collapse_scan().
cdef inline void page_destroy(thread* td, vm_page* m) noexcept nogil:
    VM_OBJECT_ASSERT_WLOCKED(td, m.object)
    if unlikely(m.md.pv_first != NULL):
        pmap_remove_all(td, m)
    vm_page_free(td, m)


# Free the pages from index start up to, not including, end.
#
# Locks in:   the object's lock, for writing; the pages are unmapped, or a few still mapped read-only.
# Locks out:  the same.
# May block:  on the free page locks; if a page is mapped, on the pmap's locks.
# Stands for: FreeBSD vm_object_page_remove() with OBJPR_NOTMAPPED.
cdef void vm_object_page_remove(thread* td, vm_object* obj, vm_pindex_t start, vm_pindex_t end) noexcept nogil:
    cdef vm_page* m
    cdef vm_page* after
    cdef vm_pindex_t i
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    if end - start < <vm_pindex_t>obj.resident_page_count:
        for i in range(start, end):
            m = vm_page_lookup(td, obj, i)
            if m != NULL and m.busy_lock == VPB_UNBUSIED:
                page_destroy(td, m)
        return
    m = obj.memq_first
    while m != NULL:
        after = m.listq_next
        if start <= m.pindex < end and m.busy_lock == VPB_UNBUSIED:
            page_destroy(td, m)
        m = after


# Free all pages of an object that nothing refers to, and the object.
#
# Locks in:   the object's lock, for writing.
# Locks out:  none: the object is gone.
# May block:  on the free page locks.
# Stands for: FreeBSD vm_object_terminate(), vm_object_terminate_pages().
cdef void vm_object_terminate(thread* td, vm_object* obj) noexcept nogil:
    cdef vm_page* m
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    touch_write(td, &obj.flags)
    obj.flags |= OBJ_DEAD
    vm_object_undefer(obj)
    while obj.memq_first != NULL:
        m = obj.memq_first
        if unlikely(m.busy_lock != VPB_UNBUSIED):
            panic(td, b"vm_object_terminate: a page is busy")
        vm_page_free(td, m)
    vm_reserv_break_all(td, obj)
    vm_radix_free(td, obj)
    rw_wunlock(td, &obj.lock)
    vm_object_destroy(td, obj)


# Give up a reference.  The last one frees the object, and gives up its reference to its backing object, and so on
# down.  The last but one of anonymous memory with a single shadow collapses it into that shadow.
#
# Locks in:   none, or map locks (not when the object may be the last user of a file).
# Locks out:  the same.
# May block:  on object locks, on the free page and the pmap's locks.  Sleeps a tick when the shadow is locked.
# Stands for: FreeBSD vm_object_deallocate().
cdef void vm_object_deallocate(thread* td, vm_object* obj) noexcept nogil:
    cdef vm_object* backing
    cdef vm_object* shadow
    while obj != NULL:
        rw_wlock(td, &obj.lock, SITE_DEALLOCATE)
        if unlikely(obj.ref_count <= 0):
            panic(td, b"vm_object_deallocate: the object has no references")
        vm_object_ref_add(td, obj, -1)
        if obj.ref_count > 1:
            rw_wunlock(td, &obj.lock)
            return
        if obj.ref_count == 1:
            if not vm_object_anonymous(obj) or obj.shadow_count > 1:
                rw_wunlock(td, &obj.lock)
                return
            if obj.shadow_count == 0:
                obj.flags |= OBJ_ONEMAPPING
                rw_wunlock(td, &obj.lock)
                return
            # The one reference left is a shadow's: against the order of locks, so try and start over.
            shadow = obj.shadow_first
            if not rw_try_wlock(td, &shadow.lock, SITE_DEALLOCATE):
                vm_object_ref_add(td, obj, 1)
                rw_wunlock(td, &obj.lock)
                sleep_for(td, RETRY_PS)
                continue
            if shadow.flags & OBJ_DEAD or not vm_object_anonymous(shadow):
                rw_wunlock(td, &shadow.lock)
                rw_wunlock(td, &obj.lock)
                return
            # A reference keeps the shadow while it takes its backing object in; giving that up is the next round.
            vm_object_ref_add(td, shadow, 1)
            rw_wunlock(td, &obj.lock)
            obj = shadow
            vm_object_collapse(td, obj)
            rw_wunlock(td, &obj.lock)
            continue
        backing = obj.backing_object
        if backing != NULL:
            rw_wlock(td, &backing.lock, SITE_DEALLOCATE)
            shadow_remove(td, obj)
            rw_wunlock(td, &backing.lock)
        vm_object_terminate(td, obj)
        obj = backing


# --- shadows

# Replace an object by a new shadow of it, of `size` pages from offset[0] on, and offset[0] by 0.  The new object
# takes the reference over.  Nothing happens to anonymous memory that has no other reference: it needs no copy.
#
# Locks in:   the map lock, exclusively: obj and offset are an entry's.
# Locks out:  the same.
# May block:  on the object's lock.
# Stands for: FreeBSD vm_object_shadow().
cdef void vm_object_shadow(thread* td, vm_object** obj, vm_pindex_t* offset, vm_pindex_t size) noexcept nogil:
    cdef vm_object* source = obj[0]
    cdef vm_object* result
    cdef bint own
    rw_wlock(td, &source.lock, SITE_SHADOW)
    touch_read(td, &source.ref_count)
    own = source.ref_count == 1 and vm_object_anonymous(source)
    rw_wunlock(td, &source.lock)
    if own:
        return
    result = vm_object_allocate(td, OBJT_DEFAULT, size)
    rw_wlock(td, &source.lock, SITE_SHADOW)
    shadow_insert(td, result, source)
    result.backing_object_offset = offset[0]
    if source.color >= 0:                       # what shadows it is aligned as it is
        result.color = <int64_t>((<vm_pindex_t>source.color + offset[0]) & COLOR_MASK)
    # With the source still locked, so that its references are as many as it counts whenever it is not.
    obj[0] = result
    offset[0] = 0
    rw_wunlock(td, &source.lock)


# Has the object a page of its own there, ready to be used?
#
# Locks in: the object's lock, for reading or for writing.  Locks out: the same.  May block: never.
# Stands for: the vm_page_lookup() and vm_page_none_valid() of FreeBSD vm_object_scan_all_shadowed().
cdef inline bint hides(thread* td, vm_object* obj, vm_pindex_t pindex) noexcept nogil:
    cdef vm_page* m = vm_page_lookup(td, obj, pindex)
    VM_OBJECT_ASSERT_LOCKED(td, obj)
    return m != NULL and m.valid != 0


# Is every page of the backing object that obj can see hidden by one of its own?
#
# Locks in:   the locks of both objects, for writing.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD vm_object_scan_all_shadowed().
cdef bint all_shadowed(thread* td, vm_object* obj, vm_object* backing) noexcept nogil:
    cdef vm_pindex_t offset = obj.backing_object_offset
    cdef vm_pindex_t i
    cdef vm_page* m
    cdef int64_t seen = 0
    cdef bint answer = True
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    VM_OBJECT_ASSERT_WLOCKED(td, backing)
    if obj.size < <vm_pindex_t>backing.resident_page_count:
        for i in range(obj.size):
            seen += 1
            if vm_page_lookup(td, backing, offset + i) != NULL and not hides(td, obj, i):
                answer = False
                break
    else:
        m = backing.memq_first
        while m != NULL:
            seen += 1
            touch_read(td, &m.pindex)
            if offset <= m.pindex < offset + obj.size and not hides(td, obj, m.pindex - offset):
                answer = False
                break
            m = m.listq_next
    charge(td, td.machine.cost.op, OPS_PAGE * seen)
    return answer


# Move the pages of a backing object that only obj refers to into obj; free those that obj hides or cannot see.
#
# Locks in:   the locks of both objects, for writing.
# Locks out:  the same.
# May block:  on the free page locks; if a page that goes is mapped, on the pmap's locks.
# Returns:    False when a page is busy: its user needs it where it is.
# Stands for: FreeBSD vm_object_collapse_scan().
cdef bint collapse_scan(thread* td, vm_object* obj, vm_object* backing) noexcept nogil:
    cdef vm_pindex_t offset = obj.backing_object_offset
    cdef vm_page* m = backing.memq_first
    cdef vm_page* after
    cdef vm_page* mine
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    VM_OBJECT_ASSERT_WLOCKED(td, backing)
    while m != NULL:
        after = m.listq_next
        touch_read(td, m)
        touch_read(td, &m.busy_lock)
        charge(td, td.machine.cost.op, OPS_PAGE)
        if unlikely(m.busy_lock != VPB_UNBUSIED):
            return False
        if m.pindex < offset or m.pindex - offset >= obj.size:
            page_destroy(td, m)
        else:
            mine = vm_page_lookup(td, obj, m.pindex - offset)
            if mine == NULL:
                vm_page_rename(td, m, obj, m.pindex - offset)
            elif mine.valid == 0:                   # being made by a fault that may want this very page
                return False
            else:
                page_destroy(td, m)
        m = after
    return True


# Take in backing objects that nobody else refers to, and bypass those that can no longer be seen.
#
# Locks in:   the object's lock, for writing.
# Locks out:  the same.
# May block:  on the locks of its backing objects, on the free page and the pmap's locks.  Never sleeps.
# Stands for: FreeBSD vm_object_collapse().
cdef void vm_object_collapse(thread* td, vm_object* obj) noexcept nogil:
    cdef vm_object* backing
    cdef vm_object* below
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    while obj.backing_object != NULL and obj.paging_in_progress == 0:
        backing = obj.backing_object
        rw_wlock(td, &backing.lock, SITE_COLLAPSE)
        touch_read(td, &backing.ref_count)
        touch_read(td, &backing.paging_in_progress)
        if (backing.flags & OBJ_DEAD or backing.paging_in_progress != 0 or backing.type == OBJT_VNODE or
                (backing.ref_count == 1 and not vm_object_anonymous(backing))):
            rw_wunlock(td, &backing.lock)
            return
        if backing.ref_count == 1:
            if not collapse_scan(td, obj, backing):
                rw_wunlock(td, &backing.lock)
                return
            shadow_remove(td, obj)
            below = backing.backing_object
            if below != NULL:                       # obj takes backing's place and its reference
                rw_wlock(td, &below.lock, SITE_COLLAPSE)
                shadow_remove(td, backing)
                shadow_insert(td, obj, below)
                rw_wunlock(td, &below.lock)
                obj.backing_object_offset += backing.backing_object_offset
            else:
                obj.backing_object_offset = 0
            backing.ref_count = 0
            backing.backing_object = NULL
            vm_object_terminate(td, backing)
        else:
            if obj.resident_page_count != <int64_t>obj.size and not all_shadowed(td, obj, backing):
                rw_wunlock(td, &backing.lock)
                return
            shadow_remove(td, obj)
            below = backing.backing_object
            if below != NULL:
                rw_wlock(td, &below.lock, SITE_COLLAPSE)
                shadow_insert(td, obj, below)
                vm_object_ref_add(td, below, 1)
                rw_wunlock(td, &below.lock)
                obj.backing_object_offset += backing.backing_object_offset
            else:
                obj.backing_object_offset = 0
            vm_object_ref_add(td, backing, -1)    # not the last: obj was one of several
            rw_wunlock(td, &backing.lock)


# Let an object of anonymous memory reach `more` pages further, for a mapping that follows right behind the one that
# ends at offset + pages.
#
# Locks in:   the map lock, exclusively: offset and pages are an entry's.
# Locks out:  the same.
# May block:  on the object's lock and those of its backing objects, on the free page and the pmap's locks.  Never
#             sleeps.
# Returns:    False when it cannot: other mappings may use those indexes, or it is no anonymous memory.
# Stands for: FreeBSD vm_object_coalesce().
cdef bint vm_object_coalesce(thread* td, vm_object* prev, vm_pindex_t offset, vm_pindex_t pages,
                             vm_pindex_t more) noexcept nogil:
    cdef vm_pindex_t next_index
    if prev == NULL:
        return True
    if not vm_object_anonymous(prev):
        return False
    rw_wlock(td, &prev.lock, SITE_COALESCE)
    touch_read(td, &prev.ref_count)
    touch_read(td, &prev.backing_object)
    vm_object_collapse(td, prev)
    next_index = offset + pages
    if prev.backing_object != NULL or (
            prev.ref_count > 1 and prev.size != next_index and not prev.flags & OBJ_ONEMAPPING):
        rw_wunlock(td, &prev.lock)
        return False
    if next_index < prev.size:                      # left over from what was mapped there before
        vm_object_page_remove(td, prev, next_index, next_index + more)
    if next_index + more > prev.size:
        touch_write(td, &prev.size)
        prev.size = next_index + more
    rw_wunlock(td, &prev.lock)
    return True
