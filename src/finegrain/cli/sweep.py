"""`finegrain sweep`: many runs, on this computer or a cluster, resumable."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from finegrain.cli import options
from finegrain.design import parse_designs
from finegrain.errors import UserError
from finegrain.files import check_writable, write_text
from finegrain.machine.shape import parse_shape
from finegrain.report import sweep as report
from finegrain.report.progress import bars, on_terminal, say
from finegrain.study import experiment
from finegrain.study.clusters import parse_backend
from finegrain.study.defaults import DEFAULT_REPLICATIONS, DEFAULT_WARMUP, DEFAULT_WORKLOAD
from finegrain.study.points import Points
from finegrain.study.sweep import SweepResult, listed_sweep, locks_sweep, steps

OVER = ("locks", "cpus", "images", "workloads", "cost")
KEEP = Path(".finegrain/points")


def command(
    over: Annotated[str, typer.Argument(metavar="WHAT", help=f"What to sweep over: {', '.join(OVER)}.")],
    values: Annotated[
        str | None,
        typer.Argument(metavar="VALUES", help="Its values, separated by commas; of a cost NAME=VALUE,VALUE."),
    ] = None,
    first: Annotated[int, typer.Option("--from", help="locks: the smallest number; it doubles.")] = 256,
    last: Annotated[int, typer.Option("--to", help="locks: the largest number.")] = 65536,
    designs: Annotated[
        str | None,
        typer.Option(
            help="Designs to compare.  [default: for locks superpage, else head,superpage,superpage+batch]"
        ),
    ] = None,
    shape: options.Shape = None,
    jobs: options.Jobs = None,
    workload: options.Workload = DEFAULT_WORKLOAD,
    images: options.Images = None,
    free_memory: options.FreeMemory = "used",
    seconds: options.Seconds = None,
    warmup: options.Warmup = DEFAULT_WARMUP,
    replications: options.Replications = DEFAULT_REPLICATIONS,
    precision: options.Precision = None,
    seed: options.Seed = 1,
    cost: options.Cost = None,
    cow: options.Cow = "held",
    listings: options.Listings = 0.0,
    probe: options.Probe = "on",
    calibration: options.Calibration = "none",
    force: options.Force = False,
    keep: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where finished runs are kept, to be found again.")
    ] = KEEP,
    no_keep: Annotated[bool, typer.Option("--no-keep", help="Keep none, and look for none.")] = False,
    backend: Annotated[
        str, typer.Option(help="local: this computer's cores; dask or ray: a cluster.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            help="The cluster's scheduler, such as tcp://host:8786.  [default: one on this computer]"
        ),
    ] = None,
    json: options.Json = None,
) -> None:
    """Compare designs again and again while one thing changes: hashed locks, CPUs, images, workloads or a cost.

    Runs that are finished are kept: a sweep that was stopped goes on where it was, one that is extended makes only what
    is new, and several may share the folder.
    """
    if over not in OVER:
        raise UserError(f"sweep {over!r}: there are {', '.join(OVER)}")
    if over == "locks" and values is not None:
        raise UserError(f"sweep locks {values!r}: give --from and --to")
    common = options.settings(
        jobs=jobs, workload=workload, images=images, free_memory=free_memory, seconds=seconds, warmup=warmup,
        replications=replications, precision=precision, seed=seed, cost=cost, cow=cow, listings=listings, probe=probe,
        calibration=calibration, force=force,
    )  # fmt: skip
    if shape is not None:
        if over == "cpus":
            raise UserError("--shape and a sweep over cpus both say how many CPUs; give one of them")
        common["shape"] = parse_shape(shape)
    chosen = parse_designs(designs) if designs is not None else None
    sweep = (
        locks_sweep(first, last, chosen) if over == "locks" else listed_sweep(over, values, common["costs"])
    )
    common["designs"] = chosen or parse_designs(options.DEFAULT_DESIGNS_TEXT)
    if json is not None:
        check_writable(json)
    common["cluster"] = parse_backend(backend, address)
    points = None if no_keep else Points(keep)
    common["points"] = points
    common["progress"] = bars if on_terminal() else None
    done = SweepResult(sweep.over, [], [])
    try:
        for done in steps(sweep, lambda **changes: experiment.compare(**common | changes)):
            if json is not None:
                write_text(json, report.as_json(done))
            if len(sweep.steps) > 1:
                say(f"{len(done.values)} of {len(sweep.steps)} done: {done.over} {done.values[-1]}")
    finally:
        if done.comparisons:
            console = Console()
            if console.is_terminal:
                console.print(report.rich(done))
            else:
                print(report.text(done), end="", flush=True)
        if points is not None:
            _say_kept(points)


def _say_kept(points: Points) -> None:
    if points.failed is not None:
        raise UserError(f"finished runs were not kept: {points.failed}; --keep names another folder")
    count, size = points.size()
    say(f"{points.found} runs were kept before; {points.folder} has {count} of {size / 2**20:.1f} MiB")
