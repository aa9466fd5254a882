import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finegrain.workload import recording as rec
from finegrain.workload.file_tree import DIRECTORY, ENOENT, GONE, paths_of, tree_of
from finegrain.workload.syscalls import O_CREAT, O_TRUNC
from workload.made import Calls

EEXIST, EISDIR, EACCES = 17, 21, 13


def tree(calls, files=()):
    """What is there from the start, by name, and what becomes of what when."""
    recording = calls.recording(files)
    paths = paths_of(recording)
    found = tree_of(recording, paths, [paths.of_files[name] for name in files])
    rows = list(
        zip(
            found.time.tolist(), [paths.names[path] for path in found.path], found.bytes.tolist(), strict=True
        )
    )
    first = {name: what for time, name, what in rows if time < 0}
    log = [row for row in rows if row[0] >= 0]
    assert [*sorted(log, key=lambda row: row[0])] == log
    assert len(first) + len(log) == len(rows), "what is there from the start is there once"
    return first, log


def test_what_is_found_was_there_from_the_start_and_so_are_its_directories():
    calls = Calls()
    calls.add(rec.FILE_STAT, "/a/b/c")
    calls.add(rec.FILE_GETDENTS, "/a/d")
    first, log = tree(calls)
    assert first == {"/": DIRECTORY, "/a": DIRECTORY, "/a/b": DIRECTORY, "/a/b/c": 0, "/a/d": DIRECTORY}
    assert log == []


def test_a_file_is_as_long_as_the_farthest_read():
    calls = Calls()
    calls.add(rec.FILE_READ, "/f", page=0, pages=100)
    calls.add(rec.FILE_READ, "/f", page=4096, pages=50)
    calls.add(rec.FILE_READ, "/f", page=10, pages=10)
    assert tree(calls) == ({"/": DIRECTORY, "/f": 4146}, [])


def test_what_is_not_found_is_not_there_until_it_is_made():
    calls = Calls()
    calls.add(rec.FILE_STAT, "/d/f", error=ENOENT)
    made = calls.add(rec.FILE_OPEN, "/d/f", info=O_CREAT)
    written = calls.add(rec.FILE_WRITE, "/d/f", page=5, pages=7)
    calls.add(rec.FILE_WRITE, "/d/f", page=0, pages=2)
    first, log = tree(calls)
    assert first == {"/": DIRECTORY, "/d": DIRECTORY}
    assert log == [(made, "/d/f", 0), (written, "/d/f", 12)]


def test_a_file_that_was_seen_is_not_made_anew():
    calls = Calls()
    calls.add(rec.FILE_READ, "/f", pages=9)
    calls.add(rec.FILE_OPEN, "/f", info=O_CREAT)
    cut = calls.add(rec.FILE_OPEN, "/f", info=O_CREAT | O_TRUNC)
    assert tree(calls) == ({"/": DIRECTORY, "/f": 9}, [(cut, "/f", 0)])


def test_a_write_beyond_what_was_read_makes_a_file_longer_from_then_on():
    calls = Calls()
    calls.add(rec.FILE_READ, "/f", pages=9)
    written = calls.add(rec.FILE_WRITE, "/f", page=9, pages=1)
    calls.add(rec.FILE_READ, "/f", pages=10)
    cut = calls.add(rec.FILE_TRUNCATE, "/f", pages=3)
    log = [(written, "/f", 10), (cut, "/f", 3)]
    assert tree(calls) == ({"/": DIRECTORY, "/f": 9}, log)


def test_a_truncated_file_was_there():
    calls = Calls()
    cut = calls.add(rec.FILE_OPEN, "/d/f", info=O_TRUNC)
    first, log = tree(calls)
    assert first == {"/": DIRECTORY, "/d": DIRECTORY, "/d/f": 0}
    assert log in ([], [(cut, "/d/f", 0)])


def test_a_directory_goes_with_all_in_it():
    calls = Calls()
    calls.add(rec.FILE_STAT, "/d/e/f")
    gone = calls.add(rec.FILE_RMDIR, "/d/e")
    first, log = tree(calls)
    assert first["/d/e/f"] == 0
    assert sorted(log) == [(gone, "/d/e", GONE), (gone, "/d/e/f", GONE)]


def test_what_is_removed_unseen_was_there():
    calls = Calls()
    gone = calls.add(rec.FILE_UNLINK, "/d/f")
    again = calls.add(rec.FILE_RMDIR, "/e")
    first, log = tree(calls)
    assert first == {"/": DIRECTORY, "/d": DIRECTORY, "/d/f": 0, "/e": DIRECTORY}
    assert log == [(gone, "/d/f", GONE), (again, "/e", GONE)]


def test_a_rename_takes_what_is_below_along():
    calls = Calls()
    calls.add(rec.FILE_READ, "/old/d/f", pages=8)
    calls.add(rec.FILE_STAT, "/new/d/f", error=ENOENT)  # so that the name is known
    moved = calls.add(rec.FILE_RENAME, "/old", "/new")
    first, log = tree(calls)
    assert first == {"/": DIRECTORY, "/old": DIRECTORY, "/old/d": DIRECTORY, "/old/d/f": 8}
    now = {name: what for _, name, what in log}
    assert {time for time, _, _ in log} == {moved}
    assert now == {
        "/old": GONE, "/old/d": GONE, "/old/d/f": GONE,
        "/new": DIRECTORY, "/new/d": DIRECTORY, "/new/d/f": 8,
    }  # fmt: skip


def test_a_rename_replaces_what_was_there():
    calls = Calls()
    calls.add(rec.FILE_READ, "/f", pages=8)
    calls.add(rec.FILE_READ, "/g", pages=4)
    moved = calls.add(rec.FILE_RENAME, "/f", "/g")
    first, log = tree(calls)
    assert (first["/f"], first["/g"]) == (8, 4)
    assert log == [(moved, "/f", GONE), (moved, "/g", 8)]


