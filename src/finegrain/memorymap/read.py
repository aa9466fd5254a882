"""Read a map of physical memory: what memory there is, and in which domain.

A text may hold several maps, as a boot log does; what the kernel manages in the end counts before what firmware told
it (`formats.MAPS` is in that order), and of two maps of one form the later one. Ranges are rounded inwards to pages, as
kernels do.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from finegrain.errors import UserError
from finegrain.lines import clean_lines
from finegrain.machine.memory import Segment
from finegrain.memorymap.formats import CHANGES, DOMAINS, MAPS, NAMES, NO_CHANGE, Form

PAGE: Final = 4096
MAX_ADDRESS: Final = 1 << 57
"""Five levels of page tables (Intel 64 and IA-32 manual, volume 3, section 4.5)."""
MAX_RANGES: Final = 100_000
MAX_NOTES: Final = 20
_JOINED: Final = 4  # lines that a mail program may have made of one

_SEGMENT = re.compile(r"SEGMENT \d+:")
_SEGMENT_PART = re.compile(r"^\s*(?:start|end|domain|free list):")
_MEMMAP_PART = re.compile(r"(?:^|[/\s])(\d+)/(start|end|type):(.+)")


class Range(NamedTuple):
    """Addresses from start up to, not including, end, as a line of the text has them."""

    start: int
    end: int
    domain: int | None
    line: int


@dataclass
class MemoryMap:
    """The physical memory of a machine, ascending and without overlaps, in whole pages."""

    source: str
    form: str  # the name of the form that it was read from
    segments: list[Segment]
    notes: list[str] = field(default_factory=list)  # what was not as it should be, with line numbers

    @property
    def ram(self) -> int:
        """Bytes of memory."""
        return sum(segment.end - segment.start for segment in self.segments)

    @property
    def domains(self) -> list[int]:
        """The memory domains, ascending."""
        return sorted({segment.domain for segment in self.segments})


@dataclass
class _Section:
    """The ranges of one form: those that are memory, and the others."""

    form: Form
    usable: list[Range] = field(default_factory=list)
    others: int = 0
    first: int = 0
    ended: int = 0  # the line that began another map of this form, of which no range has come yet


class _Reader:
    def __init__(self, source: str) -> None:
        self.source = source
        self.sections: dict[str, _Section] = {}
        self.removed: dict[str, list[Range]] = {}  # by the form of what they are taken from
        self.domains: list[Range] = []
        self.notes: list[str] = []
        self.lines = 0
        self.zeroed = 0
        self.pending: list[tuple[int, str]] = []  # lines that may go on
        self.memmap: dict[str, dict[str, str]] = {}

    # --- lines

    def feed(self, number: int, text: str) -> None:
        self.lines = number
        for form in MAPS:
            if form.heading is not None and form.heading.search(text):
                self._begin(form, number)
        if part := _MEMMAP_PART.search(text):
            entry = self.memmap.setdefault(part[1], {})
            entry[part[2]] = part[3].strip()
            if len(entry) == 3:
                self._take(number, f"start:{entry['start']} end:{entry['end']} type:{entry['type']}")
                del self.memmap[part[1]]
            return
        if _SEGMENT.search(text):
            self.pending = [(number, text)]
            return
        if not text.strip():
            return
        if self._take(number, text):
            self.pending = []
            return
        for first in range(len(self.pending)):
            joined = " ".join([*(held.strip() for _, held in self.pending[first:]), text.strip()])
            if self._take(self.pending[first][0], joined):
                self.pending = []
                return
        if any(form.hint.search(text) for form in (*MAPS, *DOMAINS, *CHANGES)):
            self.pending = [*self.pending, (number, text)][-_JOINED:]
        elif self.pending:
            is_part = _SEGMENT.search(self.pending[0][1]) and _SEGMENT_PART.search(text)
            keep = is_part or len(self.pending) < _JOINED
            self.pending = [*self.pending, (number, text)] if keep and len(self.pending) < 2 * _JOINED else []

    def _take(self, number: int, text: str) -> bool:
        for form in DOMAINS:
            if found := form.find(text):
                self._add(self.domains, Range(*found[:3], number), text)
                return True
        for form in CHANGES:
            if found := form.find(text):
                self.removed.setdefault(form.name, []).append(Range(*found[:3], number))
                return True
        if NO_CHANGE.search(text):
            return True
        for form in MAPS:
            if not (found := form.find(text)):
                continue
            section = self._section(form, number)
            start, end, domain, usable = found
            if not usable:
                section.others += 1
            elif form.name == "/proc/iomem" and start == 0 and end == 1:
                self.zeroed += 1
            else:
                self._add(section.usable, Range(start, end, domain, number), text)
            return True
        return False

    def _section(self, form: Form, number: int) -> _Section:
        old = self.sections.get(form.name)
        if old is not None and old.ended:
            self._note(
                f"line {old.ended}: a second map ({form.name}); the one from line {old.first} on is not used"
            )
            del self.sections[form.name]
            self.removed.pop(form.name, None)
        return self.sections.setdefault(form.name, _Section(form, first=number))

    def _begin(self, form: Form, number: int) -> None:
        """Note that ranges of this form, from here on, are those of another map; there may be none."""
        old = self.sections.get(form.name)
        if old is not None and (old.usable or old.others):
            old.ended = number

    def _add(self, into: list[Range], found: Range, text: str) -> None:
        if found.end <= found.start:
            what = "empty" if found.end == found.start else "reversed"
            self._note(f"line {found.line}: a range that is {what}: {text.strip()[:80]}")
        elif found.end > MAX_ADDRESS:
            self._note(f"line {found.line}: a range beyond all addresses (2**57): {text.strip()[:80]}")
        elif len(into) >= MAX_RANGES:
            raise UserError(f"{self.source}: more than {MAX_RANGES:,} ranges of memory")
        else:
            into.append(found)

    def _note(self, text: str) -> None:
        self.notes.append(text)

    # --- the map

    def finish(self) -> MemoryMap:
        if self.zeroed:
            self._zeroed()
        chosen = next((self.sections[name] for name in NAMES if self._has(name)), None)
        if chosen is None:
            raise UserError(self._refusal())
        passed = [name for name in NAMES if name != chosen.form.name and self._has(name)]
        if passed:
            self._note(f"read from {chosen.form.name}; also there, and not used: {', '.join(passed)}")
        ranges = self._without_overlaps(chosen.usable)
        ranges = self._whole_pages(_subtract(ranges, self.removed.get(chosen.form.name, [])))
        segments = self._with_domains(ranges)
        if not segments:
            raise UserError(f"{self.source}: the map ({chosen.form.name}) has no whole page of memory")
        more = len(self.notes) - MAX_NOTES
        notes = self.notes[:MAX_NOTES] + ([f"and {more} more notes"] if more > 0 else [])
        return MemoryMap(self.source, chosen.form.name, segments, notes)

    def _has(self, name: str) -> bool:
        return name in self.sections and bool(self.sections[name].usable)

    def _zeroed(self) -> None:
        if not any(self._has(name) for name in NAMES):
            raise UserError(
                f"{self.source}: the addresses in /proc/iomem are all zero, as for who is not root; read it as root"
            )
        self._note("the addresses of /proc/iomem are all zero, as they are for who is not root")

    def _refusal(self) -> str:
        if not self.lines:
            return f"{self.source}: empty"
        if self.sections:
            name = next(iter(self.sections))
            why = f"; {self.notes[0]}" if self.notes else ""
            return f"{self.source}: a map ({name}) without any memory in it{why}"
        if self.domains:
            return f"{self.source}: SRAT lines tell domains, not what memory there is; add the boot log's memory map"
        return f"{self.source}: no map of physical memory in it (known: {', '.join(NAMES)})"

    def _without_overlaps(self, ranges: list[Range]) -> list[Range]:
        """Ascending; what two ranges share belongs to the lower one."""
        out: list[Range] = []
        again = 0
        for found in sorted(ranges):
            if not out or found.start >= out[-1].end:
                out.append(found)
                continue
            last = out[-1]
            if found[:3] == last[:3]:
                again += 1
                continue
            self._note(
                f"line {found.line}: the range {found.start:#x}-{found.end:#x} overlaps that of line {last.line}"
            )
            if found.end > last.end:
                out.append(found._replace(start=last.end))
        if again:
            self._note(f"{again} ranges stand there more than once; each is read once")
        return out

    def _whole_pages(self, ranges: Iterable[Range]) -> list[Range]:
        """Join what touches, then round inwards: a page that two ranges share is whole."""
        joined: list[Range] = []
        for found in ranges:
            if joined and joined[-1].end == found.start and joined[-1].domain == found.domain:
                joined[-1] = joined[-1]._replace(end=found.end)
            else:
                joined.append(found)
        out: list[Range] = []
        for found in joined:
            start, end = -(-found.start // PAGE) * PAGE, found.end // PAGE * PAGE
            if start < end:
                out.append(found._replace(start=start, end=end))
            else:
                self._note(f"line {found.line}: less than a page: {found.start:#x}-{found.end:#x}")
        return out

    def _with_domains(self, ranges: list[Range]) -> list[Segment]:
        """Cut ranges at the borders of domains."""
        if not self.domains:
            if ranges and all(found.domain is None for found in ranges):
                self._note("no memory domains told (SRAT): all memory counts as domain 0")
            return [Segment(r.start, r.end, r.domain or 0) for r in ranges]
        domains = sorted(set(self.domains))
        out: list[Segment] = []
        nowhere = 0
        for found in ranges:
            if found.domain is not None:
                out.append(Segment(found.start, found.end, found.domain))
                continue
            at = found.start
            for domain in domains:
                if domain.end <= at or domain.start >= found.end:
                    continue
                if domain.start > at:
                    nowhere += domain.start - at
                    _append(out, Segment(at, domain.start, 0))
                stop = min(domain.end, found.end)
                _append(out, Segment(max(at, domain.start), stop, domain.domain or 0))
                at = stop
            if at < found.end:
                nowhere += found.end - at
                _append(out, Segment(at, found.end, 0))
        if nowhere:
            self._note(f"{nowhere:,} bytes of memory are in no domain that is told: they count as domain 0")
        return out


def _append(segments: list[Segment], more: Segment) -> None:
    if segments and segments[-1].end == more.start and segments[-1].domain == more.domain:
        segments[-1] = segments[-1]._replace(end=more.end)
    else:
        segments.append(more)


def _subtract(ranges: list[Range], removed: list[Range]) -> Iterator[Range]:
    for found in ranges:
        at = found.start
        for gone in sorted(removed):
            if gone.end <= at or gone.start >= found.end:
                continue
            if gone.start > at:
                yield found._replace(start=at, end=gone.start)
            at = min(gone.end, found.end)
        if at < found.end:
            yield found._replace(start=at)


def read_numbered(lines: Iterable[tuple[int, str]], source: str) -> MemoryMap:
    """Read a map from numbered lines; UserError, in one line, when there is none in them."""
    reader = _Reader(source)
    for number, text in lines:
        reader.feed(number, text)
    return reader.finish()


def read_stream(stream: BinaryIO, source: str) -> MemoryMap:
    """Read a map from a stream of bytes, whatever mail programs and loggers did to it."""
    return read_numbered(clean_lines(stream), source)


def read_file(name: str) -> MemoryMap:
    """Read a map from a file, a folder like /sys/firmware/memmap, or standard input for `-`."""
    try:
        if name == "-":
            return read_stream(sys.stdin.buffer, "-")
        if Path(name).is_dir():
            return read_numbered(memmap_lines(Path(name)), name)
        with open(name, "rb") as stream:
            return read_stream(stream, name)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"{name}: cannot be read: {why}") from None


def memmap_lines(folder: Path) -> Iterator[tuple[int, str]]:
    """Give the files of /sys/firmware/memmap as lines, as `grep . /sys/firmware/memmap/*/*` does."""
    number = 0
    for entry in sorted(folder.glob("*"), key=lambda path: (len(path.name), path.name)):
        for what in ("start", "end", "type"):
            if (entry / what).is_file():
                number += 1
                yield number, f"memmap/{entry.name}/{what}:{(entry / what).read_text().strip()}"
