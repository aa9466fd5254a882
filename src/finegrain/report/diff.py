"""Profiles side by side, joined, and where the waiting went: text, markdown and JSON draw the same numbers."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from finegrain.profile.diff import Broken, Moved, ProfileDiff, moved
from finegrain.profile.group import FIGURES
from finegrain.profile.rules import METRICS
from finegrain.profile.runs import RANGE, Figures, within_spread
from finegrain.report.profile import COLUMNS, title_of
from finegrain.report.stream import Lines, json_pieces
from finegrain.report.table import Column, Table, as_markdown, as_text
from finegrain.report.words import Cell, figure, markdown, printable, seconds

SCHEMA = "finegrain.diff/2"
WORDS = {name: word for word, name in METRICS.items()}
# What stands beside the figure that is compared.
_BESIDE = ("wait_us", "contended", "count", "wait_avg_us", "hold_us")
# What may go from lock to lock.
_WENT = {"wait_us": "wait", "hold_us": "hold", "contended": "contention", "count": "acquisitions"}
_LISTED = 5  # joins by one rule, and names of one note


def ratio(old: float, new: float) -> str:
    """How many times less or more."""
    if old == new:
        return "same"
    if not old or not new:
        return "from 0" if not old else "to 0"
    times = max(old / new, new / old)
    shown = f"{times:.2f}" if times < 10 else f"{times:.1f}" if times < 100 else f"{times:,.0f}"
    return f"{shown}x" if shown == "1.00" else f"{shown}x {'less' if new < old else 'more'}"


def change(before: Figures | None, after: Figures | None, metric: str, cut: bool) -> tuple[str, str, str]:
    """Absolute and relative change of a figure and its ratio, as they are printed.

    A lock that a profile lacks was not waited on there, unless the list in which it is missing may be `cut`; a lock
    whose figure is not told has no change.
    """
    old, new = (0.0 if figures is None else figures[metric] for figures in (before, after))
    if old is None or new is None:
        return "-", "-", ""
    missing = before is None or after is None
    if missing and cut:
        return "-", "not in the list", ""
    absolute = f"{'+' if new > old else ''}{figure(float(new - old))}"
    if missing:
        return absolute, "new" if before is None else "gone", ""
    if old == 0:
        return absolute, "0" if new == 0 else "from 0", ""
    return absolute, f"{(new - old) / old * 100:+,.1f}%", ratio(old, new)


def _top(diff: ProfileDiff, top: int) -> list[tuple[str, list[Figures | None]]]:
    return diff.rows[:top] if top else diff.rows


def _ranked(diff: ProfileDiff, top: int) -> Table:
    columns = [Column("")]
    for at, _ in enumerate(diff.names):
        columns += [Column(f"[{at + 1}] {COLUMNS[diff.metric]}"), Column("lock", left=True)]
    height = max(len(column) for column in diff.ranked)
    height = min(height, top) if top else height
    rows: list[list[Cell]] = []
    for at in range(height):
        row: list[Cell] = [at + 1]
        for column in diff.ranked:
            row += [column[at][0], column[at][1]] if at < len(column) else ["", ""]
        rows.append(row)
    return Table(columns, rows)


def _span_of_runs(figures: Figures | None, metric: str) -> str:
    ends = (figures or {}).get(RANGE, {}).get(metric)
    return f"{figure(ends[0])} .. {figure(ends[1])}" if ends else "-"


def _joined(diff: ProfileDiff, top: int) -> Table:
    metric, several = diff.metric, [len(column) > 1 for column in diff.columns]
    headings: list[str] = []
    for at, _ in enumerate(diff.columns):
        headings.append(f"[{at + 1}] {COLUMNS[metric]}")
        headings += ["of the runs"] if several[at] else []
        headings += ["change", "%", "ratio"] if at else []
        headings += ["spread"] if at and diff.runs else []
    rows: list[list[Cell]] = []
    total: tuple[str, list[Figures | None]] = ("total", [*diff.totals])
    for name, figures in [*_top(diff, top), total]:
        row: list[Cell] = []
        for at, side in enumerate(figures):
            row.append(None if side is None else side[metric])
            row += [_span_of_runs(side, metric)] if several[at] else []
            if not at:
                continue
            nowhere = side is figures[0] is None
            cut = diff.cut[0 if figures[0] is None else at] is not None
            row += ["", "", ""] if nowhere else change(figures[0], side, metric, cut)
            if diff.runs:
                row.append("within" if not nowhere and diff.within(figures, at) else "")
        rows.append([*row, name])
    return Table([*[Column(heading) for heading in headings], Column("lock", left=True)], rows)


def _beside(diff: ProfileDiff, top: int) -> Table | None:
    """What the locks of the joined table did besides, from column to column."""
    names = [
        name
        for name in _BESIDE
        if name != diff.metric and any(total.get(name) is not None for total in diff.totals)
    ]
    total: tuple[str, list[Figures | None]] = ("total", [*diff.totals])
    rows: list[list[Cell]] = [
        [
            *[
                " -> ".join(figure(None if side is None else side[name]) for side in figures)
                for name in names
            ],
            lock,
        ]
        for lock, figures in [*_top(diff, top), total]
    ]
    columns = [*[Column(COLUMNS[name]) for name in names], Column("lock", left=True)]
    return Table(columns, rows) if names else None


def _why(diff: ProfileDiff, move: Moved) -> str:
    """What a lock's change is made of: how often it was taken and waited for, and how long each time."""
    before, after = move.sides
    if before is None or after is None:
        return ""
    parts = [
        f"{WORDS[name]} {ratio(before[name], after[name])}"
        for name in ("count", "contended", "wait_avg_us", "hold_avg_us")
        if name != diff.metric and before[name] is not None and after[name] is not None
    ]
    return f" ({', '.join(parts)})" if parts else ""


