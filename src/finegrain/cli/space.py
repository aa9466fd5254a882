"""`finegrain space`: what each design of the PV list lock costs in bytes on a machine's real memory."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from finegrain.design import parse_designs
from finegrain.files import check_writable, write_text
from finegrain.memorymap.own import read_own
from finegrain.memorymap.read import read_file
from finegrain.report import space as report
from finegrain.study.space import DEFAULT_DESIGNS, space


def command(
    memory_map: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A boot log, sysctl vm.phys_segs, /proc/iomem, ...; - for standard input.  [default: this machine's]",
        ),
    ] = None,
    designs: Annotated[str, typer.Option(help="Designs to count, separated by commas.")] = ",".join(
        DEFAULT_DESIGNS
    ),
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write everything as JSON; - for standard output.")
    ] = None,
) -> None:
    """Count the memory that designs take for locks, generations, list heads and pointers.

    Reads the memory map of a machine as FreeBSD or Linux print it; docs/space.md lists the forms.
    """
    chosen = parse_designs(designs)
    if json is not None and str(json) != "-":
        check_writable(json)
    counted = space(read_own() if memory_map is None else read_file(memory_map), chosen)
    if json is not None and str(json) == "-":
        print(report.as_json(counted), end="")
        return
    if json is not None:
        write_text(json, report.as_json(counted))
    Console(highlight=False).print(report.rich(counted))
