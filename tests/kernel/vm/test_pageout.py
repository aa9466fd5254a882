"""The page daemon without any shortage: it comes round, looks at marks, and lets idle pages go."""

import pytest

from finegrain.design import parse_design
from finegrain.lab.profile import read_profile
from finegrain.machine.simulated import SimulatedMachine
from finegrain.options import KernelOptions
from finegrain.replay.replay import Replay
from finegrain.workload import program as pr
from workload.synthetic import ANONYMOUS, Process, build

MS = 1_000_000  # ns
PS_PER_S = 1_000_000_000_000
BASE = 0x10000000


def replay_of(pages, seconds, **options):
    """One process that touches `pages` pages and sleeps; run for so long."""
    process = Process(-1)
    process.exec()
    process.do(pr.MMAP, BASE, pages * 4096, ANONYMOUS)
    for i in range(pages):
        process.touch(BASE + i * 4096)
    process.do(pr.SLEEP, 1000_000 * MS)
    process.do(pr.EXIT)
    machine = SimulatedMachine(sockets=1, cores=2, threads=1, memory=1 << 30, seed=1)
    replay = Replay(
        machine,
        [(1 << 20, 1 << 30, 0)],
        build([process]),
        parse_design("head"),
        jobs=1,
        stagger=False,
        options=KernelOptions(**options),
    )
    machine.run(until=replay.prepare() + round(seconds * PS_PER_S))
    assert replay.kernel.audit() == (0, "")
    return replay


def acquisitions(replay):
    return {(row["name"], row["site"]): row["acquisitions"] for row in read_profile(replay.machine)}


def test_every_active_page_is_looked_at_once_in_a_period():
    replay = replay_of(600, 2.05, active_scan_s=2.0)
    scanned = replay.counts()["active_scanned"]
    # A few pages of the process more; those of the last, unfinished batch, up to 31, are not queued yet; and each of
    # the twenty looks takes a whole number of pages, rounded down.
    assert 600 - 31 - 21 <= scanned <= 620
    counts = acquisitions(replay)
    assert counts["pmap pv list", "pmap_ts_referenced"] == scanned
    # carried from page to page: 600 pages of two superpages or three, and a lock for each batch of the scans
    assert counts["vm page", "vm_page_change_lock"] < scanned / 5
    assert set(replay.drain().values()) == {0}


def test_the_lock_of_the_page_is_held_over_that_of_the_pv_list():
    replay = replay_of(200, 1.05, active_scan_s=1.0)
    rows = {(row["name"], row["site"]): row for row in read_profile(replay.machine)}
    page = rows["vm page", "vm_page_change_lock"]
    assert page["hold_ps"] > rows["pmap pv list", "pmap_ts_referenced"]["hold_ps"] > 0


@pytest.mark.parametrize(("seconds", "inactive"), [(3.05, False), (12.05, True)])
def test_a_page_that_nobody_uses_becomes_inactive(seconds, inactive):
    replay = replay_of(300, seconds, active_scan_s=1.0)
    # active with 5; its mark is found once, for 4 more; then one less each time round
    assert (replay.counts()["active_scanned"] < 11 * 300) == inactive or not inactive
    queued = acquisitions(replay).get(("vm inactive pagequeue", "vm_page_pqbatch_submit"), 0)
    assert (queued > 5) == inactive
    assert set(replay.drain().values()) == {0}


def test_nothing_is_scanned_when_that_is_switched_off():
    replay = replay_of(300, 2.0, active_scan_s=0)
    assert replay.counts()["active_scanned"] == 0
    assert ("vm active pagequeue", "vm_pageout_collect_batch") not in acquisitions(replay)
    assert set(replay.drain().values()) == {0}
