# Test door to the locks: what the lab has, and besides it locks misused, the machine's own calls, and where the locks
# lie.

from libc.stdint cimport int64_t, uint16_t, uint64_t
from libc.string cimport memset

from finegrain.kernel.locks.bit2 cimport bit2_owned
from finegrain.kernel.locks.lockmgr cimport lockmgr, lockmgr_upgrade, lockmgr_xlocked
from finegrain.kernel.locks.mtx cimport mtx, mtx_owned
from finegrain.kernel.locks.mtx8 cimport mtx8_owned
from finegrain.kernel.locks.profile cimport lock_object, lock_site
from finegrain.kernel.locks.rw cimport rw_wowned, rwlock
from finegrain.kernel.locks.sx cimport sx, sx_xlocked
from finegrain.kernel.locks.turnstile cimport SLEEPQUEUE, TURNSTILE, turnstile_chain_of
from finegrain.lab.locks cimport (
    KIND_BIT2, KIND_LOCKMGR, KIND_MTX8, KIND_RW, KIND_SX, LockScripts, lock_at, locks_world, release, script_lock)
from finegrain.lab.run cimport Operations, lab_call, whole
from finegrain.machine.seam cimport (
    arena_offset, atomic_fetchadd, charge, charge_lines, charge_zeroed, critical_enter, critical_exit, leave_run_time,
    leaving, park, sched_point, shootdown, touch_read, touch_write, unpark)
from finegrain.machine.thread cimport CPU_WORDS, thread


cdef uint16_t SITE_UPGRADE = lock_site(b"script/exclusive")


cdef int64_t op_wunlock(thread* td, lab_call* c) noexcept nogil:
    release(td, lock_at(c, 0), False)
    return 0


cdef int64_t op_runlock(thread* td, lab_call* c) noexcept nogil:
    release(td, lock_at(c, 0), True)
    return 0


cdef int64_t op_owned(thread* td, lab_call* c) noexcept nogil:
    cdef script_lock* at = lock_at(c, 0)
    if at.kind == KIND_MTX8:
        return mtx8_owned(td, <uint64_t*>at.lock)
    if at.kind == KIND_BIT2:
        return bit2_owned(td, <uint64_t*>at.lock)
    if at.kind == KIND_RW:
        return rw_wowned(td, <rwlock*>at.lock)
    if at.kind == KIND_SX:
        return sx_xlocked(td, <sx*>at.lock)
    if at.kind == KIND_LOCKMGR:
        return lockmgr_xlocked(td, <lockmgr*>at.lock)
    return mtx_owned(td, <mtx*>at.lock)


cdef int64_t op_relock(thread* td, lab_call* c) noexcept nogil:
    cdef script_lock* at = lock_at(c, 0)
    cdef bint kept
    at.inside -= 1                      # it may be given up meanwhile
    kept = lockmgr_upgrade(td, <lockmgr*>at.lock, SITE_UPGRADE)
    at.inside = -1
    return kept


cdef int64_t op_shootdown(thread* td, lab_call* c) noexcept nogil:
    cdef uint64_t cpus[CPU_WORDS]
    memset(cpus, 0, sizeof(cpus))
    cpus[0] = <uint64_t>c.a[0]
    shootdown(td, cpus, c.a[1])
    return 0


cdef int64_t op_read(thread* td, lab_call* c) noexcept nogil:
    touch_read(td, (<locks_world*>c.world).lines + 64 * c.a[0])
    return 0


cdef int64_t op_add(thread* td, lab_call* c) noexcept nogil:
    return atomic_fetchadd(td, <uint64_t*>((<locks_world*>c.world).lines + 64 * c.a[0]), 1)


cdef int64_t op_add_word(thread* td, lab_call* c) noexcept nogil:
    return atomic_fetchadd(td, <uint64_t*>((<locks_world*>c.world).lines + 8 * c.a[0]), 1)


cdef int64_t op_write(thread* td, lab_call* c) noexcept nogil:
    touch_write(td, (<locks_world*>c.world).lines + 64 * c.a[0])
    return 0


cdef int64_t op_lines(thread* td, lab_call* c) noexcept nogil:
    charge_lines(td, 0, c.a[0])
    return 0


cdef int64_t op_zero(thread* td, lab_call* c) noexcept nogil:
    charge_zeroed(td, (<locks_world*>c.world).lines)
    return 0


cdef int64_t op_park(thread* td, lab_call* c) noexcept nogil:
    leaving(td)
    park(td)
    return 0


