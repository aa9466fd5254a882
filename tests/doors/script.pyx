# Test door to the locks: each thread runs a small script of operations, and a trace of them comes back.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from finegrain.kernel.boot cimport KERNEL_LOCKS, kernel_create
from finegrain.kernel.locks.mtx cimport (
    mtx, mtx_init, mtx_lock, mtx_lock_spin, mtx_owned, mtx_trylock, mtx_unlock, mtx_unlock_spin)
from finegrain.kernel.locks.profile cimport lock_name, lock_object, lock_site
from finegrain.kernel.locks.rw cimport (
    rw_downgrade, rw_init, rw_rlock, rw_runlock, rw_try_rlock, rw_try_upgrade, rw_try_wlock, rw_wlock, rw_wowned,
    rw_wunlock, rwlock)
from finegrain.kernel.locks.sleepq cimport msleep, sleep_sx, wakeup
from finegrain.kernel.locks.sx cimport (
    sx, sx_downgrade, sx_init, sx_slock, sx_sunlock, sx_try_slock, sx_try_upgrade, sx_try_xlock, sx_xlock, sx_xlocked,
    sx_xunlock)
from finegrain.kernel.locks.turnstile cimport SLEEPQUEUE, TURNSTILE, turnstile_chain_of
from finegrain.machine.machine cimport Machine
from finegrain.machine.seam cimport (
    arena_alloc, arena_offset, charge, now, panic, park, sched_point, set_priority, shootdown, sleep_for, spawn,
    touch_read, touch_write, unpark, user)
from finegrain.machine.thread cimport CPU_WORDS, ps_t, thread

cdef enum:
    KIND_MTX = 0
    KIND_RW
    KIND_SX
    KIND_SPIN

cdef enum:
    OP_LOCK = 0
    OP_TRYLOCK
    OP_RLOCK
    OP_TRYRLOCK
    OP_UNLOCK
    OP_WUNLOCK
    OP_RUNLOCK
    OP_UPGRADE
    OP_DOWNGRADE
    OP_CHARGE
    OP_USER
    OP_SLEEP
    OP_MSLEEP
    OP_WAKEUP
    OP_SPAWN
    OP_PRIORITY
    OP_PRIORITY_OF
    OP_WORD
    OP_SHOOTDOWN
    OP_READ
    OP_WRITE
    OP_RECURSE
    OP_PARK
    OP_UNPARK

cdef dict OP_CODES = {
    "lock": OP_LOCK, "trylock": OP_TRYLOCK, "rlock": OP_RLOCK, "tryrlock": OP_TRYRLOCK, "unlock": OP_UNLOCK,
    "wunlock": OP_WUNLOCK, "runlock": OP_RUNLOCK, "upgrade": OP_UPGRADE, "downgrade": OP_DOWNGRADE,
    "charge": OP_CHARGE, "user": OP_USER, "sleep": OP_SLEEP, "msleep": OP_MSLEEP, "wakeup": OP_WAKEUP,
    "spawn": OP_SPAWN, "priority": OP_PRIORITY, "priority_of": OP_PRIORITY_OF, "word": OP_WORD,
    "shootdown": OP_SHOOTDOWN, "read": OP_READ, "write": OP_WRITE, "recurse": OP_RECURSE, "park": OP_PARK,
    "unpark": OP_UNPARK}
cdef tuple KINDS = ("mtx", "rw", "sx", "spin")

cdef uint16_t NAMES[4]
NAMES[0] = lock_name(b"sleep mutex", b"script")
NAMES[1] = lock_name(b"rw", b"script")
NAMES[2] = lock_name(b"sx", b"script")
NAMES[3] = lock_name(b"spin mutex", b"script")
cdef uint16_t SITE_EXCLUSIVE = lock_site(b"script/exclusive")
cdef uint16_t SITE_SHARED = lock_site(b"script/shared")

cdef struct op:
    int code
    int64_t a
    int64_t b

cdef struct script_lock:
    lock_object* lock
    int kind
    int inside                          # holders by the door's own count; -1: one exclusive

cdef struct trace_entry:
    ps_t begin
    ps_t end
    uint32_t script
    uint32_t op
    int64_t result

cdef struct script

cdef struct scripts_state:
    script_lock* locks
    script* scripts
    trace_entry* trace
    uint32_t traced
    char* lines

cdef struct script:
    scripts_state* state
    thread* td
    op* ops
    uint32_t count
    uint32_t index


cdef void entered(thread* td, script_lock* at, bint shared) noexcept nogil:
    if at.inside < 0 or (at.inside > 0 and not shared):
        panic(td, b"mutual exclusion is violated")
    at.inside = at.inside + 1 if shared else -1


cdef void left(script_lock* at) noexcept nogil:
    at.inside = at.inside - 1 if at.inside > 0 else 0


