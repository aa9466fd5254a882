"""The designs: from an address to its lock, in the memory that FreeBSD's kernels would use."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doors.pmap import Pmaps
from finegrain.lab import read_pv_waits
from finegrain.lab.profile import read_profile
from finegrain.machine.costs import CostModel
from finegrain.machine.errors import KernelPanic
from finegrain.machine.simulated import SimulatedMachine
from kernel.pmap_door import READ, US, VA, World
from kernel.pmap_door import design as parts

PAGE, SUPER, MB, GB = 4096, 1 << 21, 1 << 20, 1 << 30
PER_PAGE = PAGE // 64  # structs of the sparse table in a page


def door(segments: list[tuple[int, int, int]], **design: int) -> Pmaps:
    return Pmaps(
        SimulatedMachine(sockets=2, cores=1, threads=1, memory=segments[-1][1]),
        segments,
        design=parts(**design),
    )


def test_head_is_one_array_of_256_locks_two_to_a_line() -> None:
    d = door([(PAGE, 2 * GB, 0)])
    layout = d.layout()
    base, stride = layout["lock"]
    assert (layout["locks"], stride) == (256, 32)
    assert base % 64 == 0
    assert layout["gen"][1] == 8
    assert layout["head"][1] == 24
    assert not base <= layout["gen"][0] < base + 256 * 32
    # 8 KiB of locks, 2 KiB of generations, 24 bytes for each superpage from address 0 on
    assert layout["bytes"] == 8192 + 2048 + 24 * 1024
    assert [d.lock_instance(i) for i in (0, 1, 255)] == [0, 1, 255]


def test_head_superpages_512_mb_apart_share_a_lock() -> None:
    d = door([(PAGE, 2 * GB, 0)])
    assert (
        d.lock_index(5 * SUPER) == d.lock_index(5 * SUPER + PAGE) == d.lock_index(5 * SUPER + 512 * MB) == 5
    )
    assert d.lock_index(6 * SUPER) == 6


def test_padded_locks_have_a_line_pair_each() -> None:
    layout = door([(PAGE, 2 * GB, 0)], padded=True).layout()
    assert layout["lock"][1] == 128
    assert layout["bytes"] == 256 * 128 + 2048 + 24 * 1024


def test_superpage_is_one_line_with_lock_list_and_generation() -> None:
    layout = door([(PAGE, 2 * GB, 0)], locks=0).layout()
    base = layout["lock"][0]
    assert base % PAGE == 0
    assert (layout["lock"][1], layout["head"], layout["gen"]) == (64, (base + 32, 64), (base + 56, 64))
    assert layout["kva_bytes"] == 1024 * 64


def test_no_two_superpages_share_a_lock() -> None:
    d = door([(PAGE, 2 * GB, 0)], locks=0)
    assert [d.lock_index(i * SUPER + PAGE) for i in range(1024)] == list(range(1024))
    assert all(d.lock_instance(i) == i for i in range(1024))


def test_a_hole_is_filled_from_the_domain_above_it() -> None:
    # 1 GB in domain 0, a hole, 1 GB in domain 1 from 4 GB on.
    d = door([(16 * MB, GB, 0), (4 * GB, 5 * GB, 1)], locks=0)
    first, second = d.layout()["fills"]
    assert first[0] == 0
    assert first[3] == 0
    # The end is taken in, and the run ends on a page of the table: 512 + 1 entries, rounded up.
    assert first[1] == 513 + -513 % PER_PAGE
    assert second[0] == first[1]
    assert second[3] == 1
    assert second[0] + second[1] >= 5 * GB // SUPER + 1
    assert d.lock_instance(4 * GB // SUPER) == 4 * GB // SUPER
    assert d.lock_instance(2 * GB // SUPER) == 2 * GB // SUPER  # in the hole, populated all the same


def test_segments_that_share_a_superpage() -> None:
    cut = 64 * SUPER + 17 * PAGE
    d = door([(16 * MB, cut, 0), (cut, cut + MB, 1), (cut + MB, 200 * SUPER, 1)], locks=0)
    fills = d.layout()["fills"]
    # The middle segment lies in what the first one's page of the table covers, and gets no run.
    assert [fill[3] for fill in fills] == [0, 1]
    assert fills[0][1] == 128
    assert d.lock_instance(64) == 64


segments = st.lists(
    st.tuples(st.integers(0, 3000), st.integers(1, 70000), st.integers(0, 1)), min_size=1, max_size=6
)


def runs(pieces: list[tuple[int, int, int]]) -> list[tuple[int, int, int, int]]:
    """The populated runs of the sparse table, as the kernel's own description of them has it."""
    out, highest = [], -1
    for _, stop, domain in pieces:
        last = stop // SUPER
        if highest >= last:
            continue
        entries = last - highest
        entries += -entries % PER_PAGE
        out.append((highest + 1, entries, entries * 64, domain))
        highest += entries
    return out


