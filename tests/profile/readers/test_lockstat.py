import pytest

from read_sample import read, rows

SECTION = "Adaptive mutex spin: 40 events in 2.000 seconds (20 events/sec)\n"
COLUMNS = (
    "Count indv cuml rcnt     nsec Lock                   Caller\n-------------------------------------\n"
)


def test_lockstat_with_blanks_in_names_and_hottest_callers() -> None:
    text = SECTION + COLUMNS.replace("Caller", "Hottest Caller") + "4 50% 50% 0.00 10 vm page queue  f+0x1\n"
    assert rows(text, "lock", "site", "contended", "wait_us") == [("vm page queue", "f+0x1", 4, 0.04)]
    assert read(text).profiles[0].span_s == 2.0


def test_lockstat_counts_of_spins_are_no_times() -> None:
    text = SECTION + COLUMNS.replace("nsec", "spin") + "4 50% 50% 1.00 10 lock f+0x1\n"
    assert rows(text, "contended", "wait_us", "spins_avg") == [(4, None, 10)]


def test_lockstat_without_times_and_as_rates() -> None:
    assert rows(
        SECTION + COLUMNS.replace("nsec", "    ") + "4 50% 50% 1.00 lock f+0x1\n", "contended", "wait_us"
    ) == [(4, None)]
    rates = SECTION + COLUMNS.replace("Count", "ops/s") + "4 50% 50% 1.00 10 lock f+0x1\n"
    assert rows(rates, "contended", "rate_per_s", "wait_us") == [(None, 4.0, 0.08)]


def test_lockstat_whose_section_is_lost_has_a_time_of_no_known_kind() -> None:
    text = COLUMNS + "4 50% 50% 0.00 10 lock f+0x1\n"
    assert rows(text, "event", "wait_us", "hold_us", "time_us") == [(None, None, None, 0.04)]


def test_lockstat_parsable() -> None:
    assert rows("0 4 vm page f+0x1 1.000000 4321\n", "event", "lock", "contended", "wait_us") == [
        ("Adaptive mutex spin", "vm page", 4, 4.321)
    ]


def test_lockstat_parsable_twice_is_two_runs() -> None:
    text = "0 4 vm page f+0x1 1.000000 4000\n1 4 vm page f+0x1 1.000000 5000\n"
    assert [p.table["wait_us"].to_list() for p in read(text * 2).profiles] == [[4.0, 5.0]] * 2


def test_lockstat_locks_of_one_name_look_alike_but_a_line_that_was_copied_is_read_once() -> None:
    row = "{} 50% 50% 0.00 10 lock f+0x1\n".format
    text = SECTION + COLUMNS + row(4) + row(3) + row(3) + row(4)
    assert rows(text, "contended") == [(4,), (3,), (4,)]


@pytest.mark.parametrize("cut", ["2 50% 50% 0.00 10 lock", "2 50% 50% 0.00 10", "2 50% 50% 0.00"])
def test_lockstat_a_row_that_was_cut_does_not_take_the_row_below(cut: str) -> None:
    file = read(SECTION + COLUMNS + cut + "\n3 50% 50% 0.00 10 mine g+0x1\n")
    assert file.profiles[0].table.select("contended", "lock", "site").rows() == [(3, "mine", "g+0x1")]
    assert [(skip.first, skip.why) for skip in file.skipped] == [(4, "row cut short")]


@pytest.mark.parametrize(
    "head", ["Adaptive mutex spin: 40 events", "Adaptive mutex spin: 40", "Adaptive mutex spin: 40\nevents"]
)
def test_lockstat_a_heading_without_seconds_is_a_heading(head: str) -> None:
    row = "4 50% 50% 0.00 10 lock f+0x1\n"
    text = f"{head}\n{COLUMNS}{row}" + f"R/W writer blocked by writer: 3 events\n{COLUMNS}{row}"
    assert rows(text, "event", "wait_us") == [
        ("Adaptive mutex spin", 0.04),
        ("R/W writer blocked by writer", 0.04),
    ]
    (profile,) = read(text).profiles
    assert profile.span_s is None
    assert read(text).broken_rows == 0
    assert rows(f"{head}\n{row}", "event", "wait_us") == [("Adaptive mutex spin", 0.04)]
    assert len(read(text + text).profiles) == 2
