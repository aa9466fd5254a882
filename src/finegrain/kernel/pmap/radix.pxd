# The tree of a pmap's saved page-table pages (pm_root).  All with the pmap locked.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport mtx
from finegrain.kernel.types cimport pmap, vm_offset_t, vm_page, vm_pindex_t
from finegrain.machine.thread cimport machine, thread

cdef enum:
    VM_RADIX_WIDTH = 4                  # FreeBSD sys/vm/vm_radix.c, on 64 bits
    VM_RADIX_COUNT = 16

# An inner node: the pages below it agree in all of their index above rn_clev, the level that tells them apart.
# 144 bytes.
cdef struct vm_radix_node:
    vm_pindex_t rn_owner                # what they agree in, zero from there on
    uint16_t rn_count                   # children: at least two
    uint16_t rn_clev
    uint32_t pad
    void* rn_child[VM_RADIX_COUNT]      # a node, a page (tagged by bit 0), or NULL; of a free node, [0] links

cdef struct radix_cache:                # a CPU's free nodes; a cache line
    void* first                         # private to the CPU
    uint64_t count
    uint64_t pad[6]

# machine.pmap's radix.
cdef struct radix_zone:
    mtx lock                            # "RADIX NODE"
    void* free                          # the zone's lock
    int64_t nodes                       # in use
    int64_t pages                       # never given back
    radix_cache* caches                 # [cpu]

cdef int radix_create(machine* m) except -1
# Pages that the nodes take: they are never given back.
cdef int64_t radix_pages(machine* m) noexcept nogil
# Save a page-table page for the superpage that it stands for.  False: no memory for a node.
cdef bint pmap_insert_pt_page(thread* td, pmap* pm, vm_page* mpte, bint promoted) noexcept nogil
# The one saved for the superpage at va, no longer saved; NULL: none.
cdef vm_page* pmap_remove_pt_page(thread* td, pmap* pm, vm_offset_t va) noexcept nogil
# The page with the smallest index that is not below pindex; NULL: there is none.  Costs nothing: for audits.
cdef vm_page* pm_radix_lookup_ge(void* root, vm_pindex_t pindex) noexcept nogil
