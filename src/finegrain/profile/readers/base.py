"""What a reader is, and the log that all readers of one file share."""

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any, ClassVar

import polars as pl

from finegrain.errors import UserError
from finegrain.profile.table import Builder, Profile
from finegrain.profile.wrapped import note, unwrapped

# Dumps of one file; more than that is not a file that anyone compares.
MAX_DUMPS = 10_000
_MAX_RANGES = 2_000
# A title stands at most so many lines above its dump.
_NEAR = 6
# Repeats that a note lists; the others are counted.
_MAX_REPEATS = 12


OTHER_TEXT = "not part of a profile"
# Separators, and the figures of a benchmark: they stand above a dump, and name nothing.
_NO_TITLE = re.compile(
    r"^[\W_]*$|\b(?:[kKMGT]?i?B|[kKMGT]?bits?|bytes|ops|tps|qps|iops|pps|i/os?|req\w*|trans\w*|packets|events|iter\w*"
    r"|queries|calls|messages)\s*(?:/|per\s)\s*(?:s|sec|seconds?)\b|\b(?:throughput|bandwidth|latency|tps|qps|iops)\s*[:=]",
    re.IGNORECASE,
)
# A heading somewhere in a line, where line ends were lost.
HEADINGS = {
    "freebsd": "FreeBSD LOCK_PROFILING",
    "lock_stat": "Linux lock_stat",
    "lockstat": "lockstat",
    "perf": "perf lock contention",
    "klockstat": "klockstat",
}
_HEADINGS = re.compile(
    r"(?P<freebsd>\btotal\s+(?:wait_total\s+)?count\s+avg\b)|(?P<lock_stat>\bcon-bounces\s+contentions\b)"
    r"|(?P<lockstat>\bindv\s+cuml\s+rcnt\b)|(?P<perf>\bcontended\W{1,9}total wait\b)"
    r"|(?P<klockstat>\b(?:Avg|Average) (?:Spin|Wait|Hold)\s+Count\b)"
)


# What people give that is no lock profile, and the nearest thing that is.
HINTS = {
    "samples": "perf report's samples are of where CPUs ran: give what 'perf lock contention' prints",
    "histogram": "a histogram has no locks: give a bpftrace map keyed by stack, such as @wait[kstack]",
    "offcpu": "time off the CPU is not waiting for locks alone: give what klockstat or 'perf lock contention' prints",
    "mutrace": "mutrace is not read: give what 'perf lock contention' or, on illumos, plockstat prints",
    "lockdep": "a report of the order of locks has no waiting in it: give /proc/lock_stat",
    "folded": "folded stacks do not say what they count: give the output that they were folded from",
}
_HINT_WORDS = ("Overhead", "# Samples", "[", "off-CPU", "mutrace", "lock order", "circular locking", ";")
_HINTS = re.compile(
    r"(?P<samples>^#? ?Overhead\s+(?:Command|Shared|Samples)|^# Samples: )"
    r"|(?P<histogram>^\s*\[\d+[KMG]?, \d+[KMG]?\)\s+\d+ \|)"
    r"|(?P<offcpu>off-CPU time)|(?P<mutrace>^mutrace: )"
    r"|(?P<lockdep>possible circular locking dependency|lock order reversal)"
    r"|(?P<folded>^[^\s;]+(?:;[^;]+){2,} \d+$)"
)


@dataclass(slots=True)
class Skip:
    """Lines `first` to `last` that hold no row that was read, and why."""

    first: int
    last: int
    why: str


