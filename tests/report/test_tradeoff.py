import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from finegrain.errors import UserError
from finegrain.report.sweep import as_json
from finegrain.report.tradeoff import _overlap, drawn, floor_of, points, read
from finegrain.study.sweep import SweepResult
from make_result import make_result


def document(*designs: tuple[str, float, float], cpus: int = 104) -> dict[str, Any]:
    """A result of designs: name, bytes in KiB, and wait in us over 90 minutes, of whatever class of lock."""
    return {
        "schema": "finegrain.compare/4",
        "machine": {"memory_bytes": 1 << 30, "cpus": cpus},
        "designs": [
            {
                "name": name,
                "pv_bytes": kib * 1024,
                "locks": [
                    {"lock": "sx:other", "wait_us_90min": 5.0},
                    {
                        "lock": "mtx8:pmap pv list",
                        "wait_us_90min": wait,
                        "wait_us_90min_ci95": [wait / 2, wait * 2],
                    },
                ],
            }
            for name, kib, wait in designs
        ],
    }


def test_points_are_bytes_per_gb_and_ms_a_second() -> None:
    (point,) = points(document(("head", 12, 5.4e9)))
    assert (point.label, point.bytes_per_gb) == ("head", 12288)
    assert (point.wait, point.low, point.high) == pytest.approx((1000, 500, 2000))
    assert point.best


def test_what_is_beaten_in_both_is_not_joined() -> None:
    found = points(document(("a", 1, 100), ("b", 2, 50), ("c", 2, 60), ("d", 3, 50), ("e", 4, 1)))
    assert [point.label for point in found if point.best] == ["a", "b", "e"]


def test_twins_are_both_joined() -> None:
    assert [point.best for point in points(document(("a", 1, 1), ("b", 1, 1)))] == [True, True]


def test_a_sweep_has_a_point_a_value_and_design() -> None:
    one, other = document(("a", 1, 1), cpus=8), document(("a", 1, 2), cpus=16)
    for sweep in (
        {"schema": "finegrain.sweep/1", "comparisons": [one, other]},
        {"schema": "finegrain.sweep/2", "over": "cpus", "values": ["8", "16"], "comparisons": [one, other]},
    ):
        assert [point.label for point in points(sweep)] == ["a @8", "a @16"]


def test_no_waiting_is_drawn_at_a_floor_below_all_that_is() -> None:
    found = points(document(("head", 1, 5.4e9), ("none", 2, 0.0)))
    assert floor_of(found) == 10.0
    assert floor_of(found[1:]) == 0.01
    picture = drawn(found, ".svg").decode()
    assert "none (no waiting)" in picture
    assert "none is drawn at 10" in picture


@pytest.mark.parametrize("count", [1, 12])
def test_pictures_are_whole_have_every_name_and_are_the_same_again(count: int) -> None:
    found = points(document(*((f"<d&{n}>", 10 + n % 3, 10.0 ** (n % 5 + 3)) for n in range(count))))
    picture = drawn(found, ".svg")
    texts = "".join(ElementTree.fromstring(picture).itertext())
    assert all(f"<d&{n}>" in texts for n in range(count))
    assert drawn(found, ".svg") == picture
    assert drawn(found, ".png").startswith(b"\x89PNG")


def test_boxes_overlap_only_where_they_do() -> None:
    assert _overlap((0, 0, 2, 2), (1, 1, 3, 3))
    assert not _overlap((0, 0, 2, 2), (2, 0, 3, 2))


def test_results_that_are_written_are_read_and_others_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    result = make_result()
    result.machine["memory_bytes"] = 1 << 30
    path.write_text(as_json(SweepResult("cpus", ["8"], [result])))
    assert [point.label for point in read(path)] == ["head", "superpage"]
    for text in ("", "[]", "{}", json.dumps({"schema": "finegrain.compare/4"}), json.dumps(document())):
        path.write_text(text)
        with pytest.raises(UserError, match=r"r\.json") as error:
            read(path)
        assert "\n" not in str(error.value)
