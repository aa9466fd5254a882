# Reading, writing and truncating.
#
# A call holds the vnode's lock from its first page to its last, over copies to and from user memory.  A page at a time
# the object is write-locked, to find the page or make one, and to wire it; then the page is copied with the object
# unlocked; then the wiring goes, under the page's "vm page" mutex when it was the last one, and the page is put on a
# queue.  A write locks the object once more, to say that the page is dirty.
#
# Left out: faults on the user's side of a copy (what it copies to or from was touched before), and range locks, which
# nobody waits for who does not wait for the vnode as well.

from libc.stdint cimport int64_t, uint16_t, uint64_t

from finegrain.kernel.locks cimport lock_site, rw_wlock, rw_wunlock
from finegrain.kernel.phys cimport (
    VM_ALLOC_NOBUSY, VM_ALLOC_WIRED, VM_OBJECT_ASSERT_WLOCKED, vm_object_undefer, vm_page_alloc, vm_page_dirty,
    vm_page_lookup, vm_page_unwire, vm_page_wire, vm_radix_lookup_le)
from finegrain.kernel.types cimport (
    PAGE_LINES, PAGE_SHIFT, PAGE_SIZE, VPB_EXCLUSIVE, vm_object, vm_page, vm_pindex_t)
from finegrain.kernel.vfs.tmpfs_subr cimport tmpfs_set_status
from finegrain.kernel.vfs.types cimport (
    TMPFS_NODE_ACCESSED, TMPFS_NODE_CHANGED, TMPFS_NODE_MODIFIED, tmpfs_node, vfs_of)
from finegrain.kernel.vfs.vnode cimport ASSERT_VOP_ELOCKED, ASSERT_VOP_LOCKED
from finegrain.kernel.vm cimport vm_object_page_remove
from finegrain.machine.seam cimport charge, charge_lines, panic, sleep_for, touch_read, touch_write, unlikely
from finegrain.machine.thread cimport ps_t

cdef uint16_t SITE_IO = lock_site(b"uiomove_object_page")
cdef uint16_t SITE_DIRTY = lock_site(b"uiomove_object_page/dirty")
cdef uint16_t SITE_RESIZE = lock_site(b"tmpfs_reg_resize")

# Work in units of cost.op: our estimates [A].
cdef enum:
    OPS_PAGE = 60                       # uiomove_object_page() and uiomove() of one page
    OPS_RESIZE = 40

# How long whoever finds a page busy sleeps before it looks again, as vm/fault does.  FreeBSD sleeps until it is not.
cdef ps_t BUSY_PS = 2000000


# Find the page and wire it, or make one of zeros; wait while a fault is busy with it.
#
# Locks in:   the object's lock, for writing.
# Locks out:  the same, dropped meanwhile.
# May block:  on the object's lock again, on the free page locks; sleeps while the page is busy.
# Returns:    the page, wired; NULL when there is none and none is to be made.
# Stands for: FreeBSD vm_page_grab(VM_ALLOC_WIRED | VM_ALLOC_NOBUSY).
cdef vm_page* page_grab(thread* td, vm_object* obj, vm_pindex_t pindex, bint make) noexcept nogil:
    cdef vm_page* m
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    while True:
        m = vm_page_lookup(td, obj, pindex)
        if m == NULL:
            break
        touch_read(td, &m.busy_lock)
        if m.busy_lock != VPB_EXCLUSIVE:
            vm_page_wire(td, m)
            return m
        rw_wunlock(td, &obj.lock)
        sleep_for(td, BUSY_PS)
        rw_wlock(td, &obj.lock, SITE_IO)
    if not make:
        return NULL
    m = vm_page_alloc(td, obj, pindex, VM_ALLOC_WIRED | VM_ALLOC_NOBUSY)
    if unlikely(m == NULL):
        panic(td, b"tmpfs: out of memory; give the machine more, or run fewer builders")
    charge_lines(td, td.machine.cost.zero_4k, PAGE_LINES)   # all of it, though what is written need not be (M)
    m.valid = 0xff
    return m


