# Free physical memory.
#
# Each domain has a buddy allocator: for each free list (default, below 4 GB, below 16 MB), pool and order a
# queue of free blocks of 2**order pages.  Which address comes next decides which pages share a superpage and
# hence, in every design, a PV list lock; so the order of search is FreeBSD's:
#
#   - a request takes the head of the smallest sufficient order of its pool and puts what it splits off at the
#     tails of the smaller orders;
#   - a pool that is empty takes over a whole block, the largest there is, from whichever pool has one;
#   - a freed block merges with its free buddy as far as it can, across pools too (the merged block belongs to
#     the pool of the block freed), and goes to the tail.
#
# Single pages do not come from there one by one.  Each CPU has, for each (domain, pool), a UMA cache of two
# buckets of 253 pages.  An empty cache imports a bucket in one hold of the free page queue mutex, smallest
# blocks first, so a bucket gathers the scattered single pages of many superpages before it cuts a fresh
# block.  Pages go out from the end of a bucket (of a fresh block: in descending order of address) and come
# back to it last in, first out.  When both buckets are full, one is given back whole.  (FreeBSD of late 2019
# does without caches where they could hold more than 0.25% of a domain's memory, which with 512 GB happens above
# 327 CPUs; here they are always on, so that sweeps over the number of CPUs do not jump there.)
#
# A machine may have 2**27 pages.  Blocks of the largest order that have never been used are therefore only a
# range of addresses for each segment (`virgin`).  They stand in front of their queue, as they would after
# FreeBSD's boot has freed all memory in ascending order, since everything freed later goes to the tail, and
# since blocks of the largest order are never taken out of the middle.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.list cimport list_insert_tail, list_remove, list_touch_insert_tail, list_touch_remove
from finegrain.kernel.locks cimport lock_name, lock_site, mtx_init, mtx_lock, mtx_unlock
from finegrain.kernel.phys.types cimport (
    PGCACHE_BUCKET, VM_FREEPOOL_DEFAULT, VM_NFREELIST, VM_NFREEORDER, VM_NFREEPOOL, VM_PHYSSEG_MAX, pgcache, phys_of,
    phys_state, vm_domain, vm_freelist, vm_phys_seg)
from finegrain.kernel.types cimport PAGE_SHIFT, PQ_NONE, VPB_UNBUSIED, vm_paddr_t, vm_page
from finegrain.machine.seam cimport (
    arena_alloc, arena_free, atomic_cas, atomic_fetchadd, atomic_load, charge, cpu_id, critical_enter, critical_exit,
    touch_read, touch_write)
from finegrain.machine.thread cimport machine, thread

cdef uint16_t NAME_FREE = lock_name(b"sleep mutex", b"vm page free queue")
cdef uint16_t[FREE_LOCK_SITES] SITES
SITES[FREE_LOCK_IMPORT] = lock_site(b"vm_page_zone_import")
SITES[FREE_LOCK_RELEASE] = lock_site(b"vm_page_zone_release")
SITES[FREE_LOCK_ALLOC] = lock_site(b"vm_page_alloc_domain_after")
SITES[FREE_LOCK_FREE] = lock_site(b"vm_page_free_toq")
SITES[FREE_LOCK_RESERV_ALLOC] = lock_site(b"vm_reserv_alloc_page")
SITES[FREE_LOCK_RESERV_FREE] = lock_site(b"vm_reserv_depopulate/free queue")
SITES[FREE_LOCK_RESERV_BREAK] = lock_site(b"vm_reserv_break")

cdef enum:
    BLOCK_OPS = 20                      # [A] to link or unlink a block
    MAX_ORDER = VM_NFREEORDER - 1
    BUCKET_BYTES = PGCACHE_BUCKET * 8


# --- page structs and queues of blocks

# Fill in a page struct that was never used.
cdef inline void init_page(vm_page* m, vm_paddr_t pa, uint32_t segind) noexcept nogil:
    m.phys_addr = pa
    m.segind = <uint8_t>segind
    m.queue = PQ_NONE
    m.busy_lock = VPB_UNBUSIED


