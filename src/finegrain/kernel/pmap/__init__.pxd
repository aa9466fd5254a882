# The pmap: page tables, PV entries and lists, superpages, and the designs of the PV list lock.  Each function's locks
# are stated above its body; the short form is here.  None needs a pmap or PV list lock of its caller.
#
# Making mappings.
#   pmap_enter(td, pm, va, m, prot, flags, psind)   page busied or object locked; takes pmap, PV list; may sleep.
#                                                   KERN_SUCCESS, or KERN_RESOURCE_SHORTAGE with NOSLEEP or psind 1
#   pmap_enter_object(td, pm, start, end, m, prot)  object R; takes pmap once, PV list carried.  Resident pages from m
#                                                   on (by listq_next), read-only
#   pmap_enter_quick(td, pm, va, m, prot)           object R; takes pmap, PV list.  Read-only, if nothing is there

# Fork.
#   pmap_copy(td, dst, src, start, end)             both vm maps X; takes both pmaps, PV list carried
#   pmap_protect(td, pm, start, end, prot)          vm map X; takes pmap

# Removing mappings.
#   pmap_remove(td, pm, start, end)                 vm map X; takes pmap, PV list carried; DI block
#   pmap_remove_pages(td, pm)                       td's own pmap, active nowhere else; takes pmap, PV list carried

# From a page to its mappings.
#   pmap_remove_all(td, m)                          object W or page busied; takes PV list, pmaps; waits for DI blocks
#   pmap_remove_write(td, m)                        likewise
#   pmap_ts_referenced(td, m)                       takes PV list, pmaps; how many references, 5 at most
#   pmap_is_modified(td, m)                         takes PV list R, pmaps
#   pmap_page_exists_quick(td, pm, m)               takes PV list R; looks at 16 entries at most
#
# The kernel's own mappings: kernel.  They are made by pmap_enter and go by pmap_remove, like any other.
#
# Beside these: life (pinit, release, activate, looking), pvlock and pvtable (the designs), chunk and pv (entries, and
# the chunks they come in), reclaim (chunks from others, in shortage), pt (page-table pages, TLBs), radix (those saved
# at promotions), di (delayed invalidation), audit.

from finegrain.kernel.pmap.audit cimport pmap_audit
from finegrain.kernel.pmap.chunk cimport CHUNKS_FREED_MAX, PV_PMAP, pv_state
from finegrain.kernel.pmap.copy cimport pmap_copy, pmap_protect
from finegrain.kernel.pmap.di cimport (
    pmap_delayed_invl_finish, pmap_delayed_invl_page, pmap_delayed_invl_start, pmap_delayed_invl_wait)
from finegrain.kernel.pmap.enter cimport (
    KERN_SUCCESS, PMAP_ENTER_NOSLEEP, PMAP_ENTER_WIRED, pmap_enter, pmap_enter_object, pmap_enter_quick)
from finegrain.kernel.pmap.kernel cimport pmap_growkernel, pmap_kernel_create, pmap_kernel_ptps
from finegrain.kernel.pmap.life cimport (
    pmap_access, pmap_activate, pmap_create, pmap_deactivate, pmap_extract, pmap_is_prefaultable,
    pmap_pinit, pmap_release)
from finegrain.kernel.pmap.page cimport (
    pmap_is_modified, pmap_page_exists_quick, pmap_remove_all, pmap_remove_write, pmap_ts_referenced)
from finegrain.kernel.pmap.pt cimport pmap_state
from finegrain.kernel.pmap.pv cimport pv_audit, pv_reset
from finegrain.kernel.pmap.pvlock cimport (
    PHYS_TO_PV_LIST_LOCK, pv_head_at, pv_invl_gen_at, pv_invl_gen_of, pv_list_wlock, pv_lock_at, pv_lock_covers,
    pv_lock_id, pv_lock_index, pvlock, pvlock_state)
from finegrain.kernel.pmap.pvtable cimport (
    PV_LAYOUT_HASHED, PV_LAYOUT_SUPERPAGE, PV_LOCK_BIT2, PV_LOCK_MTX, PV_LOCK_MTX8, PV_LOCK_RW, PV_PART_STRUCTS,
    PV_TABLE_FILLED, PV_TABLE_POINTERS, PV_TABLE_SPARSE, pvlock_design, pvtable_plan, pvtable_plan_make,
    pvtable_region)
from finegrain.kernel.pmap.radix cimport pm_radix_lookup_ge, radix_pages
from finegrain.kernel.pmap.remove cimport pmap_remove, pmap_remove_pages
