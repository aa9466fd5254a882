"""False sharing: transfers that only others in the line are the cause of, in closed form."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from doors.script import Scripts
from finegrain.lab.profile import read_profile
from finegrain.machine.costs import FREE, CostModel, parse_costs
from finegrain.machine.simulated import SimulatedMachine
from machine.plays import US, Script, play

NS = 1000
ROUNDS = 20
# A transfer takes 50 ns, the first one, from memory, 100; nothing else takes any time.
LINES = replace(FREE, dram_local=100.0, xfer_socket=50.0, share_socket=50.0)
PAIRS = replace(LINES, adjacent_line=1.0)


def run(
    *scripts: Script, locks: int = 2, stride: int = 32, costs: CostModel = LINES, kind: str = "mtx"
) -> dict[str, Any]:
    """Run scripts on a CPU each, over `locks` locks; the profile of the locks."""
    flush = [
        ("lock", locks),
        ("unlock", locks),
    ]  # of another kind: transfers of the last release are counted then
    other = "rw" if kind == "mtx" else "mtx"
    m = SimulatedMachine(sockets=1, cores=len(scripts), threads=1, costs=costs)
    Scripts(m, [kind] * locks + [other], [[*script, *flush] for script in scripts], stride=stride)
    m.run()
    (row,) = [row for row in read_profile(m) if row["class"] == ("sleep mutex" if kind == "mtx" else kind)]
    return row


def turns(lock: int, at: int, rounds: int = ROUNDS) -> Script:
    """Take the lock and release it, every time 10 us later, beginning at `at` us."""
    return [
        ("charge", at * US),
        *[("lock", lock), ("charge", 10 * US), ("unlock", lock), ("charge", 10 * US)] * rounds,
    ]


def counts(row: dict[str, Any]) -> tuple[int, int, int, int]:
    return row["transfers"], row["transfer_ps"] // NS, row["neighbour_transfers"], row["neighbour_ps"] // NS


# Each of two times 2 x ROUNDS operations finds that the other CPU has been in the line.  The first two are nobody's
# fault: from memory, and the first time that a CPU wants the line at all.
ALL = (4 * ROUNDS, 100 + (4 * ROUNDS - 1) * 50, 4 * ROUNDS - 2, (4 * ROUNDS - 2) * 50)
NONE = (2, 200, 0, 0)


@pytest.mark.parametrize("kind", ["mtx", "rw", "sx"])
@pytest.mark.parametrize(
    ("stride", "costs", "expected"),
    [
        (32, LINES, ALL),
        (32, PAIRS, ALL),
        (64, LINES, NONE),
        (128, LINES, NONE),
        (128, PAIRS, NONE),
    ],
)
def test_two_cpus_on_a_lock_each(kind: str, stride: int, costs: CostModel, expected: tuple[int, ...]) -> None:
    assert counts(run(turns(0, 0), turns(1, 5), stride=stride, costs=costs, kind=kind)) == expected


def test_with_the_adjacent_line_prefetcher_the_other_line_of_the_pair_is_a_neighbour() -> None:
    assert counts(run(turns(0, 0), turns(1, 5), stride=64, costs=PAIRS)) == ALL
    # Lines 1 and 2 are neighbours, but no pair.
    row = run(turns(1, 0), turns(2, 5), locks=3, stride=64, costs=PAIRS)
    assert counts(row)[2:] == (0, 0)


def test_two_cpus_on_one_lock_have_themselves_to_blame() -> None:
    total = 4 * ROUNDS
    script = [("charge", 10 * US), ("lock", 0), ("unlock", 0), ("charge", 10 * US)] * ROUNDS
    row = run([("charge", 5 * US), *script], script)
    assert counts(row) == (total // 2, 100 + (total // 2 - 1) * 50, 0, 0)


def test_a_lock_that_others_have_used_meanwhile_is_its_own_fault_whoever_had_the_line_last() -> None:
    """Two CPUs take turns with lock 0, a third uses lock 1 between any two of their operations."""
    script: Script = [("lock", 0), ("charge", 10 * US), ("unlock", 0), ("charge", 30 * US)]
    row = run(
        script * ROUNDS,
        [("charge", 20 * US), *script * ROUNDS],
        turns(1, 5, 2 * ROUNDS),
    )
    # Each of the first two: its release alone is the neighbour's fault.  The third's are all the first two's fault, and
    # they come from neighbours; but for the first.
    assert counts(row)[0] == 8 * ROUNDS
    assert counts(row)[2] == 2 * ROUNDS + (4 * ROUNDS - 1)


def test_what_capacity_threw_out_is_nobodys_fault() -> None:
    small = replace(LINES, l1_lines=32.0, l2_lines=64.0, llc_lines=128.0)
    script: Script = [("lock", 0), ("unlock", 0), ("charge", 3 * US), ("lines", 300), ("charge", 3 * US)]
    assert counts(run(script * ROUNDS, costs=small)) == (ROUNDS, ROUNDS * 100, 0, 0)


def test_a_failed_try_counts() -> None:
    row = run(
        [("lock", 0), ("charge", 30 * US), ("unlock", 0)],
        [("charge", 10 * US), ("trylock", 0), ("charge", 10 * US), ("trylock", 0)],
    )
    assert row["trylock_failures"] == 2
    assert counts(row) == (
        3,
        200,
        0,
        0,
    )  # the holder's two, and the first try; the second finds the line here


@pytest.mark.parametrize(("words", "lines"), [(8, 1), (4, 2), (2, 4), (1, 8)])
def test_the_more_words_in_a_line_the_worse(words: int, lines: int) -> None:
    """Eight CPUs hammer a word each; words in one line are served in turn."""
    rounds = 50
    scripts: list[Script] = [
        [("add_word", 8 * (cpu // words) + cpu % words)] * rounds for cpu in range(words * lines)
    ]
    s = play(*scripts, costs=LINES, cores=8)
    accesses = words * rounds if words > 1 else 1  # alone in its line, it pays once
    assert s.machine.time_ps == (100 + (accesses - 1) * 50) * NS


def test_neighbours_are_never_to_blame_for_more_than_all() -> None:
    for seed in range(20):
        r = random.Random(seed)
        scripts: list[Script] = []
        for _ in range(4):
            script: Script = []
            for _ in range(60):
                lock = r.randrange(6)
                script += [
                    ("lock", lock),
                    ("charge", r.randrange(US)),
                    ("unlock", lock),
                    ("charge", r.randrange(US)),
                ]
            scripts.append(script)
        for costs in (CostModel(), replace(CostModel(), adjacent_line=1.0)):
            row = run(*scripts, locks=6, stride=r.choice([32, 64]), costs=costs)
            assert 0 <= row["neighbour_ps"] <= row["transfer_ps"]
            assert 0 <= row["neighbour_transfers"] <= row["transfers"]
            assert row["transfers"] > 100


def test_the_prefetcher_is_switched_on_by_a_cost() -> None:
    assert parse_costs(["adjacent_line=1"]).picoseconds()["adjacent_line"] == 1
    assert CostModel().picoseconds()["adjacent_line"] == 0
