from itertools import permutations

import pytest

from finegrain.profile.group import FIGURES
from finegrain.profile.runs import RANGE, Figures, chance_to_part, over_runs, same_kernel, within_spread
from finegrain.profile.table import Builder, Profile


def row(**figures: float) -> Figures:
    return dict.fromkeys(FIGURES) | figures


def places(name: str, **counts: int) -> Profile:
    """A profile of lock a in pmap.c and lock b in uma.c: `a100=5` is 5 acquisitions in line 100."""
    builder = Builder(("lock_class", "lock", "site", "role", "count"))
    for place, count in counts.items():
        file = {"a": "pmap.c", "b": "uma.c"}[place[0]]
        builder.add(("rw", place[0], f"{file}:{place[1:]}", "site", count))
    return Profile(source=name, format="test", system="test", table=builder.finish())


def test_runs_have_a_mean_and_a_range() -> None:
    mean = over_runs([row(wait_us=3.0, wait_max_us=2.0), row(wait_us=5.0), None], [False] * 3)
    assert mean is not None
    assert (mean["wait_us"], mean["wait_max_us"], mean["hold_us"]) == (8 / 3, 2.0, None)
    assert mean[RANGE] == {"wait_us": (0, 5.0), "wait_max_us": (2.0, 2.0)}


def test_a_run_whose_list_may_be_cut_does_not_say_0() -> None:
    mean = over_runs([row(wait_us=3.0), None], [True, True])
    assert mean is not None
    assert mean["wait_us"] == 3.0


def test_one_run_is_itself() -> None:
    figures = row(wait_us=3.0)
    assert over_runs([figures], [False]) is figures
    assert over_runs([None, None], [False, False]) is None


@pytest.mark.parametrize(
    ("before", "after", "within"),
    [((1.0, 3.0), (3.0, 4.0), True), ((1.0, 2.9), (3.0, 4.0), False), ((5.0, 6.0), (3.0, 4.0), False)],
)
def test_a_change_is_within_the_spread_where_ranges_meet(
    before: tuple[float, float], after: tuple[float, float], within: bool
) -> None:
    old, new = (row(wait_us=sum(ends) / 2) | {RANGE: {"wait_us": ends}} for ends in (before, after))
    assert within_spread(old, new, "wait_us") is within


def test_one_run_against_several() -> None:
    several = row(wait_us=2.0) | {RANGE: {"wait_us": (1.0, 3.0)}}
    assert within_spread(several, row(wait_us=2.5), "wait_us") is True
    assert within_spread(several, row(wait_us=3.5), "wait_us") is False
    assert within_spread(several, None, "wait_us") is False
    assert within_spread(several, row(), "wait_us") is None
    assert within_spread(row(wait_us=1.0), row(wait_us=1.0), "wait_us") is None


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (1, 3), (2, 3), (3, 3)])
def test_how_often_ranges_part_by_chance(ours: int, theirs: int) -> None:
    orders = list(permutations(range(ours + theirs)))
    parted = [
        max(order[:ours]) < min(order[ours:]) or min(order[:ours]) > max(order[ours:]) for order in orders
    ]
    assert chance_to_part(ours, theirs) == pytest.approx(sum(parted) / len(orders))


def test_runs_of_one_kernel_have_their_locks_in_the_same_lines() -> None:
    run = places("1", a100=500, a300=400, b10=190)
    assert same_kernel(run, places("2", a100=450, a300=410, b10=180))
    assert same_kernel(run, places("2", a100=450, a300=410, b10=180, b17=2))
    assert not same_kernel(run, places("2", a100=450, a300=410))
    assert not same_kernel(run, places("patched", a100=450, a307=410, b10=180))
    assert not same_kernel(run, places("patched", a100=450, a300=410, b11=180))


def test_one_lock_in_a_hundred_that_moved_is_enough() -> None:
    run = places("1", a100=500, a300=400, b10=20)
    assert same_kernel(run, places("2", a100=480, a300=420, b10=19, b99=2))
    assert not same_kernel(run, places("patched", a100=480, a300=420, b12=19))


def test_profiles_of_two_systems_or_without_places_are_not() -> None:
    run, other = places("1", a100=500), places("2", a100=500)
    other.system = "elsewhere"
    assert not same_kernel(run, other)
    assert not same_kernel(places("1"), places("2"))
