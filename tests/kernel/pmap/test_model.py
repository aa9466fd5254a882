"""Every pmap operation against the plain-Python model, over random sequences, for all designs."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doors.pmap import Pmaps
from finegrain.machine.simulated import SimulatedMachine
from kernel.pmap_door import design as parts
from kernel.pmap_model import PAGE, PAGES, SUPER, Model, Page, Pmap

MB = 1 << 20
DESIGNS = {
    "head": {"locks": 3},  # three locks alias much more than 256 do
    "head, padded": {"locks": 256, "pad": 128},
    "head+batch": {"locks": 2, "batch": True},
    "superpage": {"locks": 0},
    "superpage+batch": {"locks": 0, "batch": True},
    "superpage, mutexes": {"locks": 0, "batch": True, "lock": "mtx"},
    "head, mutexes": {"locks": 3, "lock": "mtx"},
}
PMAPS = 3
BASE = 0x400000
REGIONS = 2  # superpages of address space in use
FULL, PART, SINGLE = 0, 1, 2  # objects: a full reservation, one that lacks a page, single pages
SIZES = (PAGES, PAGES - 1, 6)


class Machine:
    """The kernel and the model, driven together and compared after each step."""

    def __init__(self, design: str) -> None:
        machine = SimulatedMachine(sockets=1, cores=2, threads=1, memory=64 * MB)
        self.door = Pmaps(machine, [(PAGE, 64 * MB, 0)], design=parts(**DESIGNS[design]))
        self.objects = [
            self.door.object(PAGES, color=0),
            self.door.object(PAGES, color=0),
            self.door.object(8),
        ]
        pages = [
            self.door.run(*(("alloc", o, i) for i in range(n)))
            for o, n in zip(self.objects, SIZES, strict=True)
        ]
        self.pages = dict(enumerate(pages))
        self.model = Model({pages[FULL][0]}, {pa // SUPER * SUPER for some in pages for pa in some})
        self.model.order = self.pages
        for pa in (pa for some in pages for pa in some):
            self.model.pages[pa] = Page()
        self.start = self.door.counts()
        for p in range(PMAPS):
            self.door.do("pinit", p)
            self.model.pmaps[p] = Pmap(self.door.pmap(p)["offset"])

    def do(self, name: str, *arguments: int) -> None:
        expected = getattr(self.model, name)(*arguments)
        assert self.door.do(name, *arguments) == expected, (name, arguments)

    def do_all(self, name: str, calls: list[tuple[int, ...]]) -> None:
        expected = [getattr(self.model, name)(*arguments) for arguments in calls]
        assert self.door.run(*((name, *arguments) for arguments in calls)) == expected

    def check(self) -> None:
        door, model = self.door, self.model
        assert door.audit(*range(PMAPS)) == (0, "")
        for p, pm in model.pmaps.items():
            assert door.ptes(p) == pm.ptes
            seen = door.pmap(p)
            assert seen["resident"] == pm.resident
            assert seen["wired"] == pm.wired
            assert seen["ptps"] == pm.ptps
            assert seen["chunks"] == [chunk.free.bit_count() for chunk in pm.chunks]
            assert seen["saved"] == sorted(pm.saved)
        seen = door.pages(model.pages)
        for (pa, page), (pv, *rest) in zip(model.pages.items(), seen, strict=True):
            assert [(p - 1, va) for p, va in pv] == page.pv, hex(pa)
            assert rest == [page.gen, page.writeable, page.referenced, page.dirty], hex(pa)
        for pa, page in model.supers.items():
            assert [(p - 1, va) for p, va in door.superpage_list(pa)] == page.pv
            assert door.generations(pa)[1] == page.gen
        assert door.chunks_freed() == model.freed
        assert door.counts()["faults"] == 0

    def finish(self) -> None:
        """Wired mappings go by pmap_remove, the rest by pmap_remove_pages: nothing is left."""
        for p in range(PMAPS):
            self.do("remove_pages", p)
            self.do("remove", p, BASE, BASE + REGIONS * SUPER)
            self.door.do("release", p)
        counts = self.door.counts()
        assert counts["chunks"] == 0
        assert counts["allocated"] == self.start["allocated"]
        for o in self.objects:
            self.door.do("terminate", o)
        assert self.door.counts()["allocated"] == 0


pmaps = st.integers(0, PMAPS - 1)
prots = st.sampled_from([1, 3, 5, 7])
near = st.sampled_from([0, 0, 0, 0, 1, 2, 3, 168, 254, 510, 511])  # page numbers: few, so that sequences meet
places = st.builds(lambda r, i: BASE + r * SUPER + i * PAGE, st.integers(0, REGIONS - 1), near)
ranges = st.builds(lambda a, b: (min(a, b), max(a, b) + PAGE), places, places) | st.deferred(lambda: wholes)
which = st.one_of(
    st.tuples(st.sampled_from([FULL, PART]), near),
    st.tuples(st.just(SINGLE), st.integers(0, SIZES[SINGLE] - 1)),
)
wholes = st.integers(0, REGIONS - 1).map(lambda r: (BASE + r * SUPER, BASE + (r + 1) * SUPER))
halves = st.sampled_from([(0, PAGES), (0, PAGES), (0, 200), (200, PAGES)])
accesses = st.sampled_from([(1, 1), (3, 1), (3, 3), (5, 1), (7, 3), (3, 3 | 0x200), (1, 1 | 0x200)])
operations = st.one_of(
    st.tuples(st.just("enter"), pmaps, places, which, accesses),
    st.tuples(
        st.just("fill"),
        pmaps,
        st.integers(0, REGIONS - 1),
        st.sampled_from([FULL, FULL, FULL, PART]),
        halves,
        accesses,
    ),
    st.tuples(
        st.just("enter_superpage"),
        pmaps,
        st.integers(0, REGIONS - 1),
        st.sampled_from([(1, 1), (3, 3), (5, 1)]),
    ),
    st.tuples(st.just("enter_quick"), pmaps, places, which, prots),
    st.tuples(st.just("enter_object"), pmaps, ranges, which, prots),
    st.tuples(st.just("enter_object"), pmaps, wholes, st.just((FULL, 0)), prots),
    st.tuples(st.just("copy"), st.permutations(range(PMAPS)), ranges),
    st.tuples(st.just("protect"), pmaps, ranges, st.sampled_from([0, 1, 1, 3, 5, 7])),
    st.tuples(st.just("remove"), pmaps, ranges),
    st.tuples(st.sampled_from(["remove_all", "remove_write", "ts_referenced", "is_modified"]), which),
    st.tuples(st.just("remove_pages"), pmaps),
    st.tuples(st.sampled_from(["extract", "is_prefaultable"]), pmaps, places),
    st.tuples(st.just("exists_quick"), pmaps, which),
    st.tuples(st.just("access"), pmaps, places, st.sampled_from([1, 3, 5])),
)


def address(machine: Machine, page: tuple[int, int]) -> int:
    """The physical address of an object's page; the last one for numbers beyond it."""
    pages = machine.pages[page[0]]
    return pages[min(page[1], len(pages) - 1)]


