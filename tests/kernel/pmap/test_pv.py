"""PV entries and chunks: 168 to a page, freed when empty."""

from __future__ import annotations

import pytest

from kernel.pmap_door import PAGE, READ, VA, World

CHUNK = 168


def test_a_chunk_has_168_entries() -> None:
    w = World(pages=400)
    w.enter(0, 0, CHUNK)
    assert w.door.pmap(0)["chunks"] == [0]
    w.enter(0, CHUNK, CHUNK + 1)
    assert w.door.pmap(0)["chunks"] == [CHUNK - 1, 0]
    assert w.door.counts()["chunks"] == 2
    w.finish()


def test_freed_entries_are_used_first_and_empty_chunks_go_at_once() -> None:
    w = World(pages=400)
    w.enter(0, 0, 2 * CHUNK)
    w.do("remove", 0, VA, VA + PAGE)  # of the first chunk, the last in the list: it comes to the front
    assert w.door.pmap(0)["chunks"] == [1, 0]
    w.do("remove", 0, VA + PAGE, VA + CHUNK * PAGE)
    assert w.door.pmap(0)["chunks"] == [0]
    w.finish()


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("locks", [256, 0])
def test_chunks_freed_by_remove_pages_are_counted(locks: int, batch: bool) -> None:
    w = World(pages=400, locks=locks, batch=batch)
    w.enter(0)
    w.enter(1, 0, 3)
    w.run(("remove_pages", 0), ("remove_pages", 1), ("remove_pages", 1))
    assert w.door.chunks_freed() == {3: 1, 1: 1, 0: 1}
    w.finish()


def test_wired_mappings_keep_their_chunk() -> None:
    w = World(pages=400)
    w.enter(0, 0, CHUNK)
    w.do("enter", 0, VA + CHUNK * PAGE, w.pages[CHUNK], READ, 0x200, 0)
    w.do("remove_pages", 0)
    assert w.door.pmap(0)["chunks"] == [CHUNK - 1]
    assert w.door.chunks_freed() == {1: 1}
    assert list(w.door.ptes(0)) == [VA + CHUNK * PAGE]
    w.finish()
