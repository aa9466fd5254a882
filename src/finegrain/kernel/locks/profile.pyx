# The lock profile.  See profile.pxd for the idea; here are the tables and the out-of-line halves.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memset, strcmp

from finegrain.kernel.list cimport list_insert_head, list_remove
from finegrain.machine.seam cimport (
    arena_alloc, atomic_store_pointer, charge, now, panic, raw_lock, raw_unlock, wait_until)
from finegrain.machine.thread cimport (
    LINE_KINDS, TRANSFER_WORDS, held_lock, lock_id, machine, ps_t, thread, wait_chain, word_transfers)

cdef const char* lock_classes[MAX_LOCK_NAMES]
cdef const char* lock_names[MAX_LOCK_NAMES]
cdef const char* lock_sites[MAX_SITES]
cdef uint16_t name_count = 0
cdef uint16_t site_count = 1
cdef list keep = []                     # the bytes behind the names
cdef owner_function owner_of[LK_KINDS]

lock_sites[FREE_SITE] = b"(free)"


cdef const char* kept(const char* text):
    cdef bytes copy = text
    keep.append(copy)
    return copy


cdef uint16_t lock_name(const char* lock_class, const char* name) except 0xffff:
    global name_count
    cdef uint16_t i
    for i in range(name_count):
        if strcmp(lock_classes[i], lock_class) == 0 and strcmp(lock_names[i], name) == 0:
            return i
    if name_count == MAX_LOCK_NAMES:
        raise OverflowError("too many lock names: raise MAX_LOCK_NAMES")
    lock_classes[name_count] = kept(lock_class)
    lock_names[name_count] = kept(name)
    name_count += 1
    return name_count - 1


cdef uint16_t lock_site(const char* site) except 0xffff:
    global site_count
    cdef uint16_t i
    for i in range(1, site_count):
        if strcmp(lock_sites[i], site) == 0:
            return i
    if site_count == MAX_SITES:
        raise OverflowError("too many acquisition points: raise MAX_SITES")
    lock_sites[site_count] = kept(site)
    site_count += 1
    return site_count - 1


cdef uint16_t lock_name_count() noexcept nogil:
    return name_count


cdef uint16_t lock_site_count() noexcept nogil:
    return site_count


cdef const char* lock_class_text(uint16_t name) noexcept nogil:
    return lock_classes[name]


cdef const char* lock_name_text(uint16_t name) noexcept nogil:
    return lock_names[name]


cdef const char* lock_site_text(uint16_t site) noexcept nogil:
    return lock_sites[site]


cdef void lock_kind_owner(lock_kind kind, owner_function owner) noexcept nogil:
    owner_of[<int>kind] = owner


cdef thread* lock_owner(thread* td, const lock_id* lock) noexcept nogil:
    return owner_of[lock.kind](td, lock.address)


cdef lock_profile* new_profile(machine* m) noexcept nogil:
    cdef lock_profile* p = <lock_profile*>arena_alloc(m, sizeof(lock_profile))
    p.enabled = True
    p.records = <lock_record*>arena_alloc(m, MAX_LOCK_NAMES * MAX_SITES * sizeof(lock_record))
    p.names = <lock_name_record*>arena_alloc(m, MAX_LOCK_NAMES * sizeof(lock_name_record))
    p.charged = <ps_t*>arena_alloc(m, MAX_LOCK_NAMES * MAX_SITES * MAX_SITES * sizeof(ps_t))
    return p


cdef int lock_profile_create(machine* m) except -1:
    m.profile = new_profile(m)
    m.attach = attach
    m.describe = describe_thread
    return 0


# A new thread: where its locks are counted.  Real threads run at once, so each has a table of its own.
#
# Locks in:   none: the thread has yet to run.
# Locks out:  none.
# May block:  never; on real threads spins on the raw lock of the tables.
# Stands for: nothing in FreeBSD, which has a table a CPU.
cdef void attach(thread* td) noexcept nogil:
    cdef lock_profile* first = <lock_profile*>td.machine.profile
    cdef lock_profile* p = first
    if not td.simulated:
        p = new_profile(td.machine)
        raw_lock(td, &first.lock)
        p.next = first.next
        first.next = p
        raw_unlock(td, &first.lock)
    td.profile = p


