from dataclasses import replace

import pytest

from finegrain.cli.options import parse_precision, settings
from finegrain.errors import UserError
from finegrain.machine.costs import CostModel
from finegrain.study.calibration import read_calibration

GIVEN: dict = {
    "jobs": None,
    "workload": "hello",
    "images": "private",
    "free_memory": "used",
    "seconds": None,
    "warmup": 0.05,
    "replications": 5,
    "precision": None,
    "seed": 1,
    "cost": None,
    "cow": "held",
    "listings": 0.0,
    "probe": "on",
    "calibration": "none",
    "force": False,
}


def test_a_precision_is_a_percentage_or_a_part() -> None:
    assert parse_precision("5%") == parse_precision("0.05") == 0.05
    with pytest.raises(UserError, match="fine"):
        parse_precision("fine")


def test_options_are_arguments_of_a_study() -> None:
    plain = settings(**GIVEN)
    assert plain["costs"] == CostModel()
    assert plain["precision"] is None
    other = settings(
        **GIVEN | {"probe": "off", "cow": "unlocked", "precision": "5%", "cost": ["rmw_hit_cycles=23"]}
    )
    assert (other["costs"].probe, other["costs"].rmw_hit_cycles) == (0.0, 23.0)
    assert other["options"].cow == "unlocked"
    assert other["precision"] == 0.05


def test_a_calibration_scales_what_no_cost_says() -> None:
    scale = read_calibration("head").cost_scale
    some = settings(**GIVEN | {"calibration": "head", "cost": ["rmw_hit_cycles=23"]})
    assert some["costs"] == replace(CostModel().scaled(scale), rmw_hit_cycles=23.0)
    assert (some["calibration"], some["force"]) == ("head", False)
