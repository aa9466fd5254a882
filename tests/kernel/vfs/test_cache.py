"""The name cache: which locks it takes, what it remembers, and in which order."""

from errno import ENOENT

import pytest

from kernel.file_model import CREAT, EXCL, READ, WRITE
from kernel.files_run import locks_of, make, run_threads

A_FILE = [("mount", 0), ("mkdir", 0, "/a"), ("mkdir", 0, "/a/b"), ("open", 0, "/a/b/f", 0, CREAT | WRITE)]


def many(files, count=100):
    """Entries enough that negative ones may be kept."""
    files.run(("mkdir", 0, "/many"))
    for i in range(count):
        files.run(("mkdir", 0, f"/many/{i}"))


@pytest.mark.parametrize(
    ("operation", "tmpfs", "ncbuc", "ncvn"),
    [
        (("stat", 0, "/a/b/f"), 4, 3, 0),  # the bucket of each name, for reading
        (("stat", 0, "/a/./b/."), 3, 2, 0),
        (("stat", 0, "/a/b/no"), 3, 4, 1),  # nothing has it: entered, with the directory's mutex
        (("open", 0, "/a/b/new", 1, CREAT | WRITE), 5, 4, 2),  # /, a, b; upgraded; the file; entered
        (("mkdir", 0, "/a/b/d"), 5, 4, 2),
        (("unlink", 0, "/a/b/f"), 5, 3, 2),  # taken out, with the mutexes of both; opened, the vnode stays
        (("stat", 0, "/a/b/.."), 5, 2, 1),  # the parent, and the directory once more
        (("fullpath", 0, "/a/b/f"), 4, 3, 3),  # a mutex for each name
        (("write", 0, 10), 1, 0, 0),
    ],
)
def test_locks_of_a_call(operation, tmpfs, ncbuc, ncvn):
    files = make()
    files.run(*A_FILE)
    many(files)
    counts = locks_of(files, operation)
    assert [counts.get(name, 0) for name in ("tmpfs", "ncbuc", "ncvn")] == [tmpfs, ncbuc, ncvn]


def test_that_nothing_has_a_name_is_remembered():
    files = make()
    files.run(*A_FILE)
    many(files)
    assert files.run(("stat", 0, "/a/no"), ("stat", 0, "/a/no")) == [-ENOENT] * 2
    assert (files.counts()["negative"], files.counts()["negative_hits"]) == (1, 1)
    # hit twice it is on the list of hot ones, and the next hit takes no mutex of a list
    counts = locks_of(files, ("stat", 0, "/a/no"))
    assert counts["ncbuc"] == 2
    assert {"ncnegl", "ncneghot", "ncvn"}.isdisjoint(counts)
    # what is made there takes its place
    assert files.run(("open", 0, "/a/no", 1, CREAT | EXCL), ("stat", 0, "/a/no")) == [0, 0]
    assert files.counts()["negative"] == 0
    assert files.audit() == ""


@pytest.mark.parametrize("how", ["mkdir", "rename", "link", "symlink"])
def test_a_new_name_is_there_though_it_was_not_before(how):
    files = make()
    files.run(*A_FILE)
    many(files)
    files.run(("stat", 0, "/a/no"), ("stat", 0, "/a/no"))
    make_it = {"mkdir": (), "rename": ("/a/b/f",), "link": ("/a/b/f",), "symlink": ("b/f",)}[how]
    assert files.run((how, 0, *make_it, "/a/no"), ("stat", 0, "/a/no")) == [0, 0]
    assert files.audit() == ""


def test_one_entry_in_twelve_may_say_that_nothing_has_a_name():
    files = make()
    files.run(*A_FILE)
    many(files)
    files.run(*[("stat", 0, f"/a/no{i}") for i in range(200) for _ in range(1 + i % 2)])
    assert 100 // 12 <= files.counts()["negative"] <= 120 // 11
    assert files.audit() == ""


def test_entries_of_a_directory_that_goes_go_with_it():
    files = make()
    files.run(*A_FILE)
    many(files)
    files.run(("mkdir", 0, "/d"))
    before = files.in_use()
    files.run(("mkdir", 0, "/d/e"), ("stat", 0, "/d/e/no"), ("rmdir", 0, "/d/e"))
    assert files.in_use() == before
    files.run(("stat", 0, "/d/no"), ("rmdir", 0, "/d"))
    assert files.in_use()["entries"] == before["entries"] - 1
    assert files.audit() == ""


def crossed(files):
    """A file in each of two directories, each with the mutex of the other directory."""
    files.run(("mount", 0), ("mkdir", 0, "/d"), ("mkdir", 0, "/e"))
    d, e = files.run(("ncvn", 0, "/d"), ("ncvn", 0, "/e"))
    assert d != e
    for where, other in (("/d", e), ("/e", d)):
        for i in range(2000):
            path = f"{where}/{i}"
            files.run(("open", 0, path, 0, CREAT | READ), ("close", 0))
            if files.run(("ncvn", 0, path)) == [other]:
                files.run(("rename", 0, path, f"{where}/f"), ("link", 0, f"{where}/f", f"{where}/h"))
                break
        else:
            raise AssertionError("no file has the directory's mutex")


def test_mutexes_of_two_vnodes_are_taken_in_order():
    """Two threads enter and purge names of the same two mutexes, one the other way round: neither waits for ever."""
    files = make()
    crossed(files)
    for later in range(0, 12_000_000, 30_000):
        run_threads(
            files,
            *[
                [
                    ("charge", later * i),
                    *[
                        call
                        for _ in range(3)
                        for call in (
                            ("stat", 0, f"{where}/h"),  # a name that rename() has to purge
                            ("rename", 0, f"{where}/f", f"{where}/g"),
                            ("stat", 0, f"{where}/g"),
                            ("rename", 0, f"{where}/g", f"{where}/f"),
                            ("stat", 0, f"{where}/f"),
                        )
                    ],
                ]
                for i, where in enumerate(("/d", "/e"))
            ],
        )
    assert files.audit() == ""
