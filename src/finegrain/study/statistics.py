"""Means and ratios with confidence intervals, and quantiles of power-of-two histograms.

The values are of independent runs (docs/statistics.md says why, and how often the intervals hold what they should).
"""

from collections.abc import Sequence
from math import exp, inf, sqrt
from statistics import NormalDist, fmean, stdev


def student_t(probability: float, degrees: int) -> float:
    """Quantile of Student's t, by the expansion of Abramowitz and Stegun, 26.7.5 (error below 0.3% from 5 on).

    `degrees` of freedom below 1 give infinity.
    """
    if degrees < 1:
        return float("inf")
    z = NormalDist().inv_cdf(probability)
    g1 = (z**3 + z) / 4
    g2 = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    g3 = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    g4 = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + g1 / degrees + g2 / degrees**2 + g3 / degrees**3 + g4 / degrees**4


Interval = tuple[float, float]  # lower end, upper end

# Exact where the expansion is not good enough (Abramowitz and Stegun, table 26.10).
_T_975 = (12.706, 4.303, 3.182, 2.776)


def _t_975(degrees: int) -> float:
    return _T_975[degrees - 1] if 1 <= degrees <= len(_T_975) else student_t(0.975, degrees)


def _around(value: float, deviations: Sequence[float]) -> Interval:
    """95% interval of a positive value from the relative deviations of the runs that it was made of.

    On the logarithm's scale: waits are never negative, and rare long ones make their means lean to one side.
    """
    n = len(deviations)
    factor = exp(min(700.0, _t_975(n - 1) * stdev(deviations) / sqrt(n)))
    return value / factor, value * factor


def mean_ci95(values: Sequence[float]) -> Interval | None:
    """95% confidence interval of the mean of independent values that are not negative; None from less than two."""
    if len(values) < 2:
        return None
    mean = fmean(values)
    if mean <= 0:
        return mean, mean
    return _around(mean, [value / mean for value in values])


def ratio_ci95(over: Sequence[float], under: Sequence[float]) -> Interval | None:
    """95% confidence interval of the ratio of two means; None from less than two pairs, or where a mean is 0.

    The values come in pairs, each of one run: what both have in common (here the seed) cancels.
    """
    if len(over) < 2 or min(sum(over), sum(under)) <= 0:
        return None
    top, bottom = fmean(over), fmean(under)
    return _around(top / bottom, [a / top - b / bottom for a, b in zip(over, under, strict=True)])


def half_width(value: float, interval: Interval | None) -> float:
    """Half the width of an interval as a part of the value; infinite where there is no interval."""
    if interval is None:
        return inf
    return (interval[1] - interval[0]) / 2 / value if value > 0 else 0.0


def histogram_quantile(histogram: Sequence[Sequence[int]], probability: float) -> int | None:
    """Upper bound of the bucket that holds the quantile; None for an empty histogram.

    `histogram` is [[upper bound, count], ...], ascending.
    """
    total = sum(count for _, count in histogram)
    if total == 0:
        return None
    seen = 0
    for upper, count in histogram:
        seen += count
        if seen >= probability * total:
            return upper
    return histogram[-1][0]


def add_histograms(histograms: Sequence[Sequence[Sequence[int]]]) -> list[list[int]]:
    """Add histograms of [[upper bound, count], ...] bucket by bucket."""
    total: dict[int, int] = {}
    for histogram in histograms:
        for upper, count in histogram:
            total[upper] = total.get(upper, 0) + count
    return [[upper, total[upper]] for upper in sorted(total)]
