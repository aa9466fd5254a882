import pytest

from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload import syscalls as sc
from finegrain.workload.compile import compile_program
from finegrain.workload.file_steps import interned
from finegrain.workload.file_tree import paths_of
from workload.made import Calls

ENOENT, EACCES, ENOTEMPTY = 2, 13, 39


def name_of(program, path):
    parts = []
    while path:
        parts.append(program.names[program.path_name[path]])
        path = int(program.path_parent[path])
    return "/" + "/".join(reversed(parts))


def steps(calls, process=0, files=()):
    """The steps of a process that are no file's mapping, as name of the step, name of the file, what else it says."""
    program = compile_program(calls.recording(files))
    found = []
    for i in range(program.first_step[process], program.first_step[process + 1]):
        op, arg0, arg1, arg2 = (int(a[i]) for a in (program.op, program.arg0, program.arg1, program.arg2))
        what = pr.OP_NAMES[op]
        if op >= pr.FILE_OPEN:
            both = op in (pr.FILE_RENAME, pr.FILE_LINK, pr.FILE_SYMLINK)
            found.append((what, name_of(program, arg0), name_of(program, arg1) if both else arg1, arg2))
        elif op not in (pr.MMAP, pr.EXEC):
            found.append((what,))
    return found


def fork(calls, child, process=0):
    calls.add(rec.FORK, info=child, process=process)


def brief(found):
    return [" ".join(step[:2]) for step in found]


def test_calls_become_steps_in_order_with_what_they_say():
    calls = Calls()
    calls.add(rec.FILE_OPEN, "/d/f", info=sc.O_CREAT | sc.O_TRUNC | 2)
    calls.add(rec.FILE_WRITE, "/d/f", page=4096, pages=100)
    calls.add(rec.FILE_READ, "/d/f", page=10, pages=20)
    calls.add(rec.FILE_TRUNCATE, "/d/f", pages=7)
    calls.add(rec.FILE_FSTAT, "/d/f")
    calls.add(rec.FILE_CLOSE, "/d/f")
    calls.add(rec.FILE_TRUNCATE, "/d/f", pages=3)
    calls.add(rec.FILE_RENAME, "/d/f", "/g")
    calls.add(rec.FILE_LINK, "/g", "/h")
    calls.add(rec.FILE_SYMLINK, "/s", "/h")
    calls.add(rec.FILE_READLINK, "/s")
    calls.add(rec.FILE_ACCESS, "/h")
    calls.add(rec.EXIT)
    flags = pr.OPEN_READ | pr.OPEN_WRITE | pr.OPEN_CREAT | pr.OPEN_TRUNC
    assert steps(calls) == [
        ("file_open", "/d/f", 0, flags),
        ("file_write", "/d/f", 4096, 100),
        ("file_read", "/d/f", 10, 20),
        ("file_truncate", "/d/f", 7, 1),
        ("file_fstat", "/d/f", 0, 0),
        ("file_close", "/d/f", 0, 0),
        ("file_truncate", "/d/f", 3, 0),
        ("file_rename", "/d/f", "/g", 0),
        ("file_link", "/g", "/h", 0),
        ("file_symlink", "/s", "/h", 0),
        ("file_lstat", "/s", 0, 0),
        ("file_stat", "/h", 0, 0),
        ("exit",),
    ]


@pytest.mark.parametrize(
    ("info", "flags"),
    [
        (0, pr.OPEN_READ),
        (1, pr.OPEN_WRITE),
        (2 | sc.O_CLOEXEC, pr.OPEN_READ | pr.OPEN_WRITE),
        (1 | sc.O_CREAT | sc.O_EXCL, pr.OPEN_WRITE | pr.OPEN_CREAT | pr.OPEN_EXCL),
        (1 | sc.O_APPEND, pr.OPEN_WRITE | pr.OPEN_APPEND),
    ],
)
def test_flags_of_open(info, flags):
    calls = Calls()
    calls.add(rec.FILE_OPEN, "/f", info=info)
    calls.add(rec.EXIT)
    assert steps(calls)[0] == ("file_open", "/f", 0, flags)


