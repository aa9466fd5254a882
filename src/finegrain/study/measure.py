"""Measure one design once: build a machine and its kernel, replay the workload, read everything off.

This is the unit of work that `experiment` spreads over processes; what goes in and comes out is plain data.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from finegrain.design import Design
from finegrain.machine.costs import CostModel
from finegrain.machine.memory import default_segments, span
from finegrain.machine.shape import Shape
from finegrain.options import KernelOptions
from finegrain.study.result import Holding

PS_PER_S = 1_000_000_000_000
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Task:
    """What to measure: one design, one replication."""

    design: Design
    shape: Shape
    costs: CostModel
    program: str  # the directory of a stored program
    jobs: int
    images: str
    free_memory: str
    memory_bytes: int
    seconds: float
    warmup: float
    seed: int
    options: KernelOptions = field(default_factory=KernelOptions)
    user_time: float = 1.0  # how much of the recording's user time passes


@dataclass
class Measurement:
    """What came out of a task, as the machine counted it: picoseconds and counts."""

    profile: list[dict[str, Any]]
    charged: dict[tuple[str, str, str], int]  # lock, holder's site, waiter's site: wait
    counts: dict[str, int]
    chunks_freed: list[list[int]]
    pv_locks: list[dict[str, Any]]
    superpages: list[dict[str, Any]]
    superpage_holds: dict[int, list[Holding]]
    pv_bytes: int
    cpu_times: dict[str, int]
    wall_s: float = 0.0
    run_s: float = 0.0  # the part of wall_s after the warm-up, without set-up

    def waits(self) -> dict[str, int]:
        """Give the wait on each lock `class:name`, picoseconds."""
        total: dict[str, int] = {}
        for row in self.profile:
            total[lock_key(row)] = total.get(lock_key(row), 0) + row["wait_ps"]
        return total


def measure(task: Task, progress: Progress | None = None) -> Measurement:
    """Run a task; `progress` is called with the fraction done. KernelPanic if the kernel is inconsistent."""
    # Imported here so that a command that measures nothing does not load compiled modules.
    from finegrain.lab.holds import superpage_holds
    from finegrain.lab.profile import read_charged, read_profile, read_pv_waits, reset_profile
    from finegrain.machine.simulated import SimulatedMachine
    from finegrain.replay.replay import Replay
    from finegrain.workload.stored import open_program

    began = time.perf_counter()
    program = open_program(task.program)
    segments = default_segments(task.shape.sockets, task.memory_bytes)
    machine = SimulatedMachine(
        sockets=task.shape.sockets,
        cores=task.shape.cores,
        threads=task.shape.threads,
        costs=task.costs,
        memory=span(segments),
        seed=task.seed,
    )
    replay = Replay(
        machine,
        segments,
        program,
        task.design,
        jobs=task.jobs,
        images=task.images,
        free_memory=task.free_memory,
        seed=task.seed,
        options=task.options,
        user_time=task.user_time,
    )
    start: int = replay.prepare()
    total = task.warmup + task.seconds

    def advance(seconds: float) -> int:
        until = start + round(seconds * PS_PER_S)
        if progress is None:
            machine.run(until=until)
        else:
            machine.run(until=until, progress=lambda ps: progress((ps - start) / (total * PS_PER_S)))
        return until

    at = advance(task.warmup)
    reset_profile(machine, at)
    replay.reset_counts()
    run_began = time.perf_counter()
    times_before = _sum_times(machine.cpu_times())
    advance(total)
    run_s = time.perf_counter() - run_began
    times = _sum_times(machine.cpu_times())
    pv_locks, superpages = read_pv_waits(machine)
    worst = sorted(superpages, key=lambda row: (-row["wait_ps"], row["index"]))[:50]
    return Measurement(
        profile=read_profile(machine),
        charged=read_charged(machine),
        counts=replay.counts(),
        chunks_freed=replay.chunks_freed_histogram(),
        pv_locks=pv_locks,
        superpages=superpages,
        superpage_holds={
            row["index"]: holdings(superpage_holds(machine, row["index"]), program.file_name) for row in worst
        },
        pv_bytes=replay.pv_bytes,
        cpu_times={name: times[name] - times_before[name] for name in times},
        wall_s=time.perf_counter() - began,
        run_s=run_s,
    )


def holdings(counts: dict[tuple[str, int, int], int], files: list[str]) -> list[Holding]:
    """Say what a superpage holds, most pages first, a file's copies of all builders together.

    `counts` are pages by kind, index of the file and builder.
    """
    pages: dict[tuple[str, str | None], int] = {}
    builders: dict[tuple[str, str | None], set[int]] = {}
    for (kind, file, builder), count in counts.items():
        key = (kind, files[file] if kind == "file" else None)
        pages[key] = pages.get(key, 0) + count
        builders.setdefault(key, set()).add(builder)
    found = [Holding(*key, len(builders[key]), count) for key, count in pages.items()]
    return sorted(found, key=lambda held: (-held.pages, held.file is None, held.kind, held.file or ""))


def lock_key(row: dict[str, Any]) -> str:
    """Give the `class:name` of a profile row."""
    return f"{row['class']}:{row['name']}"


def _sum_times(rows: list[dict[str, int]]) -> dict[str, int]:
    return {name: sum(row[name] for row in rows) for name in rows[0] if name != "clock"}
