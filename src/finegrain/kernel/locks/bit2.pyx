# The lock in two bits.  See bit2.pxd.
#
# The trouble.  A mutex lends its waiters' priority to its owner, and spins while that owner runs, because its word says
# who the owner is.  Two bits do not.  Where 2-bit locks are in use today (Linux's bit_spinlock, WebKit's WTF::Lock,
# parking_lot), nobody knows the owner: they spin without end, or block and lend nothing.
#
# The idea.  Nobody needs the owner's name while it runs: its waiters spin, and there is nothing to lend to a thread
# that has a CPU.  The name is needed from the moment that the owner leaves its CPU, and just then there is somebody who
# knows it: the owner.  So a thread remembers which such locks it holds (td.anonymous), and before it leaves its CPU -
# it blocks on another lock, its slice ends, a better thread preempts it - it makes itself known at the turnstile of the
# word's address, and sets the contested bit.  Spinners see the word change, go to the turnstile, find the owner there
# with one look-up, see that it does not run, queue, and lend it their priority; if it waits for a lock itself, the loan
# goes on along the chain of owners, as for any mutex.  A release that finds the bit set clears both bits with the chain
# locked, wakes all who queued, and the turnstile goes.
#
#     owner                                waiter                               urgent waiter
#     -----                                ------                               -------------
#     lock: 0 -> held, remembered
#                                          held: spins on the word
#     blocks on another lock: it is queued,
#       and then, before it leaves its CPU,
#       chain lock { contested; the
#         turnstile's owner is this thread }
#       off its CPU
#                                          the word has changed
#                                          chain lock { contested still; the
#                                            owner does not run: queue, lend }
#                                          off its CPU
#                                                                               contested: chain lock { queue, lend:
#                                                                                 the owner, and who it waits for }
#     back on a CPU, priority lent
#                                          (a newcomer now finds the owner
#                                           running, and spins on it by name)
#     unlock: contested, so chain lock {
#       free; wake all; own priority again;
#       the turnstile goes }; forgotten
#                                          race for the lock, newcomers too
#
# Why it is right.
#
#   Who stores to the word.  While the lock is held, its holder alone: the held bit is set by who finds it clear, the
#   contested bit by the holder when it leaves its CPU, both are cleared and the generation is changed by the holder.
#   So a holder's stores need be no atomic read-modify-writes, except that it must not leave its CPU between looking at
#   the bits and storing them: it is pinned there.  (An attempt to take a held lock is an atomic "or" of a bit that is
#   set: it stores back what it found, or loses to the holder's store.)
#
#   No lost wake-up.  invariant: with the chain locked, contested is set if and only if the word has a turnstile, and
#   that knows the owner.  A waiter queues only when it has seen the bit with the chain locked; the release that clears
#   it takes that lock, and wakes whom it finds.
#
#   Not running, and not yet known.  Cannot be seen: a thread makes itself known while it runs.  Until then spinners
#   spin, and it is on its CPU; it gets through soon, for chain locks are held for short and by threads that cannot be
#   preempted.  The other way about, an owner that made itself known and is back (or never left, because it was woken
#   just then) is found running: waiters spin on it by name, and see it leave again without another word from it.
#
#   No deadlock with chain locks.  A thread makes itself known before it parks and after it let go of the chain in which
#   it queued; it holds one chain lock at a time.  Where it is preempted it holds none: a spin lock forbids that.  If
#   the chain is locked by somebody else just then, it spins for it, as for any; to be preempted some hundred
#   nanoseconds later harms nobody, and to leave unknown would leave waiters spinning for a thread that does not run.
#
#   Taken and not yet remembered, free and not yet forgotten.  In between the thread is pinned too.
#
#   The owner that a spinner looked up may let go, and another take the lock and become known, with the same generation:
#   the word does not tell.  So that spin is bounded; then the turnstile is asked again.
#
# What it costs.  An acquisition that meets nobody: an atomic "or" (one instruction: lock bts, ldset), a look at the
# thread's record and one store to it, to remember the lock.  A release: one store to the word, one to the record.
# Around each the thread is pinned for a few instructions (critical_enter and critical_exit: a counter of its own).
# td.held has the lock too, but that is the profile's; a production kernel has no such list, so the record is counted as
# work here.  Leaving the CPU with the lock held, which is rare, costs a chain lock, a turnstile and a slow release,
# whether or not anybody waits; a thread that then blocks needs two turnstiles at once, where FreeBSD gives each thread
# one: another 128 bytes a thread, or a record of three words.  Finding the owner costs a waiter one look-up in a hash
# chain.
#
# In FreeBSD a thread that blocks keeps its thread lock from the queueing to the switch, so there it would make itself
# known before it queues.  That is as good: known too early, it is found running, and spun for by name.

