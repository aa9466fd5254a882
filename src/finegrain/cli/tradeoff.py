"""`finegrain tradeoff`: the waiting that designs leave against the memory that they take, in one picture."""

from pathlib import Path
from typing import Annotated

import typer

from finegrain.errors import UserError
from finegrain.files import check_writable, write_bytes
from finegrain.report.tradeoff import SUFFIXES, drawn, read


def command(
    result: Annotated[
        Path | None,
        typer.Argument(
            metavar="RESULT",
            help="What 'compare --json' or 'sweep --json' wrote.  [default: the newest in .finegrain]",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where to draw it: .svg or .png.")
    ] = Path("tradeoff.svg"),
) -> None:
    """Draw PV list waiting against bytes per GB of RAM, a point a design; the best of them are joined."""
    suffix = output.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{output}: a picture is drawn as {' or '.join(SUFFIXES)}")
    check_writable(output)
    write_bytes(output, drawn(read(result or _newest()), suffix))
    print(f"wrote {output}")


def _newest() -> Path:
    found = [path for path in Path(".finegrain").glob("*.json") if path.is_file()]
    if not found:
        raise UserError("no result here: make one with 'finegrain compare --json out.json' and name it")
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name))
