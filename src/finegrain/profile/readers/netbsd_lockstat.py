"""lockstat(8) as NetBSD prints it: an event, then a lock's total and its callers, times in milliseconds."""

import re
from typing import ClassVar

import polars as pl

from finegrain.profile.readers.base import LEAD, Joiner, Log, Reader

_ELAPSED = re.compile(
    r"Elapsed time:\s+(\d{1,9}(?:\.\d{1,9})?)\s+seconds\.?(?:\s+Displaying ((?:per-CPU |per-second )+)averages\.)?$"
)
_EVENT = re.compile(r"--\s+(\S.{2,60})$")
_HEADING = re.compile(r"Total%\s+Count\s+Time/ms\s+(?:Lock\s+)?Caller$")
_ROW = re.compile(r"(\d{1,3}\.\d\d)\s+(\d{1,18})\s+(\d{1,15}\.\d\d)\s+(\S.*?)\s+(\S+)$")
_CUT = re.compile(r"\d{1,3}\.\d\d\s+\d{1,18}(?:\s+\d{1,15}\.\d\d(?:\s+\S.*)?)?$")
_RULE = re.compile(r"-{3,}(?:\s+-{3,})*$")
_ALL = "<all>"
_CLASSES = {
    "adaptive mutex": "adaptive mutex",
    "spin mutex": "spin mutex",
    "rw lock": "rw",
    "lockmgr": "lockmgr",
    "kernel lock": "kernel lock",
}


class NetbsdLockstat(Reader):
    """Rows of a share, a count, milliseconds, a lock and a caller; `<all>` sums the rows that follow it."""

    format = "NetBSD lockstat"
    system = "NetBSD"
    extra: ClassVar[dict[str, pl.DataType]] = {"averaged_count": pl.Int64(), "averaged_us": pl.Float64()}
    fields = ("lock_class", "lock", "site", "role", "event", "mode", "contended", "wait_us", *extra, "line")

    def __init__(self, log: Log) -> None:
        """`log` hears of every line that is skipped."""
        super().__init__(log)
        self._joiner = Joiner(log, 3)
        self._event: str | None = None
        self._events: set[str] = set()
        self._averages = ""  # of what the figures are means: per-CPU, per-second
        self._told: set[str] = set()
        self._summed: str | None = None  # the lock whose total stands above

    def starts(self, text: str) -> bool:
        """Is it a heading of this format?"""
        return bool(_HEADING.match(text) or _ELAPSED.match(text))

    def looks(self, text: str) -> bool:
        """Could it be a row of this format?"""
        return False  # numbers and two words may be anything

    def feed(self, number: int, text: str) -> bool:
        """Take one line."""
        event = _EVENT.match(text.strip())
        text = LEAD.sub("", text).strip()
        if not text or _RULE.match(text):
            return True
        if event and self.dumps:
            self._leave()
            self._begin(number, event[1])
            return True
        if self._event is not None and (match := _ROW.match(text)):
            self._leave()  # what is whole is not the rest of a row that was cut
            self._row(number, match)
            return True
        if self._joiner.parts:
            joined = self._joiner.text(text)
            match = _ROW.match(joined)
            if match and self._event is not None:
                first = self._joiner.first(number)
                self._joiner.parts.clear()
                self._row(first, match)
                return True
            if _HEADING.match(joined):
                self._joiner.parts.clear()
                return True
            if (_CUT.match(joined) or joined.startswith("Total%")) and self._joiner.hold(number, text):
                return True
            self._leave()
        elapsed = _ELAPSED.match(text)
        if elapsed:
            self._event = None
            self._events.clear()
            self.dump(number, new=True).span_s = float(elapsed[1]) or None
            self._averages = elapsed[2] or ""
            return True
        if _HEADING.match(text):
            self.dump(number)
            self._event = self._event or "unknown event"
            return True
        if self.dumps and (text.startswith("Total% ") or (self._event is not None and _CUT.match(text))):
            return self._joiner.hold(number, text)
        return False

    def _begin(self, number: int, event: str) -> None:
        if event in self._events:
            self.dump(number, new=True)
            self._events.clear()
        self._event, self._summed = event, None
        self._events.add(event)

    def _row(self, number: int, match: re.Match[str]) -> None:
        lock, site = (None if name == _ALL else name for name in (match[4], match[5]))
        event = self._event or ""
        words = event.lower()
        if site is None:
            role, self._summed = "lock" if lock else "sample", lock
        else:
            role = "waiter" if lock is not None and lock == self._summed else "site"
        if not words.startswith(tuple(_CLASSES)) and "sleep" not in words and "spin" not in words:
            role = "sample"  # preemption that was deferred, say
        lock_class = next((name for start, name in _CLASSES.items() if words.startswith(start)), None)
        mode = "write" if "writer" in words else "read" if "reader" in words else None
        time_us = round(float(match[3]) * 1e3, 6)
        count: int | None = int(match[2])
        mean: tuple[int | None, float | None] = (None, None)
        wait_us: float | None = time_us
        if self._averages:
            self._told.add(self._averages.strip())
            mean, count, wait_us = (count, time_us), None, None
            dump = self.dump(number)
            if self._averages.strip() == "per-second" and dump.span_s:
                wait_us = round(time_us * dump.span_s, 6)
                dump.derived["wait_us"] = "the printed time of a second x the span"
        self.put((lock_class, lock, site, role, event, mode, count, wait_us, *mean, number))

    def _leave(self) -> None:
        self._joiner.drop("row cut short")

    def close(self) -> None:
        """Report what is left over."""
        self._leave()

    def notes(self) -> list[str]:
        """What this format does not tell."""
        notes = [
            "times are printed to 10 us: a lock with less shows 0",
            "waits only: acquisitions that did not wait, and holds, are not in it",
        ]
        return notes + [f"figures are {told} averages, cut to whole counts" for told in sorted(self._told)]
