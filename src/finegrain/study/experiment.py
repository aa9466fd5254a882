"""The main job: designs x workload x machine -> Result."""

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from itertools import count
from tempfile import TemporaryDirectory

import numpy as np

from finegrain.design import DEFAULT_DESIGNS, Design, check_distinct, parse_design
from finegrain.errors import UserError
from finegrain.machine.costs import CostModel
from finegrain.machine.shape import DEFAULT_SHAPE, Shape, shape_of
from finegrain.options import IMAGES, KernelOptions
from finegrain.study.calibration import apply
from finegrain.study.clusters import Cluster, Run, measure_sent
from finegrain.study.defaults import (
    DEFAULT_MEMORY,
    DEFAULT_REPLICATIONS,
    DEFAULT_WARMUP,
    DEFAULT_WORKLOAD,
    FREE_MEMORY,
    MAX_JOBS,
    PRECISION_LIMIT_S,
    PRECISION_REPLICATIONS,
    default_images,
    default_seconds,
)
from finegrain.study.measure import Measurement, Task, measure
from finegrain.study.memory import processes_that_fit
from finegrain.study.points import Points
from finegrain.study.result import Result
from finegrain.study.summarise import summarise, widest
from finegrain.study.workers import Call, workers
from finegrain.workload.stored import open_program, store_program, workload_bytes

# Entered while tasks run: the name of each bar, and a function that gives how far each is, from 0 to 1.
Progress = Callable[[Sequence[str], Callable[[], Sequence[float]]], AbstractContextManager[None]]


def compare(
    designs: Sequence[str | Design] = DEFAULT_DESIGNS,
    *,
    cpus: int | None = None,
    shape: Shape | None = None,
    jobs: int | None = None,
    workload: str = DEFAULT_WORKLOAD,
    images: str | None = None,
    free_memory: str = "used",
    seconds: float | None = None,
    warmup: float = DEFAULT_WARMUP,
    replications: int = DEFAULT_REPLICATIONS,
    precision: float | None = None,
    seed: int = 1,
    costs: CostModel | None = None,
    options: KernelOptions | None = None,
    calibration: str | None = None,
    force: bool = False,
    memory_bytes: int = DEFAULT_MEMORY,
    processes: int | None = None,
    progress: Progress | None = None,
    points: Points | None = None,
    cluster: Cluster | None = None,
) -> Result:
    """Compare designs; see `finegrain.compare`, which shows progress on the terminal where this takes a `progress`.

    With `points`, runs that are there are not made again, and those made are put there. With a
    `cluster`, runs are made on it, and `processes` says nothing.
    """
    chosen = [design if isinstance(design, Design) else parse_design(design) for design in designs]
    if not chosen:
        raise UserError("no design given; for example: head,superpage")
    check_distinct(chosen)
    if shape is None:
        shape = DEFAULT_SHAPE if cpus is None else shape_of(cpus)
    jobs = shape.cpus if jobs is None else jobs
    images = default_images(workload) if images is None else images
    applied = apply(calibration, workload, cpus=shape.cpus, force=force)
    costs = CostModel().scaled(applied.cost_scale) if costs is None else costs
    options = applied.options(options or KernelOptions())
    seconds = default_seconds(shape.cpus) if seconds is None else seconds
    _check(jobs, images, free_memory, seconds, warmup, replications, precision)
    began = time.perf_counter()
    with TemporaryDirectory(prefix="finegrain-") as directory:
        # In a process of its own, whose memory goes with it.
        with workers(1) as run:
            list(run([(store_program, workload, directory)]))
        program = open_program(directory)
        sent = workload_bytes(workload) if points is not None or cluster is not None else b""
        kept = None if points is None else (points, hashlib.sha256(sent).hexdigest())
        tasks = [
            Task(
                design=design,
                shape=shape,
                costs=costs,
                program=directory,
                jobs=jobs,
                images=images,
                free_memory=free_memory,
                memory_bytes=memory_bytes,
                seconds=seconds,
                warmup=warmup,
                seed=seed,
                options=options,
                user_time=applied.user_time,
            )
            for design in chosen
        ]
        rounds = _Rounds(tasks, replications, precision, kept)
        if cluster is None:
            rounds.run(directory, processes or processes_that_fit(jobs), progress)
        else:
            rounds.run_on(cluster, sent, progress)
    measured = rounds.by_design()
    return Result(
        machine={
            "kind": "simulated",
            "cpus": shape.cpus,
            "sockets": shape.sockets,
            "cores": shape.cores,
            "threads": shape.threads,
            "memory_bytes": memory_bytes,
            "costs_ps": costs.picoseconds(),
            "kernel": vars(options),
            "calibration": applied.said,
        },
        workload={
            "name": program.name,
            "kind": program.kind,
            "duration_s": program.duration_ns / 1e9,
            "processes": len(program.parent),
            "lacks": program.lacks,
            "jobs": jobs,
            "images": images,
            "free_memory": free_memory,
            "user_time": applied.user_time,
        },
        seed=seed,
        simulated_seconds=seconds,
        warmup_seconds=warmup,
        replications=len(rounds.done),
        precision=precision,
        precision_reached=widest(measured) if len(rounds.done) > 1 else None,
        ended=rounds.ended,
        designs=[summarise(task, own, measured[0]) for task, own in zip(tasks, measured, strict=True)],
        wall_s=time.perf_counter() - began,
    )


