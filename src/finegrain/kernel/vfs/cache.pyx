# The name cache.  See cache.pxd.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.list cimport (
    list_insert_head, list_insert_tail, list_remove, list_touch_insert_head, list_touch_insert_tail, list_touch_remove)
from finegrain.kernel.locks cimport (
    LO_DUPOK, lock_name, lock_site, mtx, mtx_assert_owned, mtx_init, mtx_lock, mtx_trylock, mtx_unlock,
    rw_assert_locked, rw_assert_wlocked, rw_init, rw_rlock, rw_runlock, rw_wlock, rw_wunlock, rwlock)
from finegrain.kernel.vfs.types cimport (
    NCF_DVDROP, NCF_HOTNEGATIVE, NCF_NEGATIVE, NUMNEGLISTS, VDIR, VI_DOOMED, name_cache, namecache, ncbuc, neglist,
    vfs_of, vfs_state)
from finegrain.kernel.vfs.vnode cimport (
    ASSERT_VOP_LOCKED, vdrop, vget_finish, vget_prep, vget_unlocked, vhold, vref, vrele)
from finegrain.machine.seam cimport (
    arena_alloc, arena_offset, atomic_fetchadd, charge, raw_lock, raw_unlock, touch_read, touch_write, unlikely)

cdef uint16_t NAME_BUCKET = lock_name(b"rw", b"ncbuc")
cdef uint16_t NAME_VNODE = lock_name(b"sleep mutex", b"ncvn")
cdef uint16_t NAME_NEGATIVE = lock_name(b"sleep mutex", b"ncnegl")
cdef uint16_t NAME_HOT = lock_name(b"sleep mutex", b"ncneghot")
cdef uint16_t SITE_LOOKUP = lock_site(b"cache_lookup")
cdef uint16_t SITE_DOTDOT = lock_site(b"cache_lookup_dotdot")
cdef uint16_t SITE_ENTER = lock_site(b"cache_enter")
cdef uint16_t SITE_ZAP = lock_site(b"cache_zap_wlocked_bucket")
cdef uint16_t SITE_PURGE = lock_site(b"cache_purge")
cdef uint16_t SITE_PURGE_NEGATIVE = lock_site(b"cache_purge_negative")
cdef uint16_t SITE_EVICT = lock_site(b"cache_negative_zap_one")
cdef uint16_t SITE_HIT = lock_site(b"cache_negative_hit")
cdef uint16_t SITE_INSERT = lock_site(b"cache_negative_insert")
cdef uint16_t SITE_REMOVE = lock_site(b"cache_negative_remove")
cdef uint16_t SITE_PATH = lock_site(b"vn_vptocnp")

cdef enum:
    # Hash buckets.  FreeBSD has two for each vnode that may be, 16 million on the measured machine; with as many
    # builders as there are in a study these are as good as private too.
    NCHASH = 1 << 20
    NCNEGFACTOR = 12                    # one entry in so many may be negative (M)
    FNV_PRIME = 0x01000193
    # Work in units of cost.op: our estimates [A].
    OPS_HASH = 20                       # a name of some ten bytes and a pointer
    OPS_COMPARE = 4
    OPS_ENTRY = 60                      # a UMA allocation, or the reverse


# --- who guards what

cdef inline name_cache* cache_of(thread* td) noexcept nogil:
    return &vfs_of(td).nc


# Hash the bytes of a number, as FreeBSD fnv_32_buf() does.
cdef uint32_t fnv_number(uint32_t number, uint32_t hash) noexcept nogil:
    cdef int i
    for i in range(4):
        hash = (hash ^ (number >> 8 * i & 0xff)) * <uint32_t>FNV_PRIME
    return hash


cdef inline uint32_t hash_of(vnode* dvp, uint32_t name) noexcept nogil:
    return fnv_number(dvp.v_id, fnv_number(name, FNV_BASIS))


# The lock of the bucket that a name hashes to.
cdef inline rwlock* HASH2BUCKETLOCK(name_cache* nc, uint32_t hash) noexcept nogil:
    return &nc.bucket_locks[hash & nc.bucket_mask].lock


# The mutex of a vnode's lists of entries.
cdef inline mtx* VP2VNODELOCK(thread* td, vnode* vp) noexcept nogil:
    cdef name_cache* nc = cache_of(td)
    return &nc.vnode_locks[arena_offset(td.machine, vp) >> 8 & nc.vnode_mask]


