from typing import Any

import pytest

from finegrain.errors import UserError
from read_sample import read, rows


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


ROW = "1 2 3 {} 5 6 7 0 9 /a.c:{} (rw:{})\n".format
HEADING = "max wait_max total wait_total count avg wait_avg cnt_hold cnt_lock name\n"


def waits(text: str) -> list[list[float]]:
    return [profile.table["wait_us"].to_list() for profile in read(text).profiles]


def test_lock_profiling_the_same_lock_and_point_again_is_another_dump() -> None:
    before, after = ROW(10, 1, "a") + ROW(20, 2, "a"), ROW(11, 1, "a") + ROW(21, 2, "a")
    assert waits(HEADING + before + after) == [[10, 20], [11, 21]]
    assert waits(before + after) == [[10, 20], [11, 21]]
    # as `sort` leaves them: the heading stands somewhere among the rows
    moved = [part[0] + HEADING + part[1] for part in (before.split("\n")[:2], after.split("\n")[:2])]
    assert waits(before + HEADING + after + HEADING) == [[10, 20], [11, 21]]
    assert waits("\n".join(moved).replace("max wait", "\nmax wait")) == [[10, 20], [11, 21]]
    # one lock, twice
    assert waits(HEADING + ROW(10, 1, "a") + ROW(11, 1, "a")) == [[10], [11]]


def test_lock_profiling_a_line_that_was_copied_is_read_once_and_noted() -> None:
    file = read(HEADING + ROW(10, 1, "a") + ROW(10, 1, "a") + "\n" + ROW(10, 1, "a") + ROW(20, 2, "a"))
    assert [profile.table["wait_us"].to_list() for profile in file.profiles] == [[10, 20]]
    notes = file.notes["FreeBSD LOCK_PROFILING"]
    assert [note for note in notes if "read once" in note] == [
        "line 3 repeats line 2 and is read once",
        "line 5 repeats line 3 and is read once",
    ]
    # text between two rows makes them two
    assert waits(HEADING + ROW(10, 1, "a") + "after:\n" + ROW(10, 1, "a")) == [[10], [10]]


def test_repeats_past_a_dozen_are_counted() -> None:
    file = read(HEADING + ROW(10, 1, "a") * 50)
    assert file.notes["FreeBSD LOCK_PROFILING"][-1] == "37 more rows were there before"


@pytest.mark.parametrize(
    "cut", ["1 2 3 4", "1 2 3 4 5 6 7 0 9", "1 2 3 4 5 6 7 0 9 /a.c:1", "1 2 3 4 5 6 7 0 9 /a.c:1 (rw:v"]
)
@pytest.mark.parametrize("heading", ["", HEADING])
def test_lock_profiling_a_row_that_was_cut_does_not_take_the_row_below(heading: str, cut: str) -> None:
    file = read(heading + cut + "\n" + ROW(20, 2, "b"))
    assert [profile.table["wait_us"].to_list() for profile in file.profiles] == [[20]]
    assert file.broken_rows == bool(heading)
