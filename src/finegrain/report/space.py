"""What designs cost in bytes, for people and for programs."""

import json
from dataclasses import asdict

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from finegrain.report.table import Column, Table
from finegrain.report.terminal import as_rich, plain
from finegrain.report.words import Cell, plural, printable
from finegrain.study.space import ANY_DOMAIN, SCHEMA, Saving, Space

KIB, GIB = 1 << 10, 1 << 30
DOMAINS_ABREAST = 4
LEGEND = (
    "each: bytes for a superpage, in its struct or list head; reserved: KiB of address space; memory: KiB, of them"
    " pointers, and lost to rounding and holes; per GB: bytes for 2^30 bytes of RAM"
)


def size(bytes_: float) -> str:
    """Give bytes in the largest unit that leaves at least one: KiB, MiB, GiB, TiB."""
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if abs(bytes_) >= 1 << shift:
            return f"{bytes_ / (1 << shift):,.2f} {unit}"
    return f"{bytes_:,.0f} B"


def title(space: Space) -> list[str]:
    """Say whose memory it is."""
    domains = plural(len(space.domains), "domain")
    return [
        f"{size(space.ram)} of memory in {plural(len(space.segments), 'segment')} and {domains}, "
        f"up to {space.span:#x}; {plural(space.superpages, 'superpage')} of 2 MB hold some of it",
        f"read from {printable(space.source)} ({space.form})",
    ]


def designs_table(space: Space) -> Table:
    """Draw a row a design."""
    columns = [
        Column("design", left=True),
        *(
            Column(heading)
            for heading in ("each", "reserved", "memory", "pointers", "lost", "per GB", "% of RAM")
        ),
    ]
    rows: list[list[Cell]] = [
        [
            design.name,
            design.struct_bytes,
            design.reserved / KIB,
            design.populated / KIB,
            design.pointers / KIB if design.pointers else None,
            design.lost / KIB,
            design.per_gb,
            f"{design.share * 100:.5f}",
        ]
        for design in space.designs
    ]
    return Table(columns, rows, gap=1)


def domains_tables(space: Space) -> list[Table]:
    """Draw a row a design, a column a domain; few enough columns to a table for 80 columns of a terminal."""
    numbers = sorted({number for design in space.designs for number in design.by_domain} - {ANY_DOMAIN})
    domains = [*numbers, ANY_DOMAIN]
    tables = []
    for first in range(0, len(domains), DOMAINS_ABREAST):
        shown = domains[first : first + DOMAINS_ABREAST]
        columns = [
            Column("memory taken in", left=True),
            *(Column("any domain" if number == ANY_DOMAIN else f"domain {number}") for number in shown),
        ]
        rows: list[list[Cell]] = [
            [design.name, *(size(design.by_domain[n]) if n in design.by_domain else "-" for n in shown)]
            for design in space.designs
        ]
        tables.append(Table(columns, rows))
    return tables


def verdict(space: Space) -> list[str]:
    """Say what each way to shrink the cost saves."""
    return [_said(saving, space.ram) for saving in space.savings]


def _said(saving: Saving, ram: int) -> str:
    way = "a sparse table instead of pointers" if saving.way == "table" else "a smaller lock"
    amount = "saves" if saving.saved >= 0 else "costs"
    return (
        f"{way}: {saving.after} {amount} {size(abs(saving.saved))} against {saving.before} "
        f"({abs(saving.saved) / (ram / GIB):,.0f} bytes per GB of RAM)"
    )


class _View:
    def __init__(self, space: Space) -> None:
        self.space = space

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for number, line in enumerate(title(self.space)):
            yield Text(line, style="bold" if number == 0 else "")
        for note in self.space.notes:
            yield Text(f"  note: {printable(note)}")
        yield ""
        yield as_rich(designs_table(self.space))
        yield Text(LEGEND)
        yield ""
        for table in domains_tables(self.space):
            yield as_rich(table)
            yield ""
        for line in verdict(self.space):
            yield Text(line)


def rich(space: Space) -> RenderableType:
    """Give a Rich renderable."""
    return _View(space)


def text(space: Space, width: int = 200) -> str:
    """Give plain text of at most `width` columns."""
    return plain(rich(space), width)


def as_json(space: Space) -> str:
    """Give everything as JSON; bytes, and the names of the fields of `finegrain.study.space`."""
    return json.dumps({"schema": SCHEMA, **asdict(space)}, indent=1) + "\n"
