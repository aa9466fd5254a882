"""FreeBSD's `sysctl debug.lock.prof.stats` (LOCK_PROFILING), and `debug.mutex.prof.stats` before it."""

import re
from typing import ClassVar

import polars as pl

from finegrain.profile.readers.base import Joiner, Log, Reader

# Column -> column of the table.  LOCK_PROFILING(9), MUTEX_PROFILING(9): all times are microseconds.
COLUMNS = {
    "max": "hold_max_us",
    "wait_max": "wait_max_us",
    "total": "hold_us",
    "wait_total": "wait_us",
    "count": "count",
    "avg": "hold_avg_us",
    "wait_avg": "wait_avg_us",
    "cnt_hold": "cnt_hold",
    "cnt_lock": "contended",
}
# The columns of each era by how many there are, for a dump whose heading is lost.
LAYOUTS = {
    9: ("max", "wait_max", "total", "wait_total", "count", "avg", "wait_avg", "cnt_hold", "cnt_lock"),
    8: ("max", "total", "wait_total", "count", "avg", "wait_avg", "cnt_hold", "cnt_lock"),
    6: ("max", "total", "count", "avg", "cnt_hold", "cnt_lock"),
    4: ("max", "total", "count", "avg"),
}
CLASSES = frozenset({"sleep mutex", "spin mutex", "sx", "rw", "rm", "sleepable rm", "lockmgr", "rmlock"})

_PREFIX = re.compile(r"^(?:\S{0,40}\s)?debug\.(?:lock|mutex)\.prof\.stats\s*[:=]\s*")
_NUMBERS = re.compile(r"\s*(\d{1,18}(?:\s+\d{1,18})*)(?:\s+(\D.*|\d*[^\d\s].*))?$")
_ROW = {
    n: re.compile(r"\s*" + r"(\d{1,18})\s+" * n + r"(\S+:\d{1,9})\s+\((?:([^:()]{1,40}):)?(.*)\)\s*$")
    for n in range(1, 10)
}


