import pytest

from finegrain.errors import UserError
from finegrain.profile.group import grouped
from read_sample import read, rows

HEADING = """File: server
Type: delay
Time: Nov 27, 2026 at 10:00pm (UTC)
Duration: 1.50mins, Total samples = 5.20s (5.78%)
Showing nodes accounting for 5.20s, 100% of 5.20s total
      flat  flat%   sum%        cum   cum%
"""
ROWS = """     5.10s 98.08% 98.08%      5.10s 98.08%  sync.(*Mutex).Unlock (inline)
    1.50ms  1.92%   100%    1.50ms  1.92%  runtime.chanrecv1
         0     0%   100%      5.10s 98.08%  main.(*cache).get
"""


def test_callers_and_channels_are_out_of_the_totals() -> None:
    (profile,) = read(HEADING + ROWS).profiles
    assert profile.span_s == 90.0
    assert profile.table.select("site", "role", "wait_us", "with_callees_us").rows() == [
        ("sync.(*Mutex).Unlock (inline)", "site", 5_100_000.0, 5_100_000.0),
        ("runtime.chanrecv1", "sample", 1500.0, 1500.0),
        ("main.(*cache).get", "inclusive", 5_100_000.0, 5_100_000.0),
    ]
    assert grouped(profile, "lock").table["wait_us"].to_list() == [5_100_000.0]
    assert read(HEADING + ROWS).skipped_lines == 1  # File:, which stands above the type


def test_contentions_are_counts() -> None:
    text = "Type: contentions\nflat flat% sum% cum cum%\n 12 50% 50% 12 50% sync.(*RWMutex).RUnlock\n"
    assert rows(text, "contended", "wait_us") == [(12, None)]


@pytest.mark.parametrize(
    ("kind", "why"), [("Type: cpu\n", "of type cpu"), ("", "whose line 'Type:' is lost")]
)
def test_other_profiles_of_go_are_refused_by_what_would_be_one(kind: str, why: str) -> None:
    with pytest.raises(
        UserError, match=f"^sample: a pprof profile {why} in line .*'go tool pprof -text FILE'"
    ):
        read(HEADING.replace("Type: delay\n", kind) + ROWS)


def test_a_row_that_was_cut_does_not_take_the_row_below() -> None:
    for cut in ("3s 1% 2%", "3s 1% 2% 4s", "3s 1% 2% 4s 5%"):
        file = read(f"{HEADING} {cut}\n{ROWS}")
        assert file.profiles[0].table.height == 3
        assert [(skip.first, skip.why) for skip in file.skipped[1:]] == [(7, "row cut short")]


def test_a_function_again_is_another_dump() -> None:
    assert [p.table.height for p in read(HEADING + ROWS + ROWS).profiles] == [3, 3]
    assert [p.table.height for p in read(HEADING + ROWS + HEADING + ROWS).profiles] == [3, 3]
    assert [p.table.height for p in read(HEADING + ROWS + ROWS.splitlines()[-1]).profiles] == [3]
