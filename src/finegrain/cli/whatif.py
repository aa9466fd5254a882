"""`finegrain whatif`: what a finer lock would leave, without a workload."""

import sys
from typing import Annotated

import typer

from finegrain.cli.options import Quiet
from finegrain.errors import UserError
from finegrain.profile.read import profiles_of, read_all
from finegrain.profile.spans import span_s
from finegrain.profile.whatif import parse_split, whatif
from finegrain.report import whatif as report
from finegrain.report.profile import notes_of
from finegrain.report.words import printable


def command(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A profile with holds; FILE#LABEL for one of several.")
    ],
    split: Annotated[
        list[str],
        typer.Option(
            metavar="LOCK=K", help="Split LOCK into K; LOCK=NOW:K if the name is NOW locks. Repeatable."
        ),
    ],
    cpus: Annotated[
        int | None, typer.Option(help="Threads that use the locks (the profile's CPUs, if it says).")
    ] = None,
    users: Annotated[
        int | None,
        typer.Option(help="Users (jobs, processes) that would keep to a part each (every thread)."),
    ] = None,
    evidence: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="A profile of the same load, such as perf lock contention -l. Repeatable."
        ),
    ] = None,
    span: Annotated[
        str | None, typer.Option(help="How long the profile was taken, if it does not say: 90m.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The answer as JSON.")] = False,
    quiet: Quiet = False,
) -> None:
    """Estimate what splitting a lock would leave of its waiting, and which lock saturates next.

    From acquisitions and holds alone, in three cases: every user keeps to a part, use is random, all is on one part.
    'finegrain compare' simulates the real thing.
    """
    splits = [parse_split(item) for item in split]
    read, *more = read_all([file, *(evidence or [])])
    if len(read.profiles) > 1:
        names = ", ".join(profile.name for profile in read.profiles[:10])
        raise UserError(f"{file}: {len(read.profiles)} profiles in it; choose one: {names}")
    seconds = span_s(span) if span is not None else None
    others = profiles_of(more)
    answer = whatif(read.profiles[0], splits, cpus=cpus, span=seconds, users=users, others=others)
    print(report.as_json(answer) if json else report.text(answer, quiet=quiet))
    for note in notes_of(read) if not (json or quiet) else []:
        print(f"note: {printable(note)}", file=sys.stderr)
