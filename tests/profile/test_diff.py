from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finegrain.errors import UserError
from finegrain.profile.diff import Figures, diff_profiles, judge, moved, total_of
from finegrain.profile.rules import parse_rule
from finegrain.profile.table import Builder, Profile
from make_profile import FINE, HEAD, profile


def waits_of(figures: Sequence[Figures]) -> list[float | None]:
    return [figure["wait_us"] for figure in figures]


def timed(name: str, *locks: tuple[str, int, int | None, float, float]) -> Profile:
    """A profile of (lock, acquired, contended, waited, longest wait)."""
    builder = Builder(("lock_class", "lock", "role", "count", "contended", "wait_us", "wait_max_us"))
    for lock, *figures in locks:
        builder.add(("rw", lock, "lock", *figures))
    return Profile(source=name, format="test", system="test", table=builder.finish())


def test_joined_by_name_with_those_that_appear_and_vanish() -> None:
    comparison = diff_profiles([HEAD, FINE])
    waits = {
        name: [None if f is None else f["wait_us"] for f in figures] for name, figures in comparison.rows
    }
    assert waits == {
        "rw:pv list": [1000.0, 100.0],
        "sx:map": [300.0, 500.0],
        "mutex:page": [200.0, 180.0],
        "rw:old": [50.0, None],
        "mutex:chunk": [None, 25.0],
    }
    assert [name for name, _ in comparison.rows][:2] == ["rw:pv list", "sx:map"]
    assert waits_of(comparison.totals) == [1550.0, 805.0]
    assert comparison.ranked[1][:2] == [(500.0, "sx:map"), (180.0, "mutex:page")]


def test_where_the_wait_went() -> None:
    (move,) = moved(diff_profiles([HEAD, FINE]))
    assert (move.lock, move.gained_us) == ("rw:pv list", 900.0)
    assert move.grew == (("sx:map", 200.0), ("mutex:chunk", 25.0))
    assert move.share == pytest.approx(225.0 / 900.0)
    assert move.fell_us == 70.0


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=6
    )
)
def test_gains_and_losses_add_up_to_the_change_of_the_total(rows: list[tuple[str, int, int]]) -> None:
    before = {lock: float(old) for lock, old, _ in rows}
    after = {lock: float(new) for lock, _, new in rows}
    comparison = diff_profiles([profile("a", before), profile("b", after)])
    for move in moved(comparison):
        assert -move.gained_us + move.back_us - move.fell_us == sum(after.values()) - sum(before.values())


def test_nothing_gained_has_no_share() -> None:
    (move,) = moved(diff_profiles([FINE, HEAD]))
    assert move.lock == "sx:map"
    (move,) = moved(diff_profiles([HEAD, HEAD]))
    assert move.share is None


def test_spans_scale_totals_and_counts_but_not_means() -> None:
    comparison = diff_profiles([HEAD, FINE], spans="90m,45m")
    before, after = dict(comparison.rows)["rw:pv list"]
    assert before is not None
    assert after is not None
    assert (before["wait_us"], after["wait_us"], after["count"], after["hold_us"]) == (
        1000.0,
        200.0,
        20.0,
        8.0,
    )
    assert after["hold_avg_us"] == 0.4
    assert comparison.factors == [1.0, 2.0]


def test_an_empty_span_is_the_profile_s_own() -> None:
    own = profile("own", {"rw:pv list": 1.0}, span_s=2.0)
    comparison = diff_profiles([HEAD, own], spans="4s,")
    assert waits_of(comparison.totals) == [1550.0, 2.0]


