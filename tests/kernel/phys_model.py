"""A plain Python model of physical memory: which address every allocation gets, and what is free where.

Pages are page numbers. It knows no locks and no time; where the kernel breaks reservations for want of memory,
the caller says which.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

MAX_ORDER = 12
BUCKET = 253
LOWMEM = 16 << 20 >> 12
DEFAULT, DIRECT = 0, 1


@dataclass
class Reservation:
    """512 pages from `base` on for the object's pages from `pindex` on; `used` are offsets."""

    base: int
    domain: int
    owner: int
    pindex: int
    used: set[int] = field(default_factory=set)
    stamp: int = 0  # when it came to its owner


@dataclass
class Object:
    """Pages by index; `color` -1: no reservations; `grows`: they may run past its end."""

    size: int
    color: int
    grows: bool
    pages: dict[int, int] = field(default_factory=dict)


class Buddy:
    """The free blocks of one domain: {(free list, pool, order): first pages, first to go first}."""

    def __init__(self, segments: list[tuple[int, int, int]]) -> None:
        self.queues: dict[tuple[int, int, int], list[int]] = defaultdict(list)
        self.segments = segments
        for start, end, _ in segments:
            self.free_run(start, end - start)

    def segment(self, page: int) -> tuple[int, int, int]:
        return next(s for s in self.segments if s[0] <= page < s[1])

    def free_pages(self) -> int:
        return sum(len(queue) << key[2] for key, queue in self.queues.items())

    def free(self, page: int, order: int = 0, pool: int = DEFAULT) -> None:
        start, end, freelist = self.segment(page)
        while order < MAX_ORDER:
            buddy = page ^ (1 << order)
            home = next((p for p in (0, 1) if buddy in self.queues[freelist, p, order]), None)
            if not start <= buddy < end or home is None:
                break
            self.queues[freelist, home, order].remove(buddy)
            page = min(page, buddy)
            order += 1
        self.queues[freelist, pool, order].append(page)

    def free_run(self, page: int, count: int) -> None:
        while count:
            order = min(
                MAX_ORDER, (page & -page).bit_length() - 1 if page else MAX_ORDER, count.bit_length() - 1
            )
            self.free(page, order)
            page += 1 << order
            count -= 1 << order

    def take_block(self, freelist: int, pool: int, low: int) -> tuple[int, int] | None:
        """Take the smallest sufficient block of the pool, else the largest of either: (page, order)."""
        own = [(freelist, pool, order) for order in range(low, MAX_ORDER + 1)]
        any_pool = [(freelist, p, order) for order in range(MAX_ORDER, low - 1, -1) for p in (0, 1)]
        for key in own + any_pool:
            if self.queues[key]:
                return self.queues[key].pop(0), key[2]
        return None

    def alloc(self, pool: int, order: int) -> int | None:
        for freelist in range(3):
            block = self.take_block(freelist, pool, order)
            if block is not None:
                page, have = block
                for smaller in range(have - 1, order - 1, -1):
                    self.queues[freelist, pool, smaller].append(page + (1 << smaller))
                return page
        return None

    def alloc_singles(self, pool: int, count: int) -> list[int]:
        pages: list[int] = []
        for freelist in range(3):
            while len(pages) < count:
                block = self.take_block(freelist, pool, 0)
                if block is None:
                    break
                page, order = block
                size = 1 << order
                need = min(count - len(pages), size)
                pages += range(page, page + need)
                page += need
                while page & (size - 1):
                    rest = (page & -page).bit_length() - 1
                    self.queues[freelist, pool, rest].append(page)
                    page += 1 << rest
        return pages