# Fill in a page struct that was never used, its address and segment above all.
#
# Locks in:   none: the page, or the block that it heads, is the caller's or is on a queue that the caller has
#             locked.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD vm_page_init_page(), which is called for every page at boot.
cdef void vm_page_first_use(phys_state* s, vm_page* m) noexcept nogil:
    cdef vm_paddr_t pa = <vm_paddr_t>(m - s.page_array) << PAGE_SHIFT
    cdef uint32_t i
    for i in range(s.nsegs):
        if pa < s.segs[i].end:
            init_page(m, pa, i)
            return


# Put a block at the tail of a queue.
#
# Locks in: the free page queue mutex of the domain; or nothing runs yet, and td is NULL.  Locks out: the same.
# May block: never.  Stands for: FreeBSD vm_freelist_add(..., tail).
cdef inline void freelist_add(thread* td, phys_state* s, vm_freelist* fl, vm_page* m, int order,
                              int pool) noexcept nogil:
    if m.phys_addr == 0:
        vm_page_first_use(s, m)
    if td != NULL:
        touch_write(td, &m.order)
        list_touch_insert_tail(td, <void**>&fl.first, <void**>&fl.last, m, <void**>&m.listq_next,
                               <void**>&m.listq_prev)
    m.order = <uint8_t>(order + 1)
    m.pool = <uint8_t>pool
    list_insert_tail(<void**>&fl.first, <void**>&fl.last, m, <void**>&m.listq_next, <void**>&m.listq_prev)
    fl.count += 1


# Locks in: the free page queue mutex of the domain; or nothing runs yet, and td is NULL.  Locks out: the same.
# May block: never.  Stands for: FreeBSD vm_freelist_rem().
cdef inline void freelist_remove(thread* td, vm_freelist* fl, vm_page* m) noexcept nogil:
    if td != NULL:
        touch_write(td, &m.order)
        list_touch_remove(td, <void**>&fl.first, m, <void**>&m.listq_next, <void**>&m.listq_prev)
    m.order = 0
    list_remove(<void**>&fl.first, <void**>&fl.last, m, <void**>&m.listq_next, <void**>&m.listq_prev)
    fl.count -= 1


# The next block that has never been touched, in ascending order of address; NULL when there is none.
#
# Locks in:   the free page queue mutex of the domain.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing in FreeBSD, which puts all memory on its queues at boot.
cdef vm_page* take_virgin(phys_state* s, vm_domain* d, int freelist) noexcept nogil:
    cdef uint32_t i = d.virgin_seg[freelist]
    cdef vm_page* m
    if i == VM_PHYSSEG_MAX:
        return NULL
    m = page_at(s, s.virgin[i])
    init_page(m, s.virgin[i], i)
    s.virgin[i] += <vm_paddr_t>1 << (PAGE_SHIFT + MAX_ORDER)
    while i < s.nsegs and (&s.domains[s.segs[i].domain] != d or <int>s.segs[i].freelist != freelist
                           or s.virgin[i] >= s.virgin_end[i]):
        i += 1
    d.virgin_seg[freelist] = i if i < s.nsegs else VM_PHYSSEG_MAX
    return m


# Take the block at the head of a queue; NULL when it is empty.
#
# Locks in: the free page queue mutex of the domain.  Locks out: the same.  May block: never.
# Stands for: the TAILQ_FIRST() and vm_freelist_rem() of FreeBSD vm_phys.c.
cdef inline vm_page* take_first(thread* td, phys_state* s, vm_domain* d, int freelist, int pool,
                                int order) noexcept nogil:
    cdef vm_freelist* fl = &d.free_queues[freelist][pool][order]
    cdef vm_page* m
    if order == MAX_ORDER and pool == VM_FREEPOOL_DEFAULT:
        m = take_virgin(s, d, freelist)
        if m != NULL:
            return m
    touch_read(td, fl)
    m = fl.first
    if m != NULL:
        freelist_remove(td, fl, m)
    return m


