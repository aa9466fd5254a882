# A kernel comes to be.  See boot.pxd.

from libc.string cimport memset

from finegrain.kernel.locks cimport locks_create
from finegrain.kernel.phys cimport phys_create
from finegrain.kernel.pmap cimport (
    PV_LAYOUT_HASHED, PV_LAYOUT_SUPERPAGE, PV_LOCK_BIT2, PV_LOCK_MTX, PV_LOCK_MTX8, PV_LOCK_RW, PV_TABLE_FILLED,
    PV_TABLE_POINTERS, PV_TABLE_SPARSE, pmap_create)
from finegrain.kernel.proc cimport proc_create
from finegrain.kernel.vfs cimport vfs_create
from finegrain.kernel.vm cimport kmap_create, vm_create

from finegrain.options import KernelOptions

PS_PER_S = 10**12

# finegrain.design's words
LAYOUTS = {"hashed": PV_LAYOUT_HASHED, "superpage": PV_LAYOUT_SUPERPAGE}
KINDS = {"rw": PV_LOCK_RW, "mtx": PV_LOCK_MTX, "mtx8": PV_LOCK_MTX8, "bit2": PV_LOCK_BIT2}
TABLES = {"sparse": PV_TABLE_SPARSE, "filled": PV_TABLE_FILLED, "pointers": PV_TABLE_POINTERS}


cdef int pvlock_design_from(pvlock_design* into, object design) except -1:
    into.kind = KINDS[design.lock]
    into.layout = LAYOUTS[design.layout]
    into.table = TABLES[design.table]
    into.locks = design.locks
    into.pad = design.pad
    into.batch = design.batch
    return 0


cdef int kernel_config_from(kernel_config* config, object segments, object design, object options=None) except -1:
    cdef vm_phys_seg* seg
    memset(config, 0, sizeof(kernel_config))
    if len(segments) > VM_PHYSSEG_MAX:
        raise ValueError(f"{len(segments)} memory segments; at most {<int>VM_PHYSSEG_MAX} are possible")
    for start, end, domain in segments:
        seg = &config.segs[config.nsegs]
        seg.start = start
        seg.end = end
        seg.domain = domain
        config.nsegs += 1
    pvlock_design_from(&config.design, design)
    if options is None:
        options = KernelOptions()
    config.vm.cow_unlocked = options.cow == "unlocked"
    config.vm.active_scan_period = round(options.active_scan_s * PS_PER_S)
    config.vfs.pfs_nodes = options.pfs_nodes
    config.map_reading_period = round(PS_PER_S / options.map_readings_per_s) if options.map_readings_per_s else 0
    config.listing_period = round(PS_PER_S / options.listings_per_s) if options.listings_per_s else 0
    return 0


# Locks in:   none; nothing runs yet.
# Locks out:  none.
# May block:  never.
# Stands for: the SYSINIT order of FreeBSD's mi_startup(): locks, physical memory, pmap, VM, pipes and
#             files, processes.
cdef int kernel_create(machine* m, const kernel_config* config, int layers=KERNEL_PROC) except -1:
    locks_create(m)
    if layers >= KERNEL_PHYS:
        phys_create(m, config.segs, config.nsegs)
    if layers >= KERNEL_PMAP:
        pmap_create(m, &config.design)
    if layers >= KERNEL_VM:
        vm_create(m, &config.vm)
        kmap_create(m)
    if layers >= KERNEL_VFS:
        vfs_create(m, &config.vfs)
    if layers >= KERNEL_PROC:
        proc_create(m, config.listing_period, config.map_reading_period)
    return 0
