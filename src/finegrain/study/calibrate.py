"""Fits what no source tells to a measured column: the model's intensity, one scale of its costs, and three rates.

A column is the total wait on each lock. What is fitted makes the sum of squared logarithms of simulated over measured
waits least, by Gauss-Newton steps (Nocedal, Wright: Numerical Optimization, 10.3) with damping, from differences of
runs that share their seeds. Nothing else is fitted, and each within bounds: the machine may be half or twice as fast as
its sources say, the work half or twice as dense, and nobody lists processes more often than a watcher would.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from finegrain.design import parse_design
from finegrain.errors import UserError
from finegrain.machine.costs import CostModel
from finegrain.machine.shape import shape_of
from finegrain.options import KernelOptions
from finegrain.study.calibration import Calibration, Target
from finegrain.study.defaults import DEFAULT_MEMORY
from finegrain.study.experiment import run_rounds
from finegrain.study.measure import PS_PER_S, Measurement, Task
from finegrain.study.points import Points
from finegrain.study.result import SPAN_90MIN_S


@dataclass(frozen=True)
class Parameter:
    """One thing that is fitted. `step` is the difference for a slope; `log`: all is done in the logarithm.

    It is left as it is when the column lacks the lock that it `needs`.
    """

    name: str
    low: float
    high: float
    step: float
    log: bool = False
    needs: str = ""

    def inner(self, value: float) -> float:
        """Return what the steps are taken in."""
        return math.log(value) if self.log else value

    def outer(self, inner: float) -> float:
        """Return the value, within its bounds."""
        return min(max(math.exp(inner) if self.log else inner, self.low), self.high)


PARAMETERS: Final = (
    Parameter("user_time", 0.5, 2.0, 0.15, log=True),
    Parameter("cost_scale", 0.5, 2.0, 0.15, log=True),
    Parameter("listings_per_s", 0.0, 10.0, 1.0, needs="sx:proctree"),
    Parameter("map_readings_per_s", 0.0, 10.0, 1.0, needs="sx:vm map (user)"),
    Parameter("pfs_nodes", 0.0, 10_000.0, 400.0, needs="sleep mutex:pfs_vncache"),
)
_FLOOR: Final = 0.01  # of a measured wait: less than that in a run counts as that
# Of each parameter's own sum of squares (Marquardt 1963), at first and at least.
_DAMPING: Final = 0.1
_LEAST_DAMPING: Final = 0.01
_LONGEST: Final = 3.0  # of a parameter's own steps, in one round
_SETTLED: Final = 0.02  # the sum of squares falls by less than this part: done


@dataclass(frozen=True)
class Fitted:
    """What came out: the values, and for each lock of the column the simulated wait and its slopes."""

    calibration: Calibration
    measured_us: dict[str, float]
    simulated_us: dict[str, float]
    slopes: dict[str, dict[str, float]]  # by lock and parameter: change of log wait a step of the parameter
    rounds: int


def task_with(
    target: Target, values: dict[str, float], *, program: str, seconds: float, warmup: float
) -> Task:
    """Give the head kernel's task with these values."""
    return Task(
        design=parse_design("head"),
        shape=shape_of(target.cpus),
        costs=CostModel().scaled(values["cost_scale"]),
        program=program,
        jobs=target.jobs,
        images=target.images,
        free_memory="used",
        memory_bytes=DEFAULT_MEMORY,
        seconds=seconds,
        warmup=warmup,
        seed=1,
        options=KernelOptions(
            listings_per_s=values["listings_per_s"],
            map_readings_per_s=values["map_readings_per_s"],
            pfs_nodes=round(values["pfs_nodes"]),
        ),
        user_time=values["user_time"],
    )


def waits_us(measured: Sequence[Measurement], seconds: float) -> dict[str, float]:
    """Give the mean wait on each lock over 90 minutes, microseconds."""
    total: dict[str, float] = {}
    for one in measured:
        for lock, wait in one.waits().items():
            total[lock] = total.get(lock, 0.0) + wait
    scale = SPAN_90MIN_S / seconds / PS_PER_S * 1e6 / len(measured)
    return {lock: wait * scale for lock, wait in total.items()}


def _residuals(target: Target, simulated: dict[str, float]) -> npt.NDArray[np.float64]:
    return np.array(
        [
            math.log(max(simulated.get(lock, 0.0), _FLOOR * measured) / measured)
            for lock, measured in target.waited_us.items()
        ]
    )


class _Fit:
    """Runs the points of one fit; what is kept in a folder is not run again."""

    def __init__(self, target: Target, program: str, points: Points | None, settings: dict[str, Any]) -> None:
        self.target = target
        self.program = program
        self.points = points
        self.settings = settings

    def run(self, points: list[npt.NDArray[np.float64]]) -> list[dict[str, float]]:
        """Measure several points with the same seeds; return their waits."""
        seconds, warmup = self.settings["seconds"], self.settings["warmup"]
        tasks = [
            task_with(self.target, values_of(point), program=self.program, seconds=seconds, warmup=warmup)
            for point in points
        ]
        measured = run_rounds(
            tasks, self.settings["replications"], self.points, self.settings["recording"], self.program,
            self.settings["processes"],
        )  # fmt: skip
        return [waits_us(own, seconds) for own in measured]


