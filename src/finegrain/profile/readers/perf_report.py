"""`perf lock report`: a name, then the columns that -F chose; nanoseconds in older perf, units in newer."""

import re

from finegrain.profile.readers.base import LEAD, TIME, Joiner, Log, Reader
from finegrain.profile.readers.perf_contention import (
    COLUMNS,
    COUNTS,
    keys_of,
    only_headings,
    row_pattern,
    values_of,
)

_DEBUG = re.compile(r"bad: (\d{1,12}), total: \d{1,12}")
_DEBUG_REST = re.compile(
    r"(?:=== output for debug|bad rate:|histogram of events caused bad"
    r"|(?:acquire|acquired|contended|release)\s*: \d+)"
)


class PerfReport(Reader):
    """Rows of a name (which may hold blanks) and numbers."""

    format = "perf lock report"
    system = "Linux"
    fields = ("lock", "role", *COLUMNS.values(), "line")

    def __init__(self, log: Log) -> None:
        """`log` hears of every line that is skipped."""
        super().__init__(log)
        self._joiner = Joiner(log, 3)
        self._keys: list[tuple[str, str | None]] = []
        self._pattern: re.Pattern[str] | None = None
        self._prefix: re.Pattern[str] | None = None
        self._open, self._heading_text = False, ""
        self._bad = 0
        self._cut = False
        self._no_acquired = False

    def starts(self, text: str) -> bool:
        """Is it a heading of this format?"""
        if not text.startswith("Name ") and text != "Name":
            return False
        keys, rest = keys_of(text[4:].lstrip())
        return bool(keys) and only_headings(rest)

    def looks(self, text: str) -> bool:
        """Could it be a row of this format?"""
        return False  # a name and numbers may be anything

    def feed(self, number: int, text: str) -> bool:
        """Take one line."""
        text = LEAD.sub("", text).strip()
        if not text:
            return True
        if self._open:
            self._open = only_headings(text)
            if self._open:
                self._columns(f"{self._heading_text} {text}")
                return True
        if self._add(number, text):  # alone first: what is whole is not the rest of a row that was cut
            self._joiner.drop("row cut short")
            return True
        if self._joiner.parts:
            joined = self._joiner.text(text)
            if self._add(self._joiner.first(number), joined):
                self._joiner.parts.clear()
                return True
            if self._prefix and self._prefix.match(joined) and self._joiner.hold(number, text):
                return True
            self._joiner.drop("row cut short")
        if self.starts(text):
            self.dump(number, new=True)
            self._columns(text[4:].lstrip())
            self._open = True
            return True
        if not self.dumps:
            return False
        bad = _DEBUG.match(text)
        if bad:
            self._bad += int(bad[1])
            return True
        if _DEBUG_REST.match(text):
            return True
        if self._prefix and self._prefix.match(text):
            return self._joiner.hold(number, text)
        return False

    def _columns(self, heading: str) -> None:
        self._heading_text = heading
        self._keys = keys = keys_of(heading)[0]
        self._pattern = row_pattern(keys, r"(\S.{0,200}?)\s+", "")
        parts = [r"\d{1,18}" if key in COUNTS or unit else TIME for key, unit in keys]
        few = r"\s+".join(parts[:2])
        # the beginning of a row that goes on below: a name and at least two columns
        self._prefix = re.compile(rf"\S.{{0,200}}?\s+{few}(?:\s+[\d.\sa-z]*)?$") if len(parts) > 2 else None
        self._no_acquired |= "acquired" not in [key for key, _ in keys]

    def _add(self, number: int, text: str) -> bool:
        match = self._pattern.match(text) if self._pattern else None
        if not match:
            return False
        name, *cells = match.groups()
        values = values_of(self._keys, tuple(cells))
        self._cut |= name.endswith("...")
        if (
            "wait_us" not in values
            and values.get("wait_avg_us") is not None
            and values.get("contended") is not None
        ):
            values["wait_us"] = float(values["contended"] or 0) * float(values["wait_avg_us"] or 0)
            self.dumps[-1].derived["wait_us"] = "contended x the printed mean"
        self.put((name, "lock", *[values.get(column) for column in COLUMNS.values()], number))
        return True

    def close(self) -> None:
        """Report what is left over."""
        self._joiner.drop("row cut short")

    def notes(self) -> list[str]:
        """What this format does not tell."""
        notes = [
            "a name may be a lock's, a caller's (kernels without lock names) or with -t a thread's: "
            "the report does not say which",
            "holds are not in it",
        ]
        if self._cut:
            notes.append(
                "names of 20 characters and more are cut to 16 and dots: different locks may look alike"
            )
        if self._bad:
            notes.append(f"perf reports {self._bad} bad sequences of events, whose waits are missing")
        return notes
