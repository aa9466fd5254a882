# What the pages of a superpage hold, for reports.

from operator import index

from libc.stdint cimport uint64_t

from finegrain.kernel.phys cimport deferred_within, phys_state
from finegrain.kernel.types cimport PAGE_SHIFT, PDRSHIFT, vm_object, vm_page
from finegrain.kernel.vm cimport vm_state
from finegrain.machine.machine cimport Machine


def superpage_holds(Machine machine not None, superpage):
    """Count the pages in use of a superpage of a stopped machine by what holds them.

    Keys are ("file", file index, builder), builder -1 for files that all builders share; ("anonymous", -1, -1); and
    ("kernel", -1, -1): page-table pages and pv chunks. Free pages are left out. Raises IndexError beyond the end of
    memory, ValueError for a machine without physical memory.
    """
    cdef phys_state* p
    cdef vm_page* first
    cdef vm_object* obj
    cdef uint64_t number
    cdef int i
    wanted = index(superpage)
    if machine.m == NULL or machine.m.phys == NULL:
        raise ValueError("the machine has no kernel with physical memory")
    p = <phys_state*>machine.m.phys
    if not 0 <= wanted or (wanted + 1) << PDRSHIFT > p.last_pa:
        raise IndexError(f"superpage {wanted:#x} does not lie below the end of memory at {p.last_pa:#x}")
    number = wanted
    first = &p.page_array[number << (PDRSHIFT - PAGE_SHIFT)]
    counts = {}
    for i in range(1 << (PDRSHIFT - PAGE_SHIFT)):
        obj = first[i].object
        if obj != NULL:
            key = ("anonymous", -1, -1) if obj.file < 0 else ("file", obj.file, obj.builder)
        elif first[i].ref_count != 0:
            key = ("kernel", -1, -1)
        else:
            continue
        counts[key] = counts.get(key, 0) + 1
    obj = (<vm_state*>machine.m.vm).all_objects if machine.m.vm != NULL else NULL
    while obj != NULL:
        deferred = deferred_within(obj, first, first + (1 << (PDRSHIFT - PAGE_SHIFT)))
        if deferred:
            key = ("file", obj.file, obj.builder)
            counts[key] = counts.get(key, 0) + deferred
        obj = obj.all_next
    return counts
