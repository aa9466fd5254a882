"""The mutex: back-off, when an owner runs, and what panics name (FreeBSD kern_mutex.c). What it has in common with the
other kinds is in test_battery.py."""

from dataclasses import replace
from typing import Any

import pytest

from doors.script import lock_sizes
from finegrain.machine.errors import KernelPanic
from kernel.scripts import PAUSES_ONLY, US, Play, expected_look, hold, later, read


def test_locks_are_32_bytes() -> None:
    assert lock_sizes() == (32, 32, 32, 48, 24)


@pytest.mark.parametrize("us", [1, 3, 17, 40, 100, 333, 900])
@pytest.mark.parametrize(("cpus", "most"), [(2, 4 * 256), (8, 16 * 256), (104, 32678)])
def test_back_off_doubles_to_its_limit(play: Play, us: int, cpus: int, most: int) -> None:
    """lock_delay: 1 doubled a round; the most is the CPUs rounded up to a power of two, times 256, at most 32678."""
    p = play(["mtx"], hold(us), hold(1), cpus=cpus)
    assert round(p.end(1, 0) * 1000) == expected_look(us * 1000, most)


def test_spinning_ends_with_the_owner_even_if_a_new_thread_gets_its_record(play: Play) -> None:
    # 0 ends at 100; 1 looks next at 130; by then 3, born at 101 in the record of 0, has the lock, until it sleeps.
    heir = [("lock", 0), ("charge", 100 * US), ("sleep", 1000 * US), ("unlock", 0)]
    p = play(["sx"], hold(100), later(1, hold(1)), later(101, [("spawn", 3)]), heir)
    assert p.end(3, 0) == 101
    assert p.profile()["block"] > 900


def test_an_owner_that_is_waking_up_does_not_run(play: Play) -> None:
    # Asleep from 3 us to 103, running from 106; the waiter comes at 104.
    costs = replace(PAUSES_ONLY, wakeup=3000.0)
    p = play(["sx"], [("lock", 0), ("sleep", 100 * US), ("charge", 10 * US), ("unlock", 0)], later(101, hold(1)),
             costs=costs)  # fmt: skip
    assert p.profile()["spin"] == 0
    assert p.end(1, 1) == 119


def test_wake_up_latency_counts_as_wait(play: Play) -> None:
    costs = replace(PAUSES_ONLY, wakeup=3000.0, ctx_switch=500.0)
    p = play(["sx"], hold(100, how="sleep"), hold(1), costs=costs)
    # Both start 3 us late; the sleeper is back 3 us after its 100 us and its waiter 3 us after that.
    assert p.end(0, 2) == 106
    assert p.end(1, 0) == 109
    assert p.profile()["wait"] == 106


@pytest.mark.parametrize(
    ("locks", "script", "why"),
    [
        (["rw"], [("rlock", 0), ("wunlock", 0)], "does not hold for writing"),
        (["rw"], [("runlock", 0)], "nobody holds for reading"),
        (["sx"], [("lock", 0), ("runlock", 0)], "nobody holds for reading"),
        (["rw"], [("rlock", 0), ("downgrade", 0)], "does not hold for writing"),
        (["sx"], [("lock", 0), ("rlock", 0)], "read-locking a lock that this thread holds for writing"),
        (
            ["mtx"],
            [("lock", 0)],
            "a thread ended with locks held; holds sleep mutex:script (script/exclusive)",
        ),
        (["rw"], [("rlock", 0)], "a thread ended with locks held; holds rw:script (script/shared)"),
    ],
)
def test_panics(play: Play, locks: list[str], script: list[tuple[Any, ...]], why: str) -> None:
    with pytest.raises(KernelPanic) as panic:
        play(locks, [("charge", US), *script], checked=False)
    text = str(panic.value).replace("\nin thread 1 on CPU 0 at 1000 ns", "")
    assert why in text


def test_unlocking_for_somebody_else_panics(play: Play) -> None:
    with pytest.raises(KernelPanic, match="unlocking a lock that is not held"):
        play(["rw"], read(10), later(1, [("runlock", 0)]), checked=False)


def test_deadlock_among_readers_stops_the_run(play: Play) -> None:
    def both(a: int, b: int) -> list[tuple[Any, ...]]:
        return [("rlock", a), ("charge", 10 * US), ("lock", b), ("unlock", b), ("unlock", a)]

    with pytest.raises(
        KernelPanic, match=r"deadlock: no thread can run(\n.*wants rw:script.*holds rw:script.*){2}"
    ):
        play(["rw", "rw"], both(0, 1), both(1, 0))
