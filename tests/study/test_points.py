"""Points that are kept: found again by what they are, never when they are not that, and never half."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finegrain.errors import UserError
from finegrain.machine.costs import CostModel
from finegrain.machine.shape import Shape
from finegrain.options import KernelOptions
from finegrain.study import points
from finegrain.study.measure import Task
from finegrain.study.points import Points, inputs
from make_result import make_measurement, make_task

HASH = "0" * 64


def test_what_is_put_comes_back_equal(tmp_path: Path) -> None:
    kept = Points(tmp_path / "a" / "b")
    task, measured = make_task(), make_measurement()
    assert kept.get(task, HASH) is None
    kept.put(task, HASH, measured)
    assert Points(tmp_path / "a" / "b").get(task, HASH) == measured
    assert kept.size()[0] == 1
    assert kept.failed is None


def others(task: Task) -> list[Task]:
    return [
        replace(task, design=make_task("superpage").design),
        replace(task, design=make_task("hashed:locks=255").design),
        replace(task, shape=Shape(1, 26, 2)),
        replace(task, costs=replace(CostModel(), probe=0.0)),
        replace(task, jobs=103),
        replace(task, images="shared"),
        replace(task, free_memory="fresh"),
        replace(task, memory_bytes=2 << 30),
        replace(task, seconds=2.0),
        replace(task, warmup=0.2),
        replace(task, seed=2),
        replace(task, options=KernelOptions(cow="unlocked")),
    ]


def test_every_input_is_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Points(tmp_path)
    task = make_task()
    kept.put(task, HASH, make_measurement())
    for other in others(task):
        assert kept.get(other, HASH) is None
    assert kept.get(task, "1" * 64) is None
    assert set(inputs(task, HASH)) == {field for field in Task.__dataclass_fields__} | {"code"}
    monkeypatch.setattr(points, "code_version", lambda: "other code")
    assert kept.get(task, HASH) is None


def test_another_spelling_or_folder_is_the_same(tmp_path: Path) -> None:
    kept = Points(tmp_path)
    kept.put(make_task("head"), HASH, make_measurement())
    assert kept.get(replace(make_task("hashed:locks=256"), program="elsewhere"), HASH) is not None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_counts_as_absent(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("points")
    kept, task, measured = Points(folder), make_task(), make_measurement()
    kept.put(task, HASH, measured)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    if damaged:
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(0, 255))
    path.write_bytes(bytes(damaged))
    assert kept.get(task, HASH) in (None, measured)
    kept.put(task, HASH, measured)
    assert kept.get(task, HASH) == measured


def test_a_folder_that_cannot_be_is_refused_and_one_that_goes_away_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--keep names another folder"):
        Points(tmp_path / "file" / "points")
    kept = Points(tmp_path / "points")
    (tmp_path / "points").rmdir()
    kept.put(make_task(), HASH, make_measurement())
    assert kept.failed is not None
