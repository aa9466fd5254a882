from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from finegrain.design import parse_designs
from finegrain.errors import UserError
from finegrain.machine.costs import CostModel
from finegrain.study.result import Result
from finegrain.study.sweep import enough_locks, listed_sweep, locks_sweep, steps
from make_result import make_result


def names(changes: dict[str, Any]) -> list[str]:
    return [design.name for design in changes["designs"]]


def test_locks_double_beside_superpage() -> None:
    (step,) = locks_sweep(256, 2050).steps
    assert names(step.changes) == [
        "superpage", "hashed:locks=256", "hashed:locks=512", "hashed:locks=1024", "hashed:locks=2048",
    ]  # fmt: skip
    assert step.value == "256 to 2048"


def test_designs_that_are_there_already_are_not_there_twice() -> None:
    (step,) = locks_sweep(128, 256, parse_designs("superpage,head")).steps
    assert names(step.changes) == ["superpage", "head", "hashed:locks=128"]


def test_lists_of_values() -> None:
    assert [step.changes["shape"].cpus for step in listed_sweep("cpus", "8,104", CostModel()).steps] == [
        8,
        104,
    ]
    assert [s.changes for s in listed_sweep("images", "private,shared", CostModel()).steps] == [
        {"images": "private"},
        {"images": "shared"},
    ]
    assert listed_sweep("workloads", "a,b", CostModel()).steps[1].changes == {"workload": "b"}
    costs = listed_sweep("cost", "rmw_hit_cycles=18,23", replace(CostModel(), probe=0.0))
    assert costs.over == "cost:rmw_hit_cycles"
    assert [s.changes["costs"].rmw_hit_cycles for s in costs.steps] == [18, 23]
    assert {s.changes["costs"].probe for s in costs.steps} == {0.0}


@pytest.mark.parametrize(
    "make",
    [
        lambda: locks_sweep(0, 10),
        lambda: locks_sweep(10, 5),
        lambda: locks_sweep(1, 1 << 30),
        lambda: listed_sweep("cpus", None, CostModel()),
        lambda: listed_sweep("cpus", "8,x", CostModel()),
        lambda: listed_sweep("cpus", "8,8", CostModel()),
        lambda: listed_sweep("cpus", ",", CostModel()),
        lambda: listed_sweep("cpus", "0", CostModel()),
        lambda: listed_sweep("cost", "18,23", CostModel()),
        lambda: listed_sweep("cost", "nothing=18", CostModel()),
        lambda: listed_sweep("images", ",".join(map(str, range(101))), CostModel()),
    ],
)
def test_refusals(make: Callable[[], object]) -> None:
    with pytest.raises(UserError, match=None) as error:
        make()
    assert "\n" not in str(error.value)


def test_every_step_gives_all_that_is_done() -> None:
    seen = []

    def compare(**changes: Any) -> Result:
        seen.append(changes)
        return make_result()

    done = list(steps(listed_sweep("images", "private,shared", CostModel()), compare))
    assert [result.values for result in done] == [["private"], ["private", "shared"]]
    assert len(done[-1].comparisons) == 2
    assert seen == [{"images": "private"}, {"images": "shared"}]


def with_ratios(*ratios: tuple[float, float] | None) -> Result:
    result = make_result()
    first = replace(result.designs[0], name="superpage")
    hashed = [
        replace(result.designs[1], name=f"hashed:locks={256 << n}", pv_ratio_ci95=ratio)
        for n, ratio in enumerate(ratios)
    ]
    return replace(result, designs=[first, *hashed])


@pytest.mark.parametrize(
    ("ratios", "name"),
    [
        ([(0.2, 0.3), (0.5, 0.9), (0.8, 1.1), (0.9, 1.2)], "hashed:locks=1024"),
        ([(0.2, 0.3), (0.5, 0.9)], None),
        ([None, None], None),
        ([(1.1, 1.3)], "hashed:locks=256"),
    ],
)
def test_how_many_locks_would_do(ratios: list[tuple[float, float] | None], name: str | None) -> None:
    found = enough_locks(with_ratios(*ratios))
    assert (found.name if found else None) == name
