# Page faults.
#
# The map tells which object the address belongs to; the page is looked for there, then down the shadow chain.
#
#   fast path   The page is in the first object, and complete: it is mapped with that object only read-locked, and
#               so are its resident neighbours (prefault).  Any number of processes can do so at once with the pages
#               of one file.
#   slow path   The first object is write-locked.  A page is put into it, busy, before anything else: a second
#               thread that faults on the same address finds that page, and waits.  Then the chain is walked, each
#               object locked before the one above it is let go.  What comes of it:
#                 no object has the page: the new one is filled with zeros;
#                 an object below has it, the access is a read: that page is mapped, read-only, and the new one
#                 freed;
#                 an object below has it, the access is a write: it is copied into the new one; or, when nobody but
#                 this mapping can ever see it down there, it moves up in its place.
#               The page is mapped with no object locked: the busy page is what others wait for.  While that lasts, the
#               objects that the fault works on count it as paging in progress and are not collapsed.
#
# The map stays share-locked from look-up to mapping, so that no munmap comes in between.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport (
    lock_site, mtx, mtx_lock, mtx_unlock, rw_rlock, rw_runlock, rw_try_upgrade, rw_try_wlock, rw_wlock, rw_wunlock,
    sx_downgrade, sx_slock, sx_sunlock, sx_try_upgrade, sx_xlock)
from finegrain.kernel.phys cimport (
    VM_ALLOC_NORMAL, VM_ALLOC_ZERO, VM_OBJECT_ASSERT_LOCKED, VM_OBJECT_ASSERT_WLOCKED, phys_of, vm_page_activate,
    vm_page_alloc, vm_page_deactivate_locked, vm_page_dirty, vm_page_free, vm_page_lockptr, vm_page_lookup,
    vm_page_rename, vm_page_xunbusy, vm_reserv_to_superpage)
from finegrain.kernel.pmap cimport KERN_SUCCESS, PMAP_ENTER_NOSLEEP, pmap_enter, pmap_enter_quick, pmap_is_prefaultable
from finegrain.kernel.types cimport (
    OBJT_DEFAULT, PAGE_LINES, PAGE_SHIFT, PAGE_SIZE, PG_ZERO, VM_PROT_WRITE, VPB_EXCLUSIVE, VPB_UNBUSIED, vm_map_entry,
    vm_object, vm_offset_t, vm_page, vm_pindex_t, vmspace)
from finegrain.kernel.vm.map cimport VM_MAP_ASSERT_LOCKED, vm_map_find, vm_map_growstack
from finegrain.kernel.vm.object cimport (
    vm_object_allocate, vm_object_anonymous, vm_object_color, vm_object_deallocate, vm_object_ref_add, vm_object_shadow)
from finegrain.kernel.vm.state cimport (
    FAULT_BACKING, FAULT_BAD, FAULT_COPY, FAULT_FAST, FAULT_MOVE, FAULT_RESIDENT, FAULT_SUPERPAGE, FAULT_ZERO, vm_of)
from finegrain.machine.seam cimport (
    atomic_fetchadd, charge, charge_lines, panic, sleep_for, touch_read, touch_write, unlikely)
from finegrain.machine.thread cimport ps_t, thread

cdef uint16_t SITE_MAP = lock_site(b"vm_map_lookup")
cdef uint16_t SITE_MAP_UPGRADE = lock_site(b"vm_map_lock_upgrade")
cdef uint16_t SITE_PIPE_MAP = lock_site(b"vm_map_lookup/pipe_map")
cdef uint16_t SITE_PIPE_MAP_UPGRADE = lock_site(b"vm_map_lock_upgrade/pipe_map")
cdef uint16_t SITE_FAST = lock_site(b"vm_fault_soft_fast")
cdef uint16_t SITE_FIRST = lock_site(b"vm_fault/first object")
cdef uint16_t SITE_BACKING = lock_site(b"vm_fault/backing object")
cdef uint16_t SITE_COPY = lock_site(b"vm_fault/copy-on-write")
cdef uint16_t SITE_RELEASE = lock_site(b"release_page")
cdef uint16_t SITE_MAPPED = lock_site(b"vm_fault/mapped")
cdef uint16_t SITE_PREFAULT = lock_site(b"vm_fault_prefault")
cdef uint16_t SITE_DIRTY = lock_site(b"vm_fault_dirty")
cdef uint16_t SITE_ACTIVATE = lock_site(b"vm_fault/activate")

