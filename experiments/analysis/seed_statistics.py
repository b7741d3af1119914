"""Statistics of few seeds: spreads, paired differences, a trend.

Runs of one seed share the subset, the initial weights and the order of
images, so arms are compared seed by seed. Shapes: S seeds, L levels.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy.stats


class Spread(NamedTuple):
    """Mean and standard deviation (with S - 1; NaN of one seed) over seeds."""

    mean: float
    deviation: float
    num_seeds: int


class Difference(NamedTuple):
    """A paired mean difference and its interval, which is NaN of one seed."""

    mean: float
    low: float
    high: float
    num_seeds: int


class Trend(NamedTuple):
    """Page's L, and the probability of it or a larger one by chance."""

    statistic: float
    p_value: float


def spread(values: np.ndarray) -> Spread:
    """Returns mean and standard deviation of values `(S,)`, S >= 1."""
    num_seeds = len(values)
    deviation = float(np.std(values, ddof=1)) if num_seeds > 1 else math.nan
    return Spread(float(np.mean(values)), deviation, num_seeds)


def paired_difference(
    values: np.ndarray, baseline: np.ndarray, *, level: float = 0.95
) -> Difference:
    """Returns the mean of `values - baseline` with its t-interval.

    The interval is mean -+ t(S - 1) s / sqrt(S), with s the deviation of the
    differences. It assumes that they are roughly normal, which few seeds
    cannot show, and covers the variation between seeds only: the test images
    are the same in all runs.

    Args:
        values: `(S,)`, a number for each seed.
        baseline: `(S,)`, of the same seeds in the same order.
        level: Confidence level of the interval.

    Example:
        >>> values, baseline = np.array([3.0, 5.0]), np.array([1.0, 1.0])
        >>> paired_difference(values, baseline).mean
        3.0
    """
    differences = np.asarray(values) - np.asarray(baseline)
    mean, deviation, num_seeds = spread(differences)
    if num_seeds < 2:
        return Difference(mean, math.nan, math.nan, num_seeds)
    quantile = scipy.stats.t.ppf((1 + level) / 2, num_seeds - 1)
    half = float(quantile * deviation / math.sqrt(num_seeds))
    return Difference(mean, mean - half, mean + half, num_seeds)


def falling_trend(values: np.ndarray) -> Trend | None:
    """Tests whether values fall from level to level, seed by seed.

    Page's L ranks the levels within each seed. It tests for a trend over all
    levels, which one large step may cause: test also without the first level.

    Values are `(S, L)`, levels in their order. Returns None with fewer than 2
    seeds or 3 levels.

    References:
        Page. Ordered Hypotheses for Multiple Treatments: A Significance Test
        for Linear Ranks. JASA 58, 1963.
    """
    seeds, levels = values.shape
    if seeds < 2 or levels < 3 or not np.isfinite(values).all():
        return None
    # The test is for rising means.
    found = scipy.stats.page_trend_test(values[:, ::-1])
    return Trend(float(found.statistic), float(found.pvalue))
