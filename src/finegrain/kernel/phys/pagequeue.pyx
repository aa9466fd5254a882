# Page queues.
#
# A page's `queue` says where it belongs; PGA_ENQUEUED says whether it is linked there yet.  Operations are
# noted in the page (PGA_REQUEUE: to the tail; PGA_DEQUEUE: off) and put in the CPU's batch of that domain and
# queue.  The operation that finds a batch of 31 full takes the queue's mutex and carries out all 32.  So the
# mutex is taken once for 32 operations, and a page that is freed may stay linked for a while; whoever
# allocates it meanwhile takes it off first.
#
# Lock order: "vm page" > "vm active pagequeue".

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from finegrain.kernel.list cimport (
    list_insert_after, list_insert_tail, list_remove, list_touch_insert_after, list_touch_insert_tail,
    list_touch_remove)
from finegrain.kernel.locks cimport lock_name, lock_site, mtx, mtx_assert_owned, mtx_init, mtx_lock, mtx_unlock
from finegrain.kernel.phys.types cimport (
    PA_LOCK_COUNT, PGA_DEQUEUE, PGA_ENQUEUED, PGA_QUEUE_OP_MASK, PGA_QUEUE_STATE_MASK, PGA_REQUEUE, PQ_COUNT,
    VM_BATCHQUEUE_SIZE, VPRC_OBJREF, phys_of, phys_state, vm_batchqueue, vm_domain,
    vm_pagequeue)
from finegrain.kernel.types cimport (
    PDRSHIFT, PGA_REFERENCED, PG_MARKER, PQ_ACTIVE, PQ_INACTIVE, PQ_NONE, VPO_UNMANAGED, vm_page)
from finegrain.machine.seam cimport charge, cpu_id, critical_enter, critical_exit, touch_read, touch_write
from finegrain.machine.thread cimport thread

cdef uint16_t NAME_PAGE = lock_name(b"sleep mutex", b"vm page")
cdef uint16_t[PQ_COUNT] NAME_QUEUE
NAME_QUEUE[PQ_INACTIVE] = lock_name(b"sleep mutex", b"vm inactive pagequeue")
NAME_QUEUE[PQ_ACTIVE] = lock_name(b"sleep mutex", b"vm active pagequeue")
cdef uint16_t SITE_BATCH = lock_site(b"vm_page_pqbatch_submit")
cdef uint16_t SITE_SCAN = lock_site(b"vm_pageout_collect_batch")
cdef uint16_t SITE_DEQUEUE = lock_site(b"vm_page_dequeue")

cdef enum:
    QUEUE_OPS = 15                      # [A] to queue or unqueue a page, without its lines
    ACT_INIT = 5                        # FreeBSD's act_count of a page that has just become active


cdef mtx* vm_page_lockptr(phys_state* s, vm_page* m) noexcept nogil:
    return &s.pa_locks[(m.phys_addr >> PDRSHIFT) % PA_LOCK_COUNT].lock


cdef inline vm_pagequeue* queue_of(phys_state* s, vm_page* m, uint8_t queue) noexcept nogil:
    return &s.domains[s.segs[m.segind].domain].queues[queue]


# Locks in: a critical section, as long as the answer is used.  Locks out: the same.  May block: never.
# Stands for: FreeBSD DPCPU_PTR(pqbatch).
cdef inline vm_batchqueue* this_batch(thread* td, phys_state* s, vm_page* m, uint8_t queue) noexcept nogil:
    return &s.batches[(<uint64_t>cpu_id(td) * s.ndomains + s.segs[m.segind].domain) * PQ_COUNT + queue]


# Locks in: the page queue's mutex.  Locks out: the same.  May block: never.
# Stands for: FreeBSD vm_pagequeue_assert_locked().
cdef inline void pagequeue_assert_locked(thread* td, vm_pagequeue* pq) noexcept nogil:
    mtx_assert_owned(td, &pq.mutex.lock, b"vm_pqbatch_process_page: the page queue is not locked")


