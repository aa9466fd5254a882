# Lock scripts from Python: each thread runs a small script of lock operations, and a trace of them comes back.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from finegrain.kernel.boot cimport KERNEL_LOCKS, kernel_create
from finegrain.kernel.locks cimport (
    LK_BIT2, LK_MTX8, bit2_lock, bit2_owned, bit2_set_value, bit2_trylock, bit2_unlock, bit2_value, lock_name,
    lock_object, lock_site, lockmgr, lockmgr_downgrade, lockmgr_init, lockmgr_slock, lockmgr_try_slock,
    lockmgr_try_upgrade, lockmgr_try_xlock, lockmgr_unlock, lockmgr_xlock, lockmgr_xlocked, msleep, mtx, mtx8_lock,
    mtx8_owned, mtx8_trylock, mtx8_unlock, mtx_init, mtx_lock, mtx_lock_spin, mtx_owned, mtx_trylock, mtx_unlock,
    mtx_unlock_spin, rw_downgrade, rw_init, rw_rlock, rw_runlock, rw_try_rlock, rw_try_upgrade, rw_try_wlock, rw_wlock,
    rw_wowned, rw_wunlock, rwlock, sleep_sx, sx, sx_downgrade, sx_init, sx_slock, sx_sunlock, sx_try_slock,
    sx_try_upgrade, sx_try_xlock, sx_xlock, sx_xlocked, sx_xunlock, wakeup)
from finegrain.lab.run cimport Operations, fresh, lab_job, lacks, run_job, shown, whole
from finegrain.machine.seam cimport arena_alloc, charge, line_neighbours, panic, set_priority, sleep_for, spawn, user
from finegrain.machine.simulated.simulated cimport SimulatedMachine
from finegrain.machine.thread cimport MAX_ANONYMOUS, MAX_HELD

from itertools import islice

KINDS = ("mtx", "rw", "sx", "spin", "mtx8", "bit2", "lockmgr")
MAX_LOCKS = 4096

cdef uint16_t NAMES[LOCK_KINDS]
NAMES[KIND_MTX] = lock_name(b"sleep mutex", b"script")
NAMES[KIND_RW] = lock_name(b"rw", b"script")
NAMES[KIND_SX] = lock_name(b"sx", b"script")
NAMES[KIND_SPIN] = lock_name(b"spin mutex", b"script")
NAMES[KIND_MTX8] = lock_name(b"mtx8", b"script")
NAMES[KIND_BIT2] = lock_name(b"bit2", b"script")
NAMES[KIND_LOCKMGR] = lock_name(b"lockmgr", b"script")
cdef uint16_t SITE_EXCLUSIVE = lock_site(b"script/exclusive")
cdef uint16_t SITE_SHARED = lock_site(b"script/shared")

cdef enum held:
    NOT_HELD = 0
    HELD_SHARED
    HELD_EXCLUSIVE


cdef script_lock* lock_at(lab_call* c, int i) noexcept nogil:
    return &(<locks_world*>c.world).locks[c.a[i]]


# Where the word is in the lock; the lock is as large as that and the word.
cdef inline uint64_t word_offset(int kind) noexcept nogil:
    return 0 if kind == KIND_MTX8 or kind == KIND_BIT2 else sizeof(lock_object)


# --- what the thread holds

cdef held holds(thread* td, script_lock* at) noexcept nogil:
    cdef held most = NOT_HELD
    cdef uint32_t i
    for i in range(td.nheld):
        if td.held[i].lock.address == at.lock:
            if not td.held[i].shared:
                return HELD_EXCLUSIVE
            most = HELD_SHARED
    return most


cdef bint admits_readers(script_lock* at) noexcept nogil:
    return at.kind == KIND_RW or at.kind == KIND_SX or at.kind == KIND_LOCKMGR


# May it be held across a sleep, and is it taken by sleeping?
cdef bint sleepable(script_lock* at) noexcept nogil:
    return at.kind == KIND_SX or at.kind == KIND_LOCKMGR


# Does it hold any but sleepable locks, other than `except`?  They must not be held across a sleep.
cdef bint holds_no_sleep(thread* td, locks_world* w, script_lock* other) noexcept nogil:
    cdef uint32_t i, k
    for i in range(td.nheld):
        for k in range(w.nlocks):
            if (td.held[i].lock.address == w.locks[k].lock and not sleepable(&w.locks[k])
                    and &w.locks[k] != other):
                return True
    return False


