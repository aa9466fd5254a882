"""The tree of saved page tables against a plain set; its nodes against their zone."""

from __future__ import annotations

import random

import pytest

from doors.radix import Radix
from finegrain.machine.simulated import SimulatedMachine


@pytest.fixture
def tree() -> Radix:
    return Radix(SimulatedMachine(sockets=1, cores=1, threads=1, memory=64 << 20))


def check(tree: Radix, model: set[int]) -> None:
    assert tree.pages() == sorted(model)
    assert tree.nodes() == tree.nodes_in_use()


def test_one_page_needs_no_node(tree: Radix) -> None:
    assert tree.insert(5)
    check(tree, {5})
    assert tree.nodes() == 0
    assert tree.zone_pages() == 0
    assert tree.insert(6)
    assert tree.nodes() == 1
    assert tree.zone_pages() == 1  # the first node: a page from the allocator
    assert tree.remove(6)
    assert tree.nodes() == 0  # one child left: it takes the node's place
    assert not tree.remove(6)
    check(tree, {5})
    assert tree.remove(5)
    check(tree, set())


def test_a_node_is_only_where_indexes_part(tree: Radix) -> None:
    top = 1 << 25  # as far apart as superpages of an address space can be
    for index in (0, 1, top, top + 1):
        assert tree.insert(index)
    check(tree, {0, 1, top, top + 1})
    assert tree.nodes() == 3
    for index in (top, 0, 1, top + 1):
        assert tree.remove(index)
    check(tree, set())


def test_an_index_between_two_levels(tree: Radix) -> None:
    for index in (0x1230, 0x1231, 0x1340, 0x2000, 0x123F):
        assert tree.insert(index)
    assert not tree.remove(0x1250)
    check(tree, {0x1230, 0x1231, 0x1340, 0x2000, 0x123F})


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("span", [40, 5000, 1 << 26])
def test_any_order(tree: Radix, seed: int, span: int) -> None:
    rng = random.Random(seed)
    model: set[int] = set()
    for _ in range(400):
        index = rng.randrange(span)
        if rng.random() < 0.6 and len(model) < tree.most:
            if index not in model:
                assert tree.insert(index)
                model.add(index)
        elif model:
            index = rng.choice(sorted(model)) if rng.random() < 0.8 else index
            assert tree.remove(index) == (index in model)
            model.discard(index)
    check(tree, model)
    for index in sorted(model):
        assert tree.remove(index)
    check(tree, set())
    assert tree.zone_pages() <= 1 + tree.most // 27 + 2


def test_without_memory_there_is_no_node(tree: Radix) -> None:
    assert tree.insert(1)
    tree.exhaust()
    assert not tree.insert(2)
    check(tree, {1})
