"""The package's top level: where results and reports meet."""

import inspect

import pytest

import finegrain
from finegrain.errors import UserError
from finegrain.report import result as report
from finegrain.study import experiment
from make_result import make_result


@pytest.fixture
def result() -> finegrain.Result:
    return finegrain.Result(**vars(make_result()))


def test_a_result_shows_itself(result: finegrain.Result) -> None:
    assert str(result) == report.text(result)
    assert result._repr_html_() == report.html(result)
    assert result.to_dict() == report.as_dict(result)


def test_compare_gives_a_result_that_shows_itself() -> None:
    result = finegrain.compare(["head"], cpus=2, seconds=0.001, warmup=0.0, progress=False)
    assert "(private images) on 2 simulated CPUs" in str(result)


def test_compare_takes_what_the_study_takes() -> None:
    own, study = (
        inspect.signature(function).parameters for function in (finegrain.compare, experiment.compare)
    )
    # where runs are kept, and on what cluster they are made, is for sweeps
    assert list(own) == [name for name in study if name not in ("points", "cluster")]
    for name in set(own) - {"progress"}:
        assert own[name] == study[name]


def test_refusals() -> None:
    with pytest.raises(UserError, match="no design"):
        finegrain.compare([])
