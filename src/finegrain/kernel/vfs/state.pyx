# The state of the vfs layer, and its audit.

from libc.stdint cimport uint32_t, uint64_t
from libc.stdio cimport snprintf

from finegrain.kernel.vfs.cache cimport cache_audit, cache_create
from finegrain.kernel.vfs.pseudofs cimport pfs_create
from finegrain.kernel.vfs.types cimport VDIR, VI_DOOMED, VREG, namecache, tmpfs_dirent, tmpfs_node, vfs_state, vnode
from finegrain.kernel.vm cimport pipe_map_size
from finegrain.machine.seam cimport arena_alloc


cdef int vfs_create(machine* m, const vfs_options* options) except -1:
    cdef vfs_state* st = <vfs_state*>arena_alloc(m, sizeof(vfs_state))
    if st == NULL:
        raise MemoryError("no room for the state of pipes and files")
    st.maxpipekva = pipe_map_size(m)
    m.vfs = st
    cache_create(m, m.ncpus)
    pfs_create(m, options)
    return 0


# --- the audit

cdef struct auditor:
    char* why
    uint64_t why_size
    int faults
    uint64_t nodes                      # directories found below the root, the root included
    uint64_t names                      # of files other than directories
    uint64_t links                      # of those files


# Count a fault; the first one is described, with a number that its text explains.
cdef void found(auditor* a, const char* text, uint64_t x) noexcept nogil:
    if a.faults == 0 and a.why != NULL:
        snprintf(a.why, a.why_size, text, <unsigned long>x)
    a.faults += 1


# A node and its vnode.
#
# Locks in:   none; the machine has stopped.
# Locks out:  none.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef void audit_node(auditor* a, tmpfs_node* node) noexcept nogil:
    cdef vnode* vp = node.tn_vnode
    if node.tn_vpstate != 0 or node.tn_refcount != 1:
        found(a, b"node %lu is in somebody's hands", node.tn_id)
    if node.tn_type == VREG and (node.tn_aobj == NULL or node.tn_aobj.size != (node.tn_size + 4095) >> 12):
        found(a, b"node %lu: its object has another size", node.tn_id)
    if vp == NULL:
        return
    if vp.v_data != node or vp.v_iflag & VI_DOOMED or vp.v_lock.lk.rw_lock != 1 or vp.v_interlock.mtx_lock != 0:
        found(a, b"node %lu: its vnode is another's, doomed or locked", node.tn_id)
    if vp.v_holdcnt != (vp.v_usecount != 0) + (vp.v_cache_src != NULL):
        found(a, b"node %lu: its vnode is held otherwise than by users and names", node.tn_id)


# The name cache must say of a name what the directory says.
cdef void audit_names(auditor* a, tmpfs_node* dnode) noexcept nogil:
    cdef namecache* ncp = dnode.tn_vnode.v_cache_src if dnode.tn_vnode != NULL else NULL
    cdef tmpfs_dirent* de
    while ncp != NULL:
        de = next_after(dnode, 0, True)
        while de != NULL and <uint32_t>de.td_key != ncp.nc_name:
            de = next_after(dnode, de.td_key, False)
        if (de == NULL) != (ncp.nc_vp == NULL) or (de != NULL and ncp.nc_vp.v_data != de.td_node):
            found(a, b"node %lu: the name cache says otherwise than the directory", dnode.tn_id)
        ncp = ncp.nc_src_next


# The entry that follows one in the order of keys, found from the root of the tree; or the first one.
cdef tmpfs_dirent* next_after(tmpfs_node* dnode, uint64_t key, bint first) noexcept nogil:
    cdef tmpfs_dirent* at = dnode.tn_dirhead
    cdef tmpfs_dirent* best = NULL
    while at != NULL:
        if first or at.td_key > key:
            best = at
            at = at.td_left
        else:
            at = at.td_right
    return best


# The tree below a directory, each directory once.
#
# Locks in:   none; the machine has stopped.
# Locks out:  none.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef void audit_directory(auditor* a, tmpfs_node* dnode) noexcept nogil:
    cdef tmpfs_dirent* de = next_after(dnode, 0, True)
    cdef uint64_t entries = 0
    cdef uint64_t directories = 0
    audit_node(a, dnode)
    audit_names(a, dnode)
    a.nodes += 1
    while de != NULL:
        entries += 1
        if de.td_node.tn_type == VDIR:
            directories += 1
            if de.td_node.tn_parent != dnode:
                found(a, b"node %lu is in another directory than it says", de.td_node.tn_id)
            else:
                audit_directory(a, de.td_node)
        else:
            a.names += 1
        de = next_after(dnode, de.td_key, False)
    if entries != dnode.tn_size:
        found(a, b"node %lu has another number of entries than it says", dnode.tn_id)
    if dnode.tn_links != 2 + directories:
        found(a, b"node %lu has another number of links than directories in it", dnode.tn_id)


# Locks in:   none; the machine has stopped, and no thread is in a system call.
# Locks out:  none.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef int vfs_audit(machine* m, tmpfs_mount* mp, char* why, uint64_t why_size) noexcept nogil:
    cdef tmpfs_node* node = mp.tm_nodes_used
    cdef auditor a
    cdef uint64_t nodes = 0
    cdef uint64_t directories = 0
    a.why = why
    a.why_size = why_size
    a.faults = 0
    a.nodes = 0
    a.names = 0
    a.links = 0
    audit_directory(&a, mp.tm_root)
    while node != NULL:
        nodes += 1
        if node.tn_links == 0 and (node.tn_vnode == NULL or node.tn_vnode.v_usecount == 0):
            found(&a, b"node %lu has no name, and nobody uses it", node.tn_id)
        if node.tn_type == VDIR:
            directories += node.tn_links != 0           # a removed one is somebody's working directory, or open
        else:
            audit_node(&a, node)
            a.links += node.tn_links
        node = node.tn_entries_next
    if nodes != mp.tm_nodes_inuse:
        found(&a, b"%lu nodes are on the mount's list, and not as many as are counted", nodes)
    if directories != a.nodes:
        found(&a, b"%lu directories have links, and not as many are below the root", directories)
    if a.links != a.names:
        found(&a, b"%lu links are counted, and not as many names", a.links)
    if cache_audit(m) != 0:
        found(&a, b"the name cache has %lu entries that are not where they should be", <uint64_t>cache_audit(m))
    return a.faults
