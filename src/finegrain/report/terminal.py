"""Drawings for a Rich console, and the same as plain text."""

from rich.console import Console, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from finegrain.report.table import Table
from finegrain.report.words import figure


def as_rich(table: Table) -> RichTable:
    """Draw a table for a console."""
    drawn = RichTable(box=None, pad_edge=False, padding=(0, table.gap, 0, 0), header_style="bold")
    for column in table.columns:
        drawn.add_column(
            Text(column.heading), justify="left" if column.left else "right", no_wrap=not column.wraps
        )
    for row in table.rows:
        drawn.add_row(*(Text(figure(cell)) for cell in row))
    return drawn


def plain(drawing: RenderableType, width: int = 200) -> str:
    """Give a drawing as plain text of at most `width` columns."""
    console = Console(width=width, color_system=None, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(drawing)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