@pytest.mark.parametrize(
    ("kind", "error", "step"),
    [
        (rec.FILE_OPEN, ENOENT, "file_stat"),
        (rec.FILE_STAT, ENOENT, "file_stat"),
        (rec.FILE_TRUNCATE, EACCES, "file_stat"),
        (rec.FILE_MKDIR, ENOENT, "file_mkdir"),
        (rec.FILE_MKDIR, EACCES, "file_stat"),
        (rec.FILE_RMDIR, ENOTEMPTY, "file_rmdir"),
        (rec.FILE_UNLINK, ENOENT, "file_unlink"),
        (rec.FILE_RENAME, ENOENT, "file_lstat"),
    ],
)
def test_a_call_that_failed_is_repeated_or_looks_its_path_up(kind, error, step):
    calls = Calls()
    calls.add(kind, "/d/f", error=error)
    calls.add(rec.FILE_READ, "/d/f", pages=5)  # nothing has been opened
    calls.add(rec.EXIT)
    assert brief(steps(calls)) == [f"{step} /d/f", "exit"]


def test_what_lies_elsewhere_or_has_no_name_is_left_out_and_counted():
    calls = Calls()
    calls.add(rec.FILE_OPEN, "/dev/null")
    calls.add(rec.FILE_READ, "/dev/null")
    calls.add(rec.FILE_CLOSE, "/dev/null")
    calls.add(rec.FILE_OPEN, None)
    calls.add(rec.FILE_CLOSE, None)
    calls.add(rec.FILE_RENAME, "/f", "/proc/f")
    calls.add(rec.FILE_READ, "/f")
    calls.add(rec.EXIT)
    assert brief(steps(calls)) == ["exit"]
    inferred = compile_program(calls.recording()).inferred
    assert inferred["file calls elsewhere than in a tmpfs"] == 2
    assert inferred["file calls without a name"] == 1
    assert inferred["calls on files that the process has not opened"] == 1


def test_a_file_opened_twice_is_open_until_closed_twice():
    calls = Calls()
    calls.add(rec.FILE_OPEN, "/f")
    calls.add(rec.FILE_OPEN, "/f")
    calls.add(rec.FILE_CLOSE, "/f")
    calls.add(rec.FILE_READ, "/f")
    calls.add(rec.FILE_CLOSE, "/f")
    calls.add(rec.FILE_READ, "/f")
    calls.add(rec.FILE_CLOSE, "/f")
    calls.add(rec.EXIT)
    assert brief(steps(calls)) == [
        "file_open /f", "file_open /f", "file_close /f", "file_read /f", "file_close /f", "exit",
    ]  # fmt: skip


def test_a_child_has_what_its_parent_has_open():
    calls = Calls()
    calls.add(rec.FILE_OPEN, "/f")
    fork(calls, 1)
    calls.add(rec.FILE_READ, "/f", process=1)
    calls.add(rec.FILE_OPEN, "/g")
    calls.add(rec.FILE_READ, "/g", process=1)  # opened since then by the parent alone
    calls.add(rec.EXIT, process=1)
    calls.add(rec.FILE_CLOSE, "/f")
    calls.add(rec.EXIT)
    assert brief(steps(calls, 1)) == ["file_read /f", "exit"]
    own = ["file_open /f", "fork", "file_open /g", "file_close /f", "exit"]
    assert brief(steps(calls)) == own


def test_a_file_that_a_child_closes_last_is_closed_then_by_who_opened_it():
    """The shell opens what a command's output goes to, forks the command, and closes its own descriptor unseen."""
    calls = Calls()
    calls.add(rec.FILE_OPEN, "/log", info=1)
    fork(calls, 1)
    calls.add(rec.FILE_WRITE, "/log", process=1, pages=5)
    calls.add(rec.FILE_CLOSE, "/log", process=1)
    calls.add(rec.FILE_STAT, "/next")
    calls.add(rec.EXIT, process=1)
    calls.add(rec.EXIT)
    assert brief(steps(calls)) == [
        "file_open /log", "fork", "file_close /log", "file_stat /next", "exit",
    ]  # fmt: skip
    assert brief(steps(calls, 1)) == ["file_write /log", "file_close /log", "exit"]


