"""A process that uses 2 MB of memory whole: promoted, demoted, mapped whole."""

from finegrain.lab.profile import read_profile
from finegrain.workload import program as pr
from replay.made import MS, PS_PER_MS, make_machine, on
from workload.synthetic import ANONYMOUS, Process, build

VA = 0x10000000  # 2 MB-aligned
PAGES = 512


def replay_of(*steps):
    """One process that maps 4 MB and takes these steps, (pages, write), a millisecond apart; pages None: unmap half."""
    process = Process(-1)
    process.exec()
    process.do(pr.MMAP, VA, 2 * PAGES * 4096, ANONYMOUS)
    for pages, write in steps:
        if pages is None:
            process.do(pr.MUNMAP, VA + PAGES // 2 * 4096, PAGES // 2 * 4096)
        for i in pages or ():
            process.touch(VA + i * 4096, write)
        process.do(pr.SLEEP, 1 * MS)
    process.do(pr.SLEEP, 1000 * MS)
    process.do(pr.EXIT)
    replay = on(make_machine(), build([process]), jobs=1, stagger=False)
    replay.machine.run(until=replay.prepare() + 30 * PS_PER_MS)
    assert replay.kernel.audit() == (0, "")
    counts = replay.counts()
    sites = {row["site"]: row for row in read_profile(replay.machine) if row["name"] == "pmap pv list"}
    assert set(replay.drain().values()) == {0}
    return {name: counts[name] for name in ("promotions", "demotions", "faults_superpage")}, sites


def test_the_last_page_of_two_megabytes_promotes():
    counts, sites = replay_of((range(PAGES - 1), True))
    assert counts == {"promotions": 0, "demotions": 0, "faults_superpage": 0}
    few = sites["pmap_enter"]["hold_max_ps"]
    counts, sites = replay_of((range(PAGES), True))
    assert counts == {"promotions": 1, "demotions": 0, "faults_superpage": 0}
    # The lock is carried from the page entered last into the promotion: a hold of 512 list searches.
    assert "pmap_promote_pde" not in sites
    assert sites["pmap_enter"]["hold_max_ps"] > 20 * few


def test_memory_that_was_only_read_is_demoted_by_the_first_write_and_mapped_whole_by_the_last():
    counts, sites = replay_of((range(PAGES), False), ([7], True))
    assert counts == {"promotions": 1, "demotions": 1, "faults_superpage": 0}
    assert sites["pmap_demote_pde"]["acquisitions"] == 1
    counts, sites = replay_of((range(PAGES), False), (range(PAGES), True))
    # By then all pages are dirty: the fault maps the superpage, and what was there in small pages goes.
    assert counts == {"promotions": 1, "demotions": 1, "faults_superpage": 1}
    assert sites["pmap_demote_pde"]["acquisitions"] == 1


def test_half_of_a_superpage_that_is_unmapped_demotes():
    counts, sites = replay_of((range(PAGES), True), (None, False))
    assert counts == {"promotions": 1, "demotions": 1, "faults_superpage": 0}
    assert sites["pmap_demote_pde"]["acquisitions"] == 1
