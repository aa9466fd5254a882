# The state of the VM layer, and its audit.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport mtx
from finegrain.kernel.types cimport vm_object, vmspace
from finegrain.machine.thread cimport machine, ps_t, thread

# How a fault was settled.
cdef enum:
    FAULT_FAST = 0                      # the page was resident in the first object: mapped under its read lock
    FAULT_SUPERPAGE                     # likewise, with a 2 MB mapping
    FAULT_RESIDENT                      # resident in the first object, but mapped by the slow path
    FAULT_BACKING                       # read: found further down the shadow chain, mapped read-only
    FAULT_ZERO                          # a new page of zeros
    FAULT_COPY                          # copy-on-write: copied
    FAULT_MOVE                          # copy-on-write: the page of a once-referenced backing object, taken over
    FAULT_BAD                           # no mapping, or a protection that forbids it
    FAULT_KINDS

# What the layer is built with.
cdef struct vm_options:
    bint cow_unlocked                   # a copy is made with no object locked; else with the backing object locked
    ps_t active_scan_period             # the page daemon's: once over all active pages; 0: never

# machine.vm points here.  Counts are statistics: several threads may write them.
cdef struct vm_state:
    vm_options options                  # c
    uint32_t objects_made               # source of vm_object.id
    int64_t objects                     # alive now
    int64_t maps
    int64_t entries
    uint64_t lock                       # raw: the lists, which FreeBSD does not have, and the counts of what is on them
    vm_object* all_objects              # newest first
    vmspace* all_maps
    vmspace* free_maps                  # linked by all_next.  They are never used for anything else (pmap/life.pxd)
    int64_t faults[FAULT_KINDS]
    int64_t prefaulted                  # neighbours looked at with an empty PTE
    int64_t growths                     # of stacks
    int64_t scanned                     # active pages that the page daemon looked at
    mtx kernel_map                      # "vm map (system)": the lock of the map that pipe_map is a part of
    vmspace* pipe_map                   # c: the kernel's map for pipe buffers (kmap); not among all_maps
    uint32_t* contents                  # tests: what each page of memory holds, by page number; else NULL

cdef int vm_create(machine* m, const vm_options* options) except -1


cdef inline vm_state* vm_of(thread* td) noexcept nogil:
    return <vm_state*>td.machine.vm


# Machine stopped: shadow chains, reference counts, resident pages, map entries and pmaps agree.  0, or the number of
# faults found, with the first one described.  quiet: no thread is in the middle of a system call or fault, so counts
# must be exact; else references may be held and pmaps be locked by those that are.
cdef int64_t vm_audit(machine* m, bint quiet, char* why, uint64_t why_size) noexcept nogil
