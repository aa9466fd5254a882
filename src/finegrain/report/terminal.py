"""A comparison in a terminal: a column a design, each sorted by its own waits."""

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from finegrain.study.result import PV_LIST, Comparison, DesignResult, Lock

TOP_SUPERPAGES = 3
SHARE_OF_WAIT = 0.5  # "the superpages behind most of it": as many as carry this share of the wait


def lock_cell(lock: Lock) -> str:
    """Give `wait ±half-width (class:name)`, waits in microseconds over 90 minutes."""
    _, high = lock.wait_us_90min_ci95
    wait = lock.wait_us_90min
    spread = f" ±{(high - wait) / wait * 100:.0f}%" if wait > 0 else ""
    return f"{wait:.0f}{spread} ({lock.lock})"


def title(comparison: Comparison) -> list[str]:
    """Give the lines above the table: what was run, and the unit."""
    machine, workload = comparison.machine, comparison.workload
    batches = comparison.designs[0].batches
    return [
        f"Total time waited on each lock: {workload['jobs']} builders replaying {workload['name']} "
        f"({workload['images']} images) on {machine['cpus']} simulated CPUs "
        f"({machine['sockets']} sockets x {machine['cores']} cores x {machine['threads']} threads)",
        f"us over 90 minutes, scaled from {comparison.simulated_seconds:g} s simulated "
        f"after {comparison.warmup_seconds:g} s of warm-up; "
        f"±: 95% confidence from {batches} batches",
    ]


def waits_table(designs: list[DesignResult]) -> Table:
    """Draw the waits, a column a design."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    columns: list[list[str]] = []
    for design in designs:
        waited = [lock for lock in design.locks if lock.wait_us > 0]
        digits = max((len(f"{lock.wait_us_90min:.0f}") for lock in waited), default=1)
        columns.append(
            [" " * (digits - len(f"{lock.wait_us_90min:.0f}")) + lock_cell(lock) for lock in waited]
            or ["no lock was waited for"]
        )
        table.add_column(design.name, no_wrap=True)
    for row in range(max(len(column) for column in columns)):
        table.add_row(*(Text(column[row]) if row < len(column) else "" for column in columns))
    return table


def factor(first: float, other: float) -> str:
    """Say how many times smaller `other` is than `first`."""
    if first <= 0:
        return "no waiting to reduce"
    if other <= 0:
        return "all of it gone"
    ratio = first / other
    return f"{ratio:.2f}x less" if ratio >= 1 else f"{1 / ratio:.2f}x more"


def summary_table(designs: list[DesignResult]) -> Table:
    """Draw what lies under the waits: a row a question, a column a design."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("")
    for design in designs:
        table.add_column(design.name, justify="right", no_wrap=True)
    first = designs[0]

    def row(label: str, cells: list[str]) -> None:
        table.add_row(label, *cells)

    row(
        f"{PV_LIST}, against {first.name}",
        ["1" if d is first else factor(first.pv_wait_us_90min, d.pv_wait_us_90min) for d in designs],
    )
    row("  of it collision (holder on another superpage)", [_share(d, "collision_us") for d in designs])
    row("  of it sharing (holder on the same superpage)", [_share(d, "sharing_us") for d in designs])
    row("all locks, against " + first.name, [_all_locks(first, d) for d in designs])
    row("exits per simulated second", [f"{d.exits_per_s:,.0f}" for d in designs])
    row("faults per simulated second", [f"{d.faults_per_s:,.0f}" for d in designs])
    row("memory for locks, generations and list heads", [f"{d.pv_bytes / 1024:,.0f} KiB" for d in designs])
    return table


def _share(design: DesignResult, part: str) -> str:
    total = design.pv_wait["collision_us"] + design.pv_wait["sharing_us"]
    return f"{design.pv_wait[part] / total * 100:.1f}%" if total > 0 else "-"


def _all_locks(first: DesignResult, design: DesignResult) -> str:
    if design is first:
        return "1"
    totals = [sum(lock.wait_us_90min for lock in d.locks) for d in (first, design)]
    return factor(totals[0], totals[1])


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
        held = ", ".join(f"{pages} of {what}" for what, pages in superpage.holds[:3])
        yield (
            f"  {superpage.physical[0]:#014x}  {superpage.wait_us / total * 100:4.1f}% "
            f"(sharing {superpage.sharing_us / total * 100:.1f}%)  pages: {held}"
        )


class ComparisonView:
    """A comparison, drawn to fit: side by side where the width allows, else one design under the other."""

    def __init__(self, comparison: Comparison) -> None:
        """Draw this comparison."""
        self.comparison = comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the title, the waits, the summary and the superpages."""
        designs = self.comparison.designs
        for number, line in enumerate(title(self.comparison)):
            yield Text(line, style="bold" if number == 0 else "")
        yield ""
        table = waits_table(designs)
        if console.measure(table, options=options.update(width=10_000)).maximum <= options.max_width:
            yield table
        else:
            for design in designs:
                yield waits_table([design])
                yield ""
        yield ""
        yield summary_table(designs)
        yield ""
        for design in designs:
            for line in superpage_lines(design):
                yield Text(line, no_wrap=False)
        operations = sum(design.lock_operations for design in designs)
        yield Text(
            f"{self.comparison.wall_s:.0f} s of real time; {operations / 1e6:,.0f} million lock operations simulated"
        )


def render_comparison(comparison: Comparison) -> RenderableType:
    """Give a Rich renderable of a comparison."""
    return Group(ComparisonView(comparison))


def comparison_text(comparison: Comparison, width: int = 200) -> str:
    """Give a comparison as plain text of at most `width` columns."""
    console = Console(width=width, color_system=None, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(render_comparison(comparison))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
