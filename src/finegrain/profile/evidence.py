"""What a profile says of how a lock that is to be split is used: which of three cases it speaks for."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from finegrain.profile.table import Profile

# How the parts of a split lock are used: every user keeps to a part, any acquisition may be of any, all are of one.
PARTITIONED, RANDOM, SINGLE = "partitioned", "random", "single"

_ENOUGH = 2  # objects of one name below which nothing can be said of how use spreads over them
_ONE = 1.5  # use as of so many locks used evenly is use of one
_FEWER = 3.0  # so many times more or less than evenly spread use is another case, not noise


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact of a profile: its kind, the case that it speaks for (None: it must be judged), its figures."""

    kind: str
    case: str | None
    figures: dict[str, Any]


def evidence(
    profile: Profile,
    lock: str,
    *,
    lock_class: str | None = None,
    now: int = 1,
    met: Callable[[int], float] | None = None,
) -> tuple[Evidence, ...]:
    """What `profile` says of a name that is `now` locks; `met(K)` is how often a lock of K is found held.

    Only what the format tells can be there: addresses of locks (perf -l), acquisition points, and, of finegrain's own
    results, whether holders worked on the same part.  Without `lock_class`, the lock is the one of that name of any
    class: another program may have another word for it.
    """
    table = profile.table.filter((pl.col("lock") == lock) & (pl.col("role") != "sample"))
    if lock_class is not None:
        table = table.filter(pl.col("lock_class") == lock_class)
    found = (_collisions(profile, lock), _addresses(table), _contended(table, now, met), _callers(table))
    return tuple(one for one in found if one is not None)


def _weights(table: pl.DataFrame, column: str) -> dict[str, float]:
    """How much was waited, or how often, for each value of `column`; most first."""
    weights: dict[str, float] = defaultdict(float)
    if column in table.columns:
        for value, *figures in table.select(column, "wait_us", "contended", "count").rows():
            if value is not None:
                weights[str(value)] += next((figure for figure in figures if figure is not None), 0.0)
    return dict(sorted(weights.items(), key=lambda item: (-item[1], item[0])))


def _share(weights: dict[str, float]) -> float:
    """The part of the worst; 0 where nothing was waited."""
    total = sum(weights.values())
    return max(weights.values()) / total if total else 0.0


def _collisions(profile: Profile, lock: str) -> Evidence | None:
    """A result of `finegrain compare` knows whether waiter and holder worked on one superpage."""
    parts = profile.meta.get("pv_wait")
    if not isinstance(parts, dict) or lock != "pmap pv list":
        return None
    told = [_time(parts.get(key)) for key in ("collision_us", "sharing_us")]
    if not sum(told):
        return None
    sharing = told[1] / sum(told)
    return Evidence("sharing", SINGLE if sharing > 0.5 else RANDOM, {"share": sharing})


def _time(value: object) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else 0.0


def _addresses(table: pl.DataFrame) -> Evidence | None:
    """Locks of one name that are told apart: how evenly are they used?"""
    weights = _weights(
        table.filter(pl.col("role") == "lock"), "address"
    )  # of other rows, it is a place in the code
    if len(weights) < _ENOUGH or not any(weights.values()):
        return None
    even = sum(weights.values()) ** 2 / sum(weight**2 for weight in weights.values())
    case = SINGLE if even < _ONE else RANDOM if even > len(weights) / 2 else None
    figures = {"count": len(weights), "even": even, "worst": next(iter(weights)), "share": _share(weights)}
    return Evidence("addresses", case, figures)


def _contended(table: pl.DataFrame, now: int, met: Callable[[int], float] | None) -> Evidence | None:
    """A name of many locks: are they found held as often as random use of them all would have it?"""
    counts = table.filter(pl.col("role").is_in(["lock", "site"])).select("contended", "count")
    whole = counts.drop_nulls()
    contended, count = (sum(whole[name].to_list()) for name in ("contended", "count"))
    if now < _ENOUGH or met is None or not count or whole.height < counts.height:
        return None
    found = min(contended / count, 1.0)
    spread, single = met(now), met(1)
    low, high = 1, now  # the most locks that are found held at least as often as was measured
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if met(middle) >= found else (low, middle - 1)
    if found * _FEWER < spread:
        case: str | None = PARTITIONED
    elif found <= spread * _FEWER:
        case = RANDOM
    else:
        case = SINGLE if found * _FEWER >= single else None
    figures = {"found": found, "random": spread, "single": single, "locks": low}
    return Evidence("contended", case, figures)


def _callers(table: pl.DataFrame) -> Evidence | None:
    """Where waiters stood, and holders where that is told."""
    waiters = _weights(table.filter(pl.col("role").is_in(["site", "waiter"])), "site")
    if not waiters:
        return None
    holders = _weights(table.filter(pl.col("role") == "holder"), "site")
    figures = {"count": len(waiters), "worst": next(iter(waiters)), "share": _share(waiters)}
    return Evidence("callers", None, figures | ({"holder": next(iter(holders))} if holders else {}))
