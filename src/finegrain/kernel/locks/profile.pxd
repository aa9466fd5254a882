# The lock profile: what every acquisition point waited and held, and who held the lock meanwhile.
#
# The profile sees three points of a lock's life.  `wanting`: the fast path failed.  `holding`: the lock has been
# got.  `releasing`: it is about to be given up.  Counts, holds and waits go to the record of the acquisition point
# (lock name, site), in a table of the thread's own; in the simulation one table serves all, since one thread runs at a
# time.  A wait is charged, piece by piece, to the acquisition point of whoever held the lock during the piece, or to
# FREE_SITE while nobody did (back-off, wake-up, lost races), so waits summed over waiters equal waits charged to
# holders exactly.
#
# Counting costs time, as LOCK_PROFILING's does (cost.probe): half of it after the lock has been got and before the hold
# begins, half after the hold has ended and before the lock is given up.  So it lengthens no hold that is recorded, and
# delays everybody who waits.
#
# What it takes to get the lock's cache line is counted at the same points: what the machine noted since the last one
# (thread.transfers) belongs to the lock of this point, or to the one given up before it, whose store came after its
# own last point.
#
# A lock is known by its identity (lock_id: address, name, kind, instance), which is no part of its word and need not
# lie beside it: an 8-byte mutex and two bits of somebody else's word are locks like any other.  Those who wait are
# found by its address.  Who owns it, each kind tells by a function of its own.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from finegrain.machine.seam cimport atomic_load_pointer, charge, last_line, now, panic, unlikely
from finegrain.machine.thread cimport MAX_HELD, WAIT_CHAINS, held_lock, lock_id, machine, ps_t, thread, wait_chain

cdef enum:
    MAX_LOCK_NAMES = 64
    MAX_SITES = 288
    HISTOGRAM_BUCKETS = 44              # bucket b counts times below 2**b ns (and not below 2**(b-1))
    FREE_SITE = 0                       # holder of a lock that nobody holds
    LO_PV_LIST = 1                      # lo_flags: a PV list lock: waits are kept by instance and superpage too
    LO_DUPOK = 2

# How the owner of a lock is read.
cdef enum lock_kind:
    LK_MTX = 0
    LK_RWSX
    LK_MTX8
    LK_BIT2
    LK_KINDS

# What FreeBSD's 32-byte locks start with: 24 bytes, so that locks share cache lines as theirs do.  All constant.  Only
# the kind's own file reads it, to say what the lock's identity is.
cdef struct lock_object:
    uint16_t lo_name                    # as in lock_id, and in its order: one word is copied
    uint8_t lo_kind
    uint8_t lo_flags
    uint32_t lo_instance
    uint64_t lo_unused[2]               # FreeBSD has names and witness data here

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
    # What it took to get the word's line where it was not at hand: while the lock was wanted, held and given up.
    int64_t transfers
    int64_t neighbour_transfers         # those that others in the line were the cause of (machine/simulated/neighbours)
    ps_t transfer_total
    ps_t neighbour_total
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
    lock_profile* next                  # another thread's, on real threads
    uint64_t lock                       # raw: that list
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

ctypedef thread* (*owner_function)(thread* td, const void* address) noexcept nogil

# Each lock kind says, at import, how the exclusive owner of a lock at an address is found (NULL: none, or not known).
# td asks; it may be asked only where others stand still.
cdef void lock_kind_owner(lock_kind kind, owner_function owner) noexcept nogil
cdef thread* lock_owner(thread* td, const lock_id* lock) noexcept nogil

# Tables for a machine; counts start at zero.
cdef int lock_profile_create(machine* m) except -1
# One acquisition point's record, summed over all tables.
cdef void lock_profile_sum(machine* m, uint16_t name, uint16_t site, lock_record* sum) noexcept nogil
# Begin counting afresh (the end of the warm-up).  Waits and holds under way count from here.
cdef void lock_profile_reset(machine* m, ps_t at) noexcept nogil

# How many there are; names count from 0, sites from FREE_SITE.
cdef uint16_t lock_name_count() noexcept nogil
cdef uint16_t lock_site_count() noexcept nogil
cdef const char* lock_class_text(uint16_t name) noexcept nogil
cdef const char* lock_name_text(uint16_t name) noexcept nogil
cdef const char* lock_site_text(uint16_t site) noexcept nogil

# The out-of-line halves of the three points.
cdef void profile_wait_begin(thread* td, const lock_id* lock, uint16_t site, bint shared) noexcept nogil
cdef void profile_wait_end(thread* td, const lock_id* lock) noexcept nogil
cdef void profile_charge_waiters(thread* td, const lock_id* lock, uint16_t holder, uint32_t superpage) noexcept nogil
cdef void profile_charge_free(thread* td, const lock_id* lock) noexcept nogil
cdef void profile_pv_release(thread* td, held_lock* h, ps_t hold) noexcept nogil
cdef void profile_transfers(thread* td, const void* word, lock_record* r) noexcept nogil

cdef extern from *:
    int __builtin_clzll(unsigned long long x) noexcept nogil


cdef inline void lock_object_init(lock_object* lock, lock_kind kind, uint16_t name, uint16_t flags) noexcept nogil:
    memset(lock, 0, sizeof(lock_object))
    lock.lo_name = name
    lock.lo_kind = <uint8_t>kind
    lock.lo_flags = <uint8_t>flags


# The identity of a lock that begins with a lock_object.
cdef inline lock_id lock_object_id(const lock_object* lock) noexcept nogil:
    cdef lock_id id
    id.address = lock
    id.name = lock.lo_name
    id.kind = lock.lo_kind
    id.flags = lock.lo_flags
    id.instance = lock.lo_instance
    return id


