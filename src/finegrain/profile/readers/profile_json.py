"""finegrain's own tables read again: what `profile show --json` and `diff --json` write."""

from typing import Any

import polars as pl

from finegrain.errors import UserError
from finegrain.profile.readers import READERS
from finegrain.profile.readers.compare_json import list_of as items_of
from finegrain.profile.readers.compare_json import number_of, object_of, text_of
from finegrain.profile.table import BETWEEN, CORE, MAX_COUNT, ROLES, Builder, Profile

SCHEMA = "finegrain.profile/1"  # what is written today
PROFILES = (SCHEMA, "finegrain.profile/2")
DIFFS = ("finegrain.diff/1", "finegrain.diff/2")

_EXTRA = {name: dtype for reader in READERS for name, dtype in reader.extra.items()} | {
    "spin_us": pl.Float64(),
    "block_us": pl.Float64(),
}
_TYPES = CORE | _EXTRA
_PLAIN = str.maketrans(dict.fromkeys([*range(32), *range(127, 160)]))
_FIGURES = (
    "count",
    "contended",
    "wait_us",
    "hold_us",
    "wait_max_us",
    "hold_max_us",
    "wait_avg_us",
    "hold_avg_us",
)


def read_profiles(root: dict[str, Any], source: str) -> tuple[list[Profile], dict[str, list[str]]]:
    """The profiles of `profile show --json`, every row as it was read, and the notes on their formats."""
    profiles = []
    for at, item in enumerate(items_of(root.get("profiles"), "profiles")):
        where = f"profiles[{at}]"
        told = object_of(item, where)
        span, cpus = number_of(told.get("span_s"), f"{where}.span_s"), told.get("cpus")
        derived = object_of(told.get("derived") or {}, f"{where}.derived")
        profiles.append(
            Profile(
                source=source,
                format=_words(told.get("format"), f"{where}.format") or "finegrain profile",
                system=_words(told.get("system"), f"{where}.system") or "",
                table=_rows(items_of(told.get("rows"), f"{where}.rows"), f"{where}.rows"),
                label=_words(told.get("label"), f"{where}.label"),
                title=_words(told.get("title"), f"{where}.title"),
                span_s=span or None,
                cpus=number_of(cpus, f"{where}.cpus", whole=True) or None,
                derived={
                    _words(key, "derived") or "": str(value)[:200].translate(_PLAIN)
                    for key, value in derived.items()
                },
                meta=object_of(told.get("meta") or {}, f"{where}.meta"),
            )
        )
    profiles = [profile for profile in profiles if profile.table.height]
    if not profiles:
        raise UserError("no profile with rows in it")
    _labelled(profiles)
    notes = object_of(root.get("notes") or {}, "notes")
    return profiles, {
        _words(name, "notes") or "": [
            _words(note, f"notes.{name}") or "" for note in items_of(texts, f"notes.{name}")
        ]
        for name, texts in notes.items()
    }


def read_diff(root: dict[str, Any], source: str) -> tuple[list[Profile], dict[str, list[str]]]:
    """The profiles that `diff --json` compared: a row a name, with the figures that it added up."""
    names = _compared(root)
    builders = [Builder(("lock_class", "lock", "site", "role", *_FIGURES, "line")) for _ in names]
    by = root.get("by")
    for at, item in enumerate(items_of(root.get("locks"), "locks")):
        where = f"locks[{at}]"
        row = object_of(item, where)
        name = _words(row.get("lock"), f"{where}.lock") or "?"
        figures = items_of(row.get("figures"), f"{where}.figures")
        if len(figures) != len(names):
            raise UserError(f"{where}.figures: {len(figures)} for {len(names)} profiles")
        for builder, told in zip(builders, figures, strict=True):
            if told is not None:
                values = object_of(told, f"{where}.figures")
                cells = [_cell(key, values.get(key), f"{where}.figures.{key}") for key in _FIGURES]
                builder.add((*_named(name, by), *cells, at + 1))
    profiles = [
        Profile(source, "finegrain diff", "", builder.finish(), label=name)
        for name, builder in zip(names, builders, strict=True)
        if len(builder)
    ]
    if not profiles:
        raise UserError("no profile with rows in it")
    _labelled(profiles)
    return profiles, {
        "finegrain diff": ["figures are those that the comparison added up and scaled, not single rows"]
    }


def _compared(root: dict[str, Any]) -> list[str]:
    """Return the names of what was compared: one profile each, or (columns) the first of several runs."""
    if "columns" not in root:
        return [text_of(name, "profiles") for name in items_of(root.get("profiles"), "profiles")]
    names = []
    for at, column in enumerate(items_of(root["columns"], "columns")):
        runs = [object_of(run, f"columns[{at}]") for run in items_of(column, f"columns[{at}]")]
        if not runs:
            raise UserError(f"columns[{at}] is empty")
        names.append(text_of(runs[0].get("name"), f"columns[{at}].name"))
    return names


def _labelled(profiles: list[Profile]) -> None:
    """Labels that tell the profiles apart; none for one alone."""
    seen: set[str | None] = set()
    for at, profile in enumerate(profiles, 1):
        if len(profiles) > 1 and (profile.label is None or profile.label in seen):
            profile.label = str(at) if profile.label is None else f"{profile.label}/{at}"
        seen.add(profile.label)


def _named(name: str, by: Any) -> tuple[str | None, str | None, str | None, str]:
    """Class, lock, site and role of a joined name."""
    if by == "class":
        return name, None, None, "lock"
    lock, _, site = name.partition(" at ") if by == "site" else (name, "", "")
    before, colon, after = lock.partition(":")
    lock_class, lock = (before, after) if colon and not before.startswith("/") else (None, lock)
    return lock_class, lock, site or None, "site" if site else "lock"


def _words(value: Any, where: str) -> str | None:
    """Text without control characters, as no text that is read from a dump holds any."""
    return None if value is None else text_of(value, where).translate(_PLAIN)[:4096]


def _cell(name: str, value: Any, where: str) -> Any:
    """A figure or a text of a column, checked for its type; a list joined as Builder takes it."""
    if value is None:
        return None
    dtype = _TYPES[name]
    if isinstance(dtype, pl.List):
        items = items_of(value, where)
        if name == "histogram_ns":  # [[upper end, count], ...]
            items = [part for pair in items for part in items_of(pair, where)]
            if len(items) % 2:
                raise UserError(f"{where} is not a list of pairs")
        whole = isinstance(dtype.inner, pl.Int64)
        parts = [number_of(part, where, whole=True) or 0 if whole else _words(part, where) for part in items]
        return BETWEEN.join(map(str, parts)) or None
    if isinstance(dtype, pl.String):
        return _words(value, where)
    if (
        isinstance(dtype, pl.Int64)
        and isinstance(value, int)
        and -MAX_COUNT <= value < 0
        and name.endswith("pid")
    ):
        return value  # perf's owners that are not known
    return number_of(value, where, whole=isinstance(dtype, pl.Int64))


def _rows(rows: list[Any], where: str) -> pl.DataFrame:
    told = {key for row in rows if isinstance(row, dict) for key in row}
    extra = {name: dtype for name, dtype in _EXTRA.items() if name in told}
    fields = (*CORE, *extra)
    builder = Builder(fields, extra)
    for at, item in enumerate(rows):
        row = object_of(item, f"{where}[{at}]")
        if row.get("role") not in (None, *ROLES):
            raise UserError(f"{where}[{at}].role is none that finegrain knows")
        builder.add(tuple([_cell(name, row.get(name), f"{where}[{at}].{name}") for name in fields]))
    return builder.finish()
