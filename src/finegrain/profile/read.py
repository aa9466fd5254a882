"""Read any lock profile: find out what it is, give its lines to the right readers, say what was left out."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, cast

from finegrain.errors import UserError
from finegrain.lines import clean_lines
from finegrain.profile.binary import DAMAGED, opened
from finegrain.profile.readers import READERS, compare_json
from finegrain.profile.readers.base import LEAD, OTHER_TEXT, STAMP, Log, Reader, Skip
from finegrain.profile.readers.own_json import read_own
from finegrain.profile.table import Profile

# Lines that may begin with a time: [ 12.345678], <4>, Nov 27 ..., 2026-11-27T...
_STAMPED = frozenset(" [<12ADFJMNOS")

KNOWN = (
    "LOCK_PROFILING, lockstat, plockstat, lock_stat, perf lock, klockstat, bpftrace maps by stack, "
    "go tool pprof -text, or finegrain's own JSON"
)


@dataclass(slots=True)
class File:
    """What one file held: its profiles in the order in which they stand there, and what was not read."""

    source: str
    profiles: list[Profile]
    notes: dict[str, list[str]] = field(default_factory=dict)  # format -> what it does not tell
    skipped: list[Skip] = field(default_factory=list)
    skipped_lines: int = 0
    broken_rows: int = 0
    lines: int = 0


def read_lines(stream: BinaryIO, source: str) -> File:
    """Read the profiles of a text; raises UserError when there is none in it."""
    log = Log()
    readers: list[Reader] = [reader(log) for reader in READERS]
    active: Reader | None = None
    order: list[Reader] = []
    for number, text in clean_lines(stream):
        log.lines = number
        if text[:1] in _STAMPED and (stamp := STAMP.match(text)) and stamp[0].strip():
            text = text[stamp.end() :]
        if active is not None and active.feed(number, text):
            continue
        if not text or text.isspace():
            continue
        found = _find(readers, text)
        if found is None:
            bare = LEAD.sub("", text)
            if bare != text:
                if active is not None and active.feed(number, bare):
                    continue
                found, text = _find(readers, bare), bare
        if found is not None and found is not active:
            if active is not None:
                active.close()
            active = found
            if active.feed(number, text):
                if active not in order:
                    order.append(active)
                continue
        log.other(number, text)
    if active is not None:
        active.close()
    found_profiles = [profile for reader in order for profile in reader.profiles(source)]
    if not log.lines:
        raise UserError(f"{source}: empty")
    if not found_profiles:
        raise UserError(f"{source}: {_nothing(readers, log)}")
    found_profiles.sort(key=lambda profile: int(profile.table["line"][0] or 0))
    if len(found_profiles) > 1:
        for at, profile in enumerate(found_profiles, 1):
            profile.label = str(at)
    notes = {
        reader.format: [*reader.notes(), *reader.found()]
        for reader in order
        if any(len(dump.builder) for dump in reader.dumps)
    }
    skipped = sorted(log.skipped, key=lambda skip: skip.first)
    return File(source, found_profiles, notes, skipped, log.skipped_lines, log.broken_rows, log.lines)


def _nothing(readers: Sequence[Reader], log: Log) -> str:
    """What was recognised of a text without a profile: a heading, and why there is no row under it."""
    headings = [(reader.dumps[0].line, reader.format) for reader in readers if reader.dumps]
    if headings:
        line, name = min(headings)
        skips = [skip for skip in log.skipped if skip.last > line]
        cut = [skip for skip in skips if skip.why != OTHER_TEXT]
        first = min(cut or skips, key=lambda skip: skip.first, default=None)
        where = f"line {max(first.first, line + 1)}: {first.why}" if first else "there is nothing under it"
        return f"a heading of {name} in line {line}, and no row that can be read: {where}"
    if log.lost_ends is not None:
        line, name = log.lost_ends
        return f"line {line} holds the heading of {name} with more around it: are its line ends lost?"
    if log.hint is not None:
        return log.hint
    return f"no lock profile found in {log.lines:,} lines (known: {KNOWN})"


def _find(readers: Sequence[Reader], text: str) -> Reader | None:
    """The reader whose heading this line is, or else whose row."""
    text = text.strip()
    for reader in readers:
        if reader.starts(text):
            return reader
    for reader in readers:
        if reader.looks(text):
            return reader
    return None


def read_stream(stream: BufferedReader, source: str) -> File:
    """Read a profile of any kind from a buffered stream of bytes."""
    text = opened(stream, source)
    try:
        return _read_text(text, source)
    except DAMAGED as error:
        if text is stream:
            raise
        raise UserError(f"{source}: a compressed file that is damaged: {error}") from None
    except UserError as error:
        if str(error).startswith(f"{source}: "):
            raise
        raise UserError(f"{source}: {error}") from None


def _read_text(stream: BufferedReader, source: str) -> File:
    head = stream.peek(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"{"):
        data = stream.read(compare_json.MAX_BYTES + 1)
        if len(data) > compare_json.MAX_BYTES:
            raise UserError(f"{source}: more than {compare_json.MAX_BYTES >> 20} MB of JSON")
        return File(source, *read_own(data, source))
    return read_lines(stream, source)


def read_file(name: str) -> File:
    """Read the profiles of a file, or of standard input for `-`.

    `FILE#LABEL` chooses one profile of a file that has several: a design of a comparison, or the
    LABEL-th dump.  Raises UserError for a file that cannot be opened, holds no profile, or has no such
    label.
    """
    path, label = name, None
    if name != "-" and "#" in name and not Path(name).exists():
        path, _, label = name.rpartition("#")
    elif name.startswith("-#"):
        path, label = "-", name[2:]
    try:
        if path == "-":
            file = read_stream(cast(BufferedReader, sys.stdin.buffer), "-")
        else:
            with open(path, "rb") as stream:
                file = read_stream(stream, path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"{path}: cannot be read: {why}") from None
    if label is not None:
        chosen = [profile for profile in file.profiles if profile.label == label]
        if not chosen and label == "1" and len(file.profiles) == 1:
            chosen = file.profiles
        if not chosen:
            labels = [profile.label or "1" for profile in islice(file.profiles, 20)]
            raise UserError(f"{path}: no profile #{label} in it; it has {', '.join(labels)}")
        file.profiles = chosen
    return file


def read_all(names: Sequence[str]) -> list[File]:
    """Read several files; standard input may be one of them, once."""
    if sum(name.split("#")[0] == "-" for name in names) > 1:
        raise UserError("standard input (-) can be given only once")
    return [read_file(name) for name in names]


def profiles_of(files: Sequence[File]) -> list[Profile]:
    """All profiles of several files, in order."""
    return list(chain.from_iterable(file.profiles for file in files))