cdef enum:
    SUPERPAGE_PAGES = 512
    # Work in units of cost.op: our estimates [A].
    OPS_LOOKUP = 60                     # find the entry
    OPS_SLOW = 150                      # the slow path's own work
    OPS_PREFAULT = 12                   # a candidate of the prefault window
    OPS_TEST = 2                        # one page of vm_page_ps_test()

# How long a thread that finds a page busy sleeps before it looks again: about what mapping or copying takes.  FreeBSD
# sleeps until the page is unbusied.
cdef ps_t BUSY_PS = 2000000

# A fault under way.
cdef struct faultstate:
    vmspace* vms
    vm_map_entry* entry
    vm_offset_t va                      # page-aligned
    int fault_type                      # the access: VM_PROT_*
    uint8_t prot                        # what the mapping may allow
    vm_object* first_object
    vm_pindex_t first_pindex
    vm_page* first_m                    # slow path: the busy page put into the first object, until it is used
    vm_object* object                   # slow path: where the search is
    vm_pindex_t pindex
    vm_page* m


# --- page contents

# Locks in: any; the page is busied here.  Locks out: the same.  May block: never.
# Stands for: FreeBSD pmap_zero_page().
cdef inline void zero_page(thread* td, vm_page* m) noexcept nogil:
    if not m.flags & PG_ZERO:
        charge_lines(td, td.machine.cost.zero_4k, PAGE_LINES)
    if unlikely(vm_of(td).contents != NULL):
        vm_of(td).contents[m.phys_addr >> PAGE_SHIFT] = 0


# Locks in: any; both pages are busied here.  Locks out: the same.  May block: never.
# Stands for: FreeBSD pmap_copy_page().
cdef inline void copy_page(thread* td, vm_page* source, vm_page* target) noexcept nogil:
    cdef uint32_t* contents = vm_of(td).contents
    charge_lines(td, td.machine.cost.copy_4k, 2 * PAGE_LINES)
    if unlikely(contents != NULL):
        contents[target.phys_addr >> PAGE_SHIFT] = contents[source.phys_addr >> PAGE_SHIFT]


# The fault works on the object from now on.
#
# Locks in: any that keeps the object, or a reference to it.  Locks out: the same.  May block: never.
# Stands for: FreeBSD vm_object_pip_add().
cdef inline void pip_add(thread* td, vm_object* obj) noexcept nogil:
    atomic_fetchadd(td, &obj.paging_in_progress, 1)


# ... or no longer.
#
# Locks in: any that keeps the object, or a reference to it.  Locks out: the same.  May block: never.
# Stands for: FreeBSD vm_object_pip_wakeup().
cdef inline void pip_wakeup(thread* td, vm_object* obj) noexcept nogil:
    atomic_fetchadd(td, &obj.paging_in_progress, ~<uint64_t>0)


# --- look-up

# Give the map lock, held shared, exclusive rights.
#
# Locks in:   the map lock, shared.
# Locks out:  the map lock, exclusively.
# May block:  sleeps on the map lock.
# Returns:    False when the lock had to be dropped on the way: what was looked up may have changed.
# Stands for: FreeBSD vm_map_lock_upgrade().
cdef bint map_upgrade(thread* td, vmspace* vms, uint16_t lookup_site) noexcept nogil:
    cdef uint16_t site = SITE_PIPE_MAP_UPGRADE if lookup_site == SITE_PIPE_MAP else SITE_MAP_UPGRADE
    VM_MAP_ASSERT_LOCKED(td, vms)
    if sx_try_upgrade(td, &vms.lock, site):
        return True
    sx_sunlock(td, &vms.lock)
    sx_xlock(td, &vms.lock, site)
    return False


