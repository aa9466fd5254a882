import pytest

from read_sample import read, rows


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


def test_klockstat_the_same_thread_again_is_another_dump() -> None:
    text = " Tid Comm Avg Wait Count Max Wait Total Wait\n 1 a 1 us 1 1 us {} us\n 2 a 1 us 1 1 us 6 us\n"
    text += " 1 a 1 us 1 1 us 7 us\n"
    assert [p.table["wait_us"].to_list() for p in read(text.format(5)).profiles] == [[5, 6], [7]]
    row = " f+0x1 1 us 1 1 us 7 us\n"
    assert rows(" Caller Avg Wait Count Max Wait Total Wait\n" + row + row, "wait_us") == [(7,)]


@pytest.mark.parametrize(
    ("cut", "whole"),
    [
        ("f+0x1 118490 83", "g+0x2 3 4 5000 6000"),
        ("f+0x1 118490 83 12", "g+0x2 3 4 5000 6000"),
        ("f+0x1 8.3 us 77", "g+0x2 1 us 4 5 us 6 us"),
        ("f+0x1 8.3 us", "g+0x2 1 us 4 5 us 6 us"),
    ],
)
def test_klockstat_a_row_that_was_cut_does_not_take_the_row_below(cut: str, whole: str) -> None:
    file = read(f" Caller Avg Wait Count Max Wait Total Wait\n {cut}\n {whole}\n")
    assert file.profiles[0].table.select("site", "count", "wait_us").rows() == [("g+0x2", 4, 6.0)]
    assert [(skip.first, skip.why) for skip in file.skipped] == [(2, "row cut short")]