cdef bint held_shared(thread* td, script_lock* at) noexcept nogil:
    cdef uint32_t i
    for i in range(td.nheld):
        if td.held[i].lock.address == at.lock:
            return td.held[i].shared
    return False


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
    elif at.kind == KIND_SPIN:
        mtx_unlock_spin(td, <mtx*>at.lock)
    elif at.kind == KIND_RW and shared:
        rw_runlock(td, <rwlock*>at.lock)
    elif at.kind == KIND_RW:
        rw_wunlock(td, <rwlock*>at.lock)
    elif shared:
        sx_sunlock(td, <sx*>at.lock)
    else:
        sx_xunlock(td, <sx*>at.lock)


cdef bint upgrade(thread* td, script_lock* at) noexcept nogil:
    cdef bint got
    if at.kind == KIND_RW:
        got = rw_try_upgrade(td, <rwlock*>at.lock, SITE_EXCLUSIVE)
    else:
        got = sx_try_upgrade(td, <sx*>at.lock, SITE_EXCLUSIVE)
    if got:
        left(at)
        entered(td, at, False)
    return got


cdef void downgrade(thread* td, script_lock* at) noexcept nogil:
    # Before the call: others may be in by the time it returns.
    left(at)
    entered(td, at, True)
    if at.kind == KIND_RW:
        rw_downgrade(td, <rwlock*>at.lock, SITE_SHARED)
    else:
        sx_downgrade(td, <sx*>at.lock, SITE_SHARED)


# Sleep on the channel, without the interlock meanwhile.
cdef void sleep_on(thread* td, void* channel, script_lock* interlock) noexcept nogil:
    if interlock == NULL:
        msleep(td, channel, NULL, SITE_EXCLUSIVE)
        return
    left(interlock)
    if interlock.kind == KIND_MTX:
        msleep(td, channel, <mtx*>interlock.lock, SITE_EXCLUSIVE)
    else:
        sleep_sx(td, channel, <sx*>interlock.lock, SITE_EXCLUSIVE)
    entered(td, interlock, False)


cdef int64_t recurse(thread* td, int64_t depth) noexcept nogil:
    cdef char room[512]
    cdef int64_t below
    memset(room, <int>(depth & 0x7f), sizeof(room))
    below = recurse(td, depth - 1) if depth > 0 else 0
    return below + room[depth & 511]


cdef int64_t lock_word(script_lock* at) noexcept nogil:
    # An exclusive owner shows as 1 << 40 above the flag bits.
    cdef uint64_t v = (<uint64_t*>(<char*>at.lock + sizeof(lock_object)))[0]
    cdef bint owned = v >> 5 != 0 and (at.kind in (KIND_MTX, KIND_SPIN) or not v & 1)
    return (<int64_t>1 << 40) + <int64_t>(v & 31) if owned else <int64_t>v


cdef void run_script(thread* td, void* argument) noexcept nogil:
    cdef script* me = <script*>argument
    cdef scripts_state* state = me.state
    cdef script_lock* at
    cdef uint64_t cpus[CPU_WORDS]
    cdef uint32_t i = 0
    cdef trace_entry* entry
    cdef ps_t begin
    cdef int64_t result
    cdef op* o
    me.td = td
    while i < me.count:
        o = &me.ops[i]
        sched_point(td)                 # what other threads do before this one's time has happened
        begin = now(td)
        result = 0
        at = &state.locks[o.a]
        if o.code == OP_LOCK or o.code == OP_RLOCK:
            result = acquire(td, at, o.code == OP_RLOCK, False)
        elif o.code == OP_TRYLOCK or o.code == OP_TRYRLOCK:
            result = acquire(td, at, o.code == OP_TRYRLOCK, True)
        elif o.code == OP_UNLOCK:
            release(td, at, held_shared(td, at))
        elif o.code == OP_WUNLOCK:
            release(td, at, False)
        elif o.code == OP_RUNLOCK:
            release(td, at, True)
        elif o.code == OP_UPGRADE:
            result = upgrade(td, at)
        elif o.code == OP_DOWNGRADE:
            downgrade(td, at)
        elif o.code == OP_CHARGE:
            charge(td, o.a, 1)
        elif o.code == OP_USER:
            user(td, o.a)
        elif o.code == OP_SLEEP:
            sleep_for(td, o.a)
        elif o.code == OP_MSLEEP:
            sleep_on(td, state.lines + 64 * o.a, &state.locks[o.b] if o.b >= 0 else NULL)
        elif o.code == OP_WAKEUP:
            wakeup(td, state.lines + 64 * o.a)
        elif o.code == OP_SPAWN:
            spawn(td, run_script, &state.scripts[o.a], NULL)
        elif o.code == OP_PRIORITY:
            td.base_priority = <int>o.a
            set_priority(td, <int>o.a)
        elif o.code == OP_PRIORITY_OF:
            result = state.scripts[o.a].td.priority
        elif o.code == OP_WORD:
            result = lock_word(at)
        elif o.code == OP_SHOOTDOWN:
            memset(cpus, 0, sizeof(cpus))
            cpus[0] = <uint64_t>o.a
            shootdown(td, cpus, o.b)
        elif o.code == OP_READ:
            touch_read(td, state.lines + 64 * o.a)
        elif o.code == OP_WRITE:
            touch_write(td, state.lines + 64 * o.a)
        elif o.code == OP_RECURSE:
            result = recurse(td, o.a)
        elif o.code == OP_PARK:
            park(td)
        elif o.code == OP_UNPARK:
            unpark(td, state.scripts[o.a].td)
        entry = &state.trace[state.traced]
        state.traced += 1
        entry.begin = begin
        entry.end = now(td)
        entry.script = me.index
        entry.op = i
        entry.result = result
        i += 1
        if (o.code == OP_TRYLOCK or o.code == OP_TRYRLOCK) and not result:
            i += <uint32_t>o.b


