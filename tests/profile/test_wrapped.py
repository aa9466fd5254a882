import polars as pl
import pytest

from finegrain.profile.readers import READERS
from finegrain.profile.wrapped import WRAPPED_US, note, unwrapped
from read_sample import read

WRAPPED = 2**64 - 4321
US = f"{WRAPPED / 1e3:.0f}"
LOCK_STAT = (
    "class name con-bounces contentions waittime-min waittime-max waittime-total acq-bounces acquisitions "
)
LOCK_STAT += "holdtime-min holdtime-max holdtime-total"
LOCKSTAT = (
    "Adaptive mutex spin: 40 events in 2.000 seconds (20 events/sec)\nCount indv cuml rcnt nsec Lock Caller\n"
)
# format -> a text with one row whose wait ran below zero, and one that did not
TEXTS = {
    "FreeBSD LOCK_PROFILING": f"7 {US} 3 {US} 3 2 9 0 9 /a.c:1 (rw:a)\n7 4 3 9 3 2 9 0 9 /a.c:2 (rw:a)\n",
    "Linux lock_stat": f"lock_stat version 0.3\n{LOCK_STAT}\na_lock: 1 3 0.1 0.2 {US}.60 4 3 0.6 0.7 0.8\n"
    "b_lock: 1 3 0.1 0.2 9.00 4 3 0.6 0.7 0.8\n",
    "lockstat": f"{LOCKSTAT}3 50% 50% 0.00 {WRAPPED} lock f+0x1\n3 50% 50% 0.00 3000 lock f+0x1\n",
    "perf lock contention": f"# output: contended, total wait, type, caller\n3, {WRAPPED}, mutex, f+0x1\n"
    "3, 9000, mutex, f+0x1\n",
    "perf lock report": "Name acquired contended avg wait (ns) total wait (ns)\n"
    f"a 3 3 {WRAPPED // 3} {WRAPPED}\nb 3 3 3000 9000\n",
    "klockstat": f"Caller Avg Spin Count Max spin Total spin\nf+0x1 {WRAPPED} 3 {WRAPPED} {WRAPPED}\n"
    "f+0x1 3000 3 4000 9000\n",
    "NetBSD lockstat": "Elapsed time: 2.00 seconds.\n\n-- Spin mutex spin\n\nTotal% Count Time/ms Lock Caller\n"
    f"99.00 3 {WRAPPED / 1e6:.2f} a f\n1.00 3 0.01 b f\n",
    "plockstat": f"Mutex block\n\nCount nsec Lock Caller\n3 {WRAPPED} lib`a lib`f\n3 3000 lib`b lib`f\n",
    "bpftrace map": f"@wait[\n f+1\n]: {WRAPPED}\n@wait[\n g+1\n]: 9000\n",
    "go pprof": "Type: delay\nflat flat% sum% cum cum%\n"
    f"{WRAPPED}ns 50% 50% {WRAPPED}ns 50% a.b\n9us 50% 50% 9us 50% a.c\n",
}


def test_every_format_is_tried() -> None:
    assert {reader.format for reader in READERS} <= set(TEXTS)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("quote", ["", "> "])
def test_counters_that_ran_below_zero_are_absent_and_noted(name: str, quote: str) -> None:
    file = read("".join(quote + line for line in TEXTS[name].splitlines(keepends=True)))
    (profile,) = file.profiles
    assert profile.format == name
    assert profile.table["wait_us"].to_list() == [None, 9.0 if name != "NetBSD lockstat" else 10.0]
    assert profile.table["wait_max_us"].to_list()[0] is None
    assert [text for text in file.notes[name] if "below zero" in text and "in 1 row," in text]


def test_hours_of_waiting_in_seconds_are_absent() -> None:
    row = "{} 50% 50% 0.00 {} lock f+0x{}\n".format
    text = LOCKSTAT + row(3, 3_600_000_000_000, 1) + row(5000, 1_999_999_999, 2)
    (profile,) = read(text).profiles
    assert profile.table["wait_avg_us"].to_list() == [None, 1_999_999.999]  # of many threads at once
    assert profile.table["wait_us"].to_list()[0] is None


def test_a_row_s_holds_stay_where_its_waits_go() -> None:
    table = pl.DataFrame({"wait_us": [WRAPPED_US, None], "hold_us": [1.0, 2.0], "line": [7, 8]})
    fixed, lines = unwrapped(table, None)
    assert fixed.rows() == [(None, 1.0, 7), (None, 2.0, 8)]
    assert lines == [7]
    assert note([]) == []
    assert "in 2 rows, the first in line 7" in note([7, 9])[0]