# Take the largest block of any pool, for a pool that is empty.  order: at least this large, and the block's
# order out.
#
# Locks in:   the free page queue mutex of the domain.
# Locks out:  the same.
# May block:  never.
# Returns:    its first page; NULL when there is none so large.
# Stands for: the second half of the search in FreeBSD vm_phys_alloc_freelist_pages().
cdef vm_page* take_largest(thread* td, phys_state* s, vm_domain* d, int freelist, int* order) noexcept nogil:
    cdef int oind = MAX_ORDER
    cdef int pind
    cdef vm_page* m
    while oind >= order[0]:
        for pind in range(VM_NFREEPOOL):
            m = take_first(td, s, d, freelist, pind, oind)
            if m != NULL:
                order[0] = oind
                return m
        oind -= 1
    return NULL


# --- the buddy allocator

# Locks in: the free page queue mutex of the domain, unless nothing runs yet.  Locks out: the same.  May block: never.
# Stands for: FreeBSD vm_domain_free_assert_locked().
cdef inline void assert_queue_locked(thread* td, vm_domain* d) noexcept nogil:
    if td != NULL:
        vm_domain_free_assert_locked(td, d)


# Take a block of 2**order pages.
#
# Locks in:   the free page queue mutex of the domain.
# Locks out:  the same.
# May block:  never.
# Returns:    its first page; NULL when no block is large enough.
# Stands for: FreeBSD vm_phys_alloc_pages(), vm_phys_alloc_freelist_pages(), vm_phys_split_pages().
cdef vm_page* vm_phys_alloc_pages(thread* td, phys_state* s, int domain, int pool, int order) noexcept nogil:
    cdef vm_domain* d = &s.domains[domain]
    cdef vm_page* m = NULL
    cdef int freelist, oind = order
    assert_queue_locked(td, d)
    queue_started(td, s, d)
    for freelist in range(VM_NFREELIST):
        oind = order
        while oind < VM_NFREEORDER:
            m = take_first(td, s, d, freelist, pool, oind)
            if m != NULL:
                break
            oind += 1
        if m == NULL:
            oind = order
            m = take_largest(td, s, d, freelist, &oind)
        if m != NULL:
            break
    if m == NULL:
        return NULL
    while oind > order:
        oind -= 1
        freelist_add(td, s, &d.free_queues[freelist][pool][oind], m + (1 << oind), oind, pool)
    return m


# Put the last npages pages of a block on the queues; they begin at m, and the block's end is theirs.
#
# Locks in: the free page queue mutex of the domain.  Locks out: the same.  May block: never.
# Stands for: FreeBSD vm_phys_enq_range().
cdef inline void enqueue_rest(thread* td, phys_state* s, vm_domain* d, int freelist, int pool, vm_page* m,
                              int npages) noexcept nogil:
    cdef int order
    while npages > 0:
        order = __builtin_ctz(npages)
        freelist_add(td, s, &d.free_queues[freelist][pool][order], m, order, pool)
        m += 1 << order
        npages -= 1 << order


# Started blocks.  To fill caches with single pages from whole memory is to take a block of 4,096 pages apart from its
# beginning, because the smallest blocks are taken first and what is left lies in ascending order.  As long as nothing
# smaller is free, that rest is known by its first page and its length, and no page struct within it is touched.  The
# queues have it before anything else looks at them.
#
# Locks in:   the free page queue mutex of the domain, unless nothing runs.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef void queue_started(thread* td, phys_state* s, vm_domain* d) noexcept nogil:
    cdef int freelist, npages
    for freelist in range(VM_NFREELIST):
        npages = d.started_pages[freelist]
        d.started_pages[freelist] = 0
        enqueue_rest(td, s, d, freelist, VM_FREEPOOL_DEFAULT, d.started[freelist], npages)