cdef bint holds_spin(thread* td, locks_world* w) noexcept nogil:
    cdef uint32_t i, k
    for i in range(td.nheld):
        for k in range(w.nlocks):
            if td.held[i].lock.address == w.locks[k].lock and w.locks[k].kind == KIND_SPIN:
                return True
    return False


cdef bint holds_all_bit2(thread* td) noexcept nogil:
    cdef int i
    for i in range(MAX_ANONYMOUS):
        if td.anonymous[i] == NULL:
            return False
    return True


cdef void entered(thread* td, script_lock* at, bint shared) noexcept nogil:
    if at.inside < 0 or (at.inside > 0 and not shared):
        panic(td, b"mutual exclusion is violated")
    at.inside = at.inside + 1 if shared else -1


cdef void left(script_lock* at) noexcept nogil:
    at.inside = at.inside - 1 if at.inside > 0 else 0


# --- taking and releasing

cdef bint acquire(thread* td, script_lock* at, bint shared, bint only_try) noexcept nogil:
    cdef bint got = True
    cdef uint16_t site = SITE_SHARED if shared else SITE_EXCLUSIVE
    if at.kind == KIND_MTX:
        if only_try:
            got = mtx_trylock(td, <mtx*>at.lock, site)
        else:
            mtx_lock(td, <mtx*>at.lock, site)
        if got and not mtx_owned(td, <mtx*>at.lock):
            panic(td, b"mtx_owned is wrong")
    elif at.kind == KIND_MTX8:
        if only_try:
            got = mtx8_trylock(td, <uint64_t*>at.lock, &at.id, site)
        else:
            mtx8_lock(td, <uint64_t*>at.lock, &at.id, site)
        if got != mtx8_owned(td, <uint64_t*>at.lock):
            panic(td, b"mtx8_owned is wrong")
    elif at.kind == KIND_BIT2:
        if only_try:
            got = bit2_trylock(td, <uint64_t*>at.lock, &at.id, site)
        else:
            bit2_lock(td, <uint64_t*>at.lock, &at.id, site)
        if got != bit2_owned(td, <uint64_t*>at.lock):
            panic(td, b"bit2_owned is wrong")
    elif at.kind == KIND_SPIN:
        mtx_lock_spin(td, <mtx*>at.lock, site)
    elif at.kind == KIND_RW and shared:
        if only_try:
            got = rw_try_rlock(td, <rwlock*>at.lock, site)
        else:
            rw_rlock(td, <rwlock*>at.lock, site)
    elif at.kind == KIND_RW:
        if only_try:
            got = rw_try_wlock(td, <rwlock*>at.lock, site)
        else:
            rw_wlock(td, <rwlock*>at.lock, site)
        if got and not rw_wowned(td, <rwlock*>at.lock):
            panic(td, b"rw_wowned is wrong")
    elif at.kind == KIND_LOCKMGR and shared:
        if only_try:
            got = lockmgr_try_slock(td, <lockmgr*>at.lock, site)
        else:
            lockmgr_slock(td, <lockmgr*>at.lock, site)
    elif at.kind == KIND_LOCKMGR:
        if only_try:
            got = lockmgr_try_xlock(td, <lockmgr*>at.lock, site)
        else:
            lockmgr_xlock(td, <lockmgr*>at.lock, site)
        if got and not lockmgr_xlocked(td, <lockmgr*>at.lock):
            panic(td, b"lockmgr_xlocked is wrong")
    elif shared:
        if only_try:
            got = sx_try_slock(td, <sx*>at.lock, site)
        else:
            sx_slock(td, <sx*>at.lock, site)
    else:
        if only_try:
            got = sx_try_xlock(td, <sx*>at.lock, site)
        else:
            sx_xlock(td, <sx*>at.lock, site)
        if got and not sx_xlocked(td, <sx*>at.lock):
            panic(td, b"sx_xlocked is wrong")
    if got:
        entered(td, at, shared)
    return got