cdef void lock_profile_sum(machine* m, uint16_t name, uint16_t site, lock_record* sum) noexcept nogil:
    cdef lock_profile* p = (<lock_profile*>m.profile).next
    cdef uint64_t at = <uint64_t>name * MAX_SITES + site
    cdef lock_record* r
    cdef int i
    sum[0] = (<lock_profile*>m.profile).records[at]
    while p != NULL:
        r = &p.records[at]
        sum.acquisitions += r.acquisitions
        sum.contested += r.contested
        sum.trylock_failures += r.trylock_failures
        sum.wait_total += r.wait_total
        sum.wait_max = max(sum.wait_max, r.wait_max)
        sum.block_total += r.block_total
        sum.hold_total += r.hold_total
        sum.hold_max = max(sum.hold_max, r.hold_max)
        sum.depth_total += r.depth_total
        sum.depth_max = max(sum.depth_max, r.depth_max)
        sum.transfers += r.transfers
        sum.neighbour_transfers += r.neighbour_transfers
        sum.transfer_total += r.transfer_total
        sum.neighbour_total += r.neighbour_total
        for i in range(LINE_KINDS):
            sum.lines[i] += r.lines[i]
        for i in range(HISTOGRAM_BUCKETS):
            sum.wait_histogram[i] += r.wait_histogram[i]
            sum.hold_histogram[i] += r.hold_histogram[i]
        p = p.next


# May a thread wait for a lock that td holds?
cdef bint holds_what_is_wanted(thread* td) noexcept nogil:
    cdef uint32_t i
    for i in range(td.nheld):
        if may_be_waited_for(td, td.held[i].lock.address):
            return True
    return False


# Stop when td is about to wait for a lock whose owner waits, directly or through others, for td.  In the simulation
# only, where the others stand still meanwhile.
cdef void check_deadlock(thread* td, const lock_id* lock) noexcept nogil:
    cdef thread* owner
    if not td.simulated:
        return
    for _ in range(64):                 # longer cycles end as "no thread can run"
        # The owner of a 2-bit lock is looked for among all threads: only if td holds what another one wants.
        if lock.kind == LK_BIT2 and not holds_what_is_wanted(td):
            return
        owner = lock_owner(td, lock)
        if owner == NULL:
            return
        if owner == td:
            panic(td, b"deadlock: this thread waits for itself through the locks below")
            return
        if owner.wanted.address == NULL:
            return
        lock = &owner.wanted


# What a thread wants and holds, for panic messages.
cdef int describe_thread(thread* td, char* text, size_t size) noexcept nogil:
    cdef size_t n = 0
    cdef uint32_t i
    cdef uint16_t name = td.wanted.name
    text[0] = 0
    if td.wanted.address != NULL and n < size:
        n += snprintf(text + n, size - n, b"; wants %s:%s at %s", lock_classes[name], lock_names[name],
                      lock_sites[td.wanted_site])
    for i in range(td.nheld):
        if n < size:
            name = td.held[i].lock.name
            n += snprintf(text + n, size - n, b"%s %s:%s (%s)", b"; holds" if i == 0 else b",",
                          lock_classes[name], lock_names[name], lock_sites[td.held[i].site])
    return <int>(n if n < size else size - 1)


