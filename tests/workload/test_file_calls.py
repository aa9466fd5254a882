"""What file calls become, with their names and without."""

import polars as pl
import pytest

from finegrain.workload import recording as rec
from finegrain.workload.assemble import assemble
from finegrain.workload.syscalls import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_REMOVEDIR,
    FILE_CALLS,
    O_APPEND,
    O_CLOEXEC,
    O_CREAT,
    O_TRUNC,
)
from workload.test_assemble import raw

ENOENT = (1 << 64) - 2


def call(what, pid, value=0, *args, names=(), tid=None):
    """Raw records of a file call: what probes found, its entry, its exit."""
    thread = {"tid": pid if tid is None else tid}
    places = [place for _, place in FILE_CALLS[what].names]
    found = [
        ("name", pid, {"a": args[place], "name": name, **thread})
        for place, name in zip(places, names, strict=False)
    ]
    numbers = dict(zip("abcde", args, strict=False))
    return [*found, (f"enter_{what}", pid, numbers | thread), (f"exit_{what}", pid, {"a": value} | thread)]


def made(*records, directory="/home"):
    return assemble(raw(*records), descriptors=range(3), directory=directory, names=True)


def files(*records, directory="/home"):
    """Rows of files: process, kind, path, path2 (None: none), page, pages, info, error."""
    result = made(*records, directory=directory)
    path = {0: None, **dict(enumerate(result.paths, 1))}
    events = result.events.filter(pl.col("kind") >= rec.FILE_OPEN)
    columns = ("process", "kind", "path", "path2", "page", "pages", "info", "error")
    return [(p, kind, path[a], path[b], *rest) for p, kind, a, b, *rest in events.select(columns).iter_rows()]


def opened(pid, fd, name, flags=0, tid=None):
    return call("openat", pid, fd, AT_FDCWD, 0x10, flags, names=[name], tid=tid)


def short(rows):
    return [(kind, path) for _, kind, path, *_ in rows]


def test_a_file_is_opened_read_and_closed():
    assert files(
        *opened(7, 3, "a/../b", O_CLOEXEC),
        *call("read", 7, 100, 3),
        *call("pread", 7, 10, 3, 0, 10, 5000),
        *call("lseek", 7, 64, 3, 64, 0),
        *call("read", 7, 0, 3),
        ("close", 7, {"a": 3}),
    ) == [
        (0, rec.FILE_OPEN, "/home/b", None, 0, 0, O_CLOEXEC, 0),
        (0, rec.FILE_READ, "/home/b", None, 0, 100, 0, 0),
        (0, rec.FILE_READ, "/home/b", None, 5000, 10, 0, 0),
        (0, rec.FILE_READ, "/home/b", None, 64, 0, 0, 0),
        (0, rec.FILE_CLOSE, "/home/b", None, 0, 0, 0, 0),
    ]


def test_a_file_that_is_not_there():
    assert files(*call("open", 7, ENOENT, 0x10, O_CREAT, names=["/x"])) == [
        (0, rec.FILE_OPEN, "/x", None, 0, 0, O_CREAT, 2)
    ]


def test_writes_that_append_begin_where_the_file_is_known_to_end():
    rows = files(
        *call("creat", 7, 3, 0x10, 0o644, names=["/x"]),
        *call("write", 7, 100, 3),
        *call("ftruncate", 7, 0, 3, 50),
        *opened(7, 4, "/x", O_APPEND | 1),
        *call("write", 7, 5, 4),
        *call("rename", 7, 0, 0x10, 0x20, names=["/x", "y"]),
        *opened(7, 5, "/home/y", O_APPEND | 1),
        *call("write", 7, 1, 5),
    )
    assert [(path, page, pages) for _, kind, path, _, page, pages, *_ in rows if kind == rec.FILE_WRITE] == [
        ("/x", 0, 100), ("/x", 50, 5), ("/home/y", 55, 1),
    ]  # fmt: skip
    assert rows[0][6] == O_CREAT | O_TRUNC | 1
    assert (0, rec.FILE_TRUNCATE, "/x", None, 0, 50, 0, 0) in rows
    assert (0, rec.FILE_RENAME, "/x", "/home/y", 0, 0, 0, 0) in rows


