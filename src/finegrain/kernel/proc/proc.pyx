# Processes.
#
# The tree of processes and the list of all of them are each under one sx lock for the whole machine, and everything
# that makes, ends or reaps a process takes them exclusively:
#
#   fork    copy the address space first, with neither; then allproc X to get a place in the list, then proctree X to
#           get one in the tree
#   exit    give the address space up first, with neither; then allproc X to leave the list, then proctree X to hand
#           children on and tell the parent
#   wait    proctree X to look at each child, and to take a dead one out of the tree; also when there is none yet
#
# so the length of these critical sections, and not of the work around them, is what a build of many short processes
# waits for.  A process lock protects a process's flags and state, and is what a parent sleeps with in wait().
#
# Order of locks: allproc; proctree; process lock of a child, then of its parent.

from libc.stdint cimport int32_t, uint16_t, uint32_t

from finegrain.kernel.list cimport list_insert_head, list_remove
from finegrain.kernel.locks cimport (
    LO_DUPOK, lock_name, lock_site, msleep, mtx_assert_owned, mtx_init, mtx_lock, mtx_unlock, rw_wlock, rw_wunlock,
    sx_assert_xlocked, sx_init, sx_xlock, sx_xunlock, wakeup)
from finegrain.kernel.phys cimport vm_page_lookup, vm_page_unwire, vm_page_wire
from finegrain.kernel.types cimport vm_object, vm_page, vmspace
from finegrain.kernel.vm cimport vmspace_exec, vmspace_exit
from finegrain.machine.seam cimport arena_alloc, charge, panic, raw_lock, raw_unlock, spawn, unlikely
from finegrain.machine.thread cimport machine, ps_t, thread

cdef uint16_t NAME_PROC = lock_name(b"sleep mutex", b"process lock")
cdef uint16_t NAME_TREE = lock_name(b"sx", b"proctree")
cdef uint16_t NAME_ALL = lock_name(b"sx", b"allproc")
cdef uint16_t SITE_FORK = lock_site(b"fork1")
cdef uint16_t SITE_VFORK = lock_site(b"fork1/vfork")
cdef uint16_t SITE_EXEC = lock_site(b"do_execve")
cdef uint16_t SITE_FIRST_PAGE = lock_site(b"exec_map_first_page")
cdef uint16_t SITE_UNMAP_FIRST = lock_site(b"exec_unmap_first_page")
cdef uint16_t SITE_EXIT = lock_site(b"exit1")
cdef uint16_t SITE_WAIT = lock_site(b"kern_wait6")

# Work in units of cost.op, beyond the VM's: our estimates [A] of what the calls cost on an idle machine.
cdef enum:
    OPS_FORK = 9000                     # about 3 us: structures, descriptors, credentials, the new thread's stack
    OPS_FORK_LISTS = 150                # under each of allproc and proctree
    OPS_EXEC = 24000                    # about 9 us: path, header, argument strings, descriptors to close
    OPS_EXIT = 9000                     # about 3 us: descriptors, timers, accounting
    OPS_EXIT_LISTS = 200
    OPS_CHILD = 20                      # look at one child
    OPS_REAP = 1500


cdef int proc_create(machine* m, ps_t listing_period) except -1:
    cdef proc_state* st = <proc_state*>arena_alloc(m, sizeof(proc_state))
    if st == NULL:
        raise MemoryError("no room for the process table")
    sx_init(&st.proctree, NAME_TREE, 0)
    sx_init(&st.allproc, NAME_ALL, 0)
    m.proc = st
    return 0


# --- the structs

# Locks in: the allproc lock, exclusively.  Locks out: the same.  May block: never.
# Stands for: FreeBSD sx_assert(&allproc_lock, SX_XLOCKED).
cdef inline void ALLPROC_ASSERT_XLOCKED(thread* td) noexcept nogil:
    sx_assert_xlocked(td, &proc_of(td).allproc, b"allproc is not locked exclusively")


# Locks in: the proctree lock, exclusively.  Locks out: the same.  May block: never.
# Stands for: FreeBSD sx_assert(&proctree_lock, SX_XLOCKED).
cdef inline void PROCTREE_ASSERT_XLOCKED(thread* td) noexcept nogil:
    sx_assert_xlocked(td, &proc_of(td).proctree, b"proctree is not locked exclusively")


# Locks in: the process lock of p.  Locks out: the same.  May block: never.
# Stands for: FreeBSD PROC_LOCK_ASSERT(p, MA_OWNED).
cdef inline void PROC_LOCK_ASSERT(thread* td, proc* p) noexcept nogil:
    mtx_assert_owned(td, &p.p_mtx, b"the process is not locked")


