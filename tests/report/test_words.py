import pytest
from hypothesis import given
from hypothesis import strategies as st

from finegrain.report.words import (
    COUNTS,
    Cell,
    count_name,
    csv_cell,
    figure,
    holder,
    markdown,
    printable,
    printable_lines,
    seconds,
)
from finegrain.study.result import Holding


@given(st.text(max_size=30))
def test_names_are_shown_as_text_only(name: str) -> None:
    shown = printable(name)
    assert all(char.isprintable() for char in shown)
    assert not csv_cell(name).startswith(("=", "+", "-", "@"))
    cell = markdown(name)
    assert all(cell[at - 1] == "\\" for at, char in enumerate(cell) if char in "|`*_[]")
    assert not set("<>") & set(cell)


def test_names_of_letters_stay_as_they_are() -> None:
    assert printable("rw:pmap pv list (user)[3]") == "rw:pmap pv list (user)[3]"
    assert printable("a\x1b[31mb\u202ec\td") == "a\\x1b[31mb\\u{202e}c\\x09d"


def test_lines_stay_lines() -> None:
    assert printable_lines(["a\x1bb\nc", "d"]) == "a\\x1bb\nc\nd"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), ("=a", "=a"), (1234567, "1,234,567"), (1234.6, "1,235"), (12.3456, "12.35"), (0.0, "0")],
)
def test_figures(value: Cell, shown: str) -> None:
    assert figure(value) == shown


@pytest.mark.parametrize(("span", "shown"), [(5400.0, "90 min"), (540.0, "540 s"), (5.0112, "5.0112 s")])
def test_spans(span: float, shown: str) -> None:
    assert seconds(span) == shown


@pytest.mark.parametrize(
    ("holding", "shown"),
    [
        (Holding("file", "/bin/sh", 1, 5), "/bin/sh"),
        (Holding("file", "/bin/sh", 2, 5), "/bin/sh (2 copies)"),
        (Holding("file", "/bin/\x1b[1m", 1, 5), "/bin/\\x1b[1m"),
        (Holding("anonymous", None, 1, 5), "anonymous memory"),
        (Holding("kernel", None, 1, 5), "page tables and pv chunks"),
    ],
)
def test_what_holds_a_page(holding: Holding, shown: str) -> None:
    assert holder(holding) == shown


def test_every_count_has_words_and_no_two_the_same() -> None:
    assert count_name("promotions") == "superpage promotions"
    assert count_name("faults_copy_on_write") == "faults, copy on write"
    assert count_name("something_new") == "something new"
    assert len(set(COUNTS.values())) == len(COUNTS)
