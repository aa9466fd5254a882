# Physical memory: segments in NUMA domains, the vm_page array, free pages with per-CPU caches, reservations, page
# queues, and their locks: "vm page free queue", "vm reserv", "VM reserv domain", "resv obj lock", "vm page", "vm active
# pagequeue", "vm inactive pagequeue".
#
# "The free page locks", in contracts of other folders, are those that getting or giving back a page may block on: a
# page queue's mutex, "vm page free queue"; a page of an object, or any page in shortage, "vm reserv", "VM reserv
# domain" and "resv obj lock" besides.  All are mutexes: nobody sleeps there.
#
#   page       vm_page: allocation, freeing, wiring, busying; creation of it all
#   objpages   the pages of an object
#   deferred   those of them that nobody has looked at yet
#   reserv     reservations of 2 MB
#   pagequeue  page queues and the "vm page" mutexes
#   free       the buddy allocator and per-CPU caches
#   types      the structs

from finegrain.kernel.phys.deferred cimport deferred_within, vm_object_undefer, vm_page_alloc_deferred
from finegrain.kernel.phys.free cimport pgcache_count, queue_started
from finegrain.kernel.phys.objpages cimport (
    VM_OBJECT_ASSERT_LOCKED, VM_OBJECT_ASSERT_WLOCKED, vm_page_lookup, vm_radix_free, vm_radix_lookup,
    vm_radix_lookup_le)
from finegrain.kernel.phys.page cimport (
    DMAP_TO_PHYS, PHYS_TO_DMAP, PHYS_TO_VM_PAGE, VM_ALLOC_NOBUSY, VM_ALLOC_NORMAL, VM_ALLOC_WIRED, VM_ALLOC_ZERO,
    phys_allocated_pages, phys_audit, phys_create, phys_free_pages, phys_reservations_broken, phys_split,
    vm_page_aflag_clear, vm_page_aflag_set, vm_page_alloc, vm_page_alloc_noobj, vm_page_dirty, vm_page_free,
    vm_page_free_toq, vm_page_insert, vm_page_remove, vm_page_rename, vm_page_unwire, vm_page_wire, vm_page_xunbusy)
from finegrain.kernel.phys.pagequeue cimport (
    active_scan, pagequeue_count, vm_active_count, vm_page_activate, vm_page_assert_locked, vm_page_deactivate,
    vm_page_deactivate_locked, vm_page_lockptr, vm_page_queue, vm_page_wired, vm_pageout_clock_init,
    vm_pageout_end_scan, vm_pageout_init_scan, vm_pageout_next)
from finegrain.kernel.phys.reserv cimport (
    vm_reserv_break_all, vm_reserv_level_iffullpop, vm_reserv_reclaim_inactive, vm_reserv_to_superpage)
from finegrain.kernel.phys.types cimport (
    PQ_COUNT, VM_NFREELIST, VM_NFREEORDER, VM_NFREEPOOL, VM_PHYSSEG_MAX, VPRC_OBJREF, phys_of,
    phys_state, vm_domain, vm_phys_seg, vm_reserv)
