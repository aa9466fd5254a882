"""The lock in two bits: what of it is its own. What every kind does alike is in test_battery.py."""

from kernel.scripts import US, Play, hold, later


def test_the_generation_stays_above_the_bits(play: Play) -> None:
    p = play(["bit2"], [("lock", 0), ("set_generation", 0, 5), ("word", 0), ("unlock", 0), ("word", 0)],
             later(1, hold(1)), later(5, [("generation", 0)]))  # fmt: skip
    assert p.result(0, 2) == 5 << 2 | 1
    assert p.result(0, 4) == 5 << 2
    assert p.result(2, 1) == 5
    assert p.end(1, 1) < 1.1
    assert US == 10**6
