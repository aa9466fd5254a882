# A lock in two bits of somebody else's word: held, contested, and above them a generation of 62 bits that can be read
# without the lock.  It takes no memory at all, and promises what a mutex promises (mtx8.pxd): adaptive spinning,
# blocking, waking, priority lent to its owner and through chains of owners, recursion refused, an owner to be asserted,
# a profile.  How that goes without an owner in the word: bit2.pyx.
#
# Which generation to live in.  A PV list lock has two near it.  pv_gen, of a page's or superpage's list head, has 32
# bits and counts every insertion into the list: with 30 left, a thread that waited while 2**30 mappings came would see
# nothing change, and each insertion would have to spare the lock's bits.  pv_invl_gen, of the superpage's struct, has
# 64 and is a time: the last delayed-invalidation block that unmapped something there.  2**62 blocks do not end; it is
# written once per page unmapped, by the lock's holder, and read without the lock.  So it is the host.

from libc.stdint cimport uint16_t, uint64_t

from finegrain.machine.seam cimport (
    atomic_load, atomic_load_acq, atomic_store_rel, panic, pin, touch_write, unlikely, unpin)
from finegrain.machine.thread cimport MAX_ANONYMOUS, lock_id, thread

cdef enum:
    BIT2_HELD = 1
    # The turnstile of the word's address knows the owner.  Set by the owner only, with the chain locked.
    BIT2_CONTESTED = 2
    BIT2_BITS = 3
    BIT2_SHIFT = 2                      # of the generation

# id: its address is the word, its kind LK_BIT2.  A thread may hold MAX_ANONYMOUS such locks.
cdef void bit2_lock(thread* td, uint64_t* word, const lock_id* id, uint16_t site) noexcept nogil     # may block
cdef bint bit2_trylock(thread* td, uint64_t* word, const lock_id* id, uint16_t site) noexcept nogil
cdef void bit2_unlock(thread* td, uint64_t* word) noexcept nogil
# For machine.leaving: the turnstiles of the locks that td holds get to know it.  No spin lock held; spins.
cdef void bit2_leaving(thread* td) noexcept nogil


# Where td's record has the word; NULL: nowhere.
cdef inline uint64_t** anonymous_slot(thread* td, uint64_t* word) noexcept nogil:
    cdef int i
    for i in range(MAX_ANONYMOUS):
        if td.anonymous[i] == word:
            return &td.anonymous[i]
    return NULL


# Does this thread hold the lock?  The thread's own record tells; the word is not looked at.
#
# Locks in: any.  Locks out: the same.  May block: never.  Stands for: mtx_owned() of such a lock.
cdef inline bint bit2_owned(thread* td, uint64_t* word) noexcept nogil:
    return anonymous_slot(td, word) != NULL


# The generation, with the lock held or not: never torn, as old as the load.
#
# Locks in: any.  Locks out: the same.  May block: never.  Stands for: atomic_load_64() of the host word.
cdef inline uint64_t bit2_value(thread* td, uint64_t* word) noexcept nogil:
    return atomic_load(td, word) >> BIT2_SHIFT


# Change the generation, to one of 62 bits.
#
# While the lock is held, only its holder stores to the word (others' attempts to take it store what is there), so a
# plain store does; but between the load and the store the holder must not leave its CPU, which would set a bit.
#
# Locks in: the lock.  Locks out: the same.  May block: never.  Stands for: atomic_store_64() of the host word.
cdef inline void bit2_set_value(thread* td, uint64_t* word, uint64_t generation) noexcept nogil:
    if unlikely(not bit2_owned(td, word)):
        panic(td, b"changing a generation whose 2-bit lock this thread does not hold")
    pin(td)
    touch_write(td, word)
    atomic_store_rel(word, generation << BIT2_SHIFT | (atomic_load_acq(word) & BIT2_BITS))
    unpin(td)
