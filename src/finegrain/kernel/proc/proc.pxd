# Processes: fork, vfork, exec, exit, wait.  Locks: "proctree", "allproc", "process lock".
#
# Each process has one thread.  The last process in every tree is its reaper, which gets the children of those that
# end before their children do.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport mtx, sx
from finegrain.kernel.types cimport vm_object, vm_page, vmspace
from finegrain.machine.thread cimport machine, ps_t, thread

cdef enum:
    P_PPWAIT = 1                        # p_flag: the parent waits until this one has an address space of its own
    P_STATCHILD = 2                     # a child has ended since wait() last looked
    PRS_NORMAL = 1                      # p_state
    PRS_ZOMBIE = 2
    WAIT_ANY = -1

# What a process is to run: carried for replay/kernel, which knows what it means.
cdef struct proc_plan:
    int32_t number                      # in the program; what wait() knows the process by
    int32_t live                        # which of the processes alive at the start; -1: forked later
    int64_t step                        # its steps in the program, from here
    int64_t end                         # to here
    ps_t pause                          # before all that, time off the CPU
    ps_t user                           # user time before the first; -1: what that step says

# Keys: c constant; p process lock; t proctree; a allproc; s the process itself
cdef struct proc:
    mtx p_mtx                           # "process lock"; initialised once: the memory of a process stays one
    vmspace* p_vmspace                  # s: NULL: runs no program (a reaper)
    proc* p_pptr                        # t
    proc* p_children                    # t: youngest first
    proc* p_sibling_next                # t
    proc* p_sibling_prev
    proc* p_reaper                      # c
    proc* p_list_next                   # a: all processes
    proc* p_list_prev
    uint32_t p_pid                      # c: counts from 1, in order of creation
    uint32_t p_flag                     # p
    uint8_t p_state                     # p
    int32_t p_builder                   # c
    proc_plan p_plan                    # c

# machine.proc points here.  Counts are statistics.
cdef struct proc_state:
    sx proctree                         # "proctree"
    sx allproc                          # "allproc"
    proc* all                           # a
    uint64_t lock                       # raw: free, processes
    proc* free                          # linked by p_list_next
    uint32_t last_pid                   # a
    int64_t processes                   # alive or zombie
    int64_t forks
    int64_t vforks
    int64_t execs
    int64_t exits
    void* replay                        # replay/kernel's state

cdef int proc_create(machine* m, ps_t listing_period) except -1


cdef inline proc_state* proc_of(thread* td) noexcept nogil:
    return <proc_state*>td.machine.proc


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
