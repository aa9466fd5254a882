"""What a file of lock profiles holds, as text, markdown, CSV or JSON."""

import math
from collections.abc import Iterator
from typing import Any

import polars as pl

from finegrain.profile.group import Grouped, grouped
from finegrain.profile.read import File
from finegrain.profile.readers.profile_json import SCHEMA
from finegrain.profile.table import Profile
from finegrain.report.stream import Lines, csv_pieces, json_pieces
from finegrain.report.table import Column, Table, as_markdown, as_text
from finegrain.report.words import Cell, markdown, plural, printable, seconds

COLUMNS = {
    "wait_us": "wait (us)",
    "wait_max_us": "longest wait",
    "wait_avg_us": "mean wait",
    "contended": "contended",
    "count": "acquired",
    "hold_us": "hold (us)",
    "hold_max_us": "longest hold",
    "hold_avg_us": "mean hold",
}
_MAX_RANGES = 12


def title_of(profile: Profile) -> str:
    """A profile in one line: its name, its format and system, how long, how many rows, its title."""
    parts = [profile.format]
    if profile.system and profile.system not in profile.format:
        parts.append(profile.system)
    if profile.cpus:
        parts.append(f"{profile.cpus} CPUs")
    if profile.span_s:
        parts.append(seconds(profile.span_s))
    title = f"{profile.name}: {', '.join(parts)}, {plural(profile.table.height, 'row')}"
    return printable(title + (f"  [{profile.title}]" if profile.title else ""))


def _table(group: Grouped, top: int) -> Table:
    table = group.table.head(top) if top else group.table
    told = [name for name in COLUMNS if _told(table, name)]
    words = [Column(name, left=True) for name in group.telling]
    columns = [Column(""), *[Column(COLUMNS[name]) for name in told], *words, Column(group.what, left=True)]
    values = [table[name].to_list() for name in told]
    values += [["" if cell is None else str(cell) for cell in table[name]] for name in group.telling]
    values.append(table["name"].to_list())
    return Table(columns, [[rank, *row] for rank, row in enumerate(zip(*values, strict=True), 1)])


def skipped_text(file: File) -> str | None:
    """What was not read, in one line with line numbers."""
    if not file.skipped_lines:
        return None
    broken = [skip for skip in file.skipped if skip.why != "not part of a profile"]
    other = [skip for skip in file.skipped if skip.why == "not part of a profile"]
    parts = []
    for skips, what in ((broken, "broken rows"), (other, "other text")):
        if skips:
            ranges = [
                f"{s.first}" if s.first == s.last else f"{s.first}-{s.last}" for s in skips[:_MAX_RANGES]
            ]
            more = ", ..." if len(skips) > _MAX_RANGES else ""
            parts.append(f"{what} in lines {', '.join(ranges)}{more}")
    counts = f"{file.skipped_lines:,} of {file.lines:,} lines skipped"
    return f"{printable(file.source)}: {counts}: {'; '.join(parts)}"


def limits_of(file: File) -> list[str]:
    """What the formats of the file's profiles do not tell, a line each."""
    formats = {profile.format for profile in file.profiles}
    return [f"{name}: {note}" for name, texts in file.notes.items() if name in formats for note in texts]


def notes_of(file: File, by: str = "row") -> list[str]:
    """Everything that a reader of the figures that are shown must know, a line each."""
    notes = limits_of(file)
    derived = set()
    for profile in file.profiles:
        table = profile.table if by == "row" else grouped(profile, by).table
        for names, how in profile.derived.items():
            told = [name for name in names.split(", ") if _told(table, name)]
            derived |= {f"{', '.join(told)} = {how}"} if told else set()
    notes += [f"not printed but computed: {text}" for text in sorted(derived)]
    skipped = skipped_text(file)
    return notes + ([skipped] if skipped else [])


def _told(table: pl.DataFrame, name: str) -> bool:
    return name in table.columns and table[name].null_count() < table.height


def text(file: File, by: str, top: int) -> str:
    """The file's profiles as plain tables."""
    parts = []
    for profile in file.profiles:
        group = grouped(profile, by)
        table = _table(group, top)
        lines = [title_of(profile), *[f"({note})" for note in group.notes], "", as_text(table)]
        left_out = group.table.height - len(table.rows)
        if left_out:
            lines.append(f"... and {left_out:,} more (--top 0 shows all)")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def markdown_text(file: File, by: str, top: int, *, quiet: bool = False) -> str:
    """The same as markdown, notes at the end."""
    parts = []
    for profile in file.profiles:
        group = grouped(profile, by)
        parts.append(f"**{markdown(title_of(profile))}**\n\n{as_markdown(_table(group, top))}")
    if not quiet and (notes := notes_of(file, by)):
        parts.append("\n".join(f"- {markdown(note)}" for note in notes))
    return "\n\n".join(parts)


def as_csv(file: File, by: str, top: int) -> Iterator[str]:
    """One CSV table for all profiles of the file, a column saying which, in pieces."""
    headings = ["profile", "lock_class", "lock", "site", *COLUMNS]
    more = ["role", "event", "mode", "pid", "address", "wait_min_us", "hold_min_us", "line"]
    more = more if by == "row" else ["mode"] if by == "mode" else []
    return csv_pieces(headings + more, _csv_rows(file, by, top, headings[1:], more))


def _csv_rows(file: File, by: str, top: int, told: list[str], more: list[str]) -> Iterator[list[Cell]]:
    for profile in file.profiles:
        table = grouped(profile, by).table
        table = table.head(top) if top else table
        missing = [pl.lit(None).alias(name) for name in more if name not in table.columns]
        for row in table.with_columns(*missing).select(*told, *more).iter_rows():
            yield [profile.name, *row]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_json(file: File, by: str, top: int) -> Iterator[str]:
    """Everything, in pieces: each row as read (absent fields left out), and the table that `by` asks for."""
    document = {
        "schema": SCHEMA,
        "source": file.source,
        "lines": file.lines,
        "profiles": (_profile(profile, by, top) for profile in file.profiles),
        "notes": file.notes,
        "skipped_lines": file.skipped_lines,
        "broken_rows": file.broken_rows,
        "skipped": Lines({"first": skip.first, "last": skip.last, "why": skip.why} for skip in file.skipped),
    }
    return json_pieces(document)


def _profile(profile: Profile, by: str, top: int) -> dict[str, Any]:
    # rows as read are all there anyway
    group = grouped(profile, by) if by != "row" else Grouped("row", profile.table.clear(), [])
    table = group.table.select("name", *COLUMNS) if by != "row" else group.table
    table = table.head(top) if top else table
    return {
        "name": profile.name,
        "label": profile.label,
        "title": profile.title,
        "format": profile.format,
        "system": profile.system,
        "span_s": profile.span_s,
        "cpus": profile.cpus,
        "derived": profile.derived,
        "meta": profile.meta,
        "by": group.by,
        "notes": group.notes,
        "table": Lines(_present(row) for row in table.iter_rows(named=True)),
        "rows": Lines(_present(row) for row in profile.table.iter_rows(named=True)),
    }


def _present(row: dict[str, Any]) -> dict[str, Any]:
    told = {key: _finite(value) for key, value in row.items() if value is not None}
    if bins := told.get("histogram_ns"):  # [[upper end, count], ...], as in finegrain compare
        told["histogram_ns"] = [list(pair) for pair in zip(bins[::2], bins[1::2], strict=True)]
    return told
