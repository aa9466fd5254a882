import json

from finegrain.profile.diff import diff_profiles, judge
from finegrain.profile.rules import parse_rule
from finegrain.report import diff as report
from make_profile import FINE, HEAD, profile


def test_pages_draw_the_same_numbers() -> None:
    comparison = diff_profiles([HEAD, FINE])
    for page in (report.text(comparison, 20), report.markdown_text(comparison, 20)):
        for word in ("-90.0%", "+66.7%", "gone", "new", "25.0%", "1,550"):
            assert word in page
    document = json.loads(report.as_json(comparison, []))
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
