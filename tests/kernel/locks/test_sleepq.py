"""Sleeping on a channel (FreeBSD subr_sleepqueue.c)."""

import pytest

from kernel.scripts import US, Play, later


@pytest.mark.parametrize("kind", ["mtx", "sx"])
def test_sleep_drops_the_interlock_and_takes_it_again(play: Play, kind: str) -> None:
    sleeper = [("lock", 0), ("msleep", 3, 0), ("unlock", 0)]
    waker = later(10, [("lock", 0), ("wakeup", 3), ("charge", 5 * US), ("unlock", 0)])
    p = play([kind], sleeper, sleeper, waker)
    assert p.end(2, 0) == 10
    assert p.end(2, 1) == 10  # nobody holds it: both sleep
    first, second = p.order("msleep")
    assert {first, second} == {0, 1}
    # Each has it again before it goes on: the first when the waker has let go, the second when the first has.
    assert 15 <= p.end(first, 1) <= p.end(first, 2) <= p.end(second, 1)
    assert p.order("unlock") == [2, first, second]


def test_wakeup_reaches_all_sleepers_of_the_channel_and_no_other(play: Play) -> None:
    p = play(
        [],
        [("msleep", 1, -1)],
        [("msleep", 1, -1)],
        [("msleep", 2, -1)],
        later(5, [("wakeup", 1), ("charge", US), ("wakeup", 2)]),
    )
    assert [p.end(i, 0) for i in range(3)] == [5, 5, 6]
