"""Small samples of every format, written by hand after its documentation, as people paste them."""

import io
from typing import Any

import pytest

from finegrain.errors import UserError
from finegrain.profile.read import File, read_stream


def read(text: str) -> File:
    return read_stream(io.BufferedReader(io.BytesIO(text.encode())), "sample")


def rows(text: str, *fields: str) -> list[tuple[Any, ...]]:
    """These fields of every row of every profile in the text."""
    return [tuple(row.get(f) for f in fields) for p in read(text).profiles for row in p.table.to_dicts()]


# ---- LOCK_PROFILING


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1 2 3 4 5 6 7 0 9 /a.c:10 (sx:proctree)", ("sx", "proctree", 4.0, 3.0, 5, 9)),
        ("1 3 4 5 6 7 0 9 ../../../kern/k.c:10 (lockmgr:bufwait)", ("lockmgr", "bufwait", 4.0, 3.0, 5, 9)),
        ("1 3 5 6 8 9 kern/k.c:10 (bpf: interface lock)", (None, "bpf: interface lock", None, 3.0, 5, 9)),
        ("+ 1 2 3 4 5 6 7 0 9 …/k.c:1 (sleep mutex:a (b) c)", ("sleep mutex", "a (b) c", 4.0, 3.0, 5, 9)),
    ],
)
def test_lock_profiling_without_its_heading(text: str, wanted: tuple[Any, ...]) -> None:
    assert rows(text, "lock_class", "lock", "wait_us", "hold_us", "count", "contended") == [wanted]


def test_lock_profiling_sorted_with_its_heading_in_the_middle() -> None:
    heading = "max wait_max total wait_total count avg wait_avg cnt_hold cnt_lock name"
    text = f"1 2 3 9 5 6 7 0 9 /a.c:1 (rw:a)\n{heading}\n1 2 3 0 5 6 7 0 9 /a.c:2 (rw:b)\n"
    assert rows(text, "lock", "wait_us") == [("a", 9.0), ("b", 0.0)]
    assert len(read(text).profiles) == 1


def test_lock_profiling_says_that_cnt_hold_is_nothing() -> None:
    heading = "max wait_max total wait_total count avg wait_avg cnt_hold cnt_lock name\n"
    none = read(heading + "1 2 3 9 5 6 7 0 9 /a.c:1 (rw:a)")
    some = read(heading + "1 2 3 9 5 6 7 4 9 /a.c:1 (rw:a)")
    assert none.profiles[0].table["cnt_hold"].to_list() == [None]
    assert some.profiles[0].table["cnt_hold"].to_list() == [4]
    assert any("cnt_hold" in note for note in none.notes["FreeBSD LOCK_PROFILING"])
    assert not any("cnt_hold" in note for note in some.notes["FreeBSD LOCK_PROFILING"])


def test_a_number_of_columns_that_no_kernel_prints_is_not_guessed() -> None:
    with pytest.raises(UserError, match="no lock profile"):
        read("1 2 3 4 5 /a.c:10 (sx:proctree)")
    with pytest.raises(UserError, match="no lock profile"):
        read("99999999999999999999 2 3 4 5 6 7 0 9 /a.c:10 (sx:proctree)")


# ---- lock_stat

HEAD_3 = (
    "class name con-bounces contentions waittime-min waittime-max waittime-total acq-bounces acquisitions "
)
HEAD_3 += "holdtime-min holdtime-max holdtime-total"


def test_lock_stat_with_line_numbers_as_the_kernel_s_own_manual_prints_it() -> None:
    text = "01 lock_stat version 0.3\n02-------\n03 " + HEAD_3 + "\n04-------\n05\n"
    text += "06  &a->sem-W: 1 2 0.10 0.20 0.30 4 5 0.60 0.70 0.80\n07  -------\n"
    text += "08  &a->sem  3  [<ffffffff81502a70>] f+0x1/0x2 [kvm]\n"
    found = rows(text, "lock", "mode", "role", "contended", "wait_us", "site")
    assert found == [
        ("&a->sem", "write", "lock", 2, 0.3, None),
        ("&a->sem", None, "waiter", 3, None, "f+0x1/0x2 [kvm]"),
    ]


def test_lock_stat_digits_that_begin_a_line_are_no_line_numbers() -> None:
    text = f"lock_stat version 0.3\n{HEAD_3}\na_lock:  1 2\n0.57 0.60 0.70 4 5\n0.43 0.60 0.80\n"
    assert rows(text, "wait_min_us", "hold_min_us") == [(0.57, 0.43)]


def test_lock_stat_row_cut_at_the_end_is_told_not_guessed() -> None:
    file = read(
        f"lock_stat version 0.3\n{HEAD_3}\na_lock: 1 2 0.1 0.2 0.3 4 5 0.6 0.7 0.8\nb_lock: 1 2 0.1 0.2 0.3 4\n"
    )
    assert len(file.profiles[0].table) == 1
    assert [(skip.first, skip.why) for skip in file.skipped] == [(4, "row cut short")]


