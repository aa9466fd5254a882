"""`make coverage`: how often the 95% intervals hold what they should, from many seeds on a small machine.

Every seed is run once. From the runs, comparisons are drawn (with replacement, many of them), as `finegrain compare`
would make them of so many runs, and with `--precision`; an interval is right when it holds the mean over all seeds,
which is the truth for the runs that are drawn. What is not seen here: whether each run is long enough after its
start to be like a long one; for that see `benchmarks/drift.py`.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import numpy as np

from finegrain.design import parse_design
from finegrain.machine.costs import CostModel
from finegrain.machine.shape import shape_of
from finegrain.study.defaults import (
    DEFAULT_MEMORY,
    DEFAULT_REPLICATIONS,
    DEFAULT_SECONDS,
    DEFAULT_WARMUP,
    DEFAULT_WORKLOAD,
    PRECISION_REPLICATIONS,
)
from finegrain.study.measure import Measurement, Task, measure
from finegrain.study.memory import processes_that_fit
from finegrain.study.result import PV_LIST
from finegrain.study.statistics import Interval, half_width, mean_ci95, ratio_ci95
from finegrain.study.workers import workers
from finegrain.workload.stored import store_program

DRAWS = 4000
RUNS = (3, DEFAULT_REPLICATIONS, 10)
PRECISIONS = (0.2, 0.1)
MOST = 200  # runs of a drawn comparison with a precision


@dataclass
class Figure:
    """What an interval is of: a mean over runs, or the ratio of two."""

    name: str
    values: np.ndarray  # one a seed
    under: np.ndarray | None = None

    def truth(self) -> float:
        return float(self.values.mean() / (1 if self.under is None else self.under.mean()))

    def estimate(self, chosen: np.ndarray) -> tuple[float, Interval | None]:
        values = self.values[chosen]
        if self.under is None:
            return float(values.mean()), mean_ci95(values.tolist())
        under = self.under[chosen]
        total = float(under.sum())
        return (float(values.sum()) / total if total else 0.0), ratio_ci95(values.tolist(), under.tolist())


def runs_of(design: str, cpus: int, seeds: int, seconds: float) -> list[Measurement]:
    """Measure a design once for each seed."""
    with TemporaryDirectory() as directory, workers(1) as run:
        list(run([(store_program, DEFAULT_WORKLOAD, directory)]))
        tasks = (
            Task(
                design=parse_design(design),
                shape=shape_of(cpus),
                costs=CostModel(),
                program=directory,
                jobs=cpus,
                images="private",
                free_memory="used",
                memory_bytes=DEFAULT_MEMORY,
                seconds=seconds,
                warmup=DEFAULT_WARMUP,
                seed=seed,
            )
            for seed in range(1, seeds + 1)
        )
        with workers(processes_that_fit(cpus)) as many:
            return list(many((measure, task) for task in tasks))


def figures(measured: dict[str, list[Measurement]]) -> list[Figure]:
    """The figures looked at: of the first design its locks that are waited for most and its exits; the ratios."""
    first, *others = measured
    waits = [m.waits() for m in measured[first]]
    total = {
        name: sum(wait.get(name, 0) for wait in waits) for name in {key for wait in waits for key in wait}
    }
    chosen = sorted(total, key=lambda name: (-total[name], name))[:6]
    found = [Figure(name, np.array([wait.get(name, 0) for wait in waits], float)) for name in chosen]
    found.append(Figure("exits", np.array([m.counts["exits"] for m in measured[first]], float)))
    pv = {name: np.array([m.waits().get(PV_LIST, 0) for m in runs], float) for name, runs in measured.items()}
    found += [Figure(f"PV list waiting, {first} over {other}", pv[first], pv[other]) for other in others]
    return found


def fixed(figure: Figure, runs: int, random: np.random.Generator) -> tuple[float, float]:
    """Coverage and mean half-width of intervals from so many runs."""
    truth, hit, width = figure.truth(), 0, []
    for _ in range(DRAWS):
        value, interval = figure.estimate(random.integers(0, len(figure.values), runs))
        hit += interval is not None and interval[0] <= truth <= interval[1]
        width.append(min(half_width(value, interval), 100.0))
    return hit / DRAWS, float(np.median(width))


def sequential(
    pair: Sequence[Figure], precision: float, random: np.random.Generator
) -> tuple[list[float], float]:
    """Coverage of each figure, and the mean number of runs, when runs are added until all are precise enough."""
    hits, taken = [0] * len(pair), 0
    draws = DRAWS // 10
    for _ in range(draws):
        order = random.integers(0, len(pair[0].values), MOST)
        n = PRECISION_REPLICATIONS
        while n < MOST and max(half_width(*figure.estimate(order[:n])) for figure in pair) > precision:
            n += 1
        taken += n
        for at, figure in enumerate(pair):
            _, interval = figure.estimate(order[:n])
            hits[at] += interval is not None and interval[0] <= figure.truth() <= interval[1]
    return [hit / draws for hit in hits], taken / draws


def main() -> None:
    """Run the seeds and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cpus", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=DEFAULT_SECONDS)
    parser.add_argument("--designs", default="head,superpage", help="the first is compared with the others")
    given = parser.parse_args()
    os.nice(10)
    measured = {
        name: runs_of(name, given.cpus, given.seeds, given.seconds) for name in given.designs.split(",")
    }
    random = np.random.default_rng(1)
    found = figures(measured)
    print(
        f"{given.seeds} seeds of {given.seconds:g} s on {given.cpus} CPUs; {DRAWS} comparisons drawn of them.\n"
        f"Coverage of the 95% interval (and the median half-width) from so many runs:\n"
    )
    print(f"{'figure':44} {'variation':>9}  " + "  ".join(f"{runs:>5} runs   " for runs in RUNS))
    for figure in found:
        spread = figure.values.std(ddof=1) / figure.values.mean()
        cells = [fixed(figure, runs, random) for runs in RUNS]
        print(
            f"{figure.name:44} {spread:9.2f}  "
            + "  ".join(f"{hit * 100:5.1f}% ±{width * 100:4.0f}%" for hit, width in cells)
        )
    asked = [found[0], *(figure for figure in found if figure.under is not None)]
    print("\nCoverage when runs are added until these are as precise as asked (--precision):\n")
    for precision in PRECISIONS:
        hits, taken = sequential(asked, precision, random)
        each = ", ".join(f"{figure.name} {hit * 100:.1f}%" for figure, hit in zip(asked, hits, strict=True))
        print(f"±{precision * 100:g}%: {each}; {taken:.0f} runs on average")


if __name__ == "__main__":
    main()