cdef void release(thread* td, script_lock* at, bint shared) noexcept nogil:
    left(at)
    if at.kind == KIND_MTX:
        mtx_unlock(td, <mtx*>at.lock)
    elif at.kind == KIND_MTX8:
        mtx8_unlock(td, <uint64_t*>at.lock)
    elif at.kind == KIND_BIT2:
        bit2_unlock(td, <uint64_t*>at.lock)
    elif at.kind == KIND_SPIN:
        mtx_unlock_spin(td, <mtx*>at.lock)
    elif at.kind == KIND_RW and shared:
        rw_runlock(td, <rwlock*>at.lock)
    elif at.kind == KIND_RW:
        rw_wunlock(td, <rwlock*>at.lock)
    elif at.kind == KIND_LOCKMGR:
        lockmgr_unlock(td, <lockmgr*>at.lock)
    elif shared:
        sx_sunlock(td, <sx*>at.lock)
    else:
        sx_xunlock(td, <sx*>at.lock)


# May the thread take the lock now?
cdef bint must_not(thread* td, lab_call* c, bint shared, bint only_try) noexcept nogil:
    cdef script_lock* at = lock_at(c, 0)
    cdef locks_world* w = <locks_world*>c.world
    cdef held now = holds(td, at)
    return (lacks(c, not shared or admits_readers(at), b"a mutex admits no readers")
            or lacks(c, not only_try or at.kind != KIND_SPIN, b"a spin mutex is not tried for")
            or lacks(c, now != HELD_EXCLUSIVE, b"the thread holds the lock already")
            or lacks(c, now == NOT_HELD or shared, b"the thread holds the lock for reading: upgrade it")
            or lacks(c, td.nheld < MAX_HELD - 1, b"the thread holds too many locks")
            or lacks(c, at.kind != KIND_BIT2 or not holds_all_bit2(td), b"the thread holds too many 2-bit locks")
            or lacks(c, only_try or at.kind == KIND_SPIN or not holds_spin(td, w),
                     b"the thread holds a spin mutex: it must not wait for other kinds of lock")
            or lacks(c, only_try or not sleepable(at) or not holds_no_sleep(td, w, NULL),
                     b"taking an sx or lockmgr lock may sleep: not with a mtx or rw lock held"))


cdef int64_t op_lock(thread* td, lab_call* c) noexcept nogil:
    return 0 if must_not(td, c, False, False) else acquire(td, lock_at(c, 0), False, False)


cdef int64_t op_rlock(thread* td, lab_call* c) noexcept nogil:
    return 0 if must_not(td, c, True, False) else acquire(td, lock_at(c, 0), True, False)


cdef int64_t try_lock(thread* td, lab_call* c, bint shared) noexcept nogil:
    cdef bint got
    if must_not(td, c, shared, True):
        return 0
    got = acquire(td, lock_at(c, 0), shared, True)
    if not got:
        c.skip = c.a[1]
    return got


cdef int64_t op_trylock(thread* td, lab_call* c) noexcept nogil:
    return try_lock(td, c, False)


cdef int64_t op_tryrlock(thread* td, lab_call* c) noexcept nogil:
    return try_lock(td, c, True)


cdef int64_t op_unlock(thread* td, lab_call* c) noexcept nogil:
    cdef held now = holds(td, lock_at(c, 0))
    if not lacks(c, now != NOT_HELD, b"the thread does not hold the lock"):
        release(td, lock_at(c, 0), now == HELD_SHARED)
    return 0


cdef int64_t op_upgrade(thread* td, lab_call* c) noexcept nogil:
    cdef script_lock* at = lock_at(c, 0)
    cdef bint got
    if (lacks(c, admits_readers(at), b"a mutex admits no readers")
            or lacks(c, holds(td, at) == HELD_SHARED, b"the thread does not hold the lock for reading")):
        return 0
    if at.kind == KIND_RW:
        got = rw_try_upgrade(td, <rwlock*>at.lock, SITE_EXCLUSIVE)
    elif at.kind == KIND_LOCKMGR:
        got = lockmgr_try_upgrade(td, <lockmgr*>at.lock, SITE_EXCLUSIVE)
    else:
        got = sx_try_upgrade(td, <sx*>at.lock, SITE_EXCLUSIVE)
    if got:
        left(at)
        entered(td, at, False)
    return got