def test_the_child_of_a_child_may_be_the_last():
    calls = Calls()
    calls.add(rec.FILE_OPEN, "/log")
    fork(calls, 1)
    fork(calls, 2, process=1)
    calls.add(rec.EXIT, process=1)
    calls.add(rec.FILE_CLOSE, "/log", process=2)
    calls.add(rec.EXIT, process=2)
    calls.add(rec.FILE_STAT, "/next")
    calls.add(rec.EXIT)
    assert brief(steps(calls))[-3:] == ["file_close /log", "file_stat /next", "exit"]


def test_a_close_of_another_opening_is_not_taken_for_ones_own():
    """A child that was there before opens and closes the same file: that says nothing about the parent's."""
    calls = Calls()
    fork(calls, 1)
    calls.add(rec.FILE_OPEN, "/f")
    calls.add(rec.FILE_OPEN, "/f", process=1)
    calls.add(rec.FILE_CLOSE, "/f", process=1)
    calls.add(rec.FILE_READ, "/f")
    calls.add(rec.EXIT, process=1)
    calls.add(rec.EXIT)
    assert brief(steps(calls)) == [
        "fork", "file_open /f", "file_read /f", "exit",
    ]  # fmt: skip


def test_exec_closes_what_is_to_be_closed_then_and_looks_up_a_script():
    calls = Calls()
    calls.add(rec.FILE_OPEN, "/kept")
    calls.add(rec.FILE_OPEN, "/b", info=sc.O_CLOEXEC)
    calls.add(rec.FILE_OPEN, "/a", info=sc.O_CLOEXEC)
    calls.add(rec.FILE_EXEC, "/script")
    calls.add(rec.EXEC)
    calls.add(rec.MAP, page=100, pages=4, file=1, info=rec.PROT_READ | rec.PROT_EXEC | rec.MAP_EXEC)
    calls.add(rec.FILE_READ, "/a")
    calls.add(rec.FILE_READ, "/kept")
    calls.add(rec.FILE_EXEC, "/bin/sh")
    calls.add(rec.EXEC)
    calls.add(rec.MAP, page=100, pages=4, file=1, info=rec.PROT_READ | rec.PROT_EXEC | rec.MAP_EXEC)
    calls.add(rec.EXIT)
    assert brief(steps(calls, files=["/bin/sh"])) == [
        "file_open /kept", "file_open /b", "file_open /a",
        "file_stat /script", "file_close /b", "file_close /a",
        "file_read /kept", "exit",
    ]  # fmt: skip


def test_a_child_closes_at_its_exec_what_its_parent_opened_so():
    calls = Calls()
    calls.add(rec.FILE_OPEN, "/f", info=sc.O_CLOEXEC)
    fork(calls, 1)
    calls.add(rec.EXEC, process=1)
    calls.add(rec.EXIT, process=1)
    calls.add(rec.FILE_READ, "/f")
    calls.add(rec.EXEC)
    calls.add(rec.EXIT)
    assert brief(steps(calls, 1)) == ["file_close /f", "exit"]
    assert brief(steps(calls)) == [
        "file_open /f",
        "fork",
        "file_read /f",
        "file_close /f",
        "exit",
    ]


def test_an_exec_that_failed_looks_its_path_up():
    calls = Calls()
    calls.add(rec.FILE_EXEC, "/nowhere/sh", error=ENOENT)
    calls.add(rec.FILE_EXEC, "/bin/sh")
    calls.add(rec.EXEC)
    calls.add(rec.MAP, page=100, pages=4, file=1, info=rec.PROT_READ | rec.PROT_EXEC | rec.MAP_EXEC)
    calls.add(rec.EXIT)
    assert brief(steps(calls, files=["/bin/sh"])) == ["file_stat /nowhere/sh", "exit"]


def test_names_are_numbered_once():
    calls = Calls()
    calls.add(rec.FILE_STAT, "/a/b/a")
    calls.add(rec.FILE_STAT, "/b/a")
    paths = paths_of(calls.recording())
    numbers, names = interned(paths)
    assert sorted(names) == ["", "a", "b"]
    assert [names[i] for i in numbers] == [name.rpartition("/")[2] for name in paths.names]
