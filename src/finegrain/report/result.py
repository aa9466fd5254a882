"""A result for people and programs: a terminal, plain text, HTML for notebooks, versioned JSON."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from html import escape
from math import inf
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from finegrain.machine.costs import WHOLE, CostModel
from finegrain.options import KernelOptions
from finegrain.report.table import Column, Table, as_html
from finegrain.report.terminal import as_rich, plain
from finegrain.report.words import Cell, count_name, holder
from finegrain.study.defaults import PRECISION_LIMIT_S
from finegrain.study.result import PV_NAME, SCHEMA, DesignResult, Lock, Result
from finegrain.study.statistics import half_width

TOP_SUPERPAGES = 3
SHARE_OF_WAIT = 0.5  # "the superpages behind most of it": as many as carry this share of the wait
GAP = 3
START = {
    "used": "in no order, as on a machine in long use",
    "fresh": "whole, as after boot, which a long run does not keep",
}


def lock_cell(lock: Lock) -> str:
    """Give `wait ±half-width, part blocked (class:name)`, waits in microseconds over 90 minutes."""
    wait = lock.wait_us_90min
    spread = half_width(wait, lock.wait_us_90min_ci95)
    shown = f" {_spread(spread)}" if wait > 0 and spread < inf else ""
    blocked = f", {lock.block_us / lock.wait_us * 100:.0f}% blocked" if lock.wait_us > 0 else ""
    return f"{wait:.0f}{shown}{blocked} ({lock.lock})"


def _spread(half: float) -> str:
    return f"±{half * 100:.0f}%" if half < 10 else "±>1000%"


def title(result: Result) -> list[str]:
    """Give the lines above the table: what was run, and the unit."""
    machine, workload = result.machine, result.workload
    runs = result.replications
    if runs > 1:
        scaled = f"{runs} runs of {result.simulated_seconds:g} s simulated, each"
        spread = f"±: half of the 95% confidence interval from these {runs} independent runs"
    else:
        scaled = f"one run of {result.simulated_seconds:g} s simulated"
        spread = "a single run has no confidence interval"
    return [
        f"Total time waited on each lock: {workload['jobs']} builders replaying {workload['name']} "
        f"({workload['images']} images) on {machine['cpus']} simulated CPUs "
        f"({machine['sockets']} sockets x {machine['cores']} cores x {machine['threads']} threads)",
        f"us over 90 minutes, scaled from {scaled} after {result.warmup_seconds:g} s of warm-up; {spread}",
        f"start: free memory {START[workload['free_memory']]}; blocked: off the CPU, the rest spinning",
        *_lacking(workload.get("lacks", [])),
        _probe(machine.get("costs_ps", {}).get("probe", 0)),
        *_calibrated(machine.get("calibration", "")),
        *([] if machine.get("calibration") else _other_costs(machine.get("costs_ps", {}))),
        *_other_options(machine.get("kernel", {})),
    ]


# by what a recording lacks: the locks that nobody takes then, or not as often
_CANNOT_ARISE = {
    "pipes": "of pipes (pipe mutex, pipe_map's vm map)",
    "file calls": "of files (lockmgr:tmpfs, ncvn, ncbuc)",
    "threads": "between threads of a process",
}


def _lacking(what: Sequence[str]) -> list[str]:
    """Say which waits cannot arise, for want of what the recording does not tell."""
    locks = [_CANNOT_ARISE[one] for one in what if one in _CANNOT_ARISE]
    return [f"the recording lacks {', '.join(what)}: no waits {', '.join(locks)}"] if locks else []


def _probe(cost: int) -> str:
    """Say whether counting takes time, as LOCK_PROFILING's does."""
    return (
        f"lock profiling takes {cost / 1000:g} ns a lock and unlock"
        if cost
        else "lock profiling takes no time"
    )


def _calibrated(said: str) -> list[str]:
    """Say what a calibration has changed, if one has."""
    return [f"calibrated by {said}"] if said else []


def _other_costs(costs: dict[str, int]) -> list[str]:
    """Say which costs are not the defaults, if any are."""
    usual = CostModel().picoseconds()
    other = [name for name in usual if name != "probe" and costs.get(name, usual[name]) != usual[name]]
    said = [f"{name} {_cost(name, costs[name])}" for name in other]
    return [f"costs other than the defaults: {', '.join(said)}"] if said else []


def _other_options(options: dict[str, Any]) -> list[str]:
    """Say which options of the kernel are not the defaults, if any are."""
    said = KernelOptions(**options).others()
    return [f"kernel options other than the defaults: {', '.join(said)}"] if said else []


def _cost(name: str, value: int) -> str:
    """Give a cost in its unit: a number of something, lines a microsecond, or nanoseconds."""
    if name.startswith("smt_") or name in WHOLE:
        return str(value)
    return f"{value / 1000:g}" if name.endswith("_fills") else f"{value / 1000:g} ns"


