"""Calls on paths: what concerns several file systems, and which locks a call takes."""

from errno import EBUSY, EXDEV

from kernel.file_model import CREAT, WRITE
from kernel.files_run import make

MOUNTED = [("mount", 0), ("mount", 1), ("mkdir", 0, "/m"), ("mount_on", 0, "/m", 1)]


def test_names_of_a_file_are_in_one_file_system():
    files = make()
    files.run(*MOUNTED, ("open", 0, "/a", 0, CREAT | WRITE), ("mkdir", 0, "/d"), ("close", 0))
    calls = [("link", 0, "/a", "/m/a"), ("rename", 0, "/a", "/m/a"), ("rename", 0, "/d", "/m/a")]
    assert files.run(*calls) == [-EXDEV] * 3
    assert files.tree(0) == {"a": 0, "d": {}, "m": {}}
    assert files.audit() == ""


def test_a_directory_that_something_is_mounted_on_stays():
    files = make()
    files.run(*MOUNTED, ("mkdir", 0, "/d"))
    calls = [("rmdir", 0, "/m"), ("rename", 0, "/m", "/x"), ("rename", 0, "/d", "/m")]
    assert files.run(*calls) == [-EBUSY] * 3
    assert files.audit() == ""
