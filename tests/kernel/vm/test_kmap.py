"""The kernel's map of pipe buffers."""

from finegrain.workload import program as pr
from kernel.pipes_run import MS, Run, root


def test_neighbouring_buffers_share_an_object():
    process = root()
    process.do(pr.SLEEP, 2 * MS)
    for pipe in range(6):
        process.do(pr.PIPE, pipe)
    for pipe in range(6):
        process.do(pr.WRITE, pipe, 1)
    process.do(pr.SLEEP, 2 * MS)
    for pipe in (1, 2, 4):
        process.do(pr.CLOSE, pipe, pr.PIPE_READ_END)
    process.do(pr.SLEEP, 2 * MS)
    for pipe in range(6, 8):
        process.do(pr.PIPE, pipe)  # into the hole that two left
    process.do(pr.SLEEP, 2 * MS)
    run = Run(process)
    run.at(1)
    before = run.in_use()
    run.at(3)
    there = run.in_use()
    assert (there["objects"] - before["objects"], there["entries"] - before["entries"]) == (1, 1)
    run.at(5)
    assert (run.in_use()["objects"] - before["objects"], run.in_use()["entries"] - before["entries"]) == (
        1,
        3,
    )
    run.at(7)
    assert (run.in_use()["objects"] - before["objects"], run.in_use()["entries"] - before["entries"]) == (
        1,
        2,
    )
    run.end()


def test_kernel_memory_is_not_prefaulted():
    """Four bytes, each on a page of its own: four faults that fill a page, although neighbours are there."""
    process = root()
    process.do(pr.PIPE, 0)
    process.do(pr.SLEEP, 2 * MS)
    process.do(pr.WRITE, 0, 4 * 4096)
    process.do(pr.SLEEP, 2 * MS)
    run = Run(process)
    before = run.at(1)
    after = run.at(3)
    assert after["faults_zero"] - before["faults_zero"] == 4
    assert after["prefault_candidates"] == before["prefault_candidates"]
    assert run.profile("vm map (system)")["vm_map_lookup/kernel_map"]["acquisitions"] == 4
    run.end()
