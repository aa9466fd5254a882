# The entries of a directory of tmpfs.
#
# A treap: a tree ordered by the hashes of the names, in which each entry stands above all those of smaller priority.
# Priorities are hashes too, so the tree is as balanced as one built in random order, whatever comes and goes; FreeBSD
# has a red-black tree, whose paths are as long within a third.  What a descent looks at is a cache line an entry.

from libc.stdint cimport uint32_t, uint64_t

from finegrain.kernel.vfs.cache cimport FNV_BASIS, fnv_number
from finegrain.kernel.vfs.types cimport vfs_of
from finegrain.kernel.vfs.vnode cimport ASSERT_VOP_ELOCKED, ASSERT_VOP_LOCKED
from finegrain.machine.seam cimport arena_alloc, arena_free, charge, touch_read, touch_write

cdef enum:
    PRIORITY_BASIS = 0x050c5d1f         # any other start than FNV_BASIS
    # Work in units of cost.op: our estimates [A].
    OPS_COMPARE = 4                     # an entry on the way down
    OPS_HASH = 15
    OPS_DIRENT = 90                     # malloc() of an entry and its name, or free()


cdef inline uint64_t key_of(uint32_t name) noexcept nogil:
    return <uint64_t>fnv_number(name, FNV_BASIS) << 32 | name


# --- the tree

# Put an entry where its key belongs; its priority is random.
cdef void treap_insert(tmpfs_dirent** root, tmpfs_dirent* de) noexcept nogil:
    cdef tmpfs_dirent** at = root
    cdef tmpfs_dirent** left = &de.td_left
    cdef tmpfs_dirent** right = &de.td_right
    cdef tmpfs_dirent* t
    while at[0] != NULL and at[0].td_priority >= de.td_priority:
        at = &at[0].td_left if de.td_key < at[0].td_key else &at[0].td_right
    t = at[0]
    while t != NULL:                    # what was there becomes its two subtrees
        if t.td_key < de.td_key:
            left[0] = t
            left = &t.td_right
            t = t.td_right
        else:
            right[0] = t
            right = &t.td_left
            t = t.td_left
    left[0] = NULL
    right[0] = NULL
    at[0] = de


# Take an entry that is there out.
cdef void treap_remove(tmpfs_dirent** root, tmpfs_dirent* de) noexcept nogil:
    cdef tmpfs_dirent** at = root
    cdef tmpfs_dirent* left = de.td_left
    cdef tmpfs_dirent* right = de.td_right
    while at[0] != de:
        at = &at[0].td_left if de.td_key < at[0].td_key else &at[0].td_right
    while left != NULL and right != NULL:
        if left.td_priority > right.td_priority:
            at[0] = left
            at = &left.td_right
            left = left.td_right
        else:
            at[0] = right
            at = &right.td_left
            right = right.td_left
    at[0] = left if left != NULL else right
    de.td_left = NULL
    de.td_right = NULL


# Go down to where a key is or would be, and look at each entry on the way.
#
# Locks in:   the lock of the vnode dvp.
# Locks out:  the same.
# May block:  never.
# Returns:    the entry with that key, or NULL; in above[0] the last one on the way with a larger key.
# Stands for: FreeBSD RB_FIND() and RB_NFIND() of tmpfs_dir.
cdef tmpfs_dirent* descend(thread* td, vnode* dvp, uint64_t key, tmpfs_dirent** above) noexcept nogil:
    cdef tmpfs_node* dnode = dvp.v_data
    cdef tmpfs_dirent* t
    ASSERT_VOP_LOCKED(td, dvp)
    above[0] = NULL
    touch_read(td, &dnode.tn_dirhead)
    t = dnode.tn_dirhead
    while t != NULL and t.td_key != key:
        touch_read(td, t)
        charge(td, td.machine.cost.op, OPS_COMPARE)
        if key < t.td_key:
            above[0] = t
            t = t.td_left
        else:
            t = t.td_right
    if t != NULL:
        touch_read(td, t)
    return t


# --- what others use

