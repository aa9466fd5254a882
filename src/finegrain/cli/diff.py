"""`finegrain diff`: compare lock profiles of any kinds."""

import sys
from typing import Annotated

import typer

from finegrain.errors import UserError
from finegrain.profile.diff import diff_profiles, judge
from finegrain.profile.read import profiles_of, read_all
from finegrain.profile.rules import parse_rule
from finegrain.report import diff as report
from finegrain.report.profile import skipped_text
from finegrain.report.words import printable


def command(
    files: Annotated[
        list[str], typer.Argument(metavar="A B [C ...]", help="Profiles; FILE#LABEL for one of several.")
    ],
    span: Annotated[
        str | None,
        typer.Option(metavar="T1,T2,...", help="How long each was taken (90m,5400s): scale to the first."),
    ] = None,
    by: Annotated[str, typer.Option(help="Compare by lock, site or class.")] = "lock",
    top: Annotated[int, typer.Option(help="Show the worst N; 0 shows all.")] = 20,
    exact: Annotated[bool, typer.Option("--exact", help="Join equal names only, by no rule.")] = False,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="'rw:pmap pv list wait > +10%': exit 1 if so. Repeatable."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The tables as markdown.")] = False,
) -> None:
    """Compare lock profiles: each by its own worst waits, then joined by lock, and where the waiting went.

    A file with several profiles (designs, dumps) gives a column for each.
    """
    rules = [parse_rule(text) for text in fail_if or []]
    if by not in ("lock", "site", "class"):
        raise UserError(f"--by {by}: not one of lock, site, class")
    if json and markdown:
        raise UserError("--json and --markdown exclude one another")
    if top < 0:
        raise UserError(f"--top {top}: give 0 (all) or more")
    read = read_all(files)
    profiles = profiles_of(read)
    if len(profiles) < 2:
        raise UserError(f"{files[0]}: one profile cannot be compared; give another file")
    diff = diff_profiles(profiles, by=by, spans=span, exact=exact)
    broken = judge(diff, rules)
    if json:
        print(report.as_json(diff, broken))
    elif markdown:
        print(report.markdown_text(diff, top))
    else:
        print(report.text(diff, top))
    notes = [*report.notes_of(diff), *[note for file in read if (note := skipped_text(file))]]
    for note in notes if not json else []:
        print(f"note: {printable(note)}", file=sys.stderr)
    for rule in broken:
        print(f"failed: {printable(report.broken_text(rule))}", file=sys.stderr if json else sys.stdout)
    if broken:
        raise typer.Exit(1)
