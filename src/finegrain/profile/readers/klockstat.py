"""klockstat, of bcc's Python tools (nanoseconds) and of its libbpf tools (times with units)."""

import re
from typing import ClassVar

import polars as pl

from finegrain.profile.readers.base import LEAD, TIME, Joiner, Log, Reader, time_us
from finegrain.profile.table import BETWEEN

_HEADING = re.compile(
    r"(Caller|Tid\s+Comm)\s+(?:Avg|Average)\s+(Spin|Wait|Hold)\s+Count\s+Max\s+\w+\s+Total\s+\w+\s*$",
    re.IGNORECASE,
)
_NUMBERS = re.compile(r"(\S.*?)\s+(\d{1,20})\s+(\d{1,18})\s+(\d{1,20})\s+(\d{1,20})\s*$")
_TIMES = re.compile(rf"(\S.*?)\s+({TIME})\s+(\d{{1,18}})\s+({TIME})\s+({TIME})\s*$")
_MAY_BE_HEADING = re.compile(
    r"(?:Caller|Tid\s+Comm)(?:\s+(?:Avg|Average|Spin|Wait|Hold|Count|Max|Total))*\s*$", re.I
)
_MAY_BE_ROW = re.compile(rf"\S.*?\s+(?:\d{{1,18}}|{TIME})(?:\s+(?:[\d.]+|ns|us|ms|s|m|h)){{0,6}}\s*$")
_MAX = re.compile(r"Max PID (\d+), COMM (.*?), Lock (.+?) \((0x[0-9a-f]+)\)\s*$")
_FRAME = re.compile(r"(?:b')?(\[?[\w.$]+\]?(?:\+0x[0-9a-f]+)?)'?$")
_THREAD = re.compile(r"(\d{1,10})\s+(\S.*)$")


class Klockstat(Reader):
    """A table of waits and a table of holds, each by caller (with a stack) or by thread."""

    format = "klockstat"
    system = "Linux"
    extra: ClassVar[dict[str, pl.DataType]] = {
        "pid": pl.Int64(),
        "max_pid": pl.Int64(),
        "max_comm": pl.String(),
        "max_lock": pl.String(),
        "address": pl.String(),
    }
    fields = (
        *("site", "stack", "role", "event", "count", "hold_count", "wait_us", "wait_max_us"),
        *("wait_avg_us", "hold_us", "hold_max_us", "hold_avg_us", *extra, "line"),
    )

    def __init__(self, log: Log) -> None:
        """`log` hears of every line that is skipped."""
        super().__init__(log)
        self._kind = ""
        self._tables: set[str] = set()
        self._threads = False
        self._joiner = Joiner(log, 3)
        self._row: dict[str, object] | None = None
        self._stack: list[str] = []

    def starts(self, text: str) -> bool:
        """Is it a heading of this format?"""
        return ("ount" in text and bool(_HEADING.match(text))) or (
            text[:6].lower() == "caller" and self._broken_heading(text)
        )

    def looks(self, text: str) -> bool:
        """Could it be a row of this format?"""
        return False  # a row without its heading may be anything

    def feed(self, number: int, text: str) -> bool:
        """Take one line."""
        text = LEAD.sub("", text).strip()
        if not text:
            return True
        if self._kind and (_NUMBERS.match(text) or _TIMES.match(text)):
            self._joiner.drop("row cut short")  # what is whole is not the rest of a row that was cut
        if self._joiner.parts:
            joined = self._joiner.text(text)
            first = self._joiner.first(number)
            if _HEADING.match(joined) or (self._kind and (_NUMBERS.match(joined) or _TIMES.match(joined))):
                self._joiner.parts.clear()
                return self.feed(first, joined)
            if (_MAY_BE_HEADING.match(joined) or _MAY_BE_ROW.match(joined)) and self._joiner.hold(
                number, text
            ):
                return True
            self._joiner.drop("row cut short")
        heading = _HEADING.match(text) if "ount" in text else None
        if heading:
            self._finish()
            kind = "hold" if heading[2].lower() == "hold" else "wait"
            self._threads = heading[1].lower() != "caller"
            if not self.dumps or kind in self._tables or (self._tables == {"hold"} and kind == "wait"):
                self.dump(number, new=True)
                self._tables.clear()
            self._kind = kind
            self._tables.add(kind)
            return True
        if self._broken_heading(text):
            return self._joiner.hold(number, text)
        if not self._kind:
            return False
        match = _NUMBERS.match(text)
        if match:
            name, average, count, longest, total = match.groups()
            self._begin(number, name, int(count), [int(v) / 1e3 for v in (average, longest, total)])
            return True
        match = _TIMES.match(text)
        if match:
            name, average, count, longest, total = match.groups()
            times = [time_us(value) for value in (average, longest, total)]
            self._begin(number, name, int(count), times)
            return True
        if _MAY_BE_ROW.match(text) and (_FRAME.match(text.split()[0]) or self._threads):
            return self._joiner.hold(number, text)
        if self._row is None:
            return text == "^C"
        match = _MAX.match(text)
        if match:
            row = self._row
            row |= {"max_pid": int(match[1]), "max_comm": match[2], "address": match[4]}
            if match[3] != "no-ksym":
                row["max_lock"] = match[3]
            return True
        frame = _FRAME.match(text)
        if frame and ("+0x" in text or self._stack):
            self._stack.append(frame[1])
            return True
        return False

    @staticmethod
    def _broken_heading(text: str) -> bool:
        return "ount" in text and bool(_MAY_BE_HEADING.match(text)) and not _HEADING.match(text)

    def _begin(self, number: int, name: str, count: int, times: list[float | None]) -> None:
        self._finish()
        average, longest, total = times
        row: dict[str, object] = {"role": "site", "event": self._kind, "line": number}
        row |= {"count" if self._kind == "wait" else "hold_count": count}
        row |= {f"{self._kind}_us": total, f"{self._kind}_max_us": longest, f"{self._kind}_avg_us": average}
        thread = _THREAD.match(name) if self._threads else None
        frame = _FRAME.match(name)
        if thread:
            row |= {"pid": int(thread[1]), "site": thread[2], "role": "task"}
        else:
            row["site"] = frame[1] if frame else name
        self._row = row

    def _finish(self) -> None:
        row, self._row = self._row, None
        stack, self._stack = self._stack, []
        if row is None:
            return
        if stack and stack[0] == row["site"]:
            del stack[0]
        row["stack"] = BETWEEN.join(stack) or None
        thread = [(row["pid"], row["site"], row["event"])] if "pid" in row else []
        self.put(tuple(row.get(name) for name in self.fields), *thread)

    def close(self) -> None:
        """Report what is left over."""
        self._finish()
        self._joiner.drop("row cut short")

    def notes(self) -> list[str]:
        """What this format does not tell."""
        return [
            "waits are timed for every acquisition, contended or not: how many had to wait is not told",
            "locks have no names: rows are callers, of all locks they take (with -s, the lock of the longest "
            "wait or hold is named)",
        ]