# Find the entry of the fault's address, with an object that the access may use: anonymous memory gets its object at
# the first fault, a copy-on-write mapping its shadow object at the first write.
#
# Locks in:   none.
# Locks out:  the map lock, shared, when it succeeds; else none.
# May block:  sleeps on the map lock; on object locks; to make a stack grow, as vm_map_growstack().
# Returns:    False: no mapping, or no permission.
# Stands for: FreeBSD vm_map_lookup().
cdef bint lookup(thread* td, faultstate* fs) noexcept nogil:
    cdef vmspace* vms = fs.vms
    cdef vm_map_entry* entry
    cdef uint32_t i
    cdef bint exclusive = False
    cdef uint16_t site = SITE_PIPE_MAP if vms == vm_of(td).pipe_map else SITE_MAP
    sx_slock(td, &vms.lock, site)
    while True:
        charge(td, td.machine.cost.op, OPS_LOOKUP)
        i = vm_map_find(td, vms, fs.va)
        if i >= vms.nentries or vms.entries[i].start > fs.va:
            if exclusive:
                sx_downgrade(td, &vms.lock, site)
                exclusive = False
            sx_sunlock(td, &vms.lock)
            if i >= vms.nentries or not vm_map_growstack(td, vms, fs.va):
                return False
            sx_slock(td, &vms.lock, site)
            continue
        entry = vms.entries[i]
        if fs.fault_type & ~entry.protection:
            if exclusive:
                sx_downgrade(td, &vms.lock, site)
            sx_sunlock(td, &vms.lock)
            return False
        fs.prot = entry.protection
        if entry.needs_copy and entry.object != NULL:
            if fs.fault_type & VM_PROT_WRITE:
                if not exclusive:
                    exclusive = True
                    if not map_upgrade(td, vms, site):
                        continue
                vm_object_shadow(td, &entry.object, &entry.offset, (entry.end - entry.start) >> PAGE_SHIFT)
                entry.needs_copy = 0
            else:
                fs.prot &= ~<uint8_t>VM_PROT_WRITE
        if entry.object == NULL:
            if not exclusive:
                exclusive = True
                if not map_upgrade(td, vms, site):
                    continue
            entry.object = vm_object_allocate(td, OBJT_DEFAULT, (entry.end - entry.start) >> PAGE_SHIFT)
            entry.offset = 0
            entry.needs_copy = 0
        if exclusive:
            sx_downgrade(td, &vms.lock, site)
        fs.entry = entry
        fs.first_object = entry.object
        fs.first_pindex = entry.offset + ((fs.va - entry.start) >> PAGE_SHIFT)
        return True


# A page that the access, or the mapping that is made for it, may change: it is dirty if it has been changed.  On the
# fast path the page lock keeps two such faults apart, one through a mapping that is synchronised to disk and one
# through one that is not: taken whether there is anything to do or not.  On the slow path nobody else is there.
#
# Locks in:   the lock of the page's object: for reading on the fast path, else for writing.
# Locks out:  the same.
# May block:  on the fast path, on the "vm page" mutex.
# Stands for: FreeBSD vm_fault_dirty(); `fast` is its set_wd reversed.
cdef void vm_fault_dirty(thread* td, faultstate* fs, vm_page* m, bint fast) noexcept nogil:
    cdef mtx* lock
    VM_OBJECT_ASSERT_LOCKED(td, m.object)
    if not fs.prot & VM_PROT_WRITE:
        return
    if fast:
        lock = vm_page_lockptr(phys_of(td), m)
        mtx_lock(td, lock, SITE_DIRTY)
        touch_read(td, &m.oflags)                   # VPO_NOSYNC
    if fs.fault_type & VM_PROT_WRITE:
        vm_page_dirty(td, m)
    if fast:
        mtx_unlock(td, lock)