# How many locks there are of a kind: the least power of two above the CPUs times 64 (12.0; by 2020 the CPUs squared:
# for 104 CPUs 8192 or 16384, and which one head had is not known) [A].
cdef uint32_t lock_count(uint32_t ncpus) noexcept nogil:
    cdef uint32_t n = 1
    while n <= ncpus * 64:
        n *= 2
    return n


cdef int cache_create(machine* m, uint32_t ncpus) except -1:
    cdef name_cache* nc = &(<vfs_state*>m.vfs).nc
    cdef uint32_t count = lock_count(ncpus)
    cdef uint32_t i
    nc.hash_mask = NCHASH - 1
    nc.bucket_mask = count - 1
    nc.vnode_mask = count - 1
    nc.table = <namecache**>arena_alloc(m, NCHASH * sizeof(namecache*))
    nc.bucket_locks = <ncbuc*>arena_alloc(m, count * sizeof(ncbuc))
    nc.vnode_locks = <mtx*>arena_alloc(m, count * sizeof(mtx))
    nc.neglists = <neglist*>arena_alloc(m, NUMNEGLISTS * sizeof(neglist))
    if nc.table == NULL or nc.bucket_locks == NULL or nc.vnode_locks == NULL or nc.neglists == NULL:
        raise MemoryError("no room for the name cache")
    for i in range(count):
        rw_init(&nc.bucket_locks[i].lock, NAME_BUCKET, 0)
        mtx_init(&nc.vnode_locks[i], NAME_VNODE, LO_DUPOK)
    for i in range(NUMNEGLISTS):
        mtx_init(&nc.neglists[i].nl_lock, NAME_NEGATIVE, 0)
    mtx_init(&nc.hot_lock, NAME_HOT, 0)
    return 0


# Take the mutexes of two vnodes in order of address; the second may be NULL, or the first again.
#
# Locks in:   none of them; nothing that comes after them.
# Locks out:  both.
# May block:  on both.
# Stands for: FreeBSD cache_lock_vnodes() and cache_sort().
cdef void lock_vnodes(thread* td, mtx* first, mtx* second, uint16_t site) noexcept nogil:
    if second != NULL and second < first:
        first, second = second, first
    mtx_lock(td, first, site)
    if second != NULL and second != first:
        mtx_lock(td, second, site)


# Locks in:   the mutexes of both vnodes.
# Locks out:  neither.
# May block:  never.
# Stands for: FreeBSD cache_unlock_vnodes().
cdef void unlock_vnodes(thread* td, mtx* first, mtx* second) noexcept nogil:
    mtx_unlock(td, first)
    if second != NULL and second != first:
        mtx_unlock(td, second)


# Locks in:   any.
# Locks out:  both mutexes, when the answer is True.
# May block:  never.
# Stands for: FreeBSD cache_trylock_vnodes().
cdef bint trylock_vnodes(thread* td, mtx* first, mtx* second, uint16_t site) noexcept nogil:
    if not mtx_trylock(td, first, site):
        return False
    if second == NULL or second == first or mtx_trylock(td, second, site):
        return True
    mtx_unlock(td, first)
    return False


# --- entries

# A bucket's entry for a name; each one on the way is looked at.
#
# Locks in:   the lock of the bucket, for reading or for writing.
# Locks out:  the same.
# May block:  never.
# Stands for: the LIST_FOREACH() over NCHHASH() of FreeBSD cache_lookup().
cdef namecache* bucket_find(thread* td, vnode* dvp, uint32_t name, uint32_t hash) noexcept nogil:
    cdef namecache** head = &cache_of(td).table[hash & cache_of(td).hash_mask]
    cdef namecache* ncp
    rw_assert_locked(td, HASH2BUCKETLOCK(cache_of(td), hash), b"the bucket is not locked")
    touch_read(td, head)
    ncp = head[0]
    while ncp != NULL:
        touch_read(td, ncp)
        charge(td, td.machine.cost.op, OPS_COMPARE)
        if ncp.nc_dvp == dvp and ncp.nc_name == name:
            touch_read(td, &ncp.nc_flag)
            return ncp
        ncp = ncp.nc_hash_next
    return NULL


