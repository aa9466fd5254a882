"""lockstat(8) as FreeBSD and illumos (and Solaris before it) print it."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import polars as pl

from finegrain.profile.readers.base import Joiner, Log, Reader
from finegrain.profile.table import BETWEEN

_SECTION = re.compile(
    r"(\S.{2,60}?):\s+(\d+(?:\.\d+)?)\s+events in\s+(\d{1,9}(?:\.\d+)?)\s+seconds\b(?:\s*\([\d.]*.*)?$"
)
_SECTION_HEAD = re.compile(
    r"((?:Adaptive mutex|Spin lock|Thread lock|R/W|SX|Lockmgr|Rm|Profiling interrupt|Unknown event)\b.{0,50}):"
    r"\s+\d+(?:\s+events(?:\s+in(?:\s+\d{1,9}(?:\.\d+)?)?)?)?\s*$",
    re.IGNORECASE,
)
_SECTION_TAIL = re.compile(r"\(?[\d.]*\s*events/sec\)$")
_HEADING = re.compile(
    r"(Count|ops/s)\s+(indv|genr)\s+cuml\s+rcnt(?:\s+(nsec|spin|units))?"
    r"\s+(?:Hottest\s+)?(Lock|CPU\+\w+)\s+(?:Hottest\s+)?Caller\s*$"
)
_ROW = re.compile(r"(\d{1,18})\s+\d{1,3}%\s+(?:\d{1,3}%|----)\s+(\d{1,9}\.\d\d)\s+(\S.*?)\s*$")
_BINS = re.compile(r"(nsec|spin|units)\s+-+\s*Time Distribution\s*-+\s+(count|ops/s)(?:\s+Stack)?\s*$")
_BIN = re.compile(r"(\d{1,19})\s+\|(@*)\s+(\d{1,18})(?:\s+(\S.*))?$")
_SYMBOL = re.compile(r"(?:0x[0-9a-fA-F]+|\(usermode\)|[\w.$`'\-*:]*\w(?:\+0x[0-9a-fA-F]+)?)$")
_SURE_SYMBOL = re.compile(r"(?:0x[0-9a-fA-F]+|\S+\+0x[0-9a-fA-F]+)$")
_RULE = re.compile(r"-{5,}$")
# lockstat -p: event, count, lock, caller, mean reference count, total time, 64 bins, stack
_PARSABLE = re.compile(
    r"(\d{1,2}) (\d{1,18}) (\S.*?) (\S+) (\d{1,9}\.\d{6})"
    r"(?: (\d{1,20}))?((?: \d{1,10}){64})?((?: [^\s\d]\S*)*)$"
)
# The numbers that both systems' lockstat gives its first events; 32 to 55 are holds.
_EVENTS = (
    "Adaptive mutex spin",
    "Adaptive mutex block",
    "Spin lock spin",
    "Thread lock spin",
    "R/W writer blocked by writer",
    "R/W writer blocked by readers",
    "R/W reader blocked by writer",
    "R/W reader blocked by write wanted",
)
_CLASSES = ("adaptive mutex", "spin lock", "thread lock", "r/w", "sx", "lockmgr", "rm")


@lru_cache(64)
def _kind(event: str) -> str | None:
    """What an event's time is: spin, block, hold; None when it is no time of a lock."""
    words = event.lower()
    for kind in ("hold", "spin", "block"):
        if re.search(rf"\b{kind}(?:ed)?\b", words.removeprefix("spin lock")):
            return kind
    return None


@lru_cache(64)
def _class(event: str) -> str | None:
    words = event.lower()
    found = next((name for name in _CLASSES if words.startswith(name)), None)
    return "rw" if found == "r/w" else found


@lru_cache(64)
def _mode(event: str) -> str | None:
    first = re.search(r"\b(writer|exclusive|reader|shared)\b", event.lower())
    return None if not first else "write" if first[1] in ("writer", "exclusive") else "read"


@dataclass(slots=True)
class _Record:
    number: int
    count: int
    references: float
    average: int | None
    lock: str
    caller: str
    bins: list[int] = field(default_factory=list)  # upper end, count, upper end, count ...
    stack: list[str] = field(default_factory=list)
    total_ns: int | None = None
    parsable: bool = False


