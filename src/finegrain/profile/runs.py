"""Several profiles as runs of one kernel: their mean, how far they differ, and whether they can be that."""

from collections import defaultdict
from collections.abc import Sequence
from math import comb
from typing import Any

from finegrain.profile.group import FIGURES, SUMS
from finegrain.profile.names import no_line
from finegrain.profile.table import Profile

Figures = dict[str, Any]
RANGE = "range"  # the key of a side's figures that holds {figure: (lowest, highest)} over its runs


def over_runs(runs: Sequence[Figures | None], cut: Sequence[bool]) -> Figures | None:
    """The figures of several runs as one: means, and under RANGE the lowest and the highest of each.

    A run that lacks the lock counts as 0, unless its list may have been `cut`.
    """
    there = [run for run in runs if run is not None]
    if not there or len(runs) == 1:
        return there[0] if there else None
    figures: Figures = dict.fromkeys(FIGURES)
    ranges: dict[str, tuple[float, float]] = {}
    for name in FIGURES:
        values = [run[name] for run in there if run[name] is not None]
        if values and name in SUMS:
            values += [0 for run, may in zip(runs, cut, strict=True) if run is None and not may]
        if values:
            figures[name] = sum(values) / len(values)
            ranges[name] = (min(values), max(values))
    return figures | {RANGE: ranges}


def chance_to_part(ours: int, theirs: int) -> float:
    """How often the ranges of so many runs on two sides part by chance, when all are runs of one kernel.

    All orders of the runs are then as likely, and in two of them every run of one side comes first.
    """
    return 2 / comb(ours + theirs, ours)


def within_spread(before: Figures | None, after: Figures | None, metric: str) -> bool | None:
    """Is a change no more than runs differ among themselves: do the two ranges meet?

    None where neither side has several runs, or a side does not tell the figure.
    """
    if not any(side and RANGE in side for side in (before, after)):
        return None
    ends = []
    for side in (before, after):
        value = 0.0 if side is None else side[metric]
        if value is None:
            return None
        ends.append((side or {}).get(RANGE, {}).get(metric, (value, value)))
    return bool(ends[0][0] <= ends[1][1] and ends[1][0] <= ends[0][1])


def _places(profile: Profile) -> dict[tuple[str | None, ...], int]:
    """How often each place in the code was counted, every place at least once."""
    places: dict[tuple[str | None, ...], int] = defaultdict(int)
    columns = ("lock_class", "lock", "site", "role", "count", "contended")
    for *place, role, count, contended in profile.table.select(columns).rows():
        if role != "sample" and place[2] is not None:
            places[tuple(place)] += max(count or 0, contended or 0, 1)
    return places


def same_kernel(one: Profile, other: Profile) -> bool:
    """May these be two runs of one kernel?

    Nine in ten acquisitions of each are at places in the code that the other has too, and not one in a hundred is at
    a place that seems to have moved: a line of a file, or an offset in a function, that the other lacks while it has
    one that this lacks.
    """
    if (one.format, one.system, one.cpus) != (other.format, other.system, other.cpus):
        return False
    both = _places(one), _places(other)
    if not all(both):
        return False
    alone = [
        {place: n for place, n in ours.items() if place not in theirs} for ours, theirs in (both, both[::-1])
    ]
    moved = {_area(place) for place in alone[0]} & {_area(place) for place in alone[1]}
    for ours, own in zip(both, alone, strict=True):
        total = sum(ours.values())
        strayed = sum(n for place, n in own.items() if _area(place) in moved)
        if sum(own.values()) > total / 10 or strayed > total / 100:
            return False
    return True


def _area(place: tuple[str | None, ...]) -> tuple[str | None, ...]:
    return (*place[:2], no_line(place[2] or ""))