# Locks in:   the lock of its bucket, for writing; the mutex of its directory.
# Locks out:  the same.
# May block:  on the list's mutex.
# Stands for: FreeBSD cache_negative_insert().
cdef void negative_insert(thread* td, namecache* ncp, uint32_t hash) noexcept nogil:
    cdef name_cache* nc = cache_of(td)
    cdef neglist* nl
    rw_assert_wlocked(td, HASH2BUCKETLOCK(nc, hash), b"the bucket is not write-locked")
    ncp.nc_flag = NCF_NEGATIVE
    ncp.nc_neglist = <uint8_t>(hash % NUMNEGLISTS)
    nl = &nc.neglists[ncp.nc_neglist]
    mtx_lock(td, &nl.nl_lock, SITE_INSERT)
    list_touch_insert_tail(td, <void**>&nl.nl_first, <void**>&nl.nl_last, ncp, <void**>&ncp.nc_dst_next,
                           <void**>&ncp.nc_dst_prev)
    list_insert_tail(<void**>&nl.nl_first, <void**>&nl.nl_last, ncp, <void**>&ncp.nc_dst_next,
                     <void**>&ncp.nc_dst_prev)
    mtx_unlock(td, &nl.nl_lock)
    atomic_fetchadd(td, &nc.numneg, 1)


# Take a negative entry off its list, hot or not.
#
# Locks in:   the lock of its bucket, for writing; the mutex of its directory.
# Locks out:  the same.
# May block:  on the list's mutex; on that of the hot list, before it.
# Stands for: FreeBSD cache_negative_remove().
cdef void negative_remove(thread* td, namecache* ncp) noexcept nogil:
    cdef name_cache* nc = cache_of(td)
    cdef neglist* nl = &nc.neglists[ncp.nc_neglist]
    cdef bint hot_locked = False
    mtx_assert_owned(td, VP2VNODELOCK(td, ncp.nc_dvp), b"the directory's entries are not locked")
    if ncp.nc_flag & NCF_HOTNEGATIVE:
        hot_locked = True
        mtx_lock(td, &nc.hot_lock, SITE_REMOVE)
    mtx_lock(td, &nl.nl_lock, SITE_REMOVE)
    if ncp.nc_flag & NCF_HOTNEGATIVE:               # it may have cooled down before the hot list was locked
        list_touch_remove(td, <void**>&nc.hot_first, ncp, <void**>&ncp.nc_dst_next, <void**>&ncp.nc_dst_prev)
        list_remove(<void**>&nc.hot_first, <void**>&nc.hot_last, ncp, <void**>&ncp.nc_dst_next,
                    <void**>&ncp.nc_dst_prev)
    else:
        list_touch_remove(td, <void**>&nl.nl_first, ncp, <void**>&ncp.nc_dst_next, <void**>&ncp.nc_dst_prev)
        list_remove(<void**>&nl.nl_first, <void**>&nl.nl_last, ncp, <void**>&ncp.nc_dst_next,
                    <void**>&ncp.nc_dst_prev)
    mtx_unlock(td, &nl.nl_lock)
    if hot_locked:
        mtx_unlock(td, &nc.hot_lock)
    atomic_fetchadd(td, &nc.numneg, ~<uint64_t>0)


# A negative entry was hit: it is kept longer.
#
# Locks in:   the lock of its bucket, for reading.
# Locks out:  the same.
# May block:  on the mutexes of the hot list and of its own, the first time.
# Stands for: FreeBSD cache_negative_hit().
cdef void negative_hit(thread* td, namecache* ncp) noexcept nogil:
    cdef name_cache* nc = cache_of(td)
    cdef neglist* nl = &nc.neglists[ncp.nc_neglist]
    rw_assert_locked(td, HASH2BUCKETLOCK(nc, hash_of(ncp.nc_dvp, ncp.nc_name)), b"the bucket is not locked")
    if ncp.nc_flag & NCF_HOTNEGATIVE:
        return
    mtx_lock(td, &nc.hot_lock, SITE_HIT)
    mtx_lock(td, &nl.nl_lock, SITE_HIT)
    if not ncp.nc_flag & NCF_HOTNEGATIVE:
        list_touch_remove(td, <void**>&nl.nl_first, ncp, <void**>&ncp.nc_dst_next, <void**>&ncp.nc_dst_prev)
        list_remove(<void**>&nl.nl_first, <void**>&nl.nl_last, ncp, <void**>&ncp.nc_dst_next,
                    <void**>&ncp.nc_dst_prev)
        list_touch_insert_tail(td, <void**>&nc.hot_first, <void**>&nc.hot_last, ncp, <void**>&ncp.nc_dst_next,
                               <void**>&ncp.nc_dst_prev)
        list_insert_tail(<void**>&nc.hot_first, <void**>&nc.hot_last, ncp, <void**>&ncp.nc_dst_next,
                         <void**>&ncp.nc_dst_prev)
        ncp.nc_flag |= NCF_HOTNEGATIVE
    mtx_unlock(td, &nl.nl_lock)
    mtx_unlock(td, &nc.hot_lock)