# Locks in: the page queue's mutex.  Locks out: the same.  May block: never.
# Stands for: the TAILQ_REMOVE() and vm_pagequeue_cnt_dec() of FreeBSD vm_page.c.
cdef inline void unlink(thread* td, vm_pagequeue* pq, vm_page* m) noexcept nogil:
    pagequeue_assert_locked(td, pq)
    touch_write(td, &pq.count)
    list_touch_remove(td, <void**>&pq.first, m, <void**>&m.plinks_next, <void**>&m.plinks_prev)
    list_remove(<void**>&pq.first, <void**>&pq.last, m, <void**>&m.plinks_next, <void**>&m.plinks_prev)
    m.aflags &= ~<uint8_t>PGA_ENQUEUED
    pq.count -= 1


# Locks in: the page queue's mutex.  Locks out: the same.  May block: never.
# Stands for: the TAILQ_INSERT_TAIL() and vm_pagequeue_cnt_inc() of FreeBSD vm_page.c.
cdef inline void append(thread* td, vm_pagequeue* pq, vm_page* m) noexcept nogil:
    pagequeue_assert_locked(td, pq)
    touch_write(td, &pq.count)
    list_touch_insert_tail(td, <void**>&pq.first, <void**>&pq.last, m, <void**>&m.plinks_next,
                           <void**>&m.plinks_prev)
    list_insert_tail(<void**>&pq.first, <void**>&pq.last, m, <void**>&m.plinks_next, <void**>&m.plinks_prev)
    m.aflags |= PGA_ENQUEUED
    pq.count += 1


# Carry out the operation that is noted in a page, unless it has changed queues since.
#
# Locks in:   the page queue's mutex.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD vm_pqbatch_process_page().
cdef void process_page(thread* td, vm_pagequeue* pq, vm_page* m, uint8_t queue) noexcept nogil:
    cdef uint8_t flags = m.aflags
    pagequeue_assert_locked(td, pq)
    touch_write(td, &m.aflags)
    if m.queue != queue or flags & PGA_QUEUE_OP_MASK == 0:
        return
    if flags & PGA_ENQUEUED:
        unlink(td, pq, m)
    m.aflags &= ~<uint8_t>PGA_QUEUE_OP_MASK
    if flags & PGA_DEQUEUE:
        m.queue = PQ_NONE
    else:
        append(td, pq, m)


# Put a page with a noted operation into the CPU's batch; when that is full, carry out all of it.
#
# Locks in:   none of the page queues'.
# Locks out:  the same.
# May block:  on a page queue's mutex, once in 32 calls on a CPU.
# Stands for: FreeBSD vm_page_pqbatch_submit().
cdef void pqbatch_submit(thread* td, vm_page* m, uint8_t queue) noexcept nogil:
    cdef phys_state* s = phys_of(td)
    cdef vm_batchqueue* batch
    cdef vm_pagequeue* pq
    cdef uint64_t i
    cdef bint room
    critical_enter(td)
    batch = this_batch(td, s, m, queue)
    room = batch.count < VM_BATCHQUEUE_SIZE
    if room:
        touch_write(td, &batch.count)
        touch_write(td, &batch.pages[batch.count])
        batch.pages[batch.count] = m
        batch.count += 1
    critical_exit(td)
    if room:
        return
    pq = queue_of(s, m, queue)
    mtx_lock(td, &pq.mutex.lock, SITE_BATCH)
    critical_enter(td)
    batch = this_batch(td, s, m, queue)                 # the thread may have moved while it waited
    for i in range(batch.count):
        process_page(td, pq, batch.pages[i], queue)
    batch.count = 0
    critical_exit(td)
    process_page(td, pq, m, queue)
    charge(td, td.machine.cost.op, QUEUE_OPS * (VM_BATCHQUEUE_SIZE + 1))
    mtx_unlock(td, &pq.mutex.lock)