from libc.stdint cimport uint16_t, uint64_t

from finegrain.kernel.locks.delay cimport delay_init
from finegrain.kernel.locks.profile cimport (
    LK_BIT2, lock_kind_owner, lock_profile_failed, lock_profile_holding, lock_profile_releasing, profile_wait_begin)
from finegrain.kernel.locks.turnstile cimport (
    TS_EXCLUSIVE_QUEUE, TURNSTILE, chain_lock, chain_unlock, turnstile_add, turnstile_block, turnstile_broadcast,
    turnstile_chain, turnstile_chain_of, turnstile_owner, turnstile_publish)
from finegrain.machine.seam cimport (
    atomic_fetchor, atomic_load, atomic_load_acq, atomic_store, charge, panic, pin, running, sched_point,
    spin_until_changed, unlikely, unpin, word_changed)
from finegrain.machine.thread cimport lock_delay_arg, lock_id, thread


# The owner, for those who ask while others stand still (deadlocks): the thread that remembers the lock.
cdef thread* bit2_owner_at(thread* td, const void* address) noexcept nogil:
    cdef thread* other = td.machine.threads
    while other != NULL and anonymous_slot(other, <uint64_t*>address) == NULL:
        other = other.all_next
    return other


lock_kind_owner(LK_BIT2, bit2_owner_at)


# Set the held bit, and remember the lock.
#
# Locks in:   any but this one.
# Locks out:  the lock, when the answer is True.
# May block:  never.
# Stands for: the compare-and-set of FreeBSD mtx_lock().
cdef inline bint take(thread* td, uint64_t* word) noexcept nogil:
    cdef uint64_t** slot
    pin(td)
    if atomic_fetchor(td, word, BIT2_HELD) & BIT2_HELD:
        unpin(td)
        return False
    slot = anonymous_slot(td, NULL)
    if unlikely(slot == NULL):
        panic(td, b"too many 2-bit locks held at once")
    slot[0] = word
    charge(td, td.machine.cost.op, 1)
    unpin(td)
    return True


# Take the lock.
#
# Locks in:   not this one (no recursion); no spin lock.
# Locks out:  the lock too.
# May block:  on the lock: spins while its owner runs, else on the turnstile.
# Stands for: FreeBSD mtx_lock() of such a lock.
cdef void bit2_lock(thread* td, uint64_t* word, const lock_id* id, uint16_t site) noexcept nogil:
    if not take(td, word):
        bit2_lock_hard(td, word, id, site)
    lock_profile_holding(td, id[0], site, False, False)


