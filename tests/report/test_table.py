import csv
import io
from html.parser import HTMLParser

import pytest
from rich.console import Console

from finegrain.report.table import Column, Table, as_csv, as_html, as_markdown, as_text
from finegrain.report.terminal import as_rich, plain

COLUMNS = [Column("lock", left=True), Column("wait"), Column("mean")]
TABLE = Table(COLUMNS, [["rw:a|b", 1234567, 0.5], ["=sx <c>\x1b", None, 12345.678], ["", "", None]])


def test_text_sets_numbers_to_the_right_and_escapes() -> None:
    assert as_text(TABLE).splitlines() == [
        "lock              wait    mean",
        "rw:a|b       1,234,567     0.5",
        "=sx <c>\\x1b          -  12,346",
        "                             -",
    ]


def test_markdown_keeps_its_columns() -> None:
    assert as_markdown(TABLE).splitlines() == [
        "| lock | wait | mean |",
        "| --- | ---: | ---: |",
        "| rw:a\\|b | 1,234,567 | 0.5 |",
        "| =sx &lt;c&gt;\\\\x1b | - | 12,346 |",
        "|  |  | - |",
    ]


def test_csv_has_full_precision_and_no_formula() -> None:
    assert list(csv.reader(io.StringIO(as_csv(TABLE)))) == [
        ["lock", "wait", "mean"],
        ["rw:a|b", "1234567", "0.5"],
        ["'=sx <c>\\x1b", "", "12345.678"],
        ["", "", ""],
    ]


def test_html_is_balanced_escaped_and_whole() -> None:
    opened: list[str] = []
    cells: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            opened.append(tag)
            cells.extend([""] if tag in ("td", "th") else [])

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

        def handle_data(self, data: str) -> None:
            cells[-1] += data

    Checker().feed(as_html(TABLE))
    assert opened == []
    shown = ["rw:a|b", "1,234,567", "0.5", "=sx <c>\\x1b", "-", "12,346", "", "", "-"]
    assert cells == ["lock", "wait", "mean", *shown]


def test_a_console_draws_what_text_draws() -> None:
    table = Table(COLUMNS, [["rw:a [b]", 1234567, 0.5], [":smile:", None, 12345.678]], gap=3)
    assert plain(as_rich(table)).rstrip("\n") == as_text(table)


@pytest.mark.parametrize(("wraps", "lines"), [(True, 3), (False, 2)])
def test_only_columns_that_may_wrap_do(wraps: bool, lines: int) -> None:
    table = Table([Column("", left=True, wraps=wraps), Column("n")], [["several words", 1]])
    assert len(plain(as_rich(table), 12).splitlines()) == lines
    assert Console(width=12).measure(as_rich(table)).maximum <= 16


def test_a_table_without_rows_has_its_headings() -> None:
    empty = Table(COLUMNS, [])
    assert as_text(empty) == "lock  wait  mean"
    assert as_csv(empty) == "lock,wait,mean"
