"""Probes that tell which names system calls are given.

A system call's tracepoint has the address of a name, not the name. So a user-space probe (uprobe) is put on the
instruction before each `syscall` instruction of the C library and the dynamic linker that takes a name: there the
arguments stand in their registers, and the probe copies the string at that address. The places are found by their code,
`mov $NUMBER,%eax; syscall`, because the dynamic linker and the C library's own calls have no symbols. A program that
is linked statically, or makes its calls in another way, has no probes; its calls are seen without names.

Probes lie in a group named after the recording process (its pid and when it started), so that recordings at the same
time have their own, and those of a process that was killed are known as such and removed by the next recording.

perf asks for them for the recorded processes only. Linux then takes the breakpoints out of a process once another, with
which it had exchanged its perf context (as it does between a parent and a child that inherited it), has exited: a tenth
of the names in a configure were missing. So the recorder holds an event of its own for each probe, for all processes
and never enabled: while it does, breakpoints stay. The price is that all programs on the machine meet them meanwhile.
"""

import ctypes
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from finegrain.workload.syscalls import NAMED

TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
_REGISTERS = ("di", "si", "dx", "r10", "r8")  # of a system call's arguments, as uprobes spell them
# mov $number,%eax; perhaps mov %rdi,%rsi and mov $AT_FDCWD,%edi; syscall
_SITE = re.compile(rb"\xb8(..)\x00\x00(?:\x48\x89\xfe\xbf\x9c\xff\xff\xff)?\x0f\x05", re.DOTALL)
_BEFORE_SYSCALL = 7  # from the instruction before `syscall` (of 5 bytes in both forms) to the end of a site
_ONE_OF_OURS = re.compile(r"^p:(?P<event>finegrain_(?P<pid>\d+)_(?P<start>\d+)/\w+) ", re.MULTILINE)
_C_LIBRARY = re.compile(r"^(libc\.|libc-|ld-)")
_PT_LOAD, _PT_INTERP, _PF_X = 1, 3, 1
# linux/perf_event.h; the number of the system call is x86-64's
_PERF_TYPE_TRACEPOINT, _PERF_FLAG_FD_CLOEXEC, _PERF_EVENT_OPEN = 2, 8, 298
_LIBRARY_BYTES = 64 << 20  # more than any C library has


@dataclass(frozen=True)
class Probes:
    """The events that perf is to record, or why there are none."""

    events: list[str] = field(default_factory=list)
    why_not: str = ""


def _segments(image: bytes) -> list[tuple[int, int, int, int]]:
    """Return type, flags, file offset and bytes of each segment of a 64-bit x86 ELF file; none of another file."""
    if len(image) < 64 or image[:6] != b"\x7fELF\x02\x01" or image[18:20] != b"\x3e\x00":
        return []
    (table,) = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    found = []
    for i in range(count):
        at = table + i * size
        if at + 56 > len(image):
            break
        kind, flags, offset = struct.unpack_from("<IIQ", image, at)
        found.append((kind, flags, offset, struct.unpack_from("<Q", image, at + 32)[0]))
    return found


