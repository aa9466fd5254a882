# Process groups and sessions.
#
# A shell puts each job into a group, so that a signal reaches all of it.  A group is found by its number in a hash
# table under proctree; its members are a list under proctree and the group's own mutex, so that whoever signals the
# group needs proctree only to find it.  A session is a login: it goes with its groups.
#
# Order of locks: proctree; process group (the new one, then the old one); process lock; "sigacts".

from libc.stdint cimport uint16_t

from finegrain.kernel.locks cimport (
    LO_DUPOK, lock_name, lock_site, mtx_assert_owned, mtx_init, mtx_lock, mtx_unlock, sx_slock, sx_sunlock, sx_xlock,
    sx_xunlock)
from finegrain.kernel.proc.types cimport (
    PID_HASH, PROCTREE_ASSERT_LOCKED, PROCTREE_ASSERT_XLOCKED, linked_insert, linked_remove, proc_of, proc_state,
    session)
from finegrain.machine.seam cimport arena_alloc, arena_free, charge, raw_lock, raw_unlock, touch_read, touch_write

cdef uint16_t NAME_GROUP = lock_name(b"sleep mutex", b"process group")
cdef uint16_t NAME_SESSION = lock_name(b"sleep mutex", b"session")
cdef uint16_t SITE_LEAVE = lock_site(b"leavepgrp")
cdef uint16_t SITE_ENTER = lock_site(b"doenterpgrp")
cdef uint16_t SITE_NEW = lock_site(b"enterpgrp")
cdef uint16_t SITE_FIND = lock_site(b"pgfind")
cdef uint16_t SITE_SETPGID = lock_site(b"sys_setpgid")
cdef uint16_t SITE_SETSID = lock_site(b"sys_setsid")
cdef uint16_t SITE_KILL = lock_site(b"killpg1")
cdef uint16_t SITE_SIGNAL = lock_site(b"tdsendsignal")

cdef enum:
    OPS_GROUP = 60                      # [A] fields of a new group, an allocation from a per-CPU cache
    OPS_SIGNAL = 80                     # [A] permission, queueing, choosing a thread


# Locks in: the group's mutex.  Locks out: the same.  May block: never.
# Stands for: FreeBSD PGRP_LOCK_ASSERT(pgrp, MA_OWNED).
cdef inline void PGRP_LOCK_ASSERT(thread* td, pgrp* pg) noexcept nogil:
    mtx_assert_owned(td, &pg.pg_mtx, b"the process group is not locked")


# Memory for a group: that of an earlier one, whose mutex a late unlocker may still look at, or new.
#
# Locks in:   none of its own.  td NULL: the machine is not running yet.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD's malloc() of a pgrp.
cdef pgrp* pgrp_allocate(machine* m, thread* td) noexcept nogil:
    cdef proc_state* st = <proc_state*>m.proc
    cdef pgrp* pg
    if td != NULL:
        raw_lock(td, &st.lock)
    pg = st.free_groups
    if pg != NULL:
        st.free_groups = pg.pg_hash_next
    st.groups += 1
    if td != NULL:
        raw_unlock(td, &st.lock)
        charge(td, td.machine.cost.op, OPS_GROUP)
    if pg == NULL:
        pg = <pgrp*>arena_alloc(m, sizeof(pgrp))
        mtx_init(&pg.pg_mtx, NAME_GROUP, LO_DUPOK)
    pg.pg_members = NULL
    pg.pg_jobc = 0
    return pg


cdef inline void hash_insert(thread* td, proc_state* st, pgrp* pg) noexcept nogil:
    linked_insert(td, <void**>&st.pgrphash[pg.pg_id & (PID_HASH - 1)], NULL, pg, <void**>&pg.pg_hash_next,
                  <void**>&pg.pg_hash_prev)


# Locks in:   none; the machine is not running yet.
# Locks out:  none.
# May block:  never.
# Stands for: the group and session of FreeBSD's proc0.
cdef void pgrp_first(machine* m, proc* p) noexcept nogil:
    cdef pgrp* pg = pgrp_allocate(m, NULL)
    cdef session* s = <session*>arena_alloc(m, sizeof(session))
    mtx_init(&s.s_mtx, NAME_SESSION, 0)
    s.s_count = 1
    s.s_leader = p
    pg.pg_session = s
    name_group(pg, p)
    hash_insert(NULL, <proc_state*>m.proc, pg)
    p.p_pgrp = pg
    linked_insert(NULL, <void**>&pg.pg_members, NULL, p, <void**>&p.p_pglist_next, <void**>&p.p_pglist_prev)


cdef inline void name_group(pgrp* pg, proc* leader) noexcept nogil:
    pg.pg_id = leader.p_pid
    pg.pg_builder = leader.p_builder
    pg.pg_number = leader.p_plan.number


