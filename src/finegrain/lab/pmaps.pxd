# Pmaps from Python: see pmaps.pyx.

from libc.stdint cimport uint32_t, uint64_t

from finegrain.kernel.phys cimport phys_state
from finegrain.kernel.pmap cimport pvlock_state
from finegrain.kernel.types cimport md_page, pmap, pt_entry_t, vm_object
from finegrain.lab.run cimport Lab, lab_world

cdef enum:
    MAX_PMAPS = 1024
    MAX_OBJECTS = 1024
    SLOT_OBJECT = 0
    SLOT_PAGE = 1
    SLOT_PMAP = 2

cdef struct pmaps_world:
    lab_world lab                       # first
    pmap pmaps[MAX_PMAPS]               # pm_pml4 NULL: not made
    vm_object objects[MAX_OBJECTS]
    uint32_t nobjects

cdef class Pmaps(Lab):
    cdef pmaps_world* w
    cdef phys_state* s
    cdef pvlock_state* locks
    cdef pmap* pmap_of(self, object number) except NULL
    cdef uint64_t page_of(self, object pa) except? 0
    cdef uint64_t address(self, object pa) except? 0
    cdef dict walk(self, pt_entry_t* table, uint64_t va, int shift, dict out)
    cdef list entries(self, md_page* md)
    cdef str name(self, int n)
