"""The audits find what is broken, and only that."""

from __future__ import annotations

import re

import pytest

from kernel.pmap_door import READ, World

BROKEN = {
    "resident": "8 pages are mapped, 9 counted",
    "va": "PV list of page .* is broken before the entry",
    "freed": "broken|7 pv entries for 8",
    "taken": "no managed mapping|9 pv entries for 8",
    "link": "PV list of page .* is broken",
    "tables": "4 page-table pages, 3 counted",
    "wired": "0 pages are wired, 18446744073709551615 counted",
    "last": "the end of its list of pv chunks",
    "lru": "0 pv chunks on the LRU, 1 counted|2 counted",
}


@pytest.mark.parametrize("what", BROKEN)
def test_an_audit_finds(what: str) -> None:
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
    w.do("corrupt", 0, "nothing")
    w.finish()
