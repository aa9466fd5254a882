"""The tables of the designs: from an address to its lock, in the memory that FreeBSD's kernels would use."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doors.pmap import Pmaps
from finegrain.lab import pv_space
from finegrain.machine.simulated import SimulatedMachine
from kernel.pmap_door import design as parts

PAGE, SUPER, MB, GB = 4096, 1 << 21, 1 << 20, 1 << 30
PER_PAGE = PAGE // 64  # structs of the sparse table in a page


def door(segments: list[tuple[int, int, int]], **design: int) -> Pmaps:
    return Pmaps(
        SimulatedMachine(sockets=2, cores=1, threads=1, memory=segments[-1][1]),
        segments,
        design=parts(**design),
    )


def structs(layout: dict[str, Any]) -> list[Any]:
    return [region for region in layout["regions"] if region.what == "structs"]


def test_head_is_one_array_of_256_locks_two_to_a_line() -> None:
    d = door([(PAGE, 2 * GB, 0)])
    layout = d.layout()
    places = [d.place(i * SUPER) for i in range(256)]
    base = places[0][0]
    assert base % 64 == 0
    assert [lock - base for lock, _, _ in places] == [32 * i for i in range(256)]
    assert [generation - places[0][2] for _, _, generation in places] == [8 * i for i in range(256)]
    assert [head - places[0][1] for _, head, _ in places] == [24 * i for i in range(256)]
    assert not base <= places[0][2] < base + 256 * 32
    # 8 KiB of locks, 2 KiB of generations, 24 bytes for each superpage from address 0 on in whole pages, the dummy
    assert layout["locks"] == 256
    assert layout["bytes"] == 8192 + 2048 + 24 * 1024 + 24
    assert [d.lock_instance(i * SUPER) for i in (0, 1, 255)] == [0, 1, 255]


def test_head_superpages_512_mb_apart_share_a_lock() -> None:
    d = door([(PAGE, 2 * GB, 0)])
    assert (
        d.lock_index(5 * SUPER) == d.lock_index(5 * SUPER + PAGE) == d.lock_index(5 * SUPER + 512 * MB) == 5
    )
    assert d.lock_index(6 * SUPER) == 6


@pytest.mark.parametrize(
    ("lock", "pad", "size"),
    [("rw", 0, 32), ("mtx", 0, 32), ("mtx8", 0, 8), ("rw", 64, 64), ("mtx8", 64, 64), ("mtx8", 128, 128)],
)
def test_hashed_locks_lie_packed_or_padded(lock: str, pad: int, size: int) -> None:
    d = door([(PAGE, 2 * GB, 0)], pad=pad, lock=lock)
    assert d.place(SUPER)[0] - d.place(0)[0] == size
    assert d.layout()["bytes"] == 256 * size + 2048 + 24 * 1024 + 24


TABLES = ["sparse", "filled", "pointers"]
STRUCTS = [
    # lock, pad; size, and where lock, list head and generation are
    ("rw", 0, 64, (0, 32, 56)),
    ("mtx", 0, 64, (0, 32, 56)),
    ("mtx8", 0, 40, (0, 8, 32)),
    ("bit2", 0, 32, (24, 0, 24)),
    ("rw", 128, 128, (0, 32, 56)),
    ("mtx8", 64, 64, (0, 8, 32)),
    ("bit2", 64, 64, (24, 0, 24)),
]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(("lock", "pad", "size", "offsets"), STRUCTS)
def test_a_superpage_has_lock_list_and_generation_in_one_struct(
    table: str, lock: str, pad: int, size: int, offsets: tuple[int, int, int]
) -> None:
    d = door([(PAGE, 2 * GB, 0)], locks=0, table=table, lock=lock, pad=pad)
    assert d.layout()["struct_bytes"] == size
    firsts = sorted(min(d.place(i * SUPER)) for i in range(1024))
    assert all(after - before >= size for before, after in itertools.pairwise(firsts))
    for i in range(1024):
        assert tuple(place - min(d.place(i * SUPER)) for place in d.place(i * SUPER)) == offsets


@pytest.mark.parametrize("table", TABLES)
def test_no_two_superpages_share_a_lock(table: str) -> None:
    d = door([(PAGE, 2 * GB, 0)], locks=0, table=table)
    assert [d.lock_index(i * SUPER + PAGE) for i in range(1024)] == list(range(1024))
    assert all(d.lock_instance(i * SUPER) == i for i in range(1024))
    assert len({d.place(i * SUPER) for i in range(1024)}) == 1024


def test_filled_fills_a_hole_from_the_domain_above_it() -> None:
    # 1 GB in domain 0, a hole, 1 GB in domain 1 from 4 GB on.
    d = door([(16 * MB, GB, 0), (4 * GB, 5 * GB, 1)], locks=0, table="filled")
    first, second = structs(d.layout())
    assert (first.start, first.domain) == (0, 0)
    # The end is taken in, and the run ends on a page of the table: 512 + 1 entries, rounded up.
    assert first.bytes == 64 * (513 + -513 % PER_PAGE)
    assert (second.start, second.domain) == (first.bytes, 1)
    assert second.start + second.bytes >= 64 * (5 * GB // SUPER + 1)


def test_sparse_has_memory_where_memory_is() -> None:
    d = door([(16 * MB, GB, 0), (4 * GB, 5 * GB, 1)], locks=0)
    first, second = structs(d.layout())
    assert (first.start, first.bytes, first.domain) == (0, 512 * 64, 0)
    assert first.used == 504 * 64  # from 16 MB on
    assert (second.start, second.bytes, second.used, second.domain) == (2048 * 64, 512 * 64, 512 * 64, 1)
    assert d.layout()["reserved"] == 2560 * 64 + 64


@pytest.mark.parametrize("table", ["sparse", "pointers"])
@pytest.mark.parametrize("locks", [0, 256])
def test_what_is_no_memory_has_the_dummy(table: str, locks: int) -> None:
    """The hole's superpages, the first beyond the end, and the last address there can be."""
    d = door([(16 * MB, GB, 0), (4 * GB, 5 * GB, 1)], locks=locks, table=table)
    holes = [0, GB, 3 * GB, 4 * GB - 1, 5 * GB, (1 << 52) - 1, (1 << 57) - 1]
    heads = {d.place(pa)[1] for pa in holes}
    assert len(heads) == 1
    assert not heads & {d.place(pa)[1] for pa in range(4 * GB, 5 * GB, SUPER)}
    if not locks:
        assert len({d.place(pa) for pa in holes}) == 1
        assert {d.lock_index(pa) for pa in holes} == {2560} == {d.lock_instance(pa) for pa in holes}
        assert d.layout()["locks"] == 2561


