# Delayed invalidation, the variant without a lock.
#
# The trouble.  pmap_remove unlinks a pv entry under the PV list lock and flushes the TLBs later, under the pmap lock
# alone.  In between, a thread that starts from the page sees an empty PV list while some CPU can still write the page:
#
#     remover                                     pmap_remove_all(m)
#     -------                                     ------------------
#     DI start: my generation is 8
#     PV list lock { unlink the entry of m;
#                    m's slot = max(slot, 8) }
#                                                 PV list lock { the list is empty }
#                                                 wait: slot 8 > finished 7: somebody has yet to flush m
#     flush the TLBs
#     DI finish: finished = 8
#                                                 8 > 8 no longer holds: m is really unmapped
#
# The queue.  Active blocks form a queue in order of their generations, head first:
#
#     head {gen 7, next A} -> A {gen 8, next B} -> B {gen 9, next none}
#
# A record's gen is that of the block that ends last before its `next` can count as finished.  A thread enters at the
# tail with the tail's gen + 1.  It leaves by handing its gen and its next to its predecessor; if that is the head, the
# head's gen is the finished generation, and everybody up to it has flushed.  So the finished generation moves only
# when all earlier blocks are done.
#
# The words.  FreeBSD changes {gen, next} of a record with a 128-bit compare-and-set.  We pack both, and the mark that
# says "being linked or unlinked: look again", into one 64-bit word, so that the seam's atomic operations do: 40 bits of
# generation, the mark, 23 bits of record number.  Records are 64-byte lines in a table, taken for the span of a block;
# the generation in the word makes a reused record number harmless, as it makes a reused pointer harmless there.
# Contention backs off as lock_delay does.
#
# Difference from FreeBSD, on purpose: a waiter announces itself before it looks again, under the turnstile chain's lock
# that a waker takes too, and so needs no callout that wakes it in case it was missed.

from libc.stdint cimport int64_t, uint8_t, uint64_t

from finegrain.kernel.locks cimport (
    TS_SHARED_QUEUE, TURNSTILE, chain_lock, chain_unlock, turnstile_add, turnstile_block, turnstile_broadcast,
    turnstile_chain, turnstile_chain_of)
from finegrain.kernel.pmap.pt cimport pmap_state
from finegrain.kernel.pmap.pvlock cimport (
    PV_LIST_LOCK_ASSERT, pv_invl_gen_at, pv_invl_gen_of, pv_invl_gen_set, pvlock_state, touch_pointer)
from finegrain.machine.seam cimport (
    arena_alloc, atomic_cas, atomic_cas_acq, atomic_fetchadd, atomic_load, atomic_store, atomic_store_rel, charge,
    panic, pin, set_priority, touch_read, touch_write, unlikely, unpin)

cdef enum:
    RECORDS = 4096                      # blocks open at once; one a running thread is the most that matters
    PVM = 84                            # FreeBSD's priority of a thread that waits in the VM
    MAX_DELAY = 32678                   # lock_delay's cap, in pauses

# A word: gen << 24 | mark << 23 | next.  Record 0 is the head.
cdef enum:
    GEN_SHIFT = 24
    MARK = 1 << 23
    NEXT = (1 << 23) - 1

cdef struct pmap_invl_gen:              # one line
    uint64_t word                       # a
    uint64_t gen                        # s: its own generation, while the block is open
    uint64_t thread_id                  # a: 0: the record is free
    uint8_t saved_priority              # s: 0: the thread's priority was not raised
    uint8_t pad[39]

cdef struct di_state:
    uint64_t waiters                    # a: its address is what they wait for
    uint64_t waited                     # statistics: times that a wait blocked
    pmap_invl_gen* records              # c


cdef inline di_state* di_of(thread* td) noexcept nogil:
    return <di_state*>(<pmap_state*>td.machine.pmap).di


