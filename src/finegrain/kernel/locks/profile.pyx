# The lock profile.  See profile.pxd for the idea; here are the tables and the out-of-line halves.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memset, strcmp

from finegrain.machine.seam cimport arena_alloc, atomic_load_acq, charge_memory, held_lock, machine, panic, ps_t, thread

cdef const char* lock_classes[MAX_LOCK_NAMES]
cdef const char* lock_names[MAX_LOCK_NAMES]
cdef const char* lock_sites[MAX_SITES]
cdef uint16_t name_count = 0
cdef uint16_t site_count = 1
cdef list keep = []                     # the bytes behind the names

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


cdef int lock_profile_create(machine* m) except -1:
    cdef lock_profile* p = <lock_profile*>arena_alloc(m, sizeof(lock_profile))
    p.enabled = True
    p.records = <lock_record*>arena_alloc(m, MAX_LOCK_NAMES * MAX_SITES * sizeof(lock_record))
    p.names = <lock_name_record*>arena_alloc(m, MAX_LOCK_NAMES * sizeof(lock_name_record))
    p.charged = <ps_t*>arena_alloc(m, MAX_LOCK_NAMES * MAX_SITES * MAX_SITES * sizeof(ps_t))
    m.profile = p
    m.describe = describe_thread
    return 0


# The thread that owns the lock exclusively, or NULL.  All locks have their word behind the lock_object, and all
# words show an exclusive owner alike: its address, bit 0 clear.
cdef thread* lock_owner(lock_object* lock) noexcept nogil:
    cdef uint64_t v = atomic_load_acq(<uint64_t*>(<char*>lock + sizeof(lock_object)))
    return NULL if v & 1 else <thread*>(v & ~<uint64_t>31)


# Stop when td is about to wait for a lock whose owner waits, directly or through others, for td.
cdef void check_deadlock(thread* td, lock_object* lock) noexcept nogil:
    cdef thread* owner
    for _ in range(64):                 # longer cycles end as "no thread can run"
        owner = lock_owner(lock)
        if owner == NULL:
            return
        if owner == td:
            panic(td, b"deadlock: this thread waits for itself through the locks below")
            return
        if owner.wanted == NULL:
            return
        lock = <lock_object*>owner.wanted


# What a thread wants and holds, for panic messages.
cdef int describe_thread(thread* td, char* text, size_t size) noexcept nogil:
    cdef size_t n = 0
    cdef uint32_t i
    cdef lock_object* lock
    text[0] = 0
    if td.wanted != NULL and n < size:
        lock = <lock_object*>td.wanted
        n += snprintf(text + n, size - n, b"; wants %s:%s at %s", lock_classes[lock.lo_name], lock_names[lock.lo_name],
                      lock_sites[td.wanted_site])
    for i in range(td.nheld):
        if n < size:
            lock = <lock_object*>td.held[i].lock
            n += snprintf(text + n, size - n, b"%s %s:%s (%s)", b"; holds" if i == 0 else b",",
                          lock_classes[lock.lo_name], lock_names[lock.lo_name], lock_sites[td.held[i].site])
    return <int>(n if n < size else size - 1)


cdef void lock_profile_reset(machine* m, ps_t at) noexcept nogil:
    cdef lock_profile* p = <lock_profile*>m.profile
    cdef uint32_t i
    cdef int64_t waiting
    cdef thread* td = m.threads
    memset(p.records, 0, MAX_LOCK_NAMES * MAX_SITES * sizeof(lock_record))
    for i in range(MAX_LOCK_NAMES):
        waiting = p.names[i].waiting
        memset(&p.names[i], 0, sizeof(lock_name_record))
        p.names[i].waiting = waiting
        p.names[i].waiting_since = at
    # Only what was counted is cleared, so that untouched parts of the tables stay unbacked.
    for i in range(MAX_LOCK_NAMES * MAX_SITES * MAX_SITES):
        if p.charged[i] != 0:
            p.charged[i] = 0
    for i in range(p.pv_lock_count):
        if p.pv_locks[i].acquisitions != 0 or p.pv_locks[i].contested != 0:
            memset(&p.pv_locks[i], 0, sizeof(pv_wait_record))
    for i in range(p.superpage_count):
        if p.superpages[i].acquisitions != 0 or p.superpages[i].contested != 0:
            memset(&p.superpages[i], 0, sizeof(pv_wait_record))
    p.started = at
    while td != NULL:
        if td.wanted != NULL:
            td.wait_since = at
            td.wait_charged = at
            td.blocked = 0
        for i in range(td.nheld):
            td.held[i].since = at
            p.names[(<lock_object*>td.held[i].lock).lo_name].acquired += 1
        td = td.all_next


cdef inline void count_waiting(lock_profile* p, lock_object* lock, ps_t at, int change) noexcept nogil:
    cdef lock_name_record* n = &p.names[lock.lo_name]
    n.queue_integral += n.waiting * (at - n.waiting_since)
    n.waiting_since = at
    n.waiting += change


