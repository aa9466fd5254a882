# Processes: fork, vfork, exec, exit, wait.  Locks: "proctree", "allproc", "process lock", "pidhash", "procid",
# "sigacts".
#
# A process begins with one thread (see threads.pxd for more).  The last process in every tree is its reaper, which
# gets the children of those that end before their children do.

from libc.stdint cimport int32_t

from finegrain.kernel.proc.types cimport proc, proc_plan
from finegrain.kernel.types cimport vm_object, vm_page, vmspace
from finegrain.machine.thread cimport machine, ps_t, thread

cdef enum:
    WAIT_ANY = -1

cdef int proc_create(machine* m, ps_t listing_period, ps_t map_reading_period) except -1

# A process that no other has made, with no address space, for the thread that will run it: a reaper.
cdef proc* proc_reaper(machine* m, int32_t builder) noexcept nogil
# A child of p1, which will run start() on a thread of its own.  vms: its address space, whose reference it takes.
# vfork: p1 sleeps until the child has another one.  none; takes allproc X, proctree X, process locks.
cdef proc* proc_fork(thread* td, proc* p1, vmspace* vms, bint vfork, const proc_plan* plan,
                     void (*start)(thread* td, void* p2) noexcept nogil) noexcept nogil
# The two halves of execve: the old program goes; (the segments of the new one are mapped;) the parent of a vfork is
# let go.  none; take object W, pmap, PV list, map X; process lock.
cdef vm_page* proc_exec_begin(thread* td, proc* p, vm_object* program) noexcept nogil    # its first page, wired
cdef void proc_exec_end(thread* td, proc* p, vm_page* first_page) noexcept nogil
# The process ends; the thread must end too, without looking at it again.  none; takes all of the above.
cdef void proc_exit(thread* td, proc* p) noexcept nogil
# Wait for the child with that number, or WAIT_ANY.  Its number, or -1 at once when there is no such child.  Sleeps.
cdef int32_t proc_wait(thread* td, proc* p, int32_t number) noexcept nogil
