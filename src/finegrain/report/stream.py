"""JSON and CSV in pieces, so that a long table is never held as text: at any time some thousands of rows are."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from finegrain.report.table import Column, Table, as_csv
from finegrain.report.words import Cell

_AT_ONCE = 4096


def json_pieces(value: Any, depth: int = 0) -> Iterator[str]:
    """JSON of a value in which any iterator stands for a list, an item a line; objects have a member a line."""
    if isinstance(value, dict) and value:
        between = "{"
        for key, member in value.items():
            yield f"{between}\n{' ' * (depth + 1)}{json.dumps(key)}: "
            yield from json_pieces(member, depth + 1)
            between = ","
        yield f"\n{' ' * depth}}}"
    elif isinstance(value, Iterator):
        between, margin = "[", f"\n{' ' * (depth + 1)}"
        for item in value:
            yield f"{between}{margin}"
            yield from json_pieces(item, depth + 1)
            between = ","
        yield "[]" if between == "[" else f"\n{' ' * depth}]"
    elif isinstance(value, Lines):
        yield from _lines(value.items, depth)
    else:
        yield json.dumps(value, allow_nan=False)


class Lines:
    """Items without end, each written on a line of its own and not taken apart."""

    def __init__(self, items: Iterator[Any]) -> None:
        """`items` are read once."""
        self.items = items


def _lines(items: Iterator[Any], depth: int) -> Iterator[str]:
    margin, between = f"\n{' ' * (depth + 1)}", "["
    while chunk := list(islice(items, _AT_ONCE)):
        yield between + ",".join(f"{margin}{json.dumps(item, allow_nan=False)}" for item in chunk)
        between = ","
    yield "[]" if between == "[" else f"\n{' ' * depth}]"


def csv_pieces(headings: list[str], rows: Iterator[list[Cell]]) -> Iterator[str]:
    """A CSV table, its lines ended but for the last."""
    columns = [Column(heading) for heading in headings]
    yield as_csv(Table(columns, []))
    while chunk := list(islice(rows, _AT_ONCE)):
        yield "\n" + as_csv(Table(columns, chunk)).split("\n", 1)[1]