# The caller may change the page's queue state: nobody else can reach the page, or its mutex is held.
#
# Locks in: the "vm page" mutex of the page, unless nothing refers to it.  Locks out: the same.  May block: never.
# Stands for: the KASSERT()s of FreeBSD vm_page_dequeue() and vm_page_dequeue_deferred().
cdef inline void assert_queue_ours(thread* td, vm_page* m) noexcept nogil:
    if m.object != NULL or m.ref_count != 0:
        vm_page_assert_locked(td, m)


# Put a page that is on no queue at the tail of one, soon.
#
# Locks in:   the "vm page" mutex of the page.
# Locks out:  the same.
# May block:  on a page queue's mutex.
# Stands for: FreeBSD vm_page_enqueue().
cdef void enqueue(thread* td, vm_page* m, uint8_t queue) noexcept nogil:
    vm_page_assert_locked(td, m)
    m.queue = queue
    m.aflags |= PGA_REQUEUE
    pqbatch_submit(td, m, queue)


# Take a page off its queue now.
#
# Locks in:   the "vm page" mutex of the page; of one that nothing refers to, being taken by the caller, none.
# Locks out:  the same.
# May block:  on a page queue's mutex.
# Stands for: FreeBSD vm_page_dequeue().
cdef void vm_page_dequeue(thread* td, vm_page* m) noexcept nogil:
    cdef vm_pagequeue* pq
    assert_queue_ours(td, m)
    if m.queue == PQ_NONE:
        return
    pq = queue_of(phys_of(td), m, m.queue)
    mtx_lock(td, &pq.mutex.lock, SITE_DEQUEUE)
    touch_write(td, &m.aflags)
    if m.queue != PQ_NONE:                              # a batch may have done it meanwhile
        if m.aflags & PGA_ENQUEUED:
            unlink(td, pq, m)
        m.aflags &= ~<uint8_t>PGA_QUEUE_STATE_MASK
        m.queue = PQ_NONE
    charge(td, td.machine.cost.op, QUEUE_OPS)
    mtx_unlock(td, &pq.mutex.lock)


# Note that a page is to leave its queue; it stays linked until its batch is carried out or it is allocated
# again.
#
# Locks in:   the "vm page" mutex of the page; of one that nothing refers to, being freed by the caller, none.
# Locks out:  the same.
# May block:  on a page queue's mutex.
# Stands for: FreeBSD vm_page_dequeue_deferred().
cdef void vm_page_dequeue_deferred(thread* td, vm_page* m) noexcept nogil:
    assert_queue_ours(td, m)
    if m.queue == PQ_NONE:
        return
    touch_write(td, &m.aflags)
    m.aflags |= PGA_DEQUEUE
    pqbatch_submit(td, m, m.queue)


# A page has been mapped by a slow-path fault: it is active.
#
# Locks in:   none of the page's.
# Locks out:  the same.
# May block:  on the "vm page" mutex of the page and on page queues' mutexes.
# Stands for: FreeBSD vm_page_activate(), with the vm_page_lock() around it.
cdef void vm_page_activate(thread* td, vm_page* m, uint16_t site) noexcept nogil:
    cdef mtx* lock = vm_page_lockptr(phys_of(td), m)
    mtx_lock(td, lock, site)
    touch_write(td, &m.aflags)
    if not (m.ref_count & ~VPRC_OBJREF or m.oflags & VPO_UNMANAGED):
        if m.act_count < ACT_INIT:
            m.act_count = ACT_INIT
        if m.queue != PQ_ACTIVE:
            vm_page_dequeue(td, m)
            enqueue(td, m, PQ_ACTIVE)
    charge(td, td.machine.cost.op, QUEUE_OPS)
    mtx_unlock(td, lock)


# A page that is no longer wired becomes inactive, or stays active and referenced.
#
# Locks in:   the "vm page" mutex of the page.
# Locks out:  the same.
# May block:  on page queues' mutexes.
# Stands for: FreeBSD vm_page_release_toq(..., PQ_INACTIVE, false).
cdef void vm_page_deactivate_locked(thread* td, vm_page* m) noexcept nogil:
    vm_page_assert_locked(td, m)
    touch_write(td, &m.aflags)
    charge(td, td.machine.cost.op, QUEUE_OPS)
    if m.queue == PQ_ACTIVE:
        m.aflags |= PGA_REFERENCED
        return
    if m.queue == PQ_NONE:
        enqueue(td, m, PQ_INACTIVE)
        return
    m.aflags |= PGA_REQUEUE
    pqbatch_submit(td, m, PQ_INACTIVE)


