"""Threads' lists of steps: an AWAIT where one needs what another has done, and none elsewhere."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload.compile import compile_program

RW = rec.PROT_READ | rec.PROT_WRITE
RX = rec.PROT_READ | rec.PROT_EXEC


def threaded(*rows):
    """A process whose threads 1 and 2 begin at once; `rows` are thread, kind and columns."""
    begin = [
        (0, rec.EXEC, {}),
        (0, rec.MAP, {"page": 1000, "pages": 8, "info": RX | rec.MAP_EXEC, "file": 1}),
    ]
    begin += [(0, rec.THREAD, {"info": 1}), (0, rec.THREAD, {"info": 2})]
    return [
        {"time": 1000 * i, "kind": kind, "thread": thread, **columns}
        for i, (thread, kind, columns) in enumerate([*begin, *rows])
    ]


def at(thread, kind, page=0, pages=1, **columns):
    return thread, kind, {"page": page, **({"pages": pages} if kind != rec.FAULT else {}), **columns}


def lists(make_recording, rows):
    """The steps of each list by name, with what an AWAIT waits for: a list and how many steps of it."""
    program = compile_program(make_recording(rows, ["/bin/sh"]))
    found = []
    for number in range(len(program.first_step) - 1):
        steps = []
        for i in range(program.first_step[number], program.first_step[number + 1]):
            name = pr.OP_NAMES[program.op[i]]
            if program.op[i] == pr.AWAIT:
                other, step = int(program.arg0[i]), int(program.arg1[i])
                name = (other, int(step - program.first_step[other]) if step else 0)
            steps.append(name)
        found.append(steps)
    return found


BEGIN = ["exec", "mmap", "thread", "thread"]


def test_a_touch_waits_for_the_mapping_once(make_recording):
    rows = threaded(
        at(1, rec.MAP, 100, 4, info=RW),
        at(2, rec.FAULT, 100),
        at(2, rec.FAULT, 101),
        at(1, rec.FAULT, 102),
        (0, rec.EXIT, {}),
    )
    assert lists(make_recording, rows) == [
        [*BEGIN, "exit"],
        ["mmap", "touch", "exit"],
        [(1, 1), "touch", "touch", "exit"],
    ]


def test_an_unmapping_waits_for_the_last_touch_of_each_other_thread(make_recording):
    rows = threaded(
        at(0, rec.MAP, 100, 4, info=RW),
        at(1, rec.FAULT, 100),
        at(1, rec.FAULT, 103),
        at(2, rec.FAULT, 101),
        at(1, rec.FAULT, 100),
        at(0, rec.UNMAP, 100, 4),
        (0, rec.EXIT, {}),
    )
    assert lists(make_recording, rows) == [
        [*BEGIN, "mmap", (1, 4), (2, 2), "munmap", "exit"],
        [(0, 5), "touch", "touch", "touch", "exit"],
        [(0, 5), "touch", "exit"],
    ]


def test_what_a_thread_does_with_its_own_memory_waits_for_nobody(make_recording):
    rows = threaded(
        at(1, rec.MAP, 100, 4, info=RW),
        at(2, rec.MAP, 104, 4, info=RW),
        at(1, rec.FAULT, 103),
        at(2, rec.FAULT, 104),
        at(1, rec.UNMAP, 100, 4),
        at(2, rec.UNMAP, 104, 4),
        (0, rec.EXIT, {}),
    )
    assert lists(make_recording, rows) == [[*BEGIN, "exit"], *[["mmap", "touch", "munmap", "exit"]] * 2]


def test_a_new_thread_finds_what_its_creator_did(make_recording):
    rows = [
        *threaded(at(1, rec.MAP, 100, 4, info=RW), (1, rec.THREAD, {"info": 3}), at(3, rec.FAULT, 100)),
        {"time": 90_000, "kind": rec.EXIT},
    ]
    assert lists(make_recording, rows) == [
        [*BEGIN, "exit"], ["mmap", "thread", "exit"], ["exit"], ["touch", "exit"],
    ]  # fmt: skip


def test_a_heap_grows_in_order(make_recording):
    rows = threaded(
        at(1, rec.BREAK, 200, 0),
        at(1, rec.BREAK, 210, 0),
        at(2, rec.BREAK, 220, 0),
        at(0, rec.FAULT, 215),
        (0, rec.EXIT, {}),
    )
    assert lists(make_recording, rows) == [
        [*BEGIN, (2, 2), "touch", "exit"], ["brk", "brk", "exit"], [(1, 2), "brk", "exit"],
    ]  # fmt: skip


def test_a_mapping_that_was_inferred_is_waited_for_too(make_recording):
    rows = threaded(at(1, rec.FAULT, 500), at(2, rec.FAULT, 501), (0, rec.EXIT, {}))
    found = lists(make_recording, rows)
    assert found[1:] == [["mmap", "touch", "exit"], [(1, 2), "touch", "exit"]]


def test_a_fork_and_the_changes_around_it_are_in_order(make_recording):
    rows = threaded(
        at(1, rec.MAP, 100, 4, info=RW),
        (2, rec.FORK, {"info": 1}),
        at(1, rec.UNMAP, 100, 4),
        (0, rec.WAIT, {"info": 1}),
        (0, rec.EXIT, {}),
        (0, rec.FAULT, {"page": 101, "process": 1}),
        (0, rec.EXIT, {"process": 1}),
    )
    assert lists(make_recording, rows) == [
        [*BEGIN, (3, 2), "wait", "exit"],
        ["touch", "exit"],
        ["mmap", (3, 2), "munmap", "exit"],
        [(2, 1), "fork", "exit"],
    ]


def test_a_fork_gives_the_heaps_end(make_recording):
    rows = threaded((0, rec.FORK, {"info": 1}), at(1, rec.BREAK, 200, 0), (0, rec.EXIT, {}))
    assert lists(make_recording, rows)[2] == [(0, 5), "brk", "exit"]


def test_a_pipe_is_there_before_it_is_used_and_used_before_it_is_closed(make_recording):
    rows = threaded(
        (1, rec.PIPE, {"info": 0}),
        (2, rec.WRITE, {"info": 0, "pages": 10}),
        (1, rec.READ, {"info": 0, "pages": 10}),
        (1, rec.CLOSE, {"info": 0, "pages": 1}),
        (1, rec.CLOSE, {"info": 0, "pages": 0}),
        (0, rec.EXIT, {}),
    )
    assert lists(make_recording, rows) == [
        [*BEGIN, "exit"],
        ["pipe", "read", (2, 2), "close", "close", "exit"],
        [(1, 1), "write", "exit"],
    ]


def test_nothing_comes_after_a_threads_end(make_recording):
    rows = threaded(
        (1, rec.THREAD_EXIT, {}),
        at(1, rec.FAULT, 1000),
        at(1, rec.MAP, 100, 4, info=RW),
        at(2, rec.FAULT, 100),
        (0, rec.EXIT, {}),
    )
    assert lists(make_recording, rows)[1] == ["exit"]


def test_the_process_ends_whoever_says_so(make_recording):
    rows = threaded(at(1, rec.MAP, 100, 4, info=RW), (1, rec.EXIT, {}))
    assert lists(make_recording, rows) == [[*BEGIN, "exit"], ["mmap", "exit"], ["exit"]]


def test_threads_that_begin_nowhere_or_exec_together_are_one(make_recording):
    begun = threaded(at(1, rec.FAULT, 1000), (2, rec.EXEC, {}), (0, rec.EXIT, {}))
    unseen = [
        {"time": 0, "kind": rec.EXEC},
        {"time": 1000, "kind": rec.MAP, "thread": 4, "page": 9, "pages": 1},
    ]
    itself = [{"time": 0, "kind": rec.EXEC}, {"time": 1000, "kind": rec.THREAD, "thread": 1, "info": 1}]
    for rows in (begun, unseen, itself):
        assert len(lists(make_recording, rows)) == 1


PAGES = st.integers(90, 106)
ACTIONS = st.one_of(
    st.tuples(st.just(rec.FAULT), PAGES, st.just(0), st.sampled_from([0, 1, 2, 7])),
    st.tuples(st.just(rec.FAULT), PAGES, st.just(0), st.sampled_from([0, 1])),
    st.tuples(st.just(rec.MAP), PAGES, st.integers(1, 9), st.sampled_from([RW, RX, rec.PROT_READ])),
    st.tuples(st.just(rec.UNMAP), PAGES, st.integers(1, 9), st.just(0)),
    st.tuples(st.just(rec.PROTECT), PAGES, st.integers(1, 9), st.integers(0, 7)),
    st.tuples(st.just(rec.BREAK), PAGES, st.just(0), st.just(0)),
    st.tuples(st.just(rec.MOVE), PAGES, st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.just(rec.FORK), st.just(0), st.integers(0, 1), st.just(0)),
    st.tuples(st.just(rec.WAIT), st.just(0), st.just(0), st.integers(1, 3)),
    st.tuples(st.just(rec.SETPGID), st.just(0), st.just(0), st.integers(1, 3)),
    st.tuples(st.just(rec.THREAD), st.just(0), st.just(0), st.integers(1, 3)),
    st.tuples(st.just(rec.THREAD_EXIT), st.just(0), st.just(0), st.just(0)),
    st.tuples(st.just(rec.EXIT), st.just(0), st.just(0), st.just(0)),
)


def random_rows(actions):
    rows, born, begun = [{"time": 0, "kind": rec.EXEC}], 0, {0}
    for i, (thread, (kind, page, pages, info)) in enumerate(actions, 1):
        if thread not in begun or (kind == rec.THREAD and info in begun):
            continue
        columns = {"page": page, "pages": pages, "info": info}
        if kind == rec.FORK:
            born += 1
            columns["info"] = born
        elif kind == rec.MOVE:
            columns["offset"] = 90 + (page * 7 + pages) % 17
        elif kind == rec.THREAD:
            begun.add(info)
            columns["pages"] = 0
        rows.append({"time": 100 * i, "kind": kind, "thread": thread, **columns})
        if kind == rec.FORK:
            rows.append({"time": 100 * i + 1, "kind": rec.FAULT, "page": 99, "process": born})
    return rows


@settings(max_examples=250, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), ACTIONS), min_size=4, max_size=40),
    st.sampled_from(["tracepoints", "software"]),
    st.integers(0, 1 << 30),
)
def test_any_order_that_obeys_the_waits_is_as_good_as_the_recordings(
    make_recording, model, actions, kind, seed
):
    start = [(0, (rec.THREAD, 0, 0, 1)), (1, (rec.THREAD, 0, 0, 2))]
    program = compile_program(make_recording(random_rows([*start, *actions]), ["/bin/sh"], kind=kind))
    first = model(program, Random(seed)).check()
    again = model(program, Random(seed + 1)).check()
    for process in range(len(program.parent)):
        pages, touched, heap = first.space(process).state()
        others = again.space(process).state()
        assert (pages, heap) == (others[0], others[2])
        assert process or touched == others[1]  # what a fork gives may be touched by then or not


@pytest.mark.parametrize("name", ["stage", "threads"])
def test_bundled_recordings_are_consistent(model, name):
    program = compile_program(rec.load(name))
    assert (program.op >= pr.FILE_OPEN).sum() > 1000
    assert name != "threads" or len(program.thread_process) > 10
    model(program, Random(1)).check()
