"""Physical memory as a lab: what it refuses to do to pages and objects. What it does is in tests/kernel/phys."""

import pytest

from finegrain.lab import PhysicalMemory
from finegrain.machine.simulated import SimulatedMachine

MIB = 1 << 20


@pytest.fixture
def memory() -> PhysicalMemory:
    return PhysicalMemory(SimulatedMachine(sockets=1, cores=1, threads=1, memory=64 * MIB))


@pytest.mark.parametrize(
    ("operations", "why"),
    [
        ([("free", "page"), ("free", "page")], "the page is free"),
        ([("wire", "page"), ("free", "page")], "the page is wired"),
        ([("unwire", "page")], "the page is not wired"),
        ([("xunbusy", "page"), ("xunbusy", "page")], "the page is not exclusively busied"),
        ([("insert", 1, 0, "page")], "the page is in an object"),
        ([("remove", "page"), ("remove", "page")], "the page is in no object"),
        ([("alloc", 0, 0)], "a page is resident at this index"),
        ([("alloc", 1, 7), ("rename", 1, 7, "page")], "a page is resident at this index"),
        ([("remove", "page"), ("rename", 1, 0, "page")], "the page is in no object"),
        ([("wire", "page"), ("terminate", 0)], "a page of the object is wired"),
    ],
)
def test_what_pages_do_not_allow(memory: PhysicalMemory, operations: list[tuple], why: str) -> None:
    for _ in range(2):
        memory.object(10)
    page = memory.do("alloc", 0, 0)
    with pytest.raises(ValueError, match=why):
        memory.run(*(tuple(page if part == "page" else part for part in one) for one in operations))
    assert memory.counts()["faults"] == 0


def test_two_threads_use_pages_at_once(memory: PhysicalMemory) -> None:
    memory.object(100)
    pages = memory.run(*(("alloc", 0, i) for i in range(60)))
    for half in (pages[:30], pages[30:]):
        memory.start([step for pa in half for step in (("wire", pa), ("unwire", pa), ("free", pa))])
    memory.join()
    assert memory.counts()["allocated"] == 0
    assert memory.counts()["faults"] == 0


@pytest.mark.parametrize(
    "bad", [{"size": 0}, {"size": 1, "color": 512}, {"size": 1, "backing": 3}, {"size": None}]
)
def test_objects_that_cannot_be(memory: PhysicalMemory, bad: dict) -> None:
    with pytest.raises((TypeError, ValueError, LookupError)):
        memory.object(**bad)
