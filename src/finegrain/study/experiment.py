"""The main job: designs x workload x machine -> Comparison."""

import os
import threading
import time
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from finegrain.design import DEFAULT_DESIGNS, Design, parse_design
from finegrain.errors import UserError
from finegrain.machine.costs import CostModel
from finegrain.machine.shape import DEFAULT_SHAPE, Shape, shape_of
from finegrain.study.measure import Measurement, Task, measure
from finegrain.study.result import Comparison
from finegrain.study.summarise import summarise
from finegrain.study.workers import workers
from finegrain.workload.stored import open_program, store_program

DEFAULT_WORKLOAD = "hello"
DEFAULT_SECONDS = 0.2
DEFAULT_WARMUP = 0.05
DEFAULT_MEMORY = 512 << 30  # the default machine's, bytes
MAX_JOBS = 4096
IMAGES = ("private", "shared")


def compare(
    designs: Sequence[str | Design] = DEFAULT_DESIGNS,
    *,
    cpus: int | None = None,
    shape: Shape | None = None,
    jobs: int | None = None,
    workload: str = DEFAULT_WORKLOAD,
    images: str = "private",
    seconds: float = DEFAULT_SECONDS,
    warmup: float = DEFAULT_WARMUP,
    replications: int = 1,
    seed: int = 1,
    costs: CostModel | None = None,
    memory_bytes: int = DEFAULT_MEMORY,
    processes: int | None = None,
    progress: bool | None = None,
) -> Comparison:
    """Compare designs of the PV list lock on a replayed build.

    `cpus` (1 to 1,024) chooses a machine of that many CPUs, `shape` an exact one; the default is 2 sockets of 26
    cores of 2 hardware threads. `jobs` builders (default: one a CPU) each replay `workload`, the name of a bundled
    recording or a file, from a point of their own; with `images` "private" each builder has its own copy of every
    file's pages, with "shared" all map the same ones. `seconds` simulated seconds are measured after `warmup`, in
    `replications` independent runs with seeds from `seed` on. `processes` (default: one a core) run at a time.
    `progress` shows a display on the terminal (default: when there is one). Raises UserError for what cannot be.
    """
    chosen = [design if isinstance(design, Design) else parse_design(design) for design in designs]
    if not chosen:
        raise UserError("no design given; for example: head,superpage")
    if shape is None:
        shape = DEFAULT_SHAPE if cpus is None else shape_of(cpus)
    jobs = shape.cpus if jobs is None else jobs
    _check(jobs, images, seconds, warmup, replications)
    began = time.perf_counter()
    processes = processes or os.cpu_count() or 1
    show = Console(stderr=True).is_terminal if progress is None else progress
    with TemporaryDirectory(prefix="finegrain-") as directory:
        # In a process of its own, whose memory goes with it.
        with workers(1) as run:
            run([(store_program, workload, directory)])
        program = open_program(directory)
        tasks = [
            Task(
                design=design,
                shape=shape,
                costs=costs or CostModel(),
                program=directory,
                jobs=jobs,
                images=images,
                memory_bytes=memory_bytes,
                seconds=seconds,
                warmup=warmup,
                seed=seed + replication,
            )
            for design in chosen
            for replication in range(replications)
        ]
        measurements = _run(tasks, directory, processes, show)
    results = [
        summarise(tasks[i * replications], measurements[i * replications : (i + 1) * replications])
        for i in range(len(chosen))
    ]
    return Comparison(
        machine={
            "kind": "simulated",
            "cpus": shape.cpus,
            "sockets": shape.sockets,
            "cores": shape.cores,
            "threads": shape.threads,
            "memory_bytes": memory_bytes,
            "costs_ps": (costs or CostModel()).picoseconds(),
        },
        workload={
            "name": program.name,
            "kind": program.kind,
            "duration_s": program.duration_ns / 1e9,
            "processes": len(program.parent),
            "jobs": jobs,
            "images": images,
        },
        seed=seed,
        simulated_seconds=seconds,
        warmup_seconds=warmup,
        replications=replications,
        designs=results,
        wall_s=time.perf_counter() - began,
    )


def _check(jobs: int, images: str, seconds: float, warmup: float, replications: int) -> None:
    if not 1 <= jobs <= MAX_JOBS:
        raise UserError(f"{jobs} jobs: give 1 to {MAX_JOBS}")
    if images not in IMAGES:
        raise UserError(f"images {images!r}: there are {' and '.join(IMAGES)}")
    if not 0.001 <= seconds <= 1000:
        raise UserError(f"{seconds:g} seconds: give 0.001 to 1000 simulated seconds to measure")
    if not 0 <= warmup <= 1000:
        raise UserError(f"{warmup:g} seconds of warm-up: give 0 to 1000")
    if not 1 <= replications <= 1000:
        raise UserError(f"{replications} replications: give 1 to 1000")


def _run(tasks: list[Task], directory: str, processes: int, show: bool) -> list[Measurement]:
    """Measure every task, some at a time; results in the tasks' order."""
    with _Display(tasks, directory, show) as display, workers(min(processes, len(tasks))) as run:
        return run([(_measure_one, task, display.path, i) for i, task in enumerate(tasks)], display.cancel)


def _measure_one(task: Task, path: str, number: int) -> Measurement:
    done = np.memmap(path, dtype=np.float64, mode="r+")

    def report(fraction: float) -> None:
        if done[-1]:
            raise KeyboardInterrupt
        done[number] = fraction

    result = measure(task, report)
    done[number] = 1.0
    return result


class _Display:
    """A bar a task on the terminal.

    The tasks, in whichever process, write how far they are into a shared file, whose last number tells them to stop.
    """

    def __init__(self, tasks: list[Task], directory: str, show: bool) -> None:
        self.path = os.path.join(directory, "progress")
        self.done = np.memmap(self.path, dtype=np.float64, mode="w+", shape=(len(tasks) + 1,))
        self.stop = threading.Event()
        self.thread: threading.Thread | None = None
        if show:
            names = [f"{task.design.name}" for task in tasks]
            self.thread = threading.Thread(target=self._draw, args=(names,), daemon=True)

    def __enter__(self) -> "_Display":
        if self.thread:
            self.thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stop.set()
        if self.thread:
            self.thread.join()

    def cancel(self) -> None:
        """Make every task stop at its next report."""
        self.done[-1] = 1.0

    def _draw(self, names: list[str]) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            bars = [progress.add_task(name, total=1.0) for name in names]
            while not self.stop.wait(0.1):
                for bar, fraction in zip(bars, self.done, strict=False):
                    progress.update(bar, completed=float(min(1.0, max(0.0, fraction))))