# May the rest of a block be kept as a started one: has its pool nothing smaller?
#
# Locks in:   the free page queue mutex of the domain.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef bint nothing_smaller(vm_domain* d, int freelist, int pool) noexcept nogil:
    cdef int order
    if pool != VM_FREEPOOL_DEFAULT:
        return False
    for order in range(MAX_ORDER):
        if d.free_queues[freelist][pool][order].count != 0:
            return False
    return True


# Take npages single pages, from the smallest blocks first.
#
# Locks in:   the free page queue mutex of the domain.
# Locks out:  the same.
# May block:  never.
# Returns:    how many there were; they are in pages[].  *blocks grows by the number of blocks they came from.
# Stands for: FreeBSD vm_phys_alloc_npages(), vm_phys_enq_range().
cdef int vm_phys_alloc_npages(thread* td, phys_state* s, int domain, int pool, int npages, vm_page** pages,
                              int* blocks) noexcept nogil:
    cdef vm_domain* d = &s.domains[domain]
    cdef vm_page* m
    cdef int freelist, oind, order, need, i = 0, j
    cdef int64_t rest
    assert_queue_locked(td, d)
    for freelist in range(VM_NFREELIST):
        oind = 0                                        # never goes back: what is below has been emptied
        while i < npages:
            m = NULL
            rest = d.started_pages[freelist]
            if rest != 0 and nothing_smaller(d, freelist, pool):
                m = d.started[freelist]
                order = __builtin_ctz(<unsigned int>rest)
                blocks[0] += 1
                need = npages - i if npages - i < (1 << order) else 1 << order
                for j in range(need):
                    pages[i + j] = m + j
                i += need
                d.started[freelist] = m + need
                d.started_pages[freelist] = <int32_t>(rest - need)
                continue
            if rest != 0:
                queue_started(td, s, d)
            while oind < VM_NFREEORDER:
                order = oind
                m = take_first(td, s, d, freelist, pool, oind)
                if m != NULL:
                    break
                oind += 1
            if m == NULL:
                order = 0
                m = take_largest(td, s, d, freelist, &order)
                if m == NULL:
                    break
            blocks[0] += 1
            need = npages - i if npages - i < (1 << order) else 1 << order
            for j in range(need):
                pages[i + j] = m + j
            i += need
            if order == MAX_ORDER and nothing_smaller(d, freelist, pool):
                d.started[freelist] = m + need
                d.started_pages[freelist] = (1 << order) - need
            else:
                enqueue_rest(td, s, d, freelist, pool, m + need, (1 << order) - need)
        if i == npages:
            break
    return i


# Give back a block of 2**order pages to a pool, merged with its free buddies.
#
# Locks in:   the free page queue mutex of the page's domain.
# Locks out:  the same.
# May block:  never.
# Returns:    how many blocks were handled: itself and the buddies it was merged with.
# Stands for: FreeBSD vm_phys_free_pages().
cdef int vm_phys_free_pages(thread* td, phys_state* s, vm_page* m, int order, int pool) noexcept nogil:
    cdef vm_phys_seg* seg
    cdef vm_domain* d
    cdef vm_page* buddy
    cdef vm_paddr_t pa, buddy_pa
    cdef int blocks = 1
    if m.phys_addr == 0:
        vm_page_first_use(s, m)
    seg = &s.segs[m.segind]
    d = &s.domains[seg.domain]
    assert_queue_locked(td, d)
    queue_started(td, s, d)
    pa = m.phys_addr
    while order < MAX_ORDER:
        buddy_pa = pa ^ (<vm_paddr_t>1 << (PAGE_SHIFT + order))
        if buddy_pa < seg.start or buddy_pa >= seg.end:
            break
        buddy = page_at(s, buddy_pa)
        if td != NULL:
            touch_read(td, &buddy.order)
        if buddy.order != order + 1:
            break
        freelist_remove(td, &d.free_queues[seg.freelist][buddy.pool][order], buddy)
        order += 1
        blocks += 1
        pa &= ~((<vm_paddr_t>1 << (PAGE_SHIFT + order)) - 1)
    freelist_add(td, s, &d.free_queues[seg.freelist][pool][order], page_at(s, pa), order, pool)
    return blocks


