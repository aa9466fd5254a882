import pytest
from hypothesis import given
from hypothesis import strategies as st

from finegrain.errors import UserError
from finegrain.machine.shape import DEFAULT_SHAPE, Shape, parse_shape, shape_of


@given(st.integers(1, 1024))
def test_every_count_has_a_shape_of_that_many_cpus(cpus: int) -> None:
    shape = shape_of(cpus)
    assert shape.cpus == cpus
    assert parse_shape(str(shape)) == shape


def test_the_default_is_the_measured_machine() -> None:
    assert shape_of(104) == DEFAULT_SHAPE == Shape(2, 26, 2)
    assert shape_of(1024) == Shape(16, 32, 2)
    assert shape_of(1) == Shape(1, 1, 1)


@pytest.mark.parametrize("cpus", [0, -1, 1025, 5000])
def test_impossible_counts(cpus: int) -> None:
    with pytest.raises(UserError, match="1 to 1024"):
        shape_of(cpus)


@pytest.mark.parametrize("text", ["2x26", "2x26x3", "0x1x1", "17x1x1", "ax1x1", "16x64x2", "", "2x26x2x1"])
def test_impossible_shapes(text: str) -> None:
    with pytest.raises(UserError, match="shape"):
        parse_shape(text)