# --- neighbours

# Map those of the neighbours of a faulted page that are resident, nearest first; the first that is not ends it.
#
# Locks in:   the map lock, shared; if obj_locked, the lock of the entry's object for reading, else no object's.
# Locks out:  the same.
# May block:  on object locks down the chain and, holding one, on the pmap's locks.  Never sleeps.
# Stands for: FreeBSD vm_fault_prefault().
cdef void vm_fault_prefault(thread* td, faultstate* fs, bint obj_locked) noexcept nogil:
    cdef vm_map_entry* entry = fs.entry
    cdef vm_object* obj
    cdef vm_object* backing
    cdef vm_pindex_t pindex
    cdef vm_offset_t va
    cdef vm_page* m
    cdef int i
    cdef int64_t step
    VM_MAP_ASSERT_LOCKED(td, fs.vms)
    if obj_locked:
        VM_OBJECT_ASSERT_LOCKED(td, entry.object)
    if td.pmap != <void*>&fs.vms.pm:    # only for the program that runs: not the kernel's memory, nor another's
        return
    for i in range(PFBAK + PFFOR):      # as many behind as ahead, by turns
        step = ((i >> 1) + 1) * (1 if i & 1 else -1)
        va = fs.va + <uint64_t>(step * PAGE_SIZE)
        if va < entry.start or va >= entry.end or (step < 0 and va > fs.va):
            continue
        charge(td, td.machine.cost.op, OPS_PREFAULT)
        if not pmap_is_prefaultable(td, &fs.vms.pm, va):
            continue
        vm_of(td).prefaulted += 1
        pindex = entry.offset + ((va - entry.start) >> PAGE_SHIFT)
        obj = entry.object
        if not obj_locked:
            rw_rlock(td, &obj.lock, SITE_PREFAULT)
        m = vm_page_lookup(td, obj, pindex)
        while m == NULL and vm_object_anonymous(obj) and obj.backing_object != NULL:
            backing = obj.backing_object
            pindex += obj.backing_object_offset
            rw_rlock(td, &backing.lock, SITE_PREFAULT)
            if not obj_locked or obj != entry.object:
                rw_runlock(td, &obj.lock)
            obj = backing
            m = vm_page_lookup(td, obj, pindex)
        if m != NULL and m.valid == 0xff:
            pmap_enter_quick(td, &fs.vms.pm, va, m, entry.protection)
        if not obj_locked or obj != entry.object:
            rw_runlock(td, &obj.lock)
        if m == NULL:
            break


# --- the fast path

# Are all 512 pages complete; and for a write: is nobody busy with one, and are all but `skip` dirty?
#
# Locks in:   the lock of the pages' object, for reading or for writing.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD vm_page_ps_test().
cdef bint vm_page_ps_test(thread* td, vm_page* m, bint write, vm_page* skip) noexcept nogil:
    cdef int i
    cdef vm_page* p
    cdef vm_object* obj = m.object
    VM_OBJECT_ASSERT_LOCKED(td, obj)
    for i in range(SUPERPAGE_PAGES):
        p = &m[i]
        if p.object != obj or p.valid != 0xff:
            charge(td, td.machine.cost.op, OPS_TEST * (i + 1))
            return False
        if write and (p.busy_lock != VPB_UNBUSIED or (p.dirty != 0xff and p != skip)):
            charge(td, td.machine.cost.op, OPS_TEST * (i + 1))
            return False
    charge(td, td.machine.cost.op, OPS_TEST * SUPERPAGE_PAGES)
    return True


