"""A table as data, and its drawings: plain text, markdown, CSV and HTML. `terminal` draws it for a Rich console.

Every table that finegrain shows is one of these, so that all its forms hold the same figures.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from finegrain.report.words import Cell, csv_cell, figure, markdown, printable


@dataclass(frozen=True, slots=True)
class Column:
    """A column: numbers, set to the right, or words (`left`), which may break in a narrow terminal (`wraps`)."""

    heading: str
    left: bool = False
    wraps: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows; "" is an empty cell, None a figure that is not told. `gap` blanks part two columns."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    gap: int = 2

    @property
    def headings(self) -> list[str]:
        """The heading of every column."""
        return [column.heading for column in self.columns]


def as_text(table: Table) -> str:
    """Plain text; the same on a terminal and in a pipe."""
    cells = [[printable(figure(cell)) for cell in row] for row in table.rows]
    widths = [
        max([len(column.heading), *(len(row[at]) for row in cells)])
        for at, column in enumerate(table.columns)
    ]
    lines = []
    for row in [table.headings, *cells]:
        parts = [
            cell.ljust(width) if column.left else cell.rjust(width)
            for cell, width, column in zip(row, widths, table.columns, strict=True)
        ]
        lines.append((" " * table.gap).join(parts).rstrip())
    return "\n".join(lines)


def as_markdown(table: Table) -> str:
    """A GitHub table; text is escaped, numbers are set to the right."""
    rule = ["---" if column.left else "---:" for column in table.columns]
    body = [[markdown(cell) if isinstance(cell, str) else figure(cell) for cell in row] for row in table.rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [table.headings, rule, *body])


def as_csv(table: Table) -> str:
    """Comma-separated, full precision, empty for absent; no cell can be a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.headings)
    for row in table.rows:
        writer.writerow(
            [csv_cell(cell) if isinstance(cell, str) else "" if cell is None else cell for cell in row]
        )
    return out.getvalue().rstrip("\n")


def as_html(table: Table) -> str:
    """An HTML table; text is escaped."""

    def row(tag: str, cells: Sequence[Cell]) -> str:
        drawn = ""
        for cell, column in zip(cells, table.columns, strict=True):
            side = "left" if column.left else "right"
            drawn += f"<{tag} style='text-align:{side}'>{escape(printable(figure(cell).strip()))}</{tag}>"
        return f"<tr>{drawn}</tr>"

    body = "".join(row("td", cells) for cells in table.rows)
    return f"<table><thead>{row('th', table.headings)}</thead><tbody>{body}</tbody></table>"
