"""The lock profile: what counts when, for whom, and against whom."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from doors.customers import customers_start
from doors.script import Scripts
from finegrain.lab.profile import (
    enable_profile,
    read_charged,
    read_names,
    read_profile,
    reset_profile,
)
from finegrain.machine.costs import CostModel
from finegrain.machine.simulated import SimulatedMachine
from kernel.scripts import PAUSES_ONLY, US, Played

Play = Callable[..., Played]
Script = list[tuple[Any, ...]]


def test_holds_and_waits(play: Play) -> None:
    p = play(["mtx"], [("lock", 0), ("charge", 100 * US), ("unlock", 0)],
             [("charge", 40 * US), ("lock", 0), ("charge", 7 * US), ("unlock", 0)])  # fmt: skip
    row = p.profile()
    wait = p.end(1, 1) - 40
    assert (row["class"], row["name"]) == ("sleep mutex", "script")
    assert row["acquisitions"] == 2
    assert row["contested"] == 1
    assert row["wait"] == row["wait_max"] == wait
    assert row["hold"] == 107
    assert row["hold_max"] == 100
    # A bucket's bound is the first power of two above the time in nanoseconds.
    assert row["hold_histogram_ns"] == [[8192, 1], [131072, 1]]
    assert row["wait_histogram_ns"] == [[65536, 1]]


def test_waits_are_charged_to_who_held_the_lock(play: Play) -> None:
    # A writer, then two readers, hold the lock while one writer waits; after each release nobody does for a while.
    p = play(["rw"], [("lock", 0), ("charge", 50 * US), ("unlock", 0)],
             [("charge", 10 * US), ("lock", 0), ("charge", US), ("unlock", 0)])  # fmt: skip
    charged = read_charged(p.machine)
    wait = round(p.end(1, 1) * US) - 10 * US
    assert charged == {
        ("rw:script", "script/exclusive", "script/exclusive"): 40 * US,
        ("rw:script", "(free)", "script/exclusive"): wait - 40 * US,
    }


def test_readers_charge_the_writer_that_they_keep_out(play: Play) -> None:
    p = play(["rw"], [("rlock", 0), ("charge", 50 * US), ("unlock", 0)],
             [("rlock", 0), ("charge", 80 * US), ("unlock", 0)],
             [("charge", 10 * US), ("lock", 0), ("unlock", 0)])  # fmt: skip
    charged = read_charged(p.machine)
    assert charged["rw:script", "script/shared", "script/exclusive"] == 70 * US
    assert sum(charged.values()) == round(p.end(2, 1) * US) - 10 * US


def test_failed_tries_are_no_waits(play: Play) -> None:
    p = play(["rw"], [("lock", 0), ("charge", 50 * US), ("unlock", 0)],
             [("charge", 10 * US), ("tryrlock", 0), ("trylock", 0)])  # fmt: skip
    assert p.profile()["trylock_failures"] == p.profile(shared=True)["trylock_failures"] == 1
    assert read_charged(p.machine) == {}


def test_depth_counts_who_waited_before(play: Play) -> None:
    hold: Script = [("lock", 0), ("charge", 50 * US), ("unlock", 0)]
    p = play(["mtx"], hold, *[[("charge", (i + 1) * US), *hold] for i in range(3)])
    row = p.profile()
    assert row["depth_total"] == 0 + 1 + 2
    assert row["depth_max"] == 2
    # All three wait for the owner; nobody holds the lock only while the next one's back-off lasts.
    assert (
        read_charged(p.machine)["sleep mutex:script", "(free)", "script/exclusive"] < 0.5 * row["wait"] * US
    )
    assert (
        read_charged(p.machine)["sleep mutex:script", "script/exclusive", "script/exclusive"]
        >= (49 + 48 + 47) * US + 50 * US * 3
    )


def test_a_downgrade_is_a_release_and_an_acquisition(play: Play) -> None:
    p = play(["sx"], [("lock", 0), ("charge", 5 * US), ("downgrade", 0), ("charge", 3 * US), ("unlock", 0)])
    assert p.profile()["hold"] == 5
    assert p.profile(shared=True)["hold"] == 3


def test_reset_cuts_waits_and_holds_at_that_moment() -> None:
    m = SimulatedMachine(sockets=1, cores=4, threads=1, costs=PAUSES_ONLY)
    hold: Script = [("lock", 0), ("charge", 100 * US), ("charge", 100 * US), ("unlock", 0)]
    Scripts(m, ["mtx"], [hold, [("charge", 10 * US), *hold]])
    m.run(50 * US)
    reset_profile(m, 50 * US)
    m.run()
    (row,) = read_profile(m)
    assert row["hold_ps"] == (150 + 200) * US
    assert row["wait_ps"] == m.time_ps - (200 + 50) * US
    assert sum(read_charged(m).values()) == row["wait_ps"]
    (n,) = read_names(m, m.time_ps).values()
    assert n["acquired"] == n["released"] == 2
    assert n["queue_integral_ps"] == row["wait_ps"]


@pytest.mark.parametrize("kind", ["mtx", "mtx8", "bit2", "rw", "sx"])
def test_profiling_takes_time_that_is_in_no_recorded_hold(kind: str) -> None:
    """Of 400 ns, 200 pass between getting the lock and the hold, 200 between the hold and the release."""
    m = SimulatedMachine(sockets=1, cores=4, threads=1, costs=replace(PAUSES_ONLY, probe=400.0))
    hold: Script = [("lock", 0), ("charge", 10 * US), ("unlock", 0)]
    Scripts(m, [kind], [[("charge", 100 * US), *hold]])
    m.run()
    (row,) = read_profile(m)
    assert row["hold_ps"] == 10 * US
    assert m.time_ps == (100 + 10) * US + 400_000


def test_who_waits_waits_for_the_profile_too() -> None:
    waits = []
    for probe in (0.0, 4000.0):
        m = SimulatedMachine(sockets=1, cores=4, threads=1, costs=replace(PAUSES_ONLY, probe=probe))
        hold: Script = [("lock", 0), ("charge", 10 * US), ("unlock", 0)]
        Scripts(m, ["mtx"], [hold, [("charge", 5 * US), *hold]])
        m.run()
        (row,) = read_profile(m)
        assert row["hold_ps"] == 20 * US
        assert sum(read_charged(m).values()) == row["wait_ps"]
        waits.append(row["wait_ps"])
    assert 5 * US <= waits[0] < 7 * US  # and a back-off
    assert 9 * US <= waits[1] < 11 * US  # both halves of the first one's


def test_counting_changes_nothing_that_is_simulated_but_what_it_costs() -> None:
    seen = []
    for enabled in (True, False):
        m = SimulatedMachine(sockets=1, cores=8, threads=2, costs=replace(CostModel(), probe=0.0))
        customers_start(m, 16, 4, 1_000_000, 300_000, rounds=50)
        enable_profile(m, enabled)
        m.run()
        seen.append((m.time_ps, m.cpu_times(), m.counters()))
    assert seen[0] == seen[1]