# The word of a lock whose identity is known.
cdef inline const void* lock_word(const lock_id* lock) noexcept nogil:
    return <const char*>lock.address + (sizeof(lock_object) if lock.kind <= LK_RWSX else 0)


# Which chain it is decides nothing, so it need not be the same in every run.
cdef inline wait_chain* wait_chain_of(thread* td, const void* address) noexcept nogil:
    return &td.machine.waiters[((<uint64_t>address >> 5) ^ (<uint64_t>address >> 12)) & (WAIT_CHAINS - 1)]


# Does anybody wait for a lock at this address, or for one that hashes alike?
cdef inline bint may_be_waited_for(thread* td, const void* address) noexcept nogil:
    return atomic_load_pointer(<void**>&wait_chain_of(td, address).first) != NULL


cdef inline lock_record* lock_record_of(thread* td, uint16_t name, uint16_t site) noexcept nogil:
    return &(<lock_profile*>td.profile).records[<uint32_t>name * MAX_SITES + site]


cdef inline int histogram_bucket(ps_t t) noexcept nogil:
    cdef uint64_t ns = <uint64_t>(t if t > 0 else 0) // 1000
    cdef int b = 0 if ns == 0 else 64 - __builtin_clzll(ns)
    return b if b < HISTOGRAM_BUCKETS else HISTOGRAM_BUCKETS - 1


# Does td hold the lock at the address, in whatever mode?
#
# td's own list of the locks that it holds tells, so readers are told apart too, whom a lock's word only counts.  What
# it cannot see: that a lock was taken by another thread for this one; nobody here does so.  Costs a few loads of td's
# own lines for each lock that it holds.
#
# Locks in: any.  Locks out: the same.  May block: never.  Stands for: FreeBSD witness_assert(), which looks there too.
cdef inline bint lock_held(thread* td, const void* address) noexcept nogil:
    cdef uint32_t i = td.nheld
    while i != 0:
        i -= 1
        if td.held[i].lock.address == address:
            return True
    return False


# The lock has been got (`joined`: other readers hold it too).
#
# Locks in: the one just got, not noted yet.  Locks out: the same, noted.  May block: never.
# Stands for: FreeBSD lock_profile_obtain_lock_success(), WITNESS_LOCK().
cdef inline void lock_profile_holding(thread* td, lock_id lock, uint16_t site, bint shared, bint joined) noexcept nogil:
    cdef held_lock* h = &td.held[td.nheld]
    cdef lock_profile* p = <lock_profile*>td.profile
    if unlikely(td.nheld == MAX_HELD):
        panic(td, b"too many locks held at once")
    td.nheld += 1
    h.lock.address = lock.address
    h.lock.name = lock.name
    h.lock.kind = lock.kind
    h.lock.flags = lock.flags
    h.lock.instance = lock.instance
    h.site = site
    h.shared = shared
    if unlikely(td.wanted.address == lock.address):
        profile_wait_end(td, &h.lock)
    if unlikely(may_be_waited_for(td, lock.address)) and not joined:
        profile_charge_free(td, &h.lock)
    h.superpage = td.superpage
    if td.transfers[0].word != NULL:
        profile_transfers(td, lock_word(&h.lock), lock_record_of(td, lock.name, site))
    if p.enabled:
        charge(td, td.machine.cost.probe >> 1, 1)
        p.names[lock.name].acquired += 1
        lock_record_of(td, lock.name, site).lines[last_line(td)] += 1
    h.since = now(td)


# The lock at the address is about to be released.
#
# Locks in: the lock.  Locks out: the same, no longer noted: its word must be freed next.  May block: never.
# Stands for: FreeBSD lock_profile_release_lock(), WITNESS_UNLOCK().
cdef inline void lock_profile_releasing(thread* td, const void* address) noexcept nogil:
    cdef uint32_t i = td.nheld
    cdef held_lock* h
    cdef lock_profile* p = <lock_profile*>td.profile
    cdef lock_record* r = NULL
    cdef ps_t hold
    while True:
        if unlikely(i == 0):
            panic(td, b"unlocking a lock that is not held")
            return
        i -= 1
        h = &td.held[i]
        if h.lock.address == address:
            break
    if p.enabled:
        hold = now(td) - h.since
        p.names[h.lock.name].released += 1
        r = lock_record_of(td, h.lock.name, h.site)
        r.acquisitions += 1
        r.hold_total += hold
        if hold > r.hold_max:
            r.hold_max = hold
        r.hold_histogram[histogram_bucket(hold)] += 1
        if h.lock.flags & LO_PV_LIST:
            profile_pv_release(td, h, hold)
        charge(td, td.machine.cost.probe >> 1, 1)
    if td.transfers[0].word != NULL:
        profile_transfers(td, lock_word(&h.lock), r)
    td.released_word = lock_word(&h.lock)
    td.released_record = r
    if unlikely(may_be_waited_for(td, address)):
        profile_charge_waiters(td, &h.lock, h.site, td.superpage)
    td.nheld -= 1
    while i < td.nheld:
        td.held[i] = td.held[i + 1]
        i += 1


# A try to get the lock failed.
#
# Locks in: any.  Locks out: the same.  May block: never.  Stands for: nothing in FreeBSD, which does not count these.
cdef inline void lock_profile_failed(thread* td, lock_id lock, uint16_t site) noexcept nogil:
    lock_record_of(td, lock.name, site).trylock_failures += 1
    if td.transfers[0].word != NULL:
        profile_transfers(td, lock_word(&lock), lock_record_of(td, lock.name, site))