# Give back npages consecutive pages of one segment, in the largest blocks that their addresses allow.
#
# Locks in:   the free page queue mutex of the pages' domain.
# Locks out:  the same.
# May block:  never.
# Returns:    how many blocks were handled.
# Stands for: FreeBSD vm_phys_free_contig().
cdef int vm_phys_free_contig(thread* td, phys_state* s, vm_page* m, int64_t npages, int pool) noexcept nogil:
    cdef vm_paddr_t page = <vm_paddr_t>(m - s.page_array)
    cdef int blocks = 0
    cdef int order
    while npages > 0:
        order = __builtin_ctzll(page) if page != 0 else MAX_ORDER
        if order > MAX_ORDER:
            order = MAX_ORDER
        while (<int64_t>1 << order) > npages:
            order -= 1
        blocks += vm_phys_free_pages(td, s, &s.page_array[page], order, pool)
        page += <vm_paddr_t>1 << order
        npages -= <int64_t>1 << order
    return blocks


# --- free counts

# Reserve npages of the domain's free pages.
#
# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Returns:    False when fewer are free.  There is no page daemon here, and so no reserve for one.
# Stands for: FreeBSD vm_domain_allocate().
cdef bint vm_domain_allocate(thread* td, vm_domain* d, int64_t npages) noexcept nogil:
    cdef uint64_t old
    while True:
        old = atomic_load(td, &d.free_count)
        if <int64_t>old < npages:
            return False
        if atomic_cas(td, &d.free_count, old, old - <uint64_t>npages):
            return True


# Count npages of the domain as free again.
#
# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD vm_domain_freecnt_inc().
cdef void vm_domain_freecnt_inc(thread* td, vm_domain* d, int64_t npages) noexcept nogil:
    atomic_fetchadd(td, &d.free_count, <uint64_t>npages)


# Lock a domain's free blocks; `why` is the acquisition point.
#
# Locks in:   not this one.
# Locks out:  the free page queue mutex of the domain too.
# May block:  on it.
# Stands for: FreeBSD vm_domain_free_lock().
cdef void vm_domain_free_lock(thread* td, vm_domain* d, int why) noexcept nogil:
    mtx_lock(td, &d.free_mtx.lock, SITES[why])


# Charge for handling blocks.
#
# Locks in:   the free page queue mutex of the domain.
# Locks out:  the same.
# May block:  never.
# Stands for: nothing: a simulated machine's time.
cdef void charge_blocks(thread* td, vm_domain* d, int blocks) noexcept nogil:
    vm_domain_free_assert_locked(td, d)
    charge(td, td.machine.cost.op, BLOCK_OPS * blocks)


# Locks in:   the free page queue mutex of the domain.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD vm_domain_free_unlock().
cdef void vm_domain_free_unlock(thread* td, vm_domain* d) noexcept nogil:
    mtx_unlock(td, &d.free_mtx.lock)


# --- the per-CPU caches

# Locks in: a critical section, as long as the answer is used.  Locks out: the same.  May block: never.
# Stands for: FreeBSD's zone->uz_cpu[curcpu].
cdef inline pgcache* this_cache(thread* td, int domain, int pool) noexcept nogil:
    cdef phys_state* s = phys_of(td)
    return &s.caches[(<uint64_t>cpu_id(td) * s.ndomains + <uint64_t>domain) * VM_NFREEPOOL + <uint64_t>pool]