# Take an entry out of the cache; entry_free() must follow when the locks are gone.
#
# Locks in:   the lock of its bucket, for writing; the mutexes of its directory and, if it has one, of its vnode.
# Locks out:  the same.
# May block:  on a negative list's mutexes.
# Stands for: FreeBSD cache_zap_locked().
cdef void zap_locked(thread* td, namecache* ncp) noexcept nogil:
    cdef name_cache* nc = cache_of(td)
    cdef vnode* dvp = ncp.nc_dvp
    cdef vnode* vp = ncp.nc_vp
    cdef uint32_t hash = hash_of(dvp, ncp.nc_name)
    cdef namecache** head = &nc.table[hash & nc.hash_mask]
    rw_assert_wlocked(td, HASH2BUCKETLOCK(nc, hash), b"the bucket is not write-locked")
    mtx_assert_owned(td, VP2VNODELOCK(td, dvp), b"the directory's entries are not locked")
    list_touch_remove(td, <void**>head, ncp, <void**>&ncp.nc_hash_next, <void**>&ncp.nc_hash_prev)
    list_remove(<void**>head, NULL, ncp, <void**>&ncp.nc_hash_next, <void**>&ncp.nc_hash_prev)
    list_touch_remove(td, <void**>&dvp.v_cache_src, ncp, <void**>&ncp.nc_src_next, <void**>&ncp.nc_src_prev)
    list_remove(<void**>&dvp.v_cache_src, NULL, ncp, <void**>&ncp.nc_src_next, <void**>&ncp.nc_src_prev)
    if vp != NULL:
        mtx_assert_owned(td, VP2VNODELOCK(td, vp), b"the vnode's names are not locked")
        list_touch_remove(td, <void**>&vp.v_cache_dst_first, ncp, <void**>&ncp.nc_dst_next, <void**>&ncp.nc_dst_prev)
        list_remove(<void**>&vp.v_cache_dst_first, <void**>&vp.v_cache_dst_last, ncp, <void**>&ncp.nc_dst_next,
                    <void**>&ncp.nc_dst_prev)
        if vp.v_cache_dd == ncp:
            vp.v_cache_dd = NULL
    else:
        negative_remove(td, ncp)
    if dvp.v_cache_src == NULL:
        ncp.nc_flag |= NCF_DVDROP
    atomic_fetchadd(td, &nc.numcache, ~<uint64_t>0)


# Locks in:   none of the cache's.
# Locks out:  the same.
# May block:  on a vnode's interlock.
# Stands for: FreeBSD cache_free().
cdef void entry_free(thread* td, namecache* ncp) noexcept nogil:
    cdef name_cache* nc = cache_of(td)
    cdef vnode* dvp = ncp.nc_dvp if ncp.nc_flag & NCF_DVDROP else NULL
    ncp.nc_dvp = NULL
    raw_lock(td, &nc.lock)
    ncp.nc_hash_next = nc.free
    nc.free = ncp
    raw_unlock(td, &nc.lock)
    charge(td, td.machine.cost.op, OPS_ENTRY)
    if dvp != NULL:
        vdrop(td, dvp)


# Remove an entry that was found by its bucket.
#
# Locks in:   the lock of its bucket, for writing.
# Locks out:  none.
# May block:  on the mutexes of its vnodes and on the bucket's lock, when the mutexes are not both free.
# Returns:    False when the entry had gone before it could be locked.
# Stands for: FreeBSD cache_zap_wlocked_bucket(), and cache_free() of what it zaps.
cdef bint zap_wlocked_bucket(thread* td, namecache* ncp, uint32_t hash) noexcept nogil:
    cdef rwlock* blp = HASH2BUCKETLOCK(cache_of(td), hash)
    cdef vnode* dvp = ncp.nc_dvp
    cdef vnode* vp = ncp.nc_vp
    cdef uint32_t name = ncp.nc_name
    cdef mtx* dvlp
    cdef mtx* vlp
    cdef bint there = True
    rw_assert_wlocked(td, blp, b"the bucket is not write-locked")
    dvlp = VP2VNODELOCK(td, dvp)
    vlp = VP2VNODELOCK(td, vp) if vp != NULL else NULL
    if not trylock_vnodes(td, dvlp, vlp, SITE_ZAP):
        rw_wunlock(td, blp)
        lock_vnodes(td, dvlp, vlp, SITE_ZAP)
        rw_wlock(td, blp, SITE_ZAP)
        # The memory of entries and vnodes stays such; the same names between the same two will do as well.
        ncp = bucket_find(td, dvp, name, hash)
        there = ncp != NULL and ncp.nc_vp == vp
    if there:
        zap_locked(td, ncp)
    rw_wunlock(td, blp)
    unlock_vnodes(td, dvlp, vlp)
    if there:
        entry_free(td, ncp)
    return there


