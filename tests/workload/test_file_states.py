from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload import syscalls as sc
from finegrain.workload.compile import compile_program
from finegrain.workload.file_states import FileStates
from workload.made import Calls, make_recording
from workload.test_file_steps import fork, name_of

READ, WRITE = pr.OPEN_READ, pr.OPEN_WRITE


def compiled(calls):
    return compile_program(calls.recording(["/bin/sh"]))


def state(states, program, t):
    """What each process has at `t`: (process, step, name, flags), in no order."""
    return sorted(
        (process, pr.OP_NAMES[op].removeprefix("file_"), name_of(program, arg0), arg2)
        for process, op, arg0, arg1, arg2 in states.at(t)
        if arg1 == 0
    )


def test_what_is_open_and_where_a_process_works():
    calls = Calls()
    calls.add(rec.FILE_CHDIR, "/wrkdir")
    opened = calls.add(rec.FILE_OPEN, "/f", info=sc.O_CREAT | sc.O_TRUNC | sc.O_EXCL | sc.O_APPEND | 1)
    twice = calls.add(rec.FILE_OPEN, "/f")
    calls.add(rec.FILE_OPEN, "/f")
    closed = calls.add(rec.FILE_CLOSE, "/f")
    moved = calls.add(rec.FILE_CHDIR, "/wrkdir/sub")
    end = calls.add(rec.EXIT)
    program = compiled(calls)
    states = FileStates(program)
    at_work, log = (0, "chdir", "/wrkdir", 0), (0, "open", "/f", WRITE | pr.OPEN_APPEND)
    assert state(states, program, 0) == []
    assert state(states, program, opened) == [at_work, log]  # it is there, and is neither made nor cut again
    assert state(states, program, twice) == [at_work, (0, "open", "/f", READ), log]
    assert state(states, program, closed) == [at_work, *[(0, "open", "/f", READ)] * 2]
    assert state(states, program, moved)[0] == (0, "chdir", "/wrkdir/sub", 0)
    assert state(states, program, end) == []


def test_a_child_begins_with_what_its_parent_has():
    calls = Calls()
    calls.add(rec.FILE_CHDIR, "/wrkdir")
    calls.add(rec.FILE_OPEN, "/f")
    fork(calls, 1)
    calls.add(rec.FILE_CHDIR, "/other", process=1)
    calls.add(rec.FILE_OPEN, "/g", process=1)
    closed = calls.add(rec.FILE_CLOSE, "/f")
    gone = calls.add(rec.EXIT, process=1)
    calls.add(rec.EXIT)
    program = compiled(calls)
    states = FileStates(program)
    own = [(0, "chdir", "/wrkdir", 0)]
    assert state(states, program, closed) == [
        *own, (1, "chdir", "/other", 0), (1, "open", "/f", READ), (1, "open", "/g", READ),
    ]  # fmt: skip
    assert state(states, program, gone) == own


def test_times_may_come_in_any_order():
    calls = Calls()
    times = [calls.add(rec.FILE_OPEN, f"/f{i}") for i in range(5)]
    times += [calls.add(rec.FILE_CLOSE, f"/f{i}") for i in (3, 0, 4)]
    calls.add(rec.EXIT)
    program = compiled(calls)
    states = FileStates(program)
    for t in [times[5], times[1], times[7], times[1], times[0], times[6]]:
        assert state(states, program, t) == state(FileStates(program), program, t)


def test_a_thread_opens_files_of_its_process():
    calls = Calls()
    calls.add(rec.THREAD, info=1)
    opened = calls.add(rec.FILE_OPEN, "/f", thread=1)
    ended = calls.add(rec.THREAD_EXIT, thread=1)
    closed = calls.add(rec.FILE_CLOSE, "/f")
    calls.add(rec.EXIT)
    program = compiled(calls)
    assert len(program.thread_process) == 1
    states = FileStates(program)
    assert state(states, program, opened) == [(0, "open", "/f", READ)]
    assert state(states, program, ended) == [(0, "open", "/f", READ)]  # the process has not ended
    assert state(states, program, closed) == []


def test_a_program_without_file_calls_has_none():
    program = compile_program(make_recording([{"time": 0, "kind": rec.EXEC}, {"time": 9, "kind": rec.EXIT}]))
    assert FileStates(program).at(5) == []