@pytest.mark.parametrize(
    "numbers", ["1 2 0.1 0.2 0.3 4 5 0.6 0.7 0.8", "1 2 0.1 0.2 0.3 0.4 5 6 0.7 0.8 0.9 1.0"]
)
def test_lock_stat_without_its_heading(numbers: str) -> None:
    assert rows(f"&(&zone->lock)->rlock: {numbers}", "lock", "contended", "wait_us") == [
        ("&(&zone->lock)->rlock", 2, 0.3)
    ]


def test_lock_stat_as_a_diff_says_that_both_sides_are_added() -> None:
    text = f"lock_stat version 0.3\n{HEAD_3}\n-  a_lock: 1 2 0.1 0.2 0.3 4 5 0.6 0.7 0.8\n"
    file = read(text + "+  a_lock: 1 2 0.1 0.2 0.4 4 5 0.6 0.7 0.8\n")
    assert file.profiles[0].table["wait_us"].to_list() == [0.3, 0.4]
    assert any("diff" in note for note in file.notes["Linux lock_stat"])


# ---- lockstat

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


# ---- perf lock


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


def test_perf_reports_bad_events() -> None:
    text = " Name acquired contended avg wait\n\n a lock 3 2 1.50 us\n\n=== output for debug===\n\nbad: 7, total: 9\n"
    file = read(text)
    assert file.profiles[0].table.select("lock", "count", "wait_us").rows() == [("a lock", 3, 3.0)]
    assert any("7 bad" in note for note in file.notes["perf lock report"])


# ---- klockstat


def test_klockstat_by_thread_with_the_lock_of_the_longest_wait() -> None:
    text = "  Tid  Comm  Avg Wait    Count   Max Wait   Total Wait\n 12 Web Content  155 ns  33  115.5 us  5.1 ms\n"
    assert rows(text, "pid", "site", "count", "wait_us") == [(12, "Web Content", 33, 5100.0)]
    text = " Caller  Avg Hold  Count  Max Hold  Total Hold\n b'f+0x1'  8.3 us  77  3 us  6 ms\n g+0x2\n"
    text += "   Max PID 3, COMM a b, Lock no-ksym (0xffff9477eec5f1a8)\n"
    assert rows(text, "site", "stack", "hold_count", "max_comm", "max_lock") == [
        ("f+0x1", ["g+0x2"], 77, "a b", None)
    ]


def test_klockstat_counters_below_zero_are_absent() -> None:
    text = " Caller Avg Wait Count Max Wait Total Wait\n f+0x1 732011.2 h 7 5124078.5 h 5124078.5 h\n"
    assert rows(text, "count", "wait_us", "wait_max_us") == [(7, None, None)]


def test_klockstat_in_latin_1_with_its_line_ends_written_out() -> None:
    text = (
        "Content-Transfer-Encoding: quoted-printable\n\nCaller=A0 Avg Hold=A0 Count Max hold Total hold=0A=\n"
    )
    text += "b'[unknown]'=A0 118490 83=A0 179899 9834734=0A=\nf+0x1 3 4 5 6=0A=\n"
    assert rows(text, "site", "hold_count", "hold_us") == [("[unknown]", 83, 9834.734), ("f+0x1", 4, 0.006)]


def test_marks_before_lines_are_no_part_of_names() -> None:
    text = " * Caller Avg Hold Count Max Hold Total Hold\n *  f+0x18b 402 1 402 402\n * g+0x427\n"
    assert rows(text, "site", "stack") == [("f+0x18b", ["g+0x427"])]


def test_lock_stat_heading_broken_within_a_word_and_columns_left_out() -> None:
    text = "class name con-bounces contentions waittime-min waittime-max waittime-total acq-b\n"
    text += "ounces acquisitions holdtime-min holdtime-max holdtime-total\na_lock: 1 2 0.1 0.2 0.3\n4 5 0.6 0.7 0.8\n"
    assert rows(text, "wait_us", "acq_bounces") == [(0.3, 4)]
    text = "class name con-bounces contentions waittime-min ...\nb_lock: 1 2 0.27 ...\n"
    assert rows(text, "contended", "wait_min_us", "wait_us") == [(2, 0.27, None)]


# ---- all together


def test_several_formats_in_one_mail() -> None:
    text = f"""Hi,
> {SECTION}> {COLUMNS}> 4 50% 50% 0.00 10 lock f+0x1
and on Linux:
lock_stat version 0.3
{HEAD_3}
a_lock: 1 2 0.1 0.2 0.3 4 5 0.6 0.7 0.8
bye
"""
    file = read(text)
    assert [(p.format, p.label, p.table.height) for p in file.profiles] == [
        ("lockstat", "1", 1),
        ("Linux lock_stat", "2", 1),
    ]
    assert [(skip.first, skip.last) for skip in file.skipped] == [(1, 1), (6, 6), (10, 10)]
    assert set(file.notes) == {"lockstat", "Linux lock_stat"}


@pytest.mark.parametrize("text", ["", " \n\n", "nothing\n" * 50, "12 34 56\n", "a: 1 2 3\n", "{}", "[1]"])
def test_what_is_no_profile_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError) as refusal:
        read(text)
    assert "\n" not in str(refusal.value)