# Map a page that is resident and complete in the first object, alone or with the superpage around it.
#
# Locks in:   the map lock, shared; the lock of the first object, for reading.
# Locks out:  none when it succeeds; else the same.
# May block:  holding both, on the pmap's locks and on backing objects' locks.  Never sleeps.
# Returns:    False: this fault is not of that kind.
# Stands for: FreeBSD vm_fault_soft_fast().
cdef bint soft_fast(thread* td, faultstate* fs) noexcept nogil:
    cdef vm_page* m = vm_page_lookup(td, fs.first_object, fs.first_pindex)
    cdef vm_page* m_map
    cdef vm_page* m_super
    cdef vm_offset_t va = fs.va
    cdef int psind = 0
    cdef int flags = fs.fault_type
    cdef bint write = fs.prot & VM_PROT_WRITE
    cdef uint64_t mask = (<uint64_t>SUPERPAGE_PAGES << PAGE_SHIFT) - 1
    VM_MAP_ASSERT_LOCKED(td, fs.vms)
    VM_OBJECT_ASSERT_LOCKED(td, fs.first_object)
    if m == NULL:
        return False
    touch_read(td, &m.busy_lock)
    touch_read(td, &m.valid)
    if (write and m.busy_lock != VPB_UNBUSIED) or m.valid != 0xff:
        return False
    m_map = m
    m_super = vm_reserv_to_superpage(td, m)
    if (m_super != NULL and va & ~mask >= fs.entry.start and (va & ~mask) + mask < fs.entry.end and
            (va & mask) == (m.phys_addr & mask) and vm_page_ps_test(td, m_super, write, m)):
        m_map = m_super
        psind = 1
        va &= ~mask
        if write:
            flags |= VM_PROT_WRITE                  # all are dirty: the superpage is mapped as modified
    if pmap_enter(td, &fs.vms.pm, va, m_map, fs.prot, flags | PMAP_ENTER_NOSLEEP, psind) != KERN_SUCCESS:
        return False
    vm_fault_dirty(td, fs, m, True)
    if psind == 0:
        vm_fault_prefault(td, fs, True)
    vm_of(td).faults[FAULT_SUPERPAGE if psind else FAULT_FAST] += 1
    rw_runlock(td, &fs.first_object.lock)
    sx_sunlock(td, &fs.vms.lock)
    return True


# --- the slow path

# Let go of everything but the page that was found.
#
# Locks in:   the map lock, shared; the lock of fs.object, for writing.
# Locks out:  none.
# May block:  on object locks, on the free page and the pmap's locks.  Sleeps, as vm_object_deallocate() does.
# Stands for: FreeBSD unlock_and_deallocate().
cdef void unlock_and_deallocate(thread* td, faultstate* fs) noexcept nogil:
    VM_MAP_ASSERT_LOCKED(td, fs.vms)
    VM_OBJECT_ASSERT_WLOCKED(td, fs.object)
    pip_wakeup(td, fs.object)
    rw_wunlock(td, &fs.object.lock)
    if fs.object != fs.first_object:
        rw_wlock(td, &fs.first_object.lock, SITE_FIRST)
        vm_page_free(td, fs.first_m)
        pip_wakeup(td, fs.first_object)
        rw_wunlock(td, &fs.first_object.lock)
        fs.first_m = NULL
    vm_object_deallocate(td, fs.first_object)
    sx_sunlock(td, &fs.vms.lock)


