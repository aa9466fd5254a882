"""The audits find what is broken, and only that."""

from __future__ import annotations

import re

import pytest

from kernel.pmap_door import READ, World

BROKEN = {
    0: "8 pages are mapped, 9 counted",
    1: "PV list of page .* is broken before the entry",
    2: "broken|7 pv entries for 8",
    3: "no managed mapping|9 pv entries for 8",
    4: "PV list of page .* is broken",
    5: "4 page-table pages, 3 counted",
    6: "0 pages are wired, 18446744073709551615 counted",
    7: "the end of its list of pv chunks",
    9: "0 pv chunks on the LRU, 1 counted|2 counted",
}


@pytest.mark.parametrize("what", BROKEN)
def test_an_audit_finds(what: int) -> None:
    w = World(pages=8)
    w.enter(0, prot=READ)
    w.audit()
    w.do("corrupt", 0, what)
    faults, text = w.door.audit(*w.numbers)
    assert faults > 0
    assert re.search(BROKEN[what], text), text


def test_an_audit_finds_nothing_where_nothing_is() -> None:
    w = World(pages=8)
    w.enter(0)
    w.do("corrupt", 0, 8)
    w.finish()
