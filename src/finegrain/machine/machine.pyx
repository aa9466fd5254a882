# The seam's one Python object: what every machine is to Python.


cdef class Machine:
    """A machine that kernel code can run on. Made by its subclasses, such as `SimulatedMachine`."""
