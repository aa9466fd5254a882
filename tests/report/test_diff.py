import json

import pytest

from finegrain.profile.diff import diff_profiles, judge
from finegrain.profile.rules import parse_rule
from finegrain.profile.table import Profile
from finegrain.report import diff as report
from make_profile import FINE, HEAD, profile


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (100.0, 8.13, "12.3x less"),
        (8.0, 10.0, "1.25x more"),
        (1.0, 12345.0, "12,345x more"),
        (1000.0, 1001.0, "1.00x"),
        (3.0, 3.0, "same"),
        (0.0, 0.0, "same"),
        (0.0, 3.0, "from 0"),
        (3.0, 0.0, "to 0"),
    ],
)
def test_ratios(old: float, new: float, said: str) -> None:
    assert report.ratio(old, new) == said


def test_pages_draw_the_same_numbers() -> None:
    comparison = diff_profiles([HEAD, FINE])
    for page in (report.text(comparison, 20), report.markdown_text(comparison, 20)):
        for word in ("-90.0%", "+66.7%", "gone", "new", "25.0%", "1,550", "10.0x less"):
            assert word in page
    document = json.loads("".join(report.as_json(comparison, [])))
    assert document["moved"][0]["back_share"] == 0.25
    assert document["locks"][0]["figures"][1]["wait_us"] == 100.0


def test_top_cuts_the_lists_but_not_the_total() -> None:
    page = report.text(diff_profiles([HEAD, FINE]), 1)
    assert "mutex:page" not in page
    assert "... and 4 more" in page
    assert "1,550" in page


def test_spans_that_differ_are_noted() -> None:
    long = profile("long", {"rw:pv list": 1.0}, span_s=9.0)
    assert any(
        "spans differ (not told, 9 s)" in note for note in report.notes_of(diff_profiles([HEAD, long]))
    )
    scaled = diff_profiles([HEAD, FINE], spans="90m,45m")
    assert report.notes_of(scaled)[0] == "scaled to 90 min: fine x 2"
    assert "- scaled to 90 min: fine x 2" in report.markdown_text(scaled, 0)


def test_a_broken_rule_shows_the_numbers() -> None:
    rules = [
        parse_rule("sx:map wait > +10%"),
        parse_rule("mutex:chunk wait > +1%"),
        parse_rule("total wait <= 1s"),
    ]
    broken = judge(diff_profiles([HEAD, FINE]), rules)
    assert [report.broken_text(rule) for rule in broken] == [
        "sx:map wait > +10%: fine: 300 -> 500: +66.67%",
        "mutex:chunk wait > +1%: fine: 0 -> 25: from nothing",
        "total wait <= 1s: fine: 1,550 -> 805: 805 us",
    ]


def test_titles_are_shown() -> None:
    titled = profile("titled", {"rw:a": 1.0}, title="sysctl of Monday", span_s=9.0)
    comparison = diff_profiles([titled, HEAD])
    assert "[1] titled: test, 9 s, 1 row  [sysctl of Monday]" in report.text(comparison, 0)
    assert "sysctl of Monday" in report.markdown_text(comparison, 0)
    assert json.loads("".join(report.as_json(comparison, [])))["columns"][0][0]["title"] == "sysctl of Monday"


def test_a_patch_that_batches_shows_as_fewer_acquisitions() -> None:
    batched = profile("batched", {"rw:pv list": 100.0})
    batched.table = batched.table.with_columns(count=1)
    page = report.text(diff_profiles([HEAD, batched]), 0)
    assert "10 -> 1 " in page
    assert "1,000 -> 100 us (acquired 10.0x less, mean wait same, mean hold 10.0x more): saved 900 us" in page


def test_other_figures_than_waits() -> None:
    page = report.text(diff_profiles([HEAD, FINE], metric="hold"), 0)
    assert "[1] hold (us)" in page
    assert "Where did the hold go?" in page
    assert "1,000 -> 100" in page
    assert "Where did" not in report.text(diff_profiles([HEAD, FINE], metric="mean wait"), 0)


def test_a_lock_that_a_cut_list_lacks_is_not_gone() -> None:
    perf = [
        Profile(source=f"p{at}", format="perf lock contention", system="Linux", table=one.table)
        for at, one in enumerate((HEAD, FINE))
    ]
    comparison = diff_profiles(perf)
    page = report.text(comparison, 0)
    assert page.count("not in the list") == 2
    assert "gone" not in page
    assert sum("may have been cut (-E)" in note for note in report.notes_of(comparison)) == 2
    assert not any("cut" in note for note in report.notes_of(comparison, 3))
    assert json.loads("".join(report.as_json(comparison, [])))["lists_may_be_cut"] == [True, True]


def test_runs_show_their_spread() -> None:
    ours = [profile(f"a{at}", {"rw:pv": wait, "sx:map": 10.0}) for at, wait in enumerate((900.0, 1100.0))]
    comparison = diff_profiles(ours, [profile("b", {"rw:pv": 950.0, "sx:map": 20.0})])
    page = report.text(comparison, 0)
    lines = [" ".join(line.split()) for line in page.splitlines()]
    assert "1,000 900 .. 1,100 950 -50 -5.0% 1.05x less within rw:pv" in lines
    assert "10 10 .. 10 20 +10 +100.0% 2.00x more sx:map" in lines
    assert ", within the spread of the runs: saved 50 us" in page
    notes = report.notes_of(comparison)
    assert "[1] is the mean of 2 runs, the lowest and the highest beside it" in notes
    assert any(
        "2 and 1 runs of one kernel do not overlap by chance in 67% of locks" in note for note in notes
    )
    (first, second) = json.loads("".join(report.as_json(comparison, [])))["locks"]
    assert (first["within_spread"], second["within_spread"]) == ([True], [False])
    assert first["figures"][0]["of_the_runs"]["wait_us"] == [900.0, 1100.0]
    rule = judge(comparison, [parse_rule("rw:pv wait < 1s")])
    assert report.broken_text(rule[0]).endswith("950 us, within the spread of the runs")


def test_joins_by_rule_are_listed_for_what_is_shown_and_else_counted() -> None:
    before = profile("a", {f"rw:Lock {at}": 100.0 - at for at in range(50)})
    after = profile("b", {f"rw:lock {at}": 100.0 - at for at in range(50)})
    comparison = diff_profiles([before, after])
    notes = report.notes_of(comparison, 7)
    assert notes == [
        *[f"rw:lock {at} is taken for rw:Lock {at}: case and blanks" for at in range(5)],
        "2 more names are joined: case and blanks",
        "43 names of rows that are not shown are joined by rule (--json lists them)",
    ]
    assert len(json.loads("".join(report.as_json(comparison, [])))["joined"]) == 50


def test_names_that_are_left_apart_are_told_for_what_is_shown() -> None:
    before, after = profile("a", {"rw:a": 9.0, "sx:a": 8.0}), profile("b", {"mtx:a": 7.0, "mtx:b": 90.0})
    comparison = diff_profiles([before, after])
    said = "left apart, class left out would join more than two: mtx:a, rw:a, sx:a"
    assert said in report.notes_of(comparison)
    assert json.loads("".join(report.as_json(comparison, [])))["left_apart"][0]["names"] == [
        "mtx:a",
        "rw:a",
        "sx:a",
    ]