# Find the page, or make it: afterwards fs.m, busy, is what is to be mapped or copied, in fs.object.
#
# Locks in:   the map lock, shared; the lock of the first object (it is fs.object), for writing; a reference to it.
# Locks out:  the map lock, shared, and that of fs.object, for writing; or none, when the fault has to start over.
# May block:  on object locks down the chain, on the free page locks.  When the fault has to start over, as
#             unlock_and_deallocate(); sleeps while the page is busy.
# Returns:    how it was found (FAULT_RESIDENT, FAULT_BACKING, FAULT_ZERO); -1: start over; -2: outside the object.
# Stands for: the loop over the shadow chain in FreeBSD vm_fault().
cdef int find_page(thread* td, faultstate* fs) noexcept nogil:
    cdef vm_object* next_object
    cdef int request
    VM_MAP_ASSERT_LOCKED(td, fs.vms)
    VM_OBJECT_ASSERT_WLOCKED(td, fs.object)
    while True:
        fs.m = vm_page_lookup(td, fs.object, fs.pindex)
        if fs.m != NULL:
            touch_write(td, &fs.m.busy_lock)
            touch_read(td, &fs.m.valid)
            if fs.m.busy_lock != VPB_UNBUSIED:
                fs.m = NULL
                unlock_and_deallocate(td, fs)
                sleep_for(td, BUSY_PS)
                return -1
            if unlikely(fs.m.valid != 0xff):
                panic(td, b"vm_fault: a page that nobody fills has no valid contents")
            fs.m.busy_lock = VPB_EXCLUSIVE
            return FAULT_RESIDENT if fs.object == fs.first_object else FAULT_BACKING
        if fs.pindex >= fs.object.size and (fs.object == fs.first_object or not vm_object_anonymous(fs.object)):
            unlock_and_deallocate(td, fs)
            return -2
        if fs.object == fs.first_object:
            vm_object_color(td, fs.object, (fs.va >> PAGE_SHIFT) - fs.pindex)
            request = VM_ALLOC_NORMAL
            if fs.object.backing_object == NULL:
                request |= VM_ALLOC_ZERO
            fs.first_m = vm_page_alloc(td, fs.object, fs.pindex, request)
            if unlikely(fs.first_m == NULL):
                panic(td, b"vm_fault: out of physical memory; give the machine more, or run fewer builders")
        next_object = fs.object.backing_object
        if next_object == NULL:
            if fs.object != fs.first_object:
                pip_wakeup(td, fs.object)
                rw_wunlock(td, &fs.object.lock)
                fs.object = fs.first_object
                fs.pindex = fs.first_pindex
                rw_wlock(td, &fs.object.lock, SITE_FIRST)
            fs.m = fs.first_m
            fs.first_m = NULL
            zero_page(td, fs.m)
            touch_write(td, &fs.m.valid)
            fs.m.valid = 0xff
            return FAULT_ZERO
        rw_wlock(td, &next_object.lock, SITE_BACKING)
        pip_add(td, next_object)
        if fs.object != fs.first_object:
            pip_wakeup(td, fs.object)
        fs.pindex += fs.object.backing_object_offset
        rw_wunlock(td, &fs.object.lock)
        fs.object = next_object


# The old page has been copied: nobody need wait for it any more.
#
# Locks in:   the page is busied here.  Perhaps the lock of its object, for writing.
# Locks out:  the same; the page is not busied.
# May block:  on the "vm page" mutex, on page queues' mutexes.
# Stands for: FreeBSD release_page().
cdef void release_page(thread* td, vm_page* m) noexcept nogil:
    cdef mtx* lock = vm_page_lockptr(phys_of(td), m)
    vm_page_xunbusy(td, m)
    mtx_lock(td, lock, SITE_RELEASE)
    vm_page_deactivate_locked(td, m)
    mtx_unlock(td, lock)


