"""Laws of calibration measures without bins."""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from sklearn import isotonic

from tests.laws.strategies import SEEDS
from tests.laws.strategies import law
from tests.laws.strategies import scored
from tf_mixup import calibration
from tf_mixup import selective
from tf_mixup.calibration import equal_mass
from tf_mixup.calibration import smooth

ROUNDING = 1e-12
LEVELS = st.sampled_from([1, 4, 10**6])


def draw(seed, levels):
    """Returns confidences, many of which tie, and which are correct."""
    generator = np.random.default_rng(seed)
    size = generator.integers(1, 40)
    confidence = generator.integers(0, levels + 1, size) / levels
    return confidence, generator.integers(0, 2, size)


def table_of(data):
    weighted = data.weight is None or data.weight.any()
    assume(weighted)
    return equal_mass.sum_by_confidence(
        data.labels, data.probabilities, sample_weight=data.weight
    )


@law(data=scored())
def test_parts_add_up_to_the_score(data):
    table = table_of(data)
    parts = calibration.brier_decomposition(table)
    count, confidence, correct = table
    mean = confidence / count
    losses = mean**2 * count - 2 * mean * correct + correct
    np.testing.assert_allclose(parts.score, losses.sum() / count.sum())
    np.testing.assert_allclose(
        parts.miscalibration - parts.discrimination + parts.uncertainty,
        parts.score,
        atol=ROUNDING,
    )


@law(data=scored())
def test_parts_are_in_range(data):
    parts = calibration.brier_decomposition(table_of(data))
    assert -ROUNDING <= parts.miscalibration <= parts.score + ROUNDING
    assert -ROUNDING <= parts.discrimination <= parts.uncertainty + ROUNDING
    assert -ROUNDING <= parts.uncertainty <= 1 / 4 + ROUNDING


@law(seed=SEEDS, levels=LEVELS)
def test_only_the_order_of_confidences_discriminates(seed, levels):
    confidence, correct = draw(seed, levels)
    one, other = (
        calibration.brier_decomposition(selective.rank_scores(each, correct))
        for each in (confidence, confidence**3 / 2)
    )
    np.testing.assert_allclose(one[2:], other[2:], atol=ROUNDING)


@law(seed=SEEDS, levels=LEVELS)
def test_recalibrated_confidences_cost_nothing(seed, levels):
    confidence, correct = draw(seed, levels)
    before = calibration.brier_decomposition(
        selective.rank_scores(confidence, correct)
    )
    regression = isotonic.IsotonicRegression()
    recalibrated = regression.fit_transform(confidence, correct)
    after = calibration.brier_decomposition(
        selective.rank_scores(recalibrated, correct)
    )
    assert abs(after.miscalibration) <= ROUNDING
    np.testing.assert_allclose(
        after.discrimination, before.discrimination, atol=ROUNDING
    )


@law(data=scored(), kernel=st.sampled_from(smooth.KERNELS))
def test_smooth_error_is_within_its_bounds(data, kernel):
    table = table_of(data)
    total = table.count.sum()
    residual = table.correct - table.confidence
    found = calibration.smooth_calibration_error(table, kernel=kernel)
    assert found >= abs(residual.sum() / total) - 1e-8
    assert found <= np.abs(residual).sum() / total + 1e-8


@law(seed=SEEDS, levels=LEVELS, kernel=st.sampled_from(smooth.KERNELS))
def test_smooth_error_falls_with_the_bandwidth(seed, levels, kernel):
    table = selective.rank_scores(*draw(seed, levels))
    errors = [
        calibration.smooth_calibration_error(
            table, kernel=kernel, bandwidth=bandwidth
        )
        for bandwidth in (0.01, 0.1, 1)
    ]
    assert (np.diff(errors) <= 1e-8).all()


@law(seed=SEEDS, kernel=st.sampled_from(smooth.KERNELS))
def test_smooth_error_of_one_side_is_the_gap(seed, kernel):
    confidence, _ = draw(seed, 10**6)
    table = selective.rank_scores(confidence, confidence / 2)
    found = calibration.smooth_calibration_error(table, kernel=kernel)
    np.testing.assert_allclose(found, confidence.mean() / 2, atol=1e-8)