# Memory for a process: that of an earlier one, whose lock a late unlocker may still look at, or new.
#
# Locks in:   the allproc lock, exclusively; or the machine is not running yet, and td is NULL.
# Locks out:  the same.
# May block:  never.
# Returns:    the process, on the list of all.
# Stands for: FreeBSD's uma_zalloc(proc_zone), fork_findpid() and LIST_INSERT_HEAD() on allproc.
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
    st.last_pid += 1
    p.p_pid = st.last_pid
    p.p_flag = 0
    p.p_state = PRS_NORMAL
    p.p_vmspace = NULL
    p.p_children = NULL
    p.p_sibling_next = NULL
    p.p_sibling_prev = NULL
    list_insert_head(<void**>&st.all, NULL, p, <void**>&p.p_list_next, <void**>&p.p_list_prev)
    return p


# The memory of a process that nobody looks for any more.
#
# Locks in:   none of its own.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD uma_zfree(proc_zone).
cdef void proc_release(thread* td, proc* p) noexcept nogil:
    cdef proc_state* st = proc_of(td)
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
    list_insert_head(<void**>&parent.p_children, NULL, child, <void**>&child.p_sibling_next,
                     <void**>&child.p_sibling_prev)


# ... and no longer.
#
# Locks in:   the proctree lock, exclusively.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD's LIST_REMOVE() on p_sibling, proc_reparent().
cdef void child_remove(thread* td, proc* child) noexcept nogil:
    PROCTREE_ASSERT_XLOCKED(td)
    list_remove(<void**>&child.p_pptr.p_children, NULL, child, <void**>&child.p_sibling_next,
                <void**>&child.p_sibling_prev)


# --- fork

# Make a child process.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on allproc and proctree; on process locks.  Sleeps after vfork until the child lets it go.
# Returns:    the child; after vfork it may have ended already, and waits to be reaped.
# Stands for: FreeBSD fork1(), do_fork(), vm_forkproc(), after vmspace_fork().  The process group's lock, the
#             descriptor table's and the identifier bitmap's are left out.
cdef proc* proc_fork(thread* td, proc* p1, vmspace* vms, bint vfork, const proc_plan* plan,
                     void (*start)(thread* td, void* p2) noexcept nogil) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    cdef proc* p2
    charge(td, td.machine.cost.op, OPS_FORK)
    sx_xlock(td, &st.allproc, SITE_FORK)
    p2 = proc_allocate(td.machine, td)
    charge(td, td.machine.cost.op, OPS_FORK_LISTS)
    mtx_lock(td, &p2.p_mtx, SITE_FORK)
    mtx_lock(td, &p1.p_mtx, SITE_FORK)
    sx_xunlock(td, &st.allproc)
    p2.p_vmspace = vms
    p2.p_plan = plan[0]
    p2.p_builder = p1.p_builder
    p2.p_reaper = p1.p_reaper
    mtx_unlock(td, &p1.p_mtx)
    mtx_unlock(td, &p2.p_mtx)

    mtx_lock(td, &p2.p_mtx, SITE_FORK)                      # signals, limits, profiling state
    mtx_lock(td, &p1.p_mtx, SITE_FORK)
    mtx_unlock(td, &p1.p_mtx)
    mtx_unlock(td, &p2.p_mtx)

    sx_xlock(td, &st.proctree, SITE_FORK)
    mtx_lock(td, &p2.p_mtx, SITE_FORK)
    mtx_lock(td, &p1.p_mtx, SITE_FORK)
    mtx_unlock(td, &p1.p_mtx)
    mtx_unlock(td, &p2.p_mtx)
    child_insert(td, p1, p2)
    charge(td, td.machine.cost.op, OPS_FORK_LISTS)
    sx_xunlock(td, &st.proctree)

    if vfork:
        st.vforks += 1
    else:
        st.forks += 1
    mtx_lock(td, &p2.p_mtx, SITE_FORK)
    if vfork:
        p2.p_flag |= P_PPWAIT
    spawn(td, start, p2, p2)
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
    mtx_unlock(td, &p.p_mtx)
    if program != NULL:
        rw_wlock(td, &program.lock, SITE_FIRST_PAGE)
        m = vm_page_lookup(program, 0)
        if unlikely(m == NULL):
            panic(td, b"exec: the program's first page is not in memory")
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
# Locks in:   none.
# Locks out:  none; the process is the parent's to reap.
# May block:  on process locks; as vmspace_exit(), which sleeps; sleeps on allproc and proctree.
# Stands for: FreeBSD exit1().  Its process_exit handlers (pfs_exit), descriptor table, process group and signal
#             action locks are left out.
cdef void proc_exit(thread* td, proc* p) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    cdef proc* parent
    cdef proc* reaper
    cdef proc* child
    cdef vmspace* vms
    charge(td, td.machine.cost.op, OPS_EXIT)
    mtx_lock(td, &p.p_mtx, SITE_EXIT)
    mtx_unlock(td, &p.p_mtx)
    if p.p_vmspace != NULL:
        vms = p.p_vmspace
        p.p_vmspace = NULL
        vmspace_exit(td, vms)

    sx_xlock(td, &st.allproc, SITE_EXIT)
    list_remove(<void**>&st.all, NULL, p, <void**>&p.p_list_next, <void**>&p.p_list_prev)
    charge(td, td.machine.cost.op, OPS_EXIT_LISTS)
    sx_xunlock(td, &st.allproc)

    sx_xlock(td, &st.proctree, SITE_EXIT)
    charge(td, td.machine.cost.op, OPS_EXIT_LISTS)
    reaper = p.p_reaper
    while p.p_children != NULL:
        child = p.p_children
        mtx_lock(td, &child.p_mtx, SITE_EXIT)
        child_remove(td, child)
        child_insert(td, reaper, child)
        mtx_unlock(td, &child.p_mtx)
        charge(td, td.machine.cost.op, OPS_CHILD)
        mtx_lock(td, &reaper.p_mtx, SITE_EXIT)              # it may be a zombie, which the reaper does not know yet
        reaper.p_flag |= P_STATCHILD
        wakeup(td, reaper)
        mtx_unlock(td, &reaper.p_mtx)
    mtx_lock(td, &p.p_mtx, SITE_EXIT)
    if p.p_flag & P_PPWAIT:
        p.p_flag &= ~<uint32_t>P_PPWAIT
        wakeup(td, &p.p_flag)
    parent = p.p_pptr
    st.exits += 1
    if parent == NULL:                                      # a reaper: nobody will wait for it
        sx_xunlock(td, &st.proctree)
        mtx_unlock(td, &p.p_mtx)
        proc_release(td, p)
        st.exits -= 1
        return
    mtx_lock(td, &parent.p_mtx, SITE_EXIT)
    parent.p_flag |= P_STATCHILD
    wakeup(td, parent)
    sx_xunlock(td, &st.proctree)
    p.p_state = PRS_ZOMBIE                                  # the parent cannot see it before it gets this lock
    mtx_unlock(td, &parent.p_mtx)
    mtx_unlock(td, &p.p_mtx)


