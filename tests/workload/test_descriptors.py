"""Which descriptors are pipes."""

import polars as pl

from finegrain.workload import recording as rec
from finegrain.workload.assemble import assemble
from workload.test_assemble import BAD, raw

PIPES = (rec.PIPE, rec.READ, rec.WRITE, rec.CLOSE)


def pipes(*records, descriptors=range(3)):
    """Rows of pipes: process, kind, pages, info."""
    events = assemble(raw(*records), descriptors).events
    return events.filter(pl.col("kind").is_in(PIPES)).select("process", "kind", "pages", "info").rows()


def call(what, pid, value, **arguments):
    return [(f"enter_{what}", pid, arguments), (f"exit_{what}", pid, {"a": value})]


def test_a_backtick():
    """A shell makes a pipe, its child writes to it by descriptor 1, the shell reads to the end."""
    assert pipes(
        *call("pipe", 7, 0),
        ("fork", 7, {"a": 8, "b": 8}),
        ("close", 7, {"a": 4}),
        ("close", 8, {"a": 3}),
        *call("dup", 8, 1, a=4),
        ("close", 8, {"a": 4}),  # not the last one
        *call("write", 8, 5, a=1),
        ("exit", 8, {}),
        *call("read", 7, 5, a=3),
        *call("read", 7, 0, a=3),
        ("close", 7, {"a": 3}),
    ) == [
        (0, rec.PIPE, 0, 0),
        (0, rec.CLOSE, 1, 0),
        (0, rec.READ, 5, 0),
        (0, rec.READ, 0, 0),
        (0, rec.CLOSE, 0, 0),
        (1, rec.CLOSE, 0, 0),
        (1, rec.WRITE, 5, 0),
    ]


def test_a_read_stands_at_its_end_and_says_how_long_it_took():
    made = assemble(
        raw(
            *call("pipe", 7, 0),
            ("enter_read", 7, {"a": 3}),
            ("out", 7, {}),
            ("in", 7, {}),
            ("exit_read", 7, {"a": 1}),
        )
    )
    assert made.events.select("kind", "time", "offset").rows()[1:] == [
        (rec.OFF, 3000, 0), (rec.ON, 4000, 0), (rec.READ, 5000, 30),
    ]  # fmt: skip


def test_the_lowest_free_descriptors_are_the_pipe_s():
    assert pipes(
        *call("open", 7, 3),
        *call("open", 7, 4),
        ("close", 7, {"a": 3}),
        *call("pipe", 7, 0),  # 3 and 5
        *call("write", 7, 2, a=5),
        *call("write", 7, 2, a=4),
        *call("read", 7, 2, a=3),
    ) == [(0, rec.PIPE, 0, 0), (0, rec.WRITE, 2, 0), (0, rec.READ, 2, 0)]


def test_descriptors_that_were_there_before():
    records = (*call("pipe", 7, 0), *call("write", 7, 2, a=5))
    assert pipes(*records) == [(0, rec.PIPE, 0, 0)]
    assert pipes(*records, descriptors=[0, 1, 2, 4]) == [(0, rec.PIPE, 0, 0), (0, rec.WRITE, 2, 0)]


def test_a_descriptor_higher_than_expected_shows_others():
    """open gives 5 where 3 was thought to be free: 3 and 4 are in use."""
    found = pipes(*call("open", 7, 5), *call("pipe", 7, 0), *call("write", 7, 2, a=7))
    assert found == [(0, rec.PIPE, 0, 0), (0, rec.WRITE, 2, 0)]


def test_a_descriptor_that_comes_again_was_closed():
    assert pipes(*call("pipe", 7, 0), *call("open", 7, 4), *call("write", 7, 2, a=4)) == [
        (0, rec.PIPE, 0, 0), (0, rec.CLOSE, 1, 0),
    ]  # fmt: skip


def test_exec_closes_what_is_marked():
    cloexec = 0x80000
    assert pipes(
        *call("pipe", 7, 0, a=cloexec),
        *call("dup", 7, 9, a=4, b=0),
        *call("fcntl", 7, 0, a=9, b=2, c=0),
        ("exec", 7, {}),
        *call("write", 7, 2, a=9),
        *call("pipe", 7, 0),
        *call("fcntl", 7, 0, a=3, b=2, c=1),
        ("exec", 7, {}),
    ) == [
        (0, rec.PIPE, 0, 0),
        (0, rec.CLOSE, 0, 0),  # 4 goes too, but there is 9
        (0, rec.WRITE, 2, 0),
        (0, rec.PIPE, 0, 1),
        (0, rec.CLOSE, 0, 1),
    ]


def test_an_exec_s_closes_stand_before_it():
    events = assemble(raw(*call("pipe", 7, 0, a=0x80000), ("exec", 7, {}))).events
    assert events["kind"].to_list() == [rec.PIPE, rec.CLOSE, rec.CLOSE, rec.EXEC]


def test_copies_ranges_and_failures():
    assert pipes(
        *call("pipe", 7, BAD),
        *call("pipe", 7, 0),
        *call("fcntl", 7, 10, a=4, b=0, c=10),
        *call("fcntl", 7, 11, a=3, b=1030, c=10),
        ("close_range", 7, {"a": 3, "b": 4, "c": 0}),
        *call("write", 7, BAD, a=10),
        *call("read", 7, 1, a=11),
        ("close_range", 7, {"a": 10, "b": 0xFFFFFFFF, "c": 0}),
    ) == [
        (0, rec.PIPE, 0, 0),
        (0, rec.READ, 1, 0),
        (0, rec.CLOSE, 1, 0),
        (0, rec.CLOSE, 0, 0),
    ]
