"""A comparison as an HTML fragment, for notebooks."""

from html import escape

from finegrain.report.terminal import lock_cell, summary_table, superpage_lines, title
from finegrain.study.result import Comparison


def comparison_html(comparison: Comparison) -> str:
    """Give a comparison as one `<div>`: the same numbers as in a terminal."""
    designs = comparison.designs
    columns = [[lock_cell(lock) for lock in design.locks if lock.wait_us > 0] for design in designs]
    head = "".join(f"<th style='text-align:left'>{escape(design.name)}</th>" for design in designs)
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td style='text-align:left'>{escape(column[i]) if i < len(column) else ''}</td>"
            for column in columns
        )
        + "</tr>"
        for i in range(max((len(column) for column in columns), default=0))
    )
    summary = summary_table(designs)
    cells = list(zip(*(list(column.cells) for column in summary.columns), strict=True))
    summary_rows = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in cells
    )
    lines = [line for design in designs for line in superpage_lines(design)]
    return (
        "<div>"
        + "".join(f"<p>{escape(line)}</p>" for line in title(comparison))
        + f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        + f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{summary_rows}</tbody></table>"
        + f"<pre>{escape(chr(10).join(lines))}</pre></div>"
    )
