# The VM: objects, address-space maps, faults, address spaces.  Locks: "vm map (user)", "vm object", and those of phys
# and pmap below.
#
# "The pmap's locks", in contracts here, are all that the pmap's operations block on: pmap locks, PV list locks, the
# chunk list mutex and the free page locks (see phys).  They wait for DI blocks and for the other CPUs' acknowledgements
# too, but never sleep, unless it is said.
#
#   object    files and anonymous memory, shadow chains
#   map       entries and the system calls that change them
#   fault     page faults
#   vmspace   address spaces: fork, exec, exit
#   pageout   the page daemon
#   kmap      the kernel's map of pipe buffers: pageable kernel memory
#   state     what the layer counts, and its audit

from finegrain.kernel.vm.fault cimport vm_fault
from finegrain.kernel.vm.kmap cimport kernel_access, kmap_create, pipe_map_find, pipe_map_remove, pipe_map_size
from finegrain.kernel.vm.map cimport (
    PREMAP_FULL, PREMAP_NONE, PREMAP_PARTIAL, map_request, vm_map_brk, vm_map_export, vm_map_mmap, vm_map_mprotect,
    vm_map_munmap)
from finegrain.kernel.vm.object cimport (
    OBJ_TMPFS_NODE, vm_object_allocate, vm_object_deallocate, vm_object_page_remove)
from finegrain.kernel.vm.pageout cimport vm_pageout_start
from finegrain.kernel.vm.state cimport (
    FAULT_BACKING, FAULT_BAD, FAULT_COPY, FAULT_FAST, FAULT_KINDS, FAULT_MOVE, FAULT_RESIDENT, FAULT_SUPERPAGE,
    FAULT_ZERO, vm_audit, vm_create, vm_of, vm_options, vm_state)
from finegrain.kernel.vm.vmspace cimport (
    vmspace_acquire_ref, vmspace_alloc, vmspace_exec, vmspace_exit, vmspace_fork, vmspace_free, vmspace_ref)
