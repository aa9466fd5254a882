"""Who has which ends of pipes; and which pipes a recording does not explain."""

import pytest

from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload.compile import compile_program
from finegrain.workload.pipes import Ends, PipeStates
from finegrain.workload.start import Starts

# process, ms, kind, pages, offset, info: a shell and two children, of which the first writes
STORY = [
    (0, 1, rec.PIPE, 0, 0, 0),
    (0, 2, rec.FORK, 0, 0, 1),
    (0, 3, rec.CLOSE, 1, 0, 0),
    (0, 4, rec.FORK, 0, 0, 2),
    (0, 9, rec.READ, 5, 40_000, 0),
    (0, 13, rec.READ, 0, 30_000, 0),
    (0, 14, rec.CLOSE, 0, 0, 0),
    (0, 20, rec.EXIT, 0, 0, 0),
    (1, 6, rec.CLOSE, 0, 0, 0),
    (1, 8, rec.WRITE, 5, 10, 0),
    (1, 12, rec.EXIT, 0, 0, 0),
    (2, 18, rec.EXIT, 0, 0, 0),
]


def compiled(make_recording, story):
    rows = [(p, at * 1_000_000, kind, 0, pages, offset, info) for p, at, kind, pages, offset, info in story]
    names = ("process", "time", "kind", "page", "pages", "offset", "info")
    return compile_program(make_recording([dict(zip(names, row, strict=True)) for row in rows]))


def test_ends():
    ends = Ends()
    ends.make(0, 5)
    ends.fork(0, 1)
    ends.close(0, (5, pr.PIPE_WRITE_END))
    assert ends.holders[5, pr.PIPE_WRITE_END] == {1}
    assert ends.holders[5, pr.PIPE_READ_END] == {0, 1}
    ends.exit(1)
    assert ends.holders[5, pr.PIPE_READ_END] == {0}
    assert ends.of == {0: {(5, pr.PIPE_READ_END)}}


def test_a_whole_story_becomes_steps(make_recording):
    program = compiled(make_recording, STORY)
    assert "pipes left out" not in program.inferred
    steps = [
        (pr.OP_NAMES[op], arg0, arg1)
        for op, arg0, arg1 in zip(
            program.op.tolist(), program.arg0.tolist(), program.arg1.tolist(), strict=True
        )
    ]
    assert steps == [
        ("pipe", 0, 0), ("fork", 1, 0), ("close", 0, 1), ("fork", 2, 0), ("read", 0, 5), ("read", 0, 0),
        ("close", 0, 0),
        ("exit", 0, 0), ("close", 0, 0), ("write", 0, 5), ("exit", 0, 0), ("exit", 0, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("at", "changed"),
    [
        (9, (1, 8, rec.WRITE, 4, 10, 0)),  # more is read than is written
        (9, (1, 10, rec.WRITE, 5, 10, 0)),  # ... or before it is
        (10, (1, 30, rec.EXIT, 0, 0, 0)),  # the end of file, and somebody can still write
        (2, (0, 3, rec.CLOSE, 0, 0, 0)),  # reads with no read end
        (8, (1, 6, rec.CLOSE, 1, 0, 0)),  # writes with no write end
    ],
)
def test_a_story_with_a_gap_is_left_out(make_recording, at, changed):
    program = compiled(make_recording, [*STORY[:at], changed, *STORY[at + 1 :]])
    assert program.inferred["pipes left out"] == 1
    assert not (program.op >= pr.PIPE).any()


def test_the_record_of_an_exit_may_come_a_little_late(make_recording):
    program = compiled(
        make_recording,
        [*STORY[:5], (0, 12, rec.READ, 0, 20_000, 0), *STORY[6:10], (1, 12, rec.EXIT, 0, 0, 0), *STORY[11:]],
    )
    assert "pipes left out" not in program.inferred


@pytest.mark.parametrize(
    ("ms", "pipes", "held"),
    [
        (0, [], {}),
        (2.5, [(0, 0, 2, 2)], {0: [(0, 0), (0, 1)], 1: [(0, 0), (0, 1)]}),
        (5, [(0, 0, 3, 1)], {0: [(0, 0)], 1: [(0, 0), (0, 1)], 2: [(0, 0)]}),
        (8.5, [(0, 5, 2, 1)], {0: [(0, 0)], 1: [(0, 1)], 2: [(0, 0)]}),
        (12.5, [(0, 0, 2, 0)], {0: [(0, 0)], 2: [(0, 0)]}),
        (19, [], {}),
    ],
)
def test_states(make_recording, ms, pipes, held):
    states = PipeStates(compiled(make_recording, STORY))
    states.at(10_000_000)
    assert states.at(round(ms * 1_000_000)) == (pipes, held)


def test_a_start_holds_what_was_held(make_recording):
    start = Starts(compiled(make_recording, STORY)).at(8_500_000)
    held = [
        (process, arg0, arg1)
        for process, op, arg0, arg1 in zip(
            start.process.tolist(), start.op.tolist(), start.arg0.tolist(), start.arg1.tolist(), strict=True
        )
        if op == pr.HOLD
    ]
    assert held == [(0, 0, 0), (1, 0, 1), (2, 0, 0)]
    assert start.pipes == [(0, 5, 2, 1)]


def test_a_process_keeps_its_pipes_when_one_of_its_threads_ends(make_recording):
    rows = [
        {"time": 1000, "kind": rec.THREAD, "info": 1},
        {"time": 2000, "kind": rec.PIPE, "info": 0},
        {"time": 3000, "kind": rec.WRITE, "pages": 7, "info": 0, "thread": 1},
        {"time": 4000, "kind": rec.THREAD_EXIT, "thread": 1},
        {"time": 9000, "kind": rec.EXIT},
    ]
    states = PipeStates(compile_program(make_recording(rows)))
    assert states.at(5000) == ([(0, 7, 1, 1)], {0: [(0, 0), (0, 1)]})
    assert states.at(9000) == ([], {})
