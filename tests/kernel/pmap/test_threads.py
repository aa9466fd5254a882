"""Many threads at once, top-down and bottom-up, on the simulated machine: whatever happened, the audits are clean."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.pmap_door import MB, PAGE, READ, SUPER, US, VA, WRITE, World

DESIGNS = [{"locks": 256}, {"locks": 1, "batch": True}, {"locks": 0}, {"locks": 0, "batch": True}]
PMAPS = 6


def steps(w: World, seed: int, own: int, count: int) -> list[tuple]:
    """Random operations on any pmap and page, as faults, forks, exits and the page daemon would do them."""
    r = random.Random(seed)  # `own` is the pmap that the thread may empty
    out: list[tuple] = []
    for _ in range(count):
        p, q = r.sample(range(PMAPS), 2)
        i, n = r.randrange(600), r.choice([1, 2, 30, 300])
        start, end = VA + i * PAGE, VA + (i + n) * PAGE
        page = r.choice(w.pages[:8] if r.random() < 0.5 else w.pages)
        out.append(
            r.choice(
                [
                    ("enter", p, start, page, READ | WRITE, r.choice([0, WRITE]), 0),
                    ("enter", p, VA + w.pages.index(page) * PAGE, page, READ | WRITE, WRITE, 0),
                    ("enter_object", p, VA, VA + 600 * PAGE, w.pages[0], READ),
                    ("enter_quick", p, start, page, READ),
                    ("copy", p, q, start, end),
                    ("copy", p, q, VA, VA + SUPER),
                    ("protect", p, start, end, READ),
                    ("remove", p, start, end),
                    ("remove_pages", own),
                    ("remove_all", page),
                    ("remove_write", page),
                    ("ts_referenced", page),
                    ("is_modified", page),
                    ("exists_quick", p, page),
                    ("access", p, start, READ),
                    ("sleep", r.randrange(1, 20) * US),
                ]
            )
        )
    return out


@pytest.mark.parametrize("design", DESIGNS)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_operations_of_many_threads(design: dict, seed: int) -> None:
    w = World(pages=600, pmaps=PMAPS, cpus=4, **design)
    for thread in range(6):
        w.door.start(steps(w, seed + thread, thread, 150))
    w.machine.run()
    w.finish()


def test_operations_of_many_threads_short_of_memory() -> None:
    """Page-table pages are waited for, and chunks reclaimed from other pmaps that are at work.

    A thread that needs a page-table page waits until one is free, as long as it takes; when all of them wait, somebody
    must free some.  In FreeBSD that is the page daemon; here one more thread empties a pmap every millisecond.
    """
    daemon = [
        step
        for k in range(400)
        for step in (("sleep", 1000 * US), ("remove", k % PMAPS, VA, VA + 600 * PAGE))
    ]
    reclaims = 0
    for design in DESIGNS:
        for seed in range(12):
            w = World(pages=600, pmaps=PMAPS, cpus=2, memory=32 * MB, **design)
            w.do("hog", 6)
            for thread in range(4):
                w.door.start(steps(w, seed * 100 + thread, thread, 100))
            w.door.start(daemon)
            w.machine.run()
            reclaims += w.door.counts()["reclaims"]
            w.audit()
            w.do("unhog")
            w.finish()
    assert reclaims >= 5


def test_scans_of_one_list_do_not_make_each_other_start_again() -> None:
    """Each moves the entries that the other is about to see, and where one pmap has many, takes its lock."""
    for seed in range(12):
        r = random.Random(seed)
        w = World(pages=1, pmaps=2, cpus=3, locks=0)
        w.run(*(("enter", i % 2, VA + i * PAGE, w.pages[0], READ, 0, 0) for i in range(12)))
        for _ in range(2):
            w.door.start([("sleep", r.randrange(2 * US)), *[("ts_referenced", w.pages[0])] * 20])
        for i in range(4):
            w.door.start([("sleep", i * 10 * US + r.randrange(2 * US)), ("hold_pmap", i % 2, 10 * US)])
        w.machine.run()
        assert w.door.counts()["restarts"] <= 4
        w.finish()


@pytest.mark.parametrize("design", DESIGNS)
def test_exits_and_faults_on_shared_pages(design: dict) -> None:
    """What a parallel build does: every process maps the same file, writes a little, forks and exits."""
    w = World(pages=520, pmaps=8, cpus=8, **design)
    for p in range(8):
        life = [
            ("sleep", p * US),
            ("activate", p),
            ("enter_object", p, VA, VA + 520 * PAGE, w.pages[0], READ),
        ]
        life += [
            ("enter", p, VA + i * PAGE, w.pages[i + 1], READ | WRITE, WRITE, 0) for i in range(0, 500, 50)
        ]
        w.door.start([*life * 3, ("remove_pages", p), *life, ("remove_pages", p)])
    w.machine.run()
    assert sum(w.door.chunks_freed().values()) == 16
    waits = w.door.acquisitions()
    assert waits["rw:pmap pv list", "pmap_remove_pages"] >= 16
    w.finish()


def test_the_same_seed_gives_the_same_clock() -> None:
    times = set()
    for _ in range(2):
        w = World(pages=600, pmaps=PMAPS, locks=0)
        for thread in range(6):
            w.door.start(steps(w, thread, thread, 100))
        w.machine.run()
        times.add((w.machine.time_ps, str(w.door.acquisitions()), str(w.machine.line_accesses())))
        w.finish()
    assert len(times) == 1
