"""`finegrain compare`: designs side by side on a recorded build."""

from typing import Annotated

import typer
from rich.console import Console

import finegrain
from finegrain.cli import options
from finegrain.design import parse_designs
from finegrain.errors import UserError
from finegrain.files import check_writable, write_text
from finegrain.machine.shape import parse_shape
from finegrain.report import result as report
from finegrain.report.sweep import as_json
from finegrain.study.defaults import DEFAULT_REPLICATIONS, DEFAULT_WARMUP, DEFAULT_WORKLOAD
from finegrain.study.sweep import Step, Sweep, listed_sweep, steps


def command(
    designs: options.Designs = options.DEFAULT_DESIGNS_TEXT,
    cpus: Annotated[
        str | None, typer.Option(help="CPUs of the machine: one number, or several (one run each).")
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
    counts: Annotated[
        bool, typer.Option("--counts", help="Also show what the kernel counted: faults, promotions, ...")
    ] = False,
    json: options.Json = None,
) -> None:
    """Replay a recorded build under several designs of the PV list lock and print the waits on every lock."""
    chosen = parse_designs(designs)
    if shape is not None and cpus is not None:
        raise UserError("--shape and --cpus both say how many CPUs; give one of them")
    common = options.settings(
        jobs=jobs, workload=workload, images=images, free_memory=free_memory, seconds=seconds, warmup=warmup,
        replications=replications, precision=precision, seed=seed, cost=cost, cow=cow, listings=listings, probe=probe,
        calibration=calibration, force=force,
    )  # fmt: skip
    if shape is not None:
        sweep = Sweep("cpus", [Step("", {"shape": parse_shape(shape)})])
    else:
        sweep = listed_sweep("cpus", cpus or "104", common["costs"])
    if json is not None:
        check_writable(json)
    console = Console()
    for done in steps(sweep, lambda **changes: finegrain.compare(chosen, **common | changes)):
        if len(done.comparisons) > 1:
            print()
        if console.is_terminal:
            console.print(report.rich(done.comparisons[-1], counts=counts))
        else:
            print(report.text(done.comparisons[-1], counts=counts), end="", flush=True)
        if json is not None:  # size by size, so that what is finished is not lost
            write_text(json, as_json(done) if len(sweep.steps) > 1 else report.as_json(done.comparisons[0]))
