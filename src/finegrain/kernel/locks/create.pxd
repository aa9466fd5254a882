# The lock layer of a machine comes to be.

from finegrain.machine.thread cimport machine

# Turnstile chains, sleep queue chains, back-off limits, and the lock profile.
cdef int locks_create(machine* m) except -1