@pytest.mark.parametrize(
    ("spans", "why"),
    [("90m", "1 spans for 2"), ("90m,", "give its span"), ("0,1", "give a time"), ("1,x", "give a time")],
)
def test_spans_that_do_not_fit(spans: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        diff_profiles([HEAD, FINE], spans=spans)


def test_differing_spans_are_told_and_left_alone() -> None:
    long = profile("long", {"rw:pv list": 1.0}, span_s=9.0)
    comparison = diff_profiles([HEAD, long])
    assert comparison.totals[1]["wait_us"] == 1.0
    assert (comparison.spans, comparison.factors) == ([None, 9.0], None)


def test_systems_that_differ_are_noted() -> None:
    other = profile("other", {"rw:pv list": 1.0})
    other.system = "elsewhere"
    assert any(note == "systems differ: test, elsewhere" for note in diff_profiles([HEAD, other]).notes)


def test_no_waits_at_all_is_refused() -> None:
    none = profile("none", {"rw:a": None})
    with pytest.raises(UserError, match="none of these profiles"):
        diff_profiles([none, none])


def test_profiles_that_name_no_locks_compare_by_caller() -> None:
    table = pl.concat([HEAD.table.with_columns(site=pl.col("lock"), lock=pl.lit(None, pl.String))])
    callers = Profile(source="callers", format="test", system="test", table=table)
    comparison = diff_profiles([callers, callers])
    assert comparison.by == "site"
    assert comparison.rows[0][0] == "rw at pv list"


@pytest.mark.parametrize(
    ("rule", "fails"),
    [
        ("rw:pv list wait > +10%", False),
        ("rw:pv list wait > -95%", True),
        ("rw:pv list wait < -50%", True),
        ("pv list wait >= 100us", True),
        ("sx:map wait > +199", True),
        ("sx:map wait > +200", False),
        ("sx:map wait > 0.6ms", False),
        ("sx:map wait >= 0.5ms", True),
        ("mutex:chunk wait > +10%", True),
        ("rw:old wait < -99%", True),
        ("total wait > -40%", False),
        ("total wait <= 805", True),
        ("sx:map acquired > 9", True),
        ("sx:map mean hold > 0.3us", True),
    ],
)
def test_rules(rule: str, fails: bool) -> None:
    broken = judge(diff_profiles([HEAD, FINE]), [parse_rule(rule)])
    assert [(found.rule.text, found.profile) for found in broken] == [(rule, "fine")] * fails


def test_a_broken_rule_tells_the_numbers() -> None:
    (broken,) = judge(diff_profiles([HEAD, FINE]), [parse_rule("sx:map wait > +10%")])
    assert (broken.before, broken.after, broken.found) == (300, 500, pytest.approx(66.67, rel=1e-3))


def test_a_rule_that_cannot_be_judged_is_refused() -> None:
    comparison = diff_profiles([HEAD, FINE])
    with pytest.raises(UserError, match="no profile has a lock"):
        judge(comparison, [parse_rule("rw:nothing wait > 3")])
    with pytest.raises(UserError, match="does not tell longest wait"):
        judge(comparison, [parse_rule("sx:map longest wait > 3")])


TIMED = timed("before", ("a", 100, 50, 100.0, 9.0), ("b", 10, 2, 28.0, 20.0))


def test_of_all_locks_the_longest_is_the_longest_and_the_mean_is_of_all_waits() -> None:
    comparison = diff_profiles([TIMED, timed("after", ("a", 100, 1, 30.0, 30.0))])
    before, after = comparison.totals
    assert (before["wait_max_us"], before["wait_avg_us"]) == (20.0, 128 / 52)
    assert (after["wait_max_us"], after["wait_avg_us"]) == (30.0, 30.0)
    rules = [
        "total longest wait > +9",
        "total longest wait > 30",
        "total mean wait > 30",
        "total mean wait > 2",
    ]
    broken = judge(comparison, [parse_rule(rule) for rule in rules])
    assert [(rule.rule.text, rule.before) for rule in broken] == [(rules[0], 20.0), (rules[3], 128 / 52)]


def test_a_mean_of_all_is_not_told_where_a_count_is_missing() -> None:
    whole = diff_profiles([timed("t", ("a", 8, None, 4.0, 1.0))] * 2).totals[0]
    assert whole["wait_avg_us"] == 0.5
    rows = [dict(whole), whole | {"count": None}]
    assert total_of(rows)["wait_avg_us"] is None
