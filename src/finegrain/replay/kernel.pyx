# Processes that take the steps of a program.
#
# A builder is a reaper thread and the processes under it.  First the builder's part of the file image is filled,
# and free memory mixed (see age.pyx).  Then the processes that are alive where the builder enters the recording are
# made: each takes the steps of its past, which put its mappings and pages in place, makes those of its live children
# that no fork of its past has made, and waits.  When all processes of all builders are ready, all go on at once, each
# with the step that comes next in the recording.  When a builder's first process ends, the builder starts it again
# from the beginning.
#
# A touch is what the hardware does: if the page is mapped for it, nothing happens that anybody could notice, and so
# user time is only summed up until something does.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from finegrain.kernel.boot cimport kernel_config, kernel_config_from, kernel_create
from finegrain.kernel.locks cimport (
    lock_name, lock_site, lockmgr_init, lockmgr_unlock, lockmgr_xlock, msleep, mtx_init, mtx_lock, mtx_unlock, wakeup)
from finegrain.kernel.phys cimport phys_allocated_pages, phys_reservations_broken
from finegrain.kernel.pmap cimport (
    CHUNKS_FREED_MAX, pmap_access, pmap_activate, pmap_kernel_ptps, pmap_state, pv_reset, pv_state, pvlock_state,
    radix_pages)
from finegrain.kernel.proc cimport (
    WAIT_ANY, kern_thr_exit, kern_thr_new, killpg, listing_start, proc_exec_begin, proc_exec_end, proc_exit,
    proc_fork, proc_of, proc_plan, proc_reaper, proc_state, proc_wait, sys_setpgid, sys_setsid, thread_single)
from finegrain.kernel.types cimport (
    PAGE_SIZE, VM_PROT_EXECUTE, VM_PROT_READ, VM_PROT_WRITE, vm_object, vm_offset_t, vm_page, vmspace)
from finegrain.kernel.vfs cimport (
    BIG_PIPE_SIZE, PIPE_READ_END, PIPE_WRITE_END, fdclose, fdcloseall, fdescfree, fdinit, fdinstall, fdlookup,
    fdlookup_file, fdwake, kern_pipe, openfile, pipe_close, pipe_read, pipe_write, pipepair, tmpfs_mount_new,
    tmpfs_unmount, vfs_mount_on, vfs_state, vn_mmap, vnode, vrele)
from finegrain.kernel.vm cimport (
    FAULT_BACKING, FAULT_BAD, FAULT_COPY, FAULT_FAST, FAULT_KINDS, FAULT_MOVE, FAULT_RESIDENT, FAULT_SUPERPAGE,
    FAULT_ZERO, PREMAP_FULL, PREMAP_NONE, PREMAP_PARTIAL, map_request, vm_audit, vm_fault, vm_map_brk,
    vm_map_mmap, vm_map_mprotect, vm_map_munmap, vm_pageout_start, vm_state, vmspace_alloc, vmspace_fork, vmspace_ref)
from finegrain.machine.machine cimport Machine
from finegrain.machine.seam cimport arena_alloc, arena_free, charge, now, sleep_for, stopping, unlikely, user
from finegrain.machine.thread cimport ps_t, thread
from finegrain.replay.age cimport memory_age
from finegrain.replay.files cimport file_find, file_step, is_file_step, tree_plant
from finegrain.replay.image cimport image_fill, image_free
from finegrain.replay.random cimport next_random

import numpy as np

from finegrain.workload import program as pr

cdef uint16_t NAME_REPLAY = lock_name(b"sleep mutex", b"replay")
cdef uint16_t NAME_TURN = lock_name(b"lockmgr", b"replay")
cdef uint16_t SITE_READY = lock_site(b"replay/ready")

cdef enum:
    PS_PER_NS = 1000
    MAX_PENDING_PS = 200000000          # user time is passed at least this often
    START_GRID_PS = 1000000000          # the replay begins at a whole millisecond
    READY_GRIDS = 20                    # how often, in those, who is ready looks whether all are
    # How often a thread that needs another one's step looks whether it has been taken [A].  A program's would sleep on
    # a lock of its own until then.
    AWAIT_PS = 50000000

cdef int64_t NEVER = <int64_t>1 << 62


# Kinds of steps and their flags: workload.program numbers them.
cdef uint8_t OP_TOUCH = pr.TOUCH
cdef uint8_t OP_MMAP = pr.MMAP
cdef uint8_t OP_MUNMAP = pr.MUNMAP
cdef uint8_t OP_MPROTECT = pr.MPROTECT
cdef uint8_t OP_BRK = pr.BRK
cdef uint8_t OP_FORK = pr.FORK
cdef uint8_t OP_VFORK = pr.VFORK
cdef uint8_t OP_EXEC = pr.EXEC
cdef uint8_t OP_EXIT = pr.EXIT
cdef uint8_t OP_WAIT = pr.WAIT
cdef uint8_t OP_SLEEP = pr.SLEEP
cdef uint8_t OP_SETPGID = pr.SETPGID
cdef uint8_t OP_SETSID = pr.SETSID
cdef uint8_t OP_KILLPG = pr.KILLPG
cdef uint8_t OP_PIPE = pr.PIPE
cdef uint8_t OP_READ = pr.READ
cdef uint8_t OP_WRITE = pr.WRITE
cdef uint8_t OP_CLOSE = pr.CLOSE
cdef uint8_t OP_HOLD = pr.HOLD
cdef uint8_t OP_THREAD = pr.THREAD
cdef uint8_t OP_AWAIT = pr.AWAIT
cdef uint32_t TOUCH_WRITE = pr.TOUCH_WRITE
cdef uint32_t TOUCH_EXEC = pr.TOUCH_EXEC
cdef uint8_t MAP_SHARED = pr.MAP_SHARED
cdef uint8_t MAP_STACK = pr.MAP_STACK
cdef uint8_t MAP_EXEC = pr.MAP_EXEC