# A page that has not been used for long: to the tail of the inactive queue, whatever queue it was on.
#
# Locks in:   the "vm page" mutex of the page.
# Locks out:  the same.
# May block:  on page queues' mutexes.
# Stands for: FreeBSD vm_page_deactivate().
cdef void vm_page_deactivate(thread* td, vm_page* m) noexcept nogil:
    vm_page_assert_locked(td, m)
    vm_page_dequeue(td, m)
    enqueue(td, m, PQ_INACTIVE)


# --- the page daemon's walk
#
# Two markers stay on the active queue: pages before the first have been looked at in this round; the second is where
# the queue ended when the round began.  A scan's own marker runs ahead of the first, which follows it at the end.

# Put a marker behind an element of the queue; NULL: to its head.
#
# Locks in: the page queue's mutex.  Locks out: the same.  May block: never.
# Stands for: FreeBSD's TAILQ_INSERT_AFTER() of a marker.
cdef inline void marker_insert(thread* td, vm_pagequeue* pq, vm_page* after, vm_page* marker) noexcept nogil:
    pagequeue_assert_locked(td, pq)
    list_touch_insert_after(td, <void**>&pq.first, after, marker, <void**>&marker.plinks_next,
                            <void**>&marker.plinks_prev)
    list_insert_after(<void**>&pq.first, <void**>&pq.last, after, marker, <void**>&marker.plinks_next,
                      <void**>&marker.plinks_prev)


# Locks in: the page queue's mutex.  Locks out: the same.  May block: never.
# Stands for: FreeBSD's TAILQ_REMOVE() of a marker.
cdef inline void marker_remove(thread* td, vm_pagequeue* pq, vm_page* marker) noexcept nogil:
    pagequeue_assert_locked(td, pq)
    list_touch_remove(td, <void**>&pq.first, marker, <void**>&marker.plinks_next, <void**>&marker.plinks_prev)
    list_remove(<void**>&pq.first, <void**>&pq.last, marker, <void**>&marker.plinks_next, <void**>&marker.plinks_prev)


# Locks in:   none of the page queues'.
# Locks out:  the same.
# May block:  on the page queue's mutex.
# Stands for: the setting up of vmd_clock in FreeBSD vm_pageout_worker().
cdef void vm_pageout_clock_init(thread* td, int domain) noexcept nogil:
    cdef vm_domain* d = &phys_of(td).domains[domain]
    cdef vm_pagequeue* pq = &d.queues[PQ_ACTIVE]
    d.clock[0].flags = PG_MARKER
    d.clock[1].flags = PG_MARKER
    d.marker.flags = PG_MARKER
    mtx_lock(td, &pq.mutex.lock, SITE_SCAN)
    marker_insert(td, pq, NULL, &d.clock[0])
    marker_insert(td, pq, pq.last, &d.clock[1])
    mtx_unlock(td, &pq.mutex.lock)


# Locks in:   none of the page queues'.
# Locks out:  the same.
# May block:  on the page queue's mutex.
# Stands for: FreeBSD vm_pageout_init_scan().
cdef void vm_pageout_init_scan(thread* td, active_scan* ss, int domain, int64_t pages) noexcept nogil:
    ss.domain = &phys_of(td).domains[domain]
    ss.pq = &ss.domain.queues[PQ_ACTIVE]
    ss.left = pages
    ss.count = 0
    ss.at = 0
    mtx_lock(td, &ss.pq.mutex.lock, SITE_SCAN)
    marker_insert(td, ss.pq, &ss.domain.clock[0], &ss.domain.marker)
    mtx_unlock(td, &ss.pq.mutex.lock)


