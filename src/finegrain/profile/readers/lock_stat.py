"""Linux's /proc/lock_stat, versions 0.3 and 0.4 (Documentation/locking/lockstat.rst)."""

import re
from dataclasses import replace
from typing import ClassVar

import polars as pl

from finegrain.profile.readers.base import Joiner, Log, Reader
from finegrain.profile.table import Profile

COLUMNS = {
    "con-bounces": "con_bounces",
    "contentions": "contended",
    "waittime-min": "wait_min_us",
    "waittime-max": "wait_max_us",
    "waittime-total": "wait_us",
    "waittime-avg": "wait_avg_us",
    "acq-bounces": "acq_bounces",
    "acquisitions": "count",
    "holdtime-min": "hold_min_us",
    "holdtime-max": "hold_max_us",
    "holdtime-total": "hold_us",
    "holdtime-avg": "hold_avg_us",
}
_ALL = tuple(COLUMNS)
_NO_AVERAGES = tuple(name for name in _ALL if not name.endswith("-avg"))
LAYOUTS = {12: _ALL, 10: _NO_AVERAGES}
_COUNTS = frozenset({"con-bounces", "contentions", "acq-bounces", "acquisitions"})

# The kernel cuts names here, but for #3, /1, -W and -R behind them.
CUT = 38
# LOCKSTAT_POINTS, the points that a class keeps in each of its lists.
POINTS = 4

_VERSION = re.compile(r"(?:^|\s)lock_stat version \d")
_NUMBER = r"\d{1,18}(?:\.\d{1,6})?"
_UNIT = r"(?:\s?(?:ns|us))?"
_ROW_ENDS = frozenset("0123456789s")  # a row ends with a digit, or with a unit that somebody added
_ROW = re.compile(rf"(\S.{{0,118}}?)\s*:\s+({_NUMBER}{_UNIT}(?:\s+{_NUMBER}{_UNIT})*)\s*$")
_NAME_ONLY = re.compile(r"(\S.{0,118}?)\s*:\s*$")
_GO_ON = re.compile(rf"{_NUMBER}{_UNIT}(?:\s+{_NUMBER}{_UNIT})*\s*$")
_POINT = re.compile(r"(\S.{0,118}?)\s+(\d{1,18})\s+\[<([0-9a-fA-Fx.]+|\(____ptrval____\))>\]\s*(\S.*)?$")
_POINT_HEAD = re.compile(r"(\S.{0,118}?)\s+(\d{1,18})\s*$")
_POINT_TAIL = re.compile(r"\[<([0-9a-fA-Fx.]+|\(____ptrval____\))>\]\s*(\S.*)?$")
_SYMBOL = re.compile(r"(?:0x[0-9a-f]+|[\w.$]+(?:\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?)?)(?:\s+\[[\w-]+\])?$")
_LEAD = re.compile(r"^(?:[-+|*#%:]\s+)+")
_NUMBERED = re.compile(r"^(\d{1,4})(?=[\s-]|$)\s*")
_RULE = re.compile(r"^[-.]{3,}$")


def _fits(layout: tuple[str, ...], numbers: list[str]) -> bool:
    """Are these figures of these columns?  Counts are whole; times carry decimals, or a unit that was added."""
    return len(layout) == len(numbers) and all(
        digits.isdigit() == (name in _COUNTS) for name, digits in zip(layout, numbers, strict=True)
    )


