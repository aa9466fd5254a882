# Test door to the tree of saved page-table pages.

from libc.stdint cimport uint16_t, uint64_t

from finegrain.kernel.boot cimport KERNEL_PMAP, kernel_config, kernel_config_from, kernel_create
from finegrain.kernel.locks cimport lock_site
from finegrain.kernel.phys cimport vm_page_alloc_noobj
from finegrain.kernel.pmap.life cimport pmap_pinit
from finegrain.kernel.pmap.pt cimport PMAP_LOCK, PMAP_UNLOCK, pmap_state
from finegrain.kernel.pmap.radix cimport (
    VM_RADIX_COUNT, pm_radix_lookup_ge, pmap_insert_pt_page, pmap_remove_pt_page, radix_pages, radix_zone,
    vm_radix_node)
from finegrain.kernel.types cimport pmap, vm_page
from finegrain.machine.seam cimport arena_alloc
from finegrain.machine.simulated.simulated cimport SimulatedMachine
from finegrain.machine.thread cimport thread

from finegrain.design import parse_design

cdef uint16_t SITE = lock_site(b"door/radix")

cdef enum:
    MOST = 200

cdef struct request:
    int what                            # 0: make the pmap; 1: insert; 2: remove; 3: take all memory
    pmap* pm
    vm_page* page
    uint64_t index
    bint answer



cdef void work(thread* td, void* argument) noexcept nogil:
    cdef request* r = <request*>argument
    if r.what == 0:
        pmap_pinit(td, r.pm)
        return
    if r.what == 3:
        while vm_page_alloc_noobj(td, -1, 0) != NULL:
            pass
        return
    PMAP_LOCK(td, r.pm, SITE)
    if r.what == 1:
        r.answer = pmap_insert_pt_page(td, r.pm, r.page, True)
    else:
        r.page = pmap_remove_pt_page(td, r.pm, r.index << 21)
        r.answer = r.page != NULL
    PMAP_UNLOCK(td, r.pm)


cdef class Radix:
    """A pmap's tree; pages are known by their index, and there are `most` of them at most."""

    cdef SimulatedMachine host
    cdef request r
    cdef list free
    cdef readonly int most

    def __init__(self, SimulatedMachine host):
        cdef kernel_config config
        cdef vm_page* pages
        self.host = host
        kernel_config_from(&config, [(1 << 20, 64 << 20, 0)], parse_design("head"))
        kernel_create(host.m, &config, KERNEL_PMAP)
        self.most = MOST
        pages = <vm_page*>arena_alloc(host.m, MOST * sizeof(vm_page))
        self.free = [<uint64_t>&pages[<int>i] for i in range(MOST)]
        self.r.pm = <pmap*>arena_alloc(host.m, sizeof(pmap))
        self.call(0)

    cdef call(self, int what):
        self.r.what = what
        self.host.m.ops.spawn(NULL, self.host.m, work, &self.r, NULL)
        self.host.run()

    def insert(self, uint64_t index):
        at = self.free.pop()
        self.r.page = <vm_page*><uint64_t>at
        self.r.page.pindex = index
        self.call(1)
        if not self.r.answer:
            self.free.append(at)
        return self.r.answer

    def remove(self, uint64_t index):
        self.r.index = index
        self.call(2)
        if self.r.answer:
            assert self.r.page.pindex == index and self.r.page.valid == 0xff
            self.free.append(<uint64_t>self.r.page)
        return self.r.answer

    def exhaust(self):
        """Take all the memory that there is."""
        self.call(3)

    def pages(self):
        """The indexes in the tree, ascending."""
        cdef vm_page* m = pm_radix_lookup_ge(self.r.pm.pm_root, 0)
        out = []
        while m != NULL:
            out.append(m.pindex)
            m = pm_radix_lookup_ge(self.r.pm.pm_root, m.pindex + 1)
        return out

    cdef int count(self, void* at) except -1:
        cdef vm_radix_node* node = <vm_radix_node*>at
        cdef int i, n = 1, children = 0
        if at == NULL or <uint64_t>at & 1:
            return 0
        for i in range(VM_RADIX_COUNT):
            children += node.rn_child[i] != NULL
            n += self.count(node.rn_child[i])
        assert children == node.rn_count >= 2
        return n

    def nodes(self):
        """Nodes of the tree."""
        return self.count(self.r.pm.pm_root)

    def nodes_in_use(self):
        """Nodes that the zone has given out."""
        return (<radix_zone*>(<pmap_state*>self.host.m.pmap).radix).nodes

    def zone_pages(self):
        """Pages that the zone has taken."""
        return radix_pages(self.host.m)