def _moved_text(diff: ProfileDiff, move: Moved) -> str:
    unit = " us" if diff.metric.endswith("_us") else ""
    head = f"{move.profile}: {move.lock} {figure(move.before)} -> {figure(move.after)}{unit}"
    head += _why(diff, move)
    if within_spread(*move.sides, diff.metric):
        head += ", within the spread of the runs"
    if move.share is None:
        return f"{head}: nothing saved; other locks {figure(move.back - move.fell)}{unit} in sum"
    elsewhere = "as waiting elsewhere" if diff.metric == "wait_us" else "on other locks"
    text = (
        f"{head}: saved {figure(move.saved)}{unit}, of which {figure(move.back)}{unit} "
        f"({move.share * 100:.1f}%) came back {elsewhere}"
    )
    if move.grew:
        text += ": " + ", ".join(f"{name} +{figure(more)}" for name, more in move.grew[:3])
        text += f" and {len(move.grew) - 3} more" if len(move.grew) > 3 else ""
    return text + f"; {figure(move.fell)}{unit} less on the others"


def _moves(diff: ProfileDiff) -> list[str]:
    return [_moved_text(diff, move) for move in moved(diff)]


def _spans_note(diff: ProfileDiff) -> str | None:
    """What was done about profiles that were taken for different times."""
    spans, factors = diff.spans, diff.factors
    if factors is None:
        if len(set(spans)) < 2:
            return None
        listed = ", ".join(seconds(span) if span else "not told" for span in spans)
        return f"spans differ ({listed}): figures are as read; --span T1,T2 scales to T1"
    scaled = [
        f"{profile.name} x {factor:.6g}"
        for profile, factor in zip(diff.profiles, factors, strict=True)
        if factor != 1.0
    ]
    return f"scaled to {seconds(spans[0] or 1.0)}: {', '.join(scaled)}" if scaled else None


def _runs_notes(diff: ProfileDiff) -> list[str]:
    if not diff.runs:
        return []
    notes = []
    for at, column in enumerate(diff.columns):
        if len(column) > 1:
            notes.append(
                f"[{at + 1}] is the mean of {len(column)} runs, the lowest and the highest beside it"
            )
    ours, theirs = len(diff.columns[0]), len(diff.columns[1])
    notes.append(
        f"within: the runs of the two sides overlap; {ours} and {theirs} runs of one kernel do not overlap by "
        f"chance in {diff.chance(1):.0%} of locks"
    )
    return notes


def _cut_notes(diff: ProfileDiff, top: int) -> list[str]:
    notes = []
    for at, option in enumerate(diff.cut):
        if option and any(figures[at] is None for _, figures in _top(diff, top)):
            notes.append(
                f"[{at + 1}] {diff.names[at]}: the list may have been cut ({option}): a lock that is not in it is "
                "counted as 0, but may have as much as the last one that is"
            )
    return notes


def _join_notes(diff: ProfileDiff, top: int) -> list[str]:
    """The joins by rule of rows that are shown, and how many there are of the others."""
    shown = {name for name, _ in _top(diff, top)}
    listed, counted = defaultdict(list), 0
    for join in diff.joins:
        if join.ours in shown:
            listed[join.rule].append(f"{join.theirs} is taken for {join.ours}")
        else:
            counted += 1
    notes = []
    for rule, texts in listed.items():
        notes += [f"{text}: {rule}" for text in texts[:_LISTED]]
        if len(texts) > _LISTED:
            notes.append(f"{len(texts) - _LISTED:,} more names are joined: {rule}")
    if counted:
        notes.append(f"{counted:,} names of rows that are not shown are joined by rule (--json lists them)")
    apart = [apart for apart in diff.apart if shown & set(apart.names)]
    for one in apart[:_LISTED]:
        more = f" and {len(one.names) - _LISTED:,} more" if len(one.names) > _LISTED else ""
        notes.append(
            f"left apart, {one.rule} would join more than two: {', '.join(one.names[:_LISTED])}{more}"
        )
    if len(apart) > _LISTED:
        notes.append(f"{len(apart) - _LISTED:,} more such names are left apart (--by lock adds them up)")
    return notes


