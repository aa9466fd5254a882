"""From a page to its mappings: against the lock order, and what changes meanwhile."""

from __future__ import annotations

import pytest

from kernel.pmap_door import (
    PAGE,
    PMAP,
    PV,
    READ,
    US,
    VA,
    WRITE,
    World,
)


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
    w = World(pages=8, pmaps=3)
    w.do("enter", 0, VA, w.pages[0], READ | WRITE, 0, 0)
    another = ("enter", 1, VA, w.pages[0], READ | WRITE, WRITE, 0)
    if operation.startswith(
        "remove"
    ):  # which needs the page busied: nobody enters it meanwhile, but fork copies
        w.do("enter", 2, VA, w.pages[0], READ | WRITE, WRITE, 0)
        another = ("copy", 1, 2, VA, VA + PAGE)
    # While it waits for pmap 0, pmap 1 maps the page too.
    w.door.start([("hold_pmap", 0, 300 * US)])
    w.machine.run(until=w.machine.time_ps + US)
    thread = w.door.start([(operation, w.pages[0])])
    w.machine.run(until=w.machine.time_ps + 20 * US)
    w.door.start([another])
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