class Log:
    """What happened to the lines of one file: what was skipped, and the text above a dump."""

    def __init__(self) -> None:
        """Nothing has been read."""
        self.lines = 0
        self.skipped: list[Skip] = []
        self.skipped_lines = 0
        self.broken_rows = 0
        self.hint: str | None = None  # what the text is that is no lock profile, and what is
        self.lost_ends: tuple[int, str] | None = None  # a line with a heading and more in it, and whose
        self._above: deque[tuple[int, str]] = deque(
            maxlen=_NEAR
        )  # the last lines that are no part of a profile

    def other(self, number: int, text: str) -> None:
        """A line that is no part of a profile."""
        self._above.append((number, text))
        # a look at a few letters first: this is asked of every line of text that is no profile
        if self.lost_ends is None and ("avg" in text or "ount" in text or "con" in text or "cuml" in text):
            match = _HEADINGS.search(text, 0, 4096)
            self.lost_ends = (number, HEADINGS[match.lastgroup or ""]) if match else None
        if self.hint is None and any(word in text for word in _HINT_WORDS):
            match = _HINTS.search(text, 0, 4096)
            self.hint = f"{HINTS[match.lastgroup or '']} (line {number})" if match else None
        self._add(number, OTHER_TEXT)

    def broken(self, number: int, why: str) -> None:
        """A line that belongs to a profile and could not be read whole."""
        self.broken_rows += 1
        self._add(number, why)

    def _add(self, number: int, why: str) -> None:
        self.skipped_lines += 1
        if self.skipped:
            tail = self.skipped[-1]
            if tail.why == why and tail.last + 1 >= number >= tail.first:
                tail.last = max(number, tail.last)
                return
        if len(self.skipped) < _MAX_RANGES:
            self.skipped.append(Skip(number, number, why))

    def text_between(self, first: int, last: int) -> bool:
        """Is a line of other text between these two lines?"""
        for skip in reversed(self.skipped):
            if skip.last < first:
                return False
            if skip.why == OTHER_TEXT and skip.first < last:
                return True
        return False

    def title(self, number: int) -> str | None:
        """The line of text that stands just above line `number`, if one does."""
        for line, text in reversed(self._above):
            if number - line <= _NEAR and not _NO_TITLE.search(text, 0, 200):
                return text.strip()[:80]
        return None


@dataclass(slots=True)
class Dump:
    """One dump under construction."""

    builder: Builder
    title: str | None
    line: int  # where it begins
    span_s: float | None = None
    derived: dict[str, str] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    headed: bool = False  # a header line has been seen
    heading_at: int = 0  # rows that stood above it: more than 0 where somebody sorted the lines
    seen: dict[int, int] = field(default_factory=dict)  # hash of what names a row -> its line
    last: tuple[Any, ...] | None = None


class Reader:
    """Reads one format, a line at a time.  A subclass says what its format does not tell in `notes`."""

    format = ""
    system = ""
    extra: ClassVar[dict[str, pl.DataType]] = {}
    fields: tuple[str, ...] = ()

    def __init__(self, log: Log) -> None:
        """`log` hears of every line that is skipped."""
        self.log = log
        self.dumps: list[Dump] = []
        self._repeats: list[str] = []
        self._repeated = 0
        self._wrapped: list[int] = []

    def starts(self, text: str) -> bool:
        """Is this line (stripped) a heading that only this format prints?"""
        raise NotImplementedError

    def looks(self, text: str) -> bool:
        """Could this line (stripped) be a row of this format, the heading being lost?"""
        raise NotImplementedError

    def feed(self, number: int, text: str) -> bool:
        """Take one line; False when it is no part of this format."""
        raise NotImplementedError

    def close(self) -> None:
        """The text has ended, or another format begins: report what is left over."""

    def notes(self) -> list[str]:
        """What this format does not tell or tells wrongly, a sentence each, for the dumps that were read."""
        return []

    def dump(self, number: int, *, new: bool = False) -> Dump:
        """The dump that rows go to; `new` starts another one unless the last is still empty.

        Raises UserError past MAX_DUMPS dumps.
        """
        if not self.dumps or (new and len(self.dumps[-1].builder)):
            if len(self.dumps) >= MAX_DUMPS:
                raise UserError(
                    f"more than {MAX_DUMPS:,} dumps in one file (line {number}); give a part of it"
                )
            self.dumps.append(Dump(Builder(self.fields, self.extra), self.log.title(number), number))
        return self.dumps[-1]

    def put(self, row: tuple[Any, ...], *key: Any) -> None:
        """Add a row, which ends with its line; `key` is what no other row of the same dump has, if anything is.

        A row that is the same as the one above it is a copy and is read once; a key that was there before
        starts a new dump.  Both are told in the notes.
        """
        number = row[-1]
        dump = self.dump(number)
        last = dump.last
        if last is not None and last[:-1] == row[:-1] and not self.log.text_between(last[-1], number):
            self._repeat(f"line {number} repeats line {last[-1]} and is read once")
            dump.last = (*last[:-1], number)
            return
        if key:
            name = hash(key)
            if name in dump.seen:
                self._repeat(
                    f"line {number} has the lock of line {dump.seen[name]} again: a new dump begins there"
                )
                dump = self._next(number)
            dump.seen[name] = number
        dump.last = row
        dump.builder.add(row)

    def _next(self, number: int) -> Dump:
        """A new dump in the middle of rows: under the same heading, if that stood above them."""
        before = self.dumps[-1]
        before.seen, before.last = {}, None
        dump = self.dump(number, new=True)
        dump.headed = before.headed and not before.heading_at
        dump.span_s = before.span_s
        return dump

    def _repeat(self, what: str) -> None:
        self._repeated += 1
        if len(self._repeats) < _MAX_REPEATS:
            self._repeats.append(what)

    def found(self) -> list[str]:
        """What was met in this file: rows that were there before, counters that ran below zero; a note each."""
        more = self._repeated - len(self._repeats)
        counted = [f"{more:,} more rows were there before"] if more else []
        return [*self._repeats, *counted, *note(self._wrapped)]

    def profiles(self, source: str) -> list[Profile]:
        """What was read, a profile for each dump that has rows."""
        found = []
        for dump in self.dumps:
            if not len(dump.builder):
                continue
            table, wrapped = unwrapped(self.tidy(dump.builder.finish()), dump.span_s)
            self._wrapped += wrapped
            found.append(
                Profile(
                    source=source,
                    format=self.format,
                    system=self.system,
                    table=table,
                    title=dump.title,
                    span_s=dump.span_s,
                    derived=dump.derived,
                    meta=dump.meta,
                )
            )
        return found

    def tidy(self, table: pl.DataFrame) -> pl.DataFrame:
        """A last look at a whole table."""
        return table


