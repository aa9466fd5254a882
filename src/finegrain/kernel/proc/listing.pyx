# Lists of all processes, as ps makes them.
#
# Two system calls.  The first walks the hash table of pids, a lock of it at a time with proctree shared, and copies
# what each process's struct says; it is why a list of processes no longer stops every fork and exit.  The second asks
# for each process's arguments: longer ones than the kernel keeps (256 bytes, as most compilations have) are read from
# the process's own stack, by faults in its address space: the one reader of another's map that a build has.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport lock_site, mtx_lock, mtx_unlock, sx_assert_locked, sx_slock, sx_sunlock
from finegrain.kernel.proc.types cimport (
    PIDHASH, PIDHASHLOCK, PID_HASH, PID_HASH_LOCKS, PID_MAX, PROCTREE_ASSERT_LOCKED, PRS_ZOMBIE, proc, proc_of,
    proc_state)
from finegrain.kernel.types cimport VM_PROT_READ, vmspace
from finegrain.kernel.vm cimport vm_fault, vm_map_export, vmspace_acquire_ref, vmspace_free
from finegrain.machine.seam cimport arena_alloc, charge, now, sleep_for, stopping, touch_read
from finegrain.machine.thread cimport ps_t, thread

cdef uint16_t SITE_LIST = lock_site(b"proc_iterate")
cdef uint16_t SITE_KINFO = lock_site(b"fill_kinfo_proc")
cdef uint16_t SITE_PGET = lock_site(b"pget")

cdef enum:
    OPS_KINFO = 800                     # [A] a struct of 1 KB cleared and filled in
    OPS_COPYOUT = 400                   # [A] and copied to the user, with no lock of the process held
    ARG_READS = 3                       # proc_get_ps_strings(), the vector, the strings: kern_proc.c get_proc_vector()


# What a process's struct says.
#
# Locks in:   the proctree lock, shared; the "pidhash" lock of p, shared.
# Locks out:  the same.
# May block:  on the process lock and, holding it, on "sigacts", "session".
# Stands for: FreeBSD sysctl_out_proc(), fill_kinfo_proc().
cdef void list_one(thread* td, proc* p) noexcept nogil:
    PROCTREE_ASSERT_LOCKED(td)
    sx_assert_locked(td, PIDHASHLOCK(proc_of(td), p.p_pid), b"the pid hash is not locked")
    mtx_lock(td, &p.p_mtx, SITE_LIST)
    touch_read(td, &p.p_ucred)
    touch_read(td, &p.p_state)
    touch_read(td, &p.p_list_next)
    mtx_lock(td, &p.p_sigacts.ps_mtx, SITE_KINFO)
    touch_read(td, &p.p_sigacts.ps_flag)
    mtx_unlock(td, &p.p_sigacts.ps_mtx)
    if p.p_vmspace != NULL:
        touch_read(td, &p.p_vmspace)
        touch_read(td, &p.p_vmspace.pm.resident_count)
    if p.p_pgrp != NULL:
        touch_read(td, &p.p_pgrp.pg_session)
        mtx_lock(td, &p.p_pgrp.pg_session.s_mtx, SITE_KINFO)
        mtx_unlock(td, &p.p_pgrp.pg_session.s_mtx)
    charge(td, td.machine.cost.op, OPS_KINFO)
    mtx_unlock(td, &p.p_mtx)
    charge(td, td.machine.cost.op, OPS_COPYOUT)


# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on proctree, "pidhash"; on the locks that list_one() takes.
# Returns:    how many pids are in `pids`.
# Stands for: FreeBSD sysctl_kern_proc(), proc_iterate().
cdef int64_t list_all(thread* td, uint32_t* pids) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    cdef uint32_t i, j
    cdef proc* p
    cdef int64_t n = 0
    charge(td, td.machine.cost.syscall, 1)
    for i in range(PID_HASH_LOCKS):
        sx_slock(td, &st.proctree, SITE_LIST)
        sx_slock(td, PIDHASHLOCK(st, i), SITE_LIST)
        j = i
        while j < PID_HASH:
            p = PIDHASH(st, j)[0]
            while p != NULL:
                touch_read(td, &p.p_hash_next)
                list_one(td, p)
                if n < PID_MAX:
                    pids[n] = p.p_pid
                    n += 1
                p = p.p_hash_next
            j += PID_HASH_LOCKS
        sx_sunlock(td, PIDHASHLOCK(st, i))
        sx_sunlock(td, &st.proctree)
    return n


