# Pipes, vnodes, names and the nodes of a tmpfs: the structs, and who may look at them.
#
# What decides which fields share a cache line with which lock is in the order of FreeBSD's headers (sys/vnode.h,
# kern/vfs_cache.c, fs/tmpfs/tmpfs.h) as we remember them [A].  Fields of no consequence here are gaps of their size.
#
# A name is a number: callers intern the components of their paths.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport lockmgr, mtx, rwlock
from finegrain.kernel.types cimport vm_object, vm_offset_t
from finegrain.machine.thread cimport machine, thread

cdef enum:
    NAME_DOT = 0xfffffffe               # "."
    NAME_DOTDOT = 0xffffffff            # ".."
    PATH_COMPONENTS = 64                # of a path at most, with the symbolic links in it

cdef enum vtype:
    VREG = 1
    VDIR
    VLNK

cdef struct vnode
cdef struct namecache
cdef struct tmpfs_node
cdef struct tmpfs_mount

# --- pipes.  Keys: p pipe mutex; l whoever has PIPE_LOCKFL; a atomic; c constant
cdef struct pipepair:
    mtx pp_mtx                          # "pipe mutex"; initialised once: the memory of a pair stays one
    uint8_t pipe_state                  # p: PIPE_*
    uint32_t pipe_waiters               # p: for PIPE_LOCKFL
    uint32_t size                       # l: of the buffer, bytes
    uint32_t in_                        # l: where the next byte goes
    uint32_t out                        # l: where the next byte comes from
    uint32_t cnt                        # l: bytes in it
    vm_offset_t buffer                  # l: 0: none, the read end is closed
    uint64_t f_count[2]                 # a: references to each end
    pipepair* next                      # free pairs

# --- vnodes.  Keys: c constant; v the vnode's lock; i its interlock; a atomic; n "ncvn"; m "struct mount mtx"

# What a file system does for its vnodes beside the operations on them.
cdef struct vop_vector:
    # The last user has gone: must somebody do something about it, with the vnode locked exclusively?
    bint (*need_inactive)(thread* td, vnode* vp) noexcept nogil
    # The vnode is to be one no longer.  Locked exclusively; nobody uses it.
    void (*reclaim)(thread* td, vnode* vp) noexcept nogil

cdef enum:
    VI_DOOMED = 1                       # v_iflag: reclaimed

cdef struct vnode:
    uint64_t v_tag
    const vop_vector* v_op              # c
    tmpfs_node* v_data                  # v: NULL once reclaimed
    tmpfs_mount* v_mount                # c
    vnode* v_nmntvnodes_next            # m: vnodes of the mount; free ones
    vnode* v_nmntvnodes_prev
    vnode* v_mountedhere                # c: root of what is mounted on this directory, or NULL
    uint64_t v_hashlist[2]
    namecache* v_cache_src              # n: 72 entries of this directory
    namecache* v_cache_dst_first        # n: entries that name this vnode
    namecache* v_cache_dst_last
    namecache* v_cache_dd               # n: the entry that names this directory
    lockmgr v_lock                      # 104 "tmpfs"; initialised once: the memory of a vnode stays one
    mtx v_interlock                     # "vnode interlock"; likewise
    uint64_t v_actfreelist[3]
    uint64_t v_bufobj_lock[5]           # 208
    vm_object* v_object                 # v: a regular file's pages
    uint64_t v_bufobj[23]
    uint64_t v_holdcnt                  # 440 a: what keeps the memory: users as one, entries as a directory as one, ...
    uint64_t v_usecount                 # a: users
    uint32_t v_iflag                    # i, v: either to read, both to write
    uint32_t v_writecount               # v: opened for writing so often
    uint32_t v_id                       # c: counts from 1, in order of creation
    uint8_t v_type                      # c: vtype

# --- names.  Keys: b "ncbuc" of its bucket; n "ncvn" of the vnodes; N the negative list's mutex

cdef enum:
    NCF_NEGATIVE = 1                    # nc_flag
    NCF_HOTNEGATIVE = 2
    NCF_DVDROP = 4                      # it was its directory's last entry: a hold is to be dropped

cdef struct namecache:
    namecache* nc_hash_next             # b: entries of the bucket
    namecache* nc_hash_prev
    namecache* nc_src_next              # n: entries of the directory
    namecache* nc_src_prev
    namecache* nc_dst_next              # n: names of the vnode; N: negative entries
    namecache* nc_dst_prev
    vnode* nc_dvp                       # b, n: the directory
    vnode* nc_vp                        # b, n: what has the name; NULL: nothing has
    uint8_t nc_flag                     # b, n; N for NCF_HOTNEGATIVE
    uint8_t nc_neglist                  # c: which list of negative entries
    uint32_t nc_name                    # b, n

cdef enum:
    NUMNEGLISTS = 4                     # (M)

cdef struct neglist:                    # on lines of its own
    mtx nl_lock                         # "ncnegl"
    namecache* nl_first                 # N: oldest first
    namecache* nl_last
    uint64_t pad[10]

cdef struct ncbuc:                      # padaligned: rw_padalign
    rwlock lock                         # "ncbuc"
    uint64_t pad[12]

cdef struct name_cache:
    uint32_t hash_mask                  # c
    uint32_t bucket_mask                # c: of locks
    uint32_t vnode_mask                 # c: of locks
    namecache** table                   # b: [hash_mask + 1]
    ncbuc* bucket_locks                 # [bucket_mask + 1]
    mtx* vnode_locks                    # [vnode_mask + 1] "ncvn": 32 bytes each, two in a line
    neglist* neglists                   # [NUMNEGLISTS]
    mtx hot_lock                        # "ncneghot"
    namecache* hot_first                # hot_lock, N: negative entries that were hit
    namecache* hot_last
    uint64_t to_a_line[2]
    uint64_t numcache                   # a: entries
    uint64_t numneg                     # a: negative ones
    uint32_t shrink                     # the list that loses an entry next
    uint64_t lock                       # raw: free
    namecache* free                     # linked by nc_hash_next

