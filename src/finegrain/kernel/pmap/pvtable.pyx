# Plans of the PV list lock's tables.  See pvtable.pxd.
#
# hashed      An array of locks, an array of generations, 8 bytes each, both in the kernel's image; and the superpage PV
#             list heads, 24 bytes each, in one allocation: one for each 2 MB from address 0 to the end of memory, holes
#             included.
#
# superpage   A struct for each 2 MB that holds memory: lock, list head, invalidation generation.  Structs lie packed,
#             or rounded up to `pad`; packed ones of 40 bytes straddle lines and pages.
#
#   sparse    Struct i lies at i times the struct's size.  A page of the table has memory behind it if any byte of it
#             belongs to a superpage that holds memory; a page that several segments need belongs to the first one, and
#             to its domain:
#
#                 physical   |#### seg 0 ####|......hole......|######## seg 1 ########|
#                 table      |-- domain 0 ------|             |-- domain 1 --------------|
#
#   filled    The same array, as FreeBSD fills it: a segment's run starts where the run before it ended, so that a hole
#             before the segment is filled from the segment's domain, and it ends on a page of the table past the
#             segment's end.  A segment covered entirely by an earlier run gets none of its own:
#
#                 table      |-- domain 0 ------|--------------- domain 1 ---------------|
#
#   pointers  An array of pointers, one for each 2 MB from address 0 to the end of memory, and for each segment an
#             allocation, in whole pages of its domain, of the structs that no segment before it has.
#
# A superpage that two segments share has one struct, the earlier one's.

from libc.string cimport memset

from finegrain.kernel.types cimport PAGE_SIZE, PDRSHIFT

cdef enum:
    # sizeof(): rwlock and mtx; the 8-byte mutex; md_page; the generation
    LOCK_SIZE = 32
    MTX8_SIZE = 8
    HEAD_SIZE = 24
    GEN_SIZE = 8
    POINTER_SIZE = 8


cdef inline uint64_t round_up(uint64_t bytes, uint64_t unit) noexcept nogil:
    return (bytes + unit - 1) // unit * unit if unit != 0 else bytes


cdef pvtable_region* add(pvtable_plan* plan, pvtable_part part, int32_t domain, uint64_t start, uint64_t bytes,
                         uint64_t used) noexcept nogil:
    cdef pvtable_region* r = &plan.regions[plan.nregions]
    plan.nregions += 1
    r.part = <uint8_t>part
    r.domain = domain
    r.start = start
    r.bytes = bytes
    r.used = used
    plan.bytes += bytes
    return r


# Superpages of a segment that belong to it and to none before: from first up to, not including, the answer.
cdef inline uint64_t own(const vm_phys_seg* seg, uint64_t* first) noexcept nogil:
    first[0] = max(first[0], seg.start >> PDRSHIFT)
    return ((seg.end - 1) >> PDRSHIFT) + 1


cdef void plan_hashed(const pvlock_design* design, const vm_phys_seg* segs, uint32_t nsegs,
                      pvtable_plan* plan) noexcept nogil:
    cdef uint64_t next_ = 0, end, with_memory = 0
    cdef uint32_t i
    plan.struct_bytes = HEAD_SIZE
    for i in range(nsegs):
        end = own(&segs[i], &next_)
        if end > next_:
            with_memory += end - next_
            next_ = end
    plan.table_bytes = round_up(plan.superpages * HEAD_SIZE, PAGE_SIZE)
    add(plan, PV_PART_LOCKS, PV_ANY_DOMAIN, 0, design.locks * plan.lock_bytes, design.locks * plan.lock_bytes)
    add(plan, PV_PART_GENERATIONS, PV_ANY_DOMAIN, 0, design.locks * GEN_SIZE, design.locks * GEN_SIZE)
    add(plan, PV_PART_HEADS, PV_ANY_DOMAIN, 0, plan.table_bytes, with_memory * HEAD_SIZE)
    add(plan, PV_PART_DUMMY, PV_ANY_DOMAIN, 0, HEAD_SIZE, HEAD_SIZE)
    plan.reserved = plan.bytes


