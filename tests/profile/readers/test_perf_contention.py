import pytest

from finegrain.errors import UserError
from finegrain.profile.group import grouped
from read_sample import read, rows


def test_perf_contention_of_hours_and_of_unknown_owners() -> None:
    text = " contended   total wait   pid   owner\n\n 3  64.69 h   -1   Unknown\n 1  20 ns  7  CPU 3/KVM\n"
    assert rows(text, "role", "pid", "site", "wait_us") == [
        ("owner", -1, "Unknown", 232_884_000_000.0),
        ("owner", 7, "CPU 3/KVM", 0.02),
    ]
    assert any("owners" in note for note in read(text).notes["perf lock contention"])


def test_perf_contention_without_totals_computes_them_and_says_so() -> None:
    file = read(" contended   avg wait   type   caller\n\n 3  2.00 us  rwsem:R   f+0x1\n")
    assert file.profiles[0].table["wait_us"].to_list() == [6.0]
    assert file.profiles[0].derived == {"wait_us": "contended x the printed mean"}


def test_perf_contention_without_a_heading_only_if_the_figures_bear_it_out() -> None:
    assert rows("3 6.00 us 3.00 us 2.00 us mutex f+0x1", "wait_us", "wait_max_us") == [(6.0, 3.0)]
    with pytest.raises(UserError):
        read("3 6.00 us 3.00 us 9.00 us mutex f+0x1")


def test_perf_contention_by_cgroup_and_by_address() -> None:
    assert rows(" contended total wait  cgroup\n\n 3 6.00 us  /user.slice/a b\n", "role", "site") == [
        ("cgroup", "/user.slice/a b")
    ]
    text = " contended total wait  address  symbol\n\n 3 6.00 us  ffff98d7031fb498    (mutex)\n"
    assert rows(text, "lock", "lock_class") == [("0xffff98d7031fb498", "mutex")]


def test_perf_contention_callers_look_alike_but_threads_do_not() -> None:
    """A row by caller is a stack, of which the caller alone is printed."""
    text = " contended total wait type caller\n\n 3 6.00 us mutex f+0x1\n 2 5.00 us mutex f+0x1\n"
    assert [p.table["wait_us"].to_list() for p in read(text + " 3 6.00 us mutex f+0x1\n").profiles] == [
        [6, 5, 6]
    ]
    text = " contended total wait pid comm\n\n 3 6.00 us 7 a\n 2 5.00 us 8 a\n"
    assert [p.table["wait_us"].to_list() for p in read(text + " 2 4.00 us 7 a\n").profiles] == [[6, 5], [4]]


def test_perf_contention_a_line_that_was_copied_is_read_once() -> None:
    text = "# output: contended, total wait, type, caller\n3, 6123, mutex, f+0x1\n3, 6123, mutex, f+0x1\n"
    assert rows(text, "contended") == [(3,)]
    assert "line 3 repeats line 2 and is read once" in read(text).notes["perf lock contention"]


@pytest.mark.parametrize(
    ("heading", "cut", "whole"),
    [
        (
            "contended total wait max wait avg wait type caller",
            "2 100.00 us 60.00 us 50.00 us spinlock",
            "mutex f+0x1",
        ),
        ("contended total wait max wait avg wait type caller", "2 100.00 us 60.00 us", "mutex f+0x1"),
        ("contended total wait max wait avg wait pid comm", "2 100.00 us 60.00 us 50.00 us 77", "12 a b"),
        (
            "contended total wait max wait avg wait pid owner",
            "2 100.00 us 60.00 us 50.00 us -1",
            "-1 Unknown",
        ),
        ("contended total wait max wait avg wait cgroup", "2 100.00 us 60.00 us 50.00 us", "/user.slice"),
    ],
)
def test_perf_contention_a_row_that_was_cut_does_not_take_the_row_below(
    heading: str, cut: str, whole: str
) -> None:
    file = read(f" {heading}\n\n {cut}\n 3 6.00 us 3.00 us 2.00 us {whole}\n")
    assert file.profiles[0].table.select("contended", "wait_us").rows() == [(3, 6.0)]
    assert [(skip.first, skip.why) for skip in file.skipped] == [(3, "row cut short")]
    assert file.broken_rows == 1


@pytest.mark.parametrize("cut", ["2, 5123, mutex", "2, 5123,", "2"])
def test_perf_contention_as_csv_a_row_that_was_cut_does_not_take_the_row_below(cut: str) -> None:
    file = read(f"# output: contended, total wait, type, caller\n{cut}\n3, 6123, mutex, f+0x1\n")
    assert file.profiles[0].table.select("contended", "site").rows() == [(3, "f+0x1")]
    assert [skip.first for skip in file.skipped] == [2]


@pytest.mark.parametrize("quote", ["", "> "])
def test_perf_contention_stacks_of_owners_are_no_further_waits(quote: str) -> None:
    heading, mark = "contended total wait type caller", "=== owner stack trace ==="
    text = f" {heading}\n\n 3 6.00 us mutex f+0x1\n 0xffffffffac6318e7 g+0x1\n\n{mark}\n\n 2 5.00 us mutex own+0x1\n"
    text += " 0xffffffffac6318e7 up+0x1\n"
    file = read("".join(quote + line for line in text.splitlines(keepends=True)))
    assert file.skipped_lines == 0
    (profile,) = file.profiles
    assert profile.table.select("role", "site", "wait_us", "stack").rows() == [
        ("site", "f+0x1", 6.0, ["g+0x1"]),
        ("holder", "own+0x1", 5.0, ["up+0x1"]),
    ]
    for by in ("lock", "site", "class"):
        assert grouped(profile, by).table["wait_us"].sum() == 6.0
    # under the next heading are waits again
    assert rows(text + text, "role") == [("site",), ("holder",)] * 2


def test_perf_contention_stacks_of_owners_as_csv() -> None:
    text = "# output: contended, total wait, type, caller, stacktrace\n"
    text += "3, 6000, mutex, f+0x1, 0xffffffffac6318e7 g+0x1\n"
    text += "# owner stack trace:\n2, 5000, mutex, own+0x1, 0xffffffffac6318e7 up+0x1\n"
    assert rows(text, "role", "site", "wait_us") == [("site", "f+0x1", 6.0), ("holder", "own+0x1", 5.0)]
