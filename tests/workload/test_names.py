"""Names find their calls, and become paths."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finegrain.workload.names import Names, absolute, with_parents


def test_a_name_belongs_to_the_next_call_that_is_given_its_address():
    names = Names()
    names.seen(7, 0x10, "a", 5)
    assert names.take(7, 0x20) == (None, None)
    assert names.take(8, 0x10) == (None, None)
    assert names.take(7, 0x10) == ("a", 5)
    assert names.take(7, 0x10) == (None, None)


def test_a_signal_handler_between_a_probe_and_its_call():
    names = Names()
    names.seen(7, 0x10, "outer", 1)
    names.seen(7, 0x90, "of the handler", 2)
    assert names.take(7, 0x90) == ("of the handler", 2)
    assert names.take(7, 0x10) == ("outer", 1)


def test_names_do_not_outlive_a_program_or_pile_up():
    names = Names()
    names.seen(7, 0x10, "a", 1)
    names.forget(7)
    assert names.take(7, 0x10) == (None, None)
    for pointer in range(100):
        names.seen(7, pointer, "lost", 1)
    assert sum(names.take(7, pointer)[0] is not None for pointer in range(100)) == 4


def test_a_name_that_could_not_be_read_is_not_known():
    names = Names()
    names.seen(7, 0x10, "(fault)", 3)
    assert names.take(7, 0x10) == (None, 3)


calls = st.tuples(st.integers(0, 3), st.booleans())  # address; whether the probe was there


@given(st.lists(st.lists(calls, max_size=8), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_any_interleaving_of_threads_pairs_each_call_with_its_own_name(threads, random):
    """A thread's probe and call follow one another; what comes between is other threads'."""

    def steps(i, pointer, probed):
        return [("probe", pointer, i)] * probed + [("call", pointer, i)]

    queues = [
        [step for i, (pointer, probed) in enumerate(of) for step in steps(i, pointer, probed)]
        for of in threads
    ]
    names, pending = Names(), [list(queue) for queue in queues]
    while any(pending):
        tid = random.choice([i for i, queue in enumerate(pending) if queue])
        what, pointer, i = pending[tid].pop(0)
        if what == "probe":
            names.seen(tid, pointer, f"{tid}-{i}", i)
        else:
            assert names.take(tid, pointer)[0] == (f"{tid}-{i}" if threads[tid][i][1] else None)


@pytest.mark.parametrize(
    ("name", "directory", "path"),
    [
        ("/a//b/./c/", "/x", "/a/b/c"),
        ("b", "/a", "/a/b"),
        ("../b", "/a", "/b"),
        ("../../..", "/a", "/"),
        (".", "/", "/"),
        ("b", None, None),
        ("/b", None, "/b"),
        ("", "/a", None),
        (None, "/a", None),
    ],
)
def test_paths(name, directory, path):
    assert absolute(name, directory) == path


names_ = st.lists(st.sampled_from(["a", "b.c", ".", "..", "", "..."]), max_size=6).map("/".join)


@given(names_.filter(bool), names_)
def test_paths_are_normal_as_posixpath_says(name, directory):
    base = posixpath.normpath("/" + directory.strip("/"))
    assert absolute(name, base) == "/" + posixpath.normpath(posixpath.join(base, name)).lstrip("/")


@given(st.sets(names_))
def test_each_path_comes_after_its_directory(names):
    paths = {absolute(name, "/") for name in names} - {None}
    every = with_parents(paths)
    assert every[0] == "/"
    assert paths <= set(every)
    assert len(set(every)) == len(every)
    for i, path in enumerate(every[1:], 1):
        assert posixpath.dirname(path) in every[:i]
