"""A recording for people: what is in it, and what was made when one was recorded."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from finegrain.workload.recording import Recording
from finegrain.workload.summary import Summary

_BAR = 40
_EXECUTABLES = 10


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:.1f} s"


def _facts(recording: Recording, summary: Summary) -> list[tuple[str, str]]:
    faults = sum(summary.faults.values())
    lines = [
        ("command", shlex.join(recording.command)),
        ("kind", recording.kind),
        ("recorded", f"{recording.date}, perf {recording.perf}, {recording.cpus} CPUs"),
        ("addresses", "fixed" if recording.fixed_addresses else "randomised"),
        ("duration", f"{_seconds(recording.duration_ns)}, {_seconds(summary.on_cpu_ns)} on a CPU"),
        ("exit status", f"{recording.status}"),
        ("events", f"{len(recording.events):,}, {recording.lost:,} lost"),
        ("processes", f"{summary.processes:,}, at most {summary.concurrent:,} at once"),
        ("more threads", f"{summary.threads:,}"),
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
    ]


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
    lines += [f"{count:>9,}  {file}" for file, count in summary.executables[:_EXECUTABLES]]
    return "\n".join(lines)


def listing(recordings: Mapping[Path, Recording]) -> str:
    """Recordings, by the file of each, a line each."""
    return "\n".join(
        f"{recording.name:<16} {recording.kind:<12} {recording.processes:>6,} processes "
        f"{_seconds(recording.duration_ns):>9} {path.stat().st_size / 1e6:5.1f} MB  {shlex.join(recording.command)}"
        for path, recording in recordings.items()
    )


def written(recording: Recording, path: Path) -> str:
    """What was recorded to `path`, what it lacks, and the next command to type."""
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
    if recording.lost:
        lines.append(
            f"perf lost {recording.lost:,} records, so the replay misses some of what happened;"
            " record again with fewer jobs or on a faster disk"
        )
    return "\n".join(f"finegrain: {line}" for line in lines)