def values_of(point: npt.NDArray[np.float64]) -> dict[str, float]:
    """Give the parameters' values at a point."""
    return {p.name: p.outer(float(x)) for p, x in zip(PARAMETERS, point, strict=True)}


def point_of(values: dict[str, float]) -> npt.NDArray[np.float64]:
    """Give the point of values."""
    return np.array([p.inner(values[p.name]) for p in PARAMETERS])


def _step(
    jacobian: npt.NDArray[np.float64], residual: npt.NDArray[np.float64], damping: float
) -> npt.NDArray[Any]:
    """Give the Gauss-Newton step in units of each parameter's own step."""
    square = jacobian.T @ jacobian
    own = np.diag(square) + 1e-6  # what a parameter has no effect on leaves it where it is
    step = np.linalg.solve(square + damping * np.diag(own), -jacobian.T @ residual)
    return np.asarray(step)


def calibrate(
    target: Target,
    *,
    program: str,
    recording: str,
    points: Points | None = None,
    replications: int = 2,
    seconds: float = 0.2,
    warmup: float = 0.05,
    rounds: int = 5,
    processes: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Fitted:
    """Fit the parameters to `target` with the stored `program`, whose recordings' content hashes to `recording`.

    There are at most `rounds` steps. `points` keeps finished runs, so that a fit that was stopped goes on. `say` gets a
    line for each step.
    """
    if rounds < 1 or replications < 1:
        raise UserError("a calibration takes at least one round and one replication")
    fit = _Fit(
        target, program, points,
        {"seconds": seconds, "warmup": warmup, "replications": replications, "recording": recording,
         "processes": processes},
    )  # fmt: skip
    usual = Calibration()
    at = point_of({p.name: getattr(usual, p.name) for p in PARAMETERS})
    steps = np.array([p.step for p in PARAMETERS])
    best: tuple[float, npt.NDArray[np.float64], dict[str, float], npt.NDArray[np.float64]] | None = None
    damping = _DAMPING
    free = [i for i, p in enumerate(PARAMETERS) if not p.needs or p.needs in target.waited_us]
    done = 0
    for done in range(1, rounds + 1):
        # a slope at the upper bound is taken downwards
        signs = np.array(
            [-1.0 if p.outer(x + p.step) == p.outer(x) else 1.0 for p, x in zip(PARAMETERS, at, strict=True)]
        )
        waits = fit.run([at, *(at + np.eye(len(at))[i] * steps * signs for i in free)])
        residual = _residuals(target, waits[0])
        jacobian = np.zeros((len(residual), len(at)))
        for i, moved in zip(free, waits[1:], strict=True):
            jacobian[:, i] = (_residuals(target, moved) - residual) * signs[i]
        cost = float(residual @ residual)
        say(f"round {done}: sum of squares {cost:.3f}; {_values_text(values_of(at))}")
        if best is not None and cost > best[0]:  # too far: back, and shorter
            damping *= 10
            cost, at, waits_best, jacobian = best
            residual = _residuals(target, waits_best)
        else:
            settled = best is not None and best[0] - cost < _SETTLED * best[0]
            best = (cost, at, waits[0], jacobian)
            damping = max(damping / 3, _LEAST_DAMPING)
            if settled:
                break
        step = _step(jacobian, residual, damping)
        move = step * min(1.0, _LONGEST / max(float(np.abs(step).max()), 1e-9)) * steps
        bounds = [(p.inner(p.low), p.inner(p.high)) for p in PARAMETERS]
        at = np.array([min(max(x, low), high) for x, (low, high) in zip(at + move, bounds, strict=True)])
    assert best is not None
    values = values_of(best[1])
    names = list(target.waited_us)
    return Fitted(
        calibration=replace(
            Calibration(**values),  # type: ignore[arg-type]
            cpus=target.cpus,
            jobs=target.jobs,
            workload=target.workload,
            images=target.images,
        ),
        measured_us=dict(target.waited_us),
        simulated_us={lock: best[2].get(lock, 0.0) for lock in names},
        slopes={
            lock: {p.name: float(best[3][i, k]) for k, p in enumerate(PARAMETERS)}
            for i, lock in enumerate(names)
        },
        rounds=done,
    )


def _values_text(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def calibrate_workload(
    target: Target, *, keep: Path | None, say: Callable[[str], None], **settings: Any
) -> Fitted:
    """Compile the target's workload and fit to it; `keep` is a folder for finished runs."""
    import hashlib

    from finegrain.study.workers import workers
    from finegrain.workload.stored import store_program, workload_bytes

    with TemporaryDirectory(prefix="finegrain-") as directory:
        with workers(1) as run:
            list(run([(store_program, target.workload, directory)]))
        recording = hashlib.sha256(workload_bytes(target.workload)).hexdigest()
        points = Points(keep) if keep is not None else None
        return calibrate(target, program=directory, recording=recording, points=points, say=say, **settings)


def as_json(fitted: Fitted) -> str:
    """Give all of it."""
    return json.dumps(
        {
            "schema": "finegrain.calibrated/1",
            "values": vars(fitted.calibration),
            "measured_us": fitted.measured_us,
            "simulated_us": fitted.simulated_us,
            "slopes": fitted.slopes,
            "rounds": fitted.rounds,
        },
        indent=1,
    )