# No entry is wanted for this name.
#
# Locks in:   the lock of the vnode dvp.
# Locks out:  the same.
# May block:  on the mutexes of the vnodes, on the bucket's lock.
# Stands for: the part of FreeBSD cache_lookup() for names without MAKEENTRY: cache_lookup_nomakeentry(); with
#             `negative` the one for a negative entry that a create finds.
cdef void zap_name(thread* td, vnode* dvp, uint32_t name, uint32_t hash, bint negative) noexcept nogil:
    cdef rwlock* blp = HASH2BUCKETLOCK(cache_of(td), hash)
    cdef namecache* ncp
    ASSERT_VOP_LOCKED(td, dvp)
    while True:
        rw_wlock(td, blp, SITE_LOOKUP)
        ncp = bucket_find(td, dvp, name, hash)
        if ncp == NULL or (negative and ncp.nc_vp != NULL):
            rw_wunlock(td, blp)
            return
        if zap_wlocked_bucket(td, ncp, hash):
            return


# --- looking up

# Look a name up.
#
# Locks in:   the lock of the vnode dvp; no mtx or rw lock.
# Locks out:  the same; with a hit also the vnode's, in that mode.
# May block:  on the bucket's lock; on the mutexes of the vnodes or of a negative list where an entry is removed or hit;
#             sleeps on the vnode's lock.
# Stands for: FreeBSD cache_lookup(), for names other than "." and "..".
cdef cache_answer cache_lookup(thread* td, vnode* dvp, uint32_t name, int what, vn_lock_mode mode,
                               vnode** vpp) noexcept nogil:
    cdef uint32_t hash = hash_of(dvp, name)
    cdef rwlock* blp
    cdef namecache* ncp
    cdef vnode* vp
    cdef vget_state how
    ASSERT_VOP_LOCKED(td, dvp)
    charge(td, td.machine.cost.op, OPS_HASH)
    if what == CACHE_REMOVE:
        zap_name(td, dvp, name, hash, False)
        return CACHE_MISS
    blp = HASH2BUCKETLOCK(cache_of(td), hash)
    while True:
        rw_rlock(td, blp, SITE_LOOKUP)
        ncp = bucket_find(td, dvp, name, hash)
        if ncp == NULL:
            rw_runlock(td, blp)
            return CACHE_MISS
        vp = ncp.nc_vp
        if vp == NULL:
            if what == CACHE_CREATE:
                rw_runlock(td, blp)
                zap_name(td, dvp, name, hash, True)
                return CACHE_MISS
            negative_hit(td, ncp)
            rw_runlock(td, blp)
            vfs_of(td).negative_hits += 1
            return CACHE_NEGATIVE
        how = vget_prep(td, vp)
        rw_runlock(td, blp)
        if vget_finish(td, vp, mode, how, SITE_LOOKUP):
            vfs_of(td).cache_hits += 1
            vpp[0] = vp
            return CACHE_HIT


# Find the directory that this one is in.
#
# Locks in:   the lock of the vnode dvp.
# Locks out:  the same.
# May block:  on the mutex of dvp; as vget_prep().
# Returns:    the directory, got hold of; NULL when the cache does not know.
# Stands for: FreeBSD cache_lookup_dotdot(), up to vget_prep().
cdef vnode* cache_lookup_dotdot(thread* td, vnode* dvp, vget_state* how) noexcept nogil:
    cdef mtx* dvlp = VP2VNODELOCK(td, dvp)
    cdef vnode* vp = NULL
    ASSERT_VOP_LOCKED(td, dvp)
    mtx_lock(td, dvlp, SITE_DOTDOT)
    touch_read(td, &dvp.v_cache_dd)
    if dvp.v_cache_dd != NULL:
        touch_read(td, &dvp.v_cache_dd.nc_dvp)
        vp = dvp.v_cache_dd.nc_dvp
        how[0] = vget_prep(td, vp)
    mtx_unlock(td, dvlp)
    return vp


