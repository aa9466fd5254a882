"""Sweeps, for people and for programs."""

import json

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from finegrain.design import parse_design
from finegrain.report.result import as_dict, factor, ram_gb, title
from finegrain.report.table import Column, Table
from finegrain.report.terminal import as_rich, plain
from finegrain.report.words import Cell, printable
from finegrain.study.result import DesignResult, Result
from finegrain.study.sweep import SCHEMA, SweepResult, enough_locks

NEAR = 1.25  # waiting that is shown to be at most so many times another's counts as the same


def table(sweep: SweepResult) -> Table:
    """Draw a row a comparison and design."""
    many = len(sweep.comparisons) > 1
    first = sweep.comparisons[0].designs[0].name
    columns = [
        *([Column(sweep.over.removeprefix("cost:"), left=True)] if many else []),
        Column("design", left=True),
        Column("PV list wait, us in 90 min"),
        Column("95% interval"),
        Column(f"against {first}"),
        Column("95% interval"),
        Column("exits per s"),
        Column("bytes per GB"),
    ]
    rows: list[list[Cell]] = []
    for value, result in zip(sweep.values, sweep.comparisons, strict=True):
        for number, design in enumerate(result.designs):
            shown = printable(value) if number == 0 else ""
            rows.append([*([shown] if many else []), *_row(result, design)])
    return Table(columns, rows)


def _row(result: Result, design: DesignResult) -> list[Cell]:
    first = result.designs[0]
    low_high = _pv_interval(design)
    ratio, interval = "1", ""
    if design is not first:
        ratio = factor(first.pv_wait_us_90min, design.pv_wait_us_90min)
        if design.pv_ratio_ci95 is not None and design.pv_ratio is not None:
            low, high = design.pv_ratio_ci95
            if design.pv_ratio < 1:
                low, high = 1 / high, 1 / low
            interval = f"{low:.2f} to {high:.2f}"
    return [
        design.name,
        f"{design.pv_wait_us_90min:,.0f}",
        f"{low_high[0]:,.0f} to {low_high[1]:,.0f}" if low_high else "",
        ratio,
        interval,
        f"{design.exits_per_s:,.0f}",
        f"{bytes_per_gb(result, design):,.0f}",
    ]


def _pv_interval(design: DesignResult) -> tuple[float, float] | None:
    return design.pv_list.wait_us_90min_ci95 if design.pv_list else None


def bytes_per_gb(result: Result, design: DesignResult) -> float:
    """Give the bytes of a design's locks, generations and list heads for each 2^30 bytes of the machine's memory."""
    return design.pv_bytes / (ram_gb(result) or float("inf"))


def enough(sweep: SweepResult) -> str | None:
    """Say how many hashed locks do as well as the first design; None: no sweep over locks."""
    if sweep.over != "locks" or not sweep.comparisons:
        return None
    result = sweep.comparisons[0]
    first = result.designs[0].name
    found = enough_locks(result)
    if found is not None:
        locks, interval = parse_design(found.name).locks, found.pv_ratio_ci95
        if interval is None or interval[0] < 1 / NEAR:
            return (
                f"{locks:,} hashed locks may do as well as {first}, but these runs are too short to tell: "
                "give --precision 5%, or more --seconds."
            )
        return f"{locks:,} hashed locks do as well as {first}: its PV list waiting is not less, as far as runs show."
    counts = [
        parse_design(d.name).locks for d in result.designs[1:] if parse_design(d.name).layout == "hashed"
    ]
    if result.replications < 2:
        return "How many locks would do, a single run does not tell: give --replications 2 or more."
    return f"Even {max(counts):,} hashed locks wait more than {first}, as far as these runs show."


class _View:
    def __init__(self, sweep: SweepResult) -> None:
        self.sweep = sweep

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for number, line in enumerate(title(self.sweep.comparisons[0])):
            yield Text(line, style="bold" if number == 0 else "")
        if len(self.sweep.comparisons) > 1:
            yield Text(f"and so on for {self.sweep.over} {', '.join(map(printable, self.sweep.values[1:]))}")
        yield ""
        yield as_rich(table(self.sweep))
        said = enough(self.sweep)
        if said is not None:
            yield ""
            yield Text(said)


def rich(sweep: SweepResult) -> RenderableType:
    """Give a Rich renderable."""
    return _View(sweep)


def text(sweep: SweepResult, width: int = 200) -> str:
    """Give plain text of at most `width` columns."""
    return plain(rich(sweep), width)


def as_json(sweep: SweepResult) -> str:
    """Give everything as JSON, each comparison under its own schema."""
    document = {
        "schema": SCHEMA,
        "over": sweep.over,
        "values": sweep.values,
        "comparisons": [as_dict(result) for result in sweep.comparisons],
    }
    return json.dumps(document, indent=1) + "\n"
