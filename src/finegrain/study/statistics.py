"""Means with confidence intervals, and quantiles of power-of-two histograms."""

from collections.abc import Sequence
from math import sqrt
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


def mean_ci95(values: Sequence[float]) -> tuple[float, float]:
    """95% confidence interval of the mean of independent values; (mean, mean) when there is only one.

    Where no value is negative, as with waits and rates, the interval does not go below zero either.
    """
    mean = fmean(values)
    if len(values) < 2:
        return mean, mean
    half = student_t(0.975, len(values) - 1) * stdev(values) / sqrt(len(values))
    return max(mean - half, min(0.0, *values)), mean + half


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
