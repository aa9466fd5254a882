# Address spaces from Python: see spaces.pyx.

from libc.stdint cimport int64_t, uint32_t

from finegrain.kernel.types cimport vm_object, vmspace
from finegrain.lab.run cimport Lab, lab_world

cdef enum:
    MAX_SPACES = 1024
    MAX_FILES = 256
    SLOT_SPACE = 0
    SLOT_FILES = 1                      # all of them as one: entry 0

cdef struct spaces_world:
    lab_world lab                       # first
    vmspace* spaces[MAX_SPACES]         # NULL: an empty place
    vm_object* files[MAX_FILES]         # NULL: not filled
    int64_t sizes[MAX_FILES]            # in pages
    uint32_t nfiles
    uint32_t* contents                  # by page of memory

cdef class AddressSpaces(Lab):
    cdef spaces_world* w
    cdef int64_t pages_before
    cdef vmspace* space_of(self, object number) except NULL
