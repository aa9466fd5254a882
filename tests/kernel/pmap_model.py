"""The pmap in plain Python: what each operation must leave behind, without locks, page tables or time."""

from __future__ import annotations

from dataclasses import dataclass, field

PAGE, SUPER, PAGES = 4096, 1 << 21, 512
V, RW, U, A, M, PS, MANAGED, W = 0x1, 0x2, 0x4, 0x20, 0x40, 0x80, 0x400, 0x800
PROMOTED, NX = 1 << 54, 1 << 63
FRAME = 0x000FFFFFFFFFF000
PROMOTE = NX | MANAGED | W | M | A | U | RW | V
READ, WRITE, EXECUTE = 1, 2, 4
WIRED = 0x200
CHUNK = 168
ALL_FREE = (1 << CHUNK) - 1
ENOUGH_REFERENCES, QUICK = 5, 16


def up(va: int) -> int:
    """The superpage boundary above an address."""
    return va // SUPER * SUPER + SUPER


class Chunk:
    """168 entries; a set bit is free."""

    def __init__(self) -> None:
        self.free = ALL_FREE
        self.used: dict[int, int] = {}  # index -> va


@dataclass
class Pmap:
    """A pmap: leaf entries by va, pv chunks in list order, saved page tables."""

    offset: int
    ptes: dict[int, tuple[int, int]] = field(default_factory=dict)  # va -> (entry, pages)
    chunks: list[Chunk] = field(default_factory=list)
    where: dict[int, tuple[Chunk, int]] = field(default_factory=dict)  # va -> its pv entry
    saved: set[int] = field(default_factory=set)

    @property
    def resident(self) -> int:
        return sum(pages for _, pages in self.ptes.values())

    @property
    def wired(self) -> int:
        return sum(pages for entry, pages in self.ptes.values() if entry & W)

    @property
    def ptps(self) -> int:
        tables = {va >> 21 for va, (_, pages) in self.ptes.items() if pages == 1}
        return (
            1
            + len(tables)
            + len({v >> 30 for v in self.ptes})
            + len({v >> 39 for v in self.ptes})
            + len(self.saved)
        )

    def small(self, base: int) -> int:
        """How many small mappings the superpage at base has."""
        return sum(1 for i in range(PAGES) if self.ptes.get(base + i * PAGE, (0, 0))[1] == 1)

    # pv entries
    def take(self, va: int) -> None:
        if not self.chunks or not self.chunks[0].free:
            self.chunks.insert(0, Chunk())
        chunk = self.chunks[0]
        index = (chunk.free & -chunk.free).bit_length() - 1
        chunk.free &= ~(1 << index)
        chunk.used[index] = va
        self.where[va] = chunk, index
        if not chunk.free:
            self.chunks.append(self.chunks.pop(0))

    def give(self, va: int) -> None:
        chunk, index = self.where.pop(va)
        del chunk.used[index]
        chunk.free |= 1 << index
        self.chunks.remove(chunk)
        if chunk.free != ALL_FREE:
            self.chunks.insert(0, chunk)

    def reserve(self, needed: int) -> None:
        available = 0
        for chunk in self.chunks:
            if not chunk.free or available >= needed:
                break
            available += chunk.free.bit_count()
        while available < needed:
            self.chunks.insert(0, Chunk())
            available += CHUNK


@dataclass
class Page:
    """A page or (its list and generation alone) a superpage."""

    pv: list[tuple[int, int]] = field(default_factory=list)  # (pmap, va), oldest first
    gen: int = 0
    writeable: bool = False
    referenced: bool = False
    dirty: bool = False


