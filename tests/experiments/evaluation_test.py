"""Tests of the numbers that tables are made of."""

import numpy as np
import pytest

from experiments import evaluation
from tests import reference

PROBABILITIES = np.array(
    [[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]], "float32"
)
LABELS = np.array([0, 1, 1, 1])


class TestMeasure:
    def test_by_hand(self):
        results = evaluation.measure(LABELS, PROBABILITIES, prefix="test_")
        # Right, wrong, right, right; confidences .9, .6, .7, .8.
        assert results["test_accuracy"] == pytest.approx(0.75)
        assert results["test_confidence"] == pytest.approx(0.75)
        assert results["test_signed_gap"] == pytest.approx(0, abs=1e-6)
        # Each in a bin of its own: (.1 + .6 + .3 + .2) / 4.
        assert results["test_ece"] == pytest.approx(0.3, abs=1e-6)
        assert results["test_ece_100"] == pytest.approx(0.3, abs=1e-6)
        # Only the wrong one is overconfident: .6 * .6 / 4.
        assert results["test_oe"] == pytest.approx(0.09, abs=1e-6)
        nll = -np.log([0.9, 0.4, 0.7, 0.8]).mean()
        assert results["test_nll"] == pytest.approx(nll, rel=1e-5)
        # Both columns miss by .1, .6, .3 and .2: 2 * .5 / 4.
        assert results["test_brier"] == pytest.approx(0.25, abs=1e-6)

    @pytest.mark.parametrize(("suffix", "bins"), [("", 15), ("_100", 100)])
    def test_equals_the_reference(self, suffix, bins):
        generator = np.random.default_rng(0)
        probabilities = generator.dirichlet(np.ones(5), 300).astype("float32")
        labels = generator.integers(5, size=300)
        results = evaluation.measure(labels, probabilities, prefix="")
        expected = reference.expected_calibration_error(
            labels, probabilities, bins
        )
        assert results[f"ece{suffix}"] == pytest.approx(expected, abs=1e-6)

    def test_null_of_few_rows_in_many_bins_is_not_zero(self):
        results = evaluation.measure(LABELS, PROBABILITIES, prefix="")
        assert results["null_ece_100"] > 0.1
        assert all(isinstance(value, float) for value in results.values())


class TestMeasureOod:
    def test_by_hand(self):
        inside, outside = np.array([0.9, 0.8]), np.array([0.5, 0.85])
        results = evaluation.measure_ood(inside, outside, prefix="mnist_")
        assert results["mnist_confidence"] == pytest.approx(0.675)
        # Of the four pairs only (.8, .85) is in the wrong order.
        assert results["mnist_auroc"] == pytest.approx(0.75)
        # Precision 1 at recall 1/2, 2/3 at recall 1.
        assert results["mnist_aupr"] == pytest.approx((1 + 2 / 3) / 2)
        # All of the inside are found at .8, with half of the outside.
        assert results["mnist_fpr95"] == pytest.approx(0.5)
