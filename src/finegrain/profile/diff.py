"""`finegrain diff`: several profiles side by side, joined, and where the waiting went."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from finegrain.errors import UserError
from finegrain.profile.group import FIGURES, SUMS, Grouped, grouped, row_name
from finegrain.profile.match import Key, Matched, match
from finegrain.profile.render import seconds
from finegrain.profile.rules import METRICS, Rule
from finegrain.profile.spans import given_spans
from finegrain.profile.table import Profile

Figures = dict[str, Any]
TOTAL = "total"


@dataclass(slots=True)
class Comparison:
    """Profiles joined by lock.

    `rows` is a list of (name, figures of each profile or None), worst wait of the first profile first;
    `ranked` the (wait, name) list of each profile by itself.
    """

    names: list[str]
    by: str
    rows: list[tuple[str, list[Figures | None]]]
    ranked: list[list[tuple[float | None, str]]]
    totals: list[float | None]
    notes: list[str] = field(default_factory=list)

    def row(self, lock: str) -> tuple[str, list[Figures | None]] | None:
        """The row of a lock by its name, with its class or, where that is no question, without."""
        found = [row for row in self.rows if row[0] == lock]
        found = found or [row for row in self.rows if row[0].partition(":")[2] == lock]
        if len(found) > 1:
            raise UserError(f"{lock}: {len(found)} locks have this name; give the class too: {found[0][0]}")
        return found[0] if found else None


def compare(
    profiles: Sequence[Profile], *, by: str = "lock", spans: str | None = None, exact: bool = False
) -> Comparison:
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
    factors, notes = _factors(profiles, given, scaled=spans is not None)
    notes += [mixed] if mixed else []
    notes += sorted({note for group in groups for note in group.notes})
    notes += _differences(profiles)
    tables = [_figures(group, factor) for group, factor in zip(groups, factors, strict=True)]
    matched = match([list(table) for table in tables], exact=exact)
    notes += matched.notes
    return _joined(profiles, groups[0].by, tables, matched, notes)


def _factors(
    profiles: Sequence[Profile], given: list[float | None], *, scaled: bool
) -> tuple[list[float], list[str]]:
    """By what each profile is multiplied to last as long as the first, and what to say about it."""
    spans = [
        own if told is None else told for told, own in zip(given, (p.span_s for p in profiles), strict=True)
    ]
    if not scaled:
        known = {span for span in spans if span is not None}
        if len(known) > 1 or (known and None in spans):
            listed = ", ".join(seconds(span) if span else "not told" for span in spans)
            return [1.0] * len(spans), [
                f"spans differ ({listed}): figures are as read; --span T1,T2 scales to T1"
            ]
        return [1.0] * len(spans), []
    if None in spans:
        which = profiles[spans.index(None)].name
        raise UserError(f"--span: {which} does not say how long it was taken; give its span too")
    first = spans[0] or 1.0
    factors = [first / (span or first) for span in spans]
    scaled_names = [
        f"{p.name} x {factor:.6g}" for p, factor in zip(profiles, factors, strict=True) if factor != 1.0
    ]
    return factors, [f"scaled to {seconds(first)}: {', '.join(scaled_names)}"] if scaled_names else []


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


def _joined(
    profiles: Sequence[Profile], by: str, tables: list[dict[Key, Figures]], matched: Matched, notes: list[str]
) -> Comparison:
    rows = [
        (matched.name(at), [None if key is None else tables[file][key] for file, key in enumerate(keys)])
        for at, keys in enumerate(matched.rows)
    ]

    def worst(row: tuple[str, list[Figures | None]]) -> tuple[Any, ...]:
        waits = [-1.0 if figures is None else figures["wait_us"] or 0.0 for figures in row[1]]
        return (*[-wait for wait in waits], row[0])

    ranked = [[(figures["wait_us"], row_name(*key)) for key, figures in table.items()] for table in tables]
    totals = [_total([figures["wait_us"] for figures in table.values()]) for table in tables]
    if all(total is None for total in totals):
        raise UserError("none of these profiles has waiting times in it: there is nothing to compare")
    return Comparison([p.name for p in profiles], by, sorted(rows, key=worst), ranked, totals, notes)


def _total(values: Sequence[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return sum(told) if told else None


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


def moved(comparison: Comparison) -> list[Moved]:
    """For every profile after the first: where did the wait on the first one's worst lock go?"""
    told = [row for row in comparison.rows if row[1][0] is not None and row[1][0]["wait_us"]]
    if not told:
        return []
    worst = told[0]
    result = []
    for file in range(1, len(comparison.names)):
        changes = []
        for name, figures in comparison.rows:
            before, after = (0.0 if f is None else f["wait_us"] or 0.0 for f in (figures[0], figures[file]))
            if name != worst[0]:
                changes.append((name, after - before))
        grew = sorted(
            (change for change in changes if change[1] > 0), key=lambda change: (-change[1], change[0])
        )
        before, after = ((f or {}).get("wait_us") or 0.0 for f in (worst[1][0], worst[1][file]))
        result.append(
            Moved(
                profile=comparison.names[file],
                lock=worst[0],
                before_us=before,
                after_us=after,
                back_us=sum(change for _, change in grew),
                fell_us=-sum(change for _, change in changes if change < 0),
                grew=tuple(grew),
            )
        )
    return result


def judge(comparison: Comparison, rules: Sequence[Rule]) -> list[str]:
    """The rules that are broken, each with its numbers; UserError for a lock that no profile has."""
    broken = []
    for rule in rules:
        metric = METRICS[rule.metric]
        if rule.lock == TOTAL:
            figures: list[Figures | None] = [
                {metric: _total([(row[1][file] or {}).get(metric) for row in comparison.rows])}
                for file in range(len(comparison.names))
            ]
        else:
            row = comparison.row(rule.lock)
            if row is None:
                raise UserError(f"--fail-if {rule.text!r}: no profile has a lock {rule.lock!r}")
            figures = row[1]
        for file in range(1, len(figures)):
            before, after = figures[0], figures[file]
            for side, name in ((before, comparison.names[0]), (after, comparison.names[file])):
                if side is not None and side[metric] is None:
                    raise UserError(
                        f"--fail-if {rule.text!r}: {name} does not tell {rule.metric} of {rule.lock}"
                    )
            fails, numbers = rule.broken(
                *(None if side is None else side[metric] for side in (before, after))
            )
            if fails:
                broken.append(f"{rule.text}: {comparison.names[file]}: {numbers}")
    return broken
