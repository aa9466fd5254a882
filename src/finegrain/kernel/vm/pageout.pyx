# The page daemon, as far as it works without any shortage of memory.
#
# Ten times a second the thread of a memory domain looks whether memory is short (it never is here), and takes a few
# pages of the active queue, so many that in vm_pageout_update_period all have had their turn: has any process used the
# page since the last time?  For that it holds the page's "vm page" mutex, carried from page to page as long as they
# share it, and under it the PV list lock, exclusively, for the marks that the CPUs left in the page tables.  A page
# that nobody has used for a long time becomes inactive.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from finegrain.kernel.locks cimport lock_site, mtx, mtx_lock, mtx_unlock
from finegrain.kernel.phys cimport (
    active_scan, phys_of, phys_state, vm_active_count, vm_page_aflag_clear, vm_page_assert_locked, vm_page_deactivate,
    vm_page_lockptr, vm_page_queue, vm_page_wired, vm_pageout_clock_init, vm_pageout_end_scan, vm_pageout_init_scan,
    vm_pageout_next)
from finegrain.kernel.pmap cimport pmap_ts_referenced
from finegrain.kernel.types cimport PGA_REFERENCED, PQ_ACTIVE, vm_object, vm_page
from finegrain.kernel.vm.state cimport vm_of, vm_state
from finegrain.machine.seam cimport charge, now, set_priority, sleep_for, stopping, touch_read, touch_write
from finegrain.machine.thread cimport ps_t, thread

cdef uint16_t SITE_CHANGE = lock_site(b"vm_page_change_lock")

cdef enum:
    PVM = 84                            # sys/priority.h: PRI_MIN_KERN + 4 (M)
    VM_INACT_SCAN_RATE = 10             # vm_pageout.c: looks a second
    # vm_page.h: how act_count moves (M)
    ACT_DECLINE = 1
    ACT_ADVANCE = 3
    ACT_MAX = 64
    OPS_WAKE = 300                      # [A] the controller, the queues' counts
    OPS_PAGE = 20                       # [A] a page of the scan, beside its lines

cdef ps_t INTERVAL = 100000000000       # a second / VM_INACT_SCAN_RATE


# Look at the use of one page.
#
# Locks in:   the "vm page" mutex of the page.
# Locks out:  the same.
# May block:  on the page's PV list lock, pmap locks; waits for the other CPUs' acknowledgements.  On page queues'
#             mutexes.  Never sleeps.
# Stands for: the body of the loop in FreeBSD vm_pageout_scan_active().
cdef void scan_page(thread* td, vm_page* m) noexcept nogil:
    cdef vm_object* obj
    cdef int delta = 0
    vm_page_assert_locked(td, m)
    touch_read(td, &m.aflags)
    if vm_page_queue(td, m) != PQ_ACTIVE or vm_page_wired(m):
        return
    obj = m.object
    if obj == NULL:                                         # it is being freed
        return
    charge(td, td.machine.cost.op, OPS_PAGE)
    if m.aflags & PGA_REFERENCED:
        vm_page_aflag_clear(td, m, PGA_REFERENCED)
        delta = 1
    touch_read(td, &obj.ref_count)
    if obj.ref_count != 0:
        delta += pmap_ts_referenced(td, m)
    touch_write(td, &m.act_count)
    if delta != 0:
        delta += m.act_count + ACT_ADVANCE
        m.act_count = <uint8_t>(delta if delta < ACT_MAX else ACT_MAX)
    elif m.act_count != 0:
        m.act_count -= ACT_DECLINE
    if m.act_count == 0:
        vm_page_deactivate(td, m)


# Look at the use of the next `pages` pages of a domain's active queue.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on the page queue's mutex; on "vm page" mutexes; holding one, as scan_page().
# Stands for: FreeBSD vm_pageout_scan_active() without shortage, vm_page_change_lock().
cdef void vm_pageout_scan_active(thread* td, int domain, int64_t pages) noexcept nogil:
    cdef active_scan ss
    cdef vm_page* m
    cdef mtx* lock
    cdef mtx* held = NULL
    vm_pageout_init_scan(td, &ss, domain, pages)
    while True:
        m = vm_pageout_next(td, &ss)
        if m == NULL:
            break
        lock = vm_page_lockptr(phys_of(td), m)
        if lock != held:
            if held != NULL:
                mtx_unlock(td, held)
            mtx_lock(td, lock, SITE_CHANGE)
            held = lock
        scan_page(td, m)
        vm_of(td).scanned += 1
    if held != NULL:
        mtx_unlock(td, held)
    vm_pageout_end_scan(td, &ss)


# Locks in:   none.
# Locks out:  none.
# May block:  as vm_pageout_scan_active().  Sleeps between two looks.
# Stands for: FreeBSD vm_pageout_worker().
cdef void vm_pageout_worker(thread* td, void* argument) noexcept nogil:
    cdef int domain = <int><uint64_t>argument
    cdef ps_t period = vm_of(td).options.active_scan_period
    cdef ps_t last = now(td)
    cdef int64_t pages
    set_priority(td, PVM)
    vm_pageout_clock_init(td, domain)
    while True:
        sleep_for(td, INTERVAL)
        if stopping(td.machine):
            return
        charge(td, td.machine.cost.op, OPS_WAKE)
        pages = <int64_t>(<double>vm_active_count(td, domain) * (now(td) - last) / period)
        if pages > 0:
            last = now(td)
            vm_pageout_scan_active(td, domain, pages)


# Locks in:   none; the machine is not running yet.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD vm_pageout(), which starts a worker for each domain.
cdef int vm_pageout_start(machine* m) except -1:
    cdef uint64_t i
    if (<vm_state*>m.vm).options.active_scan_period == 0:
        return 0
    for i in range((<phys_state*>m.phys).ndomains):
        if m.ops.spawn(NULL, m, vm_pageout_worker, <void*>i, NULL) == NULL:
            raise MemoryError("no thread for the page daemon")
    return 0