class LockStat(Reader):
    """A row a lock class (`name:` or `name-W:` and `name-R:`), then up to four points a list of two lists."""

    format = "Linux lock_stat"
    system = "Linux"
    extra: ClassVar[dict[str, pl.DataType]] = {
        "con_bounces": pl.Int64(),
        "acq_bounces": pl.Int64(),
        "address": pl.String(),
        "sign": pl.String(),
    }
    fields = ("lock", "site", "role", "mode", *COLUMNS.values(), "address", "sign", "line")

    def __init__(self, log: Log) -> None:
        """`log` hears of every line that is skipped."""
        super().__init__(log)
        self._row = Joiner(log)
        self._point: tuple[int, str, int, str | None] | None = None
        self._bare: int | None = None  # the line of a point of which the name alone is there
        self._layout: tuple[str, ...] = ()
        self._heading_open = False
        self._carry = ""
        self._base: str | None = None
        self._lists: list[list[tuple[object, ...]]] = [
            []
        ]  # points of the class, a list between two rules each
        self._ruled = self._unruled = False
        self._expected = -1
        self._signs: set[str] = set()
        self._sign: str | None = None  # of the line that is read, in a diff of two dumps
        self._disabled = False
        self._averages_missing = False

    def starts(self, text: str) -> bool:
        """Is it a heading of this format?"""
        return bool(_VERSION.search(text)) or ("class name" in text and "con" in text and "-" in text)

    def looks(self, text: str) -> bool:
        """Could it be a row of this format?"""
        match = _ROW.match(text) if ":" in text and text[-1] in _ROW_ENDS else None
        numbers = match[2].split() if match else []
        return bool(numbers) and _fits(LAYOUTS.get(len(numbers), ()), numbers)

    def feed(self, number: int, text: str) -> bool:
        """Take one line."""
        text = self._unnumbered(text.strip())
        if text.endswith(" ..."):  # columns that the writer left out, of the heading and of the rows
            text = text[:-4].rstrip()
        if not self._row.parts and self._point is None:
            match = _ROW.match(text) if text[-1:] in _ROW_ENDS and ":" in text else None
            if match and self._class_row(number, text, match):
                return True
            match = _POINT.match(text) if "[<" in text else None
            if match:
                return self._point_row(number, *match.groups())
        if _RULE.match(text):
            return self._rule(text)
        if self.starts(text):
            return self._heading(number, text)
        return self._slowly(number, _LEAD.sub("", text))

    def _unnumbered(self, text: str) -> str:
        """The kernel's own documentation prints its sample with line numbers: 06 &mm->mmap_sem-W: ..."""
        self._sign = None
        match = _NUMBERED.match(text)
        if match:
            found = int(match[1])
            # only below a numbered version line, and only in sequence: digits are data elsewhere
            if found == self._expected or (found < 10 and _VERSION.match(text[match.end() :])):
                self._expected = found + 1
                return text[match.end() :]
        lead = _LEAD.match(text)
        if lead:
            signs = set(lead[0]) & {"+", "-"}
            self._sign = min(signs, default=None)
            self._signs |= signs
            return text[lead.end() :]
        return text

    def _rule(self, text: str) -> bool:
        self._leave("row cut short")
        if text[0] == "." or len(text) >= 60:
            self._points_end()
        elif self._lists[-1]:
            self._lists.append([])
        else:
            self._ruled = True
        return True

    def _points_end(self) -> None:
        """A class ends: its first list of points is the waiters', its second the holders'.

        Where rules are missing one cannot tell: a list that no rule stands above, or one longer than any.
        """
        lists = [points for points in self._lists if points]
        told = len(lists) == 2 or (len(lists) == 1 and self._ruled)
        told = told and all(len(points) <= POINTS for points in lists)
        for at, points in enumerate(lists):
            role = ("waiter", "holder")[at] if told else "point"
            for name, site, *rest in points:
                self.put((name, site, role, *rest))
        self._unruled |= bool(lists) and not told
        self._lists, self._ruled = [[]], False

    def _heading(self, number: int, text: str) -> bool:
        self._leave("row cut short")
        self._points_end()
        if _VERSION.search(text):
            dump = self.dump(number, new=True)
            dump.headed = False
            self._layout = ()
        if "class name" in text:
            dump = self.dump(number, new=bool(self.dumps and self.dumps[-1].headed))
            dump.headed = True
            self._layout, self._carry = (), ""
            self._take_columns(text[text.index("class name") + 10 :])
            self._heading_open = True
        return True

    def _take_columns(self, text: str) -> bool:
        words = (self._carry + text.lstrip() if self._carry else text).split()
        self._carry = ""
        if words and words[-1] not in COLUMNS and any(name.startswith(words[-1]) for name in COLUMNS):
            self._carry = words.pop()  # mail programs that count columns break within words
        if any(word not in COLUMNS for word in words) or not (words or self._carry):
            return False
        self._layout += tuple(words)
        return True

    def _slowly(self, number: int, text: str) -> bool:
        """Headings and rows that were broken over lines."""
        if self._heading_open:
            if not text or self._take_columns(text):
                return True
            self._heading_open = False
        if "WARNING" in text and "lock debugging disabled" in text:
            self._disabled = True
            return True
        if not text:
            return bool(self.dumps)
        if self._bare is not None:
            first, self._bare = self._bare, None
            joined = f"{self._base} {text}"
            if match := _POINT.match(joined):
                return self._point_row(first, *match.groups())
            if match := _POINT_HEAD.match(joined):
                self._point = (first, match[1], int(match[2]), None)
                return True
            self.log.broken(first, "point cut short")
            return self.feed(number, text)
        if self._point is not None:
            first, name, count, address = self._point
            match = _POINT_TAIL.match(text) if address is None else None
            if match and match[2] is None:
                self._point = (first, name, count, match[1])
                return True
            site = match[2] if match else text if address is not None and _SYMBOL.match(text) else None
            if site:
                self._point = None
                return self._point_row(first, name, str(count), match[1] if match else address, site)
            self._leave("point cut short")
            return self.feed(number, text)
        if self._row.parts:
            joined = self._row.text(text)
            match = _ROW.match(joined) if _GO_ON.match(text) else None
            if match and self._class_row(self._row.first(number), joined, match, more=True):
                self._row.parts.clear()
                return True
            if match and self._row.hold(number, text):
                return True
            self._leave("row cut short")
            return self.feed(number, text)
        if not self.dumps:
            return False
        match = _ROW.match(text) or _NAME_ONLY.match(text)
        if match and (len(match.groups()) == 2 or self._known_name(match[1])):
            return self._row.hold(number, text)
        match = _POINT_HEAD.match(text)
        if match and self._base is not None and match[1] == self._base:
            self._point = (number, match[1], int(match[2]), None)
            return True
        if self._base is not None and text == self._base:  # a point's name, alone on its line
            self._bare = number
            return True
        return text == "..." or text == "<snip>"

    def _known_name(self, name: str) -> bool:
        return "lock" in name or "mutex" in name or "sem" in name or name.endswith(("-R", "-W"))

    def _class_row(self, number: int, text: str, match: re.Match[str], *, more: bool = False) -> bool:
        numbers = re.findall(rf"({_NUMBER})({_UNIT})", match[2])
        layout = self._layout or LAYOUTS.get(len(numbers), ())
        if len(numbers) != len(layout):
            if len(numbers) > len(layout) and not more and layout and len(numbers) in LAYOUTS:
                layout = LAYOUTS[len(numbers)]  # the heading above is another table's
            else:
                return False
        if not _fits(layout, [digits + unit for digits, unit in numbers]):
            return False
        values: dict[str, float | int] = {}
        for name, (digits, unit) in zip(layout, numbers, strict=True):
            if name in _COUNTS:
                values[name] = int(digits)
            else:
                values[name] = float(digits) * (1e-3 if unit.strip() == "ns" else 1.0)
        name = match[1]
        mode = {"-R": "read", "-W": "write"}.get(name[-2:])
        self._base = name[:-2] if mode else name
        self._points_end()
        self._averages_missing |= "waittime-avg" not in values
        get = values.get
        row = (self._base, None, "lock", mode, *[get(column) for column in COLUMNS], None, self._sign, number)
        # a name that was cut may be that of several classes
        self.put(row, *(() if len(self._base) >= CUT else (self._base, mode, self._sign)))
        return True

    def _point_row(self, number: int, name: str, count: str, address: str | None, site: str | None) -> bool:
        if site is None:
            self._point = (number, name, int(count), address)
            return True
        if name != self._base:  # the class's own row is cut off
            self._points_end()
            self._base = name
        row = dict.fromkeys(COLUMNS)
        row["contentions"] = int(count)
        self._lists[-1].append((name, site.strip(), None, *row.values(), address, self._sign, number))
        return True

    def _leave(self, why: str) -> None:
        self._row.drop(why)
        if self._point is not None:
            self.log.broken(self._point[0], why)
            self._point = None
        if self._bare is not None:
            self.log.broken(self._bare, why)
            self._bare = None

    def close(self) -> None:
        """Report what is left over."""
        self._leave("row cut short")
        self._points_end()

    def profiles(self, source: str) -> list[Profile]:
        """What was read; a diff of two dumps is the two, each with the lines that the diff leaves as they are."""
        found = []
        for profile in super().profiles(source):
            sign, table = pl.col("sign"), profile.table
            sides = [table.filter(sign.is_null() | (sign == mark)) for mark in "-+"]
            if any(side.height == table.height for side in sides):
                sides = [table]
            found += [replace(profile, table=side.drop("sign")) for side in sides if side.height]
        return found

    def notes(self) -> list[str]:
        """What this format does not tell."""
        notes = [
            "times are microseconds; one name covers every lock of a lockdep class, and names longer than 38 "
            "characters are cut",
            "at most four points are listed a class and list: waiter rows count where threads waited, holder "
            "rows where the lock was taken that they waited for, without times, and need not add up",
            "there is no lock type in a name; -R and -W are the two modes of one reader-writer lock",
        ]
        if self._unruled:
            notes.append("the rules between lists of points are lost: which points are waiters' is not known")
        if self._averages_missing:
            notes.append("version 0.3 prints no averages")
        if len(self._signs) == 2:
            notes.append("lines are marked + and -, a diff of two dumps: they are read as the two")
        if self._disabled:
            notes.append("the kernel says that lock debugging was off: the figures stopped at some point")
        return notes
