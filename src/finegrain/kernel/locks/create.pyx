# The lock layer of a machine comes to be.

from libc.stdint cimport uint32_t

from finegrain.kernel.locks.bit2 cimport bit2_leaving
from finegrain.kernel.locks.delay cimport LOCK_DELAY_MAX_CAP
from finegrain.kernel.locks.profile cimport lock_profile_create
from finegrain.kernel.locks.turnstile cimport turnstiles_create


# Locks in:   none; nothing runs yet.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD init_turnstiles(), init_sleepqueues(), lock_delay_default_init().
cdef int locks_create(machine* m) except -1:
    cdef uint32_t rounded = 1
    while rounded <= m.ncpus:           # lock_roundup_2(): above the number of CPUs
        rounded <<= 1
    m.delay_max = min(rounded * 256, LOCK_DELAY_MAX_CAP)
    m.leaving = bit2_leaving
    turnstiles_create(m)
    return lock_profile_create(m)
