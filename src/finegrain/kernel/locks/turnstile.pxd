# Turnstiles and sleep queues: where threads that wait off the CPU are queued, by the address they wait for.
#
# Both are hash chains of queues behind a spin lock each.  A turnstile knows the owner of its lock, sorts its
# waiters by priority and lends the owner the best one's; a sleep queue is the same without an owner.
#
# A waiter:  chain_lock -> look at the word again -> turnstile_add -> chain_unlock -> turnstile_block.
# A waker:   chain_lock -> store the free word -> turnstile_broadcast -> chain_unlock.
# The chain lock makes the second look and the queueing one step, so no wake-up is lost.
#
# The chain locks are not profiled: the time they cost is part of the wait, or hold, that they serve.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from finegrain.machine.thread cimport machine, thread

cdef enum:
    TC_TABLESIZE = 128                  # FreeBSD subr_turnstile.c
    SC_TABLESIZE = 256                  # FreeBSD subr_sleepqueue.c
    TURNSTILE = 0                       # kinds
    SLEEPQUEUE = 1
    TS_EXCLUSIVE_QUEUE = 0
    TS_SHARED_QUEUE = 1

cdef struct turnstile

cdef struct turnstile_chain:            # on a cache line of its own
    uint64_t tc_lock                    # 0 or the thread that holds it
    turnstile* tc_turnstiles            # c: the chain lock
    uint8_t tc_kind                     # constant: TURNSTILE or SLEEPQUEUE
    uint8_t pad[47]

cdef struct turnstile:
    const void* ts_address              # c: the lock, or the sleep channel
    thread* ts_owner                    # c: who borrows from its waiters; NULL: unknown (readers) or a sleep queue
    thread* ts_first[2]                 # c: waiters by queue, best priority first
    thread* ts_last[2]
    turnstile* ts_next                  # c: chain
    turnstile* ts_contested_next        # owner's list of turnstiles it borrows from
    turnstile_chain* ts_chain           # constant while in use
    uint32_t ts_waiters                 # c

cdef turnstile_chain* turnstile_chain_of(thread* td, int kind, const void* address) noexcept nogil
cdef void chain_lock(thread* td, turnstile_chain* tc) noexcept nogil                # spins
cdef void chain_unlock(thread* td, turnstile_chain* tc) noexcept nogil
# With the chain locked:
cdef turnstile* turnstile_lookup(thread* td, turnstile_chain* tc, const void* address) noexcept nogil
# Queue td and lend the owner its priority (sleep queues have no owner: NULL).
cdef void turnstile_add(thread* td, turnstile_chain* tc, const void* address, thread* owner, int queue) noexcept nogil
# No chain locked: leave the CPU until woken from the queue.  The time goes to td.blocked.
cdef void turnstile_block(thread* td) noexcept nogil
# A new owner took the lock although threads still wait (its word kept their bits).
cdef void turnstile_claim(thread* td, turnstile_chain* tc, const void* address) noexcept nogil
# td owns the lock, whether threads wait or not; until the broadcast, the turnstile knows.
cdef void turnstile_publish(thread* td, turnstile_chain* tc, const void* address) noexcept nogil
# Who owns the lock, as far as its turnstile knows; NULL: nobody is known.
cdef thread* turnstile_owner(thread* td, turnstile_chain* tc, const void* address) noexcept nogil
# td owns the lock no longer although threads still wait; it gives lent priority back.
cdef void turnstile_disown(thread* td, turnstile_chain* tc, const void* address) noexcept nogil
# Wake every thread of a queue; the owner gives lent priority back.
cdef void turnstile_broadcast(thread* td, turnstile_chain* tc, const void* address, int queue) noexcept nogil

cdef int turnstiles_create(machine* m) except -1
