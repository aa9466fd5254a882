"""Removing mappings: which locks it takes, how often, and what is held when chunks are freed."""

from __future__ import annotations

import pytest

from kernel.pmap_door import (
    CHUNKS,
    DESIGNS,
    IPI,
    PAGE,
    PMAP,
    PV,
    READ,
    SUPER,
    US,
    VA,
    World,
    held_by_waiter,
    taken,
)


@pytest.mark.parametrize("design", DESIGNS)
def test_consecutive_pages_of_a_superpage_take_one_lock(design: dict) -> None:
    w = World(pages=600, **design)  # a reservation, and 88 pages of the next one
    counts = w.counted(("enter_object", 0, VA + PAGE, VA + 601 * PAGE, w.pages[0], READ))
    assert w.door.pmap(0)["resident"] == 600
    assert counts[PV, "pmap_enter_object"] == 2
    assert taken(counts, PMAP) == 1
    counts = w.counted(("copy", 1, 0, VA, VA + 700 * PAGE))
    assert counts[PV, "pmap_copy"] == 2
    assert taken(counts, PMAP) == 2
    for p in (0, 1):
        counts = w.counted(("remove_pages", p))
        # Chunks go youngest first: its end of the first superpage, the second one, then the rest of the first.
        assert counts[PV, "pmap_remove_pages"] == 3
        assert taken(counts, PMAP) == 1
    w.finish()


@pytest.mark.parametrize("locks", [256, 0])
def test_the_lock_is_carried_only_as_far_as_the_same_lock_goes(locks: int) -> None:
    """Pages of two superpages by turns change the lock each time; with few hashed locks they may share one."""
    w = World(pages=1024, locks=locks)
    # Where the second superpage hashes alike only if there is but one lock.
    order = [w.pages[i // 2 + (i % 2) * 512] for i in range(20)]
    w.run(*(("enter", 0, VA + i * PAGE, pa, READ, 0, 0) for i, pa in enumerate(order)))
    assert w.counted(("remove_pages", 0))[PV, "pmap_remove_pages"] == 20
    w.finish()


def test_one_hashed_lock_counts_as_the_same_for_all() -> None:
    w = World(pages=1024, locks=1)
    order = [w.pages[i // 2 + (i % 2) * 512] for i in range(20)]
    w.run(*(("enter", 0, VA + i * PAGE, pa, READ, 0, 0) for i, pa in enumerate(order)))
    assert w.counted(("remove_pages", 0))[PV, "pmap_remove_pages"] == 1
    w.finish()


@pytest.mark.parametrize("locks", [256, 0])
@pytest.mark.parametrize("batch", [False, True])
def test_remove_pages_frees_chunks_under_the_pv_list_lock_unless_it_batches(locks: int, batch: bool) -> None:
    w = World(pages=400, locks=locks, batch=batch)
    w.enter(0)
    wanted, held = held_by_waiter(w, ("hold_chunk_list", 400 * US), ("remove_pages", 0))
    assert wanted == CHUNKS
    assert held == ([PMAP] if batch else [PMAP, PV])
    w.finish()


@pytest.mark.parametrize("batch", [False, True])
def test_batching_takes_the_chunk_list_once(batch: bool) -> None:
    w = World(pages=400, batch=batch)
    w.enter(0)
    counts = w.counted(("remove_pages", 0))
    assert taken(counts, CHUNKS) == (1 if batch else 3)
    assert ((CHUNKS, "free_pv_chunk_batch") in counts) is batch
    w.finish()


def test_remove_frees_a_chunk_under_the_pv_list_lock_in_every_design() -> None:
    w = World(pages=8, locks=0, batch=True)
    w.enter(0)
    wanted, held = held_by_waiter(w, ("hold_chunk_list", 400 * US), ("remove", 0, VA, VA + SUPER))
    assert (wanted, held) == (CHUNKS, [PMAP, PV])
    w.finish()


def test_remove_of_nothing_takes_nothing() -> None:
    w = World(pages=8)
    assert w.counted(("remove", 0, VA, VA + SUPER)) == {}
    w.finish()


def test_remove_drops_the_pv_list_lock_before_it_flushes() -> None:
    """While other CPUs are being told, remove holds the pmap lock; remove_all still the PV list lock, too."""
    for operation, expected in (("remove", [PMAP, IPI]), ("remove_all", [PV, PMAP, IPI])):
        w = World(pages=8)
        w.enter(0)
        w.door.start([("activate", 0), ("user", 3000 * US), ("deactivate", 0)])
        w.machine.run(until=w.machine.time_ps + US)
        ipis = w.machine.counters()["ipis"]
        w.door.start(
            [("remove", 0, VA, VA + 4 * PAGE) if operation == "remove" else ("remove_all", w.pages[0])]
        )
        held = None
        for _ in range(10000):
            w.machine.run(until=w.machine.time_ps + US // 100)
            if w.machine.counters()["ipis"] != ipis:
                held = w.door.threads()[-1][1]
                break
        assert held == expected
        w.machine.run()
        w.finish()
