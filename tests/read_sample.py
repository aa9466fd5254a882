"""Reads samples of profiles: small, written by hand after each format's documentation, as people paste them."""

import io
from typing import Any

from finegrain.profile.read import File, read_stream


def read(text: str | bytes) -> File:
    return read_stream(
        io.BufferedReader(io.BytesIO(text.encode() if isinstance(text, str) else text)), "sample"
    )


def rows(text: str, *fields: str) -> list[tuple[Any, ...]]:
    """These fields of every row of every profile in the text."""
    return [tuple(row.get(f) for f in fields) for p in read(text).profiles for row in p.table.to_dicts()]
