"""Pipes: who waits for whom, what becomes of the buffer."""

import pytest

from finegrain.workload import program as pr
from kernel.pipes_run import MS, Run, root
from workload.synthetic import Process


def reader_and_writer(write, read, *, writer_sleeps=0, reader_sleeps=0):
    """A root that makes a pipe and reads what its child writes; then both sleep long."""
    reader, writer = root(), Process(0)
    reader.do(pr.PIPE, 0)
    reader.do(pr.FORK, 1)
    reader.do(pr.CLOSE, 0, pr.PIPE_WRITE_END)
    reader.do(pr.SLEEP, reader_sleeps)
    for size in read:
        reader.do(pr.READ, 0, size)
    reader.do(pr.FORK, 2)  # counted: the reader has got so far
    reader.do(pr.SLEEP, 90 * MS)
    writer.do(pr.CLOSE, 0, pr.PIPE_READ_END)
    writer.do(pr.SLEEP, writer_sleeps)
    for size in write:
        writer.do(pr.WRITE, 0, size, user_ns=100_000)
    writer.do(pr.FORK, 3)
    writer.do(pr.SLEEP, 20 * MS)
    return reader, writer, Process(0), Process(1)


def test_a_reader_sleeps_until_there_is_something():
    run = Run(*reader_and_writer([6], [6], writer_sleeps=3 * MS))
    counts = run.at(2)
    assert (counts["pipes"], counts["pipe_reads"], counts["forks"]) == (1, 0, 2)
    counts = run.at(5)
    assert (counts["pipe_reads"], counts["pipe_bytes"], counts["forks"]) == (1, 6, 4)
    run.end()


def test_a_reader_waits_for_all_that_the_recording_s_call_read():
    run = Run(*reader_and_writer([6, 6], [12], writer_sleeps=1 * MS))
    counts = run.at(5)
    assert (counts["pipe_reads"], counts["forks"]) == (2, 4)
    run.end()


def test_the_end_of_file_comes_with_the_last_writer_s_exit():
    run = Run(*reader_and_writer([6], [6, 0]))
    assert run.at(15)["forks"] == 3
    assert run.at(30)["forks"] == 4  # the writer has ended after 20 ms; bytes are long read
    run.end()


@pytest.mark.parametrize(
    ("size", "grown", "goes_on"), [(100, 0, True), (20_000, 1, True), (70_000, 1, False)]
)
def test_a_writer_sleeps_when_64_kb_are_full(size, grown, goes_on):
    run = Run(*reader_and_writer([size], [size], reader_sleeps=5 * MS))
    counts = run.at(3)
    assert counts["pipe_buffers_grown"] == grown
    assert counts["forks"] == 2 + goes_on
    assert run.in_use()["pipe_kva"] == (16384 if not grown else 32768 if size < 32768 else 65536)
    counts = run.at(9)
    assert (counts["pipe_bytes"], counts["forks"]) == (size, 4)
    run.end()


def test_small_writes_are_not_divided():
    """The buffer has room for less than the last write: it waits for all of it."""
    run = Run(*reader_and_writer([65_000, 500, 500], [65_000, 1000], reader_sleeps=5 * MS))
    assert run.at(3)["pipe_writes"] == 2
    assert run.at(9)["pipe_writes"] == 3
    run.end()


def test_nobody_writes_to_a_pipe_that_nobody_reads():
    process = root()
    process.do(pr.PIPE, 0)
    process.do(pr.CLOSE, 0, pr.PIPE_READ_END)
    process.do(pr.WRITE, 0, 100)
    process.do(pr.CLOSE, 0, pr.PIPE_WRITE_END)
    process.do(pr.SLEEP, 9 * MS)
    run = Run(process)
    assert run.at(3)["pipe_bytes"] == 0
    assert run.in_use()["pipes"] == 0
    run.end()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_last_close_gives_everything_back(order):
    process = root()
    process.do(pr.SLEEP, 2 * MS)
    process.do(pr.PIPE, 0)
    process.do(pr.WRITE, 0, 5000)
    process.do(pr.SLEEP, 2 * MS)
    for end in order:
        process.do(pr.CLOSE, 0, end)
    process.do(pr.SLEEP, 9 * MS)
    run = Run(process)
    run.at(1)
    before = run.in_use()
    run.at(3)
    there = run.in_use()
    assert (there["pipes"], there["pipe_kva"], there["pages"] - before["pages"]) == (
        1,
        16384,
        3,
    )  # 2, and a chunk
    assert there["objects"] == before["objects"] + 1
    run.at(6)
    assert run.in_use() == before
    run.end()


def test_the_mutex_and_the_map_are_profiled_by_point():
    run = Run(*reader_and_writer([6], [6, 0]))
    run.at(30)
    assert set(run.profile("pipe mutex")) == {"pipe_read", "pipe_write", "pipeclose"}
    points = run.profile("vm map (user)")
    assert points["vm_map_find/pipe_map"]["acquisitions"] == 1
    assert points["vm_map_lookup/pipe_map"]["acquisitions"] >= 1
    run.end()
    assert run.profile("vm map (user)")["vm_map_remove/pipe_map"]["acquisitions"] == 1
