"""Rename: four locks that nobody can order, and what the names stand for meanwhile."""

from errno import EINVAL, ENOENT, ENOTEMPTY

from kernel.file_model import CREAT, READ, WRITE
from kernel.files_run import make, nothing_left, run_threads

TWO = [("mount", 0), ("mkdir", 0, "/a"), ("mkdir", 0, "/b")]


def test_in_opposite_directions_at_once():
    """Each has one directory and wants the other's: one lets go, and begins anew."""
    restarts = 0
    for later in range(0, 1_500_000, 50_000):
        files = make()
        files.run(*TWO, ("mkdir", 0, "/a/x"), ("mkdir", 0, "/b/y"))
        rows = run_threads(
            files,
            [("rename", 0, "/a/x", "/b/x"), ("rename", 0, "/b/x", "/a/x")] * 3,
            [("charge", later)] + [("rename", 0, "/b/y", "/a/y"), ("rename", 0, "/a/y", "/b/y")] * 3,
        )
        assert {answer for row in rows for answer in row} == {0}
        assert files.tree(0) == {"a": {"x": {}}, "b": {"y": {}}}
        assert files.audit() == ""
        restarts += files.counts()["restarts"]
    assert restarts > 0


def test_neither_of_two_directories_ends_up_in_the_other_and_in_itself():
    for later in range(0, 2_000_000, 50_000):
        files = make()
        files.run(*TWO)
        rows = run_threads(
            files, [("rename", 0, "/a", "/b/a")], [("charge", later), ("rename", 0, "/b", "/a/b")]
        )
        assert (rows[0][0], rows[1][1]) in [(0, -ENOENT), (0, -EINVAL), (-ENOENT, 0), (-EINVAL, 0)]
        assert files.audit() == ""
        assert files.in_use()["nodes"] == 3


def test_a_file_that_is_waited_for_may_lose_its_name():
    """A long read shares the file; meanwhile the name comes to mean nothing, or another file."""
    for meanwhile in ([], [("unlink", 0, "/a/x")], [("rename", 0, "/a/y", "/a/x")]):
        files = make(4)
        files.run(
            *TWO, *[("open", 0, f"/a/{name}", fd, CREAT | READ | WRITE) for fd, name in enumerate("xy")]
        )
        files.run(("write", 0, 1 << 20), ("close", 1))
        rows = run_threads(
            files,
            [("read", 0, 1 << 20, 0)],
            [("charge", 1_000_000), ("rename", 0, "/a/x", "/b/x")],
            [("charge", 5_000_000), *meanwhile],
        )
        assert rows[1][1] in (0, -ENOENT)
        assert files.counts()["restarts"] > 0
        assert files.audit() == ""
        files.run(("close", 0), ("unmount", 0))
        nothing_left(files)


def test_what_a_rename_refuses():
    files = make()
    files.run(*TWO, ("mkdir", 0, "/a/c"), ("mkdir", 0, "/a/c/d"))
    calls = [("rename", 0, "/a", "/a/x"), ("rename", 0, "/a", "/a/c/d/x"), ("rename", 0, "/a/c", "/a")]
    assert files.run(*calls, ("rename", 0, "/b", "/a/c")) == [-EINVAL, -EINVAL, -ENOTEMPTY, -ENOTEMPTY]
    assert files.audit() == ""


def test_that_nothing_has_the_new_name_is_forgotten():
    """While the rename waits for the file, somebody looks the new name up."""
    files = make(4)
    files.run(*TWO, *[("mkdir", 0, f"/{i}") for i in range(30)], ("open", 0, "/a/x", 0, CREAT | READ | WRITE))
    files.run(("write", 0, 1 << 20))
    look, rename = ("stat", 0, "/b/x"), ("rename", 0, "/a/x", "/b/x")
    rows = run_threads(
        files,
        [("read", 0, 1 << 20, 0)],
        [("charge", 1_000_000), rename],
        [("charge", 20_000_000), look],
    )
    assert (rows[1][1], rows[2][1]) == (0, -ENOENT)
    assert files.audit() == ""
    assert files.run(look) == [1 << 20]
