# The vnode cache of pseudofs.  See pseudofs.pxd.
#
# How long the list is, no recording shows: `pfs_nodes` of finegrain.options says how many nodes of no process it holds
# all the time.  Those of processes come on top, when somebody looks at them.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.list cimport list_insert_head, list_remove, list_touch_insert_head, list_touch_remove
from finegrain.kernel.locks cimport lock_name, lock_site, mtx_assert_owned, mtx_init, mtx_lock, mtx_unlock
from finegrain.kernel.vfs.types cimport NO_PID, pfs_state, vfs_of, vfs_state
from finegrain.machine.seam cimport (
    arena_alloc, arena_free, atomic_load_pointer, charge, touch_read, touch_write)

cdef uint16_t NAME_PFS = lock_name(b"sleep mutex", b"pfs_vncache")
cdef uint16_t SITE_EXIT = lock_site(b"pfs_exit")
cdef uint16_t SITE_ALLOC = lock_site(b"pfs_vncache_alloc")

# Work in units of cost.op: our estimates [A].
cdef enum:
    OPS_NODE = 3                        # look at a node of the list: a load, a comparison, a branch
    OPS_VNODE = 600                     # make a vnode of it, or destroy one


cdef int pfs_create(machine* m, const vfs_options* options) except -1:
    cdef pfs_state* st = &(<vfs_state*>m.vfs).pfs
    cdef pfs_vdata* node
    cdef uint32_t i
    mtx_init(&st.lock, NAME_PFS, 0)
    for i in range(options.pfs_nodes):
        node = <pfs_vdata*>arena_alloc(m, sizeof(pfs_vdata))
        if node == NULL:
            raise MemoryError("no room for the cache of pseudofs")
        node.pvd_pid = NO_PID
        node.pvd_node = i
        list_insert_head(<void**>&st.first, NULL, node, <void**>&node.pvd_next, <void**>&node.pvd_prev)
    st.entries = options.pfs_nodes
    return 0


cdef inline pfs_state* pfs_of(thread* td) noexcept nogil:
    return &vfs_of(td).pfs


# Walk the list up to a node of the process, or up to that one of its nodes (-1: any).
#
# Locks in:   "pfs_vncache".
# Locks out:  the same.
# May block:  never.
# Returns:    the node; NULL: it is not there.
# Stands for: the loops of FreeBSD pfs_vncache_alloc() and pfs_purge_locked().
cdef pfs_vdata* walk(thread* td, int64_t pid, int64_t which) noexcept nogil:
    cdef pfs_vdata* node = pfs_of(td).first
    mtx_assert_owned(td, &pfs_of(td).lock, b"pfs_vncache is not locked")
    touch_read(td, &pfs_of(td).first)
    while node != NULL:
        touch_read(td, node)
        charge(td, td.machine.cost.op, OPS_NODE)
        if node.pvd_pid == pid and (which < 0 or node.pvd_node == <uint64_t>which):
            return node
        node = node.pvd_next
    return NULL


# Locks in:   none.
# Locks out:  none.
# May block:  on "pfs_vncache".
# Stands for: FreeBSD pfs_vncache_alloc().
cdef void pfs_vncache_alloc(thread* td, int64_t pid, uint64_t which) noexcept nogil:
    cdef pfs_state* st = pfs_of(td)
    cdef pfs_vdata* node
    cdef pfs_vdata* new
    mtx_lock(td, &st.lock, SITE_ALLOC)
    node = walk(td, pid, <int64_t>which)
    mtx_unlock(td, &st.lock)
    if node != NULL:
        return
    charge(td, td.machine.cost.op, OPS_VNODE)
    new = <pfs_vdata*>arena_alloc(td.machine, sizeof(pfs_vdata))
    touch_write(td, new)
    new.pvd_pid = pid
    new.pvd_node = which
    mtx_lock(td, &st.lock, SITE_ALLOC)
    node = walk(td, pid, <int64_t>which)            # somebody else may have made it meanwhile
    if node == NULL:
        list_touch_insert_head(td, <void**>&st.first, new, <void**>&new.pvd_next, <void**>&new.pvd_prev)
        list_insert_head(<void**>&st.first, NULL, new, <void**>&new.pvd_next, <void**>&new.pvd_prev)
        st.entries += 1
    mtx_unlock(td, &st.lock)
    if node != NULL:
        arena_free(td.machine, new, sizeof(pfs_vdata))


# Throw out the nodes of a process that ends.  To destroy one the mutex is let go, and the walk begins anew after it.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on "pfs_vncache".
# Stands for: FreeBSD pfs_exit(), pfs_purge(), pfs_vncache_free().
cdef void pfs_exit(thread* td, int64_t pid) noexcept nogil:
    cdef pfs_state* st = pfs_of(td)
    cdef pfs_vdata* node
    touch_read(td, &st.first)
    if atomic_load_pointer(<void**>&st.first) == NULL:
        return
    mtx_lock(td, &st.lock, SITE_EXIT)
    st.scans += 1
    while True:
        node = walk(td, pid, -1)
        if node == NULL:
            break
        list_touch_remove(td, <void**>&st.first, node, <void**>&node.pvd_next, <void**>&node.pvd_prev)
        list_remove(<void**>&st.first, NULL, node, <void**>&node.pvd_next, <void**>&node.pvd_prev)
        st.entries -= 1
        st.destroyed += 1
        mtx_unlock(td, &st.lock)
        charge(td, td.machine.cost.op, OPS_VNODE)
        arena_free(td.machine, node, sizeof(pfs_vdata))
        mtx_lock(td, &st.lock, SITE_EXIT)
    mtx_unlock(td, &st.lock)
