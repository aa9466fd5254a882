"""`finegrain record`: record a build."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from finegrain.errors import UserError
from finegrain.report.progress import say
from finegrain.report.recording import written
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
    made = record(words, output, say)
    recording = made.recording
    save(recording, output)
    print(written(recording, output, made.why_no_files), file=sys.stderr)
    return recording.status
