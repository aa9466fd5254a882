"""Promotion and demotion, case by case; and what they leave of bits that random sequences seldom meet."""

from __future__ import annotations

from finegrain.lab.profile import read_profile
from kernel.pmap_door import EXECUTE, PAGE, PV, READ, SUPER, VA, WRITE, World

A, PS, PROMOTED, RW, M = 0x20, 0x80, 1 << 54, 0x2, 0x40


def entry(w: World, va: int = VA, p: int = 0) -> int:
    return w.door.ptes(p).get(va, (0, 0))[0]


def promoted(w: World, p: int = 0) -> bool:
    return bool(entry(w, VA, p) & PS)


def test_the_512th_page_promotes() -> None:
    w = World(pages=512)
    w.enter(0, 0, 511)
    assert not promoted(w)
    w.enter(0, 511, 512)
    assert promoted(w)
    assert w.door.pmap(0)["saved"] == [VA]
    assert w.door.superpage_list(w.pages[0]) == [(1, VA)]
    assert all(w.door.pv_list(pa) == [] for pa in w.pages)
    w.finish()


def test_not_without_a_full_reservation() -> None:
    w = World(pages=512)
    w.enter(0, 0, 511)
    w.do("remove_all", w.pages[511])
    w.do("free", w.pages[511])
    other = w.door.object(1)
    pa = w.do("alloc", other, 0)
    w.do("enter", 0, VA + 511 * PAGE, pa, READ | WRITE, WRITE, 0)
    assert not promoted(w)
    w.audit()


def test_not_when_one_page_was_not_accessed() -> None:
    w = World(pages=512)
    w.do("enter_quick", 0, VA + 7 * PAGE, w.pages[7], READ)
    w.enter(0, 0, 7, READ)
    w.enter(0, 8, 512, READ)
    assert not promoted(w)
    assert w.door.counts()["promotion_failures"] == 1
    # The access sets its bit; the next fault promotes.
    w.do("access", 0, VA + 7 * PAGE, READ)
    w.enter(0, 3, 4, READ)
    assert promoted(w)
    # That page was mapped already, so no PV list lock was carried here: the promotion took it.
    points = {
        row["site"]: row["acquisitions"] for row in read_profile(w.machine) if row["name"] == "pmap pv list"
    }
    assert points["pmap_promote_pde"] == 1
    w.finish()


def test_not_when_protections_differ() -> None:
    for odd in (READ | WRITE, READ | EXECUTE):
        w = World(pages=512)
        w.enter(0, 0, 100, READ)
        w.enter(0, 100, 101, odd)
        w.enter(0, 101, 512, READ)
        assert not promoted(w)
        w.finish()


def test_clean_writable_pages_are_promoted_read_only() -> None:
    w = World(pages=512)
    w.run(*(("enter", 0, VA + i * PAGE, pa, READ | WRITE, 0, 0) for i, pa in enumerate(w.pages)))
    assert promoted(w)
    assert not entry(w) & RW
    w.finish()


def test_protect_in_place_forgets_that_small_entries_may_live() -> None:
    w = World(pages=512)
    w.enter(0)
    assert entry(w) & PROMOTED
    w.do("protect", 0, VA, VA + SUPER, READ)
    assert entry(w) & PS
    assert not entry(w) & (PROMOTED | RW | M)
    assert all(dirty for *_, dirty in w.door.pages(w.pages))
    # The saved page table is stale now: demotion must not bring write permission back.
    w.do("protect", 0, VA, VA + PAGE, READ | EXECUTE)
    assert not entry(w, VA + 5 * PAGE) & (PS | RW)
    w.finish()


def test_demotion_of_a_mapping_never_accessed_removes_it() -> None:
    w = World(pages=512)
    w.do("enter_object", 0, VA, VA + SUPER, w.pages[0], READ)
    assert promoted(w)
    w.do("remove", 0, VA, VA + PAGE)
    assert w.door.ptes(0) == {}
    w.finish()


def test_a_copied_superpage_is_whole_and_its_own() -> None:
    w = World(pages=512)
    w.enter(0)
    w.do("protect", 0, VA, VA + SUPER, READ)
    w.do("copy", 1, 0, VA, VA + SUPER)
    assert promoted(w, 1)
    assert w.door.superpage_list(w.pages[0]) == [(1, VA), (2, VA)]
    w.do("enter", 1, VA, w.pages[1], READ, 0, 0)  # another page: demotes in pmap 1 alone
    assert promoted(w, 0)
    assert not promoted(w, 1)
    assert len(w.door.ptes(1)) == 512
    w.finish()


def test_the_same_page_entered_clean_after_it_was_written() -> None:
    w = World(pages=8)
    w.do("enter", 0, VA, w.pages[0], READ | WRITE, WRITE, 0)
    w.do("enter", 0, VA, w.pages[0], READ, 0, 0)
    assert not entry(w) & (RW | M)
    assert w.door.pages([w.pages[0]])[0][4]
    w.finish()


def test_a_superpage_mapping_replaces_small_ones() -> None:
    w = World(pages=512)
    w.do("enter", 0, VA + PAGE, w.pages[3], READ, 0, 0)
    assert w.do("enter", 0, VA, w.pages[0], READ | WRITE, WRITE, 1) == 0
    assert w.door.ptes(0).keys() == {VA}
    assert w.door.pv_list(w.pages[3]) == []
    w.finish()


def test_superpage_list_lock_and_page_list_lock_are_the_same() -> None:
    w = World(pages=512, locks=0)
    w.enter(0)
    counts = w.counted(("remove", 0, VA + 5 * PAGE, VA + 6 * PAGE))
    # Demotion takes it; the removal of the page carries it on.
    assert {key: n for key, n in counts.items() if key[0] == PV} == {(PV, "pmap_demote_pde"): 1}
    w.finish()
