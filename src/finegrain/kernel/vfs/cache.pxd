# The name cache: what each name in each directory stands for, a vnode or nothing.
#
# An entry is found by the hash of its directory's number and its name.  A bucket of the hash table is under one of many
# rw locks ("ncbuc", a cache line pair each), which a look-up takes for reading, and nothing else.  An entry is also on
# the list of its directory's entries and on that of its vnode's names; each of these is under one of as many mutexes
# ("ncvn", two in a cache line), found by the vnode's address.  So to make or remove an entry takes the mutexes of the
# two vnodes, in order of address, and then the bucket's lock for writing.
#
# Whoever comes by the bucket first, as a look-up that finds an entry to be removed, is in the wrong order: it tries for
# the mutexes, and if it gets only one, lets all go, takes them in order and looks whether the entry is still there.
#
# That nothing has a name is remembered too: negative entries, at most one in NCNEGFACTOR, on lists by age ("ncnegl");
# those that were hit are kept longer ("ncneghot").

from libc.stdint cimport uint16_t, uint32_t

from finegrain.kernel.vfs.types cimport vnode
from finegrain.kernel.vfs.vnode cimport vget_state, vn_lock_mode
from finegrain.machine.thread cimport machine, thread

cdef enum cache_answer:
    CACHE_MISS = 0
    CACHE_HIT                           # the vnode is used and locked
    CACHE_NEGATIVE                      # nothing has the name

cdef enum:
    # What the look-up of a last component is for.
    CACHE_LOOKUP = 0
    CACHE_CREATE                        # a name that nothing has will be given
    CACHE_REMOVE                        # the name will be taken away, or given to something else: no entry is wanted

# Once a machine.  Raises MemoryError.
cdef int cache_create(machine* m, uint32_t ncpus) except -1
# FNV-1a of 32 bits over the bytes of a number, from a hash so far (FNV_BASIS at first).
cdef enum:
    FNV_BASIS = 0x811c9dc5
cdef uint32_t fnv_number(uint32_t number, uint32_t hash) noexcept nogil

# Look a name up; dvp locked.  With a hit vpp[0] is used, and locked in that mode.  Takes ncbuc R; in the cases that
# remove an entry ncvn, ncbuc W; with a negative hit ncnegl, ncneghot; the vnode's lock.
cdef cache_answer cache_lookup(thread* td, vnode* dvp, uint32_t name, int what, vn_lock_mode mode,
                               vnode** vpp) noexcept nogil
# The directory that this one is in, got hold of (vget_finish() must follow); NULL: not known.  Takes ncvn.
cdef vnode* cache_lookup_dotdot(thread* td, vnode* dvp, vget_state* how) noexcept nogil
# Enter a name; vp NULL: nothing has it.  dvp locked; takes ncvn, ncbuc W.
cdef void cache_enter(thread* td, vnode* dvp, vnode* vp, uint32_t name) noexcept nogil
# Remove all entries of a vnode, as directory and as what is named.  Takes ncvn, ncbuc W.
cdef void cache_purge(thread* td, vnode* vp) noexcept nogil
# Remove the entries of a directory that say that nothing has a name.  Likewise.
cdef void cache_purge_negative(thread* td, vnode* dvp) noexcept nogil
# The names that lead from its file system's root to a vnode in use, last one first: how many, or -1 when one is not
# known or there are more than that.  Takes ncvn for each.
cdef int cache_fullpath(thread* td, vnode* vp, uint32_t* names, int most) noexcept nogil
# Machine stopped: the number of inconsistencies.
cdef int cache_audit(machine* m) noexcept nogil
