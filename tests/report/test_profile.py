import json
from dataclasses import replace

import polars as pl
import pytest

from finegrain.profile.group import BY
from finegrain.report.profile import as_csv, as_json, limits_of, markdown_text, notes_of, skipped_text, text
from read_sample import read

HEADING = "max wait_max total wait_total count avg wait_avg cnt_hold cnt_lock name\n"
ROWS = "9 28 1000 2500 500 2 15 0 100 /a.c:6 (rw:a)\n7 20 10 300 5 2 15 0 3 /b.c:7 (sx:=b|c)\n"
FILE = read("hello\n" + HEADING + ROWS + "9 28 1000 2500\n")


def test_text_is_a_title_and_a_table_worst_first() -> None:
    assert text(FILE, "lock", 1).splitlines() == [
        "sample: FreeBSD LOCK_PROFILING, 2 rows  [hello]",
        "",
        "   wait (us)  longest wait  mean wait  contended  acquired  hold (us)  longest hold  mean hold  lock",
        "1      2,500            28         25        100       500      1,000             9          2  rw:a",
        "... and 1 more (--top 0 shows all)",
    ]


@pytest.mark.parametrize("by", BY)
def test_all_forms_hold_the_same_rows(by: str) -> None:
    pages = (
        text(FILE, by, 0),
        markdown_text(FILE, by, 0),
        "".join(as_csv(FILE, by, 0)),
        "".join(as_json(FILE, by, 0)),
    )
    for page in pages:
        assert "2,500" in page or "2500.0" in page
        assert "300" in page
    assert len("".join(as_csv(FILE, by, 0)).splitlines()) == 3
    assert len("".join(as_csv(FILE, by, 1)).splitlines()) == 2


def test_cells_are_safe() -> None:
    assert ",'=b|c," in "".join(as_csv(FILE, "lock", 0))
    assert "| sx:=b\\|c |" in markdown_text(FILE, "lock", 0)


def test_json_holds_what_was_read_and_what_was_not() -> None:
    document = json.loads("".join(as_json(FILE, "lock", 0)))
    assert document["schema"] == "finegrain.profile/1"
    (profile,) = document["profiles"]
    assert [row["lock"] for row in profile["rows"]] == ["a", "=b|c"]
    assert [row["name"] for row in profile["table"]] == ["rw:a", "sx:=b|c"]
    assert document["skipped"][0] == {"first": 1, "last": 1, "why": "not part of a profile"}
    assert document["broken_rows"] == 1


def test_what_was_skipped_is_said_by_its_lines() -> None:
    said = "sample: 2 of 5 lines skipped: broken rows in lines 5; other text in lines 1"
    assert skipped_text(FILE) == said
    assert notes_of(FILE)[-1] == said
    assert skipped_text(read(HEADING + ROWS)) is None


def test_rows_as_read_show_what_tells_them_apart() -> None:
    table = FILE.profiles[0].table.with_columns(mode=pl.Series(["read", "write"]), pid=pl.Series([7, None]))
    file = replace(FILE, profiles=[replace(FILE.profiles[0], table=table)])
    lines = text(file, "row", 0).splitlines()
    assert lines[2].endswith("mode   pid  lock, point")
    assert lines[3].endswith("read   7    rw:a at /a.c:6")
    assert lines[4].endswith("write       sx:=b|c at /b.c:7")
    assert "".join(as_csv(file, "row", 0)).splitlines()[1].endswith(",site,,read,7,,,,3")
    assert "".join(as_csv(file, "mode", 0)).splitlines()[1].endswith(",read")


def test_notes_are_of_what_is_shown() -> None:
    notes = {"FreeBSD LOCK_PROFILING": ["x"], "lockstat": ["y"]}
    assert limits_of(replace(FILE, notes=notes)) == ["FreeBSD LOCK_PROFILING: x"]
    one = replace(FILE.profiles[0], derived={"wait_us, wait_min_us": "this", "hold_min_us": "that"})
    said = [note for note in notes_of(replace(FILE, profiles=[one]), "lock") if "computed" in note]
    assert said == ["not printed but computed: wait_us = this"]
    assert "- FreeBSD" in markdown_text(FILE, "lock", 0)
    assert "- FreeBSD" not in markdown_text(FILE, "lock", 0, quiet=True)
