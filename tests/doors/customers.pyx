# Test and benchmark door to the locks: threads that think, take one of K locks, hold it, and go round.

from libc.math cimport log
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.boot cimport KERNEL_LOCKS, kernel_create
from finegrain.kernel.locks.mtx cimport mtx, mtx_init, mtx_lock, mtx_unlock
from finegrain.kernel.locks.profile cimport lock_name, lock_site
from finegrain.kernel.locks.rw cimport rw_init, rw_rlock, rw_runlock, rw_wlock, rw_wunlock, rwlock
from finegrain.kernel.locks.sx cimport sx, sx_init, sx_slock, sx_sunlock, sx_xlock, sx_xunlock
from finegrain.machine.machine cimport Machine
from finegrain.machine.seam cimport arena_alloc, charge, stopping, user
from finegrain.machine.thread cimport thread

cdef uint16_t NAMES[3]
NAMES[0] = lock_name(b"sleep mutex", b"bench")
NAMES[1] = lock_name(b"rw", b"bench")
NAMES[2] = lock_name(b"sx", b"bench")
cdef uint16_t SITE_READ = lock_site(b"bench/read")
cdef uint16_t SITE_WRITE = lock_site(b"bench/write")

cdef struct customers:
    char* locks
    uint32_t nlocks
    uint32_t stride
    int kind
    int64_t think
    int64_t hold
    bint think_exponential
    bint hold_exponential
    bint preemptible                    # think as user time
    double write_fraction
    int64_t rounds                      # 0: for ever
    uint64_t seed


cdef inline uint64_t next_random(uint64_t* state) noexcept nogil:
    # xorshift64* (Vigna 2016)
    state[0] ^= state[0] >> 12
    state[0] ^= state[0] << 25
    state[0] ^= state[0] >> 27
    return state[0] * <uint64_t>0x2545f4914f6cdd1d


cdef inline double uniform(uint64_t* state) noexcept nogil:
    return <double>(next_random(state) >> 11) * (1.0 / 9007199254740992.0)


cdef inline int64_t duration(uint64_t* state, int64_t mean, bint exponential) noexcept nogil:
    if not exponential:
        return mean
    return <int64_t>(-log(1.0 - uniform(state)) * <double>mean)


cdef void customer(thread* td, void* argument) noexcept nogil:
    cdef customers* c = <customers*>argument
    cdef uint64_t state = (c.seed + td.id) * <uint64_t>0x9e3779b97f4a7c15
    cdef int64_t rounds = c.rounds
    cdef void* lock
    cdef bint write
    for _ in range(8):
        next_random(&state)
    while not stopping(td.machine):
        if c.preemptible:
            user(td, duration(&state, c.think, c.think_exponential))
        else:
            charge(td, duration(&state, c.think, c.think_exponential), 1)
        lock = c.locks + (next_random(&state) >> 33) % c.nlocks * c.stride
        write = c.kind == 0 or c.write_fraction >= 1.0 or uniform(&state) < c.write_fraction
        if c.kind == 0:
            mtx_lock(td, <mtx*>lock, SITE_WRITE)
            charge(td, duration(&state, c.hold, c.hold_exponential), 1)
            mtx_unlock(td, <mtx*>lock)
        elif c.kind == 1:
            if write:
                rw_wlock(td, <rwlock*>lock, SITE_WRITE)
                charge(td, duration(&state, c.hold, c.hold_exponential), 1)
                rw_wunlock(td, <rwlock*>lock)
            else:
                rw_rlock(td, <rwlock*>lock, SITE_READ)
                charge(td, duration(&state, c.hold, c.hold_exponential), 1)
                rw_runlock(td, <rwlock*>lock)
        else:
            if write:
                sx_xlock(td, <sx*>lock, SITE_WRITE)
                charge(td, duration(&state, c.hold, c.hold_exponential), 1)
                sx_xunlock(td, <sx*>lock)
            else:
                sx_slock(td, <sx*>lock, SITE_READ)
                charge(td, duration(&state, c.hold, c.hold_exponential), 1)
                sx_sunlock(td, <sx*>lock)
        if rounds > 0:
            rounds -= 1
            if rounds == 0:
                return


def customers_start(Machine m, int threads, int locks, int64_t think_ps, int64_t hold_ps, *, str kind="sleep mutex",
                    bint think_exponential=True, bint hold_exponential=True, double write_fraction=1.0,
                    int64_t rounds=0, uint64_t seed=1, int stride=32, bint preemptible=False):
    """Start `threads` customers of `locks` locks, `stride` bytes apart, on a fresh machine."""
    cdef customers* c
    cdef int i
    kernel_create(m.m, NULL, KERNEL_LOCKS)
    c = <customers*>arena_alloc(m.m, sizeof(customers))
    c.kind = ("sleep mutex", "rw", "sx").index(kind)
    c.locks = <char*>arena_alloc(m.m, <uint64_t>locks * stride)
    c.nlocks = locks
    c.stride = stride
    c.think = think_ps
    c.hold = hold_ps
    c.think_exponential = think_exponential
    c.hold_exponential = hold_exponential
    c.preemptible = preemptible
    c.write_fraction = write_fraction
    c.rounds = rounds
    c.seed = seed
    for i in range(locks):
        if c.kind == 0:
            mtx_init(<mtx*>(c.locks + i * stride), NAMES[0], 0)
        elif c.kind == 1:
            rw_init(<rwlock*>(c.locks + i * stride), NAMES[1], 0)
        else:
            sx_init(<sx*>(c.locks + i * stride), NAMES[2], 0)
    for _ in range(threads):
        if m.m.ops.spawn(NULL, m.m, customer, c, NULL) == NULL:
            raise MemoryError
