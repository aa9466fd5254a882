"""Fork's operations: which locks they take."""

from __future__ import annotations

from kernel.pmap_door import (
    PAGE,
    PMAP,
    PV,
    READ,
    SUPER,
    VA,
    World,
    taken,
)


def test_protect_takes_no_pv_list_lock() -> None:
    w = World(pages=8)
    w.enter(0)
    assert w.counted(("protect", 0, VA, VA + SUPER, READ)) == {(PMAP, "pmap_protect/pmap"): 1}
    w.finish()


def test_protecting_part_of_a_superpage_takes_it_to_demote() -> None:
    w = World(pages=512)
    w.enter(0)
    assert w.door.counts()["promotions"] == 1
    assert taken(w.counted(("protect", 0, VA, VA + SUPER, READ)), PV) == 0
    assert w.counted(("protect", 0, VA, VA + PAGE, READ))[PV, "pmap_demote_pde"] == 1
    w.finish()
