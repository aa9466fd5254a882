"""`finegrain calibrate`: fit what no source tells to a measured column."""

from pathlib import Path
from typing import Annotated

import typer

from finegrain.errors import UserError
from finegrain.files import check_writable, write_text
from finegrain.report.calibration import text
from finegrain.report.progress import say
from finegrain.study.calibrate import as_json, calibrate_workload
from finegrain.study.calibration import calibration_text, read_target


def command(
    target: Annotated[Path, typer.Option(help="The measured column: a TOML file.", metavar="FILE")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the calibration to this file.", metavar="FILE"),
    ] = None,
    replications: Annotated[int, typer.Option(help="Independent runs of each point.")] = 2,
    rounds: Annotated[int, typer.Option(help="Steps at most.")] = 5,
    seconds: Annotated[float, typer.Option(help="Simulated seconds to measure in each run.")] = 0.2,
    keep: Annotated[
        Path, typer.Option(help="Keep finished runs in this folder: a fit that is stopped goes on there.")
    ] = Path(".finegrain/points"),
    json: Annotated[Path | None, typer.Option(help="Write the fit to this file.", metavar="FILE")] = None,
) -> None:
    """Fit the workload's intensity, the scale of the costs and three rates to a measured column of waits."""
    wanted = read_target(target)
    for path in (output, json):
        if path is not None:
            check_writable(path)
    if not 0.001 <= seconds <= 1000:
        raise UserError(f"{seconds:g} seconds: give 0.001 to 1000 simulated seconds to measure")
    fitted = calibrate_workload(
        wanted, keep=keep, say=say, replications=replications, rounds=rounds, seconds=seconds
    )
    print(text(fitted), end="")
    if output is not None:
        fit = {lock: (fitted.measured_us[lock], fitted.simulated_us[lock]) for lock in fitted.measured_us}
        write_text(output, calibration_text(fitted.calibration, fit))
    if json is not None:
        write_text(json, as_json(fitted))
