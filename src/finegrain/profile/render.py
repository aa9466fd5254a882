"""Plain text, markdown and CSV of a table; the same on a terminal and in a pipe."""

import csv
import io
from collections.abc import Sequence

from finegrain.profile.names import csv_cell, markdown, printable

Cell = str | int | float | None


def figure(value: Cell) -> str:
    """A number for people: `-` when it is not told, digits enough to compare by eye."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def seconds(value: float) -> str:
    """A span: 5.011 s, 90 min."""
    if value >= 600 and value % 60 == 0:
        return f"{value / 60:,.0f} min"
    return f"{value:,.6g} s"


def text_table(headings: Sequence[str], rows: Sequence[Sequence[Cell]], left: Sequence[int] = (-1,)) -> str:
    """Columns two blanks apart, numbers to the right; `left` are the columns of text."""
    columns = len(headings)
    lefts = {at % columns for at in left}
    cells = [[printable(figure(cell)) for cell in row] for row in rows]
    widths = [max([len(headings[at]), *(len(row[at]) for row in cells)]) for at in range(columns)]
    lines = []
    for row in [list(headings), *cells]:
        parts = [
            cell.ljust(widths[at]) if at in lefts else cell.rjust(widths[at]) for at, cell in enumerate(row)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def markdown_table(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], left: Sequence[int] = (-1,)
) -> str:
    """A GitHub table; text is escaped, numbers are set to the right."""
    columns = len(headings)
    lefts = {at % columns for at in left}
    rule = ["---" if at in lefts else "---:" for at in range(columns)]
    body = [[markdown(cell) if isinstance(cell, str) else figure(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(headings), rule, *body])


def csv_table(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Comma-separated, full precision, empty for absent; no cell can be a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(headings)
    for row in rows:
        writer.writerow(
            [csv_cell(cell) if isinstance(cell, str) else "" if cell is None else cell for cell in row]
        )
    return out.getvalue().rstrip("\n")