cdef inline replay_state* replay_of(thread* td) noexcept nogil:
    return <replay_state*>proc_of(td).replay


# --- steps

# The user program touches a page.
#
# Locks in: none.  Locks out: none.  May block: as vm_fault().
# Stands for: the CPU's access, and FreeBSD trap_pfault() when it fails.
cdef inline void touch(thread* td, proc* p, vm_offset_t va, int prot) noexcept nogil:
    if pmap_access(td, &p.p_vmspace.pm, va, prot):
        return
    charge(td, td.machine.cost.fault, 1)
    vm_fault(td, p.p_vmspace, va, prot)


# The pages of a file that is to be mapped or executed: of the one that the process has open by its path, or finds
# there, or of the image.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as vn_mmap() and file_find(): sleeps.
# Returns:    the pages; NULL: there is no such file.  used[0]: the vnode that keeps them, to be given up; NULL: another
#             keeps them.
# Stands for: FreeBSD vm_mmap_vnode(), and the look-ups of do_execve() and exec_elf64_imgact().
cdef vm_object* file_object(thread* td, proc* p, int32_t file, vnode** used) noexcept nogil:
    cdef replay_state* r = replay_of(td)
    cdef openfile* fp
    cdef vm_object* obj
    used[0] = NULL
    if r.file_path == NULL or r.file_path[file] < 0:
        return r.builders[p.p_builder].files.files[file]
    fp = fdlookup_file(&p.p_fd, r.file_path[file])
    if fp != NULL:
        return vn_mmap(td, fp)
    used[0] = file_find(td, &p.p_fd, &r.paths, r.file_path[file], &obj)
    return obj


# Map pages of a file, or (obj NULL) anonymous memory.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as vm_map_mmap(); for a program's stack, as vm_fault().
# Stands for: FreeBSD kern_mmap(), and the mapping of segments in exec_elf64_imgact().
cdef void do_map(thread* td, proc* p, vm_offset_t start, vm_offset_t length, uint32_t mapping,
                 vm_object* obj) noexcept nogil:
    cdef replay_state* r = replay_of(td)
    cdef uint8_t flags = r.map_flags[mapping]
    cdef map_request request
    request.protection = r.map_prot[mapping]
    request.shared = 1 if flags & MAP_SHARED else 0
    request.copy_on_write = 1 if obj != NULL and not flags & MAP_SHARED else 0
    request.grows_down = 1 if flags & MAP_STACK else 0
    request.premap = PREMAP_NONE
    if obj != NULL:
        request.premap = PREMAP_FULL if flags & MAP_EXEC else PREMAP_PARTIAL
    vm_map_mmap(td, p.p_vmspace, start, start + length, obj, <uint64_t>r.map_page[mapping] if obj != NULL else 0,
                &request)
    if flags & MAP_STACK and flags & MAP_EXEC:
        # exec copies arguments and environment to the new stack
        p.p_psstrings = start + length - PAGE_SIZE
        touch(td, p, p.p_psstrings, VM_PROT_WRITE)


# Locks in:   none.
# Locks out:  none.
# May block:  as file_object(), do_map() and vrele(): sleeps.
# Stands for: FreeBSD sys_mmap().
cdef void do_mmap(thread* td, proc* p, vm_offset_t start, vm_offset_t length, uint32_t mapping) noexcept nogil:
    cdef int32_t file = replay_of(td).map_file[mapping]
    cdef vnode* used = NULL
    do_map(td, p, start, length, mapping, file_object(td, p, file, &used) if file >= 0 else NULL)
    if used != NULL:
        vrele(td, used)


# exec, with the mappings that come with it: steps from number i on.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as file_object(), proc_exec_begin(), do_map(), proc_exec_end() and vrele(): sleeps.
# Returns:    the number of the last step that it took.
# Stands for: FreeBSD kern_execve().
cdef int64_t do_exec(thread* td, proc* p, const steps* s, int64_t i, int64_t end) noexcept nogil:
    cdef replay_state* r = replay_of(td)
    cdef int32_t files[2]               # the program and its interpreter
    cdef vm_object* objects[2]
    cdef vnode* used[2]
    cdef vm_page* first
    cdef int32_t file
    cdef int k
    files[0] = <int32_t>s.arg0[i]
    objects[0] = file_object(td, p, files[0], &used[0])
    files[1] = -1
    used[1] = NULL
    first = proc_exec_begin(td, p, objects[0])
    while i + 1 < end and s.op[i + 1] == OP_MMAP and r.map_flags[s.arg2[i + 1]] & MAP_EXEC:
        i += 1
        file = r.map_file[s.arg2[i]]
        if file < 0:
            do_map(td, p, s.arg0[i], s.arg1[i], s.arg2[i], NULL)
            continue
        k = 0 if file == files[0] else 1
        if file != files[k]:
            if used[1] != NULL:
                vrele(td, used[1])
            files[1] = file
            objects[1] = file_object(td, p, file, &used[1])
        do_map(td, p, s.arg0[i], s.arg1[i], s.arg2[i], objects[k])
    proc_exec_end(td, p, first)
    for k in range(2):
        if used[k] != NULL:
            vrele(td, used[k])
    return i