# Copy a piece of a page to or from a user's memory.
#
# Locks in:   the lock of the file's vnode; no other.
# Locks out:  the same.
# May block:  on the object's lock; holding it, on the free page locks; on the "vm page" mutex; sleeps as page_grab().
# Stands for: FreeBSD uiomove_object_page().
cdef void uiomove_object_page(thread* td, vnode* vp, vm_pindex_t pindex, uint64_t bytes, bint write) noexcept nogil:
    cdef vm_object* obj = vp.v_object
    cdef vm_page* m
    ASSERT_VOP_LOCKED(td, vp)
    charge(td, td.machine.cost.op, OPS_PAGE)
    rw_wlock(td, &obj.lock, SITE_IO)
    m = page_grab(td, obj, pindex, write)
    rw_wunlock(td, &obj.lock)
    # A hole is read from a page of zeros that all have.
    charge_lines(td, td.machine.cost.copy_4k * <ps_t>bytes // PAGE_SIZE, <ps_t>(2 * PAGE_LINES * bytes // PAGE_SIZE))
    if m == NULL:
        return
    if write:
        rw_wlock(td, &obj.lock, SITE_DIRTY)
        vm_page_dirty(td, m)
        rw_wunlock(td, &obj.lock)
    vm_page_unwire(td, m, SITE_IO)


# Copy so many bytes, page by page.
#
# Locks in:   the lock of the file's vnode; no other.
# Locks out:  the same.
# May block:  as uiomove_object_page().
# Stands for: FreeBSD uiomove_object().
cdef void uiomove_object(thread* td, vnode* vp, uint64_t offset, uint64_t bytes, bint write) noexcept nogil:
    cdef uint64_t piece
    ASSERT_VOP_LOCKED(td, vp)
    while bytes > 0:
        piece = PAGE_SIZE - (offset & (PAGE_SIZE - 1))
        if piece > bytes:
            piece = bytes
        uiomove_object_page(td, vp, offset >> PAGE_SHIFT, piece, write)
        offset += piece
        bytes -= piece
        vfs_of(td).file_bytes += <int64_t>piece


# A page beyond the end that the object is to have: one that was busy.
#
# Locks in: the object's lock, for writing.  Locks out: the same.  May block: never.  Stands for: nothing in FreeBSD.
cdef inline vm_page* past_end(thread* td, vm_object* obj, vm_pindex_t pages) noexcept nogil:
    cdef vm_page* last
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    last = vm_radix_lookup_le(obj, obj.size)
    return last if last != NULL and last.pindex >= pages else NULL


# Change the size of a regular file.
#
# Locks in:   the lock of the vnode, exclusively.
# Locks out:  the same.
# May block:  on the object's lock; holding it, on the free page locks and, where a page is mapped, the pmap's locks;
#             sleeps while a page that goes is busy.
# Stands for: FreeBSD tmpfs_reg_resize().
cdef void tmpfs_reg_resize(thread* td, vnode* vp, uint64_t size) noexcept nogil:
    cdef tmpfs_node* node = vp.v_data
    cdef vm_object* obj = node.tn_aobj
    cdef vm_pindex_t pages = (size + PAGE_SIZE - 1) >> PAGE_SHIFT
    cdef vm_pindex_t before
    ASSERT_VOP_ELOCKED(td, vp)
    before = (node.tn_size + PAGE_SIZE - 1) >> PAGE_SHIFT
    charge(td, td.machine.cost.op, OPS_RESIZE)
    if pages != before:
        rw_wlock(td, &obj.lock, SITE_RESIZE)
        if pages < before:
            vm_object_undefer(obj)
        while pages < before:
            vm_object_page_remove(td, obj, pages, before)
            if past_end(td, obj, pages) == NULL:
                break
            rw_wunlock(td, &obj.lock)
            sleep_for(td, BUSY_PS)
            rw_wlock(td, &obj.lock, SITE_RESIZE)
        touch_write(td, &obj.size)
        obj.size = pages
        rw_wunlock(td, &obj.lock)
    touch_write(td, &node.tn_size)
    node.tn_size = size


# --- what others use

# Locks in:   the lock of the vnode, in any mode; no other.
# Locks out:  the same.
# May block:  as uiomove_object_page(); on the node's interlock.
# Returns:    how many bytes there were.
# Stands for: FreeBSD tmpfs_read().
cdef uint64_t tmpfs_read(thread* td, vnode* vp, uint64_t offset, uint64_t bytes) noexcept nogil:
    cdef tmpfs_node* node = vp.v_data
    ASSERT_VOP_LOCKED(td, vp)
    touch_read(td, &node.tn_size)
    if offset >= node.tn_size:
        bytes = 0
    elif bytes > node.tn_size - offset:
        bytes = node.tn_size - offset
    tmpfs_set_status(td, node, TMPFS_NODE_ACCESSED)
    uiomove_object(td, vp, offset, bytes, False)
    return bytes


# Locks in:   the lock of the vnode, exclusively; no other.
# Locks out:  the same.
# May block:  as tmpfs_reg_resize() and uiomove_object_page(); on the node's interlock.
# Stands for: FreeBSD tmpfs_write().
cdef void tmpfs_write(thread* td, vnode* vp, uint64_t offset, uint64_t bytes) noexcept nogil:
    cdef tmpfs_node* node = vp.v_data
    ASSERT_VOP_ELOCKED(td, vp)
    if bytes == 0:
        return
    if offset + bytes > node.tn_size:
        tmpfs_reg_resize(td, vp, offset + bytes)
    uiomove_object(td, vp, offset, bytes, True)
    tmpfs_set_status(td, node, TMPFS_NODE_ACCESSED | TMPFS_NODE_MODIFIED | TMPFS_NODE_CHANGED)


# Locks in:   the lock of the vnode, exclusively; no other.
# Locks out:  the same.
# May block:  as tmpfs_reg_resize(); on the node's interlock.
# Stands for: FreeBSD tmpfs_truncate().
cdef void tmpfs_truncate(thread* td, vnode* vp, uint64_t size) noexcept nogil:
    ASSERT_VOP_ELOCKED(td, vp)
    if size != vp.v_data.tn_size:
        tmpfs_reg_resize(td, vp, size)
    tmpfs_set_status(td, vp.v_data, TMPFS_NODE_MODIFIED | TMPFS_NODE_CHANGED)
