# Objects: where the pages of a mapping come from.  A file, anonymous memory, or a shadow: anonymous memory in front
# of a backing object, that holds the pages written since.

from libc.stdint cimport uint8_t

from finegrain.kernel.phys cimport VM_OBJECT_ASSERT_WLOCKED
from finegrain.kernel.types cimport vm_object, vm_offset_t, vm_pindex_t
from finegrain.machine.seam cimport touch_read, touch_write
from finegrain.machine.thread cimport thread

cdef enum:
    OBJ_ONEMAPPING = 1                  # flags: each page has one mapping at most: unmapping a page may free it
    OBJ_DEAD = 2
    OBJ_TMPFS_NODE = 4                  # a file of a tmpfs, which has a reference to it
    COLOR_MASK = 0xfff

# One reference, no pages.  None held.
cdef vm_object* vm_object_allocate(thread* td, int type, vm_pindex_t size) noexcept nogil
# Takes object W.
cdef void vm_object_reference(thread* td, vm_object* obj) noexcept nogil
# Takes object W, down the chain; the last reference frees it.
cdef void vm_object_deallocate(thread* td, vm_object* obj) noexcept nogil
# Replace obj[0] by a new object that shadows it from offset[0] on; nothing when the object is this reference's own.
# Map X; takes object W.
cdef void vm_object_shadow(thread* td, vm_object** obj, vm_pindex_t* offset, vm_pindex_t size) noexcept nogil
# Object W; takes its backing objects W.
cdef void vm_object_collapse(thread* td, vm_object* obj) noexcept nogil
# Make room for anonymous memory right behind what prev holds; False when it must have an object of its own.
# Map X; takes object W.
cdef bint vm_object_coalesce(thread* td, vm_object* prev, vm_pindex_t offset, vm_pindex_t pages,
                             vm_pindex_t more) noexcept nogil
# Free the pages from start up to end, which are unmapped.  Object W.
cdef void vm_object_page_remove(thread* td, vm_object* obj, vm_pindex_t start, vm_pindex_t end) noexcept nogil


# Anonymous memory, which nothing but its mappings and shadows can find.
cdef inline bint vm_object_anonymous(vm_object* obj) noexcept nogil:
    return obj.type == 0                # OBJT_DEFAULT


# n references more, or fewer.
#
# Locks in: the object's lock, for writing.  Locks out: the same.  May block: never.
# Stands for: FreeBSD's ref_count++ and ref_count-- (they became atomic with r354158 (M)).
cdef inline void vm_object_ref_add(thread* td, vm_object* obj, int n) noexcept nogil:
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    touch_write(td, &obj.ref_count)
    obj.ref_count += n


# The object's pages may come from reservations from now on, aligned by `color` (pages).
#
# Locks in: the object's lock, for writing.  Locks out: the same.  May block: never.  Stands for: FreeBSD
# vm_object_color().
cdef inline void vm_object_color(thread* td, vm_object* obj, vm_pindex_t color) noexcept nogil:
    VM_OBJECT_ASSERT_WLOCKED(td, obj)
    touch_read(td, &obj.color)
    if obj.color < 0:
        touch_write(td, &obj.color)
        obj.color = color & COLOR_MASK