# --- entering

# Evict a negative entry: the oldest of the next list, unless there is none.
#
# Locks in:   none of the cache's.
# Locks out:  the same.
# May block:  on a negative list's mutex, on the mutex of a vnode, on a bucket's lock.
# Stands for: FreeBSD cache_negative_zap_one().
cdef void negative_zap_one(thread* td) noexcept nogil:
    cdef name_cache* nc = cache_of(td)
    cdef neglist* nl = NULL
    cdef namecache* ncp = NULL
    cdef vnode* dvp = NULL
    cdef uint32_t name = 0
    cdef uint32_t hash
    cdef mtx* dvlp
    cdef rwlock* blp
    mtx_lock(td, &nc.hot_lock, SITE_EVICT)          # one that was hit has had its time: it cools down
    touch_read(td, &nc.hot_first)
    if nc.hot_first != NULL:
        ncp = nc.hot_first
        nl = &nc.neglists[ncp.nc_neglist]
        mtx_lock(td, &nl.nl_lock, SITE_EVICT)
        list_touch_remove(td, <void**>&nc.hot_first, ncp, <void**>&ncp.nc_dst_next, <void**>&ncp.nc_dst_prev)
        list_remove(<void**>&nc.hot_first, <void**>&nc.hot_last, ncp, <void**>&ncp.nc_dst_next,
                    <void**>&ncp.nc_dst_prev)
        list_insert_tail(<void**>&nl.nl_first, <void**>&nl.nl_last, ncp, <void**>&ncp.nc_dst_next,
                         <void**>&ncp.nc_dst_prev)
        ncp.nc_flag &= ~<uint8_t>NCF_HOTNEGATIVE
        mtx_unlock(td, &nl.nl_lock)
    mtx_unlock(td, &nc.hot_lock)
    for _ in range(NUMNEGLISTS):
        nl = &nc.neglists[nc.shrink % NUMNEGLISTS]
        nc.shrink += 1
        mtx_lock(td, &nl.nl_lock, SITE_EVICT)
        ncp = nl.nl_first
        if ncp != NULL:
            touch_read(td, ncp)
            dvp = ncp.nc_dvp
            name = ncp.nc_name
        mtx_unlock(td, &nl.nl_lock)
        if ncp != NULL:
            break
    if ncp == NULL:
        return
    # Nothing keeps it there now; what the memory says of itself is looked at again under its locks.
    hash = hash_of(dvp, name)
    dvlp = VP2VNODELOCK(td, dvp)
    blp = HASH2BUCKETLOCK(nc, hash)
    mtx_lock(td, dvlp, SITE_EVICT)
    rw_wlock(td, blp, SITE_EVICT)
    ncp = bucket_find(td, dvp, name, hash)
    if ncp != NULL and ncp.nc_vp == NULL:
        zap_locked(td, ncp)
    else:
        ncp = NULL
    rw_wunlock(td, blp)
    mtx_unlock(td, dvlp)
    if ncp != NULL:
        entry_free(td, ncp)


# Memory for an entry.
#
# Locks in:   any.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD cache_alloc().
cdef namecache* entry_alloc(thread* td) noexcept nogil:
    cdef name_cache* nc = cache_of(td)
    cdef namecache* ncp
    raw_lock(td, &nc.lock)
    ncp = nc.free
    if ncp != NULL:
        nc.free = ncp.nc_hash_next
    else:
        ncp = <namecache*>arena_alloc(td.machine, sizeof(namecache))
    raw_unlock(td, &nc.lock)
    charge(td, td.machine.cost.op, OPS_ENTRY)
    touch_write(td, ncp)
    touch_write(td, &ncp.nc_flag)
    return ncp