# The next pages of the queue, as many as fit into a batch.
#
# Locks in:   perhaps a "vm page" mutex.
# Locks out:  the same.
# May block:  on the page queue's mutex.
# Stands for: FreeBSD vm_pageout_collect_batch(), and the new round in vm_pageout_scan_active().
cdef void vm_pageout_collect_batch(thread* td, active_scan* ss) noexcept nogil:
    cdef vm_pagequeue* pq = ss.pq
    cdef vm_domain* d = ss.domain
    cdef vm_page* m
    ss.count = 0
    ss.at = 0
    mtx_lock(td, &pq.mutex.lock, SITE_SCAN)
    m = d.marker.plinks_next
    while m != NULL and ss.count < VM_BATCHQUEUE_SIZE and ss.count < ss.left:
        touch_read(td, m)
        if m == &d.clock[1]:
            # All have been looked at: begin again at the head, and let what comes until the next time wait its turn.
            if ss.count != 0:
                break
            marker_remove(td, pq, &d.clock[0])
            marker_remove(td, pq, &d.clock[1])
            marker_remove(td, pq, &d.marker)
            marker_insert(td, pq, NULL, &d.clock[0])
            marker_insert(td, pq, pq.last, &d.clock[1])
            marker_insert(td, pq, &d.clock[0], &d.marker)
            m = d.marker.plinks_next
            if m == &d.clock[1]:
                break
            continue
        ss.batch[ss.count] = m
        ss.count += 1
        m = m.plinks_next
    if ss.count != 0:
        marker_remove(td, pq, &d.marker)
        marker_insert(td, pq, ss.batch[ss.count - 1], &d.marker)
    ss.left -= ss.count
    charge(td, td.machine.cost.op, QUEUE_OPS)
    mtx_unlock(td, &pq.mutex.lock)


# Locks in:   perhaps a "vm page" mutex.
# Locks out:  the same.
# May block:  on the page queue's mutex, once in 31 calls.
# Returns:    the page; NULL when as many have been looked at as were asked for, or there is none.
# Stands for: FreeBSD vm_pageout_next().
cdef vm_page* vm_pageout_next(thread* td, active_scan* ss) noexcept nogil:
    if ss.at == ss.count:
        vm_pageout_collect_batch(td, ss)
        if ss.count == 0:
            return NULL
    ss.at += 1
    return ss.batch[ss.at - 1]


# Locks in:   none of the page queues'.
# Locks out:  the same.
# May block:  on the page queue's mutex.
# Stands for: FreeBSD vm_pageout_end_scan(), and the clock's hand that moves at the end of vm_pageout_scan_active().
cdef void vm_pageout_end_scan(thread* td, active_scan* ss) noexcept nogil:
    cdef vm_domain* d = ss.domain
    mtx_lock(td, &ss.pq.mutex.lock, SITE_SCAN)
    marker_remove(td, ss.pq, &d.clock[0])
    marker_insert(td, ss.pq, &d.marker, &d.clock[0])
    marker_remove(td, ss.pq, &d.marker)
    mtx_unlock(td, &ss.pq.mutex.lock)


# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Stands for: a look at pq_cnt.
cdef int64_t vm_active_count(thread* td, int domain) noexcept nogil:
    cdef vm_pagequeue* pq = &phys_of(td).domains[domain].queues[PQ_ACTIVE]
    touch_read(td, &pq.count)
    return pq.count


cdef void pagequeue_init(phys_state* s) noexcept nogil:
    cdef uint64_t i
    cdef int q
    for i in range(PA_LOCK_COUNT):
        mtx_init(&s.pa_locks[i].lock, NAME_PAGE, 0)
    for i in range(s.ndomains):
        for q in range(PQ_COUNT):
            mtx_init(&s.domains[i].queues[q].mutex.lock, NAME_QUEUE[q], 0)


cdef int64_t pagequeue_count(phys_state* s, int queue) noexcept nogil:
    cdef int64_t n = 0
    cdef uint64_t i
    for i in range(s.ndomains):
        n += s.domains[i].queues[queue].count
    return n