# Charge each waiter's wait since it was last charged to the acquisition point `holder`, which worked on `superpage`.
#
# Locks in:   the lock itself, held by td or just got by it.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef void profile_charge_waiters(thread* td, lock_object* lock, uint16_t holder, uint32_t superpage) noexcept nogil:
    cdef lock_profile* p = <lock_profile*>td.machine.profile
    cdef thread* w = lock.lo_waiters
    while w != NULL:
        charge_wait(p, w, lock, holder, superpage, td.clock)
        w = w.wait_next


cdef inline void charge_wait(lock_profile* p, thread* w, lock_object* lock, uint16_t holder, uint32_t superpage,
                             ps_t until) noexcept nogil:
    cdef ps_t piece = until - w.wait_charged
    cdef pv_wait_record* here
    cdef pv_wait_record* instance
    if piece <= 0:
        return
    w.wait_charged = until
    p.charged[(<uint32_t>lock.lo_name * MAX_SITES + holder) * MAX_SITES + w.wanted_site] += piece
    if lock.lo_flags & LO_PV_LIST and p.pv_locks != NULL:
        here = &p.superpages[w.superpage]
        instance = &p.pv_locks[lock.lo_instance]
        if superpage == w.superpage:
            here.sharing += piece
            instance.sharing += piece
        else:
            here.collision += piece
            instance.collision += piece


# The fast path failed: the wait for the lock begins.
#
# Locks in:   none of its own.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD lock_profile_obtain_lock_failed().
cdef void profile_wait_begin(thread* td, lock_object* lock, uint16_t site, bint shared) noexcept nogil:
    cdef lock_profile* p = <lock_profile*>td.machine.profile
    cdef lock_record* r = lock_record_of(td, lock, site)
    r.depth_total += lock.lo_nwaiters
    if lock.lo_nwaiters > r.depth_max:
        r.depth_max = lock.lo_nwaiters
    td.wanted = lock
    td.wanted_site = site
    td.wanted_shared = shared
    td.wait_since = td.clock
    td.wait_charged = td.clock
    td.blocked = 0
    td.wait_prev = NULL
    td.wait_next = lock.lo_waiters
    if td.wait_next != NULL:
        td.wait_next.wait_prev = td
    lock.lo_waiters = td
    lock.lo_nwaiters += 1
    count_waiting(p, lock, td.clock, 1)
    check_deadlock(td, lock)


# The wait ended with the lock in hand: settle what is not yet charged and count the wait.
#
# Locks in:   the lock.
# Locks out:  the lock.
# May block:  never.
# Stands for: the contested half of FreeBSD lock_profile_obtain_lock_success().
cdef void profile_wait_end(thread* td, lock_object* lock) noexcept nogil:
    cdef lock_profile* p = <lock_profile*>td.machine.profile
    cdef lock_record* r = lock_record_of(td, lock, td.wanted_site)
    cdef ps_t wait
    # A holder's clock may have been ahead of this thread's when it released: the wait ends no earlier.
    if td.clock < td.wait_charged:
        charge_memory(td, td.wait_charged - td.clock)
    wait = td.clock - td.wait_since
    charge_wait(p, td, lock, FREE_SITE,
                p.last_superpage[lock.lo_instance] if lock.lo_flags & LO_PV_LIST and p.last_superpage != NULL
                else td.superpage, td.clock)
    if td.wait_prev != NULL:
        td.wait_prev.wait_next = td.wait_next
    else:
        lock.lo_waiters = td.wait_next
    if td.wait_next != NULL:
        td.wait_next.wait_prev = td.wait_prev
    lock.lo_nwaiters -= 1
    count_waiting(p, lock, td.clock, -1)
    td.wanted = NULL
    r.contested += 1
    r.wait_total += wait
    r.block_total += td.blocked
    if wait > r.wait_max:
        r.wait_max = wait
    r.wait_histogram[histogram_bucket(wait)] += 1
    if lock.lo_flags & LO_PV_LIST and p.pv_locks != NULL:
        p.pv_locks[lock.lo_instance].contested += 1
        p.pv_locks[lock.lo_instance].wait += wait
        p.superpages[td.superpage].contested += 1
        p.superpages[td.superpage].wait += wait


# Waits that are under way belong to others when somebody else gets the lock first: nobody held it meanwhile.
cdef void profile_charge_free(thread* td, lock_object* lock) noexcept nogil:
    cdef lock_profile* p = <lock_profile*>td.machine.profile
    cdef uint32_t superpage = 0
    if lock.lo_flags & LO_PV_LIST and p.last_superpage != NULL:
        superpage = p.last_superpage[lock.lo_instance]
    profile_charge_waiters(td, lock, FREE_SITE, superpage)


# A PV list lock is about to be released: counts by instance and by superpage.
cdef void profile_pv_release(thread* td, lock_object* lock, held_lock* h, ps_t hold) noexcept nogil:
    cdef lock_profile* p = <lock_profile*>td.machine.profile
    if p.pv_locks == NULL:
        return
    p.pv_locks[lock.lo_instance].acquisitions += 1
    p.pv_locks[lock.lo_instance].hold += hold
    p.superpages[h.superpage].acquisitions += 1
    p.superpages[h.superpage].hold += hold
    p.last_superpage[lock.lo_instance] = td.superpage