# Locks in:   the proctree lock, exclusively; the group's mutex.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD's LIST_INSERT_AFTER() on p_pglist in do_fork().
cdef void pgrp_join(thread* td, proc* p, proc* beside) noexcept nogil:
    cdef pgrp* pg = beside.p_pgrp
    PROCTREE_ASSERT_XLOCKED(td)
    PGRP_LOCK_ASSERT(td, pg)
    p.p_pgrp = pg
    linked_insert(td, <void**>&pg.pg_members, beside, p, <void**>&p.p_pglist_next, <void**>&p.p_pglist_prev)


# A group that nobody can find goes.
#
# Locks in:   none of its own.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD's free() of a pgrp.
cdef void group_unused(thread* td, pgrp* pg) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    if pg == NULL:
        return
    raw_lock(td, &st.lock)
    pg.pg_hash_next = st.free_groups
    st.free_groups = pg
    st.groups -= 1
    raw_unlock(td, &st.lock)


# A group without members goes, and with its last group a session.
#
# Locks in:   the proctree lock, exclusively.
# Locks out:  the same.
# May block:  on the group's mutex.
# Stands for: FreeBSD pgdelete(), sess_release().
cdef void pgdelete(thread* td, pgrp* pg) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    PROCTREE_ASSERT_XLOCKED(td)
    mtx_lock(td, &pg.pg_mtx, SITE_LEAVE)
    linked_remove(td, <void**>&st.pgrphash[pg.pg_id & (PID_HASH - 1)], pg, <void**>&pg.pg_hash_next,
                  <void**>&pg.pg_hash_prev)
    mtx_unlock(td, &pg.pg_mtx)
    touch_write(td, &pg.pg_session.s_count)
    pg.pg_session.s_count -= 1
    if pg.pg_session.s_count == 0:
        arena_free(td.machine, pg.pg_session, sizeof(session))
    group_unused(td, pg)


# Locks in:   the proctree lock, exclusively.
# Locks out:  the same.
# May block:  on the group's mutex and, holding it, the process lock.
# Stands for: FreeBSD leavepgrp().
cdef void leavepgrp(thread* td, proc* p) noexcept nogil:
    cdef pgrp* pg = p.p_pgrp
    PROCTREE_ASSERT_XLOCKED(td)
    mtx_lock(td, &pg.pg_mtx, SITE_LEAVE)
    mtx_lock(td, &p.p_mtx, SITE_LEAVE)
    linked_remove(td, <void**>&pg.pg_members, p, <void**>&p.p_pglist_next, <void**>&p.p_pglist_prev)
    p.p_pgrp = NULL
    mtx_unlock(td, &p.p_mtx)
    mtx_unlock(td, &pg.pg_mtx)
    if pg.pg_members == NULL:
        pgdelete(td, pg)


# Move a process from its group to another.
#
# Locks in:   the proctree lock, exclusively.
# Locks out:  the same.
# May block:  on both groups' mutexes and, holding them, the process lock.
# Stands for: FreeBSD doenterpgrp(), fixjobc() for a process whose children are in its own group.
cdef void doenterpgrp(thread* td, proc* p, pgrp* pg) noexcept nogil:
    cdef pgrp* old = p.p_pgrp
    PROCTREE_ASSERT_XLOCKED(td)
    touch_read(td, &p.p_pptr.p_pgrp)
    mtx_lock(td, &pg.pg_mtx, SITE_ENTER)
    mtx_lock(td, &old.pg_mtx, SITE_ENTER)
    mtx_lock(td, &p.p_mtx, SITE_ENTER)
    linked_remove(td, <void**>&old.pg_members, p, <void**>&p.p_pglist_next, <void**>&p.p_pglist_prev)
    p.p_pgrp = pg
    touch_write(td, &p.p_pgrp)
    mtx_unlock(td, &p.p_mtx)
    linked_insert(td, <void**>&pg.pg_members, NULL, p, <void**>&p.p_pglist_next, <void**>&p.p_pglist_prev)
    mtx_unlock(td, &old.pg_mtx)
    mtx_unlock(td, &pg.pg_mtx)
    if old.pg_members == NULL:
        pgdelete(td, old)


# A new group that the process leads, in its session or in a new one.
#
# Locks in:   the proctree lock, exclusively.
# Locks out:  the same.
# May block:  on groups' mutexes and, holding them, the process lock.
# Stands for: FreeBSD enterpgrp().
cdef void enterpgrp(thread* td, proc* p, pgrp* pg, session* s) noexcept nogil:
    PROCTREE_ASSERT_XLOCKED(td)
    name_group(pg, p)
    mtx_lock(td, &pg.pg_mtx, SITE_NEW)
    if s != NULL:
        mtx_lock(td, &p.p_mtx, SITE_NEW)                    # no longer of the old session's terminal
        touch_write(td, &p.p_flag)
        mtx_unlock(td, &p.p_mtx)
        s.s_count = 1
        s.s_leader = p
        pg.pg_session = s
    else:
        pg.pg_session = p.p_pgrp.pg_session
        touch_write(td, &pg.pg_session.s_count)
        pg.pg_session.s_count += 1
    hash_insert(td, proc_of(td), pg)
    mtx_unlock(td, &pg.pg_mtx)
    doenterpgrp(td, p, pg)


