# Processes.
#
# The tree of processes and the list of all of them are each under one sx lock for the whole machine, and everything
# that makes, ends or reaps a process takes them exclusively:
#
#   fork    copy the address space first, with neither; then allproc X to get a place in the list, then proctree X to
#           get one in the tree
#   exit    give the address space up first, with neither; then allproc X to leave the list, then proctree X to hand
#           children on and signal the parent, which is woken after that
#   wait    proctree X to look at each child, and to take a dead one out of the tree; also when there is none yet
#
# so the length of these critical sections, and not of the work around them, is what a build of many short processes
# waits for.  What they find under them are lines of other processes: each was last written by the CPU on which that
# process ran.  A process lock protects a process's flags and state, and is what a parent sleeps with in wait().
#
# Order of locks: allproc; proctree; "pidhash"; process group; process lock of a child, then of its parent; "sigacts",
# "session".

from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport (
    LO_DUPOK, lock_name, lock_site, msleep, mtx_init, mtx_lock, mtx_unlock, rw_wlock, rw_wunlock, sx, sx_init, sx_xlock,
    sx_xunlock, wakeup)
from finegrain.kernel.phys cimport vm_page_lookup, vm_page_unwire, vm_page_wire
from finegrain.kernel.proc.pgrp cimport leavepgrp, pgrp_first, pgrp_join
from finegrain.kernel.proc.types cimport (
    ALLPROC_ASSERT_XLOCKED, PIDHASH, PIDHASHLOCK, PID_HASH, PID_HASH_LOCKS, PID_MAX, PROCTREE_ASSERT_XLOCKED,
    PROC_LOCK_ASSERT, PRS_NORMAL, PRS_ZOMBIE, P_PPWAIT, P_STATCHILD, linked_insert, linked_remove, pgrp, proc_of,
    proc_state, sigacts)
from finegrain.kernel.types cimport vm_object, vm_page, vmspace
from finegrain.kernel.vfs cimport fdcopy, fdescfree, pfs_exit
from finegrain.kernel.vm cimport vmspace_exec, vmspace_exit
from finegrain.machine.seam cimport (
    arena_alloc, charge, leave_run_time, raw_lock, raw_unlock, spawn, touch_read, touch_write)
from finegrain.machine.thread cimport machine, ps_t, thread

cdef uint16_t NAME_PROC = lock_name(b"sleep mutex", b"process lock")
cdef uint16_t NAME_TREE = lock_name(b"sx", b"proctree")
cdef uint16_t NAME_ALL = lock_name(b"sx", b"allproc")
cdef uint16_t NAME_HASH = lock_name(b"sx", b"pidhash")
cdef uint16_t NAME_PROCID = lock_name(b"sleep mutex", b"procid")
cdef uint16_t NAME_SIGACTS = lock_name(b"sleep mutex", b"sigacts")
cdef uint16_t SITE_FORK = lock_site(b"fork1")
cdef uint16_t SITE_VFORK = lock_site(b"fork1/vfork")
cdef uint16_t SITE_PROCID = lock_site(b"fork_findpid")
cdef uint16_t SITE_PROCID_CLEAR = lock_site(b"proc_id_clear")
cdef uint16_t SITE_EXEC = lock_site(b"do_execve")
cdef uint16_t SITE_FIRST_PAGE = lock_site(b"exec_map_first_page")
cdef uint16_t SITE_UNMAP_FIRST = lock_site(b"exec_unmap_first_page")
cdef uint16_t SITE_EXIT = lock_site(b"exit1")
cdef uint16_t SITE_REPARENT = lock_site(b"exit1/child")
cdef uint16_t SITE_SIGNAL = lock_site(b"childproc_exited")
cdef uint16_t SITE_WAIT = lock_site(b"kern_wait6")
cdef uint16_t SITE_CHILD = lock_site(b"proc_to_reap")
cdef uint16_t SITE_REAP = lock_site(b"proc_reap")

