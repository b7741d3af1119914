"""Coverage and calibration of regression beside others: `make test-peers`."""

import numpy as np
import pytest
import scipy.stats

from tf_mixup import calibration
from tf_mixup import posthoc

ATOL = 1e-6


def draw(size=1000):
    """Returns targets, means and deviations of a model that is too sure."""
    generator = np.random.default_rng(0)
    mean = generator.normal(size=size)
    deviation = generator.uniform(0.5, 2, size)
    return mean + 1.5 * deviation * generator.normal(size=size), mean, deviation


@pytest.mark.parametrize("squared", [False, True])
def test_uncertainty_toolbox_quantiles(squared):
    toolbox = pytest.importorskip("uncertainty_toolbox.metrics_calibration")
    targets, mean, deviation = draw()
    levels = np.linspace(0, 1, 100)[1:-1]
    quantiles = scipy.stats.norm(mean[:, None], deviation[:, None]).ppf(levels)
    found = calibration.quantile_calibration_error(
        targets, quantiles, levels, squared=squared
    )
    name = "root_mean_squared" if squared else "mean_absolute"
    theirs = getattr(toolbox, f"{name}_calibration_error")(
        mean, deviation, targets, prop_type="quantile", vectorized=True
    )
    # Levels of 0 and 1, which are always right, are two of their 100.
    expected = (theirs**2 if squared else theirs) * 100 / 98
    assert found == pytest.approx(expected, abs=ATOL)


def test_uncertainty_toolbox_intervals():
    toolbox = pytest.importorskip("uncertainty_toolbox.metrics_calibration")
    targets, mean, deviation = draw()
    expected, observed = toolbox.get_proportion_lists_vectorized(
        mean, deviation, targets, num_bins=11
    )
    for level, share in zip(expected[1:-1], observed[1:-1], strict=True):
        ends = scipy.stats.norm(mean, deviation).interval(level)
        found = calibration.interval_coverage(targets, *ends)
        assert found == pytest.approx(share, abs=ATOL)


def test_mapie_coverage():
    metrics = pytest.importorskip("mapie.metrics.regression")
    # With one decimal some targets lie on an end.
    targets, mean, _ = (np.round(column, 1) for column in draw())
    ends = np.stack([np.round(mean - 0.3, 1), np.round(mean + 0.8, 1)], axis=1)
    (theirs,) = metrics.regression_coverage_score(targets, ends)
    found = calibration.interval_coverage(targets, *ends.T)
    assert found == pytest.approx(theirs, abs=ATOL)


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95])
def test_mapie_split_conformal(coverage):
    regression = pytest.importorskip("mapie.regression")
    from sklearn import dummy

    targets, *_ = draw(200)
    inputs = np.zeros((200, 1))
    model = dummy.DummyRegressor(strategy="constant", constant=0.5)
    theirs = regression.SplitConformalRegressor(
        model.fit(inputs, targets), confidence_level=coverage, prefit=True
    )
    _, intervals = theirs.conformalize(inputs, targets).predict_interval(
        inputs[:1]
    )
    radius = posthoc.conformal_radius(
        targets, np.full(200, 0.5), coverage=coverage
    )
    np.testing.assert_allclose(
        intervals[0, :, 0], [0.5 - radius, 0.5 + radius], atol=ATOL
    )
