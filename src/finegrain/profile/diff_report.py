"""The pages of `finegrain diff`: text, markdown and JSON draw the same numbers."""

import json
from typing import Any

from finegrain.profile.diff import Comparison, Figures, Moved, moved
from finegrain.profile.group import FIGURES
from finegrain.profile.names import markdown, printable
from finegrain.profile.render import Cell, figure, markdown_table, text_table

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


def _ranked(comparison: Comparison, top: int) -> tuple[list[str], list[list[Cell]], list[int]]:
    headings, left = [""], []
    for at, _ in enumerate(comparison.names):
        headings += [f"[{at + 1}] wait (us)", "lock"]
        left.append(2 * at + 2)
    height = max(len(column) for column in comparison.ranked)
    height = min(height, top) if top else height
    rows: list[list[Cell]] = []
    for at in range(height):
        row: list[Cell] = [at + 1]
        for column in comparison.ranked:
            row += [column[at][0], column[at][1]] if at < len(column) else ["", ""]
        rows.append(row)
    return headings, rows, left


def _joined(comparison: Comparison, top: int) -> tuple[list[str], list[list[Cell]]]:
    headings = ["[1] wait (us)"]
    for at in range(2, len(comparison.names) + 1):
        headings += [f"[{at}] wait (us)", "change", "%"]
    rows: list[list[Cell]] = []
    totals: list[Figures | None] = [{"wait_us": total} for total in comparison.totals]
    for name, figures in [*(comparison.rows[:top] if top else comparison.rows), ("total", totals)]:
        waits = [None if f is None else f["wait_us"] for f in figures]
        row: list[Cell] = [waits[0]]
        for file in range(1, len(waits)):
            row += [
                waits[file],
                *(("", "") if waits[0] is waits[file] is None else change(figures[0], figures[file])),
            ]
        rows.append([*row, name])
    return [*headings, "lock"], rows


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


def text(comparison: Comparison, top: int) -> str:
    """The comparison as plain tables."""
    lines = [f"[{at}] {printable(name)}" for at, name in enumerate(comparison.names, 1)]
    headings, ranked, left = _ranked(comparison, top)
    lines += ["", text_table(headings, ranked, left), ""]
    lines += [text_table(*_joined(comparison, top))]
    hidden = len(comparison.rows) - (min(top, len(comparison.rows)) if top else len(comparison.rows))
    if hidden:
        lines.append(f"... and {hidden:,} more (--top 0 shows all); the total has them all")
    moves = moved(comparison)
    if moves:
        lines += ["", "Where did the wait go?", *[f"  {printable(_moved_text(move))}" for move in moves]]
    return "\n".join(lines)


def markdown_text(comparison: Comparison, top: int) -> str:
    """The comparison as markdown, notes at the end."""
    parts = ["\n".join(f"{at}. {markdown(name)}" for at, name in enumerate(comparison.names, 1))]
    parts += [markdown_table(*_ranked(comparison, top)), markdown_table(*_joined(comparison, top))]
    moves = moved(comparison)
    if moves:
        parts.append(
            "Where did the wait go?\n\n" + "\n".join(f"- {markdown(_moved_text(move))}" for move in moves)
        )
    if comparison.notes:
        parts.append("\n".join(f"- {markdown(note)}" for note in comparison.notes))
    return "\n\n".join(parts)


def as_json(comparison: Comparison, broken: list[str]) -> str:
    """The comparison, every row and full precision."""
    locks: list[dict[str, Any]] = [
        {
            "lock": name,
            "figures": [
                None if f is None else {key: f[key] for key in FIGURES if f[key] is not None} for f in figures
            ],
        }
        for name, figures in comparison.rows
    ]
    document = {
        "schema": SCHEMA,
        "profiles": comparison.names,
        "by": comparison.by,
        "locks": locks,
        "total_wait_us": comparison.totals,
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
            for move in moved(comparison)
        ],
        "failed": broken,
        "notes": comparison.notes,
    }
    return json.dumps(document, indent=1, allow_nan=False)