# The contended half of bit2_lock(): spin until the owner leaves its CPU and says who it is, then block.
#
# Locks in:   not this one.
# Locks out:  the lock too.
# May block:  on the lock: spins while its owner runs, else on the turnstile.
# Stands for: FreeBSD __mtx_lock_sleep() of such a lock.
cdef void bit2_lock_hard(thread* td, uint64_t* word, const lock_id* id, uint16_t site) noexcept nogil:
    cdef lock_delay_arg delay
    cdef turnstile_chain* tc
    cdef thread* owner
    cdef uint64_t v = atomic_load(td, word)
    if unlikely(bit2_owned(td, word)):
        panic(td, b"locking a 2-bit lock that this thread holds")
    profile_wait_begin(td, id, site, False)
    delay_init(td, &delay)
    while True:
        if not v & BIT2_HELD:
            if take(td, word):
                return
        elif not v & BIT2_CONTESTED:
            spin_until_changed(td, word, v, NULL, &delay, 0)
        else:
            tc = turnstile_chain_of(td, TURNSTILE, word)
            chain_lock(td, tc)
            v = atomic_load(td, word)
            if v & BIT2_CONTESTED:
                owner = turnstile_owner(td, tc, word)
                if unlikely(owner == NULL):
                    panic(td, b"a contested 2-bit lock whose turnstile does not know the owner")
                if running(owner):
                    chain_unlock(td, tc)
                    delay.spin_cnt = 0
                    spin_until_changed(td, word, v, owner, &delay, delay.max)
                else:
                    turnstile_add(td, tc, word, owner, TS_EXCLUSIVE_QUEUE)
                    chain_unlock(td, tc)
                    turnstile_block(td)
            else:
                chain_unlock(td, tc)
        v = atomic_load(td, word)


# Take the lock if it is free.
#
# Locks in:   any but this one.
# Locks out:  the lock too, when the answer is True.
# May block:  never.
# Stands for: FreeBSD mtx_trylock() of such a lock.
cdef bint bit2_trylock(thread* td, uint64_t* word, const lock_id* id, uint16_t site) noexcept nogil:
    if take(td, word):
        lock_profile_holding(td, id[0], site, False, False)
        return True
    lock_profile_failed(td, id[0], site)
    return False


# Give the lock up; all its waiters wake.
#
# Locks in:   the lock.
# Locks out:  none of it.
# May block:  never; spins on the chain.
# Stands for: FreeBSD mtx_unlock(), __mtx_unlock_sleep() of such a lock.
cdef void bit2_unlock(thread* td, uint64_t* word) noexcept nogil:
    cdef turnstile_chain* tc = NULL
    cdef uint64_t v
    sched_point(td)
    if unlikely(not bit2_owned(td, word)):
        panic(td, b"unlocking a 2-bit lock that this thread does not hold")
    lock_profile_releasing(td, word)
    pin(td)
    charge(td, td.machine.cost.op, 1)
    v = atomic_load_acq(word)
    if unlikely(v & BIT2_CONTESTED):
        tc = turnstile_chain_of(td, TURNSTILE, word)
        chain_lock(td, tc)
    atomic_store(td, word, v & ~<uint64_t>BIT2_BITS)
    word_changed(td, word)
    anonymous_slot(td, word)[0] = NULL
    if unlikely(tc != NULL):
        turnstile_broadcast(td, tc, word, TS_EXCLUSIVE_QUEUE)
        chain_unlock(td, tc)
    unpin(td)


# td is about to leave its CPU: those who look for the owners of its 2-bit locks find it from here on.
#
# Locks in:   any but a chain lock or spin mutex.
# Locks out:  the same.
# May block:  never; spins on the chains.
# Stands for: nothing in FreeBSD; its places would be before turnstile_trywait(), sleepq_add(), and mi_switch() where
#             a thread is preempted, all while its own lock is not yet held.
cdef void bit2_leaving(thread* td) noexcept nogil:
    cdef turnstile_chain* tc
    cdef uint64_t* word
    cdef uint64_t v
    cdef int i
    pin(td)                             # preempted meanwhile, it would come here again
    for i in range(MAX_ANONYMOUS):
        word = td.anonymous[i]
        if word == NULL:
            continue
        v = atomic_load_acq(word)
        if v & BIT2_CONTESTED:
            continue                    # known since it left last
        tc = turnstile_chain_of(td, TURNSTILE, word)
        chain_lock(td, tc)
        turnstile_publish(td, tc, word)
        atomic_store(td, word, v | BIT2_CONTESTED)
        word_changed(td, word)
        chain_unlock(td, tc)
    sched_point(td)                     # it leaves when others have come as far
    unpin(td)