# Enter a name, unless it is there.
#
# Locks in:   the lock of the vnode dvp; that of vp, if one is given.
# Locks out:  the same.
# May block:  on the mutexes of both vnodes, on the bucket's lock; on a negative list's mutex, and as
#             negative_zap_one().
# Stands for: FreeBSD cache_enter().
cdef void cache_enter(thread* td, vnode* dvp, vnode* vp, uint32_t name) noexcept nogil:
    cdef name_cache* nc = cache_of(td)
    cdef uint32_t hash = hash_of(dvp, name)
    cdef rwlock* blp = HASH2BUCKETLOCK(nc, hash)
    cdef namecache** head = &nc.table[hash & nc.hash_mask]
    cdef namecache* ncp
    cdef mtx* dvlp
    cdef mtx* vlp
    cdef uint64_t entries
    ASSERT_VOP_LOCKED(td, dvp)
    if unlikely(dvp.v_iflag & VI_DOOMED):
        return
    charge(td, td.machine.cost.op, OPS_HASH)
    entries = atomic_fetchadd(td, &nc.numcache, 1) + 1
    ncp = entry_alloc(td)
    ncp.nc_dvp = dvp
    ncp.nc_vp = vp
    ncp.nc_name = name
    ncp.nc_flag = 0
    dvlp = VP2VNODELOCK(td, dvp)
    vlp = VP2VNODELOCK(td, vp) if vp != NULL else NULL
    lock_vnodes(td, dvlp, vlp, SITE_ENTER)
    rw_wlock(td, blp, SITE_ENTER)
    if bucket_find(td, dvp, name, hash) != NULL:        # somebody else looked it up at the same time
        rw_wunlock(td, blp)
        unlock_vnodes(td, dvlp, vlp)
        entry_free(td, ncp)
        atomic_fetchadd(td, &nc.numcache, ~<uint64_t>0)
        return
    if dvp.v_cache_src == NULL:
        vhold(td, dvp)
    list_touch_insert_head(td, <void**>&dvp.v_cache_src, ncp, <void**>&ncp.nc_src_next, <void**>&ncp.nc_src_prev)
    list_insert_head(<void**>&dvp.v_cache_src, NULL, ncp, <void**>&ncp.nc_src_next, <void**>&ncp.nc_src_prev)
    list_touch_insert_head(td, <void**>head, ncp, <void**>&ncp.nc_hash_next, <void**>&ncp.nc_hash_prev)
    list_insert_head(<void**>head, NULL, ncp, <void**>&ncp.nc_hash_next, <void**>&ncp.nc_hash_prev)
    if vp != NULL:
        list_touch_insert_head(td, <void**>&vp.v_cache_dst_first, ncp, <void**>&ncp.nc_dst_next,
                               <void**>&ncp.nc_dst_prev)
        list_insert_head(<void**>&vp.v_cache_dst_first, <void**>&vp.v_cache_dst_last, ncp, <void**>&ncp.nc_dst_next,
                         <void**>&ncp.nc_dst_prev)
        if vp.v_type == VDIR:
            vp.v_cache_dd = ncp
    else:
        negative_insert(td, ncp, hash)
    rw_wunlock(td, blp)
    unlock_vnodes(td, dvlp, vlp)
    touch_read(td, &nc.numneg)
    if nc.numneg * NCNEGFACTOR > entries:
        negative_zap_one(td)


# --- purging

# Remove what a vnode's lists say: its entries as a directory, all or those that nothing has, and then, unless only
# those, its names.  The mutex of the vnode is held over all of it, that of the other vnode from entry to entry while it
# is the same one.
#
# Locks in:   none of the cache's; none that comes after them.
# Locks out:  the same.
# May block:  on the mutexes of the vnode and, one at a time, of the vnodes at the other ends; on buckets' locks; on
#             negative lists' mutexes.
# Stands for: FreeBSD cache_purge(), cache_purge_negative(), cache_zap_locked_vnode_kl2().
cdef void purge(thread* td, vnode* vp, bint negative, uint16_t site) noexcept nogil:
    cdef name_cache* nc = cache_of(td)
    cdef mtx* vlp = VP2VNODELOCK(td, vp)
    cdef mtx* held = NULL
    cdef mtx* wanted
    cdef namecache* ncp
    cdef namecache* zapped = NULL
    cdef vnode* other
    cdef rwlock* blp
    touch_read(td, &vp.v_cache_src)
    touch_read(td, &vp.v_cache_dd)
    if vp.v_cache_src == NULL and vp.v_cache_dst_first == NULL:
        return
    mtx_lock(td, vlp, site)
    while True:
        ncp = vp.v_cache_src
        while negative and ncp != NULL and ncp.nc_vp != NULL:
            touch_read(td, ncp)
            ncp = ncp.nc_src_next
        if ncp == NULL and not negative:
            ncp = vp.v_cache_dst_first
        if ncp == NULL:
            break
        touch_read(td, ncp)
        other = ncp.nc_vp if ncp.nc_dvp == vp else ncp.nc_dvp
        wanted = VP2VNODELOCK(td, other) if other != NULL else NULL
        if wanted != NULL and wanted != vlp and wanted != held:
            if held != NULL:
                mtx_unlock(td, held)
                held = NULL
            if wanted > vlp:
                mtx_lock(td, wanted, site)
                held = wanted
            elif mtx_trylock(td, wanted, site):
                held = wanted
            else:                       # against the order: both anew, and look at the lists again
                mtx_unlock(td, vlp)
                mtx_lock(td, wanted, site)
                mtx_lock(td, vlp, site)
                held = wanted
                continue
        blp = HASH2BUCKETLOCK(nc, hash_of(ncp.nc_dvp, ncp.nc_name))
        rw_wlock(td, blp, site)
        zap_locked(td, ncp)
        rw_wunlock(td, blp)
        ncp.nc_hash_next = zapped
        zapped = ncp
    mtx_unlock(td, vlp)
    if held != NULL:
        mtx_unlock(td, held)
    while zapped != NULL:
        ncp = zapped
        zapped = ncp.nc_hash_next
        entry_free(td, ncp)