# Give a bucket's pages back to the buddy allocator.  Most of their structs were written by this CPU some time
# ago.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on the free page queue mutex.
# Stands for: FreeBSD vm_page_zone_release().
cdef void release_bucket(thread* td, int domain, int pool, vm_page** pages, int npages) noexcept nogil:
    cdef phys_state* s = phys_of(td)
    cdef vm_domain* d = &s.domains[domain]
    cdef int i, blocks = 0
    vm_domain_free_lock(td, d, FREE_LOCK_RELEASE)
    for i in range(npages):
        blocks += vm_phys_free_pages(td, s, pages[i], 0, pool)
    charge_blocks(td, d, blocks)
    vm_domain_free_unlock(td, d)
    vm_domain_freecnt_inc(td, d, npages)


# Fill a bucket; only a full one is worth taking from a domain that is short of pages.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on the free page queue mutex.
# Returns:    how many pages are in it: 0 or, nearly always, all 253.
# Stands for: FreeBSD vm_page_zone_import().
cdef int import_bucket(thread* td, int domain, int pool, vm_page** pages) noexcept nogil:
    cdef phys_state* s = phys_of(td)
    cdef vm_domain* d = &s.domains[domain]
    cdef int n, blocks = 0
    if not vm_domain_allocate(td, d, PGCACHE_BUCKET):
        return 0
    vm_domain_free_lock(td, d, FREE_LOCK_IMPORT)
    n = vm_phys_alloc_npages(td, s, domain, pool, PGCACHE_BUCKET, pages, &blocks)
    charge_blocks(td, d, blocks)
    charge(td, td.machine.cost.op, n)
    vm_domain_free_unlock(td, d)
    if n != PGCACHE_BUCKET:
        vm_domain_freecnt_inc(td, d, PGCACHE_BUCKET - n)
    return n


# Put a bucket where this CPU's cache has room for it.
#
# Locks in:   a critical section.
# Locks out:  the same.
# May block:  never.
# Returns:    False when both buckets of the cache have pages.
# Stands for: the end of FreeBSD uma_zalloc_arg(), where a new bucket is installed.
cdef bint install_bucket(thread* td, int domain, int pool, vm_page** bucket, int npages) noexcept nogil:
    cdef pgcache* c = this_cache(td, domain, pool)
    if c.nalloc == 0:
        if c.alloc != NULL:
            arena_free(td.machine, c.alloc, BUCKET_BYTES)
        c.alloc = bucket
        c.nalloc = <uint32_t>npages
    elif c.nfree == 0:
        if c.free != NULL:
            arena_free(td.machine, c.free, BUCKET_BYTES)
        c.free = bucket
        c.nfree = <uint32_t>npages
    else:
        return False
    return True


# Take a page from the CPU's cache.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on the free page queue mutex, when the cache is empty.
# Returns:    the page; NULL when the cache is empty and the domain has no bucketful to give.
# Stands for: FreeBSD uma_zalloc() on a vm_pgcache zone.
cdef vm_page* pgcache_alloc(thread* td, int domain, int pool) noexcept nogil:
    cdef pgcache* c
    cdef vm_page** bucket
    cdef vm_page* m = NULL
    cdef int n
    cdef bint installed
    critical_enter(td)
    c = this_cache(td, domain, pool)
    if c.nalloc == 0 and c.nfree != 0:
        bucket = c.alloc
        c.alloc = c.free
        c.nalloc = c.nfree
        c.free = bucket
        c.nfree = 0
    touch_write(td, c)
    if c.nalloc != 0:
        c.nalloc -= 1
        touch_read(td, &c.alloc[c.nalloc])
        m = c.alloc[c.nalloc]
    critical_exit(td)
    if m != NULL:
        return m
    bucket = <vm_page**>arena_alloc(td.machine, BUCKET_BYTES)
    n = import_bucket(td, domain, pool, bucket)
    if n == 0:
        arena_free(td.machine, bucket, BUCKET_BYTES)
        return NULL
    n -= 1
    m = bucket[n]
    critical_enter(td)
    installed = install_bucket(td, domain, pool, bucket, n)     # the thread may have moved while it waited
    critical_exit(td)
    if not installed:
        release_bucket(td, domain, pool, bucket, n)
        arena_free(td.machine, bucket, BUCKET_BYTES)
    return m


