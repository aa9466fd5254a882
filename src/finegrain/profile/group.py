"""Add up a profile's rows by lock, by acquisition point or by class."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import polars as pl

from finegrain.profile.names import full_name
from finegrain.profile.table import DETAIL, Profile

BY = ("lock", "mode", "site", "class", "row")

SUMS = ("count", "contended", "wait_us", "hold_us")
LONGEST = ("wait_max_us", "hold_max_us")
MEANS = ("wait_avg_us", "hold_avg_us")
FIGURES = (*SUMS, *LONGEST, *MEANS)


class Key(NamedTuple):
    """What tells a row of a grouped profile from the others; None is a part that is not told, or not asked for."""

    lock_class: str | None = None
    lock: str | None = None
    site: str | None = None
    mode: str | None = None

    @property
    def name(self) -> str:
        """What the row is called: class:lock, or class:lock at site, and (mode); what is not told is left out."""
        if self.site is None:
            name = full_name(self.lock_class, self.lock)
        elif self.lock is None and self.lock_class is None:
            name = self.site
        else:
            name = f"{full_name(self.lock_class, self.lock)} at {self.site}"
        return name if self.mode is None else f"{name} ({self.mode})"


@dataclass(slots=True)
class Grouped:
    """A profile added up: `table` has name, the parts of a Key and FIGURES, worst wait first.

    `what` is what a row is, in a word: lock, class, caller ...; `telling` are the columns of `table` that tell rows
    as they were read apart, where they were not added up.
    """

    by: str
    table: pl.DataFrame
    notes: list[str]
    what: str = "lock"
    telling: tuple[str, ...] = ()


def _added(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Sums and maxima by `keys`; a sum is null, not 0, when nothing was told.

    Grouping by numbers that stand for the keys takes less than half the memory that their text does.
    """
    sums = (*SUMS, "hold_count")
    numbered = rows.select(*keys, *sums, *LONGEST, pl.struct(keys).rank("dense").alias("number"))
    added = numbered.group_by("number").agg(
        *[pl.col(name).first() for name in keys],
        *[pl.col(name).sum() for name in sums],
        *[pl.col(name).count().alias(f"{name} told") for name in sums],
        *[pl.col(name).max() for name in LONGEST],
    )
    return added.sort("number").select(
        *keys,
        *[
            pl.when(pl.col(f"{name} told") > 0).then(
                pl.col(name).round(6) if name.endswith("_us") else pl.col(name)
            )
            for name in sums
        ],
        *LONGEST,
    )


_WHAT = {
    "site": "caller",
    "task": "thread",
    "owner": "owner",
    "cgroup": "cgroup",
    "sample": "place",
    "inclusive": "caller",
}
_ALONE = {
    "waiter": "the rows of the locks are not in it: these are the points of their waiters",
    "holder": "the rows of the locks are not in it: these are the points of their holders",
    "inclusive": "counts are inclusive: a row holds those of the functions that it called",
    "sample": "no locks are in it: rows are samples of where the CPUs were",
}
_TELLING = ("role", "event", "mode", "pid", "address")


def _rows(table: pl.DataFrame, by: str) -> tuple[pl.DataFrame, list[str]]:
    """The rows to add up: of each lock its own, or the points that its waits are split into, never both."""
    if by == "site":
        at_points = table.filter(pl.col("role").is_in(["site", "waiter"]) & pl.col("site").is_not_null())
        if at_points.height:
            own = table.filter(~pl.col("role").is_in([*DETAIL, "site"]))
            pointless = own.join(at_points, on=["lock_class", "lock"], how="anti", nulls_equal=True)
            return pl.concat([at_points, pointless]), _left_out(table)
        holders = table.filter((pl.col("role") == "holder") & pl.col("site").is_not_null())
        if holders.height:
            return holders, ["the points are those of the holders: where waiters stood is not told"]
    own = table.filter(~pl.col("role").is_in(DETAIL))
    if own.height:
        return own, _left_out(table)
    for role, note in _ALONE.items():
        rows = table.filter(pl.col("role") == role)
        if rows.height:
            return rows, [note]
    return table, []


def _left_out(table: pl.DataFrame) -> list[str]:
    """Rows that are no part of a lock's own, and stand in no table but that of the rows as read."""
    notes = []
    for role, what in (("sample", "samples of where the CPUs were"), ("inclusive", "inclusive counts")):
        count = table.filter(pl.col("role") == role).height
        if count:
            rows = f"{count:,} row{'s' if count > 1 else ''}"
            notes.append(f"left out, being {what} and not locks: {rows} (--by row)")
    return notes


