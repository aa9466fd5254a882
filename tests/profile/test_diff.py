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


def timed(name: str, *locks: tuple[str, int, int | None, float | None, float | None]) -> Profile:
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
    assert (move.lock, move.saved) == ("rw:pv list", 900.0)
    assert move.grew == (("sx:map", 200.0), ("mutex:chunk", 25.0))
    assert move.share == pytest.approx(225.0 / 900.0)
    assert move.fell == 70.0


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
        assert -move.saved + move.back - move.fell == sum(after.values()) - sum(before.values())


def test_nothing_saved_has_no_share() -> None:
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


def test_profiles_without_waits_are_compared_by_what_they_tell() -> None:
    none = profile("none", {"rw:a": None, "sx:b": None})
    assert diff_profiles([none, none]).metric == "hold_us"
    assert diff_profiles([none, none], metric="acquired").metric == "count"
    assert diff_profiles([HEAD, none]).metric == "hold_us"
    counts = timed("counts", ("a", 8, 3, None, None))
    assert diff_profiles([counts, counts]).metric == "contended"
    assert diff_profiles([HEAD, HEAD]).metric == "wait_us"


@pytest.mark.parametrize(
    ("metric", "why"),
    [("colour", "not one of wait"), ("longest wait", "not told by all: head tells acquired, wait, hold")],
)
def test_a_figure_that_cannot_be_compared_is_refused(metric: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        diff_profiles([HEAD, FINE], metric=metric)


def test_profiles_with_no_figure_in_common_are_refused() -> None:
    builder = Builder(("lock", "role", "wait_us"))
    builder.add(("a", "lock", 3.0))
    waits = Profile(source="waits", format="test", system="test", table=builder.finish())
    builder = Builder(("lock", "role", "hold_us"))
    builder.add(("a", "lock", 3.0))
    holds = Profile(source="holds", format="test", system="test", table=builder.finish())
    with pytest.raises(
        UserError, match="no figure that all profiles tell: waits tells wait; holds tells hold"
    ):
        diff_profiles([waits, holds])


def test_the_list_is_ranked_by_the_figure_that_is_compared() -> None:
    few, many = timed("few", ("a", 9, 3, 1.0, 1.0), ("b", 8, 7, 0.5, 0.5)), timed("m", ("a", 1, 1, 1.0, 1.0))
    comparison = diff_profiles([few, many], metric="contended")
    assert [name for name, _ in comparison.rows] == ["rw:b", "rw:a"]
    assert comparison.ranked[0] == [(7, "rw:b"), (3, "rw:a")]
    assert moved(comparison)[0].saved == 7
    assert moved(diff_profiles([few, many], metric="mean wait")) == []


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


def test_a_lone_pair_of_a_lock_that_is_gone_and_one_that_is_new_may_be_one_renamed() -> None:
    before, after = (
        profile("a", {"rw:pv list": 9.0, "sx:map": 3.0}),
        profile("b", {"mtx:pv": 2.0, "sx:map": 3.0}),
    )
    (note,) = diff_profiles([before, after]).notes
    assert "--same 'rw:pv list=mtx:pv'" in note
    assert diff_profiles([before, after], same=["rw:pv list=mtx:pv"]).notes == []
    assert not any("--same" in note for note in diff_profiles([before, profile("c", {"sx:map": 1.0})]).notes)
    # next to nothing comes and goes
    assert diff_profiles([before, profile("c", {"sx:map": 3.0, "mtx:pv": 2.0, "rw:tmp": 0.01})]).notes


def test_runs_of_two_sides() -> None:
    waits = {"A": (900.0, 1000.0, 1100.0), "B": (950.0, 850.0)}
    ours, theirs = (
        [profile(f"{side}{at}", {"rw:pv": wait, "sx:map": 10.0}) for at, wait in enumerate(waits[side])]
        for side in "AB"
    )
    comparison = diff_profiles(ours, theirs)
    assert comparison.names == ["A0, A1, A2", "B0, B1"]
    before, after = dict(comparison.rows)["rw:pv"]
    assert before is not None
    assert after is not None
    assert (before["wait_us"], before["range"]["wait_us"]) == (1000.0, (900.0, 1100.0))
    assert (after["wait_us"], after["range"]["wait_us"]) == (900.0, (850.0, 950.0))
    assert comparison.totals[0]["wait_us"] == 1010.0
    assert comparison.chance(1) == 1 / 5
    rules = [parse_rule("rw:pv wait > -50%"), parse_rule("sx:map acquired > 1")]
    assert [broken.within for broken in judge(comparison, rules)] == [True, True]
    apart = diff_profiles(ours, [profile("C", {"rw:pv": 100.0, "sx:map": 10.0})])
    assert [broken.within for broken in judge(apart, [parse_rule("rw:pv wait < -50%")])] == [False]


def test_two_dumps_of_one_kernel_in_a_file_are_candidates_for_runs() -> None:
    table = HEAD.table.with_columns(site=pl.lit("a.c:7"))
    dumps = [
        Profile(source="f", format="test", system="test", table=table, label=label) for label in ("1", "2")
    ]
    (note,) = diff_profiles(dumps).notes
    assert "f#1 and #2 may be runs of one kernel" in note
    designs = [Profile(source="f", format="test", system="test", table=table, label=name) for name in "ab"]
    assert diff_profiles(designs).notes == []


def test_a_list_that_may_have_been_cut() -> None:
    perf = Profile(source="p", format="perf lock contention", system="Linux", table=HEAD.table)
    assert diff_profiles([perf, HEAD]).cut == ["-E", None]


def test_by_what_all_profiles_can_be_told() -> None:
    modes = Profile("m", "test", "test", HEAD.table.with_columns(mode=pl.lit("read")))
    comparison = diff_profiles([modes, HEAD], by="mode")
    assert comparison.by == "lock"
    assert any("not all of these profiles can be told by mode" in note for note in comparison.notes)
    assert diff_profiles([modes, modes], by="mode").rows[0][0] == "rw:pv list (read)"


def test_what_a_cut_list_lacks_is_within_no_spread() -> None:
    runs = [
        Profile(source=f"p{at}", format=form, system="Linux", table=profile("x", {"rw:pv": wait}).table)
        for at, (form, wait) in enumerate([("klockstat", 9.0), ("klockstat", 3.0), ("klockstat", 5.0)])
    ]
    other = Profile(source="o", format="klockstat", system="Linux", table=profile("x", {"sx:a": 1.0}).table)
    comparison = diff_profiles(runs, [other])
    assert [comparison.within(figures, 1) for _, figures in comparison.rows] == [None, None]
    assert diff_profiles(runs[:1], [other]).within(comparison.rows[0][1], 1) is None


def test_what_is_compared_instead_of_waiting_is_said() -> None:
    none = profile("none", {"rw:a": None})
    said = "waiting is not told by all of these profiles: compared by hold"
    assert said in diff_profiles([none, HEAD]).notes
    assert said not in diff_profiles([none, HEAD], metric="hold").notes