def waits_table(designs: Sequence[DesignResult]) -> Table:
    """The waits: a column a design, each sorted by its own."""
    columns: list[list[str]] = []
    for design in designs:
        waited = [lock for lock in design.locks if lock.wait_us > 0]
        digits = max((len(f"{lock.wait_us_90min:.0f}") for lock in waited), default=1)
        columns.append(
            [" " * (digits - len(f"{lock.wait_us_90min:.0f}")) + lock_cell(lock) for lock in waited]
            or ["no lock was waited for"]
        )
    height = max(len(column) for column in columns)
    rows = [[column[at] if at < len(column) else "" for column in columns] for at in range(height)]
    return Table([Column(design.name, left=True) for design in designs], rows, GAP)


def factor(first: float, other: float) -> str:
    """Say how many times smaller `other` is than `first`."""
    if first <= 0:
        return "no waiting to reduce"
    if other <= 0:
        return "all of it gone"
    ratio = first / other
    return f"{ratio:.2f}x less" if ratio >= 1 else f"{1 / ratio:.2f}x more"


def summary_table(
    designs: Sequence[DesignResult], first: DesignResult | None = None, ram: float | None = None
) -> Table:
    """What lies under the waits: a row a question, a column a design; against `first`, else the first of them.

    `ram` is the machine's memory in GB (2^30 bytes).
    """
    first = first or designs[0]
    against = ["1" if d is first else _pv_factor(first, d) for d in designs]
    rows: list[list[Cell]] = [
        [f"{PV_NAME}, against {first.name}", *against],
        ["  of it collision (holder on another superpage)", *(_share(d, "collision_us") for d in designs)],
        ["  of it sharing (holder on the same superpage)", *(_share(d, "sharing_us") for d in designs)],
        *_neighbours(designs),
        [f"all locks, against {first.name}", *(_all_locks(first, d) for d in designs)],
        ["exits per simulated second", *(f"{d.exits_per_s:,.0f}" for d in designs)],
        ["faults per simulated second", *(f"{d.faults_per_s:,.0f}" for d in designs)],
        [
            "memory for locks, generations and list heads",
            *(f"{d.pv_bytes / 1024:,.0f} KiB" for d in designs),
        ],
    ]
    if ram is not None:
        rows.append(["  bytes per GB of RAM", *(f"{d.pv_bytes / ram:,.0f}" for d in designs)])
    return Table([Column("", left=True, wraps=True), *(Column(design.name) for design in designs)], rows, GAP)


def ram_gb(result: Result) -> float | None:
    """Give the memory of the machine of a result in GB of 2^30 bytes, if it is told."""
    memory = result.machine.get("memory_bytes")
    return memory / (1 << 30) if memory else None


def _neighbours(designs: Sequence[DesignResult]) -> list[list[Cell]]:
    """Say how much of the PV list locks' line transfers neighbours in the line cause, if they cause any."""
    locks = [design.pv_list for design in designs]
    if not any(lock and lock.neighbour_us_90min for lock in locks):
        return []
    shares = [
        f"{lock.neighbour_us_90min / lock.transfer_us_90min * 100:.1f}%"
        if lock and lock.transfer_us_90min > 0
        else "-"
        for lock in locks
    ]
    return [["  of its cache-line transfers, by neighbours in the line", *shares]]


def _pv_factor(first: DesignResult, other: DesignResult) -> str:
    said = factor(first.pv_wait_us_90min, other.pv_wait_us_90min)
    if other.pv_ratio is None or other.pv_ratio_ci95 is None:
        return said
    low, high = other.pv_ratio_ci95
    if other.pv_ratio < 1:
        low, high = 1 / high, 1 / low
    return f"{said} ({low:.2f} to {high:.2f})"


def width_line(result: Result) -> str:
    """Say how wide the intervals are that a precision is asked for, and whether that was reached."""
    if result.precision_reached is None:
        return "How wide the intervals are, a single run does not tell: give --replications 2 or more."
    worst = next((lock.lock for lock in result.designs[0].locks), "no lock")
    what = f"{result.designs[0].name}'s worst lock ({worst})"
    if len(result.designs) > 1:
        what += " and the PV list ratios"
    said = f"The 95% intervals of {what} are at most {_spread(result.precision_reached)} wide"
    if result.precision is None:
        return f"{said}; --precision 5% runs on until they are ±5%."
    asked = f"±{result.precision * 100:g}%"
    ends = {
        "precise": f"{said}: {asked} was asked for.",
        "limit": f"{said}, not {asked}: the limit of {PRECISION_LIMIT_S:g} simulated seconds a design was reached.",
        "interrupted": f"{said}, not {asked}: interrupted after {result.replications} runs.",
    }
    return ends[result.ended]


def _share(design: DesignResult, part: str) -> str:
    total = design.pv_wait["collision_us"] + design.pv_wait["sharing_us"]
    return f"{design.pv_wait[part] / total * 100:.1f}%" if total > 0 else "-"


def _all_locks(first: DesignResult, design: DesignResult) -> str:
    if design is first:
        return "1"
    totals = [sum(lock.wait_us_90min for lock in d.locks) for d in (first, design)]
    return factor(totals[0], totals[1])