# A write to a page of a backing object: get it, or a copy of it, into the first object.
#
# Locks in:   the map lock, shared; the lock of fs.object, for writing; fs.m and fs.first_m busied.
# Locks out:  the map lock, shared, and that of the first object (now fs.object), for writing; fs.m busied.
# May block:  on the first object's lock, on the "vm page" mutex, on the free page locks.  Never sleeps.
# Returns:    FAULT_MOVE or FAULT_COPY.
# Stands for: the copy-on-write part of FreeBSD vm_fault().
cdef int copy_on_write(thread* td, faultstate* fs) noexcept nogil:
    cdef vm_object* backing = fs.object
    cdef int how
    VM_MAP_ASSERT_LOCKED(td, fs.vms)
    VM_OBJECT_ASSERT_WLOCKED(td, backing)
    touch_read(td, &backing.ref_count)
    if (backing.ref_count == 1 and backing.shadow_count == 1 and vm_object_anonymous(backing) and
            backing == fs.first_object.backing_object and rw_try_wlock(td, &fs.first_object.lock, SITE_COPY)):
        # Only the first object can reach the page, so nobody will miss it.  The try is against the order of locks.
        vm_page_free(td, fs.first_m)
        vm_page_rename(td, fs.m, fs.first_object, fs.first_pindex)
        pip_wakeup(td, backing)
        rw_wunlock(td, &backing.lock)
        how = FAULT_MOVE
    else:
        if vm_of(td).options.cow_unlocked:
            rw_wunlock(td, &backing.lock)
        copy_page(td, fs.m, fs.first_m)
        touch_write(td, &fs.first_m.valid)
        fs.first_m.valid = 0xff
        release_page(td, fs.m)
        pip_wakeup(td, backing)
        if not vm_of(td).options.cow_unlocked:
            rw_wunlock(td, &backing.lock)
        fs.m = fs.first_m
        rw_wlock(td, &fs.first_object.lock, SITE_COPY)
        how = FAULT_COPY
    fs.first_m = NULL
    fs.object = fs.first_object
    fs.pindex = fs.first_pindex
    return how


# Handle a page fault.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on the map lock; on object locks, the "vm page" mutex, the free page and the pmap's locks.  Sleeps
#             while a page that it needs is busy, for memory, and as vm_object_deallocate() does.
# Returns:    0; -1 when the access is not allowed.
# Stands for: FreeBSD vm_fault().  There is no pager: files are in memory whole.
cdef int vm_fault(thread* td, vmspace* vms, vm_offset_t va, int prot) noexcept nogil:
    cdef faultstate fs
    cdef int how
    fs.vms = vms
    fs.va = va & ~<vm_offset_t>(PAGE_SIZE - 1)
    fs.fault_type = prot
    while True:
        if not lookup(td, &fs):
            vm_of(td).faults[FAULT_BAD] += 1
            return -1
        rw_rlock(td, &fs.first_object.lock, SITE_FAST)
        if soft_fast(td, &fs):
            return 0
        if not rw_try_upgrade(td, &fs.first_object.lock, SITE_FIRST):
            rw_runlock(td, &fs.first_object.lock)
            rw_wlock(td, &fs.first_object.lock, SITE_FIRST)
        vm_object_ref_add(td, fs.first_object, 1)
        charge(td, td.machine.cost.op, OPS_SLOW)
        pip_add(td, fs.first_object)
        fs.first_m = NULL
        fs.object = fs.first_object
        fs.pindex = fs.first_pindex
        how = find_page(td, &fs)
        if how >= 0:
            break
        if how == -2:
            vm_of(td).faults[FAULT_BAD] += 1
            return -1
    if how == FAULT_BACKING:
        if fs.fault_type & VM_PROT_WRITE:
            how = copy_on_write(td, &fs)
        else:
            fs.prot &= ~<uint8_t>VM_PROT_WRITE
    vm_fault_dirty(td, &fs, fs.m, False)
    rw_wunlock(td, &fs.object.lock)

    pmap_enter(td, &vms.pm, fs.va, fs.m, fs.prot, fs.fault_type, 0)
    if how == FAULT_RESIDENT or how == FAULT_BACKING:   # one new page says nothing of its neighbours
        vm_fault_prefault(td, &fs, False)

    rw_wlock(td, &fs.object.lock, SITE_MAPPED)
    vm_page_activate(td, fs.m, SITE_ACTIVATE)
    vm_page_xunbusy(td, fs.m)
    vm_of(td).faults[how] += 1
    unlock_and_deallocate(td, &fs)
    return 0
