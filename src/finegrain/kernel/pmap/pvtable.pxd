# Where the tables of a PV list lock design lie: which bytes of them have memory behind them, from whose domain, and how
# many of these serve a superpage that exists.  Arithmetic over the memory segments alone, so that what a machine would
# pay can be counted without building it; a run builds what the plan says.

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from finegrain.kernel.phys cimport vm_phys_seg

# The kinds of PV list lock.
cdef enum pvlock_kind:
    PV_LOCK_RW = 0
    PV_LOCK_MTX
    PV_LOCK_MTX8
    PV_LOCK_BIT2                        # in the invalidation generation's word
    PV_LOCK_KINDS

cdef enum pvlock_layout:
    PV_LAYOUT_HASHED = 0
    PV_LAYOUT_SUPERPAGE

# How a superpage's struct is found, and where there are such structs.
cdef enum pvlock_table:
    PV_TABLE_SPARSE = 0                 # an array in reserved address space, with pages where physical memory is
    PV_TABLE_FILLED                     # the same, with the holes between segments filled, as FreeBSD's is
    PV_TABLE_POINTERS                   # an array of pointers to structs that are allocated for each segment

# A design as finegrain.design.Design has it, which says what each field means.
cdef struct pvlock_design:
    uint8_t layout                      # pvlock_layout
    uint8_t kind                        # pvlock_kind
    uint8_t table                       # pvlock_table
    uint32_t locks                      # hashed: this many (a power of two or not)
    uint32_t pad                        # a lock's, or a struct's, size is rounded up to this (0: packed)
    bint batch                          # pmap_remove_pages frees chunks after it dropped the PV list lock

cdef enum pvtable_part:
    PV_PART_POINTERS = 0
    PV_PART_STRUCTS
    PV_PART_LOCKS
    PV_PART_GENERATIONS
    PV_PART_HEADS
    PV_PART_DUMMY

cdef enum:
    PV_ANY_DOMAIN = -1                  # where the kernel's data lies, or memory spread over all domains

# A run of bytes with memory behind them.
cdef struct pvtable_region:
    uint8_t part                        # pvtable_part
    int32_t domain
    uint64_t start                      # offset in the array (structs behind pointers: in all of these)
    uint64_t bytes                      # whole pages, but for arrays that the kernel's image holds
    uint64_t used                       # of these, what serves superpages that hold memory

# All constant once made.
cdef struct pvtable_plan:
    uint64_t superpages                 # from address 0 to the end of the last segment
    uint64_t lock_bytes                 # one lock, padding included; bit2: 0
    uint64_t struct_bytes               # what there is for each superpage: the struct, or the list head where hashed
    uint64_t lock_offset                # in the struct, where locks are not hashed
    uint64_t head_offset
    uint64_t gen_offset
    uint64_t table_bytes                # address space of the array that superpage numbers index
    uint64_t reserved                   # address space of everything
    uint64_t bytes                      # memory of everything
    uint32_t nregions
    pvtable_region* regions             # room for 2 * segments + 4

# Segments are ascending and do not overlap; superpages may belong to several.
cdef void pvtable_plan_make(const pvlock_design* design, const vm_phys_seg* segs, uint32_t nsegs,
                            pvtable_plan* plan) noexcept nogil
