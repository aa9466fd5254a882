"""Pending events: the earliest first, and of those at one moment the oldest."""

from hypothesis import given, settings
from hypothesis import strategies as st

from machine.plays import play


@settings(max_examples=30)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_events_come_in_order_of_time_and_then_of_age(times: list[int]) -> None:
    """Sleepers of any number: each wakes at its time, and those of one time in the order in which they slept."""
    s = play(*[[("sleep", 1000 * t), ("charge", 0)] for t in times], cores=64)
    woken = [(row[0], row[2]) for row in s.trace() if row[4] == "charge"]
    assert woken == sorted((1000 * t, i) for i, t in enumerate(times))
