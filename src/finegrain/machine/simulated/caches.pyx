# What is in which cache, by age.  See caches.pxd.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from finegrain.machine.simulated.coherence cimport line_age, line_left_here, line_of, unlikely
from finegrain.machine.simulated.types cimport AGE_SHIFT, CACHE_MARKS, LINE_SHIFT, cache_clock, caches, sim_thread
from finegrain.machine.thread cimport LINE_CROSS, LINE_HIT, LINE_MEMORY, LINE_SIBLING, LINE_SOCKET, cost_model

cdef enum:
    LINE = 1000                         # fills are counted in thousandths of a line
    PS_PER_US = 1000000
    PAGE_SHIFT = 12

cdef int64_t NEVER = -(<int64_t>1 << 62)


cdef void clock_init(cache_clock* k, int64_t lines) noexcept nogil:
    cdef int i
    k.step = lines * LINE // CACHE_MARKS
    k.left = k.step
    k.horizon = NEVER
    for i in range(CACHE_MARKS):
        k.marks[i] = NEVER


cdef bint caches_create(sim* s) noexcept nogil:
    cdef cost_model* cost = &s.m.cost
    cdef uint32_t cores = s.m.ndomains * s.cores_per_socket
    cdef uint32_t i
    s.core_caches = <caches*>calloc(cores, sizeof(caches))
    s.chips = <cache_clock*>calloc(s.m.ndomains, sizeof(cache_clock))
    if s.core_caches == NULL or s.chips == NULL:
        return False
    for i in range(s.m.ndomains):
        clock_init(&s.chips[i], (cost.llc_lines + cost.l2_lines) * s.cores_per_socket if cost.llc_lines != 0 else 0)
    for i in range(cores):
        clock_init(&s.core_caches[i].l1, cost.l1_lines)
        clock_init(&s.core_caches[i].l2, cost.l2_lines)
        s.core_caches[i].chip = &s.chips[i // s.cores_per_socket]
    for i in range(s.m.ncpus):
        s.cpus[i].cache = &s.core_caches[s.cpus[i].core]
    return True


cdef void caches_destroy(sim* s) noexcept nogil:
    free(s.core_caches)
    free(s.chips)


# Lines (thousandths) have come in by `when`.
cdef inline void fill(cache_clock* k, int64_t amount, int64_t when) noexcept nogil:
    if k.step == 0:
        return
    k.left -= amount
    for _ in range(CACHE_MARKS):
        if k.left > 0:
            return
        k.left += k.step
        k.horizon = k.marks[k.next]
        k.marks[k.next] = when
        k.next = (k.next + 1) % CACHE_MARKS
    if k.left <= 0:                     # more than it holds
        k.horizon = when
        k.left = k.step


cdef inline bint holds(cache_clock* k, int64_t age, int64_t when) noexcept nogil:
    return age <= when - k.horizon


# The socket whose memory the line lies in.  Of the direct map each has an equal share, in order (memory.py); other
# kernel memory is spread over them page by page [A].
cdef inline uint16_t home(sim* s, line* at) noexcept nogil:
    cdef uint64_t offset = <uint64_t>(at - s.lines) << LINE_SHIFT
    if offset < s.m.dmap_size:
        return <uint16_t>(offset // (s.m.dmap_size // s.m.ndomains + 1))
    return <uint16_t>((offset >> PAGE_SHIFT) % s.m.ndomains)


cdef ps_t line_miss(thread* td, line* at, bint write) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    cdef cpu* c = (<sim_thread*>td).cpu
    cdef cost_model* cost = &s.m.cost
    cdef int64_t when = (<sim_thread*>td).clock >> AGE_SHIFT
    cdef int64_t age = line_age(at, when)
    cdef uint16_t me = c.id + 1
    cdef uint16_t bit = <uint16_t>(1 << (c.socket & 15))
    cdef uint16_t last
    cdef cpu* owner
    cdef bint far, private
    cdef ps_t t
    cdef uint8_t kind
    cdef bint left = line_left_here(at, c, write)
    at.used = <uint64_t>when
    fill(&c.cache.l1, LINE, when)
    if holds(&c.cache.l2, age, when) and left:
        c.lines[LINE_HIT] += 1
        c.last_line = LINE_HIT
        return cost.l2_hit
    c.last_taken = not left
    fill(&c.cache.l2, LINE, when)
    private = False                     # is it in a core's own caches, as far as the last who used it can tell
    if at.owner == 0:
        kind = LINE_MEMORY
    else:
        owner = &s.cpus[at.owner - 1]
        last = at.owner if at.sharers == 0 else at.reader
        private = holds(&s.cpus[last - 1].cache.l2, age, when)
        far = owner.socket != c.socket or (write and at.sharers & ~bit)
        if not write and at.sharers & bit and holds(c.cache.chip, age, when):
            kind = LINE_SOCKET
            t = cost.llc_hit
        elif not private and not holds(owner.cache.chip, age, when):
            kind = LINE_MEMORY
        elif far:
            kind = LINE_CROSS
            t = cost.xfer_cross if private and (write or at.sharers == 0) else cost.share_cross
        elif not private:
            kind = LINE_SOCKET
            t = cost.llc_hit
        elif at.owner != me and owner.core == c.core:
            kind = LINE_SIBLING
            t = cost.xfer_smt
        else:                           # (if it is its own: clean copies must be invalidated)
            kind = LINE_SOCKET
            t = cost.xfer_socket if write or at.sharers == 0 else cost.share_socket
    if kind == LINE_MEMORY:
        t = cost.dram_local
        if cost.dram_remote != 0 and home(s, at) != c.socket:
            t = cost.dram_remote
        fill(c.cache.chip, LINE, when)
    c.lines[kind] += 1
    c.last_line = kind
    if write or not private:             # the only copy: writing it next is a hit
        at.owner = me
        at.reader = 0
        at.sharers = 0
    else:
        at.reader = me
        at.sharers |= bit
    if unlikely(cost.adjacent_line != 0):
        fetch_buddy(s, c, &s.lines[(at - s.lines) ^ 1], when)
    return t


# The spatial prefetcher: a request that leaves an L2 brings the other line of the aligned pair too, for reading, at no
# cost to who waits for the first.  Whoever had that one to itself, to write, has so no longer.
cdef void fetch_buddy(sim* s, cpu* c, line* at, int64_t when) noexcept nogil:
    cdef int64_t age = line_age(at, when)
    cdef uint16_t me = c.id + 1
    cdef uint16_t last = at.owner if at.sharers == 0 else at.reader
    cdef bint private = at.owner != 0 and holds(&s.cpus[last - 1].cache.l2, age, when)
    if private and (line_left_here(at, c, False) or s.cpus[last - 1].core == c.core):
        return
    fill(&c.cache.l2, LINE, when)
    if private:
        at.reader = me
        at.sharers |= <uint16_t>(1 << (c.socket & 15))
    else:                               # from the last-level cache or memory: the only copy
        if at.owner == 0 or not holds(s.cpus[at.owner - 1].cache.chip, age, when):
            fill(c.cache.chip, LINE, when)
        at.owner = me
        at.reader = 0
        at.sharers = 0
    at.used = <uint64_t>when


cdef void user_fills(sim* s, cpu* c, ps_t duration, ps_t clock) noexcept nogil:
    cdef int64_t when = clock >> AGE_SHIFT
    fill(&c.cache.l1, duration * s.m.cost.user_l1_fills // PS_PER_US, when)
    fill(&c.cache.l2, duration * s.m.cost.user_l2_fills // PS_PER_US, when)
    fill(c.cache.chip, duration * s.m.cost.user_llc_fills // PS_PER_US, when)


cdef void sim_fill(thread* td, int64_t lines) noexcept nogil:
    cdef cpu* c = (<sim_thread*>td).cpu
    cdef int64_t when = (<sim_thread*>td).clock >> AGE_SHIFT
    fill(&c.cache.l1, lines * LINE, when)
    fill(&c.cache.l2, lines * LINE, when)
    fill(c.cache.chip, lines * LINE, when)


cdef void sim_touch_page(thread* td, const void* page) noexcept nogil:
    cdef cpu* c = (<sim_thread*>td).cpu
    cdef line* at = line_of(<sim*>td.machine, page)
    cdef int64_t when = (<sim_thread*>td).clock >> AGE_SHIFT
    cdef int i
    for i in range(1 << (PAGE_SHIFT - LINE_SHIFT)):
        at[i].owner = c.id + 1
        at[i].reader = 0
        at[i].sharers = 0
        at[i].used = <uint64_t>when
    sim_fill(td, 1 << (PAGE_SHIFT - LINE_SHIFT))