class Model:
    """Domains, per-CPU caches, reservations and objects."""

    def __init__(self, segments: list[tuple[int, int, int]]) -> None:
        self.buddies = []
        for domain in range(1 + max(domain for _, _, domain in segments)):
            mine = []
            for start, end, d in segments:
                if d == domain:
                    cuts = [start >> 12, *([LOWMEM] if start >> 12 < LOWMEM < end >> 12 else []), end >> 12]
                    mine += [(a, b, 2 if b <= LOWMEM else 0) for a, b in pairwise(cuts)]
            self.buddies.append(Buddy(mine))
        self.total = sum(b.free_pages() for b in self.buddies)
        # Each cache is an alloc bucket and a free bucket; None: that bucket has yet to be made.
        self.caches: dict[tuple[int, int, int], list[list[int] | None]] = defaultdict(lambda: [None, None])
        self.reservations: dict[int, Reservation] = {}
        self.objects: list[Object] = []
        self.stamp = 0
        self.cached: dict[int, int] = {}  # allocated pages that came out of a cache -> pool
        self.uncached: dict[int, int] = {}  # other allocated pages -> pool

    def domain_of(self, page: int) -> int:
        return next(d for d, b in enumerate(self.buddies) if any(s[0] <= page < s[1] for s in b.segments))

    def free_count(self, domain: int) -> int:
        unused = sum(512 - len(r.used) for r in self.reservations.values() if r.domain == domain)
        return self.buddies[domain].free_pages() + unused

    # --- single pages

    def cache_alloc(self, cpu: int, domain: int, pool: int) -> int | None:
        cache = self.caches[cpu, domain, pool]
        if not cache[0]:
            if cache[1]:
                cache.reverse()
            elif self.free_count(domain) >= BUCKET:
                cache[0] = self.buddies[domain].alloc_singles(pool, BUCKET) or cache[0]
        return cache[0].pop() if cache[0] else None

    def cache_free(self, cpu: int, domain: int, pool: int, page: int) -> None:
        cache = self.caches[cpu, domain, pool]
        if cache[0] is not None and len(cache[0]) < BUCKET:
            cache[0].append(page)
            return
        if cache[1] is not None and len(cache[1]) == BUCKET:
            for full in cache[1]:
                self.buddies[domain].free(full, 0, pool)
            cache[1] = None
        cache[1] = [*(cache[1] or []), page]

    def alloc_single(self, cpu: int, domain: int, pool: int, oldest: list[int]) -> int | None:
        """`oldest`: bases of the domain's partly populated reservations, least recently changed first."""
        oldest = list(oldest)
        while True:
            page = self.cache_alloc(cpu, domain, pool)
            if page is not None:
                self.cached[page] = pool
                return page
            if self.free_count(domain) == 0:
                return None
            page = self.buddies[domain].alloc(pool, 0)
            if page is not None:
                self.uncached[page] = pool
                return page
            if not oldest:
                return None
            self.dissolve(self.reservations[oldest.pop(0)])

    # --- reservations

    def dissolve(self, r: Reservation) -> None:
        offset = 0
        while offset < 512:
            run = 0
            while offset + run < 512 and offset + run not in r.used:
                run += 1
            self.buddies[r.domain].free_run(r.base + offset, run)
            offset += run or 1
        del self.reservations[r.base]

    def reservation_of(self, page: int | None) -> Reservation | None:
        return None if page is None else self.reservations.get(page & ~511)

    def neighbours(self, obj: Object, pindex: int) -> tuple[int | None, int | None]:
        before = max((i for i in obj.pages if i < pindex), default=None)
        after = min((i for i in obj.pages if i > pindex), default=None)
        return before, after

    def covering(self, owner: int, pindex: int) -> Reservation | None:
        """The reservation of a neighbour of pindex that covers pindex."""
        obj = self.objects[owner]
        for index in self.neighbours(obj, pindex):
            r = self.reservation_of(obj.pages.get(index)) if index is not None else None
            if r is not None and r.owner == owner and r.pindex <= pindex < r.pindex + 512:
                return r
        return None

    def reserve(self, owner: int, pindex: int, domain: int) -> int | None:
        obj = self.objects[owner]
        offset = (obj.color + pindex) % 512
        first = pindex - offset
        if pindex < offset or pindex >= obj.size or self.covering(owner, pindex) is not None:
            return None
        before, after = self.neighbours(obj, pindex)
        if before is not None:
            r = self.reservation_of(obj.pages[before])
            if (r.pindex + 512 if r is not None and r.owner == owner else before + 1) > first:
                return None
        if after is not None:
            r = self.reservation_of(obj.pages[after])
            if (r.pindex if r is not None and r.owner == owner else after) < first + 512:
                return None
        if (first + 512 > obj.size and not obj.grows) or self.free_count(domain) == 0:
            return None
        base = self.buddies[domain].alloc(DEFAULT, 9)
        if base is None:
            return None
        self.reservations[base] = Reservation(base, domain, owner, first, {offset}, self.next_stamp())
        self.uncached[base + offset] = DEFAULT
        return base + offset

    # --- operations

    def alloc(self, owner: int, pindex: int, cpu: int, socket: int, oldest: list[list[int]]) -> int | None:
        obj = self.objects[owner]
        page = None
        if obj.color >= 0 and pindex >= (obj.color + pindex) % 512 and pindex < obj.size:
            r = self.covering(owner, pindex)
            if r is not None and pindex - r.pindex not in r.used and self.free_count(r.domain) > 0:
                r.used.add(pindex - r.pindex)
                page = r.base + pindex - r.pindex
                self.uncached[page] = DEFAULT
        for i in range(len(self.buddies)):
            domain = (socket + i) % len(self.buddies)
            if page is None and obj.color >= 0:
                page = self.reserve(owner, pindex, domain)
            if page is None:
                page = self.alloc_single(cpu, domain, DEFAULT, oldest[domain])
        if page is not None:
            obj.pages[pindex] = page
        return page

    def alloc_noobj(self, cpu: int, first: int, oldest: list[list[int]]) -> int | None:
        for i in range(len(self.buddies)):
            domain = (first + i) % len(self.buddies)
            page = self.alloc_single(cpu, domain, DIRECT, oldest[domain])
            if page is not None:
                return page
        return None

    def free(self, page: int, cpu: int) -> None:
        for obj in self.objects:
            for index in [i for i, p in obj.pages.items() if p == page]:
                del obj.pages[index]
        domain = self.domain_of(page)
        if page in self.cached:
            self.cache_free(cpu, domain, self.cached.pop(page), page)
            return
        pool = self.uncached.pop(page)
        r = self.reservation_of(page)
        if r is None:
            self.buddies[domain].free(page, 0, pool)
            return
        r.used.remove(page - r.base)
        if not r.used:
            del self.reservations[r.base]
            self.buddies[domain].free(r.base, 9, DEFAULT)

    def rename(self, page: int, owner: int, pindex: int) -> None:
        old, index = next(
            (o, i) for o, obj in enumerate(self.objects) for i, p in obj.pages.items() if p == page
        )
        del self.objects[old].pages[index]
        self.objects[owner].pages[pindex] = page
        r = self.reservation_of(page)
        if r is not None and r.owner == old and page in self.uncached:
            r.owner = owner
            r.pindex -= index - pindex
            r.stamp = self.next_stamp()

    def break_all(self, owner: int) -> None:
        mine = [r for r in self.reservations.values() if r.owner == owner]
        for r in sorted(mine, key=lambda r: -r.stamp):
            self.dissolve(r)

    def next_stamp(self) -> int:
        self.stamp += 1
        return self.stamp