cdef void plan_pointers(const vm_phys_seg* segs, uint32_t nsegs, pvtable_plan* plan) noexcept nogil:
    cdef uint64_t next_ = 0, end, with_memory = 0, structs = 0, bytes
    cdef uint32_t i
    cdef pvtable_region* pointers
    plan.table_bytes = round_up(plan.superpages * POINTER_SIZE, PAGE_SIZE)
    pointers = add(plan, PV_PART_POINTERS, PV_ANY_DOMAIN, 0, plan.table_bytes, 0)
    for i in range(nsegs):
        end = own(&segs[i], &next_)
        if end <= next_:
            continue
        bytes = round_up((end - next_) * plan.struct_bytes, PAGE_SIZE)
        add(plan, PV_PART_STRUCTS, <int32_t>segs[i].domain, structs, bytes, (end - next_) * plan.struct_bytes)
        structs += bytes
        with_memory += end - next_
        next_ = end
    pointers.used = with_memory * POINTER_SIZE
    add(plan, PV_PART_DUMMY, PV_ANY_DOMAIN, 0, plan.struct_bytes, plan.struct_bytes)
    plan.reserved = plan.bytes


cdef void plan_array(const pvlock_design* design, const vm_phys_seg* segs, uint32_t nsegs,
                     pvtable_plan* plan) noexcept nogil:
    cdef uint64_t size = plan.struct_bytes
    cdef uint64_t next_ = 0, end        # superpages
    cdef uint64_t first_byte, last_byte, start, stop
    cdef uint64_t backed = 0            # the table's pages are decided on up to this byte
    cdef uint32_t i
    cdef pvtable_region* last = NULL
    plan.table_bytes = round_up(plan.superpages * size, PAGE_SIZE)
    for i in range(nsegs):
        end = own(&segs[i], &next_)
        first_byte = next_ * size
        last_byte = end * size
        if design.table == PV_TABLE_FILLED:
            # The superpage that the end lies in is taken in, even if the end is the first byte of it.
            start = backed
            stop = round_up(((segs[i].end >> PDRSHIFT) + 1) * size, PAGE_SIZE)
            if backed // size > segs[i].end >> PDRSHIFT:
                stop = start
        else:
            start = max(backed, first_byte // PAGE_SIZE * PAGE_SIZE)
            stop = round_up(last_byte, PAGE_SIZE)
        # The first struct's bytes may begin in a page that an earlier segment has brought.
        if end > next_ and last != NULL and first_byte < backed:
            last.used += min(last_byte, backed) - first_byte
            first_byte = min(last_byte, backed)
        if stop > start:
            if last != NULL and start == last.start + last.bytes and last.domain == <int32_t>segs[i].domain:
                last.bytes += stop - start
                plan.bytes += stop - start
            else:
                last = add(plan, PV_PART_STRUCTS, <int32_t>segs[i].domain, start, stop - start, 0)
            backed = stop
        if end > next_:
            last.used += last_byte - first_byte
            next_ = end
    add(plan, PV_PART_DUMMY, PV_ANY_DOMAIN, 0, size, size)
    plan.reserved = max(plan.table_bytes, backed) + size


# The arithmetic of FreeBSD pmap_init_pv_table().
cdef void pvtable_plan_make(const pvlock_design* design, const vm_phys_seg* segs, uint32_t nsegs,
                            pvtable_plan* plan) noexcept nogil:
    cdef pvtable_region* regions = plan.regions
    memset(plan, 0, sizeof(pvtable_plan))
    plan.regions = regions
    plan.superpages = ((segs[nsegs - 1].end - 1) >> PDRSHIFT) + 1
    if design.kind == PV_LOCK_MTX8:
        plan.lock_bytes = MTX8_SIZE
    elif design.kind != PV_LOCK_BIT2:
        plan.lock_bytes = LOCK_SIZE
    if design.layout == PV_LAYOUT_HASHED:
        plan.lock_bytes = round_up(plan.lock_bytes, design.pad)
        plan_hashed(design, segs, nsegs, plan)
        return
    plan.head_offset = plan.lock_bytes
    plan.gen_offset = plan.head_offset + HEAD_SIZE
    if design.kind == PV_LOCK_BIT2:
        plan.lock_offset = plan.gen_offset
    plan.struct_bytes = round_up(plan.gen_offset + GEN_SIZE, design.pad)
    if design.table == PV_TABLE_POINTERS:
        plan_pointers(segs, nsegs, plan)
    else:
        plan_array(design, segs, nsegs, plan)
