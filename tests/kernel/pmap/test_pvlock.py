"""The verbs of the PV list lock, whatever kind of lock stands behind them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from finegrain.lab import read_pv_waits
from finegrain.lab.profile import read_profile
from finegrain.machine.costs import CostModel
from finegrain.machine.errors import KernelPanic
from kernel.pmap_door import MB, PAGE, READ, SUPER, US, VA, World

CLASSES = {"rw": "rw", "mtx": "sleep mutex", "mtx8": "mtx8", "bit2": "bit2"}
KINDS = [
    {"locks": locks, "lock": lock} for lock in CLASSES for locks in (256, 0) if locks == 0 or lock != "bit2"
]


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
    assert last < 150 * US if design["lock"] == "rw" else last > 200 * US
    w.finish()


@pytest.mark.parametrize("design", KINDS)
def test_a_writer_keeps_readers_out(design: dict) -> None:
    w = World(pages=2, **design)
    name = f"{CLASSES[design['lock']]}:pmap pv list"
    w.door.start([("hold_pv_list", w.pages[0], 100 * US)])
    w.machine.run(until=w.machine.time_ps + US)
    w.door.start([("read_pv_list", w.pages[0], US)])
    w.machine.run(until=w.machine.time_ps + 5 * US)
    assert w.door.threads()[-1] == (name, [])
    w.machine.run()
    w.finish()


@pytest.mark.parametrize(("locks", "table"), [(256, "sparse"), (3, "sparse"), (0, "sparse"), (0, "pointers")])
def test_what_a_lock_covers_is_what_is_hashed_to_it(locks: int, table: str) -> None:
    """Rows of the profile and the index of an address agree, for every superpage of memory."""
    w = World(pages=1500, locks=locks, table=table)
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
        ({"locks": 256, "pad": 64}, 0.0, False),
        ({"locks": 256, "pad": 64}, 1.0, True),
        ({"locks": 256, "pad": 128}, 1.0, False),
        ({"locks": 0}, 0.0, False),
        ({"locks": 0, "lock": "mtx8"}, 0.0, True),  # 40 bytes: neighbours share a line
        ({"locks": 0, "lock": "bit2"}, 0.0, True),
        ({"locks": 0, "lock": "mtx8", "pad": 64}, 0.0, False),
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