@settings(max_examples=40, deadline=None)
@given(segments)
def test_every_page_has_a_lock(gaps: list[tuple[int, int, int]]) -> None:
    at, pieces = 16 * MB, []
    for gap, pages, domain in gaps:
        at += gap * PAGE
        pieces.append((at, at + pages * PAGE, domain))
        at += pages * PAGE
    d = door(pieces, locks=0)
    layout = d.layout()
    assert layout["fills"] == runs(pieces)
    assert sum(fill[2] for fill in layout["fills"]) == layout["bytes"]
    for start, stop, _ in pieces:
        for superpage in range(start // SUPER, (stop - 1) // SUPER + 1):
            assert d.lock_instance(superpage) == superpage


# --- the verbs, whatever kind of lock stands behind them

KINDS = [{"locks": 256}, {"locks": 0}, {"locks": 256, "lock": "mtx"}, {"locks": 0, "lock": "mtx"}]


@pytest.mark.parametrize("design", KINDS)
def test_changing_a_pv_list_without_its_lock_panics(design: dict) -> None:
    w = World(pages=2, **design)
    with pytest.raises(KernelPanic, match="a PV list is changed whose lock is not held for write"):
        w.do("insert_unlocked", w.pages[0])


@pytest.mark.parametrize("design", KINDS)
def test_readers_share_a_rw_lock_and_a_mutex_admits_one(design: dict) -> None:
    w = World(pages=2, **design)
    start = w.machine.time_ps
    for _ in range(2):
        w.door.start([("read_pv_list", w.pages[0], 100 * US), ("clock",)])
    w.machine.run()
    last = max(w.door.results(thread)[1] for thread in (0, 1)) - start
    assert last > 200 * US if design.get("lock") == "mtx" else last < 150 * US
    w.finish()


@pytest.mark.parametrize("design", KINDS)
def test_a_writer_keeps_readers_out(design: dict) -> None:
    w = World(pages=2, **design)
    name = "sleep mutex:pmap pv list" if design.get("lock") == "mtx" else "rw:pmap pv list"
    w.door.start([("hold_pv_list", w.pages[0], 100 * US)])
    w.machine.run(until=w.machine.time_ps + US)
    w.door.start([("read_pv_list", w.pages[0], US)])
    w.machine.run(until=w.machine.time_ps + 5 * US)
    assert w.door.threads()[-1] == (name, [])
    w.machine.run()
    w.finish()


@pytest.mark.parametrize("locks", [256, 3, 0])
def test_what_a_lock_covers_is_what_is_hashed_to_it(locks: int) -> None:
    """Rows of the profile and the index of an address agree, for every superpage of memory."""
    w = World(pages=1500, locks=locks)
    w.run(*(("enter", 0, VA + i * PAGE, pa, READ, 0, 0) for i, pa in enumerate(w.pages)))
    rows, _ = read_pv_waits(w.machine)
    assert len({pa // SUPER for pa in w.pages}) > 2
    assert {row["index"] for row in rows} == {w.door.lock_index(pa) for pa in w.pages}
    for row in rows:
        assert bool(row["period"]) is bool(locks)
        for superpage in range(64 * MB // SUPER):
            pa = superpage * SUPER
            at = pa % row["period"] if row["period"] else pa
            covered = row["first_pa"] <= at < row["end_pa"]
            for inside in (pa, pa + SUPER - PAGE):
                assert (w.door.lock_index(inside) == row["index"]) is covered
    w.finish()


@pytest.mark.parametrize(
    ("design", "adjacent", "fight"),
    [
        ({"locks": 256}, 0.0, True),
        ({"locks": 256, "padded": True}, 0.0, False),
        ({"locks": 256, "padded": True}, 1.0, False),
        ({"locks": 0}, 0.0, False),
        ({"locks": 0}, 1.0, True),  # a line each, but two superpages to a pair
    ],
)
def test_superpages_whose_locks_are_neighbours_fight(design: dict, adjacent: float, fight: bool) -> None:
    """Two CPUs map and unmap a page each, of two superpages that follow each other."""
    costs = replace(CostModel(), adjacent_line=adjacent)
    w = World(pages=1536, pmaps=2, cpus=2, costs=costs, **design)
    first = next(pa for pa in w.pages if pa % (2 * SUPER) == 0)
    before = read_pv(w)
    for p, pa in enumerate((first, first + SUPER)):
        w.door.start([("enter", p, VA, pa, READ, 0, 0), ("remove", p, VA, VA + PAGE)] * 50)
    w.machine.run()
    transfers, neighbours = (now - then for now, then in zip(read_pv(w), before, strict=True))
    assert (neighbours > 10) is fight
    assert (neighbours == 0) is not fight
    assert neighbours <= transfers
    w.finish()


def read_pv(w: World) -> tuple[int, int]:
    rows = [row for row in read_profile(w.machine) if row["name"] == "pmap pv list"]
    return sum(row["transfers"] for row in rows), sum(row["neighbour_transfers"] for row in rows)
