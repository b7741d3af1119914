"""ECE over bins of equally many examples."""

import numpy as np
import pytest

from tests import reference
from tf_mixup import calibration
from tf_mixup.calibration import equal_mass


def draw(size, *, shift=0.0, seed=0):
    generator = np.random.default_rng(seed)
    confidence = generator.uniform(0.4, 1.0, size)
    return confidence, generator.random(size) < confidence - shift


def error_of(confidence, correct, *, num_bins=15):
    """Returns the error of columns, in float64."""
    columns = np.asarray(confidence), np.asarray(correct)
    place = equal_mass.rank(columns[0])
    groups = equal_mass.sum_groups(place, *columns, np.ones(len(place)))
    return equal_mass.equal_mass_error(groups, num_bins)


class TestColumns:
    def test_by_hand(self):
        # Sorted: .6 (right), .7 (wrong) | .8 (right), .9 (right):
        # |1.3 - 1| + |1.7 - 2| over 4 rows.
        error = error_of([0.9, 0.6, 0.8, 0.7], [1, 1, 1, 0], num_bins=2)
        np.testing.assert_allclose(error, (0.3 + 0.3) / 4)

    @pytest.mark.parametrize("size", [5, 100, 1003])
    def test_agrees_with_the_reference(self, size):
        columns = draw(size, shift=0.1)
        np.testing.assert_allclose(
            error_of(*columns),
            reference.adaptive_calibration_error(*columns, 15),
            atol=1e-12,
        )

    @pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
    def test_equal_confidences_share_their_correctness(self, order):
        # |0.8 - 0.8| in both runs, whichever examples stand in them.
        correct = np.repeat([1, 0], [8, 2])[order]
        error = error_of(np.full(10, 0.8), correct, num_bins=2)
        np.testing.assert_allclose(error, 0, atol=1e-12)

    def test_a_cut_shares_out_a_group(self):
        # Runs {.5, .8} and {.8, .8}; two thirds of the .8 are right:
        # |1.3 - 1 - 2/3| + |1.6 - 4/3| over 4 examples.
        error = error_of([0.8, 0.5, 0.8, 0.8], [1, 1, 0, 1], num_bins=2)
        np.testing.assert_allclose(error, (0.3667 + 0.2667) / 4, atol=1e-4)

    def test_agrees_with_the_reference_on_rounded_confidences(self):
        confidence, correct = draw(203, shift=0.1)
        columns = confidence.round(1), correct
        np.testing.assert_allclose(
            error_of(*columns),
            reference.adaptive_calibration_error(*columns, 15),
            atol=1e-12,
        )

    def test_one_example(self):
        error = error_of([0.75], [1])
        np.testing.assert_allclose(error, 0.25)


class TestAdaptive:
    LABELS = np.array([0, 0, 0, 1])
    PROBABILITIES = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.7, 0.3]])

    def error(self, **options):
        return calibration.adaptive_calibration_error(
            self.LABELS, self.PROBABILITIES, num_bins=2, **options
        )

    def test_is_that_of_the_columns(self):
        generator = np.random.default_rng(0)
        probabilities = generator.dirichlet(np.ones(3), 203)
        labels = generator.integers(0, 3, 203)
        columns = calibration.top_label(labels, probabilities)
        np.testing.assert_allclose(
            calibration.adaptive_calibration_error(labels, probabilities),
            reference.adaptive_calibration_error(*map(np.array, columns), 15),
            atol=1e-7,
        )

    def test_weights_repeat_examples(self):
        weight = np.array([1, 2, 0, 3])
        repeated = calibration.adaptive_calibration_error(
            np.repeat(self.LABELS, weight),
            np.repeat(self.PROBABILITIES, weight, axis=0),
            num_bins=2,
        )
        for unit in (1, 0.3):
            found = self.error(sample_weight=unit * weight)
            np.testing.assert_allclose(found, repeated, atol=1e-6)

    def test_ignored_labels_are_left_out(self):
        expected = calibration.adaptive_calibration_error(
            self.LABELS[:3], self.PROBABILITIES[:3], num_bins=2
        )
        assert self.error(ignore_label=1) == expected

    @pytest.mark.parametrize("size", [0, 1])
    def test_nan_without_examples_or_distribution(self, size):
        outputs = np.full((size, 2), np.nan)
        error = calibration.adaptive_calibration_error([0] * size, outputs)
        assert np.isnan(error)

    def test_refuses_no_bins(self):
        message = "`num_bins` must be an integer, at least 1. Received: num"
        with pytest.raises(ValueError, match=message):
            calibration.adaptive_calibration_error([0], [[1, 0]], num_bins=0)
