"""Options that commands share, and what they mean to a study."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from finegrain.design import DEFAULT_DESIGNS
from finegrain.errors import UserError
from finegrain.machine.costs import CostModel, parse_costs
from finegrain.options import KernelOptions
from finegrain.study.calibration import read_calibration

DEFAULT_DESIGNS_TEXT: Final = ",".join(DEFAULT_DESIGNS)
Designs = Annotated[str, typer.Option(help="Designs to compare, separated by commas.")]
Shape = Annotated[str | None, typer.Option(help="Exact shape: SOCKETSxCORESxTHREADS.  [default: 2x26x2]")]
Jobs = Annotated[int | None, typer.Option(help="Builders.  [default: one a CPU]")]
Workload = Annotated[
    str,
    typer.Option(help="poudriere, a bundled recording, a file, or several with shares: NAME=0.4,NAME=0.6."),
]
Images = Annotated[
    str | None,
    typer.Option(
        help="Copies of files: private: one a builder; shared: one for all; mixed: as jails have.  "
        "[default: mixed for poudriere, else private]"
    ),
]
FreeMemory = Annotated[
    str, typer.Option(help="used: as on a machine in long use, its pages in no order; fresh: as after boot.")
]
Seconds = Annotated[
    float | None,
    typer.Option(help="Simulated seconds to measure in each run.  [default: 0.04; on many CPUs less]"),
]
Warmup = Annotated[float, typer.Option(help="Simulated seconds before that.")]
Replications = Annotated[int, typer.Option(help="Independent runs of each design.")]
Precision = Annotated[
    str | None,
    typer.Option(
        help="Run on until the 95% intervals of the first design's worst lock and of the PV list ratios are this "
        "narrow, such as 5%; at most 20 simulated seconds a design. Ctrl-C shows what is finished.",
        metavar="PART",
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of the first run.")]
Cost = Annotated[
    list[str] | None,
    typer.Option(help="A cost of the machine that differs, such as rmw_hit_cycles=23.", metavar="NAME=VALUE"),
]
Cow = Annotated[
    str, typer.Option(help="held or unlocked: the backing object while copy-on-write copies a page.")
]
Calibration = Annotated[
    str,
    typer.Option(help="What was fitted to a measured column: head, a file, or none.", metavar="FILE|none"),
]
Force = Annotated[bool, typer.Option("--force", help="Apply a calibration that was made for something else.")]
Listings = Annotated[float, typer.Option(help="How often a second somebody lists all processes, as ps does.")]
Probe = Annotated[
    str,
    typer.Option(
        help="on: locks are profiled as the measured ones were, which takes time; off: for nothing."
    ),
]
Json = Annotated[Path | None, typer.Option(help="Write everything measured to this file.", metavar="FILE")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No notes: the answer alone.")]


def parse_precision(text: str) -> float:
    """Read a part of a value: `5%` or `0.05`."""
    number, percent = text.removesuffix("%"), text.endswith("%")
    try:
        return float(number) / (100 if percent else 1)
    except ValueError:
        raise UserError(f"--precision {text!r}: give a part such as 5% or 0.05") from None


def settings(
    *,
    jobs: int | None,
    workload: str,
    images: str | None,
    free_memory: str,
    seconds: float | None,
    warmup: float,
    replications: int,
    precision: str | None,
    seed: int,
    cost: list[str] | None,
    cow: str,
    listings: float,
    probe: str,
    calibration: str,
    force: bool,
) -> dict[str, Any]:
    """Give the arguments of `finegrain.compare` that these options stand for; UserError for what cannot be."""
    scale = 1.0 if calibration == "none" else read_calibration(calibration).cost_scale
    costs = parse_costs(cost or [], CostModel().scaled(scale))
    if probe not in ("on", "off"):
        raise UserError(f"--probe {probe!r}: give on or off")
    if probe == "off":
        if any(text.startswith("probe=") for text in cost or []):
            raise UserError("--probe off and --cost probe both say what profiling costs; give one of them")
        costs = replace(costs, probe=0.0)
    return {
        "jobs": jobs,
        "workload": workload,
        "images": images,
        "free_memory": free_memory,
        "seconds": seconds,
        "warmup": warmup,
        "replications": replications,
        "precision": None if precision is None else parse_precision(precision),
        "seed": seed,
        "costs": costs,
        "calibration": calibration,
        "force": force,
        "options": KernelOptions(cow=cow, listings_per_s=listings),
    }
