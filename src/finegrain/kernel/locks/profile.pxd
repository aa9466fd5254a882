# The lock profile: what every acquisition point waited and held, and who held the lock meanwhile.
#
# The profile sees three points of a lock's life.  `wanting`: the fast path failed.  `holding`: the lock has been
# got.  `releasing`: it is about to be given up.  Counts, holds and waits go to the record of the acquisition point
# (lock name, site), in the table of the machine.  A wait is charged, piece by piece, to the acquisition point of
# whoever held the lock during the piece, or to FREE_SITE while nobody did (back-off, wake-up, lost races), so
# waits summed over waiters equal waits charged to holders exactly.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from finegrain.machine.seam cimport MAX_HELD, charge_memory, held_lock, machine, panic, ps_t, thread, unlikely

cdef enum:
    MAX_LOCK_NAMES = 48
    MAX_SITES = 224
    HISTOGRAM_BUCKETS = 44              # bucket b counts times below 2**b ns (and not below 2**(b-1))
    FREE_SITE = 0                       # holder of a lock that nobody holds
    LO_PV_LIST = 1                      # lo_flags: a PV list lock: waits are kept by instance and superpage too
    LO_DUPOK = 2

# What every lock starts with: 24 bytes, as in FreeBSD, so that locks share cache lines as theirs do.
#   c: constant; w: the lock word's owner; p: the profile (machine order)
cdef struct lock_object:
    uint16_t lo_name                    # c: index in the table of lock names (class and name)
    uint16_t lo_flags                   # c
    uint32_t lo_data                    # w: recursion count
    uint32_t lo_instance                # c: PV list locks: number of the lock
    uint32_t lo_nwaiters                # p: how many threads wait
    thread* lo_waiters                  # p: the threads that wait, youngest first

# One acquisition point: a lock name at a site.  Times in picoseconds.
cdef struct lock_record:
    int64_t acquisitions                # counted at release, as LOCK_PROFILING does
    int64_t contested
    int64_t trylock_failures
    ps_t wait_total
    ps_t wait_max
    ps_t block_total                    # the part of wait_total spent off the CPU; the rest was spinning
    ps_t hold_total
    ps_t hold_max
    int64_t depth_total                 # threads already waiting, summed over contested acquisitions
    int64_t depth_max
    int64_t lines[5]                    # where the lock's line came from: LINE_HIT ...
    int64_t wait_histogram[HISTOGRAM_BUCKETS]
    int64_t hold_histogram[HISTOGRAM_BUCKETS]

# One lock name: for Little's law and the balance of acquisitions and releases.
cdef struct lock_name_record:
    int64_t acquired
    int64_t released
    int64_t waiting                     # threads that wait now
    ps_t waiting_since                  # when `waiting` last changed
    ps_t queue_integral                 # integral of `waiting` over time

# One PV list lock, or one superpage.
cdef struct pv_wait_record:
    int64_t acquisitions
    int64_t contested
    ps_t wait
    ps_t hold
    ps_t collision                      # waited while the holder worked on another superpage
    ps_t sharing                        # waited while the holder worked on the same one

cdef struct lock_profile:
    bint enabled
    ps_t started                        # when counting began
    lock_record* records                # [MAX_LOCK_NAMES][MAX_SITES]
    lock_name_record* names             # [MAX_LOCK_NAMES]
    ps_t* charged                       # [lock name][holder site][waiter site]
    pv_wait_record* pv_locks            # by lo_instance; NULL before the pmap is there
    uint32_t pv_lock_count
    pv_wait_record* superpages          # by superpage of the waiter; NULL likewise
    uint32_t superpage_count
    uint32_t* last_superpage            # by lo_instance: superpage of the last holder, for waits on a free lock

# Look up or make the number of a lock name ("rw", "pmap pv list") or an acquisition point; call at import.
cdef uint16_t lock_name(const char* lock_class, const char* name) except 0xffff
cdef uint16_t lock_site(const char* site) except 0xffff

# Tables for a machine; counts start at zero.
cdef int lock_profile_create(machine* m) except -1
# Begin counting afresh (the end of the warm-up).  Waits and holds under way count from here.
cdef void lock_profile_reset(machine* m, ps_t at) noexcept nogil