def sites(image: bytes) -> list[tuple[int, int]]:
    """Return where in an ELF file names are given to system calls: file offset and the call's number."""
    return [
        (match.end() - _BEFORE_SYSCALL, number)
        for kind, flags, offset, size in _segments(image)
        if kind == _PT_LOAD and flags & _PF_X
        for match in _SITE.finditer(image, offset, min(offset + size, len(image)))
        if (number := int.from_bytes(match[1], "little")) in NAMED
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.stat().st_size <= _LIBRARY_BYTES else b""
    except OSError:
        return b""


def probed_files(programs: Iterable[str]) -> list[Path]:
    """Return the C library and dynamic linker of these programs, and those of them that are static."""
    found: dict[Path, None] = {}
    for program in programs:
        path = shutil.which(program)
        image = _read(Path(path)) if path else b""
        if path is None or not _segments(image):
            continue
        names = [
            image[at : at + size].rstrip(b"\0")
            for kind, _, at, size in _segments(image)
            if kind == _PT_INTERP
        ]
        if not names:
            found[Path(path).resolve()] = None
            continue
        linker = os.fsdecode(names[0])
        found[Path(linker).resolve()] = None
        try:
            listed = subprocess.run(
                [linker, "--list", path], capture_output=True, text=True, errors="replace"
            )
        except OSError:
            continue
        for library in re.findall(r"=> (/\S+) \(", listed.stdout):
            if _C_LIBRARY.match(Path(library).name):
                found[Path(library).resolve()] = None
    return [path for path in found if not re.search(r"[\s:]", str(path))]  # what a probe cannot spell


def _definitions(group: str, files: Iterable[Path]) -> list[str]:
    """Return the probes for these files, a line each."""
    lines = []
    for path in files:
        for offset, number in sites(_read(path)):
            places = [NAMED[number].args[name] for _, name in NAMED[number].names]
            pointers = [f"p{i}=%{_REGISTERS[place]}:x64" for i, place in enumerate(places)]
            strings = [f"n{i}=+0(%{_REGISTERS[place]}):ustring" for i, place in enumerate(places)]
            event = ("one", "two")[len(places) - 1]
            lines.append(f"p:{group}/{event} {path}:{offset:#x} {' '.join(pointers + strings)}")
    return lines


def _started(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; "" when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _write(control: Path, line: str) -> None:
    # Python's own append mode would look for the end first, which tracefs refuses
    handle = os.open(control, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(handle, f"{line}\n".encode())
    finally:
        os.close(handle)


def _remove(control: Path, groups: Iterable[tuple[str, str]] | None = None) -> None:
    """Remove the probes of `groups` (pid and start), or else of all recordings whose process is gone."""
    wanted = None if groups is None else set(groups)
    for event, pid, start in sorted(set(_ONE_OF_OURS.findall(control.read_text()))):
        if (pid, start) in wanted if wanted is not None else _started(int(pid)) != start:
            try:
                _write(control, f"-:{event}")
            except OSError:
                continue  # somebody, such as a perf that outlived its parent, still records with it


def _hold(control: Path, event: str) -> int:
    """Return a perf event for a probe, of all processes but disabled: it keeps the breakpoints in place."""
    number = int((control.parent / "events" / event.replace(":", "/") / "id").read_text())
    disabled = 1
    attributes = struct.pack("<IIQQQQQ", _PERF_TYPE_TRACEPOINT, 64, number, 0, 0, 0, disabled).ljust(
        64, b"\0"
    )
    libc = ctypes.CDLL(None, use_errno=True)
    cpu = min(os.sched_getaffinity(0))
    handle = libc.syscall(_PERF_EVENT_OPEN, attributes, -1, cpu, -1, ctypes.c_ulong(_PERF_FLAG_FD_CLOEXEC))
    if handle < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(handle)


def _remove_quietly(control: Path, group: tuple[str, str]) -> None:
    with suppress(OSError):
        _remove(control, [group])


@contextmanager
def name_probes(programs: Iterable[str], tracefs: Iterable[Path] = TRACEFS) -> Iterator[Probes]:
    """Have probes while the body runs, for the C libraries of `programs`; never raises for want of them."""
    control = next((root / "uprobe_events" for root in tracefs if (root / "uprobe_events").exists()), None)
    if control is None:
        yield Probes(why_not="this kernel has no uprobes, or tracefs is not mounted")
        return
    me = (str(os.getpid()), _started(os.getpid()))
    group = "finegrain_{}_{}".format(*me)
    with ExitStack() as undo:
        undo.callback(_remove_quietly, control, me)
        try:
            _remove(control)
            lines = _definitions(group, probed_files(programs))
            for line in lines:
                _write(control, line)
            events = sorted({line.split()[0].removeprefix("p:").replace("/", ":") for line in lines})
            for event in events:
                undo.callback(os.close, _hold(control, event))
        except OSError as error:
            made = Probes(why_not=f"{control} refuses probes ({error.strerror})")
        else:
            made = Probes(events, "" if events else "no C library was found to put probes on")
        yield made