# fork or vfork: the child of a step of the past is one of the live processes; others start at their first step.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as vmspace_fork(), proc_fork() and arrive(): sleeps.
# Stands for: FreeBSD sys_fork(), sys_vfork().
cdef void do_fork(thread* td, proc* p, int32_t child, bint vfork) noexcept nogil:
    cdef replay_state* r = replay_of(td)
    cdef builder* b = &r.builders[p.p_builder]
    cdef proc_plan plan
    cdef vmspace* vms
    cdef int64_t i
    plan.number = child
    plan.live = -1
    plan.step = r.first_step[child]
    plan.end = r.first_step[child + 1]
    plan.pause = 0
    plan.user = -1
    if p.p_plan.live >= 0 and r.start == 0:
        for i in range(b.live_first, b.live_last):
            if r.live[i].number == child:
                plan_live(r, i, &plan)
                if r.live[i].inherits == 2:
                    # The parent will not be back before the replay begins.
                    lockmgr_unlock(td, &r.turn)
                    fork_live(td, p, p.p_plan.live)
                    arrive(td, r, False)
    if vfork:
        vms = p.p_vmspace
        vmspace_ref(td, vms)
    else:
        vms = vmspace_fork(td, p.p_vmspace)
    proc_fork(td, p, vms, vfork, &plan, process_main)


# Read as many bytes from a pipe as the recording's call did, or up to the end of the file: what it waited for there
# is waited for here.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as pipe_read(): sleeps.
# Stands for: FreeBSD sys_read().
cdef void do_read(thread* td, proc* p, int32_t number, uint64_t bytes) noexcept nogil:
    cdef pipepair* pp = fdlookup(&p.p_fd, number, PIPE_READ_END)
    cdef uint64_t left = bytes
    cdef uint32_t got
    while pp != NULL:
        got = pipe_read(td, pp, <uint32_t>left if 0 < left < BIG_PIPE_SIZE else BIG_PIPE_SIZE)
        if got == 0 or (bytes != 0 and got == left):
            return
        if bytes != 0:
            left -= got
        charge(td, td.machine.cost.syscall, 1)


# Locks in:   none.
# Locks out:  none.
# May block:  as pipe_write(): sleeps.
# Stands for: FreeBSD sys_write().
cdef void do_write(thread* td, proc* p, int32_t number, uint64_t bytes) noexcept nogil:
    cdef pipepair* pp = fdlookup(&p.p_fd, number, PIPE_WRITE_END)
    if pp != NULL:
        pipe_write(td, pp, <uint32_t>bytes)


# Locks in:   none.
# Locks out:  none.
# May block:  as kern_pipe(): sleeps.
# Stands for: FreeBSD sys_pipe2().
cdef void do_pipe(thread* td, proc* p, int32_t number) noexcept nogil:
    cdef pipepair* pp = kern_pipe(td)
    fdinstall(td, &p.p_fd, pp, number, PIPE_READ_END)
    fdinstall(td, &p.p_fd, pp, number, PIPE_WRITE_END)


# Get an end of a pipe that is there when the replay begins, and counts it already.
#
# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Stands for: nothing in FreeBSD: these pipes are there when the replay begins.
cdef void do_hold(thread* td, proc* p, int32_t number, int32_t end) noexcept nogil:
    cdef replay_state* r = replay_of(td)
    cdef builder* b = &r.builders[p.p_builder]
    cdef int64_t i
    for i in range(b.pipe_first, b.pipe_last):
        if r.pipes[i].number == number:
            fdinstall(td, &p.p_fd, r.pipes[i].pipe, number, end)
            return


# Which of a process's threads a list of steps is: 0, the first one.
cdef inline int64_t thread_of(replay_state* r, proc* p, int64_t list) noexcept nogil:
    return 0 if list == p.p_plan.number else list - r.thread_first[p.p_plan.number] + 1


# Begin with what a thread is to run.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as kern_thr_new().
# Stands for: FreeBSD sys_thr_new().
cdef void do_thread(thread* td, proc* p, int64_t list, int64_t step, ps_t pause, ps_t user_ps) noexcept nogil:
    cdef thread_plan* plan = <thread_plan*>arena_alloc(td.machine, sizeof(thread_plan))
    plan.p = p
    plan.list = list
    plan.step = step
    plan.pause = pause
    plan.user = user_ps
    kern_thr_new(td, p, thread_main, plan)


# Wait until another thread has come to a step of its list.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps.
# Stands for: what a program's threads do to agree with each other.
cdef void do_await(thread* td, proc* p, int64_t list, int64_t step) noexcept nogil:
    cdef progress* of = <progress*>p.p_threads
    cdef int64_t k = thread_of(replay_of(td), p, list)
    while of != NULL and of.next[k] < step and not stopping(td.machine):
        sleep_for(td, AWAIT_PS)