def test_a_hole_that_is_filled_has_structs_of_its_own() -> None:
    d = door([(16 * MB, GB, 0), (4 * GB, 5 * GB, 1)], locks=0, table="filled")
    assert [d.lock_instance(pa) for pa in (0, GB, 3 * GB, 5 * GB - 1, 6 * GB)] == [0, 512, 1536, 2559, 2560]


@pytest.mark.parametrize("table", ["sparse", "pointers"])
def test_segments_that_share_a_superpage(table: str) -> None:
    """Around the 640 KB hole, and in the middle of memory: one struct, allocated once, the first segment's."""
    cut = 64 * SUPER + 17 * PAGE
    d = door(
        [
            (PAGE, 640 * 1024, 0),
            (MB, cut, 0),
            (cut, cut + MB, 1),
            (cut + MB, 200 * SUPER, 1),
        ],
        locks=0,
        table=table,
    )
    regions = structs(d.layout())
    assert sum(region.used for region in regions) == 200 * 64
    assert [d.lock_instance(i * SUPER) for i in (0, 63, 64, 65)] == [0, 63, 64, 65]
    if table == "sparse":
        # the superpage of the cut is the first one of the second page: the earlier segment's
        assert [(r.start, r.bytes, r.domain, r.used) for r in regions] == [
            (0, 2 * PAGE, 0, 128 * 64),
            (2 * PAGE, 2 * PAGE, 1, 72 * 64),
        ]
    else:
        assert [(r.used // 64, r.domain) for r in regions] == [(1, 0), (7, 0), (57, 0), (135, 1)]


segments = st.lists(
    st.tuples(st.integers(0, 3000), st.integers(1, 70000), st.integers(0, 1)), min_size=1, max_size=6
)


def laid_out(gaps: list[tuple[int, int, int]], at: int) -> list[tuple[int, int, int]]:
    pieces = []
    for gap, pages, domain in gaps:
        at += gap * PAGE
        pieces.append((at, at + pages * PAGE, domain))
        at += pages * PAGE
    return pieces


def owners(pieces: list[tuple[int, int, int]]) -> dict[int, int]:
    """Whose each superpage that holds memory is: the first segment's domain."""
    out: dict[int, int] = {}
    for start, stop, domain in pieces:
        for superpage in range(start // SUPER, (stop - 1) // SUPER + 1):
            out.setdefault(superpage, domain)
    return out


def sparse_pages(pieces: list[tuple[int, int, int]], size: int) -> dict[int, int]:
    """The sparse table's pages and their domains, superpage by superpage."""
    out: dict[int, int] = {}
    for superpage, domain in owners(pieces).items():
        for page in range(superpage * size // PAGE, ((superpage + 1) * size - 1) // PAGE + 1):
            out.setdefault(page, domain)
    return out


def filled_pages(pieces: list[tuple[int, int, int]], size: int) -> dict[int, int]:
    out: dict[int, int] = {}
    for _, stop, domain in pieces:
        last = stop // SUPER
        if len(out) * PAGE // size > last:
            continue
        while len(out) * PAGE < (last + 1) * size:
            out[len(out)] = domain
    return out


@settings(max_examples=60, deadline=None)
@given(segments, st.sampled_from(TABLES), st.sampled_from(STRUCTS), st.integers(1, 9000))
def test_every_page_has_a_lock_and_no_byte_is_lost(
    gaps: list[tuple[int, int, int]], table: str, struct: tuple, first: int
) -> None:
    lock, pad, size, _ = struct
    pieces = laid_out(gaps, first * PAGE)
    d = door(pieces, locks=0, table=table, lock=lock, pad=pad)
    layout = d.layout()
    regions, owned = structs(layout), owners(pieces)
    assert sum(region.used for region in regions) == len(owned) * size
    assert all(0 < region.used <= region.bytes for region in regions)
    pages = {
        (region.start + at) // PAGE: region.domain
        for region in regions
        for at in range(0, region.bytes, PAGE)
    }
    if table == "sparse":
        assert pages == sparse_pages(pieces, size)
    elif table == "filled":
        assert pages == filled_pages(pieces, size)
    else:
        for domain in (0, 1):
            of_domain = sum(r.used for r in regions if r.domain == domain)
            assert of_domain == size * sum(owner == domain for owner in owned.values())
    assert sum(region.bytes for region in layout["regions"]) == layout["bytes"] <= layout["reserved"] + PAGE
    assert {d.lock_instance(superpage * SUPER) == superpage for superpage in owned} == {True}
    places = sorted(min(d.place(superpage * SUPER)) for superpage in [*owned, 1 << 20])
    assert all(after - before >= size for before, after in itertools.pairwise(places))
    end = pieces[-1][1]
    beyond = -(-end // SUPER) * SUPER
    assert d.lock_index(end - 1) == (end - 1) // SUPER
    assert d.lock_index(beyond) == layout["locks"] - 1


@settings(max_examples=60, deadline=None)
@given(segments, st.sampled_from(TABLES), st.sampled_from(STRUCTS), st.sampled_from([0, 256]))
def test_the_plan_is_what_a_run_lays_out(
    gaps: list[tuple[int, int, int]], table: str, struct: tuple, locks: int
) -> None:
    lock, pad, *_ = struct
    if locks and lock == "bit2":
        lock = "mtx8"
    pieces = laid_out(gaps, 16 * MB)
    layout = door(pieces, locks=locks, table=table, lock=lock, pad=pad).layout()
    space = pv_space(parts(locks=locks, table=table, lock=lock, pad=pad), pieces)
    assert (space.regions, space.reserved) == (layout["regions"], layout["reserved"])
    assert (space.lock_bytes, space.struct_bytes) == (layout["lock_bytes"], layout["struct_bytes"])
