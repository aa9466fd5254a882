"""A recording for people: what is in it, and what was made when one was recorded."""

import shlex
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from finegrain.workload import recording as rec
from finegrain.workload.recording import Recording
from finegrain.workload.summary import Summary

_BAR = 40
_EXECUTABLES = 10
_NAME_CHARACTERS = 200  # of a name or a command that is shown
_FILE_CALLS = {
    rec.FILE_OPEN: "opens", rec.FILE_CLOSE: "closes", rec.FILE_READ: "reads", rec.FILE_WRITE: "writes",
    rec.FILE_STAT: "stats by name", rec.FILE_FSTAT: "stats by descriptor", rec.FILE_ACCESS: "access checks",
    rec.FILE_READLINK: "links read", rec.FILE_UNLINK: "unlinks", rec.FILE_RMDIR: "directories removed",
    rec.FILE_RENAME: "renames", rec.FILE_MKDIR: "directories made", rec.FILE_SYMLINK: "symbolic links made",
    rec.FILE_LINK: "links made", rec.FILE_TRUNCATE: "truncations", rec.FILE_GETDENTS: "directory reads",
    rec.FILE_CHDIR: "changes of directory", rec.FILE_SETATTR: "attributes set", rec.FILE_EXEC: "programs looked up",
}  # fmt: skip


def _shown(text: str) -> str:
    """Return `text` from a recording as it may be printed: nothing that a terminal would obey, and not too long."""

    def plain(c: str) -> bool:
        return c == " " or unicodedata.category(c)[0] not in "CZ"

    part = text[: _NAME_CHARACTERS + 1]
    escaped = "".join(c if plain(c) else c.encode("unicode_escape").decode() for c in part)
    return escaped if len(escaped) <= _NAME_CHARACTERS else escaped[: _NAME_CHARACTERS - 3] + "..."


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:.1f} s"


def _facts(recording: Recording, summary: Summary) -> list[tuple[str, str]]:
    faults = sum(summary.faults.values())
    lines = [
        ("command", _shown(shlex.join(recording.command))),
        ("kind", recording.kind),
        ("recorded", _shown(f"{recording.date}, perf {recording.perf}, {recording.cpus} CPUs")),
        ("addresses", "fixed" if recording.fixed_addresses else "randomised"),
        ("duration", f"{_seconds(recording.duration_ns)}, {_seconds(summary.on_cpu_ns)} on a CPU"),
        ("exit status", f"{recording.status}"),
        ("checksum", "right" if recording.checked else "none, as in older formats"),
        ("events", f"{len(recording.events):,}, {recording.lost:,} lost"),
        ("processes", f"{summary.processes:,}, at most {summary.concurrent:,} at once"),
        ("more threads", f"{summary.threads:,}" + _born(recording)),
        ("forks", f"{summary.forks:,}, and {summary.vforks:,} vforks"),
        ("execs", f"{summary.execs:,}"),
        ("faults", f"{faults:,}, {summary.kernel_faults:,} of them by the kernel"),
    ]
    lines += [(f"  {_fault(*key)}", f"{count:,}") for key, count in summary.faults.items()]
    mapped = summary.file_maps + summary.anonymous_maps
    return [
        *lines,
        ("mappings", f"{mapped:,}, {summary.exec_maps:,} of them by exec"),
        ("  of files", f"{summary.file_maps:,} of {len(recording.files):,} files"),
        ("  anonymous", f"{summary.anonymous_maps:,}"),
        ("unmaps", f"{summary.unmaps:,}"),
        ("protects", f"{summary.protects:,}"),
        ("heap ends", f"{summary.breaks:,}"),
        ("moves", f"{summary.moves:,}"),
        *_pipes(recording, summary),
        *_file_calls(recording, summary),
    ]


def _pipes(recording: Recording, summary: Summary) -> list[tuple[str, str]]:
    if "pipes" in recording.lacks:
        return [("pipes", "not recorded")]
    return [
        ("pipes", f"{summary.pipes:,}"),
        ("  reads", f"{summary.pipe_reads:,}, {summary.ends_of_file:,} of them at the end"),
        ("  writes", f"{summary.pipe_writes:,}, {summary.pipe_bytes:,} bytes"),
    ]


def _file_calls(recording: Recording, summary: Summary) -> list[tuple[str, str]]:
    if "file calls" in recording.lacks:
        return [("file calls", "not recorded")]
    total = sum(count for count, _ in summary.file_calls.values())
    share = 100 * summary.nameless / max(summary.lookups, 1)
    lines = [
        ("file calls", f"{total:,}, of {len(recording.paths):,} paths"),
        ("  without a name", f"{summary.nameless:,} of {summary.lookups:,} lookups, {share:.1f}%"),
    ]
    for kind, (count, failed) in summary.file_calls.items():
        lines.append((f"  {_FILE_CALLS[kind]}", f"{count:,}" + (f", {failed:,} failed" if failed else "")))
    return lines


def _born(recording: Recording) -> str:
    return "; when they begin and end is not recorded" if "threads" in recording.lacks else ""


def _fault(access: str, present: bool) -> str:
    return f"{access}, {'protection' if present else 'not present'}"


def _histogram(summary: Summary) -> list[str]:
    most = max((count for _, _, count in summary.faults_per_process), default=0) or 1
    return [
        f"{low:>9,} to {high - 1:<9,} {count:>7,}  {'#' * -(-_BAR * count // most)}"
        for low, high, count in summary.faults_per_process
    ]


def text(recording: Recording, summary: Summary) -> str:
    """What is in a recording."""
    lines = [f"{name:<24} {value}" for name, value in _facts(recording, summary)]
    lines += ["", "faults per process   processes", *_histogram(summary)]
    lines += ["", "programs most executed"]
    lines += [f"{count:>9,}  {_shown(file)}" for file, count in summary.executables[:_EXECUTABLES]]
    return "\n".join(lines)


def listing(recordings: Mapping[Path, Recording]) -> str:
    """Recordings, by the file of each, a line each."""
    return "\n".join(
        f"{recording.name:<16} {recording.kind:<12} {recording.processes:>6,} processes "
        f"{_seconds(recording.duration_ns):>9} {path.stat().st_size / 1e6:5.1f} MB  "
        f"{_shown(shlex.join(recording.command))}"
        for path, recording in recordings.items()
    )


def written(recording: Recording, path: Path, why_not: str = "") -> str:
    """What was recorded to `path`, what it lacks (`why_not`: why file calls), and the next command to type."""
    seconds = recording.duration_ns / 1e9
    lines = [
        f"wrote {path}: {len(recording.events):,} events of {recording.processes:,} processes"
        f" in {seconds:.1f} s ({recording.kind}); look at it with: finegrain workload show {path}"
    ]
    if recording.kind == "software":
        lines.append(
            "tracepoints are not to be had here, so how pages were touched and what was unmapped is"
            " inferred; for them, be root and mount -t tracefs nodev /sys/kernel/tracing"
        )
    if recording.kind != "software" and "file calls" in recording.lacks:
        lines.append(f"no file calls: {why_not}" if why_not else "no file calls")
    if recording.lost:
        lines.append(
            f"perf lost {recording.lost:,} records, so the replay misses some of what happened;"
            " record again with fewer jobs or on a faster disk"
        )
    return "\n".join(f"finegrain: {line}" for line in lines)
