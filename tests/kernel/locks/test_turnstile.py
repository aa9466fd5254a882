"""Turnstiles and sleep queues: which chain, who lends priority to whom, and who gives it back."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from doors.script import Scripts
from finegrain.machine.costs import FREE
from finegrain.machine.simulated import SimulatedMachine
from kernel.scripts import PAUSES_ONLY, US, Played

Play = Callable[..., Played]
Script = list[tuple[Any, ...]]
MS = 1000 * US
SLICED = replace(PAUSES_ONLY, time_slice=1.0)  # a look at the run queue after every millisecond of user time


def test_eight_neighbouring_locks_share_a_turnstile_chain() -> None:
    s = Scripts(SimulatedMachine(sockets=1, cores=1, costs=FREE), ["mtx"] * 20, [])
    turnstiles = [turnstile for turnstile, _ in s.chains()]
    first = turnstiles[0]
    # (address >> 8) & 127, over locks of 32 bytes that begin at a multiple of 256
    assert [(t - first) // 64 for t in turnstiles] == [0] * 8 + [1] * 8 + [2] * 4


def test_four_neighbouring_locks_of_64_bytes_share_one() -> None:
    s = Scripts(SimulatedMachine(sockets=1, cores=1, costs=FREE), ["rw"] * 12, [], stride=64)
    first = s.chains()[0][0]
    assert [(t - first) // 64 for t, _ in s.chains()] == [0] * 4 + [1] * 4 + [2] * 4


def test_sleep_queue_chains_tell_neighbours_apart() -> None:
    s = Scripts(SimulatedMachine(sockets=1, cores=1, costs=FREE), ["sx"] * 20, [])
    chains = [chain for _, chain in s.chains()]
    # ((address >> 8) ^ address) & 255
    assert len(set(chains)) > 8
    assert all(0 <= (c - min(chains)) // 64 < 256 for c in chains)


def test_a_lent_priority_moves_its_owner_up_among_those_blocked(play: Play) -> None:
    low: Script = [("priority", 200), ("lock", 0), ("user", 5 * MS), ("unlock", 0)]
    rival: Script = [("priority", 140), ("lock", 0), ("unlock", 0)]
    middle: Script = [("priority", 150), ("lock", 1), ("lock", 0), ("unlock", 0), ("unlock", 1)]
    urgent: Script = [("priority", 50), ("lock", 1), ("unlock", 1)]
    p = play(["mtx", "mtx"], low, rival, middle, cpus=1, costs=SLICED)
    assert p.order("unlock") == [0, 1, 2, 2]
    p = play(["mtx", "mtx"], low, rival, middle, urgent, cpus=1, costs=SLICED)
    assert p.order("unlock") == [0, 2, 2, 3, 1]


@pytest.mark.parametrize("kind", ["sx", "rw"])
def test_nothing_is_lent_to_sx_owners_and_readers(play: Play, kind: str) -> None:
    take = "lock" if kind == "sx" else "rlock"
    low: Script = [("priority", 200), (take, 0), ("user", 3 * MS), ("priority_of", 0), ("unlock", 0)]
    urgent: Script = [("priority", 50), ("lock", 0), ("unlock", 0)]
    p = play([kind], low, urgent, cpus=1, costs=SLICED)
    assert p.result(0, 3) == 200


def test_downgrade_gives_a_loan_back_though_writers_wait(play: Play) -> None:
    low: Script = [("priority", 200), ("lock", 0), ("user", 2 * MS), ("priority_of", 0), ("downgrade", 0),
                   ("priority_of", 0), ("user", MS), ("unlock", 0)]  # fmt: skip
    urgent: Script = [("priority", 50), ("lock", 0), ("unlock", 0)]
    p = play(["rw"], low, urgent, cpus=1, costs=SLICED)
    assert p.result(0, 3) == 50
    assert p.result(0, 5) == 200


def test_a_new_owner_answers_for_those_who_still_wait(play: Play) -> None:
    # The writer wakes up to a lock whose readers are still queued, one of them urgent.
    low: Script = [("priority", 200), ("lock", 0), ("user", 2 * MS), ("unlock", 0)]
    writer: Script = [("priority", 150), ("lock", 0), ("priority_of", 1), ("unlock", 0), ("priority_of", 1)]
    urgent: Script = [("priority", 50), ("rlock", 0), ("unlock", 0)]
    p = play(["rw"], low, writer, urgent, cpus=1, costs=SLICED)
    assert p.result(1, 2) == 50
    assert p.result(1, 4) == 150
