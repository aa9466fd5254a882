"""`finegrain workload`: look at recordings."""

from typing import Annotated

import typer

from finegrain.report import recording as report
from finegrain.workload.recording import bundled, load
from finegrain.workload.summary import summarize

app = typer.Typer(help="Look at recordings of builds.", no_args_is_help=True)


@app.command()
def show(
    recording: Annotated[str, typer.Argument(metavar="FILE|NAME", help="a recording, or a bundled one")],
) -> None:
    """Say what is in a recording."""
    loaded = load(recording)
    print(report.text(loaded, summarize(loaded)))


@app.command("list")
def list_() -> None:
    """List the recordings that come with finegrain."""
    print(report.listing({path: load(name) for name, path in bundled().items()}))