# Put a page into the CPU's cache.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on the free page queue mutex, when both buckets are full.
# Stands for: FreeBSD uma_zfree() on a vm_pgcache zone.
cdef void pgcache_free(thread* td, vm_page* m, int domain, int pool) noexcept nogil:
    cdef pgcache* c
    cdef vm_page** full
    while True:
        full = NULL
        critical_enter(td)
        c = this_cache(td, domain, pool)
        touch_write(td, c)
        if c.alloc != NULL and c.nalloc < PGCACHE_BUCKET:
            touch_write(td, &c.alloc[c.nalloc])
            c.alloc[c.nalloc] = m
            c.nalloc += 1
        elif c.free != NULL and c.nfree == PGCACHE_BUCKET:
            full = c.free
            c.free = NULL
            c.nfree = 0
        else:
            if c.free == NULL:
                c.free = <vm_page**>arena_alloc(td.machine, BUCKET_BYTES)
            touch_write(td, &c.free[c.nfree])
            c.free[c.nfree] = m
            c.nfree += 1
        critical_exit(td)
        if full == NULL:
            return
        release_bucket(td, domain, pool, full, PGCACHE_BUCKET)  # and look again: the thread may have moved meanwhile
        arena_free(td.machine, full, BUCKET_BYTES)


# --- creation and audits

# All memory of the segments becomes free, in ascending order of address, in the default pool.
#
# Locks in:   none; nothing runs yet.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD vm_phys_init() and the freeing of all memory in vm_page_startup().
cdef void vm_phys_init(phys_state* s) noexcept nogil:
    cdef vm_paddr_t block = <vm_paddr_t>1 << (PAGE_SHIFT + MAX_ORDER)
    cdef vm_phys_seg* seg
    cdef vm_domain* d
    cdef vm_paddr_t start, end
    cdef uint32_t i
    cdef int f
    for i in range(s.ndomains):
        mtx_init(&s.domains[i].free_mtx.lock, NAME_FREE, 0)
        for f in range(VM_NFREELIST):
            s.domains[i].virgin_seg[f] = VM_PHYSSEG_MAX
    for i in range(s.nsegs):
        seg = &s.segs[i]
        d = &s.domains[seg.domain]
        d.npages += <int64_t>((seg.end - seg.start) >> PAGE_SHIFT)
        start = (seg.start + block - 1) // block * block
        end = seg.end // block * block
        if start >= end:
            vm_phys_free_contig(NULL, s, page_at(s, seg.start), <int64_t>((seg.end - seg.start) >> PAGE_SHIFT), 0)
            continue
        vm_phys_free_contig(NULL, s, page_at(s, seg.start), <int64_t>((start - seg.start) >> PAGE_SHIFT), 0)
        vm_phys_free_contig(NULL, s, page_at(s, end), <int64_t>((seg.end - end) >> PAGE_SHIFT), 0)
        s.virgin[i] = start
        s.virgin_end[i] = end
        if d.virgin_seg[seg.freelist] == VM_PHYSSEG_MAX:
            d.virgin_seg[seg.freelist] = i
    for i in range(s.ndomains):
        s.domains[i].free_count = <uint64_t>s.domains[i].npages


cdef int64_t pgcache_count(machine* m, int domain) noexcept nogil:
    cdef phys_state* s = <phys_state*>m.phys
    cdef int64_t n = 0
    cdef uint64_t cpu
    cdef int pool
    cdef pgcache* c
    for cpu in range(s.ncpus):
        for pool in range(VM_NFREEPOOL):
            c = &s.caches[(cpu * s.ndomains + <uint64_t>domain) * VM_NFREEPOOL + <uint64_t>pool]
            n += c.nalloc + c.nfree
    return n


cdef extern from *:
    int __builtin_ctz(unsigned int x) noexcept nogil
    int __builtin_ctzll(unsigned long long x) noexcept nogil
