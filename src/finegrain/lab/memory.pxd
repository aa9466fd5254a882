# Physical memory from Python: see memory.pyx.

from libc.stdint cimport int64_t, uint32_t

from finegrain.kernel.phys cimport phys_state
from finegrain.kernel.types cimport vm_object, vm_page
from finegrain.lab.run cimport Lab, Operations, lab_call, lab_world
from finegrain.machine.thread cimport thread

cdef enum:
    MAX_OBJECTS = 4096
    SLOT_OBJECT = 0
    SLOT_PAGE = 1

cdef struct memory_world:
    lab_world lab                       # first
    vm_object* objects[MAX_OBJECTS]
    uint32_t nobjects

cdef class PhysicalMemory(Lab):
    cdef memory_world* w
    cdef phys_state* s
    cdef vm_object* object_of(self, object number) except NULL
    cdef int domain_of(self, object number) except -1

# Operations that take time and nothing else, for every lab.
cdef int add_times(Operations table) except -1
# The value of an argument that is a page's address in these segments.
cdef object page_address(phys_state* s, str what, object given)
# Free all pages of an object as its termination does, then its reservations and its index.  Object W.
cdef void terminate(thread* td, vm_object* obj) noexcept nogil
cdef int64_t op_alloc(thread* td, lab_call* c) noexcept nogil