cdef void lock_profile_reset(machine* m, ps_t at) noexcept nogil:
    cdef lock_profile* p = <lock_profile*>m.profile
    cdef uint32_t i, name, waiter
    cdef int64_t waiting
    cdef ps_t* charged
    cdef thread* td = m.threads
    memset(p.records, 0, MAX_LOCK_NAMES * MAX_SITES * sizeof(lock_record))
    for i in range(MAX_LOCK_NAMES):
        waiting = p.names[i].waiting
        memset(&p.names[i], 0, sizeof(lock_name_record))
        p.names[i].waiting = waiting
        p.names[i].waiting_since = at
    # Only what was counted is cleared, and only what can have been is looked at: the tables have room for more names
    # and sites than there are, and untouched parts of them stay unbacked.
    for name in range(name_count):
        for i in range(site_count):
            charged = &p.charged[(<uint32_t>name * MAX_SITES + i) * MAX_SITES]
            for waiter in range(site_count):
                if charged[waiter] != 0:
                    charged[waiter] = 0
    for i in range(p.pv_lock_count):
        if p.pv_locks[i].acquisitions != 0 or p.pv_locks[i].contested != 0:
            memset(&p.pv_locks[i], 0, sizeof(pv_wait_record))
    for i in range(p.superpage_count):
        if p.superpages[i].acquisitions != 0 or p.superpages[i].contested != 0:
            memset(&p.superpages[i], 0, sizeof(pv_wait_record))
    p.started = at
    while td != NULL:
        if td.wanted.address != NULL:
            td.wait_since = at
            td.wait_charged = at
            td.blocked = 0
        for i in range(td.nheld):
            td.held[i].since = at
            p.names[td.held[i].lock.name].acquired += 1
        td = td.all_next


cdef inline void count_waiting(lock_profile* p, const lock_id* lock, ps_t at, int change) noexcept nogil:
    cdef lock_name_record* n = &p.names[lock.name]
    n.queue_integral += n.waiting * (at - n.waiting_since)
    n.waiting_since = at
    n.waiting += change


# Charge each waiter's wait since it was last charged to the acquisition point `holder`, which worked on `superpage`.
#
# Locks in:   the one waited for, held by td or just got by it: its last step before or after changing the word.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef void profile_charge_waiters(thread* td, const lock_id* lock, uint16_t holder, uint32_t superpage) noexcept nogil:
    cdef wait_chain* chain = wait_chain_of(td, lock.address)
    cdef ps_t at = now(td)
    cdef thread* w
    raw_lock(td, &chain.lock)
    w = chain.first
    while w != NULL:
        if w.wanted.address == lock.address:
            charge_wait(<lock_profile*>td.profile, w, lock, holder, superpage, at)
        w = w.wait_next
    raw_unlock(td, &chain.lock)


# Charge one waiter's wait up to `until`.
#
# Locks in: the waiters' raw lock of the chain.  Locks out: the same.  May block: never.
# Stands for: nothing in FreeBSD.
cdef inline void charge_wait(lock_profile* p, thread* w, const lock_id* lock, uint16_t holder, uint32_t superpage,
                             ps_t until) noexcept nogil:
    cdef ps_t piece = until - w.wait_charged
    cdef pv_wait_record* here
    cdef pv_wait_record* instance
    if piece <= 0:
        return
    w.wait_charged = until
    p.charged[(<uint32_t>lock.name * MAX_SITES + holder) * MAX_SITES + w.wanted_site] += piece
    if lock.flags & LO_PV_LIST and p.pv_locks != NULL:
        here = &p.superpages[w.superpage]
        instance = &p.pv_locks[lock.instance]
        if superpage == w.superpage:
            here.sharing += piece
            instance.sharing += piece
        else:
            here.collision += piece
            instance.collision += piece


# The fast path failed: the wait for the lock begins.
#
# Locks in:   any but this one.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD lock_profile_obtain_lock_failed().
cdef void profile_wait_begin(thread* td, const lock_id* lock, uint16_t site, bint shared) noexcept nogil:
    cdef lock_profile* p = <lock_profile*>td.profile
    cdef lock_record* r = lock_record_of(td, lock.name, site)
    cdef wait_chain* chain = wait_chain_of(td, lock.address)
    cdef thread* w
    cdef int64_t depth = 0
    raw_lock(td, &chain.lock)
    w = chain.first
    while w != NULL:
        depth += w.wanted.address == lock.address
        w = w.wait_next
    td.wanted = lock[0]
    td.wanted_site = site
    td.wanted_shared = shared
    td.wait_since = now(td)
    if p.enabled:
        charge(td, td.machine.cost.probe >> 2, 1)       # one of a pair's two looks at the clock, and little else [A]
    td.wait_charged = td.wait_since
    td.blocked = 0
    w = chain.first                     # others look at it without the raw lock: stored as one
    list_insert_head(<void**>&w, NULL, td, <void**>&td.wait_next, <void**>&td.wait_prev)
    atomic_store_pointer(<void**>&chain.first, w)
    raw_unlock(td, &chain.lock)
    r.depth_total += depth
    r.depth_max = max(r.depth_max, depth)
    count_waiting(p, lock, td.wait_since, 1)
    check_deadlock(td, lock)


