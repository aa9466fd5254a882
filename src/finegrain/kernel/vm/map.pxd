# Address-space maps: the entries of a vmspace, and the system calls that change them.

from libc.stdint cimport uint8_t, uint32_t

from finegrain.kernel.locks cimport sx_assert_locked, sx_assert_xlocked
from finegrain.kernel.types cimport vm_map_entry, vm_object, vm_offset_t, vm_pindex_t, vmspace
from finegrain.machine.thread cimport thread

cdef enum:
    MAX_INIT_PT = 96                    # pages that a partial premap looks at
    SGROWSIZ = 128 * 1024               # a stack starts with, and grows by, this many bytes
    MAXSSIZ = 512 * 1024 * 1024         # how large it may get

cdef enum premap:
    PREMAP_NONE = 0
    PREMAP_PARTIAL                      # mmap of a file
    PREMAP_FULL                         # segments of a program

# What an entry is to be like.
cdef struct map_request:
    uint8_t protection                  # vm_prot
    uint8_t copy_on_write
    uint8_t shared                      # fork shares it
    uint8_t grows_down
    uint8_t premap

# System calls.  All take the map lock X, and object and pmap locks under it.
# obj NULL: anonymous memory.  What is mapped in the range is replaced.
cdef void vm_map_mmap(thread* td, vmspace* vms, vm_offset_t start, vm_offset_t end, vm_object* obj,
                      vm_pindex_t offset, const map_request* request) noexcept nogil
cdef void vm_map_munmap(thread* td, vmspace* vms, vm_offset_t start, vm_offset_t end) noexcept nogil
cdef void vm_map_mprotect(thread* td, vmspace* vms, vm_offset_t start, vm_offset_t end, uint8_t prot) noexcept nogil
cdef void vm_map_brk(thread* td, vmspace* vms, vm_offset_t old, vm_offset_t end) noexcept nogil

# For faults and for vmspace.

# The map's entries may be read, or changed, by this thread.
#
# Locks in: the map lock, shared or exclusively.  Locks out: the same.  May block: never.
# Stands for: FreeBSD VM_MAP_ASSERT_LOCKED().
cdef inline void VM_MAP_ASSERT_LOCKED(thread* td, vmspace* vms) noexcept nogil:
    sx_assert_locked(td, &vms.lock, b"the map is not locked")


# Locks in: the map lock, exclusively.  Locks out: the same.  May block: never.
# Stands for: FreeBSD's sx_assert(&map->lock, SA_XLOCKED).
cdef inline void VM_MAP_ASSERT_XLOCKED(thread* td, vmspace* vms) noexcept nogil:
    sx_assert_xlocked(td, &vms.lock, b"the map is not locked exclusively")


# Number of the entry that holds va, or of the next above it.  Map S or X.
cdef uint32_t vm_map_find(thread* td, vmspace* vms, vm_offset_t va) noexcept nogil
# Let the stack above va grow down to it; False when there is none or no room.  Takes map X.
cdef bint vm_map_growstack(thread* td, vmspace* vms, vm_offset_t va) noexcept nogil
# An entry like this one, behind all others, and with no reference of its own to the object yet.  Map X.
cdef vm_map_entry* vm_map_append(thread* td, vmspace* vms, const vm_map_entry* like) noexcept nogil
# Enter a mapping into a range where nothing is mapped; the object's reference goes over to the entry.  Map X.
cdef void vm_map_insert(thread* td, vmspace* vms, vm_offset_t start, vm_offset_t end, vm_object* obj,
                        vm_pindex_t offset, const map_request* request) noexcept nogil
# Unmap the range; the entries come back as a list.  Map X.
cdef vm_map_entry* vm_map_delete(thread* td, vmspace* vms, vm_offset_t start, vm_offset_t end) noexcept nogil
# Let go of what the entries of such a list refer to.  No map lock.
cdef void vm_map_process_deferred(thread* td, vm_map_entry* entries) noexcept nogil
# Say what is mapped where, and how much of it is resident.  None held; takes map S, objects R.
cdef void vm_map_export(thread* td, vmspace* vms) noexcept nogil