cdef int64_t op_unpark(thread* td, lab_call* c) noexcept nogil:
    unpark(td, c.world.jobs[c.a[0]].td)
    return 0


cdef int64_t op_leave(thread* td, lab_call* c) noexcept nogil:
    leave_run_time(td, c.world.jobs[c.a[0]].td)
    return 0


cdef int64_t op_critical(thread* td, lab_call* c) noexcept nogil:
    critical_enter(td)
    critical_enter(td)                  # sections nest
    critical_exit(td)
    charge(td, 1000, 1)                 # others are behind now
    if c.a[0]:
        sched_point(td)
    critical_exit(td)
    return 0


cdef int64_t recurse(thread* td, int64_t depth) noexcept nogil:
    cdef char room[512]
    cdef int64_t below
    memset(room, <int>(depth & 0x7f), sizeof(room))
    below = recurse(td, depth - 1) if depth > 0 else 0
    return below + room[depth & 511]


cdef int64_t op_recurse(thread* td, lab_call* c) noexcept nogil:
    return recurse(td, c.a[0])


cdef Operations OPERATIONS = None


cdef class Scripts(LockScripts):
    """The lab's lock scripts with more operations. `checked` False: no operation asks before it acts."""

    cdef readonly list scripts

    def __cinit__(self, machine, locks, scripts=(), stride=None, *, checked=True):
        self.world.checked = checked

    def __init__(self, machine, locks, scripts=(), stride=None, *, checked=True):
        """See the class."""
        super().__init__(machine, locks, scripts, stride)
        self.scripts = [list(script) for script in scripts]

    cdef Operations table(self):
        global OPERATIONS
        if OPERATIONS is None:
            OPERATIONS = LockScripts.table(self).extended()
            OPERATIONS.add("wunlock", "lock", op_wunlock, "release a lock as a writer, held or not")
            OPERATIONS.add("runlock", "lock", op_runlock, "release a lock as a reader, held or not")
            OPERATIONS.add("owned", "lock", op_owned, "does this thread hold the lock exclusively")
            OPERATIONS.add("relock", "lock", op_relock,
                           "from reading a lockmgr lock to writing: 1, or 0 when it was given up meanwhile")
            OPERATIONS.add("shootdown", "cpus pages", op_shootdown, "have a set of CPUs forget pages")
            OPERATIONS.add("read", "line", op_read, "read a cache line")
            OPERATIONS.add("write", "line", op_write, "write a cache line")
            OPERATIONS.add("add", "line", op_add, "add 1 to a cache line's first word, atomically: what it was")
            OPERATIONS.add("add_word", "line", op_add_word, "add 1 to a word, of 8 in a line, atomically: what it was")
            OPERATIONS.add("lines", "count", op_lines, "work through so many cache lines that nobody else touches")
            OPERATIONS.add("zero", "", op_zero, "zero the page that the cache lines are in")
            OPERATIONS.add("park", "", op_park, "leave the CPU until an unpark")
            OPERATIONS.add("unpark", "script", op_unpark, "end a park, or the next one")
            OPERATIONS.add("leave", "script", op_leave, "leave the run time so far to another thread's account")
            OPERATIONS.add("critical", "point:flag", op_critical, "critical sections, with a scheduling point or not")
            OPERATIONS.add("recurse", "depth", op_recurse, "use the stack")
        return OPERATIONS

    cdef object value(self, str kind, str what, object given):
        if kind in ("cpus", "pages", "depth", "line", "count"):
            return whole(what, given, 0, {"cpus": (1 << 63) - 1, "line": 63}.get(kind, 10**9), "a number")
        return LockScripts.value(self, kind, what, given)

    def chains(self):
        """For each lock: the offsets of its turnstile chain and its sleep queue chain in the kernel's memory."""
        cdef thread td
        cdef script_lock* at
        cdef uint64_t i
        td.machine = self.machine.m
        rows = []
        for i in range(self.w.nlocks):
            at = &self.w.locks[i]
            rows.append((arena_offset(td.machine, turnstile_chain_of(&td, TURNSTILE, at.lock)),
                         arena_offset(td.machine, turnstile_chain_of(&td, SLEEPQUEUE, at.lock))))
        return rows


def lock_sizes():
    """Bytes of a mtx, an rw, an sx and a lockmgr lock, and of the lock_object that each begins with."""
    return sizeof(mtx), sizeof(rwlock), sizeof(sx), sizeof(lockmgr), sizeof(lock_object)
