# Lock scripts from Python: see locks.pyx.

from libc.stdint cimport int64_t, uint32_t

from finegrain.lab.run cimport Lab, lab_call, lab_world
from finegrain.machine.thread cimport lock_id, thread

cdef enum:
    CHANNELS = 64                       # to sleep on

cdef enum:
    KIND_MTX = 0
    KIND_RW
    KIND_SX
    KIND_SPIN
    KIND_MTX8
    KIND_BIT2
    KIND_LOCKMGR
    LOCK_KINDS

cdef struct script_lock:
    char* lock
    lock_id id                          # of those that do not have it beside the word
    int kind
    int inside                          # holders by the lab's own count; -1: one exclusive

cdef struct locks_world:
    lab_world lab                       # first
    script_lock* locks
    uint32_t nlocks
    char* lines                         # CHANNELS cache lines, to sleep on

cdef class LockScripts(Lab):
    cdef locks_world* w

cdef script_lock* lock_at(lab_call* c, int i) noexcept nogil
cdef void release(thread* td, script_lock* at, bint shared) noexcept nogil
