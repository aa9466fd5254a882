"""Pmaps as a lab: what it refuses to do. What it does is in tests/kernel/pmap."""

import pytest

from finegrain.lab import Pmaps
from finegrain.machine.simulated import SimulatedMachine

MIB, PAGE, SUPER = 1 << 20, 4096, 1 << 21


@pytest.mark.parametrize(
    ("operations", "why"),
    [
        ([("enter", 1, 0, "page", "r")], "the pmap is not made"),
        ([("pinit", 0)], "the pmap is made already"),
        ([("release", 0), ("extract", 0, 0)], "the pmap is not made"),
        ([("enter", 0, 0, "page", "r"), ("release", 0)], "the pmap is not empty"),
        ([("activate", 0), ("release", 0)], "a thread uses the pmap"),
        ([("deactivate", 0)], "the thread does not use the pmap"),
        ([("enter", 0, 0, "page", "r", 2)], "an access that writes needs the right to write"),
        ([("enter", 0, PAGE, "page", "r", 0, 1)], "multiples of 2 MB"),
        ([("enter", 0, 0, "base", "r", 0, 1)], "does not begin a full superpage"),
        ([("enter", 0, 0, "page", "r"), ("free", "page")], "the page is mapped"),
        ([("enter", 0, 0, "page", "r"), ("terminate", 0)], "a page of the object is mapped"),
        ([("free", "page"), ("enter_quick", 0, 0, "page", "r")], "the page is free, or the kernel's own"),
        ([("copy", 0, 0, 0, PAGE)], "a pmap cannot be copied to itself"),
        ([("remove", 0, PAGE, 0)], "the range ends before it begins"),
    ],
)
def test_what_pmaps_do_not_allow(operations: list[tuple], why: str) -> None:
    pmaps = Pmaps(SimulatedMachine(sockets=1, cores=1, threads=1, memory=64 * MIB))
    pmaps.object(512, color=0)
    base, page = pmaps.run(("alloc", 0, 0), ("alloc", 0, 1), ("pinit", 0))[:2]
    named = {"page": page, "base": base}
    with pytest.raises(ValueError, match=why):
        pmaps.run(*(tuple(named.get(part, part) for part in one) for one in operations))
    pmaps.audit(*([0] if pmaps.pmap(0)["ptps"] else []))


def test_page_tables_are_not_yours() -> None:
    pmaps = Pmaps(SimulatedMachine(sockets=1, cores=1, threads=1, memory=64 * MIB))
    pmaps.object(1)
    pmaps.do("pinit", 0)
    page = pmaps.do("alloc", 0, 0)
    pmaps.do("enter", 0, 0, page, "r")
    for pa in range(MIB, 64 * MIB, PAGE):
        if pa != page:
            with pytest.raises(ValueError, match="the page is free, or the kernel's own"):
                pmaps.do("free", pa)
            if pa > MIB + 600 * PAGE:
                break
    assert pmaps.audit(0) == (0, "")