cdef class Scripts:
    """Threads that each run a script of operations on a fresh machine.

    `locks` names the kind of each lock ("mtx", "rw", "sx", "spin"); they lie `stride` bytes apart. A script is a list
    of (operation, arguments...): the lock operations take the lock's number, and trylock and tryrlock the number of
    operations to skip when they fail; charge, user and sleep a time in picoseconds; msleep a channel and a lock (-1:
    none), wakeup a channel; spawn, priority_of and unpark the number of a script; shootdown a set of CPUs and pages;
    read and write the number of a line. Scripts that some spawn names wait for it; the others start at time 0.
    """

    cdef readonly Machine machine
    cdef scripts_state* state
    cdef readonly list scripts

    def __init__(self, Machine machine, list locks, list scripts, int stride=32):
        cdef scripts_state* s
        cdef char* memory
        cdef script* sc
        cdef uint32_t i, j, total = 0
        self.machine = machine
        self.scripts = scripts
        kernel_create(machine.m, NULL, KERNEL_LOCKS)
        self.state = s = <scripts_state*>arena_alloc(machine.m, sizeof(scripts_state))
        s.lines = <char*>arena_alloc(machine.m, 64 * 64)
        s.locks = <script_lock*>arena_alloc(machine.m, (len(locks) + 1) * sizeof(script_lock))
        s.scripts = <script*>arena_alloc(machine.m, len(scripts) * sizeof(script))
        memory = <char*>arena_alloc(machine.m, max(4096, (len(locks) + 1) * stride))
        for i in range(len(locks)):
            s.locks[i].lock = <lock_object*>(memory + i * stride)
            s.locks[i].kind = KINDS.index(locks[i])
            if s.locks[i].kind == KIND_RW:
                rw_init(<rwlock*>s.locks[i].lock, NAMES[KIND_RW], 0)
            elif s.locks[i].kind == KIND_SX:
                sx_init(<sx*>s.locks[i].lock, NAMES[KIND_SX], 0)
            else:
                mtx_init(<mtx*>s.locks[i].lock, NAMES[s.locks[i].kind], 0)
        spawned = {step[1] for lines in scripts for step in lines if step[0] == "spawn"}
        for i in range(len(scripts)):
            sc = &s.scripts[i]
            sc.state = s
            sc.index = i
            sc.count = len(scripts[i])
            sc.ops = <op*>arena_alloc(machine.m, (sc.count + 1) * sizeof(op))
            for j in range(sc.count):
                step = scripts[i][j]
                sc.ops[j].code = OP_CODES[step[0]]
                sc.ops[j].a = step[1] if len(step) > 1 else 0
                sc.ops[j].b = step[2] if len(step) > 2 else 0
            total += sc.count
        s.trace = <trace_entry*>arena_alloc(machine.m, (total + 1) * sizeof(trace_entry))
        for i in range(len(scripts)):
            if i not in spawned and machine.m.ops.spawn(NULL, machine.m, run_script, &s.scripts[i], NULL) == NULL:
                raise MemoryError

    def trace(self):
        """Operations in the order in which they ended: (begin ps, end ps, script, index, operation, result)."""
        cdef uint32_t i
        rows = []
        for i in range(self.state.traced):
            t = self.state.trace[i]
            rows.append((t.begin, t.end, t.script, t.op, self.scripts[t.script][t.op][0], t.result))
        return rows

    def chains(self):
        """For each lock: the offsets of its turnstile chain and its sleep queue chain in the kernel's memory."""
        cdef thread td
        cdef script_lock* at
        td.machine = self.machine.m
        rows = []
        for i in range(64):
            at = &self.state.locks[i]
            if at.lock == NULL:
                break
            rows.append((arena_offset(td.machine, turnstile_chain_of(&td, TURNSTILE, at.lock)),
                         arena_offset(td.machine, turnstile_chain_of(&td, SLEEPQUEUE, at.lock))))
        return rows


def lock_sizes():
    """Bytes of a mtx, an rw lock, an sx lock and of the lock_object that each begins with."""
    return sizeof(mtx), sizeof(rwlock), sizeof(sx), sizeof(lock_object)
