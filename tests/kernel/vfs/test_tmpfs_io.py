"""Reading, writing and truncating: a page at a time, and its locks."""

import pytest

from kernel.file_model import CREAT, READ, WRITE
from kernel.files_run import locks_of, make, run_threads

PAGE = 4096


def a_file(pages):
    files = make(4)
    files.run(("mount", 0), ("open", 0, "/a", 0, CREAT | READ | WRITE), ("write", 0, pages * PAGE))
    return files


@pytest.mark.parametrize(
    ("operation", "objects", "pages"),
    [
        (("read", 0, PAGE, 0), 1, 1),  # to find and wire it; to unwire it
        (("read", 0, 10 * PAGE, 100), 8, 8),  # up to the end, which the eighth page has
        (("read", 0, 10, 8 * PAGE), 0, 0),
        (("write", 0, PAGE, 0), 2, 1),  # once more to say that it is dirty
        (("write", 0, PAGE, 1), 4, 2),
    ],
)
def test_locks_of_each_page(operation, objects, pages):
    counts = locks_of(a_file(8), operation)
    assert [counts.get(name, 0) for name in ("tmpfs", "vm object", "vm page")] == [1, objects, pages]


def test_a_hole_has_no_pages_when_it_is_read():
    files = a_file(1)
    files.run(("ftruncate", 0, 10 * PAGE))
    assert files.run(("read", 0, 10 * PAGE, 0), ("pages", 0)) == [10 * PAGE, 1]
    assert files.run(("write", 0, 1, 9 * PAGE), ("pages", 0)) == [1, 2]
    assert files.audit() == ""


def test_sizes_and_pages_when_several_write_and_truncate():
    files = a_file(8)
    files.run(*[("open", 0, "/a", fd, READ | WRITE) for fd in range(1, 4)])
    programs = [
        [("write", fd, 3 * PAGE, fd * PAGE), ("read", fd, 8 * PAGE, 0), ("ftruncate", fd, fd * PAGE)] * 20
        for fd in range(4)
    ]
    run_threads(files, *programs)
    assert files.audit() == ""
    size, pages = files.run(("fstat", 0), ("pages", 0))
    assert pages <= (size + PAGE - 1) // PAGE
    files.run(*[("close", fd) for fd in range(4)], ("unlink", 0, "/a"))
    assert (files.in_use()["pages"], files.in_use()["nodes"]) == (0, 1)