cdef int pmap_di_create(machine* m) except -1:
    cdef di_state* s = <di_state*>arena_alloc(m, sizeof(di_state))
    if sizeof(pmap_invl_gen) != 64:
        raise AssertionError("a delayed-invalidation record must fill a line")
    s.records = <pmap_invl_gen*>arena_alloc(m, RECORDS * sizeof(pmap_invl_gen))
    s.records[0].word = <uint64_t>1 << GEN_SHIFT
    (<pmap_state*>m.pmap).di = s
    return 0


# Twice as many pauses as the last time.
cdef inline int64_t back_off(thread* td, int64_t delay) noexcept nogil:
    delay = 1 if delay == 0 else min(delay * 2, <int64_t>MAX_DELAY)
    charge(td, td.machine.cost.pause, delay)
    return delay


# A free record, marked.  Not simulated: in FreeBSD it is part of the thread.
cdef uint64_t take_record(thread* td, di_state* s) noexcept nogil:
    cdef uint64_t i
    cdef uint64_t n
    for n in range(RECORDS - 1):
        i = 1 + (td.id + n) % (RECORDS - 1)
        if s.records[i].thread_id == 0 and atomic_cas_acq(&s.records[i].thread_id, 0, td.id):
            s.records[i].word = MARK
            return i
    panic(td, b"too many delayed-invalidation blocks at once")
    return 0


# Open a DI block.
#
# Locks in:   any but a chain lock or spin mutex.
# Locks out:  the same.
# May block:  never; spins, with back-off, while others link or unlink their records.
# Guarantees: pages that the thread passes to pmap_delayed_invl_page are not reported as unmapped until it finishes.
# Stands for: FreeBSD pmap_delayed_invl_start_u().
cdef void pmap_delayed_invl_start(thread* td) noexcept nogil:
    cdef di_state* s = di_of(td)
    cdef uint64_t me
    cdef uint64_t last
    cdef uint64_t word
    cdef int64_t delay = 0
    cdef pmap_invl_gen* mine
    if unlikely(td.invl != 0):
        panic(td, b"delayed-invalidation blocks do not nest")
    me = take_record(td, s)
    mine = &s.records[me]
    mine.saved_priority = 0
    if td.priority > PVM:
        mine.saved_priority = td.priority
        set_priority(td, PVM)
    pin(td)                             # others spin until the record is linked
    while True:
        last = 0
        word = atomic_load(td, &s.records[last].word)
        while (word & MARK) == 0 and word & NEXT:
            last = word & NEXT
            word = atomic_load(td, &s.records[last].word)
        if (word & MARK) == 0:
            mine.gen = (word >> GEN_SHIFT) + 1
            touch_write(td, mine)
            mine.word = mine.gen << GEN_SHIFT | MARK
            if atomic_cas(td, &s.records[last].word, word, word | me):
                break
        delay = back_off(td, delay)
    atomic_store(td, &mine.word, mine.gen << GEN_SHIFT)
    unpin(td)
    td.invl = me


# Close the DI block.
#
# Locks in:   any but a chain lock or spin mutex; the block's TLB flush is done.
# Locks out:  the same.
# May block:  never; spins as start does, and on the chain of those who wait.
# Guarantees: waiters for this block's generation, and earlier ones that had finished, go on.
# Stands for: FreeBSD pmap_delayed_invl_finish_u().
cdef void pmap_delayed_invl_finish(thread* td) noexcept nogil:
    cdef di_state* s = di_of(td)
    cdef uint64_t me = td.invl
    cdef uint64_t prev
    cdef uint64_t word
    cdef uint64_t own
    cdef int64_t delay = 0
    cdef pmap_invl_gen* mine = &s.records[me]
    if unlikely(me == 0):
        panic(td, b"leaving a delayed-invalidation block that was not entered")
    pin(td)
    while True:
        prev = 0
        word = atomic_load(td, &s.records[prev].word)
        while (word & MARK) == 0 and word & NEXT and (word & NEXT) != me:
            prev = word & NEXT
            word = atomic_load(td, &s.records[prev].word)
        if (word & (MARK | NEXT)) == me:
            # Nobody may link behind us, or hand us its generation, from here on.
            own = atomic_load(td, &mine.word)
            if (own & MARK) == 0 and atomic_cas(td, &mine.word, own, own | MARK):
                # `own` and not our first generation: a successor may have finished and passed us its own.
                if atomic_cas(td, &s.records[prev].word, word, own):
                    break
                atomic_store(td, &mine.word, own)
        delay = back_off(td, delay)
    unpin(td)
    if mine.saved_priority != 0 and td.priority == PVM:
        set_priority(td, mine.saved_priority)
    td.invl = 0
    atomic_store_rel(&mine.thread_id, 0)
    if atomic_load(td, &s.waiters) != 0:
        wake_waiters(td, s)


