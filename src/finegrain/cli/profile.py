"""`finegrain profile`: read the lock profiles that real systems print."""

import sys
from typing import Annotated

import typer

from finegrain.cli.options import Quiet
from finegrain.errors import UserError
from finegrain.profile.group import BY
from finegrain.profile.read import read_file
from finegrain.report import profile as report
from finegrain.report.words import printable

app = typer.Typer(help="Read the lock profiles that real systems print.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Read the lock profiles that real systems print."""


@app.command()
def show(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A profile; FILE#LABEL for one of several; - for stdin.")
    ],
    by: Annotated[
        str,
        typer.Option(
            help="Add up by lock, mode (readers and writers apart), site or class; 'row': rows as read."
        ),
    ] = "lock",
    top: Annotated[
        int | None, typer.Option(help="Show the worst N (20; all in JSON and CSV; 0: all).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Everything that was read, as JSON.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="The table as CSV.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table as markdown.")] = False,
    quiet: Quiet = False,
) -> None:
    """Show a lock profile: LOCK_PROFILING, lockstat, lock_stat, perf lock, klockstat, finegrain's JSON.

    What kind it is shows from its content, wherever it was pasted from.
    """
    if by not in BY:
        raise UserError(f"--by {by}: not one of {', '.join(BY)}")
    if json + csv + markdown > 1:
        raise UserError("--json, --csv and --markdown exclude one another")
    if top is not None and top < 0:
        raise UserError(f"--top {top}: give 0 (all) or more")
    read = read_file(file)
    everything = json or csv
    count = (0 if everything else 20) if top is None else top
    if json or csv:
        for piece in (report.as_json if json else report.as_csv)(read, by, count):
            sys.stdout.write(piece)
        print()
    elif markdown:
        print(report.markdown_text(read, by, count, quiet=quiet))
    else:
        print(report.text(read, by, count))
    if not (json or markdown or quiet):
        for note in report.notes_of(read, by):
            print(f"note: {printable(note)}", file=sys.stderr)