def _check(
    jobs: int,
    images: str,
    free_memory: str,
    seconds: float,
    warmup: float,
    replications: int,
    precision: float | None,
) -> None:
    if not 1 <= jobs <= MAX_JOBS:
        raise UserError(f"{jobs} jobs: give 1 to {MAX_JOBS}")
    if images not in IMAGES:
        raise UserError(f"images {images!r}: there are {', '.join(IMAGES[:-1])} and {IMAGES[-1]}")
    if free_memory not in FREE_MEMORY:
        raise UserError(f"free memory {free_memory!r}: there are {' and '.join(FREE_MEMORY)}")
    if not 0.001 <= seconds <= 1000:
        raise UserError(f"{seconds:g} seconds: give 0.001 to 1000 simulated seconds to measure")
    if not 0 <= warmup <= 1000:
        raise UserError(f"{warmup:g} seconds of warm-up: give 0 to 1000")
    if not 1 <= replications <= 1000:
        raise UserError(f"{replications} replications: give 1 to 1000")
    if precision is not None and not 0.001 <= precision <= 1:
        raise UserError(f"a precision of {precision:.4g}: give 0.1% to 100%")


def run_rounds(
    tasks: list[Task],
    replications: int,
    points: Points | None,
    recording: str,
    directory: str,
    processes: int | None,
) -> list[list[Measurement]]:
    """Measure each of `tasks` with the same seeds and give its measurements; `points` keeps those of `recording`."""
    rounds = _Rounds(tasks, replications, None, None if points is None else (points, recording))
    rounds.run(directory, processes or processes_that_fit(tasks[0].jobs), None)
    return rounds.by_design()