# The group of a builder whose first leader had this number.
#
# Locks in:   the proctree lock.
# Locks out:  the same, and the group's mutex if there is one.
# May block:  on the group's mutex.
# Returns:    the group; NULL when there is none.
# Stands for: FreeBSD pgfind().
cdef pgrp* pgfind(thread* td, proc* p, int leader) noexcept nogil:
    cdef proc* member
    cdef pgrp* pg = NULL
    PROCTREE_ASSERT_LOCKED(td)
    # The program knows no pids.  A leader that lives is p itself, or in p's family; a dead one left members there.
    if p.p_pgrp.pg_number == leader and p.p_pgrp.pg_builder == p.p_builder:
        pg = p.p_pgrp
    member = p.p_children
    while pg == NULL and member != NULL:
        touch_read(td, &member.p_pgrp)
        if member.p_pgrp != NULL and member.p_pgrp.pg_number == leader:
            pg = member.p_pgrp
        member = member.p_sibling_next
    if pg != NULL:
        touch_read(td, &proc_of(td).pgrphash[pg.pg_id & (PID_HASH - 1)])
        mtx_lock(td, &pg.pg_mtx, SITE_FIND)
    return pg


# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on proctree; holding it, on groups' mutexes and process locks.
# Returns:    False: no such process or group, or not allowed.
# Stands for: FreeBSD sys_setpgid().
cdef bint sys_setpgid(thread* td, proc* p, int number, int leader) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    cdef pgrp* new = pgrp_allocate(td.machine, td)
    cdef pgrp* pg
    cdef proc* target = p
    cdef bint done = False
    sx_xlock(td, &st.proctree, SITE_SETPGID)
    if p.p_plan.number != number:
        target = p.p_children
        while target != NULL and target.p_plan.number != number:
            touch_read(td, &target.p_sibling_next)
            target = target.p_sibling_next
    if target != NULL and target.p_pgrp.pg_session.s_leader != target:
        pg = pgfind(td, p, leader)
        if pg != NULL:
            mtx_unlock(td, &pg.pg_mtx)
            if pg != target.p_pgrp and pg.pg_session == target.p_pgrp.pg_session:
                doenterpgrp(td, target, pg)
            done = pg == target.p_pgrp
        elif leader == number:
            enterpgrp(td, target, new, NULL)
            new = NULL
            done = True
    sx_xunlock(td, &st.proctree)
    group_unused(td, new)
    return done


# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on proctree; holding it, on groups' mutexes and process locks.
# Returns:    False: the process leads a group already.
# Stands for: FreeBSD sys_setsid().
cdef bint sys_setsid(thread* td, proc* p) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    cdef pgrp* new = pgrp_allocate(td.machine, td)
    cdef session* s
    sx_xlock(td, &st.proctree, SITE_SETSID)
    if p.p_pgrp.pg_id != p.p_pid:                           # else it leads a group
        s = <session*>arena_alloc(td.machine, sizeof(session))
        mtx_init(&s.s_mtx, NAME_SESSION, 0)
        enterpgrp(td, p, new, s)
        new = NULL
    sx_xunlock(td, &st.proctree)
    group_unused(td, new)
    return new == NULL


# Locks in:   none.
# Locks out:  none.
# May block:  sleeps on proctree; on the group's mutex; holding that, on its members' process locks, "sigacts".
# Returns:    False: no such group.
# Stands for: FreeBSD killpg1().  What the signals do is in the recording: members end, or they do not.
cdef bint killpg(thread* td, proc* p, int leader) noexcept nogil:
    cdef proc_state* st = proc_of(td)
    cdef pgrp* pg
    cdef proc* member
    sx_slock(td, &st.proctree, SITE_KILL)
    pg = pgfind(td, p, leader)
    if pg == NULL and leader == p.p_plan.number:
        pg = p.p_pgrp
        mtx_lock(td, &pg.pg_mtx, SITE_KILL)
    sx_sunlock(td, &st.proctree)
    if pg == NULL:
        return False
    member = pg.pg_members
    while member != NULL:
        mtx_lock(td, &member.p_mtx, SITE_KILL)
        touch_read(td, &member.p_ucred)
        touch_read(td, &member.p_state)
        mtx_lock(td, &member.p_sigacts.ps_mtx, SITE_SIGNAL)
        touch_write(td, &member.p_sigqueue)
        charge(td, td.machine.cost.op, OPS_SIGNAL)
        mtx_unlock(td, &member.p_sigacts.ps_mtx)
        mtx_unlock(td, &member.p_mtx)
        member = member.p_pglist_next
    mtx_unlock(td, &pg.pg_mtx)
    return True