# --- wait

# Take a dead child out of the world.
#
# Locks in:   the proctree lock, exclusively; the process lock of the child, which is a zombie.
# Locks out:  neither.
# May block:  never; spins on the chains.
# Stands for: FreeBSD proc_reap().
cdef void proc_reap(thread* td, proc* child) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    PROCTREE_ASSERT_XLOCKED(td)
    PROC_LOCK_ASSERT(td, child)
    mtx_unlock(td, &child.p_mtx)
    child_remove(td, child)
    charge(td, td.machine.cost.op, OPS_EXIT_LISTS)
    sx_xunlock(td, &st.proctree)
    charge(td, td.machine.cost.op, OPS_REAP)
    proc_release(td, child)


# Wait for a child to end.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on proctree; on process locks.  Sleeps until a child has ended.
# Returns:    the number of the child that was reaped; -1 when there is no such child.
# Stands for: FreeBSD kern_wait6().
cdef int32_t proc_wait(thread* td, proc* p, int32_t number) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    cdef proc* child
    cdef bint found
    while True:
        if p.p_flag & P_STATCHILD:
            mtx_lock(td, &p.p_mtx, SITE_WAIT)
            p.p_flag &= ~<uint32_t>P_STATCHILD
            mtx_unlock(td, &p.p_mtx)
        sx_xlock(td, &st.proctree, SITE_WAIT)
        found = False
        child = p.p_children
        while child != NULL:
            charge(td, td.machine.cost.op, OPS_CHILD)
            mtx_lock(td, &child.p_mtx, SITE_WAIT)
            if number == WAIT_ANY or child.p_plan.number == number:
                found = True
                if child.p_state == PRS_ZOMBIE:
                    number = child.p_plan.number
                    proc_reap(td, child)
                    return number
            mtx_unlock(td, &child.p_mtx)
            child = child.p_sibling_next
        if not found:
            sx_xunlock(td, &st.proctree)
            return -1
        mtx_lock(td, &p.p_mtx, SITE_WAIT)
        sx_xunlock(td, &st.proctree)
        if not p.p_flag & P_STATCHILD:
            msleep(td, p, &p.p_mtx, SITE_WAIT)
        mtx_unlock(td, &p.p_mtx)
