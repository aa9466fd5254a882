"""The kernel's pmap: global mappings, forgotten by every CPU under the PV list lock."""

import pytest

from finegrain.machine.costs import CostModel
from finegrain.workload import program as pr
from kernel.pipes_run import MS, Run, root
from workload.synthetic import ANONYMOUS, Process

HANDLER_NS = 400_000


def hold_ns(run, site):
    return run.profile("pmap pv list")[site]["hold_max_ps"] / 1000


def busy(parent):
    process = Process(parent)
    process.do(pr.MMAP, 0x10000000, 4096, ANONYMOUS)
    for _ in range(10):
        process.do(pr.TOUCH, 0x10000000, 0, pr.TOUCH_WRITE, 2 * MS)
    return process


@pytest.mark.parametrize("design", ["head", "superpage"])
@pytest.mark.parametrize(("cpus", "others"), [(4, True), (4, False), (1, False)])
def test_giving_a_buffer_back_interrupts_all_cpus_under_the_pv_list_lock(design, cpus, others):
    """Idle ones too; only where there is no other CPU there is nothing to wait for."""
    process = root()
    if others:
        process.do(pr.FORK, 1)
        process.do(pr.FORK, 2)
    process.do(pr.PIPE, 0)
    process.do(pr.WRITE, 0, 1)
    process.do(pr.SLEEP, 5 * MS)
    process.do(pr.CLOSE, 0, pr.PIPE_READ_END)
    process.do(pr.SLEEP, 50 * MS)
    family = [process, busy(0), busy(0)] if others else [process]
    run = Run(*family, design=design, costs=CostModel(ipi_handler=HANDLER_NS), cpus=cpus)
    run.at(4)
    before = hold_ns(run, "pmap_remove") if "pmap_remove" in run.profile("pmap pv list") else 0
    assert before < HANDLER_NS  # a program's own pages are forgotten after the lock was dropped
    run.at(9)
    assert (hold_ns(run, "pmap_remove") > HANDLER_NS) == (cpus > 1)
    run.end()


def test_a_run_of_pages_is_forgotten_at_once():
    """Three pages with a page in between that is not there: two runs, two interrupts."""
    holds = {}
    for pages in (1, 3):
        process = root()
        process.do(pr.FORK, 1)
        process.do(pr.PIPE, 0)
        process.do(pr.WRITE, 0, pages * 4096)
        process.do(pr.SLEEP, 5 * MS)
        process.do(pr.CLOSE, 0, pr.PIPE_READ_END)
        process.do(pr.SLEEP, 50 * MS)
        run = Run(process, busy(0), costs=CostModel(ipi_handler=HANDLER_NS))
        run.at(9)
        holds[pages] = hold_ns(run, "pmap_remove")
        run.end()
    assert HANDLER_NS < holds[1] < holds[3] < 1.2 * holds[1]
