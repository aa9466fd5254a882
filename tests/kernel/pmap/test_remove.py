"""The locking protocol: which locks an operation takes, how often, and what it holds meanwhile."""

from __future__ import annotations

import pytest

from kernel.pmap_door import PAGE, READ, SUPER, US, VA, WRITE, World

PV, PMAP, CHUNKS = "rw:pmap pv list", "sleep mutex:pmap", "sleep mutex:pmap pv chunk list"
DESIGNS = [{"locks": 256}, {"locks": 256, "batch": True}, {"locks": 0}, {"locks": 0, "batch": True}]


def taken(counts: dict[tuple[str, ...], int], lock: str) -> int:
    return sum(n for key, n in counts.items() if key[0] == lock and len(key) == 2)


def held_by_waiter(
    w: World, holder: tuple, *operations: tuple, after: int = US
) -> tuple[str | None, list[str]]:
    """Let a thread do what takes and holds a lock for long, then another the operations; what the other one wants."""
    w.door.start([holder])
    w.machine.run(until=w.machine.time_ps + after)
    w.door.start(list(operations))
    answer: tuple[str | None, list[str]] = (None, [])
    for _ in range(500):
        w.machine.run(until=w.machine.time_ps + US)
        answer = w.door.threads()[-1]
        if answer[0] is not None:
            break
    w.machine.run()
    return answer


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
    assert held == [PMAP] if batch else [PMAP, PV]
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


def test_remove_of_nothing_takes_nothing() -> None:
    w = World(pages=8)
    assert w.counted(("remove", 0, VA, VA + SUPER)) == {}
    w.finish()


def test_remove_drops_the_pv_list_lock_before_it_flushes() -> None:
    """While other CPUs are being told, only the pmap lock is held; remove_all still holds the PV list lock then."""
    for operation, expected in (("remove", [PMAP]), ("remove_all", [PV, PMAP])):
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


def test_bottom_up_try_failure_then_a_blocking_lock() -> None:
    w = World(pages=8)
    w.enter(0)
    w.door.start([("hold_pmap", 0, 300 * US)])
    w.machine.run(until=w.machine.time_ps + US)
    w.door.start([("remove_all", w.pages[0])])
    w.machine.run(until=w.machine.time_ps + 20 * US)
    # It waits for the pmap lock with the PV list lock dropped.
    assert w.door.threads()[-1] == (PMAP, [])
    w.machine.run()
    counts = w.door.acquisitions()
    assert counts[PMAP, "pmap_remove_all/pmap", "failed"] == 1
    assert counts[PMAP, "pmap_remove_all/pmap"] == 1
    assert counts[PV, "pmap_remove_all"] == 2
    assert w.door.counts()["restarts"] == 0
    assert w.door.pv_list(w.pages[0]) == []
    w.finish()


@pytest.mark.parametrize("operation", ["remove_all", "remove_write", "ts_referenced", "is_modified"])
def test_bottom_up_starts_again_when_the_list_changed(operation: str) -> None:
    w = World(pages=8)
    w.do("enter", 0, VA, w.pages[0], READ | WRITE, 0, 0)
    # While it waits for pmap 0, pmap 1 maps the page too.
    w.door.start([("hold_pmap", 0, 300 * US)])
    w.machine.run(until=w.machine.time_ps + US)
    thread = w.door.start([(operation, w.pages[0])])
    w.machine.run(until=w.machine.time_ps + 20 * US)
    w.door.start([("enter", 1, VA, w.pages[0], READ | WRITE, WRITE, 0)])
    w.machine.run()
    assert w.door.counts()["restarts"] == 1
    answer = w.door.results(thread)[0]
    ptes = [w.door.ptes(p).get(VA, (0, 0))[0] for p in (0, 1)]
    if operation == "remove_all":
        assert ptes == [0, 0]
    elif operation == "remove_write":
        assert [pte & WRITE for pte in ptes] == [0, 0]
        assert w.door.pages([w.pages[0]])[0][2:] == (False, False, True)
    elif operation == "ts_referenced":
        assert answer == 2
        assert [pte & 0x20 for pte in ptes] == [0, 0]
    else:
        assert answer == 1  # seen only because the scan started again
    w.finish()


def test_superpage_list_lock_and_page_list_lock_are_the_same() -> None:
    w = World(pages=512, locks=0)
    w.enter(0)
    counts = w.counted(("remove", 0, VA + 5 * PAGE, VA + 6 * PAGE))
    # Demotion takes it; the removal of the page carries it on.
    assert {key: n for key, n in counts.items() if key[0] == PV} == {(PV, "pmap_demote_pde"): 1}
    w.finish()


def test_page_exists_quick_reads() -> None:
    w = World(pages=8)
    w.enter(0)
    w.door.start([("hold_pv_list", w.pages[0], 100 * US)])
    w.machine.run(until=w.machine.time_ps + US)
    w.door.start([("exists_quick", 0, w.pages[0])])
    w.machine.run(until=w.machine.time_ps + 5 * US)
    assert w.door.threads()[-1] == (PV, [])
    w.machine.run()
    assert w.do("exists_quick", 0, w.pages[0]) == 1
    assert w.do("exists_quick", 1, w.pages[0]) == 0
    w.finish()
