"""`perf lock contention`: its text (by caller, -t, -l, -o, --lock-cgroup; -v, -F) and its CSV (-x)."""

import re
from typing import ClassVar

import polars as pl

from finegrain.profile.readers.base import TIME, Joiner, Log, Reader, time_us
from finegrain.profile.table import BETWEEN

COLUMNS = {
    "acquired": "count",
    "contended": "contended",
    "total wait": "wait_us",
    "max wait": "wait_max_us",
    "min wait": "wait_min_us",
    "avg wait": "wait_avg_us",
}
COUNTS = ("acquired", "contended")
KEY = re.compile(r"(acquired|contended|(?:total|max|min|avg) wait)(?:\s+\((ns|us|ms)\))?(?:\s+|$)")
_WORDS = {*"acquired contended total max min avg wait (ns) (us) (ms)".split(), "stacktrace"}  # noqa: SIM905
_WORDS |= {"type", "caller", "pid", "comm", "owner", "address", "symbol", "cgroup"}
_MODES = {
    ("type", "caller"): "caller",
    ("pid", "comm"): "task",
    ("pid", "owner"): "owner",
    ("address", "symbol"): "address",
    ("cgroup",): "cgroup",
}
_TAILS = {
    "caller": r"([\w:.?-]+)\s+(\S.*)",
    "task": r"(-?\d{1,10})\s+(\S.*)",
    "owner": r"(-?\d{1,10})\s+(\S.*)",
    "address": r"((?:0x)?[0-9a-f]{6,16})(?:\s+(\S.*))?",
    "cgroup": r"()(\S.*)",
}
_CSV = re.compile(r"#\s*output:\s*(?=(?:acquired|contended|(?:total|max|min|avg) wait))(.*)$")
_STACK = re.compile(r"(0x[0-9a-f]{6,16})\s+(\S.*)$")
_NUMBER = re.compile(r"\d{1,20}")
_CSV_STACK = re.compile(r"(?::\s*)?(?:0x[0-9a-f]{6,16}(?:\s|$)|[\w.$]+\+0x[0-9a-f]+(?::|$))")
_SYMBOL_TYPE = re.compile(r"^(.*?)\s*\(([\w:?-]+)\)$")
_SYMBOL_LINE = re.compile(r"(?:[&\w][\w.>-]*)?\s*(?:\([\w:?-]+\))?$")
_DEBUG = re.compile(r"#?\s*(?:debug: total=\d+, bad=(\d+)|bad: (\d+), total: \d+)")
# What follows are the stacks of owners, with the waits that they caused: the same waits once more.
_OWNER_STACKS = re.compile(r"(?:=== owner stack trace ===|#\s*owner stack trace:)$")
_DEFAULT = ("contended", "total wait", "max wait", "avg wait")
_LOCK_TYPES = {
    "spinlock",
    "mutex",
    "rtmutex",
    "rwlock",
    "rwsem",
    "percpu-rwsem",
    "pcpu-sem",
    "semaphore",
    "unknown",
}


def keys_of(text: str) -> tuple[list[tuple[str, str | None]], str]:
    """The column headings at the start of a line, each with the unit it names, and what follows them."""
    keys: list[tuple[str, str | None]] = []
    position = 0
    while match := KEY.match(text, position):
        keys.append((match[1], match[2]))
        position = match.end()
    return keys, text[position:]


def only_headings(text: str) -> bool:
    """Does the text hold nothing but words of a heading, perhaps a part of it?"""
    return all(word in _WORDS for word in text.split(maxsplit=24))


def row_pattern(keys: list[tuple[str, str | None]], head: str, tail: str) -> re.Pattern[str]:
    """Matches a row with these columns between `head` and `tail`."""
    parts = [
        r"(\d{1,18})" if key in COUNTS else r"(\d{1,20})" if unit else rf"({TIME})" for key, unit in keys
    ]
    return re.compile(head + r"\s+".join(parts) + tail + r"\s*$")


