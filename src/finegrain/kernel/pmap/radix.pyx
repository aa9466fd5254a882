# The tree of a pmap's saved page-table pages: demotion must not fail for want of a page.
#
# A trie of 16 children a node, compressed: a node is only where indexes part.  So one saved page needs no node, and
# each further one at most one.  Nodes come from a zone: a cache of free nodes on each CPU, filled and emptied a bucket
# at a time under the zone's lock; a new page of them, when the zone is empty, from the page allocator.  All this
# happens with the pmap locked and, at a promotion, perhaps a PV list lock carried from the page entered last.

from libc.stdint cimport int64_t, uint16_t, uint64_t

from finegrain.kernel.locks cimport lock_name, lock_site, mtx_assert_owned, mtx_init, mtx_lock, mtx_unlock
from finegrain.kernel.phys cimport PHYS_TO_DMAP, VM_ALLOC_NORMAL, VM_ALLOC_WIRED, vm_page_alloc_noobj
from finegrain.kernel.pmap.pt cimport PMAP_LOCK_ASSERT, pmap_pde_pindex, pmap_state, pmap_state_of
from finegrain.kernel.types cimport PAGE_SIZE
from finegrain.machine.seam cimport (
    arena_alloc, charge, cpu_id, critical_enter, critical_exit, panic, touch_read, touch_write, unlikely)

cdef uint16_t NAME_ZONE = lock_name(b"sleep mutex", b"RADIX NODE")
cdef uint16_t SITE_ALLOC = lock_site(b"zone_fetch_bucket")
cdef uint16_t SITE_FREE = lock_site(b"zone_put_bucket")
cdef uint16_t SITE_GROW = lock_site(b"keg_alloc_slab")

cdef enum:
    SLAB_NODES = 27                     # in a page, beside UMA's header (uma_int.h: 104 bytes) (M)
    BUCKET = 16                         # [A] nodes in a bucket at first; UMA has two a CPU, and lets them grow
    OPS_ZONE = 15                       # [A] get or put back an item
    OPS_NODE = 20                       # [A] clear a node and fill it in
    OPS_STEP = 6                        # [A] one level: compare, shift, load
    TAG = 1                             # a child that is a page

cdef extern from *:
    int __builtin_clzll(unsigned long long x) noexcept nogil


cdef int radix_create(machine* m) except -1:
    cdef radix_zone* z = <radix_zone*>arena_alloc(m, sizeof(radix_zone))
    if z != NULL:
        z.caches = <radix_cache*>arena_alloc(m, m.ncpus * sizeof(radix_cache))
    if z == NULL or z.caches == NULL:
        raise MemoryError("no room for the radix nodes' zone")
    mtx_init(&z.lock, NAME_ZONE, 0)
    (<pmap_state*>m.pmap).radix = z
    return 0


cdef int64_t radix_pages(machine* m) noexcept nogil:
    return (<radix_zone*>(<pmap_state*>m.pmap).radix).pages


# --- the zone

cdef inline radix_zone* zone_of(thread* td) noexcept nogil:
    return <radix_zone*>pmap_state_of(td).radix


cdef inline void push(thread* td, void** first, void* node) noexcept nogil:
    touch_write(td, node)
    (<vm_radix_node*>node).rn_child[0] = first[0]
    first[0] = node


cdef inline void* pop(thread* td, void** first) noexcept nogil:
    cdef void* node = first[0]
    touch_read(td, node)
    first[0] = (<vm_radix_node*>node).rn_child[0]
    return node


# Locks in: the zone's lock.  Locks out: the same.  May block: never.
# Stands for: FreeBSD ZONE_LOCK_ASSERT().
cdef inline void ZONE_LOCK_ASSERT(thread* td, radix_zone* z) noexcept nogil:
    mtx_assert_owned(td, &z.lock, b"the zone is not locked")


# A page of new nodes.
#
# Locks in:   any that may be held over the free page locks.
# Locks out:  the same, and the zone's lock.
# May block:  on the free page locks, on "RADIX NODE".
# Returns:    False: there is no memory.
# Stands for: FreeBSD keg_alloc_slab(), uma_small_alloc().
cdef bint zone_grow(thread* td, radix_zone* z) noexcept nogil:
    cdef vm_page* m = vm_page_alloc_noobj(td, -1, VM_ALLOC_NORMAL | VM_ALLOC_WIRED)
    cdef char* at
    cdef int i
    mtx_lock(td, &z.lock, SITE_GROW)
    if m == NULL:
        return False
    at = <char*>PHYS_TO_DMAP(td, m.phys_addr) + PAGE_SIZE - SLAB_NODES * sizeof(vm_radix_node)
    for i in range(SLAB_NODES):
        push(td, &z.free, at + i * sizeof(vm_radix_node))
    z.pages += 1
    return True


