"""The main job: designs x workload x machine -> Result."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from tempfile import TemporaryDirectory

import numpy as np

from finegrain.design import DEFAULT_DESIGNS, Design, parse_design
from finegrain.errors import UserError
from finegrain.machine.costs import CostModel
from finegrain.machine.shape import DEFAULT_SHAPE, Shape, shape_of
from finegrain.options import KernelOptions
from finegrain.study.defaults import (
    DEFAULT_MEMORY,
    DEFAULT_SECONDS,
    DEFAULT_WARMUP,
    DEFAULT_WORKLOAD,
    IMAGES,
    MAX_JOBS,
)
from finegrain.study.measure import Measurement, Task, measure
from finegrain.study.result import Result
from finegrain.study.summarise import summarise
from finegrain.study.workers import workers
from finegrain.workload.stored import open_program, store_program

# Entered while tasks run: the name of each, and a function that gives how far each is, from 0 to 1.
Progress = Callable[[Sequence[str], Callable[[], Sequence[float]]], AbstractContextManager[None]]


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
    options: KernelOptions | None = None,
    memory_bytes: int = DEFAULT_MEMORY,
    processes: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Compare designs; see `finegrain.compare`, which shows progress on the terminal where this takes a `progress`."""
    chosen = [design if isinstance(design, Design) else parse_design(design) for design in designs]
    if not chosen:
        raise UserError("no design given; for example: head,superpage")
    if shape is None:
        shape = DEFAULT_SHAPE if cpus is None else shape_of(cpus)
    jobs = shape.cpus if jobs is None else jobs
    _check(jobs, images, seconds, warmup, replications)
    began = time.perf_counter()
    processes = processes or os.cpu_count() or 1
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
                options=options or KernelOptions(),
            )
            for design in chosen
            for replication in range(replications)
        ]
        measurements = _run(tasks, directory, processes, progress)
    results = [
        summarise(tasks[i * replications], measurements[i * replications : (i + 1) * replications])
        for i in range(len(chosen))
    ]
    return Result(
        machine={
            "kind": "simulated",
            "cpus": shape.cpus,
            "sockets": shape.sockets,
            "cores": shape.cores,
            "threads": shape.threads,
            "memory_bytes": memory_bytes,
            "costs_ps": (costs or CostModel()).picoseconds(),
            "kernel": vars(options or KernelOptions()),
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


def _run(tasks: list[Task], directory: str, processes: int, progress: Progress | None) -> list[Measurement]:
    """Measure every task, some at a time; results in the tasks' order.

    The tasks, in whichever process, write how far they are into a shared file, whose last number tells them to stop.
    """
    path = os.path.join(directory, "progress")
    done = np.memmap(path, dtype=np.float64, mode="w+", shape=(len(tasks) + 1,))

    def fractions() -> list[float]:
        return [float(fraction) for fraction in done[:-1]]

    def cancel() -> None:
        done[-1] = 1.0

    names = [task.design.name for task in tasks]
    shown = progress(names, fractions) if progress is not None else nullcontext()
    with shown, workers(min(processes, len(tasks))) as run:
        return run([(_measure_one, task, path, i) for i, task in enumerate(tasks)], cancel)


def _measure_one(task: Task, path: str, number: int) -> Measurement:
    done = np.memmap(path, dtype=np.float64, mode="r+")

    def report(fraction: float) -> None:
        if done[-1]:
            raise KeyboardInterrupt
        done[number] = fraction

    result = measure(task, report)
    done[number] = 1.0
    return result
