"""Coverage of intervals and calibration of quantiles."""

import numpy as np
import pytest
import scipy.stats

from tests import reference
from tf_mixup import calibration

LEVELS = np.arange(0.05, 1, 0.05)


def draw(size=4000, width=1.0):
    """Returns targets, and quantiles of a normal distribution `width` wide."""
    generator = np.random.default_rng(0)
    mean, deviation = generator.normal(size=(2, size))
    deviation = np.exp(deviation)
    targets = mean + deviation * generator.normal(size=size)
    normal = scipy.stats.norm(mean[:, None], width * deviation[:, None])
    return targets, normal.ppf(LEVELS)


class TestCoverage:
    def test_by_hand(self):
        # Ends belong to it, and swapped ends hold nothing.
        found = calibration.interval_coverage(
            [[1.0], [3.0], [2.5], [2.0]], [1, 1, 1, 3], [2, 3, 2, 1]
        )
        assert found == 0.5

    @pytest.mark.parametrize("level", [0.5, 0.9])
    def test_of_the_true_distribution_is_the_level(self, level):
        targets, _ = draw()
        deviation = np.std(targets)
        ends = scipy.stats.norm(0, deviation).interval(level)
        normal = np.random.default_rng(1).normal(0, deviation, 4000)
        found = calibration.interval_coverage(
            normal, *(np.full(4000, end) for end in ends)
        )
        assert abs(found - level) < 4 * np.sqrt(level * (1 - level) / 4000)

    @pytest.mark.parametrize("spoiled", [0, 1, 2])
    def test_nan(self, spoiled):
        columns = [np.zeros(3) for _ in range(3)]
        columns[spoiled][1] = np.nan
        assert np.isnan(calibration.interval_coverage(*columns))
        assert np.isnan(calibration.interval_coverage([], [], []))

    @pytest.mark.parametrize(
        ("lower", "shapes"),
        [(np.zeros(2), r"\(3,\), \(2,\), \(3,\)"), (np.zeros((3, 2)), "3, 2")],
    )
    def test_refuses(self, lower, shapes):
        with pytest.raises(
            ValueError, match=rf"one number for each example\. .*{shapes}"
        ):
            calibration.interval_coverage(np.zeros(3), lower, np.zeros(3))


class TestQuantiles:
    def test_by_hand(self):
        # Shares of 1/3 and 1 at levels of 1/2 and 3/4.
        columns = [0.0, 1.0, 2.0], [[0, 3], [0, 1], [0, 2]], [0.5, 0.75]
        gaps = np.array([1 / 6, 1 / 4])
        found = calibration.quantile_calibration_error(*columns)
        assert found == pytest.approx(gaps.mean(), abs=1e-12)
        found = calibration.quantile_calibration_error(*columns, squared=True)
        assert found == pytest.approx((gaps**2).mean(), abs=1e-12)

    @pytest.mark.parametrize("squared", [False, True])
    def test_against_reference(self, squared):
        targets, quantiles = draw(200, width=0.5)
        found = calibration.quantile_calibration_error(
            targets[:, None], quantiles, LEVELS, squared=squared
        )
        assert found == pytest.approx(
            reference.quantile_calibration_error(
                targets, quantiles, LEVELS, 2 if squared else 1
            ),
            abs=1e-12,
        )

    @pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
    def test_is_that_of_the_distribution(self, width):
        """At level p the share is F(width F^-1(p)) of the normal F."""
        targets, quantiles = draw(width=width)
        share = scipy.stats.norm.cdf(width * scipy.stats.norm.ppf(LEVELS))
        found = calibration.quantile_calibration_error(
            targets, quantiles, LEVELS
        )
        # Each share is off by at most 1/2 / sqrt(n) in its deviation.
        assert found == pytest.approx(np.abs(share - LEVELS).mean(), abs=0.02)

    def test_does_not_depend_on_the_unit(self):
        targets, quantiles = draw(300)
        one, other = (
            calibration.quantile_calibration_error(
                np.exp(factor * targets), np.exp(factor * quantiles), LEVELS
            )
            for factor in (0.1, 1.0)
        )
        assert one == other

    def test_nan(self):
        measure = calibration.quantile_calibration_error
        assert np.isnan(measure([0, np.nan], [[1], [1]], [0.5]))
        assert np.isnan(measure([0, 1], [[1], [np.nan]], [0.5]))
        assert np.isnan(measure([], np.zeros((0, 1)), [0.5]))

    @pytest.mark.parametrize("levels", [[0.0], [1.0], [np.nan], [[0.5]], 0.5])
    def test_refuses_levels(self, levels):
        with pytest.raises(ValueError, match="numbers between 0 and 1, one"):
            calibration.quantile_calibration_error([0], [[1]], levels)

    @pytest.mark.parametrize("shape", [(2, 1), (3, 2), (2,), (2, 2, 1)])
    def test_refuses_shapes(self, shape):
        with pytest.raises(ValueError, match="for 2 targets and 2 levels"):
            calibration.quantile_calibration_error(
                [0, 1], np.zeros(shape), [0.1, 0.9]
            )
