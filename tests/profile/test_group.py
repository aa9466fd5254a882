import polars as pl
import pytest

from finegrain.profile.group import Grouped, Key, grouped
from finegrain.profile.table import Builder, Profile
from read_sample import read

FIELDS = ("lock_class", "lock", "site", "role", "count", "contended", "wait_us", "wait_max_us", "hold_us")


def profile(*rows: tuple[object, ...]) -> Profile:
    builder = Builder(FIELDS)
    for row in rows:
        builder.add(row)
    return Profile(source="p", format="test", system="test", table=builder.finish())


ROWS = (
    ("rw", "a", "f", "site", 10, 2, 5.0, 4.0, 30.0),
    ("rw", "a", "g", "site", 30, 3, 7.0, 3.0, 10.0),
    ("rw", "b", "f", "site", 5, None, 1.0, None, None),
    ("sx", "a", "f", "site", 1, 0, None, None, None),
)


def figures(by: str, *rows: tuple[object, ...]) -> dict[str, tuple[object, ...]]:
    table = grouped(profile(*rows), by).table
    return {
        row["name"]: (row["count"], row["contended"], row["wait_us"], row["wait_max_us"])
        for row in table.to_dicts()
    }


def test_rows_add_up_and_what_nothing_tells_stays_untold() -> None:
    assert figures("lock", *ROWS) == {
        "rw:a": (40, 5, 12.0, 4.0),
        "rw:b": (5, None, 1.0, None),
        "sx:a": (1, 0, None, None),
    }
    assert figures("class", *ROWS) == {"rw": (45, 5, 13.0, 4.0), "sx": (1, 0, None, None)}
    assert list(figures("site", *ROWS)) == ["rw:a at g", "rw:a at f", "rw:b at f", "sx:a at f"]
    assert len(figures("row", *ROWS)) == 4


def test_means_are_of_waits_where_they_are_counted_else_of_acquisitions() -> None:
    table = {row["name"]: row for row in grouped(profile(*ROWS)).table.to_dicts()}
    assert table["rw:a"]["wait_avg_us"] == pytest.approx(12 / 5)
    assert table["rw:b"]["wait_avg_us"] == pytest.approx(1 / 5)
    assert table["rw:a"]["hold_avg_us"] == pytest.approx(1.0)
    assert table["sx:a"]["wait_avg_us"] is None


def test_points_of_a_lock_are_no_locks_of_their_own() -> None:
    rows = (
        ("rw", "a", None, "lock", 10, 2, 5.0, 4.0, None),
        ("rw", "a", "f", "waiter", 9, 2, 4.0, 4.0, None),
        ("rw", "a", "g", "holder", None, None, 3.0, None, None),
    )
    assert figures("lock", *rows) == {"rw:a": (10, 2, 5.0, 4.0)}
    assert figures("site", *rows) == {"rw:a at f": (9, 2, 4.0, 4.0)}
    holders = grouped(profile(rows[0], rows[2]), "site")
    assert holders.table["name"].to_list() == ["rw:a at g"]
    assert "those of the holders" in holders.notes[0]


def test_locks_of_one_name_and_equal_figures_have_an_order() -> None:
    rows = [(name, lock, None, "lock", 1, 1, 1.0, 1.0, 1.0) for name, lock in ((None, "rw:a"), ("rw", "a"))]
    here, there = (grouped(profile(*order)).table for order in (rows, rows[::-1]))
    assert here["name"].to_list() == ["rw:a", "rw:a"]
    assert here.to_dicts() == there.to_dicts()


def test_a_lock_without_points_is_a_row_of_its_own_among_points() -> None:
    rows = (
        ("rw", "a", None, "lock", 10, 2, 5.0, 4.0, None),
        ("rw", "a", "f", "waiter", 9, 2, 4.0, 4.0, None),
        (None, "b", None, "lock", 7, 1, 3.0, 2.0, None),
    )
    assert figures("site", *rows) == {"rw:a at f": (9, 2, 4.0, 4.0), "b": (7, 1, 3.0, 2.0)}