def _keys(rows: pl.DataFrame, by: str) -> tuple[str, list[str], list[str]]:
    """What to group by; profiles without names of locks, or without points or modes, fall back and say so."""
    if by == "class":
        return by, ["lock_class"], []
    if by == "mode":
        by, keys, notes = _keys(rows, "lock")
        if rows["mode"].null_count() == rows.height:
            return by, keys, [*notes, "readers and writers are not told apart"]
        return "mode", [*keys, "mode"], notes
    if by == "site" and rows.height and rows["role"][0] == "sample":
        return by, ["lock_class", "site"], []
    if by == "site" and rows["site"].null_count() == rows.height:
        return "lock", ["lock_class", "lock"], ["no acquisition points are told: rows are locks"]
    if by == "site":
        return by, ["lock_class", "lock", "site"], []
    role = str(rows["role"][0]) if rows.height else ""
    if role == "sample":
        return "site", ["lock_class", "site"], []
    if rows["lock"].null_count() == rows.height and rows["site"].null_count() < rows.height:
        return (
            "site",
            ["lock_class", "site"],
            [f"no names of locks are told: rows are {_WHAT.get(role, 'point')}s"],
        )
    return "lock", ["lock_class", "lock"], []


def grouped(profile: Profile, by: str = "lock") -> Grouped:
    """Add up `profile` by lock, lock and mode, site or class; `row` keeps every row as it was read.

    Means are recomputed from totals: of a wait where contended acquisitions are counted, else of an
    acquisition.  Acquisitions are the holds where only holds are counted.
    """
    if by == "row":
        return _as_read(profile.table)
    rows, notes = _rows(profile.table, by)
    by, keys, more = _keys(rows, by)
    result = _added(rows, keys)
    # klockstat counts the same acquisitions twice: as waits, and as holds in rows of their own
    result = result.with_columns(count=pl.coalesce("count", "hold_count")).drop("hold_count")
    result = result.with_columns(
        wait_avg_us=pl.col("wait_us") / _positive(pl.coalesce("contended", "count")),
        hold_avg_us=pl.col("hold_us") / _positive(pl.col("count")),
    )
    missing = [name for name in Key._fields if name not in keys]
    result = result.with_columns(*[pl.lit(None, pl.String).alias(name) for name in missing])
    names = (Key(*row).name for row in result.select(Key._fields).iter_rows())
    what = "class" if by == "class" else "lock, point" if "lock" in keys and "site" in keys else "lock"
    if "lock" not in keys and "site" in keys:
        what = _WHAT.get(str(rows["role"][0]), "point")
    return Grouped(by, _sorted(result, names), notes + more, what)


def _as_read(rows: pl.DataFrame) -> Grouped:
    """Every row, with the columns that tell rows of one name apart."""
    parts = rows.select("lock_class", "lock", "site", "role").iter_rows()
    names = (
        Key(None, None, site, lock).name if role == "sample" else Key(lock_class, lock, site).name
        for lock_class, lock, site, role in parts
    )
    telling = [
        name
        for name in _TELLING
        if name in rows.columns
        and (rows[name].n_unique() > 1 or (name == "role" and rows.height and rows[name][0] in DETAIL))
    ]
    kept = (*Key._fields, *_TELLING, *FIGURES, "hold_count", "wait_min_us", "hold_min_us", "line")
    result = rows.select([name for name in rows.columns if name in kept])
    result = result.with_columns(count=pl.coalesce("count", "hold_count"))
    return Grouped("row", _sorted(result, names), [], "lock, point", tuple(telling))


def _sorted(result: pl.DataFrame, names: Iterator[str]) -> pl.DataFrame:
    """Worst wait first, `names` beside."""
    chunks = [pl.Series("name", [], dtype=pl.String)]
    while chunk := list(islice(names, 1 << 16)):
        chunks.append(pl.Series("name", chunk, dtype=pl.String))
    result = result.with_columns(pl.concat(chunks))
    order = ["wait_us", "hold_us", "contended", "count"]
    descending = [True] * len(order) + [False]
    return result.sort([*order, "name"], descending=descending, nulls_last=True, maintain_order=True)


def _positive(column: pl.Expr) -> pl.Expr:
    return pl.when(column > 0).then(column)
