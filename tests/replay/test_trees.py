"""Which files a builder finds, and which of them all share."""

import numpy as np
import pytest

from finegrain.replay.trees import Trees
from finegrain.workload import recording as rec
from finegrain.workload import syscalls as sc
from finegrain.workload.compile import compile_program
from finegrain.workload.file_tree import DIRECTORY
from workload.made import Calls
from workload.synthetic import Process, build
from workload.test_file_steps import name_of

RX = rec.PROT_READ | rec.PROT_EXEC
FILES = ["/usr/lib/libc.so", "/wrkdir/a.out", "[vdso]"]


@pytest.fixture
def program():
    """Reads the ports tree and what is under /usr, and works in /work, where it links and maps a program."""
    calls = Calls()
    calls.add(rec.MAP, page=100, pages=8, file=1, info=RX)
    calls.add(rec.FILE_READ, "/usr/ports/Makefile", pages=5000)
    calls.add(rec.FILE_STAT, "/usr/lib/libc.so")
    calls.add(rec.FILE_READ, "/distfiles/z.tar", pages=9)
    calls.add(rec.FILE_READ, "/wrkdir/src/a.c", pages=100)
    calls.add(rec.FILE_OPEN, "/wrkdir/a.out", info=sc.O_CREAT | 1)  # the 7th call
    calls.add(rec.FILE_WRITE, "/wrkdir/a.out", pages=20)
    calls.add(rec.MAP, page=200, pages=3, file=2, offset=1, info=RX)
    calls.add(rec.FILE_UNLINK, "/wrkdir/src/a.c")  # the 9th
    calls.add(rec.EXIT)
    return compile_program(calls.recording(FILES))


def entries(program, rows):
    """By name: bytes, and the name of the file that is mapped and has the pages."""
    found = {}
    for path, file, size in rows.tolist():
        name = name_of(program, path)
        assert name not in found
        assert file < 0 or program.file_name[file] == name
        found[name] = (size, file >= 0)
    return found


OWN = {
    "/wrkdir": (DIRECTORY, False), "/wrkdir/src": (DIRECTORY, False), "/wrkdir/src/a.c": (100, False),
}  # fmt: skip
PORTS = {"/usr/ports/Makefile": (5000, False)}
LIBC = {"/usr/lib": (DIRECTORY, False), "/usr/lib/libc.so": (0, True)}


def test_a_private_tree_is_all_ones_own(program):
    trees = Trees(program, "private")
    assert trees.roots == []
    assert trees.shared() == []
    assert entries(program, trees.at(0)) == {
        "/usr": (DIRECTORY, False), "/usr/ports": (DIRECTORY, False), "/distfiles": (DIRECTORY, False),
        "/distfiles/z.tar": (9, False), **PORTS, **LIBC, **OWN,
    }  # fmt: skip
    assert not trees.file_shared.any()


def test_shared_images_share_what_lies_in_directories_in_which_nothing_changes(program):
    trees = Trees(program, "shared")
    assert {name_of(program, path) for path in trees.roots} == {"/usr", "/distfiles"}
    shared = {name_of(program, root): entries(program, rows) for root, rows in trees.shared()}
    assert shared == {
        "/usr": {"/usr/ports": (DIRECTORY, False), **PORTS, **LIBC},
        "/distfiles": {"/distfiles/z.tar": (9, False)},
    }
    roots = {"/usr": (DIRECTORY, False), "/distfiles": (DIRECTORY, False)}
    assert entries(program, trees.at(0)) == {**roots, **OWN}  # what is lent is mounted there
    assert trees.file_shared.tolist() == [True, False, True]


def test_mixed_images_share_what_a_host_lends_its_jails(program):
    trees = Trees(program, "mixed")
    shared = {name_of(program, root): entries(program, rows) for root, rows in trees.shared()}
    assert shared == {"/usr/ports": PORTS, "/distfiles": {"/distfiles/z.tar": (9, False)}}
    own = entries(program, trees.at(0))
    assert own == {
        "/usr": (DIRECTORY, False), "/usr/ports": (DIRECTORY, False), "/distfiles": (DIRECTORY, False),
        **LIBC, **OWN,
    }  # fmt: skip
    assert trees.file_shared.tolist() == [False, False, False]


@pytest.mark.parametrize("images", ["private", "shared", "mixed"])
def test_what_has_been_made_and_removed_by_then(program, images):
    trees = Trees(program, images)
    own = entries(program, trees.at(7_500))
    assert own["/wrkdir/a.out"] == (3 * 4096 + 1, False)  # made, and as long as its mapping needs
    assert "/wrkdir/src/a.c" in own
    assert "/wrkdir/src/a.c" not in entries(program, trees.at(9_000))
    assert trees.filled.tolist() == [True, False, True]


def test_a_directory_comes_before_what_is_in_it(program):
    trees = Trees(program, "private")
    there = {0}
    for path in trees.at(9_000)["path"].tolist():
        assert int(program.path_parent[path]) in there
        there.add(path)


def test_two_files_of_one_path_are_one():
    """Two names of one file in a merged /usr: one has the pages."""
    calls = Calls()
    calls.add(rec.MAP, page=100, pages=8, file=1, info=RX)
    calls.add(rec.FILE_OPEN, "/wrkdir/a.tmp1", info=0)
    calls.add(rec.MAP, page=200, pages=8, file=2, info=RX)
    calls.add(rec.EXIT)
    program = compile_program(calls.recording(["/wrkdir/a.out", "/wrkdir/a.renamed"]))
    program.file_path[1] = program.file_path[0]
    trees = Trees(program, "private")
    assert trees.filled.tolist() == [True, False]
    assert trees.file_of[program.file_path[0]] == 0


@pytest.mark.parametrize("images", ["private", "shared", "mixed"])
def test_without_file_calls_there_are_no_trees(images):
    process = Process(-1)
    process.exec()
    trees = Trees(build([process]), images)
    assert len(trees.at(0)) == len(trees.shared()) == 0
    assert trees.filled.all()
    assert np.unique(trees.file_shared).tolist() == [images == "shared"]
