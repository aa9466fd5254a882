# A kernel comes to be: the one place that knows all layers and the order in which they are made.
#
# What a kernel is made of travels as data: the segments of physical memory and the whole design of the PV list lock.

from libc.stdint cimport uint32_t

from finegrain.kernel.phys cimport VM_PHYSSEG_MAX, vm_phys_seg
from finegrain.kernel.pmap cimport pvlock_design
from finegrain.kernel.vfs cimport vfs_options
from finegrain.kernel.vm cimport vm_options
from finegrain.machine.thread cimport machine, ps_t

# How far up.  Each layer needs all before it.
cdef enum kernel_layers:
    KERNEL_LOCKS = 1
    KERNEL_PHYS
    KERNEL_PMAP
    KERNEL_VM
    KERNEL_VFS
    KERNEL_PROC                         # all of it

cdef struct kernel_config:
    uint32_t nsegs
    vm_phys_seg segs[VM_PHYSSEG_MAX]    # start, end, domain; ascending
    pvlock_design design
    vm_options vm
    vfs_options vfs
    ps_t listing_period                 # between two starts of a list of all processes; 0: nobody lists them
    ps_t map_reading_period             # likewise of a reading of all processes' address maps

# Fill a design in from a finegrain.design.Design.
cdef int pvlock_design_from(pvlock_design* into, object design) except -1
# Fill a config in from Python's: segments (start, end, domain), a finegrain.design.Design and, but for the defaults,
# a finegrain.options.KernelOptions.  Raises ValueError.
cdef int kernel_config_from(kernel_config* config, object segments, object design, object options=*) except -1
# Make the kernel's layers on a fresh machine, up to `layers`; config may be NULL for KERNEL_LOCKS.  Raises ValueError
# for memory that cannot be, MemoryError when the machine's arena has no room.
cdef int kernel_create(machine* m, const kernel_config* config, int layers=*) except -1
