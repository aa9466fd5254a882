# Process groups and sessions.  Locks: "process group", "session".

from finegrain.kernel.proc.types cimport pgrp, proc
from finegrain.machine.thread cimport machine, thread

# A group and a session of its own for a process that no other has made.  The machine is not running yet.
cdef void pgrp_first(machine* m, proc* p) noexcept nogil
# The process becomes a member of a group, next to `beside`, which is one.  Proctree X, the group's mutex.
cdef void pgrp_join(thread* td, proc* p, proc* beside) noexcept nogil
# ... and of none; the last one ends the group.  Proctree X; takes the group's mutex, the process lock.
cdef void leavepgrp(thread* td, proc* p) noexcept nogil
# The system calls.  Groups are known by the number of their first leader in the builder's program.  False: refused.
# setpgid: the process `number`, p or a child of p; leader == number: a new group.  None held; take proctree X, the
# groups' mutexes, process locks.
cdef bint sys_setpgid(thread* td, proc* p, int number, int leader) noexcept nogil
cdef bint sys_setsid(thread* td, proc* p) noexcept nogil
# A signal to all members; leader: the number of the group's first leader, or p's own for p's own group.  None held;
# takes proctree S, the group's mutex, process locks, "sigacts".
cdef bint killpg(thread* td, proc* p, int leader) noexcept nogil