def test_what_is_not_told_falls_back_and_says_so() -> None:
    locks = grouped(profile(("rw", "a", None, "lock", 1, 1, 1.0, 1.0, 1.0)), "site")
    assert (locks.by, locks.notes) == ("lock", ["no acquisition points are told: rows are locks"])
    callers = grouped(profile((None, None, "f", "task", 1, 1, 1.0, 1.0, 1.0)), "lock")
    assert (callers.by, callers.notes) == ("site", ["no names of locks are told: rows are threads"])


def test_names_of_rows() -> None:
    assert Key("rw", "a", None).name == "rw:a"
    assert Key("rw", "a", "f").name == "rw:a at f"
    assert Key(None, None, "f").name == "f"
    assert Key("rw", "a", None, "read").name == "rw:a (read)"
    assert Key("rw", None, "f").name == "rw at f"


def read_rows(text: str, by: str) -> tuple[Grouped, ...]:
    return tuple(grouped(one, by) for one in read(text).profiles)


LOCK_STAT = """\
lock_stat version 0.4
class name con-bounces contentions waittime-min waittime-max waittime-total waittime-avg
acq-bounces acquisitions holdtime-min holdtime-max holdtime-total holdtime-avg
&mm->mmap_sem-W: 233 538 0.10 22924.27 607243.51 1128.70 1342 45806 1.71 8595.89 1180582.34 25.77
&mm->mmap_sem-R: 205 587 0.10 28403.36 731975.00 1246.98 1940 412426 0.58 187825.45 6307502.88 15.29
"""
SAMPLES = """\
Profiling interrupt: 194 events in 2.004 seconds (97 events/sec)

Count indv cuml rcnt     nsec Hottest CPU+PIL        Caller
-------------------------------------------------------------------------------
   70  36%  36% 0.00     1041 cpu[0]                 cpu_halt+0x10
   50  26%  62% 0.00     1041 cpu[1]                 cpu_halt+0x10
-------------------------------------------------------------------------------
"""


def test_readers_and_writers_are_kept_apart() -> None:
    (both,) = read_rows(LOCK_STAT, "mode")
    assert both.table["name"].to_list() == ["&mm->mmap_sem (read)", "&mm->mmap_sem (write)"]
    assert both.table["mode"].to_list() == ["read", "write"]
    untold = grouped(profile(*ROWS), "mode")
    assert (untold.by, untold.notes) == ("lock", ["readers and writers are not told apart"])


def test_rows_as_read_have_columns_for_what_tells_them_apart() -> None:
    (rows,) = read_rows(LOCK_STAT, "row")
    assert rows.telling == ("mode",)
    assert grouped(profile(*ROWS), "row").telling == ()
    table = profile(*ROWS).table
    more = {"event": ["spin", "block", "spin", "spin"], "pid": [1, 2, 3, None], "address": [None] * 4}
    table = table.with_columns(*[pl.Series(name, values) for name, values in more.items()])
    assert grouped(Profile("p", "test", "test", table), "row").telling == ("event", "pid")


def test_samples_are_no_locks() -> None:
    (samples,) = read_rows(SAMPLES, "lock")
    assert samples.table.select("name", "count").rows() == [("cpu_halt+0x10", 120)]
    assert samples.what == "place"
    assert samples.notes == ["no locks are in it: rows are samples of where the CPUs were"]
    (rows,) = read_rows(SAMPLES, "row")
    assert rows.telling == ("role",)
    assert rows.table["name"].to_list() == ["cpu_halt+0x10 (cpu[0])", "cpu_halt+0x10 (cpu[1])"]


def test_samples_among_locks_are_left_out_and_said() -> None:
    rows = grouped(profile(*ROWS, (None, "cpu[0]", "f", "sample", 9, None, None, None, None)), "lock")
    assert rows.table["name"].to_list() == ["rw:a", "rw:b", "sx:a"]
    assert rows.notes == ["left out, being samples of where the CPUs were and not locks: 1 row (--by row)"]


def test_points_without_their_lock_are_never_added_up_over_both_ends() -> None:
    points = (
        ("rw", "a", "f", "waiter", 9, 2, None, None, None),
        ("rw", "a", "g", "holder", 7, 3, None, None, None),
    )
    lone = grouped(profile(*points), "lock")
    assert lone.table.select("name", "contended").rows() == [("rw:a", 2)]
    assert "points of their waiters" in lone.notes[0]
    assert grouped(profile(points[1]), "lock").table["contended"].to_list() == [3]