cdef int64_t op_downgrade(thread* td, lab_call* c) noexcept nogil:
    cdef script_lock* at = lock_at(c, 0)
    if (lacks(c, admits_readers(at), b"a mutex admits no readers")
            or lacks(c, holds(td, at) == HELD_EXCLUSIVE, b"the thread does not hold the lock for writing")):
        return 0
    # Before the call: others may be in by the time it returns.
    left(at)
    entered(td, at, True)
    if at.kind == KIND_RW:
        rw_downgrade(td, <rwlock*>at.lock, SITE_SHARED)
    elif at.kind == KIND_LOCKMGR:
        lockmgr_downgrade(td, <lockmgr*>at.lock, SITE_SHARED)
    else:
        sx_downgrade(td, <sx*>at.lock, SITE_SHARED)
    return 0


# --- time and sleep

cdef int64_t op_charge(thread* td, lab_call* c) noexcept nogil:
    charge(td, c.a[0], 1)
    return 0


cdef int64_t op_user(thread* td, lab_call* c) noexcept nogil:
    if not lacks(c, not holds_spin(td, <locks_world*>c.world), b"the thread holds a spin mutex"):
        user(td, c.a[0])
    return 0


cdef int64_t op_sleep(thread* td, lab_call* c) noexcept nogil:
    if not lacks(c, not holds_no_sleep(td, <locks_world*>c.world, NULL),
                 b"a thread must not sleep with a mtx or rw lock held"):
        sleep_for(td, c.a[0])
    return 0


# Sleep on the channel, without the interlock meanwhile.
cdef int64_t op_msleep(thread* td, lab_call* c) noexcept nogil:
    cdef locks_world* w = <locks_world*>c.world
    cdef char* channel = w.lines + 64 * c.a[0]
    cdef script_lock* interlock = lock_at(c, 1) if c.a[1] >= 0 else NULL
    if lacks(c, not holds_no_sleep(td, w, interlock), b"a thread must not sleep with a mtx or rw lock held"):
        return 0
    if interlock == NULL:
        msleep(td, channel, NULL, SITE_EXCLUSIVE)
        return 0
    if (lacks(c, interlock.kind == KIND_MTX or interlock.kind == KIND_SX, b"the interlock must be a mtx or sx lock")
            or lacks(c, holds(td, interlock) == HELD_EXCLUSIVE, b"the thread does not hold the interlock")):
        return 0
    left(interlock)
    if interlock.kind == KIND_MTX:
        msleep(td, channel, <mtx*>interlock.lock, SITE_EXCLUSIVE)
    else:
        sleep_sx(td, channel, <sx*>interlock.lock, SITE_EXCLUSIVE)
    entered(td, interlock, False)
    return 0


cdef int64_t op_wakeup(thread* td, lab_call* c) noexcept nogil:
    wakeup(td, (<locks_world*>c.world).lines + 64 * c.a[0])
    return 0


# --- threads

cdef int64_t op_spawn(thread* td, lab_call* c) noexcept nogil:
    cdef lab_job* j
    if lacks(c, c.a[0] < c.world.njobs, b"there is no such script"):
        return 0
    j = c.world.jobs[c.a[0]]
    if not lacks(c, not j.started, b"the script was started already"):
        j.started = True
        spawn(td, run_job, j, NULL)
    return 0


cdef int64_t op_priority(thread* td, lab_call* c) noexcept nogil:
    td.base_priority = <uint8_t>c.a[0]
    set_priority(td, <uint8_t>c.a[0])
    return 0


cdef int64_t op_priority_of(thread* td, lab_call* c) noexcept nogil:
    cdef lab_job* j
    if lacks(c, c.a[0] < c.world.njobs, b"there is no such script"):
        return 0
    j = c.world.jobs[c.a[0]]
    return 0 if lacks(c, j.td != NULL and not j.ended, b"the script does not run") else j.td.priority


cdef int64_t op_word(thread* td, lab_call* c) noexcept nogil:
    # An exclusive owner shows as 1 << 40 above the flag bits.
    cdef script_lock* at = lock_at(c, 0)
    cdef uint64_t v = (<uint64_t*>(at.lock + word_offset(at.kind)))[0]
    cdef bint owned = v >> 5 != 0 and at.kind != KIND_BIT2 and (not admits_readers(at) or not v & 1)
    return (<int64_t>1 << 40) + <int64_t>(v & 31) if owned else <int64_t>v


cdef int64_t op_generation(thread* td, lab_call* c) noexcept nogil:
    cdef script_lock* at = lock_at(c, 0)
    if lacks(c, at.kind == KIND_BIT2, b"only a bit2 lock lies in a generation"):
        return 0
    return <int64_t>bit2_value(td, <uint64_t*>at.lock)