# Move free nodes between the zone and this CPU's cache.
#
# Locks in:   the zone's lock.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD zone_alloc_bucket(), bucket_drain().
cdef void zone_exchange(thread* td, radix_zone* z, bint to_cache) noexcept nogil:
    cdef radix_cache* c
    cdef int _
    ZONE_LOCK_ASSERT(td, z)
    critical_enter(td)
    c = &z.caches[cpu_id(td)]                           # the thread may have moved while it waited
    touch_write(td, c)
    for _ in range(BUCKET):
        if to_cache:
            if z.free == NULL:
                break
            push(td, &c.first, pop(td, &z.free))
            c.count += 1
        else:
            if c.first == NULL:
                break
            push(td, &z.free, pop(td, &c.first))
            c.count -= 1
    critical_exit(td)
    charge(td, td.machine.cost.op, OPS_ZONE)


# Locks in:   any that may be held over the free page locks.
# Locks out:  the same.
# May block:  on "RADIX NODE", on the free page locks.  Never sleeps.
# Returns:    a node; NULL when there is no memory.
# Stands for: FreeBSD vm_radix_node_get().
cdef vm_radix_node* vm_radix_node_get(thread* td, vm_pindex_t owner, int clev) noexcept nogil:
    cdef radix_zone* z = zone_of(td)
    cdef radix_cache* c
    cdef vm_radix_node* node = NULL
    cdef bint memory = True
    cdef int i
    while True:
        critical_enter(td)
        c = &z.caches[cpu_id(td)]
        touch_write(td, c)
        if c.first != NULL:
            node = <vm_radix_node*>pop(td, &c.first)
            c.count -= 1
        critical_exit(td)
        charge(td, td.machine.cost.op, OPS_ZONE)
        if node != NULL:
            break
        if not memory:
            return NULL
        mtx_lock(td, &z.lock, SITE_ALLOC)
        if z.free == NULL:
            mtx_unlock(td, &z.lock)
            memory = zone_grow(td, z)
        zone_exchange(td, z, True)
        mtx_unlock(td, &z.lock)
    z.nodes += 1
    touch_write(td, &node.rn_child[VM_RADIX_COUNT // 2])
    touch_write(td, &node.rn_child[VM_RADIX_COUNT - 1])
    charge(td, td.machine.cost.op, OPS_NODE)
    node.rn_owner = trimkey(owner, clev + 1)
    node.rn_clev = <uint16_t>clev
    node.rn_count = 2
    for i in range(VM_RADIX_COUNT):
        node.rn_child[i] = NULL
    return node


# Locks in:   any that may be held over "RADIX NODE".
# Locks out:  the same.
# May block:  on "RADIX NODE".
# Stands for: FreeBSD vm_radix_node_put().
cdef void vm_radix_node_put(thread* td, vm_radix_node* node) noexcept nogil:
    cdef radix_zone* z = zone_of(td)
    cdef radix_cache* c
    cdef bint full
    critical_enter(td)
    c = &z.caches[cpu_id(td)]
    touch_write(td, c)
    push(td, &c.first, node)
    c.count += 1
    full = c.count > 2 * BUCKET
    critical_exit(td)
    z.nodes -= 1
    charge(td, td.machine.cost.op, OPS_ZONE)
    if full:
        mtx_lock(td, &z.lock, SITE_FREE)
        zone_exchange(td, z, False)
        mtx_unlock(td, &z.lock)


# --- the tree

cdef inline bint is_page(void* node) noexcept nogil:
    return <uint64_t>node & TAG


cdef inline vm_page* to_page(void* node) noexcept nogil:
    return <vm_page*>(<uint64_t>node & ~<uint64_t>TAG)


cdef inline void* tagged(vm_page* page) noexcept nogil:
    return <void*>(<uint64_t>page | TAG)


cdef inline int slot(vm_pindex_t index, int level) noexcept nogil:
    return <int>(index >> (level * VM_RADIX_WIDTH)) & (VM_RADIX_COUNT - 1)


# The index with all levels below `level` zero.
cdef inline vm_pindex_t trimkey(vm_pindex_t index, int level) noexcept nogil:
    return 0 if level * VM_RADIX_WIDTH >= 64 else index >> (level * VM_RADIX_WIDTH) << (level * VM_RADIX_WIDTH)


# The highest level at which two indexes differ.
cdef inline int keydiff(vm_pindex_t a, vm_pindex_t b) noexcept nogil:
    return (63 - __builtin_clzll(a ^ b)) // VM_RADIX_WIDTH


# Has the node nothing of what begins like index?
cdef inline bint keybarr(vm_radix_node* node, vm_pindex_t index) noexcept nogil:
    return trimkey(index, node.rn_clev + 1) != node.rn_owner


cdef inline void visit(thread* td, vm_radix_node* node, vm_pindex_t index) noexcept nogil:
    touch_read(td, node)
    touch_read(td, &node.rn_child[slot(index, node.rn_clev)])
    charge(td, td.machine.cost.op, OPS_STEP)


# Enter a page at its pindex.
#
# Locks in:   the pmap lock of pm.
# Locks out:  the same.
# May block:  on "RADIX NODE", on the free page locks.  Never sleeps.
# Returns:    False: there is no memory for a node.
# Stands for: FreeBSD vm_radix_insert().
cdef bint pm_radix_insert(thread* td, pmap* pm, vm_page* page) noexcept nogil:
    cdef vm_pindex_t index = page.pindex
    cdef vm_pindex_t other
    cdef void** parent = &pm.pm_root
    cdef vm_radix_node* node
    cdef vm_radix_node* new
    PMAP_LOCK_ASSERT(td, pm)
    touch_read(td, parent)
    while True:
        if parent[0] == NULL:
            touch_write(td, parent)
            parent[0] = tagged(page)
            return True
        node = <vm_radix_node*>parent[0]
        if is_page(node):
            touch_read(td, &to_page(node).pindex)
            other = to_page(node).pindex
            break
        visit(td, node, index)
        if keybarr(node, index):
            other = node.rn_owner
            break
        parent = &node.rn_child[slot(index, node.rn_clev)]
        if parent[0] == NULL:
            touch_write(td, node)
            node.rn_count += 1
    if unlikely(other == index):
        panic(td, b"vm_radix_insert: the tree has this index already")
    new = vm_radix_node_get(td, index, keydiff(other, index))
    if new == NULL:
        return False
    new.rn_child[slot(index, new.rn_clev)] = tagged(page)
    new.rn_child[slot(other, new.rn_clev)] = node
    touch_write(td, parent)
    parent[0] = new
    return True


# Take the page at pindex out.  A node with one child left goes: the child takes its place.
#
# Locks in:   the pmap lock of pm.
# Locks out:  the same.
# May block:  on "RADIX NODE".
# Returns:    the page; NULL when there is none.
# Stands for: FreeBSD vm_radix_remove().
cdef vm_page* pm_radix_remove(thread* td, pmap* pm, vm_pindex_t pindex) noexcept nogil:
    cdef void** place = &pm.pm_root
    cdef void** parent = place                          # of node
    cdef vm_radix_node* node = NULL
    cdef vm_page* m
    cdef int i
    PMAP_LOCK_ASSERT(td, pm)
    touch_read(td, place)
    while place[0] != NULL and not is_page(place[0]):
        parent = place
        node = <vm_radix_node*>place[0]
        visit(td, node, pindex)
        place = &node.rn_child[slot(pindex, node.rn_clev)]
    if place[0] == NULL:
        return NULL
    m = to_page(place[0])
    touch_read(td, &m.pindex)
    if m.pindex != pindex:
        return NULL
    touch_write(td, place)
    place[0] = NULL
    if node == NULL:
        return m
    touch_write(td, node)
    node.rn_count -= 1
    if node.rn_count == 1:
        i = 0
        while node.rn_child[i] == NULL:
            i += 1
        touch_write(td, parent)
        parent[0] = node.rn_child[i]
        vm_radix_node_put(td, node)
    return m


# Locks in:   none; the machine has stopped.
# Locks out:  the same.
# May block:  never.
# Returns:    the page; NULL when there is none.
# Stands for: FreeBSD vm_radix_lookup_ge().
cdef vm_page* pm_radix_lookup_ge(void* root, vm_pindex_t pindex) noexcept nogil:
    cdef vm_radix_node* node = <vm_radix_node*>root
    cdef vm_page* m
    cdef int i
    if root == NULL:
        return NULL
    if is_page(root):
        m = to_page(root)
        return m if m.pindex >= pindex else NULL
    i = 0
    if keybarr(node, pindex):
        if node.rn_owner < pindex:
            return NULL
    else:
        i = slot(pindex, node.rn_clev)
    while i < VM_RADIX_COUNT:
        m = pm_radix_lookup_ge(node.rn_child[i], pindex)
        if m != NULL:
            return m
        i += 1
    return NULL


# --- saved page-table pages

# Keep a PTP that a promotion took out of the page tables.
#
# Locks in:   the pmap lock of pm; perhaps a PV list lock.
# Locks out:  the same.
# May block:  on "RADIX NODE", on the free page locks.  Never sleeps.
# Returns:    False: there is no memory for a node.
# Stands for: FreeBSD pmap_insert_pt_page().
cdef bint pmap_insert_pt_page(thread* td, pmap* pm, vm_page* mpte, bint promoted) noexcept nogil:
    PMAP_LOCK_ASSERT(td, pm)
    mpte.valid = 0xff if promoted else 0
    return pm_radix_insert(td, pm, mpte)


# Take a saved PTP out.
#
# Locks in:   the pmap lock of pm; perhaps a PV list lock.
# Locks out:  the same.
# May block:  on "RADIX NODE".
# Returns:    the PTP saved for the superpage at va, no longer saved; NULL if there is none.
# Stands for: FreeBSD pmap_remove_pt_page().
cdef vm_page* pmap_remove_pt_page(thread* td, pmap* pm, vm_offset_t va) noexcept nogil:
    return pm_radix_remove(td, pm, pmap_pde_pindex(va))