# Take steps number i up to, not including, end of a list.  Stops at an EXIT, and when the run is to end.  next: where
# to say how far it has come; NULL: nobody asks.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as faults and system calls do: sleeps.  User time passes in between.
# Stands for: a user program.
cdef void run_steps(thread* td, proc* p, const steps* s, int64_t i, int64_t end, ps_t pending,
                    int64_t* next) noexcept nogil:
    cdef ps_t user_ps = replay_of(td).user_ps
    cdef uint8_t op
    cdef int prot
    cdef uint64_t arg0
    cdef bint first = pending >= 0
    if not first:
        pending = 0
    while i < end:
        if next != NULL:
            next[0] = i
        if s.user_ns != NULL and not first:
            pending += <ps_t>s.user_ns[i] * user_ps
        first = False
        op = s.op[i]
        arg0 = s.arg0[i]
        if op == OP_TOUCH:
            prot = VM_PROT_READ
            if s.arg2[i] & TOUCH_WRITE:
                prot = VM_PROT_WRITE
            elif s.arg2[i] & TOUCH_EXEC:
                prot = VM_PROT_EXECUTE
            if pending < MAX_PENDING_PS and pmap_access(td, &p.p_vmspace.pm, arg0, prot):
                i += 1
                continue
            if pending > 0:
                user(td, pending)
                pending = 0
            if unlikely(stopping(td.machine)):
                return
            touch(td, p, arg0, prot)
            i += 1
            continue
        if pending > 0:
            user(td, pending)
            pending = 0
        if unlikely(stopping(td.machine)) or op == OP_EXIT:
            return
        if op == OP_AWAIT:
            do_await(td, p, <int64_t>arg0, <int64_t>s.arg1[i])
            i += 1
            continue
        charge(td, td.machine.cost.syscall, 1)
        if op == OP_MMAP:
            do_mmap(td, p, arg0, s.arg1[i], s.arg2[i])
        elif op == OP_MUNMAP:
            vm_map_munmap(td, p.p_vmspace, arg0, arg0 + s.arg1[i])
        elif op == OP_MPROTECT:
            vm_map_mprotect(td, p.p_vmspace, arg0, arg0 + s.arg1[i], <uint8_t>s.arg2[i])
        elif op == OP_BRK:
            if arg0 != s.arg1[i]:
                vm_map_brk(td, p.p_vmspace, s.arg1[i], arg0)
        elif op == OP_FORK or op == OP_VFORK:
            do_fork(td, p, <int32_t>arg0, op == OP_VFORK)
        elif op == OP_EXEC:
            i = do_exec(td, p, s, i, end)
        elif op == OP_WAIT:
            proc_wait(td, p, <int32_t>arg0)
        elif op == OP_SLEEP:
            sleep_for(td, <ps_t>arg0 * PS_PER_NS)
        elif op == OP_SETPGID:
            sys_setpgid(td, p, <int>arg0, <int>s.arg1[i])
        elif op == OP_SETSID:
            sys_setsid(td, p)
        elif op == OP_KILLPG:
            killpg(td, p, <int>arg0)
        elif op == OP_PIPE:
            do_pipe(td, p, <int32_t>arg0)
        elif op == OP_READ:
            do_read(td, p, <int32_t>arg0, s.arg1[i])
        elif op == OP_WRITE:
            do_write(td, p, <int32_t>arg0, s.arg1[i])
        elif op == OP_CLOSE:
            fdclose(td, &p.p_fd, <int32_t>arg0, <int32_t>s.arg1[i])
        elif op == OP_HOLD:
            do_hold(td, p, <int32_t>arg0, <int32_t>s.arg1[i])
        elif op == OP_THREAD:
            do_thread(td, p, <int64_t>arg0, replay_of(td).first_step[arg0], 0, -1)
        elif is_file_step(op):
            file_step(td, &p.p_fd, &replay_of(td).paths, op, <int32_t>arg0, s.arg1[i], s.arg2[i])
        i += 1


# --- processes

cdef void plan_live(replay_state* r, int64_t i, proc_plan* plan) noexcept nogil:
    plan.number = r.live[i].number
    plan.live = <int32_t>i
    plan.step = r.live[i].step
    plan.end = r.first_step[plan.number + 1]
    plan.pause = r.live[i].pause_ns * PS_PER_NS
    plan.user = r.live[i].user_ns * r.user_ps


# Make those live processes whose parent this is, and whose address space is their own.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as vmspace_alloc() and proc_fork(): sleeps.
# Stands for: nothing in FreeBSD: these processes are there when the replay begins.
cdef void fork_live(thread* td, proc* p, int32_t parent) noexcept nogil:
    cdef replay_state* r = replay_of(td)
    cdef builder* b = &r.builders[p.p_builder]
    cdef proc_plan plan
    cdef int64_t i
    for i in range(b.live_first, b.live_last):
        if r.live[i].parent == parent and r.live[i].inherits == 0:
            plan_live(r, i, &plan)
            proc_fork(td, p, vmspace_alloc(td), False, &plan, process_main)


