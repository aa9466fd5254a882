"""plockstat(8) of Solaris and illumos: the locks of a program, by event, lock and caller, in nanoseconds."""

import re
from typing import ClassVar

import polars as pl

from finegrain.profile.readers.base import LEAD, Joiner, Log, Reader
from finegrain.profile.table import BETWEEN

_EVENT = re.compile(r"(Mutex|R/W (?:reader|writer)) (hold|block|spin|unsuccessful spin)$")
_HEADING = re.compile(r"Count\s+nsec\s+Lock\s+Caller$")
_ROW = re.compile(r"(\d{1,18})\s+(\d{1,20})\s+(\S.*?)\s+(\S+)$")
_CUT = re.compile(r"\d{1,18}\s+\d{1,20}(?:\s+\S+)?$")
_BINS = re.compile(r"nsec\s+-+\s*Time Distribution\s*-+\s+count\s+Stack$")
_BIN = re.compile(r"(\d{1,20})\s+\|(@*)\s*\|\s+(\d{1,18})(?:\s+(\S+))?$")
_FRAME = re.compile(r"[^\s|]*(?:`|0x)\S*$")
_RULE = re.compile(r"-{5,}$")


class Plockstat(Reader):
    """Sections of rows: count, mean nanoseconds, lock, caller; with -s each with a histogram and a stack."""

    format = "plockstat"
    system = "illumos or Solaris"
    extra: ClassVar[dict[str, pl.DataType]] = {"histogram_ns": pl.List(pl.Int64())}
    fields = (
        *("lock_class", "lock", "site", "stack", "role", "event", "mode", "count", "contended"),
        *("wait_us", "wait_avg_us", "hold_us", "hold_avg_us", "histogram_ns", "line"),
    )

    def __init__(self, log: Log) -> None:
        """`log` hears of every line that is skipped."""
        super().__init__(log)
        self._joiner = Joiner(log, 3)
        self._event: re.Match[str] | None = None
        self._events: set[str] = set()
        self._headed = False
        self._row_at = 0  # the line of the last row
        self._row: tuple[int, int, int, str, str] | None = None
        self._bins: list[int] | None = None
        self._stack: list[str] = []

    def starts(self, text: str) -> bool:
        """Is it a heading of this format?"""
        return bool(_EVENT.match(text) or _HEADING.match(text))

    def looks(self, text: str) -> bool:
        """Could it be a row of this format?"""
        return False  # two numbers and two words may be anything

    def feed(self, number: int, text: str) -> bool:
        """Take one line."""
        text = LEAD.sub("", text).strip()
        if not text:
            return True
        if _RULE.match(text):
            self._leave()
            if self._bins is not None:  # with -s a rule stands between rows
                self._finish()
            return True
        if self._event is not None and self._bins is None and (match := _ROW.match(text)):
            self._leave()  # what is whole is not the rest of a row that was cut
            self._begin(number, match)
            return True
        if self._row is not None and self._under_row(text):
            return True
        if self._joiner.parts:
            joined = self._joiner.text(text)
            match = _ROW.match(joined)
            first = self._joiner.first(number)
            if match:
                self._joiner.parts.clear()
                self._begin(first, match)
                return True
            if _CUT.match(joined) and self._joiner.hold(number, text):
                return True
            self._leave()
        event = _EVENT.match(text)
        if event:
            self._finish()
            # another run, too, is what other text stands above
            if text in self._events or (self._row_at and self.log.text_between(self._row_at, number)):
                self.dump(number, new=True)
                self._events.clear()
            self.dump(number)
            self._event, self._headed = event, False
            self._events.add(text)
            return True
        if _HEADING.match(text):
            self._finish()
            if self._headed and self._event is None:
                self.dump(number, new=True)
            self.dump(number)
            self._headed = True
            return True
        if self._event is not None and _CUT.match(text):
            return self._joiner.hold(number, text)
        return False

    def _under_row(self, text: str) -> bool:
        if _BINS.match(text):
            self._bins = []
            return True
        if self._bins is None:
            return False
        match = _BIN.match(text)
        if match:
            if int(match[1]) < 1 << 63:
                self._bins += (int(match[1]), int(match[3]))
            if match[4]:
                self._stack.append(match[4])
            return True
        if _FRAME.match(text):
            self._stack.append(text)
            return True
        return False

    def _begin(self, number: int, match: re.Match[str]) -> None:
        self._finish()
        self._row_at = number
        self._row = number, int(match[1]), int(match[2]), match[3], match[4]

    def _finish(self) -> None:
        row, self._row = self._row, None
        bins, self._bins = self._bins, None
        stack, self._stack = self._stack, []
        if row is None or self._event is None:
            return
        number, count, mean_ns, lock, site = row
        mean, total = mean_ns / 1e3, mean_ns * count / 1e3
        hold = self._event[2] == "hold"
        mode = {"R/W reader": "read", "R/W writer": "write"}.get(self._event[1])
        wait, held = ((None, None), (total, mean)) if hold else ((total, mean), (None, None))
        self.dump(number).derived["wait_us, hold_us"] = (
            "count x the printed mean, which is cut to whole nanoseconds"
        )
        self.put(
            (
                *(
                    "rw" if mode else "mutex",
                    lock,
                    site,
                    BETWEEN.join(stack) or None,
                    "site",
                    self._event[0],
                    mode,
                ),
                *(count if hold else None, None if hold else count, *wait, *held),
                *(BETWEEN.join(map(str, bins or [])) or None, number),
            ),
        )

    def _leave(self) -> None:
        self._joiner.drop("row cut short")

    def close(self) -> None:
        """Report what is left over."""
        self._finish()
        self._leave()

    def notes(self) -> list[str]:
        """What this format does not tell."""
        return [
            "means are whole nanoseconds, totals are count x mean; with -s they come from the histogram and are low",
            "an acquisition that spun in vain and then blocked is in both sections, so waits may count it twice",
            "locks of a program, by address or symbol; the longest wait or hold is not told",
        ]
