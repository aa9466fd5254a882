# Sleeping on a channel.  See sleepq.pxd.

from libc.stdint cimport uint16_t

from finegrain.kernel.locks.mtx cimport mtx_lock, mtx_unlock
from finegrain.kernel.locks.sx cimport sx_xlock, sx_xunlock
from finegrain.kernel.locks.turnstile cimport (
    SLEEPQUEUE, TS_EXCLUSIVE_QUEUE, chain_lock, chain_unlock, turnstile_add, turnstile_block, turnstile_broadcast,
    turnstile_chain, turnstile_chain_of)


# Be queued on a channel.
#
# Locks in:   any but a chain lock.
# Locks out:  the same.
# May block:  never; spins on the chain.  turnstile_block() must follow.
# Stands for: FreeBSD sleepq_lock(), sleepq_add().
cdef void sleep_begin(thread* td, const void* channel) noexcept nogil:
    cdef turnstile_chain* tc = turnstile_chain_of(td, SLEEPQUEUE, channel)
    chain_lock(td, tc)
    turnstile_add(td, tc, channel, NULL, TS_EXCLUSIVE_QUEUE)
    chain_unlock(td, tc)


# Sleep until wakeup(channel).  Queued before the interlock is dropped, so no wakeup is lost.
#
# Locks in:   if one is given, the interlock; no other lock that may not be held across a sleep.
# Locks out:  the interlock again.
# May block:  sleeps; then on the interlock.
# Stands for: FreeBSD msleep(9) without timeout or signals.
cdef void msleep(thread* td, const void* channel, mtx* interlock, uint16_t site) noexcept nogil:
    sleep_begin(td, channel)
    if interlock != NULL:
        mtx_unlock(td, interlock)
    turnstile_block(td)
    if interlock != NULL:
        mtx_lock(td, interlock, site)


# Sleep until wakeup(channel), with an sx lock as the interlock.
#
# Locks in:   if one is given, the interlock exclusively; no mtx or rw lock.
# Locks out:  the interlock again.
# May block:  sleeps; then sleeps on the interlock.
# Stands for: FreeBSD sx_sleep(9) without timeout or signals.
cdef void sleep_sx(thread* td, const void* channel, sx* interlock, uint16_t site) noexcept nogil:
    sleep_begin(td, channel)
    if interlock != NULL:
        sx_xunlock(td, interlock)
    turnstile_block(td)
    if interlock != NULL:
        sx_xlock(td, interlock, site)


# Wake all who sleep on a channel.
#
# Locks in:   any but a chain lock.
# Locks out:  the same.
# May block:  never; spins on the chain.
# Stands for: FreeBSD wakeup(9).
cdef void wakeup(thread* td, const void* channel) noexcept nogil:
    cdef turnstile_chain* tc = turnstile_chain_of(td, SLEEPQUEUE, channel)
    chain_lock(td, tc)
    turnstile_broadcast(td, tc, channel, TS_EXCLUSIVE_QUEUE)
    chain_unlock(td, tc)