class _Rounds:
    """Independent runs, a round of them (one a design, with the same seed) after the other.

    There are as many rounds as replications are asked for; with a precision, from PRECISION_REPLICATIONS on, as many
    as it takes, up to PRECISION_LIMIT_S. Which round is the last depends on what was measured alone, and never on
    which process was done first.
    """

    def __init__(
        self,
        tasks: list[Task],
        replications: int,
        precision: float | None,
        kept: tuple[Points, str] | None,  # and the recording's hash
    ) -> None:
        self.tasks = tasks
        self.kept = kept
        self.precision = precision
        self.least = max(replications, PRECISION_REPLICATIONS) if precision is not None else replications
        limit = int(PRECISION_LIMIT_S / tasks[0].seconds)
        self.most = max(self.least, limit) if precision is not None else replications
        self.done: list[list[Measurement]] = []  # round by round, in the designs' order
        self.width = float("inf")  # of the widest interval
        self.ended = "complete"

    def by_design(self) -> list[list[Measurement]]:
        """Give the measurements of each design."""
        return [list(own) for own in zip(*self.done, strict=True)]

    def run(self, directory: str, processes: int, progress: Progress | None) -> None:
        """Measure, some tasks at a time.

        The tasks, in whichever process, write how far they are into a shared file, whose last number tells them to
        stop.
        """
        path = os.path.join(directory, "progress")
        shared = np.memmap(path, dtype=np.float64, mode="w+", shape=(self.most * len(self.tasks) + 1,))

        def cancel() -> None:
            shared[-1] = 1.0

        with workers(min(processes, self.most * len(self.tasks))) as run:
            self._run(run, lambda task, number: (_measure_one, task, path, number), cancel, shared, progress)

    def run_on(self, cluster: Cluster, recording: bytes, progress: Progress | None) -> None:
        """Measure on a cluster; how far a run is, is not seen until it is done."""
        done = np.zeros(self.most * len(self.tasks) + 1)
        with cluster.workers() as run:
            self._run(run, lambda task, number: (measure_sent, task, recording), lambda: None, done, progress)

    def _run(
        self,
        run: Run,
        call: Callable[[Task, int], Call],
        cancel: Callable[[], None],
        done: np.ndarray,
        progress: Progress | None,
    ) -> None:
        names = [task.design.name for task in self.tasks]
        if self.precision is not None:
            names.append(f"±{self.precision * 100:g}%")
        shown = progress(names, lambda: self._fractions(done)) if progress is not None else nullcontext()
        with shown, closing(self._results(run, call, cancel, done)) as results:
            try:
                self._gather(results)
            except KeyboardInterrupt:
                if self.precision is None or len(self.done) < 2:
                    raise
                self.ended = "interrupted"

    def _results(
        self, run: Run, call: Callable[[Task, int], Call], cancel: Callable[[], None], done: np.ndarray
    ) -> Generator[Measurement, None, None]:
        """Give the measurements of all tasks in order: those that are kept, and those that have to be made."""
        ahead: deque[Measurement | None] = deque()  # of tasks that were looked up: None is to be made
        made: list[tuple[int, Task]] = []  # number of the task, and the task, of each call

        def calls() -> Iterator[Call]:
            for number, task in enumerate(self._all_tasks()):
                found = self.kept[0].get(task, self.kept[1]) if self.kept is not None else None
                if found is not None:
                    done[number] = 1.0
                    ahead.append(found)
                    continue
                made.append((number, task))
                ahead.append(None)
                yield call(task, number)

        def arrived(at: int, measured: Measurement) -> None:
            number, task = made[at]
            done[number] = 1.0
            if self.kept is not None:
                self.kept[0].put(task, self.kept[1], measured)

        with closing(run(calls(), cancel, arrived)) as results:
            early: deque[Measurement] = deque()
            while True:
                while ahead and (ahead[0] is not None or early):
                    found = ahead.popleft()
                    yield found if found is not None else early.popleft()
                try:
                    early.append(next(results))
                except StopIteration:
                    yield from (found for found in ahead if found is not None)
                    return

    def _all_tasks(self) -> Iterator[Task]:
        for number in range(self.most):
            for task in self.tasks:
                yield replace(task, seed=task.seed + number)

    def _gather(self, results: Iterator[Measurement]) -> None:
        for number in count(1):
            self.done.append([])
            try:
                for _ in self.tasks:
                    self.done[-1].append(next(results))
            except BaseException:
                self.done.pop()
                raise
            if number >= 2:
                self.width = widest(self.by_design())
            if self.precision is not None and number >= self.least and self.width <= self.precision:
                self.ended = "precise"
                return
            if number == self.most:
                self.ended = "complete" if self.precision is None else "limit"
                return

    def _fractions(self, shared: np.ndarray) -> list[float]:
        runs = np.asarray(shared[:-1]).reshape(self.most, len(self.tasks)).sum(axis=0)
        needed = float(self.most)
        if self.precision is not None:  # the width falls as the root of the number of runs
            forecast = (
                len(self.done) * (self.width / self.precision) ** 2 if self.width < float("inf") else 0.0
            )
            needed = min(needed, max(float(self.least), forecast))
        fractions = [min(1.0, float(run) / needed) for run in runs]
        return fractions if self.precision is None else [*fractions, len(self.done) / max(needed, 1.0)]


def _measure_one(task: Task, path: str, number: int) -> Measurement:
    done = np.memmap(path, dtype=np.float64, mode="r+")

    def report(fraction: float) -> None:
        if done[-1]:
            raise KeyboardInterrupt
        done[number] = fraction

    result = measure(task, report)
    done[number] = 1.0
    return result