# Work in units of cost.op, beyond the VM's and the cache lines: our estimates [A] of what the calls cost on an idle
# machine.
cdef enum:
    OPS_FORK = 9000                     # about 3 us: structures, descriptors, credentials, the new thread's stack
    OPS_FORK_ALL = 150                  # under allproc: the count of processes
    OPS_COPY = 100                      # under the process locks: p_startcopy to p_endcopy, some 700 bytes
    OPS_LINK = 10                       # on a list or off it
    OPS_EXEC = 24000                    # about 9 us: path, header, argument strings, descriptors to close
    OPS_EXIT = 9000                     # about 3 us: descriptors, timers, accounting
    OPS_CHILD = 20                      # look at one child: may it be waited for, has it ended
    OPS_UMA = 60                        # get a small struct from a per-CPU cache
    OPS_SIGNAL = 80                     # post a signal: is it ignored, which thread takes it
    OPS_REAP = 1500                     # after proctree: accounting, credentials, the structs


cdef int proc_create(machine* m, ps_t listing_period, ps_t map_reading_period) except -1:
    cdef proc_state* st = <proc_state*>arena_alloc(m, sizeof(proc_state))
    cdef uint32_t i
    if st == NULL:
        raise MemoryError("no room for the process table")
    sx_init(&st.proctree, NAME_TREE, 0)
    sx_init(&st.allproc, NAME_ALL, 0)
    mtx_init(&st.procid, NAME_PROCID, 0)
    st.pidmap = <uint64_t*>arena_alloc(m, (PID_MAX // 64 + 1) * sizeof(uint64_t))
    st.pidhash = <proc**>arena_alloc(m, PID_HASH * sizeof(proc*))
    st.pgrphash = <pgrp**>arena_alloc(m, PID_HASH * sizeof(pgrp*))
    st.pidhash_locks = <sx*>arena_alloc(m, PID_HASH_LOCKS * sizeof(sx))
    if st.pidmap == NULL or st.pidhash == NULL or st.pgrphash == NULL or st.pidhash_locks == NULL:
        raise MemoryError("no room for the process table")
    for i in range(PID_HASH_LOCKS):
        sx_init(&st.pidhash_locks[i], NAME_HASH, 0)
    st.listing_period = listing_period
    st.map_reading_period = map_reading_period
    m.proc = st
    return 0


# --- the structs

# The bit of a pid in the map of those in use.  Ours never wrap, so that bits are used again in turn.
cdef inline uint64_t* pid_word(proc_state* st, uint32_t pid) noexcept nogil:
    return &st.pidmap[pid % PID_MAX >> 6]


# Memory for a process: that of an earlier one, whose lock a late unlocker may still look at, or new.
#
# Locks in:   the allproc lock, exclusively; or the machine is not running yet, and td is NULL.
# Locks out:  the same.
# May block:  on "procid"; sleeps on "pidhash".
# Returns:    the process, on the list of all and in the hash table.
# Stands for: FreeBSD's uma_zalloc(proc_zone), fork_findpid() and the LIST_INSERT_HEAD() on allproc and PIDHASH() in
#             do_fork().
cdef proc* proc_allocate(machine* m, thread* td) noexcept nogil:
    cdef proc_state* st = <proc_state*>m.proc
    cdef proc* p
    if td != NULL:
        ALLPROC_ASSERT_XLOCKED(td)
        raw_lock(td, &st.lock)
    p = st.free
    if p != NULL:
        st.free = p.p_list_next
    st.processes += 1
    if td != NULL:
        raw_unlock(td, &st.lock)
    if p == NULL:
        p = <proc*>arena_alloc(m, sizeof(proc))
        mtx_init(&p.p_mtx, NAME_PROC, LO_DUPOK)
        p.p_sigacts = <sigacts*>arena_alloc(m, sizeof(sigacts))
        mtx_init(&p.p_sigacts.ps_mtx, NAME_SIGACTS, 0)
    if td != NULL:
        mtx_lock(td, &st.procid, SITE_PROCID)
    st.last_pid += 1
    p.p_pid = st.last_pid
    pid_word(st, p.p_pid)[0] |= <uint64_t>1 << (p.p_pid % PID_MAX & 63)
    if td != NULL:
        touch_write(td, pid_word(st, p.p_pid))
        mtx_unlock(td, &st.procid)
    p.p_flag = 0
    p.p_state = PRS_NORMAL
    p.p_vmspace = NULL
    p.p_thread = NULL
    p.p_numthreads = 1
    p.p_threads = NULL
    p.p_children = NULL
    p.p_reaplist = NULL
    p.p_orphans = NULL
    p.p_sibling_next = NULL
    p.p_sibling_prev = NULL
    p.p_pgrp = NULL
    p.p_psstrings = 0
    linked_insert(td, <void**>&st.all, NULL, p, <void**>&p.p_list_next, <void**>&p.p_list_prev)
    if td != NULL:
        sx_xlock(td, PIDHASHLOCK(st, p.p_pid), SITE_FORK)
    linked_insert(td, <void**>PIDHASH(st, p.p_pid), NULL, p, <void**>&p.p_hash_next, <void**>&p.p_hash_prev)
    if td != NULL:
        charge(td, td.machine.cost.op, 2 * OPS_LINK)
        sx_xunlock(td, PIDHASHLOCK(st, p.p_pid))
    return p


# The memory of a process that nobody looks for any more, and its pid.
#
# Locks in:   none of its own.
# Locks out:  the same.
# May block:  on "procid".
# Stands for: FreeBSD proc_id_clear(), uma_zfree(proc_zone).
cdef void proc_release(thread* td, proc* p) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    mtx_lock(td, &st.procid, SITE_PROCID_CLEAR)
    touch_write(td, pid_word(st, p.p_pid))
    pid_word(st, p.p_pid)[0] &= ~(<uint64_t>1 << (p.p_pid % PID_MAX & 63))
    mtx_unlock(td, &st.procid)
    raw_lock(td, &st.lock)
    p.p_list_next = st.free
    st.free = p
    st.processes -= 1
    raw_unlock(td, &st.lock)


# Make a process that no other has made.
#
# Locks in:   none; the machine is not running yet.
# Locks out:  none.
# May block:  never.
# Returns:    the process.
# Stands for: FreeBSD's making of init in create_init().
cdef proc* proc_reaper(machine* m, int32_t builder) noexcept nogil:
    cdef proc* p = proc_allocate(m, NULL)
    p.p_plan.number = -1
    p.p_plan.live = -1
    p.p_builder = builder
    p.p_reaper = p
    pgrp_first(m, p)
    return p


# Make a process a child of another.
#
# Locks in:   the proctree lock, exclusively.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD's LIST_INSERT_HEAD() on p_children, proc_reparent().
cdef void child_insert(thread* td, proc* parent, proc* child) noexcept nogil:
    PROCTREE_ASSERT_XLOCKED(td)
    child.p_pptr = parent
    linked_insert(td, <void**>&parent.p_children, NULL, child, <void**>&child.p_sibling_next,
                  <void**>&child.p_sibling_prev)
    charge(td, td.machine.cost.op, OPS_LINK)


# ... and no longer.
#
# Locks in:   the proctree lock, exclusively.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD's LIST_REMOVE() on p_sibling, proc_reparent().
cdef void child_remove(thread* td, proc* child) noexcept nogil:
    PROCTREE_ASSERT_XLOCKED(td)
    linked_remove(td, <void**>&child.p_pptr.p_children, child, <void**>&child.p_sibling_next,
                  <void**>&child.p_sibling_prev)
    charge(td, td.machine.cost.op, OPS_LINK)


# --- fork

# Make a child process.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on allproc and proctree; on process locks.  Sleeps after vfork until the child lets it go.
# Returns:    the child; after vfork it may have ended already, and waits to be reaped.
# Stands for: FreeBSD fork1(), do_fork(), vm_forkproc(), after vmspace_fork().
cdef proc* proc_fork(thread* td, proc* p1, vmspace* vms, bint vfork, const proc_plan* plan,
                     void (*start)(thread* td, void* p2) noexcept nogil) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    cdef proc* p2
    cdef pgrp* group
    charge(td, td.machine.cost.op, OPS_FORK)
    sx_xlock(td, &st.allproc, SITE_FORK)
    charge(td, td.machine.cost.op, OPS_FORK_ALL)
    p2 = proc_allocate(td.machine, td)
    mtx_lock(td, &p2.p_mtx, SITE_FORK)
    mtx_lock(td, &p1.p_mtx, SITE_FORK)
    sx_xunlock(td, &st.allproc)
    p2.p_vmspace = vms
    p2.p_plan = plan[0]
    p2.p_builder = p1.p_builder
    p2.p_reaper = p1.p_reaper
    p2.p_psstrings = p1.p_psstrings
    touch_write(td, &p2.p_vmspace)
    touch_write(td, &p2.p_ucred)
    charge(td, td.machine.cost.op, OPS_COPY)
    mtx_unlock(td, &p1.p_mtx)
    mtx_unlock(td, &p2.p_mtx)

    fdcopy(td, &p1.p_fd, &p2.p_fd)
    mtx_lock(td, &p2.p_mtx, SITE_FORK)                      # signals, limits, profiling state
    mtx_lock(td, &p1.p_mtx, SITE_FORK)
    touch_write(td, &p2.p_flag)
    touch_write(td, &p2.p_klist)
    mtx_unlock(td, &p1.p_mtx)
    mtx_unlock(td, &p2.p_mtx)

    sx_xlock(td, &st.proctree, SITE_FORK)
    group = p1.p_pgrp
    mtx_lock(td, &group.pg_mtx, SITE_FORK)
    mtx_lock(td, &p2.p_mtx, SITE_FORK)
    mtx_lock(td, &p1.p_mtx, SITE_FORK)
    mtx_lock(td, &group.pg_session.s_mtx, SITE_FORK)        # has it a terminal?
    touch_read(td, &group.pg_session.s_tty)
    mtx_unlock(td, &group.pg_session.s_mtx)
    pgrp_join(td, p2, p1)
    charge(td, td.machine.cost.op, OPS_LINK)
    mtx_unlock(td, &group.pg_mtx)
    mtx_unlock(td, &p1.p_mtx)
    mtx_unlock(td, &p2.p_mtx)
    child_insert(td, p1, p2)
    linked_insert(td, <void**>&p2.p_reaper.p_reaplist, NULL, p2, <void**>&p2.p_reapsibling_next,
                  <void**>&p2.p_reapsibling_prev)
    charge(td, td.machine.cost.op, OPS_LINK)
    sx_xunlock(td, &st.proctree)

    if vfork:
        st.vforks += 1
    else:
        st.forks += 1
    mtx_lock(td, &p2.p_mtx, SITE_FORK)
    if vfork:
        touch_write(td, &p2.p_flag)
        p2.p_flag |= P_PPWAIT
    p2.p_thread = spawn(td, start, p2, p2)
    while p2.p_flag & P_PPWAIT:
        msleep(td, &p2.p_flag, &p2.p_mtx, SITE_VFORK)
    mtx_unlock(td, &p2.p_mtx)
    return p2


# --- exec

# Leave the old program: its first page of the new one is looked at, then the address space is emptied or replaced.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on process and object locks, on the pmap's locks; sleeps on the map lock, for memory, and as
#             vmspace_exec() else does.
# Returns:    the program's first page, wired; NULL without a program.
# Stands for: the first half of FreeBSD do_execve(), exec_map_first_page(), exec_new_vmspace().  The vnode's lock,
#             shared and dropped around steps, comes with the vfs layer.
cdef vm_page* proc_exec_begin(thread* td, proc* p, vm_object* program) noexcept nogil:
    cdef vm_page* m = NULL
    charge(td, td.machine.cost.op, OPS_EXEC)
    mtx_lock(td, &p.p_mtx, SITE_EXEC)
    touch_write(td, &p.p_flag)
    mtx_unlock(td, &p.p_mtx)
    if program != NULL:
        rw_wlock(td, &program.lock, SITE_FIRST_PAGE)
        m = vm_page_lookup(td, program, 0)
        if m != NULL:                   # else a hole in the file, which FreeBSD fills with zeros and fails to run
            vm_page_wire(td, m)
        rw_wunlock(td, &program.lock)
    p.p_vmspace = vmspace_exec(td, p.p_vmspace)
    return m


# The new program is in place.
#
# Locks in:   none; the program's first page is wired.
# Locks out:  none.
# May block:  on the process lock, on the "vm page" mutex, on the free page locks.
# Stands for: the second half of FreeBSD do_execve(), exec_unmap_first_page().
cdef void proc_exec_end(thread* td, proc* p, vm_page* first_page) noexcept nogil:
    mtx_lock(td, &p.p_mtx, SITE_EXEC)
    touch_write(td, &p.p_flag)                              # its name, its signals, its credentials
    touch_write(td, &p.p_ucred)
    if p.p_flag & P_PPWAIT:
        p.p_flag &= ~<uint32_t>P_PPWAIT
        wakeup(td, &p.p_flag)
    mtx_unlock(td, &p.p_mtx)
    if first_page != NULL:
        vm_page_unwire(td, first_page, SITE_UNMAP_FIRST)
    proc_of(td).execs += 1


# --- exit

# End the process.
#
# Locks in:   none; the thread is the process's only one.
# Locks out:  none; the process is the parent's to reap.
# May block:  on process locks, "pfs_vncache"; as fdescfree() and vmspace_exit(), which sleep; sleeps on allproc and
#             proctree.
# Stands for: FreeBSD exit1(), whose process_exit handlers are pfs_exit() alone.
cdef void proc_exit(thread* td, proc* p) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    cdef proc* parent
    cdef proc* reaper
    cdef proc* child
    cdef vmspace* vms
    charge(td, td.machine.cost.op, OPS_EXIT)
    mtx_lock(td, &p.p_mtx, SITE_EXIT)
    touch_write(td, &p.p_flag)
    vms = p.p_vmspace
    p.p_vmspace = NULL
    mtx_unlock(td, &p.p_mtx)
    pfs_exit(td, p.p_pid)
    fdescfree(td, &p.p_fd)
    if vms != NULL:
        vmspace_exit(td, vms)

    sx_xlock(td, &st.allproc, SITE_EXIT)
    linked_remove(td, <void**>&st.all, p, <void**>&p.p_list_next, <void**>&p.p_list_prev)
    charge(td, td.machine.cost.op, OPS_LINK)
    sx_xunlock(td, &st.allproc)

    sx_xlock(td, &st.proctree, SITE_EXIT)
    mtx_lock(td, &p.p_mtx, SITE_EXIT)
    if p.p_flag & P_PPWAIT:
        p.p_flag &= ~<uint32_t>P_PPWAIT
        wakeup(td, &p.p_flag)
    mtx_unlock(td, &p.p_mtx)
    reaper = p.p_reaper
    while p.p_children != NULL:
        child = p.p_children
        charge(td, td.machine.cost.op, OPS_UMA + OPS_CHILD)
        mtx_lock(td, &child.p_mtx, SITE_REPARENT)
        touch_write(td, &child.p_flag)
        child_remove(td, child)
        child_insert(td, reaper, child)
        mtx_lock(td, &reaper.p_mtx, SITE_REPARENT)          # it may be a zombie, which the reaper does not know yet
        touch_write(td, &reaper.p_flag)
        reaper.p_flag |= P_STATCHILD
        wakeup(td, reaper)
        mtx_unlock(td, &reaper.p_mtx)
        mtx_unlock(td, &child.p_mtx)
    touch_read(td, &p.p_orphans)
    mtx_lock(td, &p.p_mtx, SITE_EXIT)
    touch_write(td, &p.p_klist)
    parent = p.p_pptr
    st.exits += 1
    if parent == NULL:                                      # a reaper: nobody will wait for it
        mtx_unlock(td, &p.p_mtx)
        forget(td, p)
        sx_xunlock(td, &st.proctree)
        proc_release(td, p)
        st.exits -= 1
        return
    mtx_lock(td, &parent.p_mtx, SITE_EXIT)
    mtx_lock(td, &parent.p_sigacts.ps_mtx, SITE_EXIT)       # does it want to know?
    touch_read(td, &parent.p_sigacts.ps_flag)
    mtx_unlock(td, &parent.p_sigacts.ps_mtx)
    mtx_lock(td, &parent.p_sigacts.ps_mtx, SITE_SIGNAL)
    touch_write(td, &p.p_ksi)
    touch_write(td, &parent.p_sigqueue)
    charge(td, td.machine.cost.op, OPS_SIGNAL)
    mtx_unlock(td, &parent.p_sigacts.ps_mtx)
    touch_write(td, &parent.p_flag)
    parent.p_flag |= P_STATCHILD
    sx_xunlock(td, &st.proctree)
    wakeup(td, parent)
    touch_write(td, &p.p_state)
    p.p_state = PRS_ZOMBIE                                  # the parent cannot see it before it gets this lock
    if parent.p_thread != NULL:
        leave_run_time(td, parent.p_thread)                 # it lives: to leave its children it needs this lock
    mtx_unlock(td, &parent.p_mtx)
    mtx_unlock(td, &p.p_mtx)


# --- wait

# Take a process out of whatever it can be found by.
#
# Locks in:   the proctree lock, exclusively.
# Locks out:  the same.
# May block:  sleeps on "pidhash"; on the group's mutex and, holding it, the process lock.
# Stands for: the part of FreeBSD proc_reap() under proctree.
cdef void forget(thread* td, proc* p) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    PROCTREE_ASSERT_XLOCKED(td)
    sx_xlock(td, PIDHASHLOCK(st, p.p_pid), SITE_REAP)
    linked_remove(td, <void**>PIDHASH(st, p.p_pid), p, <void**>&p.p_hash_next, <void**>&p.p_hash_prev)
    charge(td, td.machine.cost.op, OPS_LINK)
    sx_xunlock(td, PIDHASHLOCK(st, p.p_pid))
    if p.p_pptr != NULL:
        child_remove(td, p)
        linked_remove(td, <void**>&p.p_reaper.p_reaplist, p, <void**>&p.p_reapsibling_next,
                      <void**>&p.p_reapsibling_prev)
        charge(td, td.machine.cost.op, OPS_LINK)
    mtx_lock(td, &p.p_mtx, SITE_REAP)                       # it is nobody's orphan
    touch_read(td, &p.p_orphans)
    mtx_unlock(td, &p.p_mtx)
    leavepgrp(td, p)


# Take a dead child out of the world.
#
# Locks in:   the proctree lock, exclusively; the process lock of the child, which is a zombie.
# Locks out:  neither.
# May block:  on the parent's process lock; sleeps on "pidhash"; on the group's mutex, "procid".
# Stands for: FreeBSD proc_reap().
cdef void proc_reap(thread* td, proc* p, proc* child) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    PROCTREE_ASSERT_XLOCKED(td)
    PROC_LOCK_ASSERT(td, child)
    touch_read(td, &child.p_slock)                          # it has left its CPU
    mtx_lock(td, &p.p_mtx, SITE_REAP)
    touch_write(td, &child.p_ksi)                           # the signal that told of it is taken back
    mtx_unlock(td, &p.p_mtx)
    mtx_unlock(td, &child.p_mtx)
    forget(td, child)
    sx_xunlock(td, &st.proctree)
    mtx_lock(td, &child.p_mtx, SITE_REAP)
    touch_write(td, &child.p_klist)
    mtx_unlock(td, &child.p_mtx)
    mtx_lock(td, &p.p_mtx, SITE_REAP)                       # its use of resources is its parent's
    touch_write(td, &p.p_ucred)
    mtx_unlock(td, &p.p_mtx)
    charge(td, td.machine.cost.op, OPS_REAP)
    proc_release(td, child)


# Wait for a child to end.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on proctree; holding it, on process locks and as proc_reap().  Sleeps until a child has ended.
# Returns:    the number of the child that was reaped; -1 when there is no such child.
# Stands for: FreeBSD kern_wait6(), proc_to_reap().
cdef int32_t proc_wait(thread* td, proc* p, int32_t number) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    cdef proc* child
    cdef bint found
    while True:
        if p.p_flag & P_STATCHILD:
            mtx_lock(td, &p.p_mtx, SITE_WAIT)
            touch_write(td, &p.p_flag)
            p.p_flag &= ~<uint32_t>P_STATCHILD
            mtx_unlock(td, &p.p_mtx)
        sx_xlock(td, &st.proctree, SITE_WAIT)
        found = False
        child = p.p_children
        while child != NULL:
            charge(td, td.machine.cost.op, OPS_CHILD)
            mtx_lock(td, &child.p_mtx, SITE_CHILD)
            touch_read(td, &child.p_pid)
            if number == WAIT_ANY or child.p_plan.number == number:
                found = True
                touch_read(td, &child.p_ucred)
                if child.p_state == PRS_ZOMBIE:
                    number = child.p_plan.number
                    proc_reap(td, p, child)
                    return number
            mtx_unlock(td, &child.p_mtx)
            touch_read(td, &child.p_sibling_next)
            child = child.p_sibling_next
        touch_read(td, &p.p_orphans)
        if not found:
            sx_xunlock(td, &st.proctree)
            return -1
        mtx_lock(td, &p.p_mtx, SITE_WAIT)
        sx_xunlock(td, &st.proctree)
        if not p.p_flag & P_STATCHILD:
            msleep(td, p, &p.p_mtx, SITE_WAIT)
        mtx_unlock(td, &p.p_mtx)
