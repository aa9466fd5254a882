"""Making mappings: which locks it takes, how often, and what is held meanwhile."""

from __future__ import annotations

from kernel.pmap_door import (
    CHUNKS,
    PMAP,
    PV,
    READ,
    US,
    VA,
    WRITE,
    World,
    held_by_waiter,
    taken,
)


def test_enter_allocates_its_chunk_before_it_takes_the_pv_list_lock() -> None:
    w = World(pages=8)
    wanted, held = held_by_waiter(
        w, ("hold_chunk_list", 400 * US), ("enter", 0, VA, w.pages[0], READ, 0, 0), after=2 * US
    )
    assert (wanted, held) == (CHUNKS, [PMAP])
    w.finish()


def test_copy_on_write_takes_the_old_pages_lock_then_the_new_ones() -> None:
    w = World(pages=1024)
    w.do("enter", 0, VA, w.pages[0], READ, 0, 0)
    counts = w.counted(("enter", 0, VA, w.pages[512], READ | WRITE, WRITE, 0))
    assert counts == {(PV, "pmap_enter"): 2, (PMAP, "pmap_enter/pmap"): 1}
    w.finish()


def test_the_same_page_again_needs_no_pv_list_lock() -> None:
    w = World(pages=8)
    w.do("enter", 0, VA, w.pages[0], READ, 0, 0)
    counts = w.counted(("enter", 0, VA, w.pages[0], READ | WRITE, WRITE, 0))
    assert taken(counts, PV) == 0
    w.finish()
