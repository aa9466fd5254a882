"""Several profiles side by side, joined, and where the waiting went."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from finegrain.errors import UserError
from finegrain.profile.group import FIGURES, LONGEST, SUMS, Grouped, Key, grouped
from finegrain.profile.match import Apart, Join, Matched, match
from finegrain.profile.rules import METRICS, Rule
from finegrain.profile.runs import Figures, chance_to_part, over_runs, same_kernel, within_spread
from finegrain.profile.spans import agreed_span, given_spans
from finegrain.profile.table import Profile

TOTAL = "total"

BY = ("lock", "mode", "site", "class")
# What profiles are compared by unless one asks for another: the first of these that all of them tell.
_METRICS = ("wait_us", "contended", "hold_us", "count")
_WORDS = {name: word for word, name in METRICS.items()}
# Formats whose programs cut a list at its first rows, and the option that says where.
CUT = {
    "perf lock contention": "-E",
    "perf lock report": "-E",
    "klockstat": "-n",
    "lockstat": "-D",
}


@dataclass(slots=True)
class ProfileDiff:
    """Profiles joined by lock, in columns; a column is a profile, or the runs of one side.

    `rows` is a list of (name, figures of each column or None), worst of the first column first; the figures of
    several runs are means, with `runs.RANGE` beside them.  `ranked` is the (figure, name) list of each column by
    itself, `metric` the figure that is compared, a key of FIGURES.  `cut` names for each column the option that may
    have cut its list, else None.  `spans` says how long each profile was taken, None where that is not known, and
    `factors` what its figures were multiplied by, None if they are as read.
    """

    columns: list[list[Profile]]
    by: str
    metric: str
    rows: list[tuple[str, list[Figures | None]]]
    ranked: list[list[tuple[float | None, str]]]
    totals: list[Figures]
    cut: list[str | None]
    spans: list[float | None]
    factors: list[float] | None
    notes: list[str]
    joins: list[Join] = field(default_factory=list)
    apart: list[Apart] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """What each column is called: its file, or the files of its runs."""
        return [", ".join(profile.name for profile in column) for column in self.columns]

    @property
    def profiles(self) -> list[Profile]:
        """All profiles, in order."""
        return [profile for column in self.columns for profile in column]

    @property
    def runs(self) -> bool:
        """Does a column stand for several runs?"""
        return any(len(column) > 1 for column in self.columns)

    def chance(self, column: int) -> float:
        """How often the ranges of the first column and of this one part if both are runs of one kernel."""
        return chance_to_part(len(self.columns[0]), len(self.columns[column]))

    def within(self, figures: Sequence[Figures | None], column: int) -> bool | None:
        """Is a row's change from the first column to this one within the spread of the runs?

        None where nothing has several runs, or a figure is not told or may have been cut off.
        """
        before, after = figures[0], figures[column]
        missing = 0 if before is None else column if after is None else None
        if missing is not None and self.cut[missing] is not None:
            return None
        return within_spread(before, after, self.metric)

    def row(self, lock: str) -> tuple[str, list[Figures | None]] | None:
        """The row of a lock by its name, with its class or, where that is no question, without."""
        found = [row for row in self.rows if row[0] == lock]
        found = found or [row for row in self.rows if row[0].partition(":")[2] == lock]
        if len(found) > 1:
            raise UserError(f"{lock}: {len(found)} locks have this name; give the class too: {found[0][0]}")
        return found[0] if found else None


def diff_profiles(
    profiles: Sequence[Profile],
    against: Sequence[Profile] = (),
    *,
    by: str = "lock",
    metric: str | None = None,
    spans: str | None = None,
    exact: bool = False,
    same: Sequence[str] = (),
) -> ProfileDiff:
    """Join `profiles`, a column each, or all as runs of one side and `against` as those of the other.

    Figures are scaled to the first one's span where spans are known or given.  `metric` is a word of METRICS: what is
    compared.  Raises UserError when not all profiles tell one figure, or when `spans` or `same` does not fit.
    """
    columns = [list(profiles), list(against)] if against else [[profile] for profile in profiles]
    profiles = [*profiles, *against]
    given = given_spans(spans, len(profiles))
    groups, notes = _grouped(profiles, by)
    known = [agreed_span(told, own.span_s, own.name) for told, own in zip(given, profiles, strict=True)]
    factors = _factors(profiles, known) if spans is not None else None
    notes += _differences(profiles)
    notes += _candidates(columns)
    tables = [_figures(group, factors[at] if factors else 1.0) for at, group in enumerate(groups)]
    matched = match([list(table) for table in tables], exact=exact, same=same)
    totals = _columns(columns, [total_of(list(table.values())) for table in tables])
    shown = _metric([total or {} for total in totals], metric, columns)
    if metric is None and shown != _METRICS[0]:
        notes.append(f"waiting is not told by all of these profiles: compared by {_WORDS[shown]}")
    rows = _joined(tables, matched, columns, shown)
    diff = ProfileDiff(
        columns=columns,
        by=groups[0].by,
        metric=shown,
        rows=rows,
        ranked=_ranked(tables, matched, columns, shown),
        totals=[total or {} for total in totals],
        cut=[next((CUT[p.format] for p in column if p.format in CUT), None) for column in columns],
        spans=known,
        factors=factors,
        notes=notes,
        joins=matched.joins,
        apart=matched.apart,
    )
    diff.notes += _renamed(diff)
    return diff


def _grouped(profiles: Sequence[Profile], by: str) -> tuple[list[Grouped], list[str]]:
    """All profiles by the same: as asked, else by lock, else by class."""
    for choice in dict.fromkeys((by, "lock", "class")):
        groups = [grouped(profile, choice) for profile in profiles]
        if len({group.by for group in groups}) == 1:
            break
    notes = []
    if choice != by:
        what = {"lock": "names", "class": "class"}[choice]
        notes.append(f"not all of these profiles can be told by {by}: compared by {what} of lock")
    return groups, notes + sorted({note for group in groups for note in group.notes})


def _factors(profiles: Sequence[Profile], spans: list[float | None]) -> list[float]:
    """By what each profile is multiplied to last as long as the first."""
    if None in spans:
        which = profiles[spans.index(None)].name
        raise UserError(f"--span: {which} does not say how long it was taken; give its span too")
    first = spans[0] or 1.0
    return [first / (span or first) for span in spans]


def _differences(profiles: Sequence[Profile]) -> list[str]:
    notes = []
    for what, values in (
        ("systems differ", [p.system for p in profiles]),
        ("formats differ, and with them what a wait is", [p.format for p in profiles]),
        ("numbers of CPUs differ", [str(p.cpus) for p in profiles if p.cpus]),
    ):
        if len(set(values)) > 1:
            notes.append(f"{what}: {', '.join(dict.fromkeys(values))}")
    return notes


def _candidates(columns: list[list[Profile]]) -> list[str]:
    """Columns that may be runs of one kernel, having come from one file: dumps, not designs of a comparison."""
    notes = []
    for before, after in pairwise(columns):
        one, other = before[-1], after[0]
        dumps = one.source == other.source and (one.label or "").isdigit() and (other.label or "").isdigit()
        if dumps and same_kernel(one, other):
            notes.append(
                f"{one.name} and #{other.label} may be runs of one kernel, their places in the code being the same: "
                "'diff A --against B' takes all of A for runs of one side"
            )
    return notes


def _figures(group: Grouped, factor: float) -> dict[Key, Figures]:
    table: dict[Key, Figures] = {}
    for row in group.table.select(*Key._fields, *FIGURES).to_dicts():
        key = Key(*(row.pop(part) for part in Key._fields))
        for name in SUMS:
            if row[name] is not None and factor != 1.0:
                row[name] *= factor
        table[key] = row
    return table


def _metric(totals: list[Figures], asked: str | None, columns: list[list[Profile]]) -> str:
    """The figure to compare by."""
    if asked is not None and asked not in METRICS:
        raise UserError(f"--metric {asked}: not one of {', '.join(METRICS)}")
    for name in _METRICS if asked is None else (METRICS[asked],):
        if all(total[name] is not None for total in totals):
            return name
    told = [
        f"{', '.join(p.name for p in column)} tells "
        + (", ".join(_WORDS[name] for name in FIGURES if total[name] is not None) or "nothing")
        for column, total in zip(columns, totals, strict=True)
    ]
    what = (
        "there is no figure that all profiles tell" if asked is None else f"--metric {asked}: not told by all"
    )
    raise UserError(f"{what}: {'; '.join(dict.fromkeys(told))}")


def _columns(columns: list[list[Profile]], runs: Sequence[Figures | None]) -> list[Figures | None]:
    """The figures of all profiles, of each column."""
    result, at = [], 0
    for column in columns:
        cut = [profile.format in CUT for profile in column]
        result.append(over_runs(runs[at : at + len(column)], cut))
        at += len(column)
    return result


def _joined(
    tables: list[dict[Key, Figures]], matched: Matched, columns: list[list[Profile]], metric: str
) -> list[tuple[str, list[Figures | None]]]:
    """Rows by name, worst of the first column first, then of the second, and so on."""
    rows = [
        (
            matched.key(at).name,
            _columns(columns, [None if key is None else tables[f][key] for f, key in enumerate(keys)]),
        )
        for at, keys in enumerate(matched.rows)
    ]

    def worst(row: tuple[str, list[Figures | None]]) -> tuple[Any, ...]:
        values = [-1.0 if figures is None else figures[metric] or 0.0 for figures in row[1]]
        return (*[-value for value in values], row[0])

    return sorted(rows, key=worst)


def _ranked(
    tables: list[dict[Key, Figures]], matched: Matched, columns: list[list[Profile]], metric: str
) -> list[list[tuple[float | None, str]]]:
    """Each column by itself, worst first, under its own names."""
    ranked: list[list[tuple[float | None, str]]] = [[] for _ in columns]
    for keys in matched.rows:
        figures = _columns(columns, [None if key is None else tables[f][key] for f, key in enumerate(keys)])
        first = 0
        for at, column in enumerate(columns):
            name = next((key.name for key in keys[first : first + len(column)] if key is not None), "")
            first += len(column)
            if (row := figures[at]) is not None:
                ranked[at].append((row[metric], name))
    for rows in ranked:
        rows.sort(key=lambda row: (row[0] is None, -(row[0] or 0.0), row[1]))
    return ranked


def _renamed(diff: ProfileDiff) -> list[str]:
    """A lock that is gone and one that is new, and no other such: they may be one under another name."""
    if len(diff.columns) != 2 or diff.by == "class":
        return []
    sides = []
    for here, there in ((0, 1), (1, 0)):
        total = diff.totals[here][diff.metric] or 0.0
        # what is next to nothing comes and goes
        floor = total / 100 if diff.metric in SUMS else 0.0
        sides.append(
            [
                name
                for name, row in diff.rows
                if row[there] is None and (figures := row[here]) and (figures[diff.metric] or 0.0) > floor
            ]
        )
    if [len(side) for side in sides] != [1, 1]:
        return []
    gone, new = sides[0][0], sides[1][0]
    return [
        f"{gone} is gone and {new} is new: if that is one lock under another name, give --same '{gone}={new}'"
    ]


def total_of(rows: Sequence[Figures | None]) -> Figures:
    """The figures of all rows together: sums, the longest of all, the mean of all.

    A mean is not told where a row has a time and no count to go with it.
    """
    figures: Figures = {}
    for name in (*SUMS, *LONGEST):
        told = [row[name] for row in rows if row is not None and row[name] is not None]
        figures[name] = (sum(told) if name in SUMS else max(told)) if told else None
    for mean, total, counts in (
        ("wait_avg_us", "wait_us", ("contended", "count")),
        ("hold_avg_us", "hold_us", ("count",)),
    ):
        timed = [row for row in rows if row is not None and row[total] is not None]
        waits = [next((row[name] for name in counts if row[name] is not None), None) for row in timed]
        known = sum(count for count in waits if count is not None)
        figures[mean] = figures[total] / known if known and None not in waits else None
    return figures


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of the first column's worst lock, in another column; the figures are those of the metric.

    `saved` less was waited on it, `back` more on locks that grew (worst first in `grew`), and `fell` less on the
    other locks that fell.
    """

    profile: str
    lock: str
    before: float
    after: float
    back: float
    fell: float
    grew: tuple[tuple[str, float], ...]
    sides: tuple[Figures | None, Figures | None]  # all that is known of the lock, before and after

    @property
    def saved(self) -> float:
        """Waiting that left the lock; negative when it grew."""
        return self.before - self.after

    @property
    def share(self) -> float | None:
        """The part of what was saved that came back elsewhere; None where nothing was."""
        return self.back / self.saved if self.saved > 0 else None