class Joiner:
    """Puts a row together that a mail program broke over several lines."""

    def __init__(self, log: Log, limit: int = 6) -> None:
        """A row of at most `limit` parts."""
        self._log = log
        self._limit = limit
        self.parts: list[tuple[int, str]] = []

    def text(self, more: str = "") -> str:
        """The parts so far and `more`, one blank between two."""
        return " ".join([part for _, part in self.parts] + ([more.strip()] if more else []))

    def hold(self, number: int, text: str) -> bool:
        """Keep a part; False when there are too many of them."""
        if len(self.parts) >= self._limit:
            return False
        self.parts.append((number, text.strip()))
        return True

    def first(self, number: int) -> int:
        """The line the row began on."""
        return self.parts[0][0] if self.parts else number

    def drop(self, why: str) -> None:
        """Give the row up."""
        for number, _ in self.parts:
            self._log.broken(number, why)
        self.parts.clear()


# What a console or a log puts before each line: the time, and who speaks.
STAMP = re.compile(
    r"^\s*(?:[A-Z][a-z]{2}\s+\d{1,2} \d\d:\d\d:\d\d \S{1,64} kernel:\s*"
    r"|\d{4}-\d\d-\d\dT[\d:.,]{8,18}(?:Z|[+-][\d:]{4,5})?\s+)?"
    r"(?:<\d{1,3}>)?(?:\[\s{0,12}\d{1,9}\.\d{3,9}\](?:\[\s*[CT]\d+\])?\s?)?"
)
# Marks that people put before lines: diff signs, bars, comment signs, bullets.
LEAD = re.compile(r"^\s*(?:\^C|[|%:+*#│┃-](?=\s))\s*")

_SCALE = {"ns": 1e-3, "nsec": 1e-3, "us": 1.0, "usec": 1.0, "µs": 1.0, "μs": 1.0, "ms": 1e3, "msec": 1e3}
_SCALE |= {"s": 1e6, "sec": 1e6, "m": 60e6, "h": 3600e6}
TIME = r"\d{1,18}(?:\.\d{1,9})?\s*(?:ns|us|µs|μs|ms|s|m|h)(?![\w.])"
_TIME = re.compile(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*(nsec|usec|msec|sec|ns|us|µs|μs|ms|s|m|h)\s*")


def time_us(text: str) -> float | None:
    """Microseconds of `1.41 ms`, `64.69 h`; None when it is no time."""
    digits, _, unit = text.partition(" ")
    if unit in _SCALE and digits.replace(".", "", 1).isdigit() and digits.isascii():  # as perf prints it
        return round(float(digits) * _SCALE[unit], 6)
    match = _TIME.fullmatch(text)
    if not match:
        return None
    value, unit = match.groups()
    # multiply whole digits by a power of ten where one can: 16.05 us must not become 16.049999
    return round(float(value) * _SCALE[unit], 6)
