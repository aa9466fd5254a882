# Python's handle on a machine.

from finegrain.machine.thread cimport machine

# The machines are its subclasses.
cdef class Machine:
    cdef machine* m