class Lockstat(Reader):
    """Sections (one an event) of rows: count, shares, references, mean time, lock, caller."""

    format = "lockstat"
    system = "FreeBSD or illumos"
    extra: ClassVar[dict[str, pl.DataType]] = {
        "reference_count": pl.Float64(),
        "rate_per_s": pl.Float64(),
        "spins_avg": pl.Int64(),
        "time_us": pl.Float64(),
        "time_avg_us": pl.Float64(),
        "histogram_ns": pl.List(pl.Int64()),
    }
    fields = (
        *("lock_class", "lock", "site", "stack", "role", "event", "mode", "count", "contended", "wait_us"),
        *("wait_avg_us", "hold_us", "hold_avg_us", *extra, "line"),
    )

    def __init__(self, log: Log) -> None:
        """`log` hears of every line that is skipped."""
        super().__init__(log)
        self._joiner = Joiner(log, 4)
        self._record: _Record | None = None
        self._event: str | None = None
        self._events: set[str] = set()
        self._unit: str | None = "nsec"
        self._rates = self._inclusive = self._lost = False
        self._tags: set[str] = set()
        self._section_open = self._histograms = False

    def starts(self, text: str) -> bool:
        """Is it a heading of this format?"""
        section = "events in" in text and _SECTION.match(text)
        return bool(section or _SECTION_HEAD.match(text) or ("cuml" in text and _HEADING.match(text)))

    def looks(self, text: str) -> bool:
        """Could it be a row of this format?"""
        return bool(("%" in text and self._split(0, text)) or _PARSABLE.match(text))

    def feed(self, number: int, text: str) -> bool:
        """Take one line."""
        text = text.strip()
        if not text:
            return True
        if "%" in text and (record := self._split(number, text)):
            self._leave()  # what is whole is not the rest of a row that was cut
            self._begin(record)
            return True
        if self._joiner.parts:
            joined = self._joiner.text(text)
            section = _SECTION.match(joined) or _HEADING.match(joined)
            record = None if section else self._split(self._joiner.first(number), joined)
            if section or record:
                first = self._joiner.first(number)
                self._joiner.parts.clear()
                if record:
                    self._begin(record)
                    return True
                return self.feed(first, joined)
            if _SECTION_HEAD.match(joined) and self._joiner.hold(number, text):
                return True
            self._leave()
        if self.starts(text):
            return self._heading(number, text)
        return self._under_row(text) or self._rest(number, text)

    def _heading(self, number: int, text: str) -> bool:
        self._finish()
        if _SECTION_HEAD.match(text):
            return self._joiner.hold(number, text)
        section = _SECTION.match(text)
        if section:
            self._section(number, section[1].strip(), float(section[3]))
            return True
        heading = _HEADING.match(text)
        if heading:
            # with histograms every row has its heading; else a second one is another table's
            if not self._section_open and not self._histograms:
                self._event = None
                self.dump(number, new=True)
                self._events.clear()
            self._section_open = False
            self._rates = heading[1] == "ops/s"
            self._inclusive = heading[2] == "genr"
            self._unit = heading[3]
        return True

    def _section(self, number: int, event: str, span_s: float | None) -> None:
        dump = self.dump(number)
        if event in self._events or (span_s and dump.span_s not in (None, span_s)):
            dump = self.dump(number, new=True)
            self._events.clear()
        dump.span_s = dump.span_s or span_s
        self._events.add(event)
        self._histograms = False
        self._event = event
        self._section_open = True

    def _leave(self) -> None:
        """What was held is not the beginning of anything: a heading without its seconds, or a row that was cut."""
        head = _SECTION_HEAD.match(self._joiner.text())
        if not head:
            self._joiner.drop("row cut short")
            return
        first = self._joiner.first(0)
        self._joiner.parts.clear()
        self._section(first, head[1].strip(), None)

    def _split(self, number: int, text: str) -> _Record | None:
        match = _ROW.match(text)
        if not match:
            return None
        rest = match[3].split()
        average = None
        if rest[0].isdigit() and len(rest[0]) < 21 and (self._unit or len(rest) > 2):
            average = int(rest.pop(0))
        if len(rest) < 2:
            return None
        return _Record(number, int(match[1]), float(match[2]), average, " ".join(rest[:-1]), rest[-1])

    def _begin(self, record: _Record) -> None:
        self._finish()
        self._record = record

    def _under_row(self, text: str) -> bool:
        """A histogram, a stack, or the caller that a mail program put on the next line."""
        if _RULE.match(text):
            self._finish()
            return True
        record = self._record
        if record is None:
            return False
        if _BINS.match(text):
            self._histograms = True
            return True
        bin_ = _BIN.match(text)
        if bin_:
            upper = int(bin_[1])
            if upper < 1 << 63:
                record.bins += (upper, int(bin_[3]))
            if bin_[4]:
                record.stack.append(bin_[4].strip())
            return True
        if record.bins and _SYMBOL.match(text):
            record.stack.append(text)
            return True
        words = text.split(maxsplit=8)
        if not record.bins and not _SURE_SYMBOL.match(record.caller) and _SURE_SYMBOL.match(words[-1]):
            record.lock, record.caller = " ".join([record.lock, record.caller, *words[:-1]]), words[-1]
            return len(words) < 8
        return False

    def _rest(self, number: int, text: str) -> bool:
        match = _PARSABLE.match(text)
        if match:
            self._parsable(number, match)
            return True
        if self.dumps and (
            re.match(r"\d{1,18}\s+\d{1,3}%\s+(?:\d|-)", text)
            or re.match(r"(?:Count|ops/s)\s+(?:indv|genr)", text)
        ):
            self._finish()
            return self._joiner.hold(number, text)
        return text in ("[...]", "...", "^C") or bool(self.dumps and _SECTION_TAIL.match(text))

    def _parsable(self, number: int, match: re.Match[str]) -> None:
        self._finish()
        which = int(match[1])
        self._event = _EVENTS[which] if which < len(_EVENTS) else f"event {which}"
        if 32 <= which < 56:
            self._event += " hold"
        elif which < 32 and not _kind(self._event):
            self._event += " block"
        record = _Record(number, int(match[2]), float(match[5]), None, match[3], match[4], parsable=True)
        if match[6]:
            record.total_ns = int(match[6])
        if match[7]:
            bins = enumerate(map(int, match[7].split()))
            record.bins = [part for bit, count in bins if count and bit < 63 for part in (1 << bit, count)]
        record.stack = match[8].split()
        self._rates, self._inclusive = False, False
        self._record = record
        self._finish()

    def _finish(self) -> None:
        """The row is whole: put it into the table."""
        record, self._record = self._record, None
        if record is None:
            return
        dump = self.dump(record.number)
        event, kind = self._event, _kind(self._event or "")
        total = average = spins = rate = count = None
        if self._unit == "nsec" or record.total_ns is not None:
            if record.total_ns is not None:
                total = record.total_ns / 1e3
            elif record.average is not None:
                average = record.average / 1e3
                total = record.average * record.count / 1e3
                dump.derived["wait_us, hold_us"] = (
                    "count x the printed mean, which is cut to whole nanoseconds"
                )
        elif self._unit is not None:
            spins = record.average
            self._tags.add("spins")
        if self._rates:
            rate = float(record.count)
            total = total * dump.span_s if total is not None and dump.span_s else None
            dump.derived["wait_us, hold_us"] = "rate x span x the printed mean"
            self._tags.add("rates")
        else:
            count = record.count
        wait, hold = kind in ("spin", "block"), kind == "hold"
        role = "site"
        if event is not None and kind is None:
            role = "sample"
        elif self._inclusive:
            role = "inclusive"
        if event is None:
            self._lost = True
        unknown = not wait and not hold
        self.put(
            (
                *(
                    _class(event or ""),
                    record.lock,
                    record.caller,
                    BETWEEN.join(record.stack) or None,
                    role,
                    event,
                ),
                *(_mode(event or ""), count if hold or unknown else None, count if wait else None),
                *(total if wait else None, average if wait else None),
                *(total if hold else None, average if hold else None),
                *(record.references, rate, spins),
                *(
                    total if unknown else None,
                    average if unknown else None,
                    BETWEEN.join(map(str, record.bins)) or None,
                    record.number,
                ),
            ),
            *((event, record.lock, record.caller, *record.stack) if record.parsable else ()),
        )

    def close(self) -> None:
        """Report what is left over."""
        self._finish()
        self._leave()

    def notes(self) -> list[str]:
        """What this format does not tell."""
        notes = [
            "means are whole nanoseconds, totals are count x mean; the longest wait or hold is not told",
            "an acquisition that spun and then blocked is in both sections, so waits may count it twice; "
            "acquisitions that did not wait are not counted, except as holds (-H)",
            "a histogram's bins are named by their upper ends",
        ]
        if self._lost:
            notes.append("a section's heading is lost: whether its times are waits or holds is not known")
        if "spins" in self._tags:
            notes.append(
                "this lockstat counts turns of the spin loop, not time: those rows have no waiting time"
            )
        if "rates" in self._tags:
            notes.append("counts are rates (-R), cut to whole events a second")
        return notes
