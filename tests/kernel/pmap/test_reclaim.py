"""Reclaiming pv chunks when there is no page for one."""

from __future__ import annotations

import pytest

from finegrain.machine.errors import KernelPanic
from kernel.pmap_door import MB, PAGE, READ, SUPER, VA, WRITE, World

CHUNK = 168


@pytest.mark.parametrize("locks", [256, 0])
@pytest.mark.parametrize(("other", "held"), [(0, 1), (1, 0)])
def test_reclaim_takes_another_pmaps_chunk(other: int, held: int, locks: int) -> None:
    """Both ways round: a pmap above the held one is waited for, one below is tried."""
    w = World(pages=CHUNK + 8, memory=32 * MB, cpus=1, locks=locks)
    w.enter(other, 0, CHUNK)
    w.do("hog", 3)  # enough for the new mapping's page tables, not for its pv chunk
    assert w.do("enter", held, VA, w.pages[-1], READ, 0, 0) == 0
    assert w.door.counts()["reclaims"] == 1
    # Its whole chunk was emptied to have the page.
    assert w.door.ptes(other) == {}
    assert list(w.door.ptes(held)) == [VA]
    w.audit()
    w.do("unhog")
    w.finish()


def test_reclaim_skips_wired_mappings_and_superpages() -> None:
    w = World(pages=512, memory=32 * MB, cpus=1, pmaps=3)
    w.do("enter", 0, VA, w.pages[0], READ | WRITE, WRITE, 1)
    w.do("enter", 0, VA + SUPER, w.pages[1], READ, 0x200, 0)
    w.do("enter", 0, VA + SUPER + PAGE, w.pages[2], READ, 0, 0)
    w.do("enter", 1, VA, w.pages[3], READ, 0, 0)
    w.do("hog", 3)
    assert w.do("enter", 2, VA, w.pages[-1], READ, 0, 0) == 0
    assert sorted(w.door.ptes(0)) == [VA, VA + SUPER]  # its one other mapping went, which freed nothing
    assert w.door.ptes(1) == {}
    w.audit()
    w.do("unhog")
    w.finish()


def test_nothing_to_reclaim_is_said() -> None:
    w = World(pages=512, memory=32 * MB, cpus=1)
    w.do("enter", 0, VA, w.pages[0], READ, 0x200, 0)
    w.do("hog", 3)
    with pytest.raises(KernelPanic, match="memory is exhausted"):
        w.do("enter", 1, VA, w.pages[1], READ, 0, 0)