# Locks in:   none of the cache's.
# Locks out:  the same.
# May block:  as purge().
# Stands for: FreeBSD cache_purge().
cdef void cache_purge(thread* td, vnode* vp) noexcept nogil:
    purge(td, vp, False, SITE_PURGE)


# Locks in:   none of the cache's.
# Locks out:  the same.
# May block:  as purge().
# Stands for: FreeBSD cache_purge_negative().
cdef void cache_purge_negative(thread* td, vnode* dvp) noexcept nogil:
    purge(td, dvp, True, SITE_PURGE_NEGATIVE)


# --- from a vnode to its path

# Walk up from a vnode in use to the root of its file system.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on the mutexes of the vnodes on the way; as vget_prep() and vrele(): sleeps.
# Returns:    how many names there are; -1 when one is not known, or there is no room.
# Stands for: FreeBSD vn_fullpath1(), vn_vptocnp(), where everything is in the cache.
cdef int cache_fullpath(thread* td, vnode* vp, uint32_t* names, int most) noexcept nogil:
    cdef int n = 0
    cdef mtx* vlp
    cdef namecache* ncp
    cdef vnode* dvp
    vref(td, vp)
    while vp != vp.v_mount.tm_root_vnode:
        vlp = VP2VNODELOCK(td, vp)
        mtx_lock(td, vlp, SITE_PATH)
        touch_read(td, &vp.v_cache_dst_first)
        ncp = vp.v_cache_dst_first
        if ncp == NULL or n == most:
            mtx_unlock(td, vlp)
            vrele(td, vp)
            return -1
        touch_read(td, ncp)
        names[n] = ncp.nc_name
        n += 1
        dvp = ncp.nc_dvp
        vget_unlocked(td, dvp, vget_prep(td, dvp))
        mtx_unlock(td, vlp)
        vrele(td, vp)
        vp = dvp
    vrele(td, vp)
    return n


# --- the audit

# Locks in:   none; the machine has stopped.
# Locks out:  none.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef int cache_audit(machine* m) noexcept nogil:
    cdef name_cache* nc = &(<vfs_state*>m.vfs).nc
    cdef namecache* ncp
    cdef namecache* other
    cdef uint64_t entries = 0, negative = 0, listed = 0
    cdef int faults = 0
    cdef uint32_t i
    for i in range(NCHASH):
        ncp = nc.table[i]
        while ncp != NULL:
            entries += 1
            negative += ncp.nc_vp == NULL
            faults += ncp.nc_dvp == NULL or hash_of(ncp.nc_dvp, ncp.nc_name) & nc.hash_mask != i
            faults += (ncp.nc_vp == NULL) != (ncp.nc_flag & NCF_NEGATIVE != 0)
            if ncp.nc_dvp != NULL:
                other = ncp.nc_dvp.v_cache_src
                while other != NULL and other != ncp:
                    other = other.nc_src_next
                faults += other == NULL
            if ncp.nc_vp != NULL:
                other = ncp.nc_vp.v_cache_dst_first
                while other != NULL and other != ncp:
                    other = other.nc_dst_next
                faults += other == NULL
            ncp = ncp.nc_hash_next
    for i in range(NUMNEGLISTS + 1):
        ncp = nc.neglists[i].nl_first if i < NUMNEGLISTS else nc.hot_first
        while ncp != NULL:
            listed += 1
            faults += ncp.nc_vp != NULL
            ncp = ncp.nc_dst_next
    faults += entries != nc.numcache or negative != nc.numneg or listed != negative
    return faults
