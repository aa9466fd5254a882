"""`finegrain diff`: compare lock profiles of any kinds."""

import sys
from typing import Annotated

import typer

from finegrain.cli.options import Quiet
from finegrain.errors import UserError
from finegrain.profile.diff import BY, diff_profiles, judge
from finegrain.profile.read import profiles_of, read_all
from finegrain.profile.rules import METRICS, parse_rule
from finegrain.report import diff as report
from finegrain.report.profile import limits_of, skipped_text
from finegrain.report.words import printable


def command(
    files: Annotated[
        list[str], typer.Argument(metavar="A B [C ...]", help="Profiles; FILE#LABEL for one of several.")
    ],
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="B", help="A run of the other side, the FILES being runs of one. Repeatable."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="FIGURE",
            help=f"Compare by {', '.join(METRICS)} (wait, or what all files tell).",
        ),
    ] = None,
    span: Annotated[
        str | None,
        typer.Option(metavar="T1,T2,...", help="How long each was taken (90m,5400s): scale to the first."),
    ] = None,
    by: Annotated[str, typer.Option(help=f"Compare by {', '.join(BY)}.")] = "lock",
    top: Annotated[int, typer.Option(help="Show the worst N; 0 shows all.")] = 20,
    same: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="Two names of one lock, or of one caller. Repeatable."),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Join equal names only, by no rule.")] = False,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="'rw:pmap pv list wait > +10%': exit 1 if so. Repeatable."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The tables as markdown.")] = False,
    quiet: Quiet = False,
) -> None:
    """Compare lock profiles: each by its own worst waits, then joined by lock, and where the waiting went.

    A file with several profiles (designs, dumps) gives a column for each. With `--against B1 --against B2`, the
    FILES are runs of one side and these of the other: means are compared, and how far runs differ is shown.
    """
    rules = [parse_rule(text) for text in fail_if or []]
    if by not in BY:
        raise UserError(f"--by {by}: not one of {', '.join(BY)}")
    if json and markdown:
        raise UserError("--json and --markdown exclude one another")
    if top < 0:
        raise UserError(f"--top {top}: give 0 (all) or more")
    read = read_all([*files, *(against or [])])
    ours, theirs = profiles_of(read[: len(files)]), profiles_of(read[len(files) :])
    if len(ours) + len(theirs) < 2:
        raise UserError(f"{files[0]}: one profile cannot be compared; give another file")
    diff = diff_profiles(ours, theirs, by=by, metric=metric, spans=span, exact=exact, same=same or [])
    broken = judge(diff, rules)
    if json:
        for piece in report.as_json(diff, broken):
            sys.stdout.write(piece)
        print()
    elif markdown:
        print(report.markdown_text(diff, top, quiet=quiet))
    else:
        print(report.text(diff, top))
    notes = [] if markdown else report.notes_of(diff, top)
    if len({profile.format for profile in diff.profiles}) > 1:  # what a figure is differs with the format
        notes += dict.fromkeys(note for file in read for note in limits_of(file))
    notes += [note for file in read if (note := skipped_text(file))]
    for note in notes if not (json or quiet) else []:
        print(f"note: {printable(note)}", file=sys.stderr)
    for rule in broken:
        print(f"failed: {printable(report.broken_text(rule))}", file=sys.stderr if json else sys.stdout)
    if broken:
        raise typer.Exit(1)
