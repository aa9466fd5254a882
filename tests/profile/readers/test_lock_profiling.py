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
