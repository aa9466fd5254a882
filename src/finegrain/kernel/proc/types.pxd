# Processes, process groups and sessions: the structs, and who may look at them.
#
# What FreeBSD keeps in one struct is here in one, in the order of its sys/proc.h as we remember it [A]: the order
# decides which fields share a cache line with which lock.  Fields of no consequence here are gaps of their size.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from finegrain.kernel.list cimport list_insert_after, list_remove, list_touch_insert_after, list_touch_remove
from finegrain.kernel.locks cimport mtx, mtx_assert_owned, sx, sx_assert_locked, sx_assert_xlocked
from finegrain.kernel.types cimport vmspace
from finegrain.kernel.vfs cimport filedesc
from finegrain.machine.thread cimport machine, ps_t, thread

cdef enum:
    P_PPWAIT = 1                        # p_flag: the parent waits until this one has an address space of its own
    P_STATCHILD = 2                     # a child has ended since wait() last looked
    PRS_NORMAL = 1                      # p_state
    PRS_ZOMBIE = 2
    # Buckets of pids and of groups: maxproc / 4, rounded down to a power of two; maxproc is PID_MAX on a machine of
    # 512 GB (kern_proc.c procinit(), subr_param.c) [D].
    PID_HASH = 16384
    PID_HASH_LOCKS = 256                # PID_HASH / 64 (kern_proc.c procinit()) (M)
    PID_MAX = 99999                     # FreeBSD sys/proc.h

cdef struct proc
cdef struct pgrp

# What a process is to run: carried for replay/kernel, which knows what it means.
cdef struct proc_plan:
    int32_t number                      # in the program; what wait() knows the process by
    int32_t live                        # which of the processes alive at the start; -1: forked later
    int64_t step                        # its steps in the program, from here
    int64_t end                         # to here
    ps_t pause                          # before all that, time off the CPU
    ps_t user                           # user time before the first; -1: what that step says

# Signal state, a struct of its own.
cdef struct sigacts:
    uint64_t ps_flag                    # ps_mtx
    mtx ps_mtx                          # "sigacts"

cdef struct session:
    uint64_t s_count                    # s_mtx
    proc* s_leader                      # t, s_mtx
    uint64_t s_tty[4]
    mtx s_mtx                           # "session"

# Keys: c constant; t proctree; g the group's mutex
cdef struct pgrp:
    pgrp* pg_hash_next                  # t: groups of the same bucket; free ones
    pgrp* pg_hash_prev
    proc* pg_members                    # t, g
    session* pg_session                 # c
    uint64_t pg_sigiolst
    uint32_t pg_id                      # c: pid of its first leader
    uint32_t pg_jobc                    # g
    mtx pg_mtx                          # "process group"; initialised once: the memory of a group stays one
    int32_t pg_builder                  # c
    int32_t pg_number                   # c: the leader's number in the program

# Keys: c constant; p process lock; t proctree; a allproc; g the group's mutex; h "pidhash"; s the process itself
cdef struct proc:
    proc* p_list_next                   # a: all processes
    proc* p_list_prev
    thread* p_thread                    # p: its first thread; NULL: none yet
    uint32_t p_numthreads               # p
    uint32_t p_numthreads_pad
    uint64_t p_slock[4]                 # the rest of the list of threads, the spin lock
    uint64_t p_ucred[13]                # 64: credentials, descriptors, statistics, limits and their callout
    sigacts* p_sigacts                  # 168 c
    uint32_t p_flag                     # p
    uint32_t p_flag2
    uint32_t p_state                    # p
    uint32_t p_pid                      # c: counts from 1, in order of creation
    proc* p_hash_next                   # 192 h: processes of the same bucket
    proc* p_hash_prev
    proc* p_pglist_next                 # t, g: members of the group
    proc* p_pglist_prev
    proc* p_pptr                        # t, p
    proc* p_sibling_next                # t
    proc* p_sibling_prev
    proc* p_children                    # t: youngest first
    proc* p_reaper                      # 256 t
    proc* p_reaplist                    # t: descendants, if it is a reaper
    proc* p_reapsibling_next            # t
    proc* p_reapsibling_prev
    mtx p_mtx                           # 288 "process lock"; initialised once: the memory of a process stays one
    uint64_t p_statmtx[12]              # three more mutexes
    uint64_t p_ksi                      # 416: the signal that tells the parent
    uint64_t p_sigqueue[9]              # p
    proc* p_orphans                     # t: always NULL: nobody traces
    vmspace* p_vmspace                  # s, changed with p held: NULL: runs no program (a reaper)
    uint64_t p_klist[4]                 # p
    pgrp* p_pgrp                        # t, p
    uint64_t p_psstrings                # s: top page of the stack, where the arguments are; 0: no program yet
    filedesc p_fd                       # s: the descriptors, a struct of their own in FreeBSD
    int32_t p_builder                   # c
    proc_plan p_plan                    # c
    void* p_threads                     # s: replay/kernel's: how far its threads have come; NULL: it has one