cdef int64_t op_set_generation(thread* td, lab_call* c) noexcept nogil:
    cdef script_lock* at = lock_at(c, 0)
    if (not lacks(c, at.kind == KIND_BIT2, b"only a bit2 lock lies in a generation")
            and not lacks(c, holds(td, at) == HELD_EXCLUSIVE, b"the thread does not hold the lock")):
        bit2_set_value(td, <uint64_t*>at.lock, <uint64_t>c.a[1])
    return 0


# A thread that ends with locks held lets them go, and says so.
cdef void leave(thread* td, lab_job* job) noexcept nogil:
    cdef locks_world* w = <locks_world*>job.world
    cdef uint32_t before, k
    if not job.world.checked:
        return                          # the machine panics
    if td.nheld != 0 and job.refused == NULL:
        job.refused = b"the script ended with a lock held"
    while td.nheld != 0:
        before = td.nheld
        for k in range(w.nlocks):
            if td.held[before - 1].lock.address == w.locks[k].lock:
                release(td, &w.locks[k], td.held[before - 1].shared)
                break
        if td.nheld == before:
            panic(td, b"a lock that is no script's is held")


cdef Operations OPERATIONS = Operations({})
OPERATIONS.add("lock", "lock", op_lock, "take a lock, exclusively")
OPERATIONS.add("rlock", "lock", op_rlock, "take a rw or sx lock for reading")
OPERATIONS.add("trylock", "lock skip=0", op_trylock,
               "take a lock if that needs no waiting: 1, or 0 and the next operations are left out")
OPERATIONS.add("tryrlock", "lock skip=0", op_tryrlock, "likewise, for reading")
OPERATIONS.add("unlock", "lock", op_unlock, "release a lock")
OPERATIONS.add("upgrade", "lock", op_upgrade, "from reading to writing, if the thread is the only reader: 1 or 0")
OPERATIONS.add("downgrade", "lock", op_downgrade, "from writing to reading")
OPERATIONS.add("charge", "time", op_charge, "work in the kernel")
OPERATIONS.add("user", "time", op_user, "user time; the thread may be preempted")
OPERATIONS.add("sleep", "time", op_sleep, "off the CPU")
OPERATIONS.add("msleep", "channel interlock=-1", op_msleep,
               "sleep until a wakeup of the channel, without the interlock meanwhile")
OPERATIONS.add("wakeup", "channel", op_wakeup, "wake all that sleep on the channel")
OPERATIONS.add("spawn", "script", op_spawn, "start the script that waits for it")
OPERATIONS.add("priority", "priority", op_priority, "the thread's priority from now on, smaller before larger")
OPERATIONS.add("priority_of", "script", op_priority_of, "a script's priority, with what it was lent")
OPERATIONS.add("word", "lock", op_word,
               "the lock's word: 1 << 40 for an owner, its flag bits below; of a bit2, all of it")
OPERATIONS.add("generation", "lock", op_generation, "the generation that a bit2 lock lies in, held or not")
OPERATIONS.add("set_generation", "lock generation", op_set_generation,
               "change the generation of a bit2 lock that the thread holds")