class LockProfiling(Reader):
    """Rows of nine, eight, six or four numbers, then `file:line (class:name)`."""

    format = "FreeBSD LOCK_PROFILING"
    system = "FreeBSD"
    extra: ClassVar[dict[str, pl.DataType]] = {"cnt_hold": pl.Int64()}
    fields = ("lock_class", "lock", "site", "role", *COLUMNS.values(), "line")

    def __init__(self, log: Log) -> None:
        """`log` hears of every line that is skipped."""
        super().__init__(log)
        self._row = Joiner(log)
        self._layout: tuple[str, ...] = ()
        self._places: list[int] = []  # of each column in a row's numbers; -1 where there is none
        self._old = False
        self._no_cnt_hold = False
        self._cut_names = 0

    def starts(self, text: str) -> bool:
        """Is it a heading of this format?"""
        if "debug." in text and _PREFIX.match(text):
            return True
        words = text.split(maxsplit=11)
        return len(words) >= 4 and words[0] in COLUMNS and all(w in COLUMNS or w == "name" for w in words)

    def looks(self, text: str) -> bool:
        """Could it be a row of this format?"""
        return text[:1].isdigit() and text.endswith(")") and any(_ROW[n].match(text) for n in LAYOUTS)

    def feed(self, number: int, text: str) -> bool:
        """Take one line."""
        if self._layout and not self._row.parts and self._add(number, text):
            return True
        if not text or text.isspace():
            return True
        if self.starts(text.strip()):
            self._heading(number, text)
            return True
        return self._slowly(number, text)

    def _heading(self, number: int, text: str) -> None:
        self._row.drop("row cut short")
        words = _PREFIX.sub("", text.strip()).split()
        dump = self.dumps[-1] if self.dumps else None
        # a heading that `sort` moved among the rows, or one under the sysctl's name, opens no new dump
        if dump is None or dump.headed:
            dump = self.dump(number, new=True)
            dump.headed = False
        if words:
            dump.headed, dump.heading_at = True, len(dump.builder)
            self._set_layout(tuple(word for word in words if word != "name"))
        else:
            self._set_layout(())

    def _set_layout(self, layout: tuple[str, ...]) -> None:
        # a heading that names a column twice, or one that no kernel has, is none to trust
        sound = len(set(layout)) == len(layout) and all(name in COLUMNS for name in layout)
        self._layout = layout = layout if sound else ()
        self._places = [layout.index(name) if name in layout else -1 for name in COLUMNS]

    def _slowly(self, number: int, text: str) -> bool:
        """A row without heading, a part of a broken row, or a heading's second half."""
        text = text.strip()
        words = text.split(maxsplit=11)
        if words and self._layout and all(w in COLUMNS or w == "name" for w in words):
            self._set_layout(self._layout + tuple(word for word in words if word != "name"))
            return True
        if self._row.parts:
            joined = self._row.text(text)
            if self._complete_alone(text) and self._add(number, text):
                self._row.drop("row cut short")
                return True
            if self._add(self._row.first(number), joined):
                self._row.parts.clear()
                return True
            if self._may_go_on(joined) and self._row.hold(number, text):
                return True
            self._row.drop("row cut short")
        if self._add(number, text):
            return True
        if self._may_go_on(text) and len(text.split()) > 1:
            return self._row.hold(number, text)
        return False

    def _complete_alone(self, text: str) -> bool:
        return any(row.match(text) for n, row in _ROW.items() if n in LAYOUTS or n == len(self._layout))

    def _may_go_on(self, text: str) -> bool:
        match = _NUMBERS.match(text)
        if not match:
            return False
        wanted = len(self._layout) or 9
        found = len(match[1].split())
        if match[2] is None:
            return found <= wanted
        if self._layout and found != wanted:
            return False
        return match[2].count("(") > match[2].count(")") or (" (" not in match[2] and len(text) < 400)

    def _add(self, number: int, text: str) -> bool:
        """Add the row if `text` is a whole one."""
        layout = self._layout
        match = _ROW[len(layout)].match(text) if layout else None
        if match is None:
            if layout and self.dumps and self.dumps[-1].headed:
                return False
            leading = _NUMBERS.match(text)
            layout = LAYOUTS.get(len(leading[1].split()), ()) if leading else ()
            match = _ROW[len(layout)].match(text) if layout else None
            if match is None:
                return False
            self._set_layout(layout)
        *numbers, site, lock_class, lock = match.groups()
        if "(" in lock and lock.count("(") != lock.count(")"):
            return False
        if lock_class is not None and "wait_total" not in layout and lock_class not in CLASSES:
            lock_class, lock = None, f"{lock_class}:{lock}"  # before FreeBSD 7 there was no class
        values = [*map(int, numbers), None]
        cells = [values[place] for place in self._places]
        self.put((lock_class, lock, site, "site", *cells, number), lock_class, lock, site)
        return True

    def close(self) -> None:
        """Report what is left over."""
        self._row.drop("row cut short")

    def tidy(self, table: pl.DataFrame) -> pl.DataFrame:
        """Look once more at a whole table."""
        if table["wait_us"].null_count() == table.height:
            self._old = True
        if (table["cnt_hold"].fill_null(0) == 0).all():
            self._no_cnt_hold = True
            return table.with_columns(cnt_hold=pl.lit(None, pl.Int64))
        return table

    def notes(self) -> list[str]:
        """What this format does not tell."""
        notes = [
            "times are whole microseconds; avg and wait_avg are cut off, not rounded, so an average of 0 "
            "can be anything under 1 us (totals are exact to a microsecond an acquisition)",
            "one name covers every lock that has it: all vm objects, all pmaps",
        ]
        if self._no_cnt_hold:
            notes.append(
                "cnt_hold is always 0 in this kernel: who held a lock while others waited is not known"
            )
        if self._old:
            notes.append("this kernel records no waiting times, only holds")
        return notes
