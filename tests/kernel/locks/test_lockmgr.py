"""The rules of the lockmgr lock, one by one (FreeBSD kern_lock.c)."""

import pytest

from doors.script import lock_sizes
from finegrain.machine.errors import KernelPanic
from kernel.scripts import OWNED, R_WAITERS, READ, READER, US, W_WAITERS, Play, hold, later, read

KIND = "lockmgr"


def test_it_is_as_large_as_freebsd_s() -> None:
    assert lock_sizes()[3] == 48


def test_readers_share(play: Play) -> None:
    p = play([KIND], read(100), later(1, read(100)), later(2, [("word", 0), *read(100)]))
    assert p.result(2, 1) == 2 * READER + READ
    assert p.profile(shared=True)["contested"] == 0


def test_whoever_cannot_have_it_sleeps_at_once(play: Play) -> None:
    """The owner runs all the time, and so do the readers: an sx lock's waiters would spin."""
    p = play([KIND], hold(100), later(1, hold(10)), later(2, read(10)), later(3, [("word", 0)]))
    assert p.result(3, 1) == OWNED + W_WAITERS + R_WAITERS
    for shared in (False, True):
        row = p.profile(shared=shared)
        assert row["contested"] == 1
        assert row["spin"] == 0
        assert row["block"] > 0
    p = play([KIND], read(100), later(1, hold(10)), later(3, [("word", 0)]))
    assert p.result(2, 1) == READER + READ + W_WAITERS
    assert p.profile()["spin"] == 0


def test_writers_first_and_a_waiting_one_keeps_new_readers_out(play: Play) -> None:
    p = play([KIND], read(50), later(10, read(50)), later(5, hold(50)), later(20, [("word", 0)]))
    assert p.result(3, 1) == READER + READ + W_WAITERS + R_WAITERS
    assert p.end(2, 1) == 50
    assert p.end(1, 1) == 100
    assert p.profile(shared=True)["block"] == 90


def test_who_shares_another_one_may_pass_a_waiting_writer(play: Play) -> None:
    reader = [("rlock", 1), ("charge", 10 * US), ("rlock", 0), ("unlock", 0), ("unlock", 1)]
    p = play([KIND, KIND], read(50), later(1, hold(50)), reader)
    assert p.end(2, 2) == 10
    p = play([KIND, "sx"], read(50), later(1, hold(50)), reader)  # a lock of another kind gives no such right
    assert p.end(2, 2) == 100


@pytest.mark.parametrize(
    ("before", "attempt", "got"),
    [
        (read(50), "tryrlock", 1),
        (read(50), "trylock", 0),
        (hold(50), "tryrlock", 0),
        (hold(50), "trylock", 0),
        ([], "trylock", 1),
    ],
)
def test_a_try_never_waits(play: Play, before: list, attempt: str, got: int) -> None:
    p = play([KIND], before, later(1, [(attempt, 0, 1), ("unlock", 0)]))
    assert p.result(1, 1) == got
    assert p.end(1, 1) == 1


def test_a_try_to_share_does_not_pass_a_waiting_writer(play: Play) -> None:
    """An sx lock lets it in: there the try looks at the lock's state alone."""
    script = later(10, [("tryrlock", 0, 1), ("unlock", 0)])
    assert play([KIND], read(50), later(1, hold(50)), script).result(2, 1) == 0
    assert play(["sx"], read(50), later(1, hold(50)), script).result(2, 1) == 1


def test_upgrade_by_the_only_sharer_keeps_the_lock(play: Play) -> None:
    p = play([KIND], [("rlock", 0), ("relock", 0), ("word", 0), ("unlock", 0)])
    assert p.result(0, 1) == 1
    assert p.result(0, 2) == OWNED


def test_upgrade_among_sharers_gives_the_lock_up_and_waits(play: Play) -> None:
    """Two who upgrade at the same time do not wait for each other; who is second finds the lock changed."""
    script = [("rlock", 0), ("charge", 10 * US), ("relock", 0), ("charge", 30 * US), ("unlock", 0)]
    p = play([KIND], script, later(1, script))
    assert [p.result(i, 2 + i) for i in range(2)] == [0, 1]
    assert p.end(1, 3) == 11
    assert p.end(0, 2) == 41


def test_try_upgrade_is_for_the_only_sharer(play: Play) -> None:
    up = [("rlock", 0), ("charge", 10 * US), ("upgrade", 0), ("unlock", 0)]
    assert play([KIND], up).result(0, 2) == 1
    assert play([KIND], up, read(20)).result(0, 2) == 0


def test_downgrade_lets_sharers_in(play: Play) -> None:
    down = [("lock", 0), ("charge", 10 * US), ("downgrade", 0), ("charge", 10 * US), ("unlock", 0)]
    p = play([KIND], down, later(1, read(5)))
    assert p.end(1, 1) == 10


def test_it_may_be_held_across_a_sleep(play: Play) -> None:
    p = play([KIND], hold(100, how="sleep"), later(1, hold(1)))
    assert p.end(1, 1) == 100


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ([("lock", 0), ("lock", 0)], "write-locking a lock that this thread holds"),
        ([("lock", 0), ("rlock", 0)], "read-locking a lock that this thread holds for writing"),
        ([("runlock", 0)], "read-unlocking a lock that nobody holds"),
        ([("relock", 0)], "upgrading a lock that this thread does not hold"),
        ([("rlock", 0), ("downgrade", 0)], "downgrading a lock that this thread does not hold for writing"),
    ],
)
def test_misuse_panics(play: Play, script: list, why: str) -> None:
    with pytest.raises(KernelPanic, match=why):
        play([KIND], script, checked=False)


def test_a_deadlock_of_two_is_told(play: Play) -> None:
    first = [("lock", 0), ("charge", 10 * US), ("lock", 1)]
    second = [("lock", 1), ("charge", 10 * US), ("lock", 0)]
    with pytest.raises(KernelPanic, match="deadlock"):
        play([KIND, KIND], first, second, checked=False)