def apply(machine: Machine, operation: tuple) -> None:
    name, *rest = operation
    if name == "enter":
        p, va, page, (prot, flags) = rest
        machine.do("enter", p, va, address(machine, page), prot, flags, 0)
    elif name == "fill":
        p, region, o, (first, last), (prot, flags) = rest
        base = BASE + region * SUPER
        places_ = [(base + i * PAGE, pa) for i, pa in enumerate(machine.pages[o]) if first <= i < last]
        calls = [(p, va, pa, prot, flags, 0) for va, pa in places_ if machine.model.leaf(p, va) is None]
        machine.do_all("enter", calls)
    elif name == "enter_superpage":
        p, region, (prot, flags) = rest
        machine.do("enter", p, BASE + region * SUPER, machine.pages[FULL][0], prot, flags, 1)
    elif name in ("enter_quick", "enter_object"):
        p, where, page, prot = rest
        where = where if isinstance(where, tuple) else (where,)
        machine.do(name, p, *where, address(machine, page), prot)
    elif name == "copy":
        (dst, src, _), (start, end) = rest
        machine.do("copy", dst, src, start, end)
    elif name in ("protect", "remove"):
        p, (start, end), *prot = rest
        machine.do(name, p, start, end, *prot)
    elif name in ("remove_all", "remove_write", "ts_referenced", "is_modified"):
        machine.do(name, address(machine, rest[0]))
    elif name == "exists_quick":
        machine.do(name, rest[0], address(machine, rest[1]))
    else:
        machine.do(name, *rest)


@pytest.mark.parametrize("design", DESIGNS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(operations, min_size=4, max_size=30))
def test_operations_against_the_model(design: str, steps: list[tuple]) -> None:
    machine = Machine(design)
    for step in steps:
        apply(machine, step)
        machine.check()
    machine.finish()