# The process with that pid, if it still runs a program, and a reference to its address space.
#
# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on "pidhash"; holding it, on the process lock.
# Returns:    the address space, NULL: none.  top: the page of its arguments.
# Stands for: FreeBSD pget(), pfind(), and the vmspace_acquire_ref() of proc_readmem().
cdef vmspace* address_space_of(thread* td, uint32_t pid, uint64_t* top) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    cdef proc* p
    cdef vmspace* vms = NULL
    sx_slock(td, PIDHASHLOCK(st, pid), SITE_PGET)
    p = PIDHASH(st, pid)[0]
    while p != NULL and p.p_pid != pid:
        touch_read(td, &p.p_hash_next)
        p = p.p_hash_next
    if p != NULL:
        mtx_lock(td, &p.p_mtx, SITE_PGET)
    sx_sunlock(td, PIDHASHLOCK(st, pid))
    if p == NULL:
        return NULL
    touch_read(td, &p.p_ucred)
    if p.p_state != PRS_ZOMBIE and p.p_vmspace != NULL and p.p_psstrings != 0 and vmspace_acquire_ref(td, p.p_vmspace):
        vms = p.p_vmspace
        top[0] = p.p_psstrings
    mtx_unlock(td, &p.p_mtx)
    return vms


# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on "pidhash"; on the process lock; as vm_fault() and vmspace_free(): sleeps.
# Stands for: FreeBSD sysctl_kern_proc_args(), proc_getargv(), proc_rwmem().
cdef void arguments_of(thread* td, uint32_t pid) noexcept nogil:
    cdef uint64_t top = 0
    cdef vmspace* vms
    charge(td, td.machine.cost.syscall, 1)
    vms = address_space_of(td, pid, &top)
    if vms == NULL:
        return
    for _ in range(ARG_READS):
        vm_fault(td, vms, top, VM_PROT_READ)
    charge(td, td.machine.cost.op, OPS_COPYOUT)
    vmspace_free(td, vms)


# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on "pidhash"; on the process lock; as vm_map_export() and vmspace_free(): sleeps.
# Stands for: FreeBSD sysctl_kern_proc_vmmap().
cdef void map_of(thread* td, uint32_t pid) noexcept nogil:
    cdef uint64_t top = 0
    cdef vmspace* vms
    charge(td, td.machine.cost.syscall, 1)
    vms = address_space_of(td, pid, &top)
    if vms == NULL:
        return
    vm_map_export(td, vms)
    vmspace_free(td, vms)
    proc_of(td).map_readings += 1


# Locks in:   none.
# Locks out:  none.
# May block:  as list_all(), arguments_of() and map_of(): sleeps; sleeps between two lists.
# Stands for: ps, top or a monitoring script, started now and then.
cdef void list_now_and_then(thread* td, uint32_t* pids, ps_t period, bint maps) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    cdef ps_t next = now(td)
    cdef int64_t i, n
    while True:
        next += period
        if next > now(td):
            sleep_for(td, next - now(td))
        else:
            next = now(td)                              # one is slower than the period: the next begins at once
        if stopping(td.machine):
            return
        n = list_all(td, pids)
        for i in range(n):
            if maps:
                map_of(td, pids[i])
            else:
                arguments_of(td, pids[i])
        st.listings += 1


# Locks in:   none.
# Locks out:  none.
# May block:  as list_now_and_then(): sleeps.
# Stands for: ps or top.
cdef void listing_main(thread* td, void* argument) noexcept nogil:
    list_now_and_then(td, <uint32_t*>argument, proc_of(td).listing_period, False)


# Locks in:   none.
# Locks out:  none.
# May block:  as list_now_and_then(): sleeps.
# Stands for: procstat -v, or a monitoring script that wants to know what is resident.
cdef void reading_main(thread* td, void* argument) noexcept nogil:
    list_now_and_then(td, <uint32_t*>argument, proc_of(td).map_reading_period, True)


# Locks in:   none; the machine is not running yet.
# Locks out:  none.
# May block:  never.
# Stands for: nothing in FreeBSD: whoever starts such a program.
cdef int listing_start(machine* m) except -1:
    cdef proc_state* st = <proc_state*>m.proc
    cdef uint32_t* pids
    cdef int maps
    for maps in range(2):
        if (st.map_reading_period if maps else st.listing_period) == 0:
            continue
        pids = <uint32_t*>arena_alloc(m, PID_MAX * sizeof(uint32_t))
        if pids == NULL or m.ops.spawn(NULL, m, reading_main if maps else listing_main, pids, NULL) == NULL:
            raise MemoryError("no room to list processes")
    return 0