# Locks in:   the lock of the vnode dvp.
# Locks out:  the same.
# May block:  never.
# Returns:    the entry of that name; NULL: there is none.
# Stands for: FreeBSD tmpfs_dir_lookup().
cdef tmpfs_dirent* tmpfs_dir_lookup(thread* td, vnode* dvp, uint32_t name) noexcept nogil:
    cdef tmpfs_dirent* above
    ASSERT_VOP_LOCKED(td, dvp)
    charge(td, td.machine.cost.op, OPS_HASH)
    return descend(td, dvp, key_of(name), &above)


# Locks in:   the lock of the vnode dvp.
# Locks out:  the same.
# May block:  never.
# Returns:    the first entry with that key or a larger one; NULL: there is none.
# Stands for: FreeBSD tmpfs_dir_lookup_cookie(), tmpfs_dir_next().
cdef tmpfs_dirent* tmpfs_dir_next(thread* td, vnode* dvp, uint64_t key) noexcept nogil:
    cdef tmpfs_dirent* above
    cdef tmpfs_dirent* at
    ASSERT_VOP_LOCKED(td, dvp)
    at = descend(td, dvp, key, &above)
    return at if at != NULL else above


# Put an entry into a directory that has none of that name.
#
# Locks in:   the lock of the vnode dvp, exclusively.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD tmpfs_dir_attach().
cdef void tmpfs_dir_attach(thread* td, vnode* dvp, tmpfs_dirent* de) noexcept nogil:
    cdef tmpfs_node* dnode = dvp.v_data
    cdef tmpfs_dirent* above
    ASSERT_VOP_ELOCKED(td, dvp)
    descend(td, dvp, de.td_key, &above)
    if above != NULL:
        touch_write(td, above)
    touch_write(td, de)
    touch_write(td, &dnode.tn_size)
    treap_insert(&dnode.tn_dirhead, de)
    dnode.tn_size += 1


# Take an entry out of its directory.
#
# Locks in:   the lock of the vnode dvp, exclusively.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD tmpfs_dir_detach().
cdef void tmpfs_dir_detach(thread* td, vnode* dvp, tmpfs_dirent* de) noexcept nogil:
    cdef tmpfs_node* dnode = dvp.v_data
    cdef tmpfs_dirent* above
    ASSERT_VOP_ELOCKED(td, dvp)
    descend(td, dvp, de.td_key, &above)
    if above != NULL:
        touch_write(td, above)
    touch_write(td, de)
    touch_write(td, &dnode.tn_size)
    treap_remove(&dnode.tn_dirhead, de)
    dnode.tn_size -= 1


cdef void tmpfs_dir_plant(tmpfs_node* dnode, tmpfs_dirent* de) noexcept nogil:
    treap_insert(&dnode.tn_dirhead, de)
    dnode.tn_size += 1


cdef void tmpfs_dir_uproot(tmpfs_node* dnode, tmpfs_dirent* de) noexcept nogil:
    treap_remove(&dnode.tn_dirhead, de)
    dnode.tn_size -= 1


cdef void tmpfs_dirent_name(tmpfs_dirent* de, uint32_t name) noexcept nogil:
    de.td_key = key_of(name)
    de.td_priority = (<uint64_t>fnv_number(<uint32_t>(de.td_key >> 32), PRIORITY_BASIS) << 32
                      | fnv_number(name, PRIORITY_BASIS))


cdef tmpfs_dirent* tmpfs_alloc_dirent(thread* td, tmpfs_node* node, uint32_t name) noexcept nogil:
    cdef tmpfs_dirent* de = <tmpfs_dirent*>arena_alloc(td.machine, sizeof(tmpfs_dirent))
    charge(td, td.machine.cost.op, OPS_DIRENT)
    tmpfs_dirent_name(de, name)
    de.td_node = node
    vfs_of(td).dirents += 1
    return de


cdef void tmpfs_free_dirent(thread* td, tmpfs_dirent* de) noexcept nogil:
    charge(td, td.machine.cost.op, OPS_DIRENT)
    vfs_of(td).dirents -= 1
    arena_free(td.machine, de, sizeof(tmpfs_dirent))
