"""Descriptors: who has which ends, after forks, closes and exits."""

from finegrain.workload import program as pr
from kernel.pipes_run import MS, Run, root
from workload.synthetic import Process


def test_children_keep_a_pipe_open():
    parent, child, grandchild = root(), Process(0), Process(1)
    parent.do(pr.PIPE, 0)
    parent.do(pr.FORK, 1)
    parent.do(pr.CLOSE, 0, pr.PIPE_READ_END)
    parent.do(pr.CLOSE, 0, pr.PIPE_WRITE_END)
    parent.do(pr.SLEEP, 30 * MS)
    child.do(pr.FORK, 2)
    child.do(pr.SLEEP, 2 * MS)
    grandchild.do(pr.SLEEP, 5 * MS)
    run = Run(parent, child, grandchild)
    run.at(4)
    assert run.in_use()["pipes"] == 1
    run.at(8)
    assert run.in_use()["pipes"] == 0
    run.end()


def test_many_pipes_at_once():
    """More descriptors than a table has at first; the child gets them all, and exit closes them."""
    parent, child = root(), Process(0)
    for pipe in range(20):
        parent.do(pr.PIPE, pipe)
    parent.do(pr.FORK, 1)
    for pipe in range(20):
        parent.do(pr.CLOSE, pipe, pr.PIPE_READ_END)
        parent.do(pr.CLOSE, pipe, pr.PIPE_WRITE_END)
    parent.do(pr.SLEEP, 30 * MS)
    for pipe in range(20):
        child.do(pr.WRITE, pipe, 10)
    child.do(pr.SLEEP, 3 * MS)
    run = Run(parent, child)
    assert run.at(3)["pipe_bytes"] == 200
    assert run.in_use()["pipes"] == 20
    run.at(8)
    assert run.in_use()["pipes"] == 0
    run.end()


def test_what_a_process_has_not_it_does_not_close():
    process = root()
    process.do(pr.PIPE, 3)
    process.do(pr.CLOSE, 4, pr.PIPE_READ_END)
    process.do(pr.SLEEP, 9 * MS)
    run = Run(process)
    run.at(3)
    assert run.in_use()["pipes"] == 1
    run.end()