cdef class LockScripts(Lab):
    """Threads that each run a script of lock operations.

    `locks` names the kind of each lock: "mtx", "rw", "sx", "spin", "mtx8", "bit2" or "lockmgr"; they lie `stride` bytes
    apart (to 4,096; at least their size: 32, or 8 where all are mtx8 and bit2, or 48 where one is lockmgr; if not said,
    32 or 48). A script is a list of operations; `operations()` lists them. Locks and scripts are known by their
    numbers. The scripts that another one spawns wait for that; the others start at once, and `start()` gives more.
    """

    def __cinit__(self, SimulatedMachine machine not None, locks, scripts=(), stride=None, **_):
        cdef char* memory
        cdef script_lock* at
        cdef uint64_t apart, least = 8
        cdef uint64_t i
        cdef uint64_t n
        if isinstance(locks, (str, bytes)):
            raise TypeError(f"locks must be a list of kinds, not {shown(locks)}")
        try:
            kinds = list(islice(locks, MAX_LOCKS + 1))
        except TypeError:
            raise TypeError(f"locks must be a list of kinds, not {shown(locks)}") from None
        if len(kinds) > MAX_LOCKS:
            raise ValueError(f"at most {MAX_LOCKS} locks")
        for kind in kinds:
            if not isinstance(kind, str) or kind not in KINDS:
                raise ValueError(f"a lock must be one of {', '.join(KINDS)}, not {shown(kind)}")
            least = max(least, sizeof(lockmgr) if kind == "lockmgr" else word_offset(KINDS.index(kind)) + 8)
        if stride is None:
            stride = max(least, 32)
        apart = whole("stride", stride, least, 4096, f"a number of bytes from {least} to 4096")
        if apart % 8 != 0:
            raise ValueError(f"stride must be a multiple of 8, not {apart}")
        n = len(kinds)
        fresh(machine)                  # the arguments' own code may have used it
        kernel_create(machine.m, NULL, KERNEL_LOCKS)
        self.make_world(sizeof(locks_world))
        self.w = <locks_world*>self.world
        self.world.leave = leave
        self.w.nlocks = n
        self.w.lines = <char*>arena_alloc(machine.m, CHANNELS * 64)
        self.w.locks = <script_lock*>arena_alloc(machine.m, (n + 1) * sizeof(script_lock))
        memory = <char*>arena_alloc(machine.m, max(4096, (n + 1) * apart))
        if self.w.lines == NULL or self.w.locks == NULL or memory == NULL:
            raise MemoryError("the machine's arena has no room for a lab")
        for i in range(n):
            at = &self.w.locks[i]
            at.lock = memory + i * apart
            at.kind = KINDS.index(kinds[i])
            line_neighbours(machine.m, at.lock, min(apart, sizeof(mtx)))
            if at.kind == KIND_RW:
                rw_init(<rwlock*>at.lock, NAMES[KIND_RW], 0)
            elif at.kind == KIND_SX:
                sx_init(<sx*>at.lock, NAMES[KIND_SX], 0)
            elif at.kind == KIND_MTX8 or at.kind == KIND_BIT2:      # zeroed memory is a free lock
                at.id.address = at.lock
                at.id.name = NAMES[at.kind]
                at.id.kind = LK_MTX8 if at.kind == KIND_MTX8 else LK_BIT2
            elif at.kind == KIND_LOCKMGR:
                lockmgr_init(<lockmgr*>at.lock, NAMES[KIND_LOCKMGR], 0)
            else:
                mtx_init(<mtx*>at.lock, NAMES[at.kind], 0)

    def __init__(self, machine, locks, scripts=(), stride=None):
        """See the class."""
        if self.world.njobs != 0:
            raise ValueError("the lab has its scripts already")
        if isinstance(scripts, (str, bytes)):
            raise TypeError(f"scripts must be a list of lists of operations, not {shown(scripts)}")
        try:
            scripts = [list(islice(script, 1_000_001)) for script in islice(scripts, 65536)]
        except TypeError:
            raise TypeError(f"scripts must be a list of lists of operations, not {shown(scripts)}") from None
        spawned = set()
        for script in scripts:
            for row, values in self.checked(script):
                if row.name == "spawn":
                    spawned.add(values[0])
        numbers = [self.put(script) for script in scripts]
        for number in numbers:
            if number not in spawned:
                self.launch(number)

    cdef Operations table(self):
        return OPERATIONS

    cdef object value(self, str kind, str what, object given):
        if kind == "lock":
            return self.lock_number(what, given)
        if kind == "interlock":
            return -1 if given is None or given == -1 else self.lock_number(what, given)
        if kind == "channel":
            return whole(what, given, 0, CHANNELS - 1, f"a channel from 0 to {<int>CHANNELS - 1}")
        if kind == "skip":
            return whole(what, given, 0, 1_000_000, "a number of operations to leave out")
        if kind == "script":
            return whole(what, given, 0, 65535, "the number of a script")
        if kind == "generation":
            return whole(what, given, 0, (1 << 62) - 1, "a number of 62 bits")
        if kind == "priority":
            return whole(what, given, 0, 255, "a number from 0 to 255")
        return Lab.value(self, kind, what, given)

    def lock_number(self, what, given):
        """Check the number of a lock."""
        number = whole(what, given, 0, MAX_LOCKS, "the number of a lock")
        if number >= self.w.nlocks:
            raise IndexError(f"{what}: no lock {number}; there are {self.w.nlocks}")
        return number
