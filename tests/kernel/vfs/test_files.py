"""Open files: who shares a vnode's lock, and who waits for whom."""

from errno import EISDIR

import pytest

from finegrain.lab.profile import read_profile, reset_profile
from kernel.file_model import APPEND, CREAT, READ, TRUNC, WRITE
from kernel.files_run import make, nothing_left, run_threads

MB = 1 << 20
NS = 1000
SHARED = [
    ("stat", 0, "/d/f"),
    ("open", 0, "/d/f", 5, READ),
    ("open", 0, "/d/f", 5, READ | CREAT),
    ("close", 1),
    ("read", 1, 100, 0),
    ("fstat", 1),
    ("pages", 1),
]
EXCLUSIVE = [
    ("open", 0, "/d/f", 5, WRITE),
    ("open", 0, "/d/f", 5, WRITE | TRUNC),
    ("close", 2),
    ("write", 2, 100, 0),
    ("ftruncate", 2, 10),
    ("truncate", 0, "/d/f", 10),
    ("setattr", 0, "/d/f"),
    ("unlink", 0, "/d/f"),
    ("link", 0, "/d/f", "/d/g"),
    ("rename", 0, "/d/f", "/d/g"),
]
IN_DIRECTORY = [
    ("open", 0, "/d/new", 5, CREAT | READ),
    ("mkdir", 0, "/d/new"),
    ("symlink", 0, "f", "/d/new"),
    ("link", 0, "/d/f", "/d/new"),
    ("unlink", 0, "/d/f"),
    ("rmdir", 0, "/d/e"),
    ("rename", 0, "/d/f", "/g"),
    ("rename", 0, "/g", "/d/new"),
]


def waits(holder, call):
    """Does the call find a vnode's lock taken, begun while the holder's is under way?"""
    files = make()
    files.run(
        ("mount", 0),
        ("mkdir", 0, "/d"),
        ("mkdir", 0, "/d/e"),
        ("open", 0, "/g", 3, CREAT | WRITE),
        *[("open", 0, "/d/f", fd, CREAT | (WRITE if fd == 2 else READ)) for fd in range(3)],
        ("open", 0, "/d", 4, READ),
        ("write", 2, MB, 0),
        *[("mkdir", 0, f"/d/{i}") for i in range(500)],
    )
    reset_profile(files.machine, files.machine.time_ps)
    run_threads(files, [holder], [("charge", 5000 * NS), call])
    rows = [row for row in read_profile(files.machine) if row["name"] == "tmpfs"]
    assert files.audit() == ""
    return sum(row["contested"] + row["trylock_failures"] for row in rows) > 0


@pytest.mark.parametrize("call", SHARED)
def test_who_shares_a_file_s_lock(call):
    assert not waits(("read", 0, MB, 0), call)
    assert waits(("write", 2, MB, 0), call)


@pytest.mark.parametrize("call", EXCLUSIVE)
def test_who_has_a_file_s_lock_alone(call):
    assert waits(("read", 0, MB, 0), call)


@pytest.mark.parametrize("call", IN_DIRECTORY)
def test_who_has_a_directory_s_lock_alone(call):
    assert waits(("list", 4, MB), call)


@pytest.mark.parametrize("call", [("stat", 0, "/d/e"), ("open", 0, "/d/f", 5, WRITE), ("stat", 0, "/d/e/..")])
def test_directories_on_the_way_are_shared(call):
    assert not waits(("list", 4, MB), call)


def test_names_are_read_in_pieces_each_once():
    files = make()
    files.run(("mount", 0), *[("mkdir", 0, f"/{i}") for i in range(50)], ("open", 0, "/", 0, READ))
    assert files.run(*[("list", 0, 400)] * 6) == [10, 10, 10, 10, 10, 0]
    files.run(("seek", 0, 0), ("list", 0, 400))
    files.run(*[("rmdir", 0, f"/{i}") for i in range(0, 50)])
    assert files.run(("list", 0, 4000)) == [0]
    assert files.run(("fstat", 0)) == [0]


def test_a_file_without_a_name_stays_until_it_is_closed():
    files = make()
    files.run(
        ("mount", 0), ("open", 0, "/a", 0, CREAT | WRITE | READ), ("write", 0, 9000), ("unlink", 0, "/a")
    )
    assert files.run(("write", 0, 100), ("read", 0, 9100, 0), ("pages", 0)) == [100, 9100, 3]
    assert files.in_use()["pages"] == 3
    files.run(("close", 0))
    assert files.in_use()["nodes"] == 1
    assert files.in_use()["pages"] == 0
    files.run(("unmount", 0))
    nothing_left(files)


def test_directories_are_not_written():
    files = make()
    files.run(("mount", 0), ("open", 0, "/", 0, READ))
    calls = [("open", 0, "/", 1, WRITE), ("ftruncate", 0, 10), ("write", 0, 10), ("read", 0, 10)]
    assert files.run(*calls) == [-EISDIR, -EISDIR, 0, 0]


def test_who_appends_writes_behind_what_others_wrote():
    files = make()
    files.run(("mount", 0), *[("open", 0, "/a", fd, CREAT | WRITE | APPEND) for fd in range(4)])
    run_threads(files, *[[("write", fd, 100)] * 50 for fd in range(4)])
    assert files.run(("stat", 0, "/a")) == [20_000]
    assert files.audit() == ""