# --- tmpfs.  Keys: c constant; t "tmpfs node interlock"; v the lock of its vnode (of the directory's, for an entry)

cdef enum:
    TMPFS_NODE_ACCESSED = 1             # tn_status
    TMPFS_NODE_MODIFIED = 2
    TMPFS_NODE_CHANGED = 4
    TMPFS_VNODE_ALLOCATING = 1          # tn_vpstate
    TMPFS_VNODE_WANT = 2
    TMPFS_VNODE_DOOMED = 4

# A directory's entries are a tree ordered by td_key, balanced by td_priority (a treap, for FreeBSD's red-black one).
cdef struct tmpfs_dirent:
    tmpfs_dirent* td_left               # v
    tmpfs_dirent* td_right              # v
    uint64_t td_key                     # c: hash of the name, and the name
    uint64_t td_priority                # c: larger ones are further up
    tmpfs_node* td_node                 # v
    uint64_t td_name_bytes[3]

cdef struct tmpfs_node:
    tmpfs_node* tn_entries_next         # "tmpfs allnode lock": nodes of the mount
    tmpfs_node* tn_entries_prev
    uint64_t tn_type                    # c: vtype
    uint64_t tn_id                      # c: counts from 1 in each mount
    uint64_t tn_status                  # t: TMPFS_NODE_*
    uint64_t tn_size                    # v: bytes; of a directory: entries
    uint64_t tn_mode[2]                 # 48: owner, mode, flags
    uint64_t tn_links                   # v
    uint64_t tn_times[9]
    vnode* tn_vnode                     # 144 t
    mtx tn_interlock                    # "tmpfs node interlock"; initialised once: the memory of a node stays one
    uint32_t tn_vpstate                 # t
    uint32_t tn_refcount                # t
    tmpfs_node* tn_parent               # t, v: of a directory; its own the root's; NULL once removed
    tmpfs_dirent* tn_dirhead            # v: of a directory
    vm_object* tn_aobj                  # c: of a regular file
    uint32_t* tn_link                   # c: of a symbolic link: the components
    uint32_t tn_link_count              # c
    bint tn_link_absolute               # c

cdef struct tmpfs_mount:
    tmpfs_node* tm_root                 # c
    vnode* tm_root_vnode                # c: in use as long as the mount is
    mtx tm_allnode_lock                 # "tmpfs allnode lock"
    tmpfs_node* tm_nodes_used           # tm_allnode_lock
    uint64_t tm_nodes_inuse             # tm_allnode_lock
    uint64_t tm_ino                     # tm_allnode_lock
    uint64_t tree                       # raw: which directory is in which (rename.pyx)
    mtx mnt_mtx                         # "struct mount mtx"
    vnode* mnt_nvnodelist               # mnt_mtx
    uint64_t mnt_nvnodelistsize         # mnt_mtx
    int32_t tm_number                   # c: the caller's

# --- pseudofs.  Key: l "pfs_vncache"

cdef enum:
    NO_PID = -1                         # a node of no process

cdef struct pfs_vdata:                  # a node that the cache holds
    pfs_vdata* pvd_next                 # l
    pfs_vdata* pvd_prev                 # l
    int64_t pvd_pid                     # c: whose; NO_PID
    uint64_t pvd_node                   # c: which of its nodes
    uint64_t pvd_rest[3]

cdef struct pfs_state:
    mtx lock                            # "pfs_vncache"
    uint64_t to_a_line[4]
    pfs_vdata* first                    # l
    int64_t entries                     # l
    int64_t scans                       # by ends of processes
    int64_t destroyed

# --- open files.  Keys: c constant; a atomic; o whoever reads, writes or seeks
cdef struct openfile:
    vnode* f_vnode                      # c
    uint64_t f_count                    # a: descriptors
    uint64_t f_offset                   # o: bytes; in a directory the key of the next entry
    uint32_t f_flag                     # c: FREAD, FWRITE, O_APPEND
    openfile* next                      # free ones

# --- the layer's state

# What it is built with.
cdef struct vfs_options:
    uint32_t pfs_nodes                  # of no process that pseudofs's cache holds all the time

# machine.vfs points here.  Counts are statistics: several threads may write them.
cdef struct vfs_state:
    # pipes
    uint64_t amountpipekva              # a: bytes of pipe_map in use
    uint64_t maxpipekva                 # c
    uint64_t lock                       # raw: the free lists, and the counts of what is there now
    pipepair* free
    int64_t pipes                       # there now
    int64_t made
    int64_t reads
    int64_t writes
    int64_t bytes                       # written
    int64_t grown                       # buffers that had to grow
    # files
    vnode* free_vnodes                  # linked by v_nmntvnodes_next
    tmpfs_node* free_nodes              # linked by tn_entries_next
    openfile* free_files
    uint32_t last_vnode                 # source of v_id
    int64_t vnodes                      # there now
    int64_t nodes
    int64_t dirents
    int64_t files
    int64_t lookups                     # components looked up
    int64_t cache_hits
    int64_t negative_hits
    int64_t opens
    int64_t file_reads
    int64_t file_writes
    int64_t file_bytes                  # read and written
    int64_t renames
    int64_t rename_restarts
    name_cache nc
    pfs_state pfs


cdef inline vfs_state* vfs_of(thread* td) noexcept nogil:
    return <vfs_state*>td.machine.vfs