# The wait ended with the lock in hand: settle what is not yet charged and count the wait.
#
# Locks in:   the one waited for, just got and not noted yet.
# Locks out:  the same.
# May block:  never.
# Stands for: the contested half of FreeBSD lock_profile_obtain_lock_success().
cdef void profile_wait_end(thread* td, const lock_id* lock) noexcept nogil:
    cdef lock_profile* p = <lock_profile*>td.profile
    cdef lock_record* r = lock_record_of(td, lock.name, td.wanted_site)
    cdef wait_chain* chain = wait_chain_of(td, lock.address)
    cdef thread* first
    cdef ps_t wait
    raw_lock(td, &chain.lock)
    # A holder's clock may have been ahead of this thread's when it released: the wait ends no earlier.
    wait_until(td, td.wait_charged)
    wait = max(now(td), td.wait_charged) - td.wait_since
    charge_wait(p, td, lock, FREE_SITE, free_superpage(td, lock), td.wait_since + wait)
    first = chain.first
    list_remove(<void**>&first, NULL, td, <void**>&td.wait_next, <void**>&td.wait_prev)
    atomic_store_pointer(<void**>&chain.first, first)
    td.wanted.address = NULL
    raw_unlock(td, &chain.lock)
    count_waiting(p, lock, td.wait_since + wait, -1)
    r.contested += 1
    r.wait_total += wait
    r.block_total += td.blocked
    r.wait_max = max(r.wait_max, wait)
    r.wait_histogram[histogram_bucket(wait)] += 1
    if lock.flags & LO_PV_LIST and p.pv_locks != NULL:
        p.pv_locks[lock.instance].contested += 1
        p.pv_locks[lock.instance].wait += wait
        p.superpages[td.superpage].contested += 1
        p.superpages[td.superpage].wait += wait


# What a lock that nobody holds counts as working on: for a PV list lock, its last holder's superpage.
cdef inline uint32_t free_superpage(thread* td, const lock_id* lock) noexcept nogil:
    cdef lock_profile* p = <lock_profile*>td.profile
    if lock.flags & LO_PV_LIST and p.last_superpage != NULL:
        return p.last_superpage[lock.instance]
    return td.superpage


# Waits that are under way belong to others when somebody else gets the lock first: nobody held it meanwhile.
#
# Locks in:   the one waited for, just got by td and not noted yet.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef void profile_charge_free(thread* td, const lock_id* lock) noexcept nogil:
    profile_charge_waiters(td, lock, FREE_SITE, free_superpage(td, lock))


# A PV list lock is about to be released: counts by instance and by superpage.
cdef void profile_pv_release(thread* td, held_lock* h, ps_t hold) noexcept nogil:
    cdef lock_profile* p = <lock_profile*>td.profile
    cdef uint32_t instance = h.lock.instance
    if p.pv_locks == NULL:
        return
    p.pv_locks[instance].acquisitions += 1
    p.pv_locks[instance].hold += hold
    p.superpages[h.superpage].acquisitions += 1
    p.superpages[h.superpage].hold += hold
    p.last_superpage[instance] = td.superpage


# What the machine has noted of cache-line transfers since the last time goes to the records of their locks: r is that
# of the word, or NULL.
#
# Locks in:   any.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef void profile_transfers(thread* td, const void* word, lock_record* r) noexcept nogil:
    cdef word_transfers* t
    cdef lock_record* into
    cdef int i
    for i in range(TRANSFER_WORDS):
        t = &td.transfers[i]
        if t.word == NULL:
            return
        into = r if t.word == word else <lock_record*>td.released_record if t.word == td.released_word else NULL
        if into != NULL and (<lock_profile*>td.profile).enabled:
            into.transfers += t.count
            into.neighbour_transfers += t.neighbours
            into.transfer_total += t.time
            into.neighbour_total += t.neighbour_time
        t.word = NULL
