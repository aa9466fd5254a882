# A mutex in one word of 8 bytes: what a mutex is once its name, flags and counts are not kept beside it.  mtx is the
# same with a lock_object in front, 32 bytes, and runs on the functions below.
#
# It promises what a mutex promises: adaptive spinning, blocking, waking, priority lent to its owner and through chains
# of owners, recursion refused, an owner to be asserted, a profile.  All of that is in the word (the owner and a bit),
# in the turnstile, which is found by address, and in what the caller says.  What the 24 bytes of FreeBSD's lock_object
# hold, and where it is when they are not there:
#
#   lo_name      8  the locks of a table have one name: `id`, which the caller fills in from a constant and the address
#   lo_flags     4  likewise.  A sleep mutex that does not recurse is what this is; LO_DUPOK and the like are the
#   table's lo_data      4  the recursion count: recursion is refused lo_witness   8  a witness belongs to a name, and
#   the list of locks that a thread holds has the name with the address
#
# So what is given up: a lock cannot say what it is to somebody who has only a pointer (a debugger, ddb's `show lock`,
# a lockstat probe, code that takes any lock_object); each caller has to know which table its word is in.  And no two
# locks of a table differ but by address.  What is not given up is time: the fast paths are the same instructions.

from libc.stdint cimport uint16_t, uint64_t

from finegrain.machine.seam cimport atomic_load_acq
from finegrain.machine.thread cimport lock_id, thread

cdef enum:
    # mtx words (FreeBSD sys/mutex.h)
    MTX_UNOWNED = 0
    MTX_CONTESTED = 2
    MTX_FLAGMASK = 7

# id: its address is the word, or that of the mtx which the word is in; its kind is LK_MTX8 or LK_MTX.
cdef void mtx8_lock(thread* td, uint64_t* word, const lock_id* id, uint16_t site) noexcept nogil     # may block
cdef bint mtx8_trylock(thread* td, uint64_t* word, const lock_id* id, uint16_t site) noexcept nogil
# address: the one in the lock's identity
cdef void mtx8_unlock_at(thread* td, uint64_t* word, const void* address) noexcept nogil


cdef inline thread* mtx8_owner(uint64_t v) noexcept nogil:
    return <thread*>(v & ~<uint64_t>MTX_FLAGMASK)


# Locks in:   the mutex, known by the address of its word.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD mtx_unlock(), __mtx_unlock_sleep().
cdef inline void mtx8_unlock(thread* td, uint64_t* word) noexcept nogil:
    mtx8_unlock_at(td, word, word)


# Does this thread hold the mutex?
#
# Locks in: any.  Locks out: the same.  May block: never.  Stands for: FreeBSD mtx_owned().
cdef inline bint mtx8_owned(thread* td, uint64_t* word) noexcept nogil:
    return mtx8_owner(atomic_load_acq(word)) == td