# One of the live processes is ready.  The last one says when the replay begins; all wait for that time.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on "replay".  Sleeps if wait.
# Stands for: nothing in FreeBSD.
cdef void arrive(thread* td, replay_state* r, bint wait) noexcept nogil:
    mtx_lock(td, &r.lock, SITE_READY)
    r.arrived += 1
    if r.arrived == r.nlive:
        r.start = (now(td) // START_GRID_PS + 2 + READY_GRIDS) * START_GRID_PS
    mtx_unlock(td, &r.lock)
    if not wait:
        return
    while r.start == 0:
        sleep_for(td, READY_GRIDS * <ps_t>START_GRID_PS)    # not on a lock: nothing of it may reach into the replay
    if now(td) < r.start:
        sleep_for(td, r.start - now(td))


# Where the process's threads say how far they have come; NULL: it has one.
cdef progress* progress_of(thread* td, replay_state* r, proc* p) noexcept nogil:
    cdef int64_t count = r.thread_first[p.p_plan.number + 1] - r.thread_first[p.p_plan.number]
    cdef progress* of
    if count == 0:
        return NULL
    of = <progress*>arena_alloc(td.machine, sizeof(progress) + count * sizeof(int64_t))
    memset(of, 0, sizeof(progress) + count * sizeof(int64_t))
    of.count = count + 1
    p.p_threads = of
    return of


# A further thread of a process.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as run_steps() and kern_thr_exit(): sleeps.
# Stands for: the program after FreeBSD thr_new().
cdef void thread_main(thread* td, void* argument) noexcept nogil:
    cdef thread_plan plan = (<thread_plan*>argument)[0]
    cdef replay_state* r = replay_of(td)
    cdef int64_t* next = &(<progress*>plan.p.p_threads).next[thread_of(r, plan.p, plan.list)]
    arena_free(td.machine, argument, sizeof(thread_plan))
    pmap_activate(td, &plan.p.p_vmspace.pm)
    sleep_for(td, plan.pause)
    run_steps(td, plan.p, &r.program, plan.step, r.first_step[plan.list + 1], plan.user, next)
    if unlikely(stopping(td.machine)):
        fdwake(td, &plan.p.p_fd)                        # as in process_main(): the first thread may be who waits
    next[0] = NEVER
    kern_thr_exit(td, plan.p)


# The further threads that a process has where the replay begins.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as do_thread().
# Stands for: nothing in FreeBSD.
cdef void make_live_threads(thread* td, replay_state* r, proc* p, progress* of) noexcept nogil:
    cdef live_thread* one
    cdef int64_t i, k
    of.next[0] = p.p_plan.step
    for i in range(r.nthreads):
        one = &r.threads[i]
        if one.live != p.p_plan.live:
            continue
        k = thread_of(r, p, one.list)
        of.next[k] = one.step
        if one.step == r.first_step[one.list + 1]:
            of.next[k] = NEVER
        else:
            do_thread(td, p, one.list, one.step, one.pause_ns * PS_PER_NS, one.user_ns * r.user_ps)


# A process, from fork to exit.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as run_steps(), make_live_threads(), thread_single() and proc_exit(): sleeps.
# Stands for: FreeBSD fork_exit() and the program after it.
cdef void process_main(thread* td, void* argument) noexcept nogil:
    cdef proc* p = <proc*>argument
    cdef replay_state* r = replay_of(td)
    cdef live_process* live
    cdef progress* of = progress_of(td, r, p)
    pmap_activate(td, &p.p_vmspace.pm)
    if p.p_plan.live >= 0:
        live = &r.live[p.p_plan.live]
        fdcloseall(td, &p.p_fd)                         # its past says which ends of pipes and files it has
        # One after another: what nobody waits for takes the host a third of the time.
        lockmgr_xlock(td, &r.turn, SITE_READY)
        run_steps(td, p, &r.past, live.past, live.past_end, -1, NULL)
        if r.start == 0:                                # else it slept in vfork while the replay began
            lockmgr_unlock(td, &r.turn)
            fork_live(td, p, p.p_plan.live)
            arrive(td, r, True)
        if of != NULL:
            make_live_threads(td, r, p, of)
    sleep_for(td, p.p_plan.pause)
    run_steps(td, p, &r.program, p.p_plan.step, p.p_plan.end, p.p_plan.user, &of.next[0] if of != NULL else NULL)
    if unlikely(stopping(td.machine)):
        fdwake(td, &p.p_fd)                             # nobody else may come who writes, or reads, what is waited for
    if of != NULL:
        of.next[0] = NEVER
        thread_single(td, p)
        p.p_threads = NULL
        arena_free(td.machine, of, sizeof(progress) + (of.count - 1) * sizeof(int64_t))
    proc_exit(td, p)


# Make the pipes that are there when the replay begins, with what is in them.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as kern_pipe(), pipe_write() and pipe_close(): sleeps.
# Stands for: nothing in FreeBSD.
cdef void make_live_pipes(thread* td, replay_state* r, const builder* b) noexcept nogil:
    cdef live_pipe* one
    cdef int64_t i
    cdef int end
    for i in range(b.pipe_first, b.pipe_last):
        one = &r.pipes[i]
        one.pipe = kern_pipe(td)
        if one.bytes > 0:
            pipe_write(td, one.pipe, one.bytes if one.bytes < BIG_PIPE_SIZE else BIG_PIPE_SIZE)
        for end in range(2):
            if one.holders[end] > 0:
                one.pipe.f_count[end] = one.holders[end]
        for end in range(2):
            if one.holders[end] == 0:
                pipe_close(td, one.pipe, end)


# --- builders

# Fork the first process of a recording: the builder draws which.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as vmspace_alloc() and proc_fork(): sleeps.
# Stands for: what starts a builder: a fork by whoever drives the build.
cdef void fork_root(thread* td, proc* reaper) noexcept nogil:
    cdef replay_state* r = replay_of(td)
    cdef builder* b = &r.builders[reaper.p_builder]
    cdef uint64_t drawn = next_random(&b.seed) >> 32
    cdef part_root* root = r.roots
    cdef proc_plan plan
    while drawn >= root.upto:
        root += 1
    b.root = root.number
    plan.number = b.root
    plan.live = -1
    plan.step = r.first_step[b.root]
    plan.end = r.first_step[b.root + 1]
    plan.pause = 0
    plan.user = -1
    proc_fork(td, reaper, vmspace_alloc(td), False, &plan, process_main)


# Put the files there in which a builder works, and those that all share in their place.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on "replay"; as tmpfs_mount_new(), tree_plant() and file_find(): sleeps.
# Stands for: whoever makes a jail: mounts, and copies files.
cdef void make_tree(thread* td, replay_state* r, builder* b, proc* reaper) noexcept nogil:
    cdef shared_tree* shared
    cdef vm_object* obj
    cdef int64_t i
    if b.number == 0:
        for i in range(r.nshared):
            shared = &r.shared[i]
            shared.mount = tmpfs_mount_new(td, -1)
            tree_plant(td, &r.paths, shared.mount, shared.root, r.entries, shared.first, shared.last,
                       &r.images[r.nbuilders])
    b.mount = tmpfs_mount_new(td, b.number)
    tree_plant(td, &r.paths, b.mount, 0, r.entries, b.tree_first, b.tree_last, b.files)
    fdinit(td, &reaper.p_fd, b.mount.tm_root_vnode, 0)
    if r.nshared == 0:
        return
    mtx_lock(td, &r.lock, SITE_READY)
    if b.number == 0:
        r.planted = True
        wakeup(td, &r.planted)
    while not r.planted:
        msleep(td, &r.planted, &r.lock, SITE_READY)
    mtx_unlock(td, &r.lock)
    for i in range(r.nshared):
        b.covered[i] = file_find(td, &reaper.p_fd, &r.paths, r.shared[i].root, &obj)
        if b.covered[i] != NULL:
            vfs_mount_on(td, b.covered[i], r.shared[i].mount.tm_root_vnode)


# Locks in:   none; nobody but the reaper works in it any more.
# Locks out:  none.
# May block:  as fdescfree(), vrele() and tmpfs_unmount(): sleeps.
# Stands for: whoever takes a jail down.
cdef void free_tree(thread* td, replay_state* r, builder* b, proc* reaper) noexcept nogil:
    cdef int64_t i
    fdescfree(td, &reaper.p_fd)
    for i in range(r.nshared):
        if b.covered[i] != NULL:
            vfs_mount_on(td, b.covered[i], NULL)
            vrele(td, b.covered[i])
    tmpfs_unmount(td, b.mount)


# A builder, from the filling of its image to the end of the run.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on "replay"; as image_fill(), make_tree(), make_live_pipes(), memory_age(), fork_live(), proc_wait(),
#             free_tree(), tmpfs_unmount(), image_free() and proc_exit(): sleeps.
# Stands for: whoever drives a build, and reaps what its processes leave behind.
cdef void builder_main(thread* td, void* argument) noexcept nogil:
    cdef proc* reaper = <proc*>argument
    cdef replay_state* r = replay_of(td)
    cdef builder* b = &r.builders[reaper.p_builder]
    cdef int64_t i
    cdef int32_t ended
    cdef bint last
    image_fill(td, b.files, r.file_pages, r.runs, b.fill_first, b.fill_last, b.seed)
    image_fill(td, &r.images[r.nbuilders], r.file_pages, r.runs, b.share_first, b.share_last, b.seed)
    mtx_lock(td, &r.lock, SITE_READY)
    r.filled += 1
    if r.filled == r.nbuilders:
        wakeup(td, &r.filled)
    while r.filled < r.nbuilders:
        msleep(td, &r.filled, &r.lock, SITE_READY)
    mtx_unlock(td, &r.lock)
    if r.file_path != NULL:
        make_tree(td, r, b, reaper)
    for i in range(b.files.nfiles):
        if r.file_shared[i]:
            b.files.files[i] = r.images[r.nbuilders].files[i]
    make_live_pipes(td, r, b)
    memory_age(td, b.age_pages, ~b.seed)                # all at once: one after another they would mix the same pages
    fork_live(td, reaper, -1)
    while True:
        ended = proc_wait(td, reaper, WAIT_ANY)
        if stopping(td.machine):
            if ended < 0:
                break
        elif ended == b.root:
            fork_root(td, reaper)
    if b.mount != NULL:
        free_tree(td, r, b, reaper)
    for i in range(b.files.nfiles):
        if r.file_shared[i]:
            b.files.files[i] = NULL
    image_free(td, b.files)
    mtx_lock(td, &r.lock, SITE_READY)
    r.left += 1
    last = r.left == r.nbuilders
    mtx_unlock(td, &r.lock)
    if last:
        for i in range(r.nshared):
            tmpfs_unmount(td, r.shared[i].mount)
        image_free(td, &r.images[r.nbuilders])
    proc_exit(td, reaper)


# --- Python's door

FAULT_NAMES = {
    FAULT_FAST: "fast", FAULT_SUPERPAGE: "superpage", FAULT_RESIDENT: "resident", FAULT_BACKING: "backing",
    FAULT_ZERO: "zero", FAULT_COPY: "copy", FAULT_MOVE: "move", FAULT_BAD: "bad"}


cdef class Kernel:
    """The kernel on a machine, and the builders that run a program on it.

    Made in steps: the kernel, over `segments` of physical memory (start, end, domain; bytes) with a `design` of the PV
    list lock and KernelOptions; then `load()`; then `start()`, after which the machine runs. The arrays given to
    `load()` are kept.
    """

    cdef Machine host
    cdef replay_state* r
    cdef list kept
    cdef int64_t pages_before
    cdef dict baseline

    def __init__(self, Machine host, segments, design, options=None):
        cdef kernel_config config
        self.host = host
        kernel_config_from(&config, segments, design, options)
        kernel_create(host.m, &config)
        self.pages_before = phys_allocated_pages(host.m)
        self.r = <replay_state*>arena_alloc(host.m, sizeof(replay_state))
        mtx_init(&self.r.lock, NAME_REPLAY, 0)
        lockmgr_init(&self.r.turn, NAME_TURN, 0)
        (<proc_state*>host.m.proc).replay = self.r
        self.kept = []
        self.baseline = {}

    cdef const void* _keep(self, array, str dtype):
        """Remember an array, and give its data."""
        cdef const uint8_t[::1] view
        if array.dtype.str.lstrip("<|=") != dtype or not array.flags.c_contiguous:
            raise TypeError(f"expected a contiguous array of {dtype}, not {array.dtype}")
        self.kept.append(array)
        if array.nbytes == 0:
            return NULL
        view = array.reshape(-1).view("u1")
        return &view[0]

    def load(self, program, past, live, threads, pipes, runs, file_shared, entries, trees, roots, builders, *,
             double user_time=1.0):
        """Give the kernel what the builders run.

        `program` is a workload.program.Program. `past` is a Start's `op`, `arg0`, `arg1`, `arg2`, of all builders
        together; `live` has a row (number, parent, inherits, past, past_end, step, pause_ns, user_ns) for each process
        alive at the start, `threads` a row (index in `live`, list, step, pause_ns, user_ns) for each further thread of
        theirs that has begun, `pipes` a row (number, bytes, readers, writers) for each pipe there, `runs` a row (file,
        page, pages) for each piece of an image; `file_shared` says of each file whether all builders map one. `entries`
        has a row (path, file, bytes) for each file of the builders' file systems, `trees` a row (path, first, last
        entry) for each directory that they share, `roots` a row (process, upto) for each part, and `builders` a row
        (fill_first, fill_last, share_first, share_last, tree_first, tree_last, live_first, live_last, pipe_first,
        pipe_last, age_pages, seed, root) for each builder. User time lasts `user_time` times what the recording
        says.
        """
        cdef replay_state* r = self.r
        cdef int64_t i
        r.program.op = <const uint8_t*>self._keep(program.op, "u1")
        r.program.user_ns = <const uint32_t*>self._keep(program.user_ns, "u4")
        r.program.arg0 = <const uint64_t*>self._keep(program.arg0, "u8")
        r.program.arg1 = <const uint64_t*>self._keep(program.arg1, "u8")
        r.program.arg2 = <const uint32_t*>self._keep(program.arg2, "u4")
        r.past.op = <const uint8_t*>self._keep(past[0], "u1")
        r.past.arg0 = <const uint64_t*>self._keep(past[1], "u8")
        r.past.arg1 = <const uint64_t*>self._keep(past[2], "u8")
        r.past.arg2 = <const uint32_t*>self._keep(past[3], "u4")
        r.first_step = <const int64_t*>self._keep(program.first_step, "i8")
        of_process = np.searchsorted(program.thread_process, np.arange(len(program.parent) + 1))
        r.thread_first = <const int64_t*>self._keep((of_process + len(program.parent)).astype(np.int64), "i8")
        r.map_file = <const int32_t*>self._keep(program.map_file, "i4")
        r.map_page = <const int64_t*>self._keep(program.map_page, "i8")
        r.map_prot = <const uint8_t*>self._keep(program.map_prot, "u1")
        r.map_flags = <const uint8_t*>self._keep(program.map_flags, "u1")
        r.file_pages = <const int64_t*>self._keep(program.file_pages, "i8")
        r.file_shared = <const uint8_t*>self._keep(file_shared, "u1")
        if len(program.path_parent):
            r.file_path = <const int32_t*>self._keep(program.file_path, "i4")
            r.paths.count = len(program.path_parent)
            r.paths.parent = <const int32_t*>self._keep(program.path_parent, "i4")
            r.paths.name = <const uint32_t*>self._keep(program.path_name, "u4")
        r.entries = <tree_entry*>self._keep(entries, "V16")
        r.nshared = len(trees)
        r.shared = <shared_tree*>arena_alloc(self.host.m, max(1, r.nshared) * sizeof(shared_tree))
        for i, row in enumerate(trees):
            r.shared[i].root, r.shared[i].first, r.shared[i].last = row
        r.nlive = len(live)
        r.live = <live_process*>arena_alloc(self.host.m, max(1, r.nlive) * sizeof(live_process))
        for i, row in enumerate(live):
            (r.live[i].number, r.live[i].parent, r.live[i].inherits, r.live[i].past, r.live[i].past_end,
             r.live[i].step, r.live[i].pause_ns, r.live[i].user_ns) = row
        r.nthreads = len(threads)
        r.threads = <live_thread*>arena_alloc(self.host.m, max(1, r.nthreads) * sizeof(live_thread))
        for i, row in enumerate(threads):
            (r.threads[i].live, r.threads[i].list, r.threads[i].step, r.threads[i].pause_ns,
             r.threads[i].user_ns) = row
        r.pipes = <live_pipe*>arena_alloc(self.host.m, max(1, len(pipes)) * sizeof(live_pipe))
        for i, row in enumerate(pipes):
            r.pipes[i].number, r.pipes[i].bytes, r.pipes[i].holders[0], r.pipes[i].holders[1] = row
        r.runs = <fill_run*>arena_alloc(self.host.m, max(1, len(runs)) * sizeof(fill_run))
        for i, row in enumerate(runs):
            r.runs[i].file, r.runs[i].page, r.runs[i].pages = row
        r.roots = <part_root*>arena_alloc(self.host.m, len(roots) * sizeof(part_root))
        for i, row in enumerate(roots):
            r.roots[i].number, r.roots[i].upto = row
        r.user_ps = round(user_time * PS_PER_NS)
        r.nbuilders = len(builders)
        r.nimages = r.nbuilders + 1
        r.images = <image*>arena_alloc(self.host.m, r.nimages * sizeof(image))
        for i in range(r.nimages):
            r.images[i].builder = -1 if i == r.nbuilders else <int32_t>i
            r.images[i].nfiles = len(program.file_pages)
            r.images[i].files = <vm_object**>arena_alloc(
                self.host.m, max(1, r.images[i].nfiles) * sizeof(vm_object*))
        r.builders = <builder*>arena_alloc(self.host.m, r.nbuilders * sizeof(builder))
        for i, row in enumerate(builders):
            r.builders[i].number = <int32_t>i
            r.builders[i].files = &r.images[i]
            r.builders[i].covered = <vnode**>arena_alloc(self.host.m, max(1, r.nshared) * sizeof(vnode*))
            (r.builders[i].fill_first, r.builders[i].fill_last, r.builders[i].share_first, r.builders[i].share_last,
             r.builders[i].tree_first, r.builders[i].tree_last, r.builders[i].live_first, r.builders[i].live_last,
             r.builders[i].pipe_first, r.builders[i].pipe_last, r.builders[i].age_pages, r.builders[i].seed,
             r.builders[i].root) = row

    def start(self):
        """Put the builders' threads on the machine."""
        cdef int64_t i
        cdef builder* b
        for i in range(self.r.nbuilders):
            b = &self.r.builders[i]
            b.reaper = proc_reaper(self.host.m, b.number)
            b.reaper.p_thread = self.host.m.ops.spawn(NULL, self.host.m, builder_main, b.reaper, b.reaper)
            if b.reaper.p_thread == NULL:
                raise MemoryError("no thread for a builder")
        listing_start(self.host.m)
        vm_pageout_start(self.host.m)

    @property
    def start_ps(self):
        """When the replay begins, a little ahead of then; 0 while builders are not ready. Picoseconds."""
        return self.r.start

    @property
    def pv_bytes(self):
        """Memory that the design takes for locks, generations and list heads, bytes."""
        return (<pvlock_state*>self.host.m.pvlock).plan.bytes

    def _totals(self):
        cdef proc_state* ps = <proc_state*>self.host.m.proc
        cdef vm_state* vs = <vm_state*>self.host.m.vm
        cdef pmap_state* pm = <pmap_state*>self.host.m.pmap
        cdef pv_state* pv = <pv_state*>self.host.m.pv
        cdef vfs_state* fs = <vfs_state*>self.host.m.vfs
        cdef int i
        totals = {"forks": ps.forks, "vforks": ps.vforks, "execs": ps.execs, "exits": ps.exits, "listings": ps.listings,
                  "stack_growths": vs.growths, "active_scanned": vs.scanned, "prefault_candidates": vs.prefaulted}
        total = 0
        for i in range(FAULT_KINDS):
            totals[f"faults_{FAULT_NAMES[i]}"] = vs.faults[i]
            total += vs.faults[i]
        totals["faults"] = total
        totals |= {"pipes": fs.made, "pipe_reads": fs.reads, "pipe_writes": fs.writes, "pipe_bytes": fs.bytes,
                   "pipe_buffers_grown": fs.grown}
        totals |= {"opens": fs.opens, "lookups": fs.lookups, "name_cache_hits": fs.cache_hits,
                   "negative_hits": fs.negative_hits, "file_reads": fs.file_reads, "file_writes": fs.file_writes,
                   "file_bytes": fs.file_bytes, "renames": fs.renames, "exit_scans": fs.pfs.scans}
        totals |= {"promotions": pm.promotions, "promotion_failures": pm.promotion_failures, "demotions": pm.demotions,
                   "superpage_mappings": pm.mappings, "restarts": pm.restarts, "reclaims": pv.reclaims,
                   "chunk_allocations": pv.chunk_allocs, "reservations_broken": phys_reservations_broken(self.host.m)}
        return totals

    def counts(self):
        """Count since the last reset.

        forks, vforks, execs, exits, lists of all processes; faults, and faults by how they were settled; pipes made,
        calls of read and write on them, bytes written, buffers that grew; files opened, names looked up, and those that
        the name cache knew (of files, of nothing), calls of read and write on files, bytes of both, renames, walks of
        pseudofs's list by ends of processes; promotions, demotions and superpages mapped
        whole; restarts of bottom-up operations; calls of reclaim_pv_chunk, chunks allocated; reservations broken
        for want of memory.
        """
        return {name: value - self.baseline.get(name, 0) for name, value in self._totals().items()}

    def reset_counts(self):
        """Begin counting afresh."""
        self.baseline = self._totals()
        pv_reset(self.host.m)

    def chunks_freed(self):
        """Calls of pmap_remove_pages by how many PV chunks each freed: rows (chunks, calls)."""
        cdef pv_state* pv = <pv_state*>self.host.m.pv
        cdef int i
        return [[i, pv.chunks_freed[i]] for i in range(CHUNKS_FREED_MAX + 1) if pv.chunks_freed[i]]

    def audit(self, *, bint quiet=False):
        """Check the kernel's state: 0 and "", or how many faults were found and what the first one was.

        With `quiet`, no thread may be in the middle of a system call or fault.
        """
        cdef char why[512]
        why[0] = 0
        found = vm_audit(self.host.m, quiet, why, sizeof(why))
        return found, why.decode()

    def in_use(self):
        """Count what is allocated: all 0 before start() and after the last thread has ended."""
        cdef proc_state* ps = <proc_state*>self.host.m.proc
        cdef vm_state* vs = <vm_state*>self.host.m.vm
        cdef pv_state* pv = <pv_state*>self.host.m.pv
        cdef vfs_state* fs = <vfs_state*>self.host.m.vfs
        # the kernel's page tables stay, and so do pages of radix nodes
        pages = phys_allocated_pages(self.host.m) - self.pages_before
        pages -= pmap_kernel_ptps(self.host.m) + radix_pages(self.host.m)
        return {"processes": ps.processes, "groups": ps.groups, "objects": vs.objects, "maps": vs.maps,
                "entries": vs.entries, "chunks": pv.chunks, "pipes": fs.pipes, "pipe_kva": fs.amountpipekva,
                "vnodes": fs.vnodes, "nodes": fs.nodes, "dirents": fs.dirents, "files": fs.files, "pages": pages}
