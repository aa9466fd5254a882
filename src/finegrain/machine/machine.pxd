# Python's handle on a machine.

from finegrain.machine.seam cimport machine

# The machines are its subclasses.
cdef class Machine:
    cdef machine* m
