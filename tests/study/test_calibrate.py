import math
from typing import Any

import numpy as np
import pytest

from finegrain.study import calibrate as module
from finegrain.study.calibrate import PARAMETERS, calibrate, point_of, task_with, values_of, waits_us
from finegrain.study.calibration import Target

LOCKS = ("rw:pmap pv list", "sx:vm map (user)", "sleep mutex:vm page", "sx:proctree")
TRUE = {
    "user_time": 1.4,
    "cost_scale": 0.8,
    "listings_per_s": 3.0,
    "map_readings_per_s": 0.0,
    "pfs_nodes": 104.0,
}


class Fake:
    """Waits as a formula gives them: what a fit has to find again."""

    def __init__(self, values: dict[str, float]) -> None:
        self.values = values

    def waits(self) -> dict[str, float]:
        v = self.values
        return {
            LOCKS[0]: 1e9 * v["cost_scale"] ** 3 / v["user_time"] ** 2,
            LOCKS[1]: 1e8 * v["cost_scale"] * (1 + 2 * v["map_readings_per_s"]),
            LOCKS[2]: 3e8 * v["cost_scale"] ** 2 / v["user_time"],
            LOCKS[3]: 1e7 * v["cost_scale"] * (1 + v["listings_per_s"]),
        }


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Runs replaced by the formula; how many points were run."""
    runs: list[int] = []

    def run_rounds(tasks: list[Any], replications: int, *_: Any) -> list[list[Fake]]:
        runs.append(len(tasks))
        return [[Fake(task)] * replications for task in tasks]

    def task(_: Target, values: dict[str, float], **__: Any) -> dict[str, float]:
        return values

    monkeypatch.setattr(module, "run_rounds", run_rounds)
    monkeypatch.setattr(module, "task_with", task)
    return runs


def target(values: dict[str, float]) -> Target:
    waits = waits_us([Fake(values)], 0.2)  # type: ignore[list-item]
    return Target(waits, 104, 104, "poudriere", "mixed")


def test_values_that_made_a_column_are_found_again(simulated: list[int]) -> None:
    fitted = calibrate(target(TRUE), program="", recording="", rounds=12)
    made = fitted.calibration
    assert made.user_time == pytest.approx(TRUE["user_time"], rel=0.1)
    assert made.cost_scale == pytest.approx(TRUE["cost_scale"], rel=0.1)
    assert made.listings_per_s == pytest.approx(TRUE["listings_per_s"], abs=0.6)
    for lock, measured in fitted.measured_us.items():
        assert fitted.simulated_us[lock] == pytest.approx(measured, rel=0.25)
    assert set(simulated) == {len(PARAMETERS)}  # pfs_nodes is left: the column has no lock of it
    assert fitted.rounds == len(simulated)


def test_what_matters_not_keeps_its_value(simulated: list[int]) -> None:
    assert calibrate(target(TRUE), program="", recording="", rounds=6).calibration.pfs_nodes == 104.0


def test_values_stay_within_their_bounds(simulated: list[int]) -> None:
    far = TRUE | {"user_time": 0.1, "listings_per_s": 500.0}
    made = calibrate(target(far), program="", recording="", rounds=6).calibration
    for parameter in PARAMETERS:
        assert parameter.low <= getattr(made, parameter.name) <= parameter.high


def test_a_lock_that_no_run_waits_for_counts_as_a_hundredth(simulated: list[int]) -> None:
    column = target(TRUE)
    column.waited_us["rw:ncbuc"] = 1e6
    fitted = calibrate(column, program="", recording="", rounds=2)
    assert fitted.simulated_us["rw:ncbuc"] == 0.0
    assert all(slope == 0 for slope in fitted.slopes["rw:ncbuc"].values())


def test_points_and_values_are_each_others_reverse() -> None:
    assert values_of(point_of(TRUE)) == pytest.approx(TRUE)
    outside = point_of(TRUE) + np.array([10.0, -10.0, 1e6, -1.0, 0.0])
    values = values_of(outside)
    assert (values["user_time"], values["cost_scale"]) == (2.0, 0.5)
    assert (values["listings_per_s"], values["map_readings_per_s"]) == (10.0, 0.0)


def test_a_task_has_the_values() -> None:
    task = task_with(target(TRUE), TRUE, program="p", seconds=0.1, warmup=0.2)
    assert task.user_time == 1.4
    assert task.costs.wakeup == pytest.approx(0.8 * 3000)
    assert (task.options.listings_per_s, task.options.pfs_nodes) == (3.0, 104)
    assert (task.shape.cpus, task.jobs, task.images) == (104, 104, "mixed")


def test_waits_are_means_over_90_minutes() -> None:
    waits = waits_us([Fake(TRUE), Fake(TRUE)], 0.04)  # type: ignore[list-item]
    expected = Fake(TRUE).waits()[LOCKS[0]] / 0.04 * 5400 / 1e12 * 1e6
    assert waits[LOCKS[0]] == pytest.approx(expected)
    assert math.isfinite(sum(waits.values()))