def values_of(keys: list[tuple[str, str | None]], cells: tuple[str, ...]) -> dict[str, float | int | None]:
    """Column of the table -> value, times in microseconds."""
    values: dict[str, float | int | None] = {}
    for (key, unit), cell in zip(keys, cells, strict=True):
        values[COLUMNS[key]] = int(cell) if key in COUNTS else time_us(f"{cell} {unit}" if unit else cell)
    return values


def _fits(key: tuple[str, str | None], cell: str) -> bool:
    """Could this be a figure of this column?  A time that ran below zero has twenty digits."""
    return bool(_NUMBER.fullmatch(cell)) and (len(cell) < 19 or key[0] not in COUNTS)


class PerfContention(Reader):
    """Counts and times, then a lock type and a caller, a task, an owner, an address or a cgroup."""

    format = "perf lock contention"
    system = "Linux"
    extra: ClassVar[dict[str, pl.DataType]] = {
        "pid": pl.Int64(),
        "address": pl.String(),
        "stack_addresses": pl.List(pl.String()),
    }
    fields = ("lock_class", "lock", "site", "stack", "role", "mode", *COLUMNS.values(), *extra, "line")

    def __init__(self, log: Log) -> None:
        """`log` hears of every line that is skipped."""
        super().__init__(log)
        self._joiner = Joiner(log, 3)
        self._keys: list[tuple[str, str | None]] = []
        self._heading_text = ""
        self._mode = ""
        self._pattern: re.Pattern[str] | None = None
        self._separator: str | None = None
        self._open = False
        self._row: tuple[int, tuple[str, ...], str, str] | None = None
        self._frames: list[tuple[str, str]] = []
        self._csv_stack = ""
        self._csv_stacks, self._wanted = False, 0
        self._bad = 0
        self._owners = self._owners_seen = False
        self._modes: set[str] = set()
        self._no_total = False

    def starts(self, text: str) -> bool:
        """Is it a heading of this format?"""
        if "wait" not in text and "contended" not in text and "acquired" not in text:
            return False
        if _CSV.match(text):
            return True
        keys, rest = keys_of(text)
        return bool(keys) and only_headings(rest) and (len(keys) > 1 or bool(rest))

    def looks(self, text: str) -> bool:
        """Could it be a row of this format?"""
        return self._without_heading(text) is not None

    def feed(self, number: int, text: str) -> bool:
        """Take one line."""
        text = text.strip()
        if not text:
            return True
        if self._open:
            self._open = only_headings(text.replace(self._separator or " ", " "))
            if self._open:
                self._parse_heading(f"{self._heading_text} {text}")
                return True
        if _OWNER_STACKS.match(text) and self.dumps:
            self._finish()
            self._joiner.drop("row cut short")
            self._owners = True
            return True
        if self._take(number, text):  # alone first: what is whole is not the rest of a row that was cut
            self._joiner.drop("row cut short")
            return True
        if self._joiner.parts:
            joined = self._joiner.text(text)
            if self._take(self._joiner.first(number), joined):
                self._joiner.parts.clear()
                return True
            if self._may_go_on(joined) and self._joiner.hold(number, text):
                return True
            self._joiner.drop("row cut short")
        if self.starts(text):
            self._heading(number, text)
            return True
        if self._mode == "address" and self._symbol_below(text):
            return True
        if self._row and self._csv_stacks and _CSV_STACK.match(text):
            self._csv_stack += f" {text}"
            return True
        if self._row and (frame := _STACK.match(text)):
            self._frames.append((frame[1], frame[2]))
            return True
        debug = _DEBUG.match(text)
        if debug and self.dumps:
            self._bad += int((debug[1] or debug[2])[:12])
            return True
        if not self.dumps:
            default = self._without_heading(text)
            if default:
                words = next(words for words, mode in _MODES.items() if mode == default)
                self._parse_heading(" ".join([*_DEFAULT, *words]))
                self.dump(number)
                return self._take(number, text)
        if (self._pattern or self._separator is not None) and self._may_go_on(text):
            return self._joiner.hold(number, text)
        return False

    def _without_heading(self, text: str) -> str | None:
        """The mode of a row whose heading is lost, if the figures bear it out as the usual columns."""
        if not text[:1].isdigit():
            return None
        keys: list[tuple[str, str | None]] = [(key, None) for key in _DEFAULT]
        for mode in ("address", "caller"):
            match = row_pattern(keys, "", rf"\s+{_TAILS[mode]}").match(text)
            if not match:
                continue
            if mode == "caller" and match[5].split(":")[0] not in _LOCK_TYPES:
                continue
            count, (total, longest, average) = int(match[1]), [time_us(match[i]) or 0.0 for i in (2, 3, 4)]
            if (
                total * 1.01 >= longest >= average * 0.99
                and abs(count * average - total) <= 0.02 * total + 1e-3 * count
            ):
                return mode
        return None

    def _heading(self, number: int, text: str) -> None:
        self._finish()
        self._owners = False
        self.dump(number, new=bool(self.dumps and self.dumps[-1].headed)).headed = True
        self._parse_heading(text)

    def _parse_heading(self, text: str) -> None:
        """Take a heading, which stays open for the next line while it has not named the last column."""
        self._heading_text = text
        csv = _CSV.match(text)
        self._separator, self._pattern, self._mode = None, None, ""
        if csv:
            self._csv_heading(csv[1])
            return
        self._keys, rest = keys_of(text)
        mode = _MODES.get(tuple(rest.split()))
        self._open = mode is None
        if mode:
            self._set_mode(mode)
            self._pattern = row_pattern(self._keys, "", rf"\s+{_TAILS[mode]}")

    def _set_mode(self, mode: str) -> None:
        self._mode = mode
        self._modes.add(mode)
        self._no_total |= "total wait" not in [key for key, _ in self._keys]

    def _csv_heading(self, text: str) -> None:
        first = KEY.match(text + " ") or re.match(r"(acquired|contended|\w+ wait)", text)
        assert first is not None
        separator = re.match(r"\W+?(?=\s*\w)|\W", text[len(first[1]) :])
        # tabs have become blanks by now, and every separator is followed by a blank of perf's own
        self._separator = separator[0].strip() if separator else ""
        names = re.split(
            rf"\s*{re.escape(self._separator)}\s*" if self._separator else r"\s{2,}", text.strip()
        )
        self._keys = [(name, "ns") for name in names if name in COLUMNS]
        self._csv_stacks = "stacktrace" in names
        self._wanted = len([name for name in names if name not in ("stacktrace", "")])
        tail = tuple(name for name in names if name not in COLUMNS and name not in ("stacktrace", ""))
        mode = _MODES.get(tail[:2])
        self._open = mode is None or not names[-1]
        if mode:
            self._set_mode(mode)

    def _symbol_below(self, text: str) -> bool:
        """The rest of a row's symbol, which mail put on the next line."""
        if not self._row or not _SYMBOL_LINE.match(text):
            return False
        symbol = self._row[3]
        if "(" in symbol or (symbol and text[0] != "("):
            return False
        self._row = (*self._row[:3], f"{symbol} {text}".strip())
        return True

    def _csv_row(self, number: int, text: str) -> bool:
        separator = re.escape(self._separator or "")
        count = len(self._keys)
        # perf puts a blank behind every separator; it may be lost, and a name may hold the separator
        for between in (rf"{separator}\s+", rf"\s*{separator}\s*") if separator else (r"\s{2,}",):
            cells = re.split(between, text.removesuffix(self._separator or " "))
            if len(cells) >= self._wanted and all(map(_fits, self._keys, cells)):
                break
        else:
            return False
        rest = cells[count:]
        stack = ""
        if self._mode == "address" and len(rest) > 2:
            rest = [rest[0], f"{rest[1]} ({rest[2]})"]
        elif self._mode == "caller" and len(rest) > 2:
            stack = rest[2]
        elif self._mode == "cgroup":
            rest = ["", rest[0]]
        self._finish()
        self._row = (number, tuple(cells[:count]), rest[0], rest[1])
        self._csv_stack = stack
        return True

    def _take(self, number: int, text: str) -> bool:
        if self._separator is not None:
            return bool(self._mode) and text[:1].isdigit() and self._csv_row(number, text)
        match = self._pattern.match(text) if self._pattern else None
        if not match:
            return False
        self._finish()
        *cells, first, second = match.groups()
        self._row = (number, tuple(cells), first, second or "")
        return True

    def _may_go_on(self, text: str) -> bool:
        """Is this the beginning of a row: at least its first two columns, or all but the names?"""
        if not text[:1].isdigit() or not self._keys:
            return False
        if self._separator is not None:
            cells = text.split(self._separator or None)
            return all(cell.strip().isdigit() for cell in cells[: len(self._keys)]) and len(text) < 2000
        few = row_pattern(self._keys[:2], "", r"(?:\s+.*)?")
        return bool(few.match(text)) and len(text) < 300

    def _finish(self) -> None:
        row, self._row = self._row, None
        frames, self._frames = self._frames, []
        csv_stack, self._csv_stack = self._csv_stack, ""
        if row is None:
            return
        frames += re.findall(r"(0x[0-9a-f]{6,16})\s+([^:\s]+)", csv_stack)
        number, cells, first, second = row
        values = values_of(self._keys, cells)
        lock_class = lock = site = mode = pid = address = None
        role = "site"
        if self._mode == "caller":
            lock_class, site = first, second
            if self._owners:
                role, self._owners_seen = "holder", True
        elif self._mode == "address":
            role, address = "lock", first.removeprefix("0x")
            typed = _SYMBOL_TYPE.match(second)
            lock, lock_class = (typed[1], typed[2]) if typed else (second, None)
            lock = lock or f"0x{address}"
        elif self._mode == "cgroup":
            role, site = "cgroup", second
        else:
            role, pid, site = self._mode, int(first), second
        if lock_class and lock_class[-2:] in (":R", ":W"):
            mode = "read" if lock_class.endswith("R") else "write"
            lock_class = lock_class[:-2]
        if "wait_us" not in values and values.get("wait_avg_us") is not None and values.get("contended"):
            values["wait_us"] = float(values["contended"] or 0) * float(values["wait_avg_us"] or 0)
            self.dumps[-1].derived["wait_us"] = "contended x the printed mean"
        stack = BETWEEN.join(name for _, name in frames) or None
        self.put(
            (
                *(lock_class, lock, site, stack, role, mode),
                *[values.get(name) for name in COLUMNS.values()],
                *(pid, address, BETWEEN.join(address for address, _ in frames) or None, number),
            ),
            # the rows of callers are stacks, of which the caller alone is printed: several may look alike
            *(() if self._mode == "caller" or first == "-1" else (first, second, mode)),
        )

    def close(self) -> None:
        """Report what is left over."""
        self._finish()
        self._joiner.drop("row cut short")

    def notes(self) -> list[str]:
        """What this format does not tell."""
        notes = ["contended acquisitions only: acquisitions that did not wait, and holds, are not in it"]
        if self._separator is None:
            notes.append("times are printed with three or so digits")
        if "caller" in self._modes:
            notes.append(
                "rows are callers: which lock they wait for is told by its type only (-l names locks)"
            )
        if "owner" in self._modes:
            notes.append(
                "owners are known for some kinds of lock only; waits on others are under Unknown (-1)"
            )
        if self._owners_seen:
            notes.append("stacks of owners are holder rows: the waits that they caused, no further ones")
        if self._no_total:
            notes.append("the column of totals was left out (-F)")
        if self._bad:
            notes.append(f"perf reports {self._bad} bad or lost events, whose waits are missing")
        return notes
