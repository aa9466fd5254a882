"""Delayed invalidation: nobody is told that a page is unmapped before those who unmapped it have flushed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finegrain.machine.errors import KernelPanic
from kernel.pmap_door import PAGE, US, VA, World

LONG = 200 * US


def waits(w: World, first: tuple, *others: tuple, page: int = 0) -> int:
    """Run threads of operations, then one that waits for the page; when its wait was over, in simulated time."""
    for operations in (first, *others):
        w.door.start(list(operations))
    w.machine.run(until=w.machine.time_ps + 10 * US)
    thread = w.door.start([("di_wait", w.pages[page])])
    w.machine.run()
    return w.door.results(thread)[0]


def block(w: World, page: int, time: int) -> list[tuple]:
    return [("di_start",), ("di_page", w.pages[page]), ("user", time), ("di_finish",)]


def test_a_wait_ends_with_the_block() -> None:
    w = World(pages=8)
    start = w.machine.time_ps
    assert waits(w, block(w, 0, LONG)) >= start + LONG
    w.finish()


def test_no_wait_without_a_mark() -> None:
    w = World(pages=8)
    start = w.machine.time_ps
    assert waits(w, [("di_start",), ("user", LONG), ("di_finish",)]) < start + LONG
    w.finish()


@pytest.mark.parametrize(("locks", "false_wait"), [(1, True), (0, False)])
def test_a_hashed_generation_makes_others_wait(locks: int, false_wait: bool) -> None:
    """Page 512 is in another superpage: it shares a generation only where superpages share locks."""
    w = World(pages=520, locks=locks)
    start = w.machine.time_ps
    assert (waits(w, block(w, 0, LONG), page=512) >= start + LONG) is false_wait
    w.finish()


def test_an_earlier_block_holds_a_later_one_back() -> None:
    """The finished generation moves only when all earlier blocks are done, though the page is the later one's."""
    w = World(pages=8)
    start = w.machine.time_ps
    earlier = [("di_start",), ("user", LONG), ("di_finish",)]
    later = [("sleep", 2 * US), *block(w, 0, 5 * US)]
    assert waits(w, earlier, later) >= start + LONG
    w.finish()


def test_a_later_block_holds_nobody_back() -> None:
    w = World(pages=8)
    start = w.machine.time_ps
    later = [("sleep", 2 * US), ("di_start",), ("user", LONG), ("di_finish",)]
    assert waits(w, block(w, 0, 20 * US), later) < start + LONG
    w.finish()


def test_remove_all_waits_for_a_flush() -> None:
    w = World(pages=8)
    w.enter(0)
    start = w.machine.time_ps
    w.door.start(block(w, 0, LONG))
    w.machine.run(until=w.machine.time_ps + 10 * US)
    thread = w.door.start([("remove_all", w.pages[0]), ("clock",)])
    w.machine.run()
    assert w.door.results(thread)[1] >= start + LONG
    w.finish()


def test_remove_marks_the_generation() -> None:
    w = World(pages=8)
    w.enter(0)
    before = w.door.generations(w.pages[0])[2]
    w.do("remove", 0, VA, VA + PAGE)
    assert w.door.generations(w.pages[0])[2] > before
    w.finish()


@pytest.mark.parametrize("operations", [[("di_start",), ("di_start",)], [("di_finish",)]])
def test_blocks_do_not_nest(operations: list[tuple]) -> None:
    w = World(pages=1)
    with pytest.raises(KernelPanic, match="delayed-invalidation block"):
        w.run(*operations)


spans = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=12
)


@settings(max_examples=40, deadline=None)
@given(spans, st.integers(0, 60))
def test_waits_end_after_every_earlier_block_that_marked(plan: list[tuple[int, int, int]], at: int) -> None:
    """Blocks open, mark the page and close at any times, several in a thread's life; waiters come in between."""
    w = World(pages=2, cpus=8)
    marks = []
    for delay, before, after in plan:
        operations = [
            ("sleep", delay * US),
            ("di_start",),
            ("user", before * US),
            ("di_page", w.pages[0]),
            ("clock",),
        ]
        marks.append(
            w.door.start([*operations, ("user", after * US), ("clock",), ("di_finish",), *block(w, 1, US)])
        )
    waiter = w.door.start([("sleep", at * US + 1), ("clock",), ("di_wait", w.pages[0])])
    w.machine.run()
    _, began, ended = w.door.results(waiter)
    for thread in marks:
        marked, flushed = (w.door.results(thread)[i] for i in (4, 6))
        if marked < began:
            assert ended >= flushed
    w.finish()
