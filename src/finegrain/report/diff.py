"""Profiles side by side, joined, and where the waiting went: text, markdown and JSON draw the same numbers."""

import json
from typing import Any

from finegrain.profile.diff import Broken, Figures, Moved, ProfileDiff, moved
from finegrain.profile.group import FIGURES
from finegrain.profile.rules import METRICS
from finegrain.report.table import Column, Table, as_markdown, as_text
from finegrain.report.words import Cell, figure, markdown, printable, seconds

SCHEMA = "finegrain.diff/1"


def change(before: Figures | None, after: Figures | None) -> tuple[str, str]:
    """Absolute and relative change of a lock's wait, as they are printed.

    A lock that a profile lacks was not waited on there; a lock whose wait is not told has no change.
    """
    waits = [0.0 if figures is None else figures["wait_us"] for figures in (before, after)]
    old, new = waits
    if old is None or new is None:
        return "-", "-"
    absolute = f"{'+' if new > old else ''}{figure(float(new - old))}"
    if before is None or after is None:
        return absolute, "new" if before is None else "gone"
    if old == 0:
        return absolute, "0" if new == 0 else "from 0"
    return absolute, f"{(new - old) / old * 100:+,.1f}%"


def _ranked(diff: ProfileDiff, top: int) -> Table:
    columns = [Column("")]
    for at, _ in enumerate(diff.names):
        columns += [Column(f"[{at + 1}] wait (us)"), Column("lock", left=True)]
    height = max(len(column) for column in diff.ranked)
    height = min(height, top) if top else height
    rows: list[list[Cell]] = []
    for at in range(height):
        row: list[Cell] = [at + 1]
        for column in diff.ranked:
            row += [column[at][0], column[at][1]] if at < len(column) else ["", ""]
        rows.append(row)
    return Table(columns, rows)


def _joined(diff: ProfileDiff, top: int) -> Table:
    headings = ["[1] wait (us)"]
    for at in range(2, len(diff.names) + 1):
        headings += [f"[{at}] wait (us)", "change", "%"]
    rows: list[list[Cell]] = []
    for name, figures in [*(diff.rows[:top] if top else diff.rows), ("total", [*diff.totals])]:
        waits = [None if f is None else f["wait_us"] for f in figures]
        row: list[Cell] = [waits[0]]
        for file in range(1, len(waits)):
            row += [
                waits[file],
                *(("", "") if waits[0] is waits[file] is None else change(figures[0], figures[file])),
            ]
        rows.append([*row, name])
    return Table([*[Column(heading) for heading in headings], Column("lock", left=True)], rows)


def _moved_text(move: Moved) -> str:
    head = f"{move.profile}: {move.lock} {figure(move.before_us)} -> {figure(move.after_us)} us"
    if move.share is None:
        return f"{head}: nothing gained; other locks {figure(move.back_us - move.fell_us)} us in sum"
    text = (
        f"{head}: gained {figure(move.gained_us)} us, of which {figure(move.back_us)} us "
        f"({move.share * 100:.1f}%) came back as waiting elsewhere"
    )
    if move.grew:
        text += ": " + ", ".join(f"{name} +{figure(more)}" for name, more in move.grew[:3])
        text += f" and {len(move.grew) - 3} more" if len(move.grew) > 3 else ""
    return text + f"; {figure(move.fell_us)} us less on the others"


def _spans_note(diff: ProfileDiff) -> str | None:
    """What was done about profiles that were taken for different times."""
    spans, factors = diff.spans, diff.factors
    if factors is None:
        if len(set(spans)) < 2:
            return None
        listed = ", ".join(seconds(span) if span else "not told" for span in spans)
        return f"spans differ ({listed}): figures are as read; --span T1,T2 scales to T1"
    scaled = [
        f"{name} x {factor:.6g}" for name, factor in zip(diff.names, factors, strict=True) if factor != 1.0
    ]
    return f"scaled to {seconds(spans[0] or 1.0)}: {', '.join(scaled)}" if scaled else None


def notes_of(diff: ProfileDiff) -> list[str]:
    """What a reader of the figures must know, a line each."""
    note = _spans_note(diff)
    return ([note] if note else []) + diff.notes


def broken_text(broken: Broken) -> str:
    """A rule that is broken, where, and in what numbers."""
    rule = broken.rule
    unit = "%" if rule.kind == "percent" else " us" if METRICS[rule.metric].endswith("_us") else ""
    sign = "" if rule.kind == "value" else "+" if broken.found > 0 else ""
    shown = "from nothing" if broken.found == float("inf") else f"{sign}{figure(broken.found)}{unit}"
    return f"{rule.text}: {broken.profile}: {figure(broken.before)} -> {figure(broken.after)}: {shown}"


def text(diff: ProfileDiff, top: int) -> str:
    """The comparison as plain tables."""
    lines = [f"[{at}] {printable(name)}" for at, name in enumerate(diff.names, 1)]
    lines += ["", as_text(_ranked(diff, top)), "", as_text(_joined(diff, top))]
    hidden = len(diff.rows) - (min(top, len(diff.rows)) if top else len(diff.rows))
    if hidden:
        lines.append(f"... and {hidden:,} more (--top 0 shows all); the total has them all")
    moves = moved(diff)
    if moves:
        lines += ["", "Where did the wait go?", *[f"  {printable(_moved_text(move))}" for move in moves]]
    return "\n".join(lines)


def markdown_text(diff: ProfileDiff, top: int) -> str:
    """The comparison as markdown, notes at the end."""
    parts = ["\n".join(f"{at}. {markdown(name)}" for at, name in enumerate(diff.names, 1))]
    parts += [as_markdown(_ranked(diff, top)), as_markdown(_joined(diff, top))]
    moves = moved(diff)
    if moves:
        parts.append(
            "Where did the wait go?\n\n" + "\n".join(f"- {markdown(_moved_text(move))}" for move in moves)
        )
    if notes := notes_of(diff):
        parts.append("\n".join(f"- {markdown(note)}" for note in notes))
    return "\n\n".join(parts)


def as_json(diff: ProfileDiff, broken: list[Broken]) -> str:
    """The comparison, every row and full precision."""
    locks: list[dict[str, Any]] = [
        {
            "lock": name,
            "figures": [
                None if f is None else {key: f[key] for key in FIGURES if f[key] is not None} for f in figures
            ],
        }
        for name, figures in diff.rows
    ]
    document = {
        "schema": SCHEMA,
        "profiles": diff.names,
        "by": diff.by,
        "locks": locks,
        "total_wait_us": [total["wait_us"] for total in diff.totals],
        "moved": [
            {
                "profile": move.profile,
                "lock": move.lock,
                "before_us": move.before_us,
                "after_us": move.after_us,
                "gained_us": move.gained_us,
                "back_us": move.back_us,
                "back_share": move.share,
                "fell_us": move.fell_us,
                "grew": [list(pair) for pair in move.grew],
            }
            for move in moved(diff)
        ],
        "failed": [broken_text(rule) for rule in broken],
        "notes": notes_of(diff),
    }
    return json.dumps(document, indent=1, allow_nan=False)
