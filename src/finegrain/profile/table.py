"""The one table that every format becomes: a row a lock, or a lock at an acquisition point.

Times are microseconds (float, which holds nanoseconds exactly up to three months), counts are whole
numbers, and null means that the format does not say: never zero.
"""

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from finegrain.errors import UserError

# A profile's rows live in memory, about 300 bytes each; this many is more than any kernel has.
MAX_ROWS = 4_000_000
_CHUNK = 1 << 16

# Columns that every table has, in this order.
CORE: dict[str, pl.DataType] = {
    "lock_class": pl.String(),  # rw, sleep mutex, spinlock ...
    "lock": pl.String(),  # the lock's name
    "site": pl.String(),  # where it was acquired: a source line, or a function and an offset
    "stack": pl.List(pl.String()),  # callers, innermost first
    "role": pl.String(),  # what a row stands for, see ROLES
    "event": pl.String(),  # what was measured, as the format calls it
    "mode": pl.String(),  # read or write
    "count": pl.Int64(),  # acquisitions
    "contended": pl.Int64(),  # acquisitions that had to wait
    "hold_count": pl.Int64(),  # holds measured, where they are counted apart from acquisitions
    "wait_us": pl.Float64(),
    "wait_max_us": pl.Float64(),
    "wait_avg_us": pl.Float64(),  # as the format prints it: of an acquisition, or of a wait
    "wait_min_us": pl.Float64(),
    "hold_us": pl.Float64(),
    "hold_max_us": pl.Float64(),
    "hold_avg_us": pl.Float64(),
    "hold_min_us": pl.Float64(),
    "line": pl.Int64(),  # where in the file
}

# Rows of these roles say where the waits of another row arose, or are no waits at all: totals leave them out.
ROLES = ("lock", "site", "task", "owner", "cgroup", "waiter", "holder", "point", "sample", "inclusive")
DETAIL = (
    "waiter",
    "holder",
    "point",
    "sample",
    "inclusive",
)  # a point: a waiter's or a holder's, not told which

# Between the items of a list; no text that was read holds it, for control characters are dropped.
BETWEEN = "\x1f"

MAX_COUNT = (1 << 63) - 1


@dataclass(slots=True)
class Profile:
    """One lock profile: one dump of a file, or one design of a comparison.

    `label` tells it from the others of its file, `title` is the line of text that stood above it,
    `span_s` how long it was taken (None where the format does not say), `derived` the columns that
    were computed from others because the format prints no such column, and how.
    """

    source: str
    format: str
    system: str
    table: pl.DataFrame
    label: str | None = None
    title: str | None = None
    span_s: float | None = None
    cpus: int | None = None
    derived: dict[str, str] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How a command addresses this profile: FILE, or FILE#LABEL."""
        return self.source if self.label is None else f"{self.source}#{self.label}"


def _series(name: str, values: Any, dtype: pl.DataType) -> pl.Series:
    """A column; lists come as text with BETWEEN between, which is many times faster than lists."""
    if not isinstance(dtype, pl.List):
        return pl.Series(name, values, dtype=dtype)
    return pl.Series(name, values, dtype=pl.String()).str.split(BETWEEN).cast(dtype)


class Builder:
    """Collects the rows of one profile, a tuple a row in the order of `fields`; missing columns are null.

    A list is given as a string, its items joined by BETWEEN, or None.
    """

    def __init__(self, fields: tuple[str, ...], extra: dict[str, pl.DataType] | None = None) -> None:
        """`extra` are columns that only this format has."""
        self.fields = fields
        self.types = CORE | (extra or {})
        self.rows: list[tuple[Any, ...]] = []
        self._chunks: list[pl.DataFrame] = []
        self._flushed = 0

    def __len__(self) -> int:
        """Rows so far."""
        return self._flushed + len(self.rows)

    def add(self, row: tuple[Any, ...]) -> None:
        """Add one row; raises UserError past MAX_ROWS rows."""
        self.rows.append(row)
        if len(self.rows) >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        self._flushed += len(self.rows)
        if self._flushed > MAX_ROWS:
            raise UserError(f"more than {MAX_ROWS:,} rows in one profile; give a part of the file")
        columns = dict(zip(self.fields, zip(*self.rows, strict=True), strict=True)) if self.rows else {}
        height = len(self.rows)
        self._chunks.append(
            pl.DataFrame(
                [
                    _series(name, columns[name], dtype)
                    if name in columns
                    else pl.Series(name, [None], dtype=dtype).new_from_index(0, height)
                    for name, dtype in self.types.items()
                ]
            )
        )
        self.rows = []

    def finish(self) -> pl.DataFrame:
        """The table."""
        self._flush()
        return pl.concat(self._chunks) if len(self._chunks) > 1 else self._chunks[0]
