"""File systems on a small machine: what tests of several modules need."""

from collections import Counter
from typing import Any

from doors.files import Files
from finegrain.lab.profile import read_profile, reset_profile
from finegrain.machine.simulated import SimulatedMachine


def make(cpus: int = 2, sockets: int = 1, **options: Any) -> Files:
    machine = SimulatedMachine(sockets=sockets, cores=cpus // sockets, threads=1, memory=64 << 20, seed=1)
    return Files(machine, **options)


def in_use(files: Files) -> dict[str, int]:
    """What a model knows as well: vnodes and names may be kept."""
    return {what: n for what, n in files.in_use().items() if what not in ("vnodes", "entries")}


def nothing_left(files: Files) -> None:
    assert files.in_use() == dict.fromkeys(files.in_use(), 0)


def run_threads(files: Files, *programs: Any) -> list[list[int | None]]:
    """Run each program on a thread of its own, all at once: their answers."""
    threads = [files.start(program) for program in programs]
    files.machine.run()
    return [files.results(thread) for thread in threads]


def locks_of(files: Files, *operations: Any) -> dict[str, int]:
    """How often the operations took each lock: {its name: how often}."""
    reset_profile(files.machine, files.machine.time_ps)
    files.run(*operations)
    counts: Counter[str] = Counter()
    for row in read_profile(files.machine):
        counts[row["name"]] += row["acquisitions"]
    return dict(counts)
