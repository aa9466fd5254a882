"""What `finegrain profile show --json` wrote: profiles as they were read, kept to be compared later."""

import json
import math
import re
from typing import Any

import polars as pl

from finegrain.errors import UserError
from finegrain.profile.table import CORE, MAX_COUNT, MAX_ROWS, ROLES, Profile

SCHEMA = "finegrain.profile/1"
_SCHEMA = re.compile(rb'"schema"\s*:\s*"finegrain\.profile/')
_MEMBER = re.compile(r"[a-z][a-z0-9_]{0,40}")


def holds(data: bytes) -> bool:
    """Is this such a file, in whatever order its members stand?"""
    return _SCHEMA.search(data) is not None


def read_stored(data: bytes, source: str) -> tuple[list[Profile], dict[str, list[str]]]:
    """The profiles, and what their formats do not tell; raises UserError where the text is not whole."""
    try:
        document = json.loads(data)
    except (RecursionError, ValueError) as error:
        raise UserError(f"{source}: not JSON that can be read ({error})") from None
    try:
        return _document(document, source)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def _kind(value: Any, kind: type | tuple[type, ...], where: str, what: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"{where} is not {what}")
    return value


def _text(value: Any, where: str) -> str | None:
    return None if value is None else str(_kind(value, str, where, "a string"))


def _number(value: Any, where: str) -> Any:
    """A number that is not negative and not beyond what a table holds, or None."""
    if value is not None:
        _kind(value, (int, float), where, "a number")
        if not (0 <= value <= (MAX_COUNT if isinstance(value, int) else 1e300)):
            raise UserError(f"{where} is out of range")
    return value


def _document(document: Any, source: str) -> tuple[list[Profile], dict[str, list[str]]]:
    root = _kind(document, dict, "the document", "an object")
    if root.get("schema") != SCHEMA:
        raise UserError(f"schema {root.get('schema')!r:.60} is not {SCHEMA}")
    profiles = [
        _profile(item, f"profiles[{at}]", source)
        for at, item in enumerate(_kind(root.get("profiles"), list, "profiles", "a list"))
    ]
    if not profiles:
        raise UserError("no profile in it")
    labels: set[str | None] = set()
    for at, profile in enumerate(profiles, 1):
        if len(profiles) > 1 and (profile.label is None or profile.label in labels):
            profile.label = f"{profile.label}/{at}" if profile.label else str(at)
        labels.add(profile.label)
    notes: dict[str, list[str]] = {}
    for name, texts in _kind(root.get("notes") or {}, dict, "notes", "an object").items():
        notes[name] = [_text(text, "notes") or "" for text in _kind(texts, list, f"notes.{name}", "a list")]
    broken = _number(root.get("broken_rows"), "broken_rows")
    if broken:
        was = _text(root.get("source"), "source") or "?"
        notes.setdefault(profiles[0].format, []).append(f"{broken} broken rows of {was:.200} were left out")
    return profiles, notes


def _profile(item: Any, where: str, source: str) -> Profile:
    profile = _kind(item, dict, where, "an object")
    derived = _kind(profile.get("derived") or {}, dict, f"{where}.derived", "an object")
    cpus = _number(profile.get("cpus"), f"{where}.cpus")
    return Profile(
        source=source,
        format=_text(profile.get("format"), f"{where}.format") or "?",
        system=_text(profile.get("system"), f"{where}.system") or "?",
        table=_table(_kind(profile.get("rows"), list, f"{where}.rows", "a list"), f"{where}.rows"),
        label=_text(profile.get("label"), f"{where}.label"),
        title=_text(profile.get("title"), f"{where}.title"),
        span_s=float(_number(profile.get("span_s"), f"{where}.span_s") or 0) or None,
        cpus=int(cpus) if cpus else None,
        derived={name: _text(how, f"{where}.derived") or "" for name, how in derived.items()},
        meta=_kind(profile.get("meta") or {}, dict, f"{where}.meta", "an object"),
    )


def _table(rows: list[Any], where: str) -> pl.DataFrame:
    """The rows as a table: every column of CORE, and those that only their format has."""
    if not rows:
        raise UserError(f"{where} is empty")
    if len(rows) > MAX_ROWS:
        raise UserError(f"{where} holds more than {MAX_ROWS:,} rows")
    columns: dict[str, list[Any]] = {name: [None] * len(rows) for name in CORE}
    for at, row in enumerate(rows):
        for name, value in _kind(row, dict, f"{where}[{at}]", "an object").items():
            if name not in columns:
                if not _MEMBER.fullmatch(name) or len(columns) >= 64:
                    raise UserError(f"{where}[{at}]: {name!r:.60} is no column of a profile")
                columns[name] = [None] * len(rows)
            columns[name][at] = value
        if row.get("role") not in ROLES:
            raise UserError(f"{where}[{at}].role is not one of {', '.join(ROLES)}")
    return pl.DataFrame([_series(name, values, f"{where}.{name}") for name, values in columns.items()])


def _series(name: str, values: list[Any], where: str) -> pl.Series:
    dtype = CORE.get(name) or _own_type(name, values)
    if dtype in (pl.Float64(), pl.Int64()):
        numbers = [_number(value, where) for value in values]
        if dtype == pl.Float64():
            return pl.Series(name, [_float(value) for value in numbers], dtype)
        if not all(isinstance(value, int | None) for value in numbers):
            raise UserError(f"{where} is not a whole number")
        return pl.Series(name, numbers, dtype)
    if dtype == pl.String():
        return pl.Series(name, [_text(value, where) for value in values], dtype)
    lists = [None if value is None else _kind(value, list, where, "a list") for value in values]
    if dtype == pl.List(pl.Int64()):
        return pl.Series(name, [_bins(value, where) for value in lists], dtype)
    texts = [None if value is None else [_text(part, where) for part in value] for value in lists]
    return pl.Series(name, texts, dtype)


def _own_type(name: str, values: list[Any]) -> pl.DataType:
    """What a column that only one format has holds, by what is in it."""
    if name == "histogram_ns":
        return pl.List(pl.Int64())
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        return pl.Int64()
    if kinds and kinds <= {int, float}:
        return pl.Float64()
    return pl.String() if str in kinds else pl.List(pl.String())


def _float(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _bins(value: list[Any] | None, where: str) -> list[int] | None:
    """A histogram's pairs, [upper end, count], one behind the other."""
    if value is None:
        return None
    flat: list[int] = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, int) for part in pair):
            raise UserError(f"{where} is not a list of pairs of whole numbers")
        flat += (int(_number(part, where)) for part in pair)
    return flat
