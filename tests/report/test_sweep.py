import json
from dataclasses import replace

import pytest

from finegrain.report.result import as_dict
from finegrain.report.sweep import as_json, enough, text
from finegrain.study.sweep import SweepResult
from make_result import make_result

RESULT = replace(make_result(), machine=make_result().machine | {"memory_bytes": 1 << 30})


def test_the_page_has_a_row_a_value_and_design() -> None:
    page = text(SweepResult("cpus", ["8", "1\x1b04"], [RESULT, RESULT]))
    assert "\x1b" not in page
    assert page.count("superpage") == 2
    assert "10.00x less" in page
    assert "10,240" in page  # bytes per GB: the machine has one


def test_json_has_the_comparisons_under_their_own_schema() -> None:
    document = json.loads(as_json(SweepResult("cpus", ["8"], [RESULT])))
    plain = json.loads(json.dumps(as_dict(RESULT)))
    assert document == {
        "schema": "finegrain.sweep/2",
        "over": "cpus",
        "values": ["8"],
        "comparisons": [plain],
    }


@pytest.mark.parametrize(
    ("interval", "says"),
    [
        ((0.9, 1.1), "256 hashed locks do as well as superpage"),
        ((0.4, 1.1), "too short to tell"),
        ((0.4, 0.6), "Even 256 hashed locks wait more than superpage"),
    ],
)
def test_how_many_locks_would_do_is_a_sentence(interval: tuple[float, float], says: str) -> None:
    first, other = RESULT.designs
    designs = [
        replace(first, name="superpage"),
        replace(other, name="hashed:locks=256", pv_ratio_ci95=interval),
    ]
    sweep = SweepResult("locks", ["256 to 256"], [replace(RESULT, designs=designs)])
    assert says in (enough(sweep) or "")
    assert says in text(sweep)
    assert enough(SweepResult("cpus", ["8"], [RESULT])) is None
