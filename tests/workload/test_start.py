from hypothesis import given, settings
from hypothesis import strategies as st

from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload.compile import compile_program
from finegrain.workload.start import Starts

RW = rec.PROT_READ | rec.PROT_WRITE


def from_the_beginning(model, program, t):
    """The state of each process alive at `t`, from running every step until then."""
    run = model(program)
    for process in range(len(program.parent)):
        run.run_process(process, until=t)
    return run


def put_in_place(model, program, start):
    run = model(program)
    for process, *step in zip(
        *(a.tolist() for a in (start.process, start.op, start.arg0, start.arg1, start.arg2)), strict=True
    ):
        if step[0] == pr.HOLD:
            continue
        known = process in run.spaces or step[0] == pr.EXEC or program.parent[process] < 0
        assert known, "a process appears from nowhere"
        run.step(process, *step)
    return run


def assert_same(model, program, t):
    start = Starts(program).at(t)
    assert start.alive.tolist() == program.alive_at(t)[0].tolist()
    expected, found = from_the_beginning(model, program, t), put_in_place(model, program, start)
    assert set(found.spaces) <= set(start.alive.tolist())
    for process in start.alive.tolist():
        assert found.space(process).state() == expected.space(process).state()
    return start


rows = st.lists(
    st.one_of(
        st.tuples(st.just(rec.FAULT), st.integers(90, 110), st.just(0), st.sampled_from([0, 1, 7])),
        st.tuples(st.just(rec.MAP), st.integers(90, 110), st.integers(1, 9), st.just(RW)),
        st.tuples(st.just(rec.UNMAP), st.integers(90, 110), st.integers(1, 9), st.just(0)),
        st.tuples(st.just(rec.BREAK), st.integers(90, 110), st.just(0), st.just(0)),
        st.tuples(st.just(rec.FORK), st.just(0), st.integers(0, 1), st.integers(1, 3)),
        st.tuples(st.just(rec.EXEC), st.just(0), st.just(0), st.just(0)),
        st.tuples(st.just(rec.EXIT), st.just(0), st.just(0), st.just(0)),
    ).flatmap(lambda columns: st.tuples(st.just(columns), st.integers(0, 3))),
    min_size=5,
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(rows, st.floats(0, 1))
def test_a_start_is_what_running_until_then_gives(make_recording, model, rows, part):
    made = [{"time": 0, "kind": rec.EXEC, "process": 0}]
    born = {0}
    for i, ((kind, page, pages, info), process) in enumerate(rows, 1):
        if process not in born or (kind == rec.FORK and (info in born or info <= process)):
            continue
        born |= {info} if kind == rec.FORK else set()
        made.append(
            {"time": 100 * i, "process": process, "kind": kind, "page": page, "pages": pages, "info": info}
        )
    program = compile_program(make_recording(made, ["/bin/sh"]))
    assert_same(model, program, int(part * program.duration_ns))


def test_a_start_amid_the_bundled_recording(hello, model):
    start = assert_same(model, hello, hello.duration_ns // 10)
    assert len(start.alive) > 2
    assert len(start.op) < 5000  # the shortest way there, not all steps until then


def test_a_child_without_an_exec_of_its_own_is_forked_and_shares(make_recording):
    rows = [
        {"time": 0, "kind": rec.EXEC},
        {"time": 1000, "kind": rec.MAP, "page": 100, "pages": 4, "info": RW},
        {"time": 2000, "kind": rec.FAULT, "page": 100, "info": rec.FAULT_WRITE},
        {"time": 3000, "kind": rec.FORK, "info": 1},
        {"time": 4000, "kind": rec.FAULT, "process": 1, "page": 101, "info": rec.FAULT_WRITE},
        {"time": 5000, "kind": rec.FAULT, "page": 102},
        {"time": 9000, "kind": rec.EXIT, "process": 1},
        {"time": 9500, "kind": rec.EXIT},
    ]
    start = Starts(compile_program(make_recording(rows))).at(6000)
    ops = [pr.OP_NAMES[op] for op in start.op]
    assert list(zip(start.process.tolist(), ops, strict=True)) == [
        (0, "exec"), (0, "mmap"), (0, "touch"), (0, "fork"), (0, "touch"), (1, "touch"),
    ]  # fmt: skip
    assert start.next_step.tolist() == [5, 7]


def test_a_child_of_a_parent_that_has_called_exec_since(make_recording, model):
    rows = [
        {"time": 0, "kind": rec.EXEC},
        {"time": 1000, "kind": rec.MAP, "page": 100, "pages": 4, "info": RW},
        {"time": 3000, "kind": rec.FORK, "info": 1},
        {"time": 4000, "kind": rec.EXEC},
        {"time": 5000, "kind": rec.MAP, "page": 300, "pages": 4, "info": RW},
        {"time": 5000, "kind": rec.FAULT, "process": 1, "page": 101, "info": rec.FAULT_WRITE},
        {"time": 9000, "kind": rec.EXIT, "process": 1},
        {"time": 9500, "kind": rec.EXIT},
    ]
    start = assert_same(model, compile_program(make_recording(rows, ["/bin/sh"])), 6000)
    assert pr.FORK not in start.op


def test_a_page_touched_again_is_touched_once_and_a_write_wins(make_recording):
    rows = [
        {"time": 0, "kind": rec.EXEC},
        {"time": 1000, "kind": rec.MAP, "page": 100, "pages": 4, "info": RW},
        *({"time": 2000 + i, "kind": rec.FAULT, "page": 101, "info": i % 2} for i in range(0, 900, 100)),
        {"time": 3000, "kind": rec.FAULT, "page": 101, "info": rec.FAULT_WRITE},
        {"time": 4000, "kind": rec.FAULT, "page": 101},
        {"time": 9000, "kind": rec.EXIT},
    ]
    start = Starts(compile_program(make_recording(rows))).at(5000)
    assert [(pr.OP_NAMES[op], a) for op, a in zip(start.op, start.arg2.tolist(), strict=True)] == [
        ("exec", 0), ("mmap", 0), ("touch", pr.TOUCH_WRITE),
    ]  # fmt: skip


def test_nothing_is_alive_after_the_end(make_recording):
    rows = [{"time": 0, "kind": rec.EXEC}, {"time": 100, "kind": rec.EXIT}]
    start = Starts(compile_program(make_recording(rows))).at(100)
    assert len(start.alive) == len(start.op) == 0