def notes_of(diff: ProfileDiff, top: int = 0) -> list[str]:
    """What a reader of the figures that are shown must know, a line each."""
    note = _spans_note(diff)
    notes = ([note] if note else []) + _runs_notes(diff) + diff.notes
    return notes + _cut_notes(diff, top) + _join_notes(diff, top)


def broken_text(broken: Broken) -> str:
    """A rule that is broken, where, and in what numbers."""
    rule = broken.rule
    unit = "%" if rule.kind == "percent" else " us" if METRICS[rule.metric].endswith("_us") else ""
    sign = "" if rule.kind == "value" else "+" if broken.found > 0 else ""
    shown = "from nothing" if broken.found == float("inf") else f"{sign}{figure(broken.found)}{unit}"
    within = ", within the spread of the runs" if broken.within else ""
    return (
        f"{rule.text}: {broken.profile}: {figure(broken.before)} -> {figure(broken.after)}: {shown}{within}"
    )


def _titles(diff: ProfileDiff) -> list[str]:
    return [f"[{at}] {title_of(profile)}" for at, column in enumerate(diff.columns, 1) for profile in column]


def text(diff: ProfileDiff, top: int) -> str:
    """The comparison as plain tables."""
    lines = [*_titles(diff), "", as_text(_ranked(diff, top)), "", as_text(_joined(diff, top))]
    hidden = len(diff.rows) - len(_top(diff, top))
    if hidden:
        lines.append(f"... and {hidden:,} more (--top 0 shows all); the total has them all")
    if beside := _beside(diff, top):
        lines += ["", as_text(beside)]
    if moves := _moves(diff):
        lines += ["", f"Where did the {_WENT[diff.metric]} go?", *[f"  {printable(move)}" for move in moves]]
    return "\n".join(lines)


def markdown_text(diff: ProfileDiff, top: int, *, quiet: bool = False) -> str:
    """The comparison as markdown, notes at the end."""
    parts = ["\n".join(f"- {markdown(title)}" for title in _titles(diff))]
    parts += [as_markdown(_ranked(diff, top)), as_markdown(_joined(diff, top))]
    if beside := _beside(diff, top):
        parts.append(as_markdown(beside))
    if moves := _moves(diff):
        parts.append(
            f"Where did the {_WENT[diff.metric]} go?\n\n" + "\n".join(f"- {markdown(move)}" for move in moves)
        )
    if not quiet and (notes := notes_of(diff, top)):
        parts.append("\n".join(f"- {markdown(note)}" for note in notes))
    return "\n\n".join(parts)


def _told(figures: Figures | None) -> dict[str, Any] | None:
    if figures is None:
        return None
    told = {name: figures[name] for name in FIGURES if figures.get(name) is not None}
    ranges = {name: list(ends) for name, ends in figures.get(RANGE, {}).items()}
    return told | ({"of_the_runs": ranges} if ranges else {})


def _lock(diff: ProfileDiff, name: str, figures: list[Figures | None]) -> dict[str, Any]:
    row: dict[str, Any] = {"lock": name, "figures": [_told(side) for side in figures]}
    if diff.runs:
        row["within_spread"] = [diff.within(figures, at) for at in range(1, len(figures))]
    return row


def as_json(diff: ProfileDiff, broken: list[Broken]) -> Iterator[str]:
    """The comparison, every row and full precision, in pieces."""
    document = {
        "schema": SCHEMA,
        "columns": [
            [
                {"name": p.name, "title": p.title, "format": p.format, "system": p.system, "span_s": p.span_s}
                for p in column
            ]
            for column in diff.columns
        ],
        "by": diff.by,
        "metric": diff.metric,
        "locks": Lines(_lock(diff, name, figures) for name, figures in diff.rows),
        "totals": [_told(total) for total in diff.totals],
        "moved": Lines(
            {
                "profile": move.profile,
                "lock": move.lock,
                "before": move.before,
                "after": move.after,
                "saved": move.saved,
                "back": move.back,
                "back_share": move.share,
                "fell": move.fell,
                "grew": [list(pair) for pair in move.grew],
            }
            for move in moved(diff)
        ),
        "joined": Lines({"lock": one.ours, "is": one.theirs, "rule": one.rule} for one in diff.joins),
        "left_apart": Lines({"names": list(apart.names), "rule": apart.rule} for apart in diff.apart),
        "lists_may_be_cut": [option is not None for option in diff.cut],
        "failed": [broken_text(rule) for rule in broken],
        "notes": [note for note in [_spans_note(diff), *_runs_notes(diff), *diff.notes] if note],
    }
    return json_pieces(document)
