"""finegrain's own results as JSON, a profile a design: schema finegrain.compare/1 to /3, finegrain.sweep/1 and /2."""

import json
import math
from typing import Any

import polars as pl

from finegrain.errors import UserError
from finegrain.profile.table import BETWEEN, MAX_COUNT, Builder, Profile

SCHEMAS = ("finegrain.compare/1", "finegrain.compare/2", "finegrain.compare/3", "finegrain.compare/4")
SWEEPS = ("finegrain.sweep/1", "finegrain.sweep/2")
# JSON is held whole while it is read; a comparison is a few megabytes at most.
MAX_BYTES = 256 << 20

_TIMES = ("wait_us", "hold_us", "wait_max_us", "hold_max_us")
_EXTRA = {"spin_us": pl.Float64(), "block_us": pl.Float64(), "histogram_ns": pl.List(pl.Int64())}
_FIELDS = ("lock_class", "lock", "site", "role", "count", "contended", *_TIMES, *_EXTRA)

NOTES = (
    "simulated: the figures are a model's, for the machine and the workload that the file names",
    "holder rows say who held a lock while others waited, waiter rows where it was acquired; their figures are parts "
    "of the lock's own",
)


def number_of(value: Any, where: str, *, whole: bool = False) -> Any:
    """A finite number that is not negative, or None for null; anything else is refused."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{where} is not a number")
    if not 0 <= value <= (MAX_COUNT if whole else 1e300):
        raise UserError(f"{where} is out of range")
    return int(value) if whole else float(value)


def list_of(value: Any, where: str) -> list[Any]:
    """A list; anything else is refused."""
    if not isinstance(value, list):
        raise UserError(f"{where} is not a list")
    return value


def object_of(value: Any, where: str) -> dict[str, Any]:
    """An object; anything else is refused."""
    if not isinstance(value, dict):
        raise UserError(f"{where} is not an object")
    return value


def text_of(value: Any, where: str) -> str:
    """A string; anything else is refused."""
    if not isinstance(value, str):
        raise UserError(f"{where} is not a string")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.20} is out of range")
    return value


def _histogram(value: Any, where: str) -> str | None:
    if value is None:
        return None
    bins: list[int] = []
    for pair in list_of(value, where):
        if len(list_of(pair, where)) != 2:
            raise UserError(f"{where} is not a list of pairs")
        bins += (number_of(part, where, whole=True) or 0 for part in pair)
    return BETWEEN.join(map(str, bins)) or None


def _figures(row: dict[str, Any], spot: str) -> list[Any]:
    """The figures of a lock or of one of its acquisition points, in the order of _FIELDS from `count` on."""
    whole = [number_of(row.get(key), f"{spot}.{key}", whole=True) for key in ("acquisitions", "contested")]
    times = [number_of(row.get(key), f"{spot}.{key}") for key in (*_TIMES, "spin_us", "block_us")]
    return [*whole, *times, _histogram(row.get("wait_histogram_ns"), f"{spot}.wait_histogram_ns")]


def _design(design: dict[str, Any], where: str) -> pl.DataFrame:
    builder = Builder(_FIELDS, _EXTRA)
    for at, item in enumerate(list_of(design.get("locks"), f"{where}.locks")):
        spot = f"{where}.locks[{at}]"
        lock = object_of(item, spot)
        name = text_of(lock.get("lock"), f"{spot}.lock")
        before, colon, after = name.partition(":")
        lock_class, bare = (before, after) if colon else (None, name)
        builder.add((lock_class, bare, None, "lock", *_figures(lock, spot)))
        for number, item in enumerate(list_of(lock.get("points") or [], f"{spot}.points")):
            stood = f"{spot}.points[{number}]"
            point = object_of(item, stood)
            site = text_of(point.get("site"), f"{stood}.site")
            builder.add((lock_class, bare, site, "waiter", *_figures(point, stood)))
        for pair in list_of(lock.get("held_by") or [], f"{spot}.held_by"):
            if len(list_of(pair, f"{spot}.held_by")) != 2:
                raise UserError(f"{spot}.held_by is not a list of pairs")
            site, waited = text_of(pair[0], f"{spot}.held_by"), number_of(pair[1], f"{spot}.held_by")
            builder.add((lock_class, bare, site, "holder", None, None, waited, *[None] * (len(_FIELDS) - 7)))
    return builder.finish()


def parsed(data: bytes, source: str) -> Any:
    """The document of a JSON text; raises UserError where it is none."""
    try:
        return json.loads(data, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise UserError(f"{source}: JSON nested too deeply to be a result of 'finegrain compare'") from None
    except ValueError as error:
        raise UserError(f"{source}: not JSON that can be read ({error})") from None


def profiles_of(document: Any, source: str) -> list[Profile]:
    """The profiles of a comparison or of a sweep."""
    root = object_of(document, "the document")
    if root.get("schema") in SWEEPS:
        profiles = []
        comparisons = list_of(root.get("comparisons"), "comparisons")
        values = [str(value)[:80] for value in list_of(root.get("values") or [], "values")]
        over = root.get("over", "cpus")
        for at, item in enumerate(comparisons):
            try:
                comparison = _comparison(item, source)
            except UserError as error:
                raise UserError(f"comparisons[{at}]: {error}") from None
            for profile in comparison:
                if over == "cpus":
                    profile.label = f"{profile.label}@{profile.cpus or '?'}cpus"
                elif len(comparisons) > 1 and at < len(values):
                    profile.label = f"{profile.label}@{values[at]}"
            profiles += comparison
    else:
        profiles = _comparison(root, source)
    if not profiles:
        raise UserError("no design in it")
    labels = set()
    for at, profile in enumerate(profiles, 1):
        if profile.label in labels:
            profile.label = f"{profile.label}/{at}"
        labels.add(profile.label)
    return profiles


def _comparison(document: Any, source: str) -> list[Profile]:
    root = object_of(document, "the comparison")
    schema = root.get("schema")
    if schema not in SCHEMAS:
        known = f"schema {schema!r:.60}" if schema is not None else "no schema"
        raise UserError(f"JSON with {known}, not a result of 'finegrain compare' ({', '.join(SCHEMAS)})")
    machine = object_of(root.get("machine") or {}, "machine")
    seconds = number_of(root.get("simulated_seconds"), "simulated_seconds")
    replications = number_of(root.get("replications", 1), "replications", whole=True)
    if replications == 0:
        raise UserError("replications is out of range")
    span = seconds * (replications or 1) if seconds else None  # figures are sums over all replications
    cpus = number_of(machine.get("cpus"), "machine.cpus", whole=True)
    profiles = []
    for at, item in enumerate(list_of(root.get("designs"), "designs")):
        where = f"designs[{at}]"
        design = object_of(item, where)
        meta = {"seed": root.get("seed"), "workload": root.get("workload"), "pv_wait": design.get("pv_wait")}
        profiles.append(
            Profile(
                source=source,
                format="finegrain compare",
                system=f"{machine.get('kind', 'simulated')!s:.40} machine",
                table=_design(design, where),
                label=text_of(design.get("name"), f"{where}.name"),
                span_s=span,
                cpus=cpus or None,
                meta={key: value for key, value in meta.items() if value is not None},
            )
        )
    return profiles
