"""Counters that ran below zero: times that nothing can have waited or held."""

import polars as pl

# A counter of nanoseconds that ran below zero shows as almost 2^64; nothing waits for half of that, 292 years.
WRAPPED_US = 2**63 / 1e3
KINDS = ("wait", "hold", "time")

NOTE = (
    "times near 2^64 ns, or single times longer than the span, are counters that ran below zero; "
    "they are taken as absent in {rows:,} row{s}, the first in line {line}"
)


def unwrapped(table: pl.DataFrame, span_s: float | None) -> tuple[pl.DataFrame, list[int]]:
    """The table with such times absent, a row's of one kind together, and the lines where that was so.

    A mean or a longest time must be within the span, where there is one; totals need not.
    """
    lines: set[int] = set()
    for kind in KINDS:
        columns = [
            name
            for name in (f"{kind}_{what}us" for what in ("", "max_", "avg_", "min_"))
            if name in table.columns
        ]
        if not columns:
            continue
        bad = pl.any_horizontal(pl.col(name).fill_null(0.0) >= WRAPPED_US for name in columns)
        if span_s:
            single = [name for name in columns if not name.endswith(f"{kind}_us")]
            bad = bad | pl.any_horizontal(pl.col(name).fill_null(0.0) > span_s * 1e6 for name in single)
        found = table.select(bad.alias("bad"), "line").filter("bad")["line"].to_list()
        if found:
            lines |= {line or 0 for line in found}
            table = table.with_columns(pl.when(~bad).then(pl.col(name)).alias(name) for name in columns)
    return table, sorted(lines)


def note(lines: list[int]) -> list[str]:
    """What a reader of the figures must know of it, if anything."""
    return [NOTE.format(rows=len(lines), s="s" * (len(lines) > 1), line=lines[0])] if lines else []
