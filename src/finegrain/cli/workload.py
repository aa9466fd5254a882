"""`finegrain workload`: look at recordings."""

import shlex
from typing import Annotated

import typer

from finegrain.workload.recording import Recording, bundled, load
from finegrain.workload.summary import Summary, summarize

app = typer.Typer(help="Look at recordings of builds.", no_args_is_help=True)

_BAR = 40
_PROGRAMS = 10


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
    lines += [(f"  {name}", f"{count:,}") for name, count in summary.faults.items()]
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


def _histogram(summary: Summary) -> list[str]:
    most = max((count for _, _, count in summary.faults_per_process), default=0) or 1
    return [
        f"{low:>9,} to {high - 1:<9,} {count:>7,}  {'#' * -(-_BAR * count // most)}"
        for low, high, count in summary.faults_per_process
    ]


@app.command()
def show(
    recording: Annotated[str, typer.Argument(metavar="FILE|NAME", help="a recording, or a bundled one")],
) -> None:
    """Say what is in a recording."""
    loaded = load(recording)
    summary = summarize(loaded)
    for name, value in _facts(loaded, summary):
        print(f"{name:<24} {value}")
    print("\nfaults per process   processes")
    print("\n".join(_histogram(summary)))
    print("\nprograms most executed")
    for program, count in summary.programs[:_PROGRAMS]:
        print(f"{count:>9,}  {program}")


@app.command("list")
def list_() -> None:
    """List the recordings that come with finegrain."""
    for name, path in bundled().items():
        loaded = load(name)
        print(
            f"{name:<16} {loaded.kind:<12} {loaded.processes:>6,} processes {_seconds(loaded.duration_ns):>9}"
            f" {path.stat().st_size / 1e6:5.1f} MB  {shlex.join(loaded.command)}"
        )