def test_links_and_directories_are_made():
    calls = Calls()
    calls.add(rec.FILE_READ, "/f", pages=8)
    linked = calls.add(rec.FILE_LINK, "/f", "/g")
    named = calls.add(rec.FILE_SYMLINK, "/s", "/f")
    made = calls.add(rec.FILE_MKDIR, "/d")
    first, log = tree(calls)
    assert first == {"/": DIRECTORY, "/f": 8}
    assert log == [(linked, "/g", 8), (named, "/s", 0), (made, "/d", DIRECTORY)]


@pytest.mark.parametrize(
    ("kind", "error", "what"),
    [
        (rec.FILE_MKDIR, EEXIST, DIRECTORY),
        (rec.FILE_SYMLINK, EEXIST, 0),
        (rec.FILE_OPEN, EISDIR, DIRECTORY),
        (rec.FILE_STAT, EACCES, None),
    ],
)
def test_calls_that_fail_tell_what_is_there(kind, error, what):
    calls = Calls()
    calls.add(kind, "/p", error=error)
    first, log = tree(calls)
    assert first.get("/p") == what
    assert log == []


def test_what_was_taken_for_a_file_may_be_a_directory():
    calls = Calls()
    calls.add(rec.FILE_STAT, "/d")
    calls.add(rec.FILE_STAT, "/d/f")
    assert tree(calls) == ({"/": DIRECTORY, "/d": DIRECTORY, "/d/f": 0}, [])


def test_what_comes_back_unseen_comes_with_its_directories():
    """A call finds what is gone as far as is known: something has made it that was not recorded."""
    calls = Calls()
    calls.add(rec.FILE_STAT, "/d/f")
    calls.add(rec.FILE_UNLINK, "/d/f")
    calls.add(rec.FILE_RMDIR, "/d")
    back = calls.add(rec.FILE_READ, "/d/f", pages=5)
    _, log = tree(calls)
    assert [row for row in log if row[0] == back] == [(back, "/d", DIRECTORY), (back, "/d/f", 5)]


def test_mapped_files_are_there_and_other_file_systems_are_not():
    calls = Calls()
    calls.add(rec.FILE_WRITE, "/dev/null", pages=5)
    calls.add(rec.FILE_READ, "/proc/self/maps", pages=5)
    calls.add(rec.FILE_STAT, "/device")
    calls.add(rec.MAP, page=100, pages=1, file=1)
    first, log = tree(calls, ["/opt/lib.so", "/opt/never"])
    assert first == {"/": DIRECTORY, "/device": 0, "/opt": DIRECTORY, "/opt/lib.so": 0}
    assert log == []


def test_what_is_mapped_in_a_new_directory_is_there_by_then():
    calls = Calls()
    made = calls.add(rec.FILE_MKDIR, "/d")
    calls.add(rec.FILE_STAT, "/e", error=ENOENT)
    mapped = calls.add(rec.MAP, page=100, pages=1, file=1)
    calls.add(rec.MAP, page=100, pages=1, file=1)
    gone = calls.add(rec.FILE_UNLINK, "/d/lib.so")
    calls.add(rec.MAP, page=100, pages=1, file=1)  # by a descriptor: it is not back
    _, log = tree(calls, ["/d/lib.so"])
    assert log == [(made, "/d", DIRECTORY), (mapped, "/d/lib.so", 0), (gone, "/d/lib.so", GONE)]


def test_a_merged_usr_is_one_directory():
    calls = Calls()
    calls.add(rec.FILE_STAT, "/lib/a.so")
    calls.add(rec.FILE_STAT, "/usr/lib/b.so")
    calls.add(rec.FILE_STAT, "/bin/c")
    recording = calls.recording(["/usr/lib/a.so", "[vdso]"])
    paths = paths_of(recording)
    assert paths.names[0] == "/"
    assert len(set(paths.names)) == len(paths.names)
    at = {name: paths.of_recording[i + 1] for i, name in enumerate(calls.paths)}
    assert paths.names[at["/lib/a.so"]] == "/usr/lib/a.so"
    assert paths.of_files == {"/usr/lib/a.so": at["/lib/a.so"]}
    assert paths.names[at["/bin/c"]] == "/bin/c"  # nothing says that it is merged
    assert paths.of_recording[0] == -1
    for number, above in enumerate(paths.parent.tolist()):
        name = paths.names[number]
        assert above <= number
        assert paths.names[above] == (name.rpartition("/")[0] or "/")


NAMES = ["/a", "/a/b", "/a/b/c", "/d", "/d/b", "/d/b/c"]
KINDS = list(range(rec.FILE_OPEN, rec.FILE_EXEC + 1))
any_calls = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        st.sampled_from([0, 0, 0, ENOENT, EEXIST, EISDIR, 39]),
        st.sampled_from([0, O_CREAT, O_TRUNC, O_CREAT | O_TRUNC]),
        st.integers(0, 9),
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(any_calls)
def test_whatever_is_there_lies_in_a_directory(rows):
    calls = Calls()
    for kind, name, other, error, info, pages in rows:
        other = other if kind in (rec.FILE_RENAME, rec.FILE_LINK, rec.FILE_SYMLINK) else None
        calls.add(kind, name, other, error=error, info=info, pages=pages)
    calls.add(rec.EXIT)
    first, log = tree(calls)
    now = dict(first)

    def check():
        for name, what in now.items():
            assert what == GONE or now[name.rpartition("/")[0] or "/"] == DIRECTORY, name

    check()
    for i, (time, name, what) in enumerate(log):
        now[name] = what
        if i + 1 == len(log) or log[i + 1][0] > time:
            check()