# How many there are; names count from 0, sites from FREE_SITE.
cdef uint16_t lock_name_count() noexcept nogil
cdef uint16_t lock_site_count() noexcept nogil
cdef const char* lock_class_text(uint16_t name) noexcept nogil
cdef const char* lock_name_text(uint16_t name) noexcept nogil
cdef const char* lock_site_text(uint16_t site) noexcept nogil

# The out-of-line halves of the three points.
cdef void profile_wait_begin(thread* td, lock_object* lock, uint16_t site, bint shared) noexcept nogil
cdef void profile_wait_end(thread* td, lock_object* lock) noexcept nogil
cdef void profile_charge_waiters(thread* td, lock_object* lock, uint16_t holder, uint32_t superpage) noexcept nogil
cdef void profile_charge_free(thread* td, lock_object* lock) noexcept nogil
cdef void profile_pv_release(thread* td, lock_object* lock, held_lock* h, ps_t hold) noexcept nogil

cdef extern from *:
    int __builtin_clzll(unsigned long long x) noexcept nogil


cdef inline void lock_object_init(lock_object* lock, uint16_t name, uint16_t flags) noexcept nogil:
    memset(lock, 0, sizeof(lock_object))
    lock.lo_name = name
    lock.lo_flags = flags


cdef inline lock_record* lock_record_of(thread* td, lock_object* lock, uint16_t site) noexcept nogil:
    return &(<lock_profile*>td.machine.profile).records[<uint32_t>lock.lo_name * MAX_SITES + site]


cdef inline int histogram_bucket(ps_t t) noexcept nogil:
    cdef uint64_t ns = <uint64_t>(t if t > 0 else 0) // 1000
    cdef int b = 0 if ns == 0 else 64 - __builtin_clzll(ns)
    return b if b < HISTOGRAM_BUCKETS else HISTOGRAM_BUCKETS - 1


# The lock has been got (`joined`: other readers hold it too).
cdef inline void lock_profile_holding(thread* td, lock_object* lock, uint16_t site, bint shared,
                                      bint joined) noexcept nogil:
    cdef held_lock* h
    cdef lock_profile* p = <lock_profile*>td.machine.profile
    cdef lock_record* r
    if unlikely(td.nheld == MAX_HELD):
        panic(td, b"too many locks held at once")
    if unlikely(td.wanted == lock):
        profile_wait_end(td, lock)
    if unlikely(lock.lo_waiters != NULL) and not joined:
        profile_charge_free(td, lock)
    h = &td.held[td.nheld]
    td.nheld += 1
    h.lock = lock
    h.site = site
    h.shared = shared
    h.superpage = td.superpage
    h.since = td.clock
    if p.enabled:
        p.names[lock.lo_name].acquired += 1
        r = &p.records[<uint32_t>lock.lo_name * MAX_SITES + site]
        r.lines[td.cpu.last_line] += 1


# The lock is about to be released.
cdef inline void lock_profile_releasing(thread* td, lock_object* lock) noexcept nogil:
    cdef uint32_t i = td.nheld
    cdef held_lock h
    cdef lock_profile* p = <lock_profile*>td.machine.profile
    cdef lock_record* r
    cdef ps_t hold
    while True:
        if unlikely(i == 0):
            panic(td, b"unlocking a lock that is not held")
            return
        i -= 1
        if td.held[i].lock == lock:
            break
    h = td.held[i]
    td.nheld -= 1
    while i < td.nheld:
        td.held[i] = td.held[i + 1]
        i += 1
    if unlikely(lock.lo_waiters != NULL):
        profile_charge_waiters(td, lock, h.site, td.superpage)
    if p.enabled:
        hold = td.clock - h.since
        p.names[lock.lo_name].released += 1
        r = &p.records[<uint32_t>lock.lo_name * MAX_SITES + h.site]
        r.acquisitions += 1
        r.hold_total += hold
        if hold > r.hold_max:
            r.hold_max = hold
        r.hold_histogram[histogram_bucket(hold)] += 1
        if lock.lo_flags & LO_PV_LIST:
            profile_pv_release(td, lock, &h, hold)
