"""Maps that a bpftrace program prints, keyed by a stack: counts, or sums of times of which the name tells."""

import re
from typing import ClassVar

import polars as pl

from finegrain.profile.readers.base import Log, Reader
from finegrain.profile.table import BETWEEN, MAX_COUNT

_OPEN = re.compile(r"@(\w*)\[([^\[\]]*)$")
_WHOLE = re.compile(r"@(\w*)\[([^\[\]]+)\]:\s+(\d{1,20})$")
_END = re.compile(
    r"((?:,?\s*\S[^\]]*)?)\]:\s+(?:(\d{1,20})|count (\d{1,18}), average (\d{1,20}), total (\d{1,20}))$"
)
_FRAME = re.compile(
    r"(?:\S.*\+(?:0x)?[0-9a-f]+(?:\s+[\[(].*[\])])?|(?:0x)?[0-9a-f]{6,16}(?:\s.*)?|[\w.$:~@]+)$"
)
_ATTACHING = re.compile(r"Attach(?:ing|ed) \d+ probes?(?:\.\.\.)?$")
_BREAK = re.compile(r"(?<=\[)<br ?/?>$")  # of a web page; [<...> is left alone, for lock_stat's addresses
_HEAD = re.compile(r"(?:(?:0x)?[0-9a-f]{8,16}\s+)")
_OTHER_MAP = re.compile(r"@\w*(?:\[[^\]]*\])?:")
_TIMED = re.compile(
    r"wait|hold|held|block|spin|time|lat|delay|_?(?:ns|nsecs?|us|usecs?|ms|msecs?)$", re.IGNORECASE
)
_COUNTED = re.compile(r"count|calls|hits|num|(?:^|_)(?:n|nr)(?:_|$)", re.IGNORECASE)
_UNITS = ((re.compile(r"(?:^|_)(?:us|usecs?)$"), 1.0), (re.compile(r"(?:^|_)(?:ms|msecs?)$"), 1e3))
# Functions of the locks themselves: the site is the first frame that is none of them.
_LOCK = re.compile(
    r"(?:_*(?:mutex_lock|mutex_spin|rwsem_|down_|percpu_down|rt_mutex|rt_spin|raw_spin_lock|raw_read|raw_write|queued_|"
    r"native_queued|pv_queued|osq_lock|schedule|preempt_schedule|trace_contention|traceiter_|bpf_|ftrace_|kretprobe|"
    r"pthread_mutex_lock|pthread_rwlock|lll_lock|futex))"
)


