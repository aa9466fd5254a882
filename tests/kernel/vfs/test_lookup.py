"""From a path to a file: symbolic links, "..", and what goes away meanwhile."""

from errno import EISDIR, ELOOP, ENOENT, ENOTDIR

import pytest

from kernel.file_model import CREAT, READ, WRITE
from kernel.files_run import make, nothing_left, run_threads

NS = 1000


def test_a_link_may_say_the_root():
    files = make()
    files.run(("mount", 0), ("mkdir", 0, "/a"), ("symlink", 0, "/", "/a/up"))
    calls = [("stat", 0, "/a/up"), ("stat", 0, "/a/up/a"), ("setattr", 0, "/a/up"), ("chdir", 0, "/a/up")]
    assert files.run(*calls) == [1, 1, 0, 0]
    assert files.run(("open", 0, "/a/up", 0, CREAT | READ), ("open", 0, "/a/up", 0, WRITE)) == [-EISDIR] * 2
    assert files.audit() == ""


def test_links_that_go_round():
    files = make()
    files.run(("mount", 0), ("symlink", 0, "b", "/a"), ("symlink", 0, "a", "/b"), ("symlink", 0, "", "/e"))
    calls = [("stat", 0, "/a"), ("open", 0, "/b", 0, CREAT | WRITE), ("stat", 0, "/e"), ("stat", 0, "/a", 1)]
    assert files.run(*calls) == [-ELOOP, -ELOOP, -ENOENT, 0]
    assert files.audit() == ""


def test_a_file_is_no_directory():
    files = make()
    files.run(("mount", 0), ("open", 0, "/f", 0, CREAT | WRITE))
    calls = [
        ("stat", 0, "/f/x"),
        ("open", 0, "/f/x", 1, CREAT | WRITE),
        ("mkdir", 0, "/f/x"),
        ("stat", 0, "/f/.."),
    ]
    assert files.run(*calls) == [-ENOTDIR] * 4
    assert files.audit() == ""


@pytest.mark.parametrize("remembered", [True, False])
def test_the_parent_goes_while_it_is_waited_for(remembered):
    """ ".." lets the directory go before it locks the parent: both can be removed meanwhile."""
    answers = set()
    for later in range(0, 6_000_000, 60_000):
        files = make()
        files.run(("mount", 0), ("mkdir", 0, "/a"), ("mkdir", 0, "/a/b"), ("chdir", 0, "/a/b"))
        if not remembered:  # the name cache forgets a directory that is renamed
            files.run(("rename", 0, "/a/b", "/a/c"), ("rename", 0, "/a/c", "/a/b"))
        up = [("stat", 0, "..")] * 6
        rows = run_threads(files, up, [("charge", later), ("rmdir", 0, "/a/b"), ("rmdir", 0, "/a")])
        answers |= set(rows[0])
        assert rows[1][1:] == [0, 0]
        assert files.audit() == ""
        files.run(("chdir", 0, "/"))
        assert files.in_use()["nodes"] == 1
        files.run(("unmount", 0))
        nothing_left(files)
    assert answers == {1, 0, -ENOENT}
