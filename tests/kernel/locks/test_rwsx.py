"""The rules of mtx, rw and sx, one by one (FreeBSD kern_mutex.c, kern_rwlock.c, kern_sx.c, subr_lock.c)."""

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from typing import Any

import pytest

from doors.script import lock_sizes
from finegrain.machine.errors import KernelPanic
from kernel.scripts import PAUSES_ONLY, US, Played

Play = Callable[..., Played]
READ, R_WAITERS, W_WAITERS, W_SPINNER, READER, OWNED = 1, 2, 4, 8, 32, 1 << 40
KINDS = ["mtx", "rw", "sx"]


def hold(us: int, lock: int = 0, how: str = "charge") -> list[tuple[Any, ...]]:
    return [("lock", lock), (how, us * US), ("unlock", lock)]


def read(us: int, lock: int = 0, how: str = "charge") -> list[tuple[Any, ...]]:
    return [("rlock", lock), (how, us * US), ("unlock", lock)]


def later(us: int, script: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [("charge", us * US), *script]


def test_locks_are_32_bytes() -> None:
    assert lock_sizes() == (32, 32, 32, 24)


# --- waiting for an exclusive owner ---


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


# --- readers and writers ---


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_readers_share(play: Play, kind: str) -> None:
    p = play([kind], read(100), later(1, read(100)), later(2, [("word", 0), *read(100)]))
    assert p.result(2, 1) == 2 * READER + READ
    assert p.profile(shared=True)["contested"] == 0


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_a_waiting_writer_keeps_new_readers_out(play: Play, kind: str) -> None:
    p = play([kind], read(50), later(1, hold(50)), later(10, read(50)), later(5, [("word", 0)]))
    assert p.result(3, 1) == READER + READ + W_SPINNER
    assert p.order("lock") == [1]
    assert p.end(2, 1) > p.end(1, 3)
    assert p.end(1, 1) == pytest.approx(50, abs=0.002)  # one step is one pause: there is one reader


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_who_reads_another_lock_may_pass_a_waiting_writer(play: Play, kind: str) -> None:
    reader = [("rlock", 1), ("charge", 10 * US), ("rlock", 0), ("unlock", 0), ("unlock", 1)]
    p = play([kind, kind], read(50), later(1, hold(50)), reader)
    assert p.end(2, 2) == 10
    # A lock of the other kind gives no such right.
    p = play([kind, "sx" if kind == "rw" else "rw"], read(50), later(1, hold(50)), reader, checked=False)
    assert p.end(2, 2) > 100


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_try_rlock_passes_a_waiting_writer(play: Play, kind: str) -> None:
    p = play([kind], read(50), later(1, hold(50)), later(10, [("tryrlock", 0), ("unlock", 0)]))
    assert p.result(2, 1) == 1


@pytest.mark.parametrize("kind", ["rw", "sx"])
@pytest.mark.parametrize(("cpus", "pauses"), [(104, 326_780), (8, 100_000)])
def test_a_writer_spins_on_readers_for_so_long_and_then_queues(
    play: Play, kind: str, cpus: int, pauses: int
) -> None:
    """Ten rounds of max(10000, back-off limit) pauses."""
    look = [("charge", (pauses - 1000) * 1000), ("word", 0), ("charge", 2 * US), ("word", 0)]
    p = play([kind], read(1001), later(1, hold(1)), later(1, look), cpus=cpus)
    row = p.profile()
    assert round(row["spin"] * 1000) == pauses
    assert round(row["block"] * 1000) == 1_000_000 - pauses
    assert p.result(2, 2) == READER + READ + W_SPINNER
    assert p.result(2, 4) == READER + READ + W_WAITERS


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_a_reader_behind_queued_writers_spins_as_long_and_then_queues(play: Play, kind: str) -> None:
    # The writer queues at 101 us; the reader comes at 200, queues at 300 and is woken by the writer.
    p = play([kind], read(1000), later(1, hold(50)), later(200, read(1)), later(400, [("word", 0)]))
    assert p.result(3, 1) == READER + READ + W_WAITERS + R_WAITERS
    row = p.profile(shared=True)
    assert row["spin"] == 100
    assert row["block"] == 750
    assert p.end(2, 1) == 1050


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_queued_writers_go_before_readers_whose_bit_is_kept(play: Play, kind: str) -> None:
    holder = [("rlock", 0), ("charge", 1000 * US), ("unlock", 0), ("word", 0)]
    writer = later(1, [("lock", 0), ("word", 0), ("charge", 50 * US), ("unlock", 0), ("word", 0)])
    p = play([kind], holder, writer, later(200, read(1)))
    assert p.result(0, 3) == READ + R_WAITERS  # free, the readers still queued
    assert p.result(1, 2) == OWNED + R_WAITERS
    assert p.result(1, 5) == READ
    assert p.end(2, 1) == 1050


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_upgrade_is_for_the_sole_reader(play: Play, kind: str) -> None:
    two = [("rlock", 0), ("charge", 10 * US), ("upgrade", 0), ("unlock", 0)]
    p = play([kind], two, read(20))
    assert p.result(0, 2) == 0
    p = play([kind], [*two[:3], ("word", 0), ("charge", US), ("unlock", 0)], read(5))
    assert p.result(0, 2) == 1
    assert p.result(0, 3) == OWNED


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_upgrade_keeps_the_queued_and_is_seen_by_those_who_spin(play: Play, kind: str) -> None:
    upgrader = [
        ("rlock", 0),
        ("charge", 500 * US),
        ("upgrade", 0),
        ("word", 0),
        ("charge", 5 * US),
        ("unlock", 0),
    ]
    # A writer that came long ago is queued; one that came just now spins on the readers.
    p = play([kind], upgrader, later(1, hold(1)), later(450, hold(1)))
    assert p.result(0, 2) == 1
    assert p.result(0, 3) == OWNED + W_WAITERS
    assert p.end(2, 1) < 520


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_downgrade_lets_waiting_readers_in_unless_a_writer_waits(play: Play, kind: str) -> None:
    # The owner leaves its CPU, so those who wait are queued.
    costs = replace(PAUSES_ONLY, time_slice=1.0)
    down = [
        ("lock", 0),
        ("user", 2000 * US),
        ("downgrade", 0),
        ("word", 0),
        ("user", 1000 * US),
        ("unlock", 0),
    ]
    p = play([kind], down, read(1), cpus=1, costs=costs)
    assert p.result(0, 3) == READER + READ
    assert p.order("rlock") == [1]
    p = play([kind], down, read(1), hold(1), cpus=1, costs=costs)
    assert p.result(0, 3) == READER + READ + R_WAITERS + W_WAITERS
    order = [(row[2], row[4]) for row in p.trace if row[4] in ("lock", "rlock")]
    assert order == [(0, "lock"), (2, "lock"), (1, "rlock")]


# --- sleeping on a channel ---


@pytest.mark.parametrize("kind", ["mtx", "sx"])
def test_sleep_drops_the_interlock_and_takes_it_again(play: Play, kind: str) -> None:
    sleeper = [("lock", 0), ("msleep", 3, 0), ("unlock", 0)]
    waker = later(10, [("lock", 0), ("wakeup", 3), ("charge", 5 * US), ("unlock", 0)])
    p = play([kind], sleeper, sleeper, waker)
    assert p.order("msleep")[-1] in (0, 1)
    assert min(p.end(0, 1), p.end(1, 1)) >= 15
    assert p.end(2, 1) == 10


def test_wakeup_reaches_all_sleepers_of_the_channel_and_no_other(play: Play) -> None:
    p = play(
        [],
        [("msleep", 1, -1)],
        [("msleep", 1, -1)],
        [("msleep", 2, -1)],
        later(5, [("wakeup", 1), ("charge", US), ("wakeup", 2)]),
    )
    assert [p.end(i, 0) for i in range(3)] == [5, 5, 6]


# --- what must not be ---


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


def test_holding_a_mutex_across_a_sleep_panics(play: Play) -> None:
    with pytest.raises(KernelPanic, match="must not be held across a sleep"):
        play(["mtx"], hold(10, how="sleep"), later(1, hold(1)), checked=False)
    with pytest.raises(KernelPanic, match="must not be held across a sleep"):
        play(["mtx"], [("lock", 0), ("msleep", 1, -1)], later(1, hold(1)), checked=False)