def counts_table(designs: Sequence[DesignResult]) -> Table:
    """Everything that the kernel counted: a row a count, a column a design."""
    keys = dict.fromkeys(key for design in designs for key in design.counts)
    rows = [[count_name(key), *(design.counts.get(key) for design in designs)] for key in keys]
    return Table(
        [Column("counted", left=True, wraps=True), *(Column(design.name) for design in designs)], rows, GAP
    )


def superpage_lines(design: DesignResult) -> Iterator[str]:
    """Name the superpages behind most of a design's PV list waiting, and what they hold."""
    total = design.pv_wait["collision_us"] + design.pv_wait["sharing_us"]
    if total <= 0 or not design.pv_superpages:
        return
    carried, count = 0.0, 0
    for superpage in design.pv_superpages:
        carried += superpage.wait_us
        count += 1
        if carried >= SHARE_OF_WAIT * total:
            break
    amount = f"{count} superpages carry" if count > 1 else "1 superpage carries"
    if carried < SHARE_OF_WAIT * total:
        amount = f"the worst {amount}"
    yield f"{design.name}: {amount} {carried / total * 100:.0f}% of the PV list waiting; the worst:"
    for superpage in design.pv_superpages[:TOP_SUPERPAGES]:
        held = ", ".join(f"{holding.pages} of {holder(holding)}" for holding in superpage.holds[:3])
        yield (
            f"  {superpage.physical[0]:#014x}  {superpage.wait_us / total * 100:4.1f}% "
            f"(sharing {superpage.sharing_us / total * 100:.1f}%)  pages: {held}"
        )


def _side_by_side(
    table_of: Callable[[Sequence[DesignResult]], Table],
    designs: Sequence[DesignResult],
    console: Console,
    options: ConsoleOptions,
) -> RenderResult:
    """Draw a table with a column a design; where they do not fit, as many tables as it takes."""
    rest = list(designs)
    wide = options.update(width=10_000)
    while rest:
        count = len(rest)
        table = as_rich(table_of(rest))
        while count > 1 and console.measure(table, options=wide).maximum > options.max_width:
            count -= 1
            table = as_rich(table_of(rest[:count]))
        yield table
        yield ""
        rest = rest[count:]


class _View:
    """A result, drawn to fit: side by side where the width allows, else one design under the other."""

    def __init__(self, result: Result, counts: bool) -> None:
        self.result = result
        self.counts = counts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        designs = self.result.designs
        for number, line in enumerate(title(self.result)):
            yield Text(line, style="bold" if number == 0 else "")
        yield ""
        table = as_rich(waits_table(designs))
        if console.measure(table, options=options.update(width=10_000)).maximum <= options.max_width:
            yield table
        else:
            for design in designs:
                yield as_rich(waits_table([design]))
                yield ""
        yield ""
        yield from _side_by_side(
            lambda part: summary_table(part, designs[0], ram_gb(self.result)), designs, console, options
        )
        if self.counts:
            yield from _side_by_side(counts_table, designs, console, options)
        for design in designs:
            for line in superpage_lines(design):
                yield Text(line, no_wrap=False)
        yield Text(width_line(self.result))
        operations = sum(design.lock_operations for design in designs)
        yield Text(
            f"{self.result.wall_s:.0f} s of real time; {operations / 1e6:,.0f} million lock operations simulated"
        )


def rich(result: Result, *, counts: bool = False) -> RenderableType:
    """Give a Rich renderable of a result, with `counts` what the kernel counted too."""
    return Group(_View(result, counts))


def text(result: Result, *, counts: bool = False, width: int = 200) -> str:
    """Give a result as plain text of at most `width` columns."""
    return plain(rich(result, counts=counts), width)


def html(result: Result) -> str:
    """Give a result as one `<div>`: the same numbers as in a terminal."""
    designs = result.designs
    lines = [*(line for design in designs for line in superpage_lines(design)), width_line(result)]
    return (
        "<div>"
        + "".join(f"<p>{escape(line)}</p>" for line in title(result))
        + as_html(waits_table(designs))
        + as_html(summary_table(designs, ram=ram_gb(result)))
        + f"<pre>{escape(chr(10).join(lines))}</pre></div>"
    )


def as_dict(result: Result) -> dict[str, Any]:
    """Give everything as JSON's types, full precision; the field names are the schema's."""
    return {
        "schema": SCHEMA,
        "machine": result.machine,
        "workload": result.workload,
        "seed": result.seed,
        "simulated_seconds": result.simulated_seconds,
        "warmup_seconds": result.warmup_seconds,
        "replications": result.replications,
        "precision": result.precision,
        "precision_reached": result.precision_reached,
        "ended": result.ended,
        "designs": [asdict(design) for design in result.designs],  # tuples become lists by way of JSON
        "wall_s": result.wall_s,
    }


def as_json(result: Result) -> str:
    """Give a result as JSON."""
    return json.dumps(as_dict(result), indent=1) + "\n"