def moved(diff: ProfileDiff) -> list[Moved]:
    """For every column after the first: where did the wait on the first one's worst lock go?

    Empty where the figure is no sum: a mean does not move from lock to lock.
    """
    metric = diff.metric
    told = [row for row in diff.rows if row[1][0] is not None and row[1][0][metric]]
    if not told or metric not in SUMS:
        return []
    worst = told[0]
    result = []
    for column in range(1, len(diff.columns)):
        changes = []
        for name, figures in diff.rows:
            before, after = ((f or {}).get(metric) or 0.0 for f in (figures[0], figures[column]))
            if name != worst[0]:
                changes.append((name, after - before))
        grew = sorted(
            (change for change in changes if change[1] > 0), key=lambda change: (-change[1], change[0])
        )
        before, after = ((f or {}).get(metric) or 0.0 for f in (worst[1][0], worst[1][column]))
        result.append(
            Moved(
                profile=diff.names[column],
                lock=worst[0],
                before=before,
                after=after,
                back=sum(change for _, change in grew),
                fell=-sum(change for _, change in changes if change < 0),
                grew=tuple(grew),
                sides=(worst[1][0], worst[1][column]),
            )
        )
    return result


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that a profile breaks: the figure before and after, and what the rule holds against its bound.

    `within` says that the change is within the spread of the runs; None without runs.
    """

    rule: Rule
    profile: str
    before: float
    after: float
    found: float
    within: bool | None = None


def judge(diff: ProfileDiff, rules: Sequence[Rule]) -> list[Broken]:
    """The rules that are broken; UserError for a lock that no profile has.

    For a lock that one of the profiles lacks, its figures there are 0.
    """
    broken = []
    for rule in rules:
        metric = METRICS[rule.metric]
        if rule.lock == TOTAL:
            figures: list[Figures | None] = [*diff.totals]
        else:
            row = diff.row(rule.lock)
            if row is None:
                raise UserError(f"--fail-if {rule.text!r}: no profile has a lock {rule.lock!r}")
            figures = row[1]
        for column in range(1, len(figures)):
            before, after = figures[0], figures[column]
            for side, name in ((before, diff.names[0]), (after, diff.names[column])):
                if side is not None and side[metric] is None:
                    raise UserError(
                        f"--fail-if {rule.text!r}: {name} does not tell {rule.metric} of {rule.lock}"
                    )
            old, new = ((side or {}).get(metric) or 0.0 for side in (before, after))
            fails, found = rule.broken(old, new)
            if fails:
                within = within_spread(before, after, metric)
                broken.append(Broken(rule, diff.names[column], old, new, found, within))
    return broken