class Bpftrace(Reader):
    """Entries `@name[`, a frame a line, `]: value`."""

    format = "bpftrace map"
    system = "Linux"
    extra: ClassVar[dict[str, pl.DataType]] = {"beside": pl.String()}  # what the key holds beside the stack
    fields = (
        *(
            "lock",
            "site",
            "stack",
            "role",
            "event",
            "count",
            "contended",
            "wait_us",
            "wait_max_us",
            "wait_avg_us",
        ),
        *("wait_min_us", "hold_us", "hold_max_us", "hold_avg_us", "hold_min_us", "beside", "line"),
    )

    def __init__(self, log: Log) -> None:
        """`log` hears of every line that is skipped."""
        super().__init__(log)
        self._entry: tuple[int, str] | None = None
        self._frames: list[str] = []
        self._lines: list[int] = []
        self._part = ""  # of a frame that a mail program broke
        self._histograms = False
        self._maps: list[str] = []  # of this dump, each printed in one piece

    def starts(self, text: str) -> bool:
        """Is it a heading of this format?"""
        text = _BREAK.sub("", text)
        return text[:1] == "@" and bool(
            _OPEN.match(text) or ((whole := _WHOLE.match(text)) and _TIMED.search(whole[1]))
        )

    def looks(self, text: str) -> bool:
        """Could it be a row of this format?"""
        return False

    def feed(self, number: int, text: str) -> bool:
        """Take one line."""
        text = _BREAK.sub("", text.strip())
        if text[:1] == "@":
            self._leave()
            if match := _OPEN.match(text):
                self._entry = number, match[1]
                self._lines = [number]
                if match[2].strip():
                    self._frames = [match[2].strip().rstrip(",")]
                return True
            if (match := _WHOLE.match(text)) and _TIMED.search(match[1]):
                self._add(number, match[1], [match[2].strip()], (match[3], None, None, None), whole=True)
                return True
            self._histograms |= bool(_OTHER_MAP.match(text))
            return False
        if self._entry is None:
            if self.dumps and _ATTACHING.match(text):
                self.dump(number, new=True)
                self._maps.clear()
                return True
            return not text
        self._lines.append(number)
        if match := _END.match(text):
            first, name = self._entry
            frames = [*self._frames, *([self._part] if self._part else [])]
            self._entry, self._frames, self._part = None, [], ""
            if not frames:
                self.log.broken(first, "entry without a stack")
                return True
            self._add(first, name, frames, match.groups()[1:], match[1].strip(" ,") or None)
            return True
        if not text:
            return True
        joined = f"{self._part} {text}".strip()
        if _FRAME.match(joined):
            self._frames.append(_HEAD.sub("", joined))
            self._part = ""
        else:
            self._part = joined
        if len(self._frames) > 1024 or len(self._part) > 4096:
            self._leave()
        return True

    def _add(
        self,
        number: int,
        name: str,
        frames: list[str],
        values: tuple[str | None, ...],
        beside: str | None = None,
        *,
        whole: bool = False,
    ) -> None:
        value, *stats = (int(text) if text else None for text in values)
        if name in self._maps[:-1]:
            self.dump(number, new=True)
            self._maps.clear()
        if name not in self._maps:
            self._maps.append(name)
        row: dict[str, object] = {"event": f"@{name}", "beside": beside, "line": number}
        timed = bool(_TIMED.search(name)) and not _COUNTED.search(name)
        if not timed and ((value or 0) > MAX_COUNT or stats[0] is not None):
            self.log.broken(number, "neither a count nor a time by its name")
            return
        if timed:
            kind = "hold" if re.search("hold|held", name) else "wait"
            scale = next((scale for unit, scale in _UNITS if unit.search(name)), 1e-3)
            which = next((what for what in ("max", "avg", "min") if what in name), "")
            row |= {f"{kind}_{which}_us" if which else f"{kind}_us": self._us(value, scale)}
            if stats[0] is not None:
                row |= {f"{kind}_us": self._us(stats[2], scale), f"{kind}_avg_us": self._us(stats[1], scale)}
                row |= {"contended" if kind == "wait" else "count": stats[0]}
        else:
            row |= {"contended" if re.search("wait|cont|block", name) else "count": value}
        if whole:
            key = frames[0]
            role = "lock" if re.fullmatch(r"0x[0-9a-f]+|\d{15,20}", key) else "site" if "+" in key else "task"
            row |= {"role": role, "lock" if role == "lock" else "site": key}
        else:
            outside = (frame for frame in frames if not _LOCK.match(frame))
            row |= {"role": "site", "site": next(outside, frames[0]), "stack": BETWEEN.join(frames)}
        self.put(tuple(row.get(field) for field in self.fields), name, beside, *frames)

    @staticmethod
    def _us(value: int | None, scale: float) -> float | None:
        return None if value is None else round(value * scale, 6)

    def _leave(self) -> None:
        if self._entry is not None:
            for number in self._lines:
                self.log.broken(number, "entry cut short")
        self._entry, self._frames, self._part, self._lines = None, [], "", []

    def close(self) -> None:
        """Report what is left over."""
        self._leave()

    def notes(self) -> list[str]:
        """What this format does not tell."""
        notes = [
            "what a map holds shows from its name alone: times where it says so (wait, hold, time, ns, us ...; "
            "nanoseconds unless it names a unit), else counts of whatever the program traced",
            "a site is the first function of a stack that is no lock's own; which lock it is is not told",
        ]
        if self._histograms:
            notes.append("maps without a stack, and histograms, are not read")
        return notes