ONE_NAME = {
    "stat": rec.FILE_STAT, "lstat": rec.FILE_STAT, "access": rec.FILE_ACCESS, "readlink": rec.FILE_READLINK,
    "unlink": rec.FILE_UNLINK, "rmdir": rec.FILE_RMDIR, "mkdir": rec.FILE_MKDIR, "chmod": rec.FILE_SETATTR,
    "chown": rec.FILE_SETATTR, "chdir": rec.FILE_CHDIR, "execve": rec.FILE_EXEC,
}  # fmt: skip
OF_DIRECTORY = {
    "newfstatat": rec.FILE_STAT, "statx": rec.FILE_STAT, "faccessat": rec.FILE_ACCESS, "faccessat2": rec.FILE_ACCESS,
    "readlinkat": rec.FILE_READLINK, "unlinkat": rec.FILE_UNLINK, "mkdirat": rec.FILE_MKDIR,
    "fchmodat": rec.FILE_SETATTR, "utimensat": rec.FILE_SETATTR, "execveat": rec.FILE_EXEC,
}  # fmt: skip


@pytest.mark.parametrize("what", ONE_NAME)
def test_calls_of_one_name(what):
    assert files(*call(what, 7, ENOENT, 0x10, names=["n"])) == [
        (0, ONE_NAME[what], "/home/n", None, 0, 0, 0, 2)
    ]
    assert files(*call(what, 7, 0, 0x10))[0][1:3] == (ONE_NAME[what], None)


@pytest.mark.parametrize("what", OF_DIRECTORY)
def test_calls_of_a_name_in_a_directory(what):
    rows = files(
        *opened(7, 3, "/d"),
        *call(what, 7, 0, 3, 0x20, names=["n"]),
        *call(what, 7, 0, AT_FDCWD, 0x20, names=["n"]),
        *call(what, 7, 0, 9, 0x20, names=["n"]),
        *call(what, 7, 0, 9, 0x20, names=["/n"]),
    )
    assert short(rows[1:]) == [(OF_DIRECTORY[what], path) for path in ("/d/n", "/home/n", None, "/n")]


def test_calls_about_a_descriptor_look_nothing_up():
    rows = files(
        *opened(7, 3, "/d"),
        *call("newfstatat", 7, 0, 3, 0x20, 0, AT_EMPTY_PATH, names=[""]),
        *call("fstat", 7, 0, 3),
        *call("getdents", 7, 320, 3),
        *call("utimensat", 7, 0, 3, 0, 0, 0),
        *call("fstat", 7, 0, 1),  # a terminal
        *call("fchdir", 7, 0, 3),
        *call("stat", 7, 0, 0x10, names=["x"]),
    )
    assert short(rows[1:]) == [
        (rec.FILE_FSTAT, "/d"), (rec.FILE_FSTAT, "/d"), (rec.FILE_GETDENTS, "/d"), (rec.FILE_SETATTR, "/d"),
        (rec.FILE_CHDIR, "/d"), (rec.FILE_STAT, "/d/x"),
    ]  # fmt: skip


def test_calls_of_two_names():
    assert files(
        *call("renameat2", 7, 0, AT_FDCWD, 0x10, AT_FDCWD, 0x20, 0, names=["a", "b"]),
        *call("link", 7, 0, 0x10, 0x20, names=["a", "/b"]),
        *call("symlink", 7, 0, 0x10, 0x20, names=["/d/link", "../to"]),
        *call("unlinkat", 7, 0, AT_FDCWD, 0x10, AT_REMOVEDIR, names=["a"]),
    ) == [
        (0, rec.FILE_RENAME, "/home/a", "/home/b", 0, 0, 0, 0),
        (0, rec.FILE_LINK, "/home/a", "/b", 0, 0, 0, 0),
        (0, rec.FILE_SYMLINK, "/d/link", "/to", 0, 0, 0, 0),
        (0, rec.FILE_RMDIR, "/home/a", None, 0, 0, 0, 0),
    ]


