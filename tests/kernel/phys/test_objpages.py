"""The index and the list of an object's pages against a dict."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doors.phys import PhysDoor
from finegrain.machine.errors import KernelPanic
from finegrain.machine.simulated import SimulatedMachine

MIB = 1 << 20
SIZE = 1 << 30
# Near each other, far apart, and at both ends of leaves and directory words.
near = st.integers(0, 400)
indexes = st.one_of(
    near, st.integers(0, SIZE), st.sampled_from([0, 63, 64, 4095, 4096, 262143, 262144, SIZE - 1])
)


def door() -> PhysDoor:
    return PhysDoor(
        SimulatedMachine(sockets=1, cores=1, threads=1, memory=64 * MIB), [(MIB, 64 * MIB, 0)], checked=False
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), indexes), min_size=1, max_size=60), st.lists(indexes, max_size=20))
def test_lookup_and_lookup_le_are_those_of_a_dict(steps: list[tuple[bool, int]], probes: list[int]) -> None:
    d = door()
    obj = d.object(SIZE)
    pages: dict[int, int] = {}
    for insert, index in steps:
        if insert and index not in pages:
            pages[index] = d.run([("alloc", obj, index, 0)])[0]
        elif not insert and pages:
            index = min(pages, key=lambda i: abs(i - index))
            d.run([("free", pages.pop(index))])
    probes = probes + [i + j for i in list(pages)[:20] for j in (-1, 0, 1) if i + j >= 0]
    found = d.run([("lookup", obj, i) for i in probes])
    before = d.run([("lookup_le", obj, i) for i in probes])
    assert found == [pages.get(i, 0) for i in probes]
    assert before == [max((j for j in pages if j <= i), default=-1) for i in probes]
    assert d.pages(obj) == sorted(pages.items())
    d.run([("terminate", obj)])
    assert d.pages(obj) == []
    assert d.counts()["allocated"] == 0


def test_an_object_of_three_pages_takes_little_memory_wherever_they_are() -> None:
    d = door()
    first = d.object(SIZE)
    d.run([("alloc", first, 0, 0)])
    for base in (0, SIZE - 3):
        before = d.memory_taken()
        for _ in range(64):
            obj = d.object(SIZE)
            d.run([("alloc", obj, base + i, 0) for i in range(3)])
        assert d.memory_taken() - before <= 64 * 1280, "the object itself included"


def test_a_page_cannot_be_put_where_one_is() -> None:
    d = door()
    obj, other = d.object(10), d.object(10)
    d.run([("alloc", obj, 5, 0)])
    page = d.run([("alloc", other, 5, 0), ("lookup", other, 5)])[1]
    d.run([("remove", page)])
    assert d.run([("lookup", other, 5)]) == [0]
    assert not d.page(page)["in_object"]
    with pytest.raises(KernelPanic, match="resident at this index"):
        d.run([("insert", obj, 5, page)])


def test_a_removed_page_can_go_into_another_object() -> None:
    d = door()
    obj, other = d.object(10), d.object(10)
    page = d.run([("alloc", obj, 5, 0)])[0]
    d.run([("remove", page), ("insert", other, 7, page)])
    assert d.pages(obj) == []
    assert d.pages(other) == [(7, page)]
    with pytest.raises(KernelPanic, match="in an object already"):
        d.run([("insert", obj, 5, page)])


@pytest.mark.parametrize("order", [range(40), range(39, -1, -1)])
def test_the_index_keeps_its_pages_as_it_grows_up_and_down(order: range) -> None:
    d = door()
    obj = d.object(SIZE)
    have = []
    for i in order:
        d.run([("alloc", obj, 64 * i + 7, 0)])
        have.append(64 * i + 7)
        probes = [64 * j + 6 for j in range(42)] + [64 * j + 8 for j in range(42)]
        found = d.run([("lookup_le", obj, p) for p in probes])
        assert found == [max((h for h in have if h <= p), default=-1) for p in probes]
