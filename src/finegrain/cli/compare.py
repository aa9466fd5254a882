"""`finegrain compare`: designs side by side on a recorded build."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import finegrain
from finegrain.design import DEFAULT_DESIGNS, parse_designs
from finegrain.errors import UserError
from finegrain.files import check_writable, write_text
from finegrain.machine.costs import parse_costs
from finegrain.machine.shape import parse_shape, shape_of
from finegrain.options import KernelOptions
from finegrain.report import result as report
from finegrain.study.defaults import DEFAULT_REPLICATIONS, DEFAULT_WARMUP, DEFAULT_WORKLOAD


def parse_cpus(text: str) -> list[int]:
    """Read a list of CPU counts: `16,104,512`."""
    try:
        return [int(item) for item in text.split(",")]
    except ValueError:
        raise UserError(f"--cpus {text!r}: give one number, or several separated by commas") from None


def parse_precision(text: str) -> float:
    """Read a part of a value: `5%` or `0.05`."""
    number, percent = text.removesuffix("%"), text.endswith("%")
    try:
        return float(number) / (100 if percent else 1)
    except ValueError:
        raise UserError(f"--precision {text!r}: give a part such as 5% or 0.05") from None


def command(
    designs: Annotated[str, typer.Option(help="Designs to compare, separated by commas.")] = ",".join(
        DEFAULT_DESIGNS
    ),
    cpus: Annotated[
        str | None, typer.Option(help="CPUs of the machine: one number, or several (one run each).")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(help="Exact shape: SOCKETSxCORESxTHREADS.  [default: 2x26x2]")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Builders.  [default: one a CPU]")] = None,
    workload: Annotated[str, typer.Option(help="A bundled recording's name, or a file.")] = DEFAULT_WORKLOAD,
    images: Annotated[
        str, typer.Option(help="private: each builder's own copy of every file; shared: one.")
    ] = "private",
    free_memory: Annotated[
        str,
        typer.Option(help="used: as on a machine in long use, its pages in no order; fresh: as after boot."),
    ] = "used",
    seconds: Annotated[
        float | None,
        typer.Option(help="Simulated seconds to measure in each run.  [default: 0.04; on many CPUs less]"),
    ] = None,
    warmup: Annotated[float, typer.Option(help="Simulated seconds before that.")] = DEFAULT_WARMUP,
    replications: Annotated[
        int, typer.Option(help="Independent runs of each design.")
    ] = DEFAULT_REPLICATIONS,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Run on until the 95% intervals of the first design's worst lock and of the PV list ratios are this "
            "narrow, such as 5%; at most 20 simulated seconds a design. Ctrl-C shows what is finished.",
            metavar="PART",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first run.")] = 1,
    cost: Annotated[
        list[str] | None,
        typer.Option(
            help="A cost of the machine that differs, such as rmw_hit_cycles=23.", metavar="NAME=VALUE"
        ),
    ] = None,
    cow: Annotated[
        str,
        typer.Option(help="held or unlocked: the backing object while copy-on-write copies a page."),
    ] = "held",
    listings: Annotated[
        float, typer.Option(help="How often a second somebody lists all processes, as ps does.")
    ] = 0.0,
    probe: Annotated[
        str,
        typer.Option(
            help="on: locks are profiled as the measured ones were, which takes time; off: for nothing."
        ),
    ] = "on",
    counts: Annotated[
        bool, typer.Option("--counts", help="Also show what the kernel counted: faults, promotions, ...")
    ] = False,
    json: Annotated[
        str | None, typer.Option(help="Write everything measured to this file.", metavar="FILE")
    ] = None,
) -> None:
    """Replay a recorded build under several designs of the PV list lock and print the waits on every lock."""
    chosen = parse_designs(designs)
    if shape is not None and cpus is not None:
        raise UserError("--shape and --cpus both say how many CPUs; give one of them")
    shapes = [parse_shape(shape)] if shape is not None else [shape_of(n) for n in parse_cpus(cpus or "104")]
    costs = parse_costs(cost or [])
    options = KernelOptions(cow=cow, listings_per_s=listings)
    if probe not in ("on", "off"):
        raise UserError(f"--probe {probe!r}: give on or off")
    if probe == "off":
        if any(text.startswith("probe=") for text in cost or []):
            raise UserError("--probe off and --cost probe both say what profiling costs; give one of them")
        costs = replace(costs, probe=0.0)
    part = None if precision is None else parse_precision(precision)
    if json is not None:
        check_writable(Path(json))
    console = Console()
    results = []
    for number, one in enumerate(shapes):
        result = finegrain.compare(
            chosen,
            shape=one,
            jobs=jobs,
            workload=workload,
            images=images,
            free_memory=free_memory,
            seconds=seconds,
            warmup=warmup,
            replications=replications,
            precision=part,
            seed=seed,
            costs=costs,
            options=options,
        )
        results.append(result)
        if number:
            print()
        if console.is_terminal:
            console.print(report.rich(result, counts=counts))
        else:
            print(report.text(result, counts=counts), end="")
    if json is not None:
        write_text(Path(json), report.as_json(results))