class Model:
    """Pmaps and pages by number and physical address. Superpages are known by their first address."""

    def __init__(self, full: set[int], superpages: set[int]) -> None:
        self.pmaps: dict[int, Pmap] = {}
        self.pages: dict[int, Page] = {}
        self.supers: dict[int, Page] = {}
        self.full = full  # superpages whose reservation is full
        for base in superpages:
            self.supers[base] = Page()
        self.order: dict[int, list[int]] = {}  # object -> its pages' addresses by index
        self.freed: dict[int, int] = {}

    # --- lists
    def page(self, pa: int) -> Page:
        return self.pages[pa // PAGE * PAGE]

    def super_of(self, pa: int) -> Page:
        return self.supers.setdefault(pa // SUPER * SUPER, Page())

    def insert(self, page: Page, p: int, va: int) -> None:
        page.pv.append((p, va))
        page.gen += 1

    def unlink(self, page: Page, p: int, va: int) -> None:
        page.pv.remove((p, va))
        page.gen += 1

    def harvest(self, page: Page, entry: int) -> None:
        if entry & (M | RW) == M | RW:
            page.dirty = True
        if entry & A:
            page.referenced = True

    def maybe_clear(self, pa: int) -> None:
        if not self.page(pa).pv and not self.super_of(pa).pv:
            self.page(pa).writeable = False

    def each(self, pa: int) -> list[int]:
        """The addresses of a superpage's pages."""
        return [pa + i * PAGE for i in range(PAGES)]

    # --- removal
    def remove_small(self, p: int, va: int) -> None:
        pm = self.pmaps[p]
        entry, _ = pm.ptes.pop(va)
        pa = entry & FRAME
        self.harvest(self.page(pa), entry)
        self.unlink(self.page(pa), p, va)
        pm.give(va)
        self.maybe_clear(pa)

    def remove_super(self, p: int, va: int) -> None:
        pm = self.pmaps[p]
        entry, _ = pm.ptes.pop(va)
        pa = entry & FRAME
        self.unlink(self.super_of(pa), p, va)
        pm.give(va)
        for each in self.each(pa):
            self.harvest(self.page(each), entry)
            self.maybe_clear(each)
        pm.saved.discard(va)

    def demote(self, p: int, va: int) -> bool:
        pm = self.pmaps[p]
        va = va // SUPER * SUPER
        entry, _ = pm.ptes[va]
        if not entry & A:
            self.remove_super(p, va)
            return False
        pa = entry & FRAME
        pm.saved.discard(va)
        pm.reserve(PAGES - 1)
        self.unlink(self.super_of(pa), p, va)
        for i in range(PAGES):
            pm.ptes[va + i * PAGE] = (entry & ~(PS | PROMOTED)) + i * PAGE, 1
            if i:
                pm.take(va + i * PAGE)
            self.insert(self.page(pa + i * PAGE), p, va + i * PAGE)
        return True

    def promote(self, p: int, va: int) -> None:
        pm = self.pmaps[p]
        base = va // SUPER * SUPER
        first = pm.ptes[base][0]
        if first & (FRAME & (SUPER - 1)) or not first & A:
            return
        entry = self.clean(p, base)
        for i in range(PAGES - 1, 0, -1):
            at = base + i * PAGE
            if (pm.ptes[at][0] ^ (entry + i * PAGE)) & (FRAME | A | V):
                return
            if (self.clean(p, at) ^ entry) & PROMOTE:
                return
        pa = entry & FRAME
        pm.saved.add(base)
        self.unlink(self.page(pa), p, base)
        self.insert(self.super_of(pa), p, base)
        for i in range(1, PAGES):
            self.unlink(self.page(pa + i * PAGE), p, base + i * PAGE)
            pm.give(base + i * PAGE)
            del pm.ptes[base + i * PAGE]
        pm.ptes[base] = entry | PS | PROMOTED, PAGES

    def clean(self, p: int, va: int) -> int:
        entry, _ = self.pmaps[p].ptes[va]
        if entry & (M | RW) == RW:
            entry &= ~RW
            self.pmaps[p].ptes[va] = entry, 1
        return entry

    def leaf(self, p: int, va: int) -> int | None:
        """The address under which the mapping of va is kept."""
        ptes = self.pmaps[p].ptes
        if va in ptes:
            return va
        base = va // SUPER * SUPER
        return base if base in ptes and ptes[base][1] == PAGES else None

    # --- the operations, by the door's names and arguments
    def enter(self, p: int, va: int, pa: int, prot: int, flags: int, psind: int) -> int:
        pm = self.pmaps[p]
        entry = pa | A | V | U | MANAGED
        entry |= (M if flags & WRITE else 0) | (RW if prot & WRITE else 0)
        entry |= (0 if prot & EXECUTE else NX) | (W if flags & WIRED else 0)
        if psind:
            for at in self.inside(p, va, va + SUPER):
                (self.remove_super if pm.ptes[at][1] == PAGES else self.remove_small)(p, at)
            self.map_super(p, va, entry | PS)
            return 0
        base = va // SUPER * SUPER
        if pm.ptes.get(base, (0, 0))[1] == PAGES:
            self.demote(p, va)
        page = self.page(pa)
        old = pm.ptes.get(va, (0, 0))[0]
        if old and old & FRAME == pa:
            if entry & RW:
                page.writeable = True
            if (old ^ entry) & ~(M | A):
                if not entry & M and old & (M | RW) == M | RW:
                    page.dirty = True
                pm.ptes[va] = entry, 1
        else:
            if old:
                other = self.page(old & FRAME)
                self.harvest(other, old)
                self.unlink(other, p, va)
                self.maybe_clear(old & FRAME)
            else:
                pm.take(va)
            self.insert(page, p, va)
            if entry & RW:
                page.writeable = True
            pm.ptes[va] = entry, 1
        if pa // SUPER * SUPER in self.full and pm.small(base) == PAGES:
            self.promote(p, va)
        return 0

    def inside(self, p: int, start: int, end: int) -> list[int]:
        return sorted(va for va in self.pmaps[p].ptes if start <= va < end)

    def map_super(self, p: int, va: int, entry: int) -> None:
        self.pmaps[p].take(va)
        self.insert(self.super_of(entry & FRAME), p, va)
        if entry & RW:
            for each in self.each(entry & FRAME):
                self.page(each).writeable = True
        self.pmaps[p].ptes[va] = entry, PAGES

    def enter_quick(self, p: int, va: int, pa: int, prot: int) -> int:
        if self.leaf(p, va) is None:
            self.pmaps[p].take(va)
            self.insert(self.page(pa), p, va)
            self.pmaps[p].ptes[va] = pa | V | U | MANAGED | (0 if prot & EXECUTE else NX), 1
        return 0

    def enter_object(self, p: int, start: int, end: int, pa: int, prot: int) -> int:
        pages = next(order for order in self.order.values() if pa in order)
        i = pages.index(pa)
        va = start
        while va < end and i < len(pages):
            pa = pages[i]
            empty = not self.inside(p, va, va + SUPER)
            if va % SUPER == 0 and va + SUPER <= end and pa % SUPER == 0 and pa in self.full and empty:
                self.map_super(p, va, pa | PS | V | U | MANAGED | (0 if prot & EXECUTE else NX))
                va, i = va + SUPER, i + PAGES
                continue
            self.enter_quick(p, va, pa, prot)
            va, i = va + PAGE, i + 1
        return 0

    def copy(self, dst: int, src: int, start: int, end: int) -> int:
        from_, to = self.pmaps[src], self.pmaps[dst]
        va = start
        while va < end:
            base, next_va = va // SUPER * SUPER, min(up(va), end)
            if from_.ptes.get(base, (0, 0))[1] == PAGES:
                if va == base and next_va == base + SUPER and not self.inside(dst, base, base + SUPER):
                    entry = from_.ptes[base][0] & ~W
                    to.take(base)
                    self.insert(self.super_of(entry & FRAME), dst, base)
                    to.ptes[base] = entry, PAGES
            elif not self.copy_small(dst, src, va, next_va):
                return 0
            va = next_va
        return 0

    def copy_small(self, dst: int, src: int, va: int, end: int) -> bool:
        from_, to = self.pmaps[src], self.pmaps[dst]
        base = va // SUPER * SUPER
        total = from_.small(base)
        for at in self.inside(src, va, end):
            if at in to.ptes or to.ptes.get(base, (0, 0))[1] == PAGES:
                return False
            entry = from_.ptes[at][0]
            to.take(at)
            self.insert(self.page(entry & FRAME), dst, at)
            to.ptes[at] = entry & ~(W | M | A), 1
            if to.small(base) >= total:
                break
        return True

    def protect(self, p: int, start: int, end: int, prot: int) -> int:
        if not prot & (READ | WRITE | EXECUTE):
            return self.remove(p, start, end)
        if prot & WRITE and prot & EXECUTE:
            return 0
        pm = self.pmaps[p]
        self.split(p, start, end)
        for va in self.inside(p, start, end):
            entry, pages = pm.ptes[va]
            new = entry & ~(0 if prot & WRITE else RW | M) | (0 if prot & EXECUTE else NX)
            if new == entry:
                continue
            if not prot & WRITE and entry & (M | RW) == M | RW:
                for i in range(pages):
                    self.page((entry & FRAME) + i * PAGE).dirty = True
            pm.ptes[va] = (new & ~PROMOTED if pages == PAGES else new), pages
        return 0

    def split(self, p: int, start: int, end: int) -> None:
        """Demote what the range covers only in part."""
        pm = self.pmaps[p]
        for base in {start // SUPER * SUPER, (end - 1) // SUPER * SUPER}:
            if pm.ptes.get(base, (0, 0))[1] == PAGES and not (start <= base and base + SUPER <= end):
                self.demote(p, base)

    def remove(self, p: int, start: int, end: int) -> int:
        va = start
        while va < end:
            next_va = min(up(va), end)
            self.split(p, va, next_va)
            for at in self.inside(p, va, next_va):
                (self.remove_super if self.pmaps[p].ptes[at][1] == PAGES else self.remove_small)(p, at)
            va = next_va
        return 0

    def remove_all(self, pa: int) -> int:
        page = self.page(pa)
        while self.super_of(pa).pv:
            self.demote(*self.super_of(pa).pv[0])
        while page.pv:
            p, va = page.pv[0]
            entry, _ = self.pmaps[p].ptes.pop(va)
            self.harvest(page, entry)
            self.unlink(page, p, va)
            self.pmaps[p].give(va)
        page.writeable = False
        return 0

    def remove_write(self, pa: int) -> int:
        page = self.page(pa)
        if not page.writeable:
            return 0
        for p, va in list(self.super_of(pa).pv):
            if self.pmaps[p].ptes[va][0] & RW:
                self.demote(p, va)
        for p, va in page.pv:
            entry, _ = self.pmaps[p].ptes[va]
            if entry & RW:
                page.dirty |= bool(entry & M)
                self.pmaps[p].ptes[va] = entry & ~(RW | M), 1
        page.writeable = False
        return 0

    def remove_pages(self, p: int) -> int:
        pm = self.pmaps[p]
        freed = 0
        for chunk in list(pm.chunks):
            for index in sorted(chunk.used):
                va = chunk.used[index]
                entry, pages = pm.ptes[va]
                if entry & W:
                    continue
                del pm.ptes[va], pm.where[va], chunk.used[index]
                chunk.free |= 1 << index
                pa = entry & FRAME
                self.unlink(self.page(pa) if pages == 1 else self.super_of(pa), p, va)
                pm.saved.discard(va)
                for i in range(pages):
                    if entry & (M | RW) == M | RW:
                        self.page(pa + i * PAGE).dirty = True
                    self.maybe_clear(pa + i * PAGE)
            if chunk.free == ALL_FREE:
                pm.chunks.remove(chunk)
                freed += 1
        self.freed[freed] = self.freed.get(freed, 0) + 1
        return 0

    def extract(self, p: int, va: int) -> int:
        at = self.leaf(p, va)
        return 0 if at is None else (self.pmaps[p].ptes[at][0] & FRAME) + va - at

    def is_prefaultable(self, p: int, va: int) -> int:
        base = va // SUPER * SUPER
        return int(self.leaf(p, va) is None and self.pmaps[p].small(base) > 0)

    def exists_quick(self, p: int, pa: int) -> int:
        return int(any(q == p for q, _ in (self.page(pa).pv + self.super_of(pa).pv)[:QUICK]))

    def is_modified(self, pa: int) -> int:
        if not self.page(pa).writeable:
            return 0
        return int(
            any(
                self.pmaps[p].ptes[va][0] & (M | RW) == M | RW
                for p, va in self.page(pa).pv + self.super_of(pa).pv
            )
        )

    def access(self, p: int, va: int, prot: int) -> int:
        at = self.leaf(p, va)
        if at is None:
            return 0
        entry, pages = self.pmaps[p].ptes[at]
        if (prot & EXECUTE and entry & NX) or (prot & WRITE and not entry & RW):
            return 0
        self.pmaps[p].ptes[at] = entry | A | (M if prot & WRITE else 0), pages
        return 1

    def ts_referenced(self, pa: int) -> int:
        found = 0
        for page in (self.super_of(pa), self.page(pa)):
            for p, va in list(page.pv):
                if found >= ENOUGH_REFERENCES:
                    return found
                entry, pages = self.pmaps[p].ptes[va]
                if entry & (M | RW) == M | RW:
                    self.page(pa).dirty = True
                if entry & A:
                    pick = (pa >> 12) ^ (va >> 21) ^ self.pmaps[p].offset
                    if pages == 1 or (pick & (PAGES - 1) == 0 and not entry & W):
                        self.pmaps[p].ptes[va] = entry & ~A, pages
                    found += 1
                if page.pv[-1] != (p, va):
                    page.pv.remove((p, va))
                    page.pv.append((p, va))
                    page.gen += 1
        return found
