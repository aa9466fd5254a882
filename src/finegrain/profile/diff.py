"""Several profiles side by side, joined, and where the waiting went."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finegrain.errors import UserError
from finegrain.profile.group import FIGURES, LONGEST, SUMS, Grouped, grouped, row_name
from finegrain.profile.match import Key, Matched, match
from finegrain.profile.rules import METRICS, Rule
from finegrain.profile.spans import given_spans
from finegrain.profile.table import Profile

Figures = dict[str, Any]
TOTAL = "total"


@dataclass(slots=True)
class ProfileDiff:
    """Profiles joined by lock.

    `rows` is a list of (name, figures of each profile or None), worst wait of the first profile first;
    `ranked` the (wait, name) list of each profile by itself; `spans` how long each was taken, None where that is not
    known, and `factors` what its figures were multiplied by, None if they are as read.
    """

    names: list[str]
    by: str
    rows: list[tuple[str, list[Figures | None]]]
    ranked: list[list[tuple[float | None, str]]]
    totals: list[Figures]
    spans: list[float | None]
    factors: list[float] | None
    notes: list[str]

    def row(self, lock: str) -> tuple[str, list[Figures | None]] | None:
        """The row of a lock by its name, with its class or, where that is no question, without."""
        found = [row for row in self.rows if row[0] == lock]
        found = found or [row for row in self.rows if row[0].partition(":")[2] == lock]
        if len(found) > 1:
            raise UserError(f"{lock}: {len(found)} locks have this name; give the class too: {found[0][0]}")
        return found[0] if found else None


def diff_profiles(
    profiles: Sequence[Profile], *, by: str = "lock", spans: str | None = None, exact: bool = False
) -> ProfileDiff:
    """Join `profiles`; figures are scaled to the first one's span where spans are known or given.

    Raises UserError when no profile has waiting times in it, or when `spans` does not fit.
    """
    given = given_spans(spans, len(profiles))
    groups = [grouped(profile, by) for profile in profiles]
    if len({group.by for group in groups}) > 1:
        groups = [grouped(profile, "class") for profile in profiles]
        mixed = "some profiles name locks and some only callers: compared by class of lock"
    else:
        mixed = ""
    known = [
        own if told is None else told for told, own in zip(given, (p.span_s for p in profiles), strict=True)
    ]
    factors = _factors(profiles, known) if spans is not None else None
    notes = [mixed] if mixed else []
    notes += sorted({note for group in groups for note in group.notes})
    notes += _differences(profiles)
    tables = [_figures(group, factors[at] if factors else 1.0) for at, group in enumerate(groups)]
    matched = match([list(table) for table in tables], exact=exact)
    notes += matched.notes
    totals = [total_of(list(table.values())) for table in tables]
    if all(total["wait_us"] is None for total in totals):
        raise UserError("none of these profiles has waiting times in it: there is nothing to compare")
    return ProfileDiff(
        names=[profile.name for profile in profiles],
        by=groups[0].by,
        rows=_joined(tables, matched),
        ranked=[[(figures["wait_us"], row_name(*key)) for key, figures in table.items()] for table in tables],
        totals=totals,
        spans=known,
        factors=factors,
        notes=notes,
    )


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


def _figures(group: Grouped, factor: float) -> dict[Key, Figures]:
    table: dict[Key, Figures] = {}
    for row in group.table.select("lock_class", "lock", "site", *FIGURES).to_dicts():
        key = (row.pop("lock_class"), row.pop("lock"), row.pop("site"))
        for name in SUMS:
            if row[name] is not None and factor != 1.0:
                row[name] *= factor
        table[key] = row
    return table


def _joined(tables: list[dict[Key, Figures]], matched: Matched) -> list[tuple[str, list[Figures | None]]]:
    """Rows by name, worst wait of the first profile first, then of the second, and so on."""
    rows = [
        (matched.name(at), [None if key is None else tables[file][key] for file, key in enumerate(keys)])
        for at, keys in enumerate(matched.rows)
    ]

    def worst(row: tuple[str, list[Figures | None]]) -> tuple[Any, ...]:
        waits = [-1.0 if figures is None else figures["wait_us"] or 0.0 for figures in row[1]]
        return (*[-wait for wait in waits], row[0])

    return sorted(rows, key=worst)


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
    """What became of the first profile's worst lock, in another profile.

    `gained_us` less was waited on it, `back_us` more on locks that grew (worst first in `grew`), and
    `fell_us` less on the other locks that fell.
    """

    profile: str
    lock: str
    before_us: float
    after_us: float
    back_us: float
    fell_us: float
    grew: tuple[tuple[str, float], ...]

    @property
    def gained_us(self) -> float:
        """Waiting that left the lock; negative when it grew."""
        return self.before_us - self.after_us

    @property
    def share(self) -> float | None:
        """The part of the gain that came back elsewhere; None without a gain."""
        return self.back_us / self.gained_us if self.gained_us > 0 else None


def moved(diff: ProfileDiff) -> list[Moved]:
    """For every profile after the first: where did the wait on the first one's worst lock go?"""
    told = [row for row in diff.rows if row[1][0] is not None and row[1][0]["wait_us"]]
    if not told:
        return []
    worst = told[0]
    result = []
    for file in range(1, len(diff.names)):
        changes = []
        for name, figures in diff.rows:
            before, after = (0.0 if f is None else f["wait_us"] or 0.0 for f in (figures[0], figures[file]))
            if name != worst[0]:
                changes.append((name, after - before))
        grew = sorted(
            (change for change in changes if change[1] > 0), key=lambda change: (-change[1], change[0])
        )
        before, after = ((f or {}).get("wait_us") or 0.0 for f in (worst[1][0], worst[1][file]))
        result.append(
            Moved(
                profile=diff.names[file],
                lock=worst[0],
                before_us=before,
                after_us=after,
                back_us=sum(change for _, change in grew),
                fell_us=-sum(change for _, change in changes if change < 0),
                grew=tuple(grew),
            )
        )
    return result


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that a profile breaks: the figure before and after, and what the rule holds against its bound."""

    rule: Rule
    profile: str
    before: float
    after: float
    found: float


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
        for file in range(1, len(figures)):
            before, after = figures[0], figures[file]
            for side, name in ((before, diff.names[0]), (after, diff.names[file])):
                if side is not None and side[metric] is None:
                    raise UserError(
                        f"--fail-if {rule.text!r}: {name} does not tell {rule.metric} of {rule.lock}"
                    )
            old, new = ((side or {}).get(metric) or 0.0 for side in (before, after))
            fails, found = rule.broken(old, new)
            if fails:
                broken.append(Broken(rule, diff.names[file], old, new, found))
    return broken
