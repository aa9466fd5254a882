from math import exp, inf, isinf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finegrain.study.statistics import (
    add_histograms,
    half_width,
    histogram_quantile,
    mean_ci95,
    ratio_ci95,
    student_t,
)

# Quantiles of Student's t as printed in Abramowitz and Stegun, table 26.10.
T_975 = {5: 2.571, 9: 2.262, 10: 2.228, 19: 2.093, 30: 2.042, 120: 1.980}


@pytest.mark.parametrize(("degrees", "expected"), T_975.items())
def test_student_t(degrees: int, expected: float) -> None:
    assert student_t(0.975, degrees) == pytest.approx(expected, rel=0.003)
    assert isinf(student_t(0.975, 0))


def test_interval_of_a_mean() -> None:
    # Mean 3, standard deviation sqrt(2.5), five values: a factor of exp(2.776 * sqrt(2.5 / 5) / 3) to each side.
    factor = exp(2.776 * 0.5**0.5 / 3)
    assert mean_ci95([1, 2, 3, 4, 5]) == pytest.approx((3 / factor, 3 * factor))
    # Two values have one degree of freedom: t is 12.706.
    factor = exp(12.706 * 0.5**0.5 / 2**0.5)
    assert mean_ci95([0.5, 1.5]) == pytest.approx((1 / factor, factor))
    assert mean_ci95([7.0]) is None
    assert mean_ci95([0.0, 0.0]) == (0.0, 0.0)


@given(st.lists(st.floats(0, 1e12), min_size=2, max_size=40))
def test_an_interval_holds_its_mean_and_is_not_negative(values: list[float]) -> None:
    interval = mean_ci95(values)
    assert interval is not None
    assert 0 <= interval[0] <= sum(values) / len(values) * (1 + 1e-9)
    assert interval[1] >= sum(values) / len(values) * (1 - 1e-9)


def test_interval_of_a_ratio() -> None:
    # What both runs of a pair have in common cancels; the interval is the same the other way round.
    assert ratio_ci95([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]) == pytest.approx((2.0, 2.0))
    over, under = [10.0, 14.0, 12.0], [1.0, 1.2, 1.1]
    interval, inverse = ratio_ci95(over, under), ratio_ci95(under, over)
    assert interval is not None
    assert inverse is not None
    assert interval[0] < 36 / 3.3 < interval[1]
    assert inverse == pytest.approx((1 / interval[1], 1 / interval[0]))
    # Deviations 10/12 - 1/1.1 and so on: three values with a standard deviation of 0.0758.
    assert interval[1] / (36 / 3.3) == pytest.approx(exp(4.303 * 0.07576 / 3**0.5), rel=1e-3)
    assert ratio_ci95([1.0], [2.0]) is None
    assert ratio_ci95([1.0, 2.0], [0.0, 0.0]) is None


@pytest.mark.parametrize("runs", [3, 5, 12])
def test_intervals_hold_the_truth_as_often_as_they_say(runs: int) -> None:
    """Gamma distributed values with a variation of 0.3, as runs have."""
    random = np.random.default_rng(1)
    trials, means, ratios = 4000, 0, 0
    for values, others in zip(
        random.gamma(11, 2, (trials, runs)), random.gamma(11, 1, (trials, runs)), strict=True
    ):
        mean, ratio = mean_ci95(values), ratio_ci95(values, others)
        assert mean is not None
        assert ratio is not None
        means += mean[0] <= 22 <= mean[1]
        ratios += ratio[0] <= 2 <= ratio[1]
    assert means / trials == pytest.approx(0.95, abs=0.015)
    assert ratios / trials == pytest.approx(0.95, abs=0.015)


def test_half_width_is_a_part_of_the_value() -> None:
    assert half_width(10.0, (9.0, 12.0)) == pytest.approx(0.15)
    assert half_width(10.0, None) == inf
    assert half_width(0.0, (0.0, 0.0)) == 0


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
