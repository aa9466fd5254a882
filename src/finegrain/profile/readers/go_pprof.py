"""`go tool pprof -text` (or -top) of a Go program's mutex or block profile."""

import re
from typing import ClassVar

import polars as pl

from finegrain.profile.readers.base import LEAD, Joiner, Log, Reader

_TYPE = re.compile(r"Type:\s+(\w{1,40})$")
_DURATION = re.compile(r"Duration:\s+([\d.]{1,18}\w{1,5}),")
_HEADING = re.compile(r"flat\s+flat%\s+sum%\s+cum\s+cum%$")
_VALUE = r"-?\d{1,20}(?:\.\d{1,9})?(?:ns|us|µs|ms|s|mins?|hrs?|days?|wks?|yrs?)?"
_SHARE = r"\d{1,3}(?:\.\d+)?%"
_ROW = re.compile(rf"({_VALUE})\s+{_SHARE}\s+{_SHARE}\s+({_VALUE})\s+{_SHARE}\s+(\S.*)$")
_CUT = re.compile(rf"{_VALUE}\s+{_SHARE}(?:\s+{_SHARE}(?:\s+{_VALUE}(?:\s+{_SHARE})?)?)?$")
_UNIT = re.compile(r"(\d+(?:\.\d+)?)(\D*)$")
_SCALE = {"": 1.0, "ns": 1e-3, "us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6, "min": 60e6, "hr": 3600e6}
_SCALE |= {"day": 86400e6, "wk": 7 * 86400e6, "yr": 365 * 86400e6}
_AROUND = re.compile(
    r"(?:(?:File|Build ID|Time):|Showing nodes accounting for|Showing top|Dropped|Active filters)"
)
# What a block profile has beside locks: channels, conditions, waiting for threads to end.
_NO_LOCK = re.compile(
    r"runtime\.(?:chan|select)|runtime\.goparkunlock|sync\.\(\*(?:Cond|WaitGroup|Once)\)|time\.Sleep"
)
TYPES = ("delay", "contentions")
OTHER_TYPES = ("cpu", "samples", "inuse_space", "inuse_objects", "alloc_space", "alloc_objects", "goroutine")


class GoPprof(Reader):
    """Rows of a function's own figure and its share, then those with what it calls."""

    format = "go pprof"
    system = "Go"
    extra: ClassVar[dict[str, pl.DataType]] = {"with_callees_us": pl.Float64(), "with_callees": pl.Int64()}
    fields = ("site", "role", "contended", "wait_us", *extra, "line")

    def __init__(self, log: Log) -> None:
        """`log` hears of every line that is skipped."""
        super().__init__(log)
        self._joiner = Joiner(log, 4)
        self._type: str | None = None
        self._headed = False

    def starts(self, text: str) -> bool:
        """Is it a heading of this format?"""
        return bool(
            _HEADING.match(text) or ((kind := _TYPE.match(text)) and kind[1] in (*TYPES, *OTHER_TYPES))
        )

    def looks(self, text: str) -> bool:
        """Could it be a row of this format?"""
        return False

    def feed(self, number: int, text: str) -> bool:
        """Take one line."""
        text = LEAD.sub("", text).strip()
        if not text:
            return True
        if self._headed and (match := _ROW.match(text)):
            self._joiner.drop("row cut short")  # what is whole is not the rest of a row that was cut
            return self._row(number, match)
        if self._joiner.parts:
            joined = self._joiner.text(text)
            match = _ROW.match(joined)
            if match:
                first = self._joiner.first(number)
                self._joiner.parts.clear()
                return self._row(first, match)
            if _CUT.match(joined) and self._joiner.hold(number, text):
                return True
            self._joiner.drop("row cut short")
        if kind := _TYPE.match(text):
            self._type, self._headed = kind[1], False
            if self._type in TYPES:
                self.dump(number, new=True)
            return True
        if match := _DURATION.match(text):
            if self.dumps and not self._headed:
                self.dumps[-1].span_s = (self._us(match[1]) or 0) / 1e6 or None
            return True
        if _HEADING.match(text):
            return self._heading(number)
        if self.dumps and _AROUND.match(text):
            return True
        if self._headed and _CUT.match(text):
            return self._joiner.hold(number, text)
        return False

    def _heading(self, number: int) -> bool:
        if self._type not in TYPES:
            what = f"of type {self._type}" if self._type else "whose line 'Type:' is lost"
            self.log.hint = (
                f"a pprof profile {what} in line {number}: a lock profile is of type delay or contentions, as "
                "'go tool pprof -text FILE' prints of a mutex or block profile"
            )
            self._headed = False
            return False
        self.dump(number, new=self._headed)
        self._headed = True
        return True

    def _row(self, number: int, match: re.Match[str]) -> bool:
        own, both, site = match.groups()
        nothing = self._us(own) == 0
        role = "inclusive" if nothing else "sample" if _NO_LOCK.match(site) else "site"
        if self._type == "delay":
            self.put(
                (site, role, None, self._us(both if nothing else own), self._us(both), None, number), site
            )
            return True
        if not (own.isdigit() and both.isdigit()):
            self.log.broken(number, "no count")
            return True
        self.put((site, role, int(both if nothing else own), None, None, int(both), number), site)
        return True

    @staticmethod
    def _us(text: str) -> float | None:
        match = _UNIT.match(text)
        scale = _SCALE.get(
            match[2] if match and match[2] in _SCALE else match[2].rstrip("s") if match else "-"
        )
        return round(float(match[1]) * scale, 6) if match and scale is not None else None

    def close(self) -> None:
        """Report what is left over."""
        self._joiner.drop("row cut short")

    def notes(self) -> list[str]:
        """What this format does not tell."""
        return [
            "a mutex profile counts where locks were released, a block profile where they were waited for: the text "
            "does not say which of the two it is",
            "a function that only calls others is an inclusive row, out of the totals; channels, conditions and wait "
            "groups are no locks and are out of them too",
            "figures are samples made up to the whole, printed with three or so digits; locks have no names",
        ]
