# Superpages: promotion of 512 small mappings to one 2 MB mapping, demotion, removal.  All with the pmap locked; with a
# carried PV list lock (*lockp, see pvlock.pxd).

from libc.stdint cimport uint16_t

from finegrain.kernel.pmap.pt cimport spglist
from finegrain.kernel.pmap.pvlock cimport pvlock
from finegrain.kernel.types cimport pmap, pt_entry_t, vm_offset_t
from finegrain.machine.thread cimport thread

# Make the superpage mapping at the PDE 512 small ones.  False: it was removed instead (never accessed, or no PTP).
cdef bint pmap_demote_pde_locked(thread* td, pmap* pm, pt_entry_t* pde, vm_offset_t va, pvlock** lockp) noexcept nogil
# The same for callers that carry no PV list lock.
cdef bint pmap_demote_pde(thread* td, pmap* pm, pt_entry_t* pde, vm_offset_t va) noexcept nogil
# Try to make the 512 small mappings under the PDE one superpage mapping.
cdef void pmap_promote_pde(thread* td, pmap* pm, pt_entry_t* pde, vm_offset_t va, pvlock** lockp) noexcept nogil
# Remove the superpage mapping at the PDE; PTPs go onto the list.  The caller invalidates.
cdef void pmap_remove_pde(thread* td, pmap* pm, pt_entry_t* pde, vm_offset_t sva, spglist* free,
                          pvlock** lockp, uint16_t site) noexcept nogil
# A pv entry for the superpage mapping `pde` at va.  False: none could be had (reclaim False: without reclaiming).
cdef bint pmap_pv_insert_pde(thread* td, pmap* pm, vm_offset_t va, pt_entry_t pde, bint reclaim, pvlock** lockp,
                             uint16_t site) noexcept nogil
