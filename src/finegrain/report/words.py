"""Text for people: names made safe to show, figures, spans of time, and the words for the keys in data.

A name comes from a file that anyone may have made: nothing in it may reach a terminal, a table or a spreadsheet as
anything but text.
"""

import re
import unicodedata

from finegrain.study.result import Holding

_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~&@]|://|www\.)")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Cell = str | int | float | None

HOLDERS = {"anonymous": "anonymous memory", "kernel": "page tables and pv chunks"}

COUNTS = {
    "forks": "forks",
    "vforks": "vforks",
    "execs": "execs",
    "exits": "exits",
    "listings": "lists of all processes",
    "stack_growths": "stacks grown",
    "active_scanned": "active pages that the page daemon looked at",
    "prefault_candidates": "pages looked at around faults",
    "faults": "faults",
    "promotions": "superpage promotions",
    "promotion_failures": "superpage promotions that failed",
    "demotions": "superpage demotions",
    "superpage_mappings": "superpages mapped whole",
    "restarts": "operations begun again after a lock was dropped",
    "reclaims": "pv chunk reclaims",
    "chunk_allocations": "pv chunks allocated",
    "reservations_broken": "reservations broken",
}


def printable(text: str) -> str:
    """The text with every character that is not visible as itself written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char
        if char.isprintable() and not unicodedata.combining(char)
        else f"\\x{ord(char):02x}"
        if ord(char) < 256
        else f"\\u{{{ord(char):x}}}"
        for char in text
    )


def printable_lines(lines: list[str]) -> str:
    """Lines of text, each made safe to print."""
    return "\n".join("\n".join(printable(part) for part in line.split("\n")) for line in lines)


def markdown(text: str) -> str:
    """The text for a cell of a markdown table: no mark-up, no HTML, no column of its own."""
    return (
        _MARKDOWN.sub(r"\\\1", printable(text))
        .replace("\\<", "&lt;")
        .replace("\\>", "&gt;")
        .replace("\\&", "&amp;")
    )


def csv_cell(text: str) -> str:
    """The text for a cell of a CSV file that a spreadsheet may open: never a formula."""
    text = printable(text)
    return f"'{text}" if text.startswith(_FORMULA) else text


def figure(value: Cell) -> str:
    """A number for people: `-` when it is not told, digits enough to compare by eye."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def plural(count: int, noun: str) -> str:
    """Give a count of things: 1 domain, 2 domains."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def seconds(value: float) -> str:
    """A span: 5.011 s, 90 min."""
    if value >= 600 and value % 60 == 0:
        return f"{value / 60:,.0f} min"
    return f"{value:,.6g} s"


def holder(holding: Holding) -> str:
    """What holds pages: a file and how many copies of it, or what kind of memory."""
    what = HOLDERS.get(holding.kind, holding.kind) if holding.file is None else printable(holding.file)
    return f"{what} ({holding.copies} copies)" if holding.copies > 1 else what


def count_name(key: str) -> str:
    """What the kernel counts under `key`; a key that has no words of its own is read as words."""
    if key not in COUNTS and key.startswith("faults_"):
        return f"faults, {key.removeprefix('faults_').replace('_', ' ')}"
    return COUNTS.get(key, key.replace("_", " "))