# Locks in:   any but a chain lock.
# Locks out:  the same.
# May block:  never; spins on the chain.
# Stands for: the turnstile_broadcast() of FreeBSD pmap_delayed_invl_finish_unblock().
cdef void wake_waiters(thread* td, di_state* s) noexcept nogil:
    cdef turnstile_chain* tc = turnstile_chain_of(td, TURNSTILE, &s.waiters)
    chain_lock(td, tc)
    turnstile_broadcast(td, tc, &s.waiters, TS_SHARED_QUEUE)
    chain_unlock(td, tc)


# Note that the open block, if any, has yet to flush a mapping of m.
#
# Locks in:   the PV list lock of m, for write.
# Locks out:  the same.
# May block:  never.
# Stands for: FreeBSD pmap_delayed_invl_page().
cdef void pmap_delayed_invl_page(thread* td, vm_page* m) noexcept nogil:
    cdef pvlock_state* pvlocks = <pvlock_state*>td.machine.pvlock
    cdef uint64_t* slot
    cdef uint64_t gen
    PV_LIST_LOCK_ASSERT(td, m.phys_addr)
    if td.invl == 0:
        return
    gen = di_of(td).records[td.invl].gen
    touch_pointer(td, pvlocks, m.phys_addr)
    slot = pv_invl_gen_at(pvlocks, m.phys_addr)
    if pv_invl_gen_of(pvlocks, slot) < gen:
        touch_write(td, slot)
        pv_invl_gen_set(td, m.phys_addr, slot, gen)
    else:
        touch_read(td, slot)


# Wait for the blocks that unmapped m.
#
# Locks in:   no PV list lock and no pmap lock; perhaps an object lock.
# Locks out:  the same.
# May block:  until the last of those blocks has finished.  Never sleeps.
# Guarantees: no TLB entry for m lives, unless m was mapped again meanwhile.
# Stands for: FreeBSD pmap_delayed_invl_wait_u().
cdef void pmap_delayed_invl_wait(thread* td, vm_page* m) noexcept nogil:
    cdef di_state* s = di_of(td)
    cdef pvlock_state* pvlocks = <pvlock_state*>td.machine.pvlock
    cdef uint64_t* slot = pv_invl_gen_at(pvlocks, m.phys_addr)
    cdef bint fast = True
    cdef turnstile_chain* tc = turnstile_chain_of(td, TURNSTILE, &s.waiters)
    cdef uint64_t gen
    touch_pointer(td, pvlocks, m.phys_addr)
    touch_read(td, slot)
    gen = pv_invl_gen_of(pvlocks, slot)
    while gen > (atomic_load(td, &s.records[0].word) >> GEN_SHIFT):
        if fast:
            back_off(td, 0)
            fast = False
            continue
        s.waited += 1
        # Announced before the second look: a finisher that we miss now sees us.
        atomic_fetchadd(td, &s.waiters, 1)
        chain_lock(td, tc)
        if gen > (atomic_load(td, &s.records[0].word) >> GEN_SHIFT):
            turnstile_add(td, tc, &s.waiters, NULL, TS_SHARED_QUEUE)
            chain_unlock(td, tc)
            turnstile_block(td)
        else:
            chain_unlock(td, tc)
        atomic_fetchadd(td, &s.waiters, <uint64_t>-1)