# machine.proc points here.  Counts are statistics.
cdef struct proc_state:
    sx proctree                         # "proctree"
    uint64_t to_a_line[4]               # FreeBSD's are in the same section of its kernel, by chance together or not [A]
    sx allproc                          # "allproc"
    proc* all                           # a
    uint32_t last_pid                   # the identifiers' mutex
    mtx procid                          # "procid"
    uint64_t* pidmap                    # the identifiers' mutex: a set bit is in use
    sx* pidhash_locks                   # [PID_HASH_LOCKS] "pidhash"
    proc** pidhash                      # [PID_HASH] h
    pgrp** pgrphash                     # [PID_HASH] t
    ps_t listing_period                 # c: between two starts of a list of all processes; 0: nobody lists them
    uint64_t lock                       # raw: free, processes, free groups
    proc* free                          # linked by p_list_next
    pgrp* free_groups                   # linked by pg_hash_next
    int64_t processes                   # alive or zombie
    int64_t groups
    int64_t forks
    int64_t vforks
    int64_t execs
    int64_t exits
    ps_t map_reading_period             # c: between two starts of a reading of all address maps; 0: nobody reads them
    int64_t map_readings                # of one address map
    int64_t listings                    # lists of all processes that were finished
    void* replay                        # replay/kernel's state


cdef inline proc_state* proc_of(thread* td) noexcept nogil:
    return <proc_state*>td.machine.proc


cdef inline sx* PIDHASHLOCK(proc_state* st, uint32_t pid) noexcept nogil:
    return &st.pidhash_locks[pid & (PID_HASH_LOCKS - 1)]


cdef inline proc** PIDHASH(proc_state* st, uint32_t pid) noexcept nogil:
    return &st.pidhash[pid & (PID_HASH - 1)]


# Locks in: the allproc lock, exclusively.  Locks out: the same.  May block: never.
# Stands for: FreeBSD sx_assert(&allproc_lock, SX_XLOCKED).
cdef inline void ALLPROC_ASSERT_XLOCKED(thread* td) noexcept nogil:
    sx_assert_xlocked(td, &proc_of(td).allproc, b"allproc is not locked exclusively")


# Locks in: the proctree lock, exclusively.  Locks out: the same.  May block: never.
# Stands for: FreeBSD sx_assert(&proctree_lock, SX_XLOCKED).
cdef inline void PROCTREE_ASSERT_XLOCKED(thread* td) noexcept nogil:
    sx_assert_xlocked(td, &proc_of(td).proctree, b"proctree is not locked exclusively")


# Locks in: the proctree lock.  Locks out: the same.  May block: never.
# Stands for: FreeBSD sx_assert(&proctree_lock, SX_LOCKED).
cdef inline void PROCTREE_ASSERT_LOCKED(thread* td) noexcept nogil:
    sx_assert_locked(td, &proc_of(td).proctree, b"proctree is not locked")


# Locks in: the process lock of p.  Locks out: the same.  May block: never.
# Stands for: FreeBSD PROC_LOCK_ASSERT(p, MA_OWNED).
cdef inline void PROC_LOCK_ASSERT(thread* td, proc* p) noexcept nogil:
    mtx_assert_owned(td, &p.p_mtx, b"the process is not locked")


# Put elem behind `where` (NULL: in front) on a list whose elements' lines other CPUs have: its own line and its
# neighbours' are written.  td NULL: the machine is not running yet.
cdef inline void linked_insert(thread* td, void** first, void* where, void* elem, void** next,
                               void** prev) noexcept nogil:
    if td != NULL:
        list_touch_insert_after(td, first, where, elem, next, prev)
    list_insert_after(first, NULL, where, elem, next, prev)


# Take elem off such a list.
cdef inline void linked_remove(thread* td, void** first, void* elem, void** next, void** prev) noexcept nogil:
    list_touch_remove(td, first, elem, next, prev)
    list_remove(first, NULL, elem, next, prev)
