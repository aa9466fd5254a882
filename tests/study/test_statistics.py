from math import isinf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finegrain.study.statistics import add_histograms, histogram_quantile, mean_ci95, student_t

# Quantiles of Student's t as printed in Abramowitz and Stegun, table 26.10.
T_975 = {5: 2.571, 9: 2.262, 10: 2.228, 19: 2.093, 30: 2.042, 120: 1.980}


@pytest.mark.parametrize(("degrees", "expected"), T_975.items())
def test_student_t(degrees: int, expected: float) -> None:
    assert student_t(0.975, degrees) == pytest.approx(expected, rel=0.003)
    assert isinf(student_t(0.975, 0))


def test_interval_of_a_mean() -> None:
    # Mean 3, standard deviation sqrt(2.5), five values: 3 +- 2.776 * sqrt(2.5 / 5).
    low, high = mean_ci95([1, 2, 3, 4, 5])
    assert (low + high) / 2 == pytest.approx(3)
    assert (high - low) / 2 == pytest.approx(2.776 * 0.5**0.5, rel=0.01)
    low, high = mean_ci95([0.0, 0.0, 9.0])
    assert low == 0
    assert high > 9
    assert mean_ci95([7.0]) == (7.0, 7.0)


@given(st.lists(st.integers(0, 10_000), min_size=1), st.sampled_from([0.01, 0.5, 0.99]))
def test_quantile_bounds_the_true_one(values: list[int], probability: float) -> None:
    histogram: dict[int, int] = {}
    for value in values:
        upper = 1 << value.bit_length()
        histogram[upper] = histogram.get(upper, 0) + 1
    rows = [[upper, histogram[upper]] for upper in sorted(histogram)]
    bound = histogram_quantile(rows, probability)
    assert bound is not None
    below = sum(value < bound for value in values)
    assert below >= probability * len(values)
    assert sum(value < bound // 2 for value in values) < probability * len(values)


def test_histograms_add() -> None:
    assert add_histograms([[[1, 2], [4, 1]], [[2, 5], [4, 1]]]) == [[1, 2], [2, 5], [4, 2]]
    assert histogram_quantile([], 0.5) is None