def test_a_copy_within_the_kernel_reads_and_writes():
    rows = files(
        *opened(7, 3, "/from"),
        *opened(7, 4, "/to", O_CREAT),
        *call("copy_file_range", 7, 70, 3, 0, 4, 0, 70),
        *call("copy_file_range", 7, 0, 3, 0, 4, 0, 70),
    )
    assert short(rows[2:]) == [(rec.FILE_READ, "/from"), (rec.FILE_WRITE, "/to")]


def test_children_inherit_directory_and_descriptors():
    """A file is closed when nobody has it any longer; a change of directory is one's own."""
    rows = files(
        *opened(7, 3, "/a"),
        *opened(7, 4, "/b", O_CLOEXEC),
        ("fork", 7, {"a": 8, "b": 8}),
        *call("chdir", 8, 0, 0x10, names=["sub"]),
        *call("stat", 7, 0, 0x10, names=["x"]),
        *call("stat", 8, 0, 0x10, names=["x"]),
        ("close", 7, {"a": 3}),
        ("close", 7, {"a": 4}),
        ("exec", 8, {}),
        *call("read", 8, 9, 3),
        ("exit", 8, {}),
        ("exit", 7, {}),
    )
    assert [(process, kind, path) for process, kind, path, *_ in rows[2:]] == [
        (0, rec.FILE_STAT, "/home/x"),
        (1, rec.FILE_CHDIR, "/home/sub"),
        (1, rec.FILE_STAT, "/home/sub/x"),
        (1, rec.FILE_CLOSE, "/b"),
        (1, rec.FILE_READ, "/a"),
        (1, rec.FILE_CLOSE, "/a"),
    ]


def test_threads_share_descriptors_and_directory():
    rows = files(
        ("fork", 7, {"a": 7, "b": 9}),
        *opened(7, 3, "/a", tid=9),
        *call("chdir", 7, 0, 0x10, names=["/d"], tid=9),
        *call("read", 7, 9, 3),
        *call("stat", 7, 0, 0x10, names=["x"]),
    )
    assert short(rows) == [
        (rec.FILE_OPEN, "/a"), (rec.FILE_CHDIR, "/d"), (rec.FILE_READ, "/a"), (rec.FILE_STAT, "/d/x"),
    ]  # fmt: skip


def test_a_change_to_an_unknown_directory_leaves_relative_names_unknown():
    rows = files(*call("chdir", 7, 0, 0x10), *call("stat", 7, 0, 0x10, names=["x"]))
    assert short(rows) == [(rec.FILE_CHDIR, None), (rec.FILE_STAT, None)]


def test_a_call_s_time_is_from_its_probe_to_its_end_and_exec_stands_at_its_beginning():
    result = made(
        *call("stat", 7, 0, 0x10, names=["x"]),
        *call("execve", 7, 0, 0x10, names=["/bin/sh"])[:2],
        ("exec", 7, {}),
        ("exit_execve", 7, {"a": 0}),
        ("exit", 7, {}),
    )
    assert result.events.select("kind", "time", "offset").rows() == [
        (rec.FILE_STAT, 0, 20), (rec.KERNEL, 2000, 0), (rec.FILE_EXEC, 2000, 0), (rec.EXEC, 3000, 0),
        (rec.EXIT, 5000, 0),
    ]  # fmt: skip


def test_without_names_there_are_no_rows_of_files():
    result = assemble(raw(*opened(7, 3, "/a"), ("exec", 7, {})))
    assert result.paths == []
    assert result.events["kind"].to_list() == [rec.EXEC]


def test_paths_hold_their_directories():
    assert made(*opened(7, 3, "/b/c"), *opened(7, 4, "/b-d")).paths == ["/", "/b", "/b/c", "/b-d"]
