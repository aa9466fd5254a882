"""The life of a pmap: made empty, given up empty and idle."""

from __future__ import annotations

import pytest

from finegrain.machine.errors import KernelPanic
from kernel.pmap_door import PAGE, READ, VA, WRITE, World


def test_a_pmap_begins_and_ends_with_its_root_page() -> None:
    w = World(pages=1, pmaps=0)
    w.do("pinit", 5)
    assert w.door.counts()["allocated"] == w.before["allocated"] + 1
    assert w.door.pmap(5)["ptps"] == 1
    w.do("release", 5)
    w.audit_empty()


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (("enter", 0, VA, None, READ, 0, 0), "releasing a pmap that is not empty"),
        (("activate", 0), "releasing a pmap that is in use"),
        (("deactivate", 0), "pmap_deactivate of a pmap that the thread does not use"),
    ],
)
def test_what_the_kernel_asserts(before: tuple, why: str) -> None:
    w = World(pages=1, checked=False)
    page = w.pages[0]
    with pytest.raises(KernelPanic, match=why):
        w.run(tuple(page if part is None else part for part in before), ("release", 0))


def test_looking_up_and_accessing() -> None:
    w = World(pages=2)
    w.do("enter", 0, VA, w.pages[0], READ, 0, 0)
    assert w.do("extract", 0, VA + 5) == w.pages[0] + 5
    assert w.do("extract", 0, VA + PAGE) == 0
    assert w.do("is_prefaultable", 0, VA + PAGE) == 1
    assert w.do("is_prefaultable", 0, VA) == 0
    assert w.do("access", 0, VA, READ) == 1
    assert w.do("access", 0, VA, WRITE) == 0
    assert w.do("access", 0, VA + PAGE, READ) == 0
    w.finish()
