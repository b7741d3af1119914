"""Statistics of few seeds, by hand."""

import math

import numpy as np
import pytest

from experiments.analysis import seed_statistics


class TestSpread:
    def test_by_hand(self):
        # Deviations -2, 0, 2: (4 + 0 + 4) / 2 = 4, whose root is 2.
        assert seed_statistics.spread(np.array([1.0, 3.0, 5.0])) == (
            3.0,
            2.0,
            3,
        )

    def test_of_one_seed_is_unknown(self):
        found = seed_statistics.spread(np.array([1.0]))
        assert found.mean == 1
        assert math.isnan(found.deviation)


class TestPairedDifference:
    def test_by_hand(self):
        # Differences 1, 2, 3: mean 2, deviation 1, t(2) at .975 = 4.30265.
        values, baseline = np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0])
        found = seed_statistics.paired_difference(values, baseline)
        half = 4.302653 / math.sqrt(3)
        np.testing.assert_allclose(found, (2, 2 - half, 2 + half, 3), rtol=1e-6)

    def test_equal_differences_are_certain(self):
        found = seed_statistics.paired_difference(
            np.array([3, 4]), np.array([1, 2])
        )
        assert found == (2, 2, 2, 2)

    def test_one_seed_has_no_interval(self):
        found = seed_statistics.paired_difference(
            np.array([3.0]), np.array([1.0])
        )
        assert found.mean == 2
        assert math.isnan(found.low)

    def test_interval_covers_at_its_level(self):
        rng = np.random.default_rng(0)
        held = 0
        for _ in range(500):
            found = seed_statistics.paired_difference(
                rng.normal(1, 2, 5), rng.normal(0, 1, 5)
            )
            held += found.low <= 1 <= found.high
        # 95 % of 500, within four standard deviations of a binomial.
        assert abs(held - 475) < 4 * math.sqrt(500 * 0.95 * 0.05)


class TestFallingTrend:
    def test_by_hand(self):
        # Ranks of the reversed levels are 1, 2, 3 in both rows:
        # L = 2 (1 + 4 + 9) = 28, one of (3!)^2 = 36 equally likely.
        found = seed_statistics.falling_trend(
            np.array([[3, 2, 1], [9.0, 8, 0]])
        )
        assert found.statistic == 28
        np.testing.assert_allclose(found.p_value, 1 / 36)

    def test_rising_values_are_no_falling_trend(self):
        found = seed_statistics.falling_trend(
            np.array([[1, 2, 3], [0.0, 8, 9]])
        )
        np.testing.assert_allclose(found.p_value, 1)

    @pytest.mark.parametrize("shape", [(1, 3), (2, 2)])
    def test_needs_seeds_and_levels(self, shape):
        assert seed_statistics.falling_trend(np.zeros(shape)) is None
