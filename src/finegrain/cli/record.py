"""`finegrain record`: record a build."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from finegrain.errors import UserError
from finegrain.workload.perf import record
from finegrain.workload.recording import SUFFIX, save


def command(
    words: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="the build, after --")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help=f"the recording to write (*{SUFFIX})")
    ],
) -> int:
    """Run a build under perf and record which pages its processes touch, when and how.

    With root's rights it records tracepoints; without, software events. The exit status is the build's
    own, and the recording is kept when the build fails or is interrupted.

    Example: finegrain record -o my.fgrec -- make -j8
    """
    # found out before the build runs, not after
    if output.exists() and not output.is_file():
        raise UserError(f"cannot write {output}: it is not a file; choose another output file")
    console = Console(stderr=True)

    def say(text: str) -> None:
        if console.is_terminal:
            console.print(f"finegrain: {text}", style="dim", highlight=False)

    recording = record(words, output, say)
    save(recording, output)
    seconds = recording.duration_ns / 1e9
    print(
        f"finegrain: wrote {output}: {len(recording.events):,} events of {recording.processes:,} processes"
        f" in {seconds:.1f} s ({recording.kind}); look at it with: finegrain workload show {output}",
        file=sys.stderr,
    )
    if recording.kind == "software":
        print(
            "finegrain: tracepoints are not to be had here, so how pages were touched and what was unmapped is"
            " inferred; for them, be root and mount -t tracefs nodev /sys/kernel/tracing",
            file=sys.stderr,
        )
    if recording.lost:
        print(
            f"finegrain: perf lost {recording.lost:,} records, so the replay misses some of what happened;"
            " record again with fewer jobs or on a faster disk",
            file=sys.stderr,
        )
    return recording.status
