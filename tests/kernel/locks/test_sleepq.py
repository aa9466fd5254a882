"""Sleeping on a channel (FreeBSD subr_sleepqueue.c)."""

import pytest

from finegrain.machine.errors import KernelPanic
from kernel.scripts import US, Play, hold, later


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


def test_holding_a_mutex_across_a_sleep_panics(play: Play) -> None:
    with pytest.raises(KernelPanic, match="must not be held across a sleep"):
        play(["mtx"], hold(10, how="sleep"), later(1, hold(1)), checked=False)
    with pytest.raises(KernelPanic, match="must not be held across a sleep"):
        play(["mtx"], [("lock", 0), ("msleep", 1, -1)], later(1, hold(1)), checked=False)
