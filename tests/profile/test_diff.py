import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finegrain.errors import UserError
from finegrain.profile import diff_report
from finegrain.profile.diff import compare, judge, moved
from finegrain.profile.match import match
from finegrain.profile.rules import parse_rule
from finegrain.profile.table import Builder, Profile


def profile(name: str, waits: dict[str, float | None], **more: object) -> Profile:
    """A profile of locks `class:name` with these waits, 10 acquisitions and 4 us of holds each."""
    builder = Builder(("lock_class", "lock", "role", "count", "wait_us", "hold_us"))
    for lock, wait in waits.items():
        lock_class, _, bare = lock.rpartition(":")
        builder.add((lock_class or None, bare, "lock", 10, wait, 4.0))
    return Profile(source=name, format="test", system="test", table=builder.finish(), **more)  # type: ignore[arg-type]


HEAD = profile("head", {"rw:pv list": 1000.0, "sx:map": 300.0, "mutex:page": 200.0, "rw:old": 50.0})
FINE = profile("fine", {"rw:pv list": 100.0, "sx:map": 500.0, "mutex:page": 180.0, "mutex:chunk": 25.0})


def test_joined_by_name_with_those_that_appear_and_vanish() -> None:
    comparison = compare([HEAD, FINE])
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
    assert comparison.totals == [1550.0, 805.0]
    assert comparison.ranked[1][:2] == [(500.0, "sx:map"), (180.0, "mutex:page")]


def test_where_the_wait_went() -> None:
    (move,) = moved(compare([HEAD, FINE]))
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
    comparison = compare([profile("a", before), profile("b", after)])
    for move in moved(comparison):
        assert -move.gained_us + move.back_us - move.fell_us == sum(after.values()) - sum(before.values())


def test_nothing_gained_has_no_share() -> None:
    (move,) = moved(compare([FINE, HEAD]))
    assert move.lock == "sx:map"
    (move,) = moved(compare([HEAD, HEAD]))
    assert move.share is None


def test_spans_scale_totals_and_counts_but_not_means() -> None:
    comparison = compare([HEAD, FINE], spans="90m,45m")
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
    assert any("scaled to 90 min" in note for note in comparison.notes)


def test_an_empty_span_is_the_profile_s_own() -> None:
    own = profile("own", {"rw:pv list": 1.0}, span_s=2.0)
    comparison = compare([HEAD, own], spans="4s,")
    assert comparison.totals == [1550.0, 2.0]


@pytest.mark.parametrize(
    ("spans", "why"),
    [("90m", "1 spans for 2"), ("90m,", "give its span"), ("0,1", "give a time"), ("1,x", "give a time")],
)
def test_spans_that_do_not_fit(spans: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        compare([HEAD, FINE], spans=spans)


def test_differing_spans_are_noted_and_left_alone() -> None:
    long = profile("long", {"rw:pv list": 1.0}, span_s=9.0)
    comparison = compare([HEAD, long])
    assert comparison.totals[1] == 1.0
    assert any("spans differ (not told, 9 s)" in note for note in comparison.notes)


def test_systems_that_differ_are_noted() -> None:
    other = profile("other", {"rw:pv list": 1.0})
    other.system = "elsewhere"
    assert any(note == "systems differ: test, elsewhere" for note in compare([HEAD, other]).notes)


def test_no_waits_at_all_is_refused() -> None:
    none = profile("none", {"rw:a": None})
    with pytest.raises(UserError, match="none of these profiles"):
        compare([none, none])


# ---- names


def keys(*names: str) -> list[tuple[str | None, str | None, str | None]]:
    return [(None if ":" not in name else name.split(":")[0], name.split(":")[-1], None) for name in names]


@pytest.mark.parametrize(
    ("here", "there", "rule"),
    [
        ("rw:PV  List", "rw:pv list", "case and blanks"),
        ("sleep mutex:vm page", "mtx:vm page", "words for one class"),
        ("&zone->lock#3", "zone->lock", "lockdep"),
        ("&(&zone->lock)->rlock", "&zone->lock", "lockdep"),
        ("rw:pv list", "sleep mutex:pv list", "class left out"),
    ],
)
def test_rules_join_what_is_alone_and_say_so(here: str, there: str, rule: str) -> None:
    matched = match([keys(here), keys(there)])
    assert len(matched.rows) == 1
    (note,) = matched.notes
    assert f"{there} is taken for {here}" in note
    assert rule in note


def test_exact_names_come_before_rules() -> None:
    matched = match([keys("rw:a", "sx:a"), keys("sx:a", "rw:a")])
    assert len(matched.rows) == 2
    assert matched.notes == []


def test_a_choice_is_not_made() -> None:
    matched = match([keys("rw:a", "sx:a"), keys("lockmgr:a")])
    assert len(matched.rows) == 3
    assert any("would join more than two" in note for note in matched.notes)


def test_exact_turns_rules_off() -> None:
    assert len(match([keys("rw:A"), keys("rw:a")], exact=True).rows) == 2


# ---- rules for CI


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
    broken = judge(compare([HEAD, FINE]), [parse_rule(rule)])
    assert bool(broken) == fails
    if broken:
        assert broken[0].startswith(f"{rule}: fine: ")


def test_a_broken_rule_shows_the_numbers() -> None:
    (text,) = judge(compare([HEAD, FINE]), [parse_rule("sx:map wait > +10%")])
    assert text == "sx:map wait > +10%: fine: 300 -> 500: +66.67%"


@pytest.mark.parametrize(
    "rule", ["", "sx:map", "sx:map wait", "wait > 3", "sx:map wait > x", "sx:map acquired > 3ms"]
)
def test_rules_that_are_none(rule: str) -> None:
    with pytest.raises(UserError, match="--fail-if"):
        parse_rule(rule)


def test_a_rule_that_cannot_be_judged_is_refused() -> None:
    comparison = compare([HEAD, FINE])
    with pytest.raises(UserError, match="no profile has a lock"):
        judge(comparison, [parse_rule("rw:nothing wait > 3")])
    with pytest.raises(UserError, match="does not tell longest wait"):
        judge(comparison, [parse_rule("sx:map longest wait > 3")])


# ---- pages


def test_pages_draw_the_same_numbers() -> None:
    comparison = compare([HEAD, FINE])
    text, markdown = diff_report.text(comparison, 20), diff_report.markdown_text(comparison, 20)
    for page in (text, markdown):
        for word in ("-90.0%", "+66.7%", "gone", "new", "25.0%", "1,550"):
            assert word in page
    document = json.loads(diff_report.as_json(comparison, []))
    assert document["moved"][0]["back_share"] == 0.25
    assert document["locks"][0]["figures"][1]["wait_us"] == 100.0


def test_top_cuts_the_lists_but_not_the_total() -> None:
    page = diff_report.text(compare([HEAD, FINE]), 1)
    assert "mutex:page" not in page
    assert "... and 4 more" in page
    assert "1,550" in page


def test_profiles_that_name_no_locks_compare_by_caller() -> None:
    table = pl.concat([HEAD.table.with_columns(site=pl.col("lock"), lock=pl.lit(None, pl.String))])
    callers = Profile(source="callers", format="test", system="test", table=table)
    comparison = compare([callers, callers])
    assert comparison.by == "site"
    assert comparison.rows[0][0] == "rw at pv list"
