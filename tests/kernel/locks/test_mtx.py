"""The mutex, and what all kinds of lock share: waiting for an owner, and what must not be (FreeBSD kern_mutex.c)."""

from dataclasses import replace
from itertools import accumulate
from typing import Any

import pytest

from doors.script import lock_sizes
from finegrain.machine.errors import KernelPanic
from kernel.scripts import KINDS, PAUSES_ONLY, US, Play, hold, later, read


def test_locks_are_32_bytes() -> None:
    assert lock_sizes() == (32, 32, 32, 48, 24)


@pytest.mark.parametrize("kind", [*KINDS, "spin"])
def test_spins_while_the_owner_runs(play: Play, kind: str) -> None:
    p = play([kind], hold(100), later(1, hold(1)))
    row = p.profile()
    assert row["contested"] == 1
    assert row["block"] == 0
    assert row["wait"] == row["spin"] == p.end(1, 1) - 1
    assert p.machine.counters()["wakeups"] == 2  # the two starts


def expected_look(pauses: int, most: int) -> int:
    """The first look at or after so many pauses: rounds of 2, 4, 8 ... up to the limit."""
    rounds = [min(2 << min(i, 20), most) for i in range(2000)]
    return next(t for t in accumulate(rounds) if t >= pauses)


@pytest.mark.parametrize("us", [1, 3, 17, 40, 100, 333, 900])
@pytest.mark.parametrize(("cpus", "most"), [(2, 4 * 256), (8, 16 * 256), (104, 32678)])
def test_back_off_doubles_to_its_limit(play: Play, us: int, cpus: int, most: int) -> None:
    """lock_delay: 1 doubled a round; the most is the CPUs rounded up to a power of two, times 256, at most 32678."""
    p = play(["mtx"], hold(us), hold(1), cpus=cpus)
    assert round(p.end(1, 0) * 1000) == expected_look(us * 1000, most)


def test_blocks_when_the_owner_does_not_run(play: Play) -> None:
    # A time slice passes, and the second thread finds the owner off its CPU.
    costs = replace(PAUSES_ONLY, time_slice=1.0)
    p = play(["mtx"], hold(3000, how="user"), hold(1), cpus=1, costs=costs)
    row = p.profile()
    assert row["spin"] == 0
    assert row["block"] == row["wait"] == 2000  # preempted at 1,000 us, done at 3,000


@pytest.mark.parametrize("kind", ["sx"])
def test_stops_spinning_when_the_owner_leaves_its_cpu(play: Play, kind: str) -> None:
    script = [("lock", 0), ("charge", 50 * US), ("sleep", 100 * US), ("unlock", 0)]
    p = play([kind], script, hold(1))
    row = p.profile()
    assert round(row["spin"] * 1000) == expected_look(50_000, 4096)
    assert row["wait"] == 150


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


@pytest.mark.parametrize("kind", ["sx"])
def test_release_wakes_all_and_they_race(play: Play, kind: str) -> None:
    p = play([kind], hold(100, how="sleep"), *[hold(10)] * 3)
    assert p.machine.counters()["wakeups"] == 4 + 1 + 3  # the starts, the alarm, every waiter
    assert sorted(p.order("lock")[1:]) == [1, 2, 3]
    # Two of the woken lost the race and spun for their turn.
    assert p.profile()["spin"] > 0


@pytest.mark.parametrize("kind", ["sx"])
def test_a_newcomer_barges_in(play: Play, kind: str) -> None:
    costs = replace(PAUSES_ONLY, wakeup=3000.0)
    newcomer = [("charge", 104 * US), ("lock", 0), ("charge", 20 * US), ("unlock", 0)]
    # Released at 106; the woken waiter runs from 109; the newcomer, which came at 107, has it.
    p = play([kind], hold(100, how="sleep"), hold(1), newcomer, costs=costs)
    assert p.order("lock") == [0, 2, 1]
    assert p.end(2, 1) == 107


@pytest.mark.parametrize("kind", KINDS)
def test_trylock_never_waits_and_counts_its_failures(play: Play, kind: str) -> None:
    p = play(
        [kind],
        hold(10),
        later(5, [("trylock", 0, 2), *hold(0)[1:]]),
        later(20, [("trylock", 0), ("unlock", 0)]),
    )
    assert p.result(1, 1) == 0
    assert p.end(1, 1) == 5
    assert p.result(2, 1) == 1
    assert p.profile()["trylock_failures"] == 1
    assert p.profile()["contested"] == 0


@pytest.mark.parametrize(
    ("locks", "script", "why"),
    [
        (["mtx"], [("wunlock", 0)], "unlocking a mutex that this thread does not hold"),
        (["spin"], [("wunlock", 0)], "unlocking a spin mutex that this thread does not hold"),
        (["rw"], [("wunlock", 0)], "does not hold for writing"),
        (["rw"], [("rlock", 0), ("wunlock", 0)], "does not hold for writing"),
        (["rw"], [("runlock", 0)], "nobody holds for reading"),
        (["sx"], [("lock", 0), ("runlock", 0)], "nobody holds for reading"),
        (["rw"], [("rlock", 0), ("downgrade", 0)], "does not hold for writing"),
        (["mtx"], [("lock", 0), ("lock", 0)], "locking a mutex that this thread holds"),
        (["rw"], [("lock", 0), ("lock", 0)], "write-locking a lock that this thread holds"),
        (["sx"], [("lock", 0), ("rlock", 0)], "read-locking a lock that this thread holds for writing"),
        (["spin"], [("lock", 0), ("lock", 0)], "locking a spin mutex that this thread holds"),
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


def test_deadlock_names_locks_threads_and_places(play: Play) -> None:
    def both(a: int, b: int) -> list[tuple[Any, ...]]:
        return [("lock", a), ("charge", 10 * US), ("lock", b), ("unlock", b), ("unlock", a)]

    with pytest.raises(KernelPanic) as panic:
        play(["mtx", "rw"], both(0, 1), later(1, both(1, 0)))
    text = str(panic.value)
    assert text.startswith("deadlock: this thread waits for itself")
    assert (
        "in thread 2 on CPU 1 at 11000 ns; wants sleep mutex:script at script/exclusive; holds rw:script (scr"
        in text
    )
    assert (
        "thread 1, CPU 0, spinning at 10000 ns; wants rw:script at script/exclusive; holds sleep mutex:scr"
        in text
    )


def test_deadlock_among_readers_stops_the_run(play: Play) -> None:
    def both(a: int, b: int) -> list[tuple[Any, ...]]:
        return [("rlock", a), ("charge", 10 * US), ("lock", b), ("unlock", b), ("unlock", a)]

    with pytest.raises(
        KernelPanic, match=r"deadlock: no thread can run(\n.*wants rw:script.*holds rw:script.*){2}"
    ):
        play(["rw", "rw"], both(0, 1), both(1, 0))
