"""Where does a replay go by itself? State and waits over simulated time, from fresh and from used free memory.

A start that is like a long run's is one that both go to, and where the second one stays.
"""

import argparse
from collections.abc import Iterator
from tempfile import TemporaryDirectory

from finegrain.design import parse_design
from finegrain.lab.profile import read_profile, reset_profile
from finegrain.machine.memory import default_segments, span
from finegrain.machine.shape import shape_of
from finegrain.machine.simulated import SimulatedMachine
from finegrain.replay.replay import Replay
from finegrain.study.defaults import DEFAULT_WORKLOAD, FREE_MEMORY
from finegrain.study.measure import PS_PER_S, lock_key
from finegrain.study.result import PV_LIST
from finegrain.study.workers import workers
from finegrain.workload.stored import open_program, store_program

Row = tuple[
    float, float, float
]  # PV list locks taken a fault, the same a pmap_remove_pages call, waited us a second


def series(
    program: str, free_memory: str, design: str, cpus: int, seconds: float, window: float, seed: int
) -> list[Row]:
    """Run on, and read off what happened in each window."""
    shape = shape_of(cpus)
    segments = default_segments(shape.sockets)
    machine = SimulatedMachine(
        sockets=shape.sockets, cores=shape.cores, threads=shape.threads, memory=span(segments), seed=seed
    )
    replay = Replay(
        machine,
        segments,
        open_program(program),
        parse_design(design),
        jobs=cpus,
        free_memory=free_memory,
        seed=seed,
    )
    start = replay.prepare()
    return list(windows(machine, replay, start, seconds, window))


def windows(
    machine: SimulatedMachine, replay: Replay, start: int, seconds: float, window: float
) -> Iterator[Row]:
    for number in range(1, round(seconds / window) + 1):
        reset_profile(machine, machine.time_ps)
        replay.reset_counts()
        machine.run(until=start + round(number * window * PS_PER_S))
        rows = [row for row in read_profile(machine) if lock_key(row) == PV_LIST]
        counts = replay.counts()
        removing = sum(row["acquisitions"] for row in rows if row["site"] == "pmap_remove_pages")
        yield (
            sum(row["acquisitions"] for row in rows) / counts["faults"],
            removing / counts["exits"],
            sum(row["wait_ps"] for row in rows) / 1e6 / window,
        )


def main() -> None:
    """Print both series side by side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--design", default="superpage")
    parser.add_argument("--cpus", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=24.0)
    parser.add_argument("--window", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with TemporaryDirectory() as directory, workers(2) as run:
        list(run([(store_program, DEFAULT_WORKLOAD, directory)]))
        options = (given.design, given.cpus, given.seconds, given.window, given.seed)
        both = list(run([(series, directory, start, *options) for start in FREE_MEMORY]))
    print(
        f"{given.design}, {given.cpus} CPUs, seed {given.seed}: "
        "PV list locks taken a fault, and an exit; us waited for them a second"
    )
    print(f"{'until':>6}  " + "  ".join(f"{start:>24}" for start in FREE_MEMORY))
    for number, rows in enumerate(zip(*both, strict=True), 1):
        cells = (f"{fault:6.3f} {leave:6.1f} {waited:10,.0f}" for fault, leave, waited in rows)
        print(f"{number * given.window:5.1f}s  " + "  ".join(cells))


if __name__ == "__main__":
    main()
