"""The Brier score of the top label in parts."""

import numpy as np
import pytest

from tests import reference
from tf_mixup import calibration


def draw(size, *, shift=0.0, num_digits=None, seed=0):
    """Returns labels and probabilities of two classes."""
    generator = np.random.default_rng(seed)
    confidence = generator.uniform(0.55, 1.0, size).astype("float32")
    if num_digits is not None:
        confidence = confidence.round(num_digits)
    wrong = generator.random(size) > confidence - shift
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    return wrong.astype(int), probabilities


def test_by_hand():
    # .6 is right, .7 wrong, .9 right: the first two pool to .5.
    confidence = np.array([0.6, 0.7, 0.9])
    parts = calibration.brier_decomposition(
        [0, 1, 0], np.stack([confidence, 1 - confidence], axis=1)
    )
    score = (0.4**2 + 0.7**2 + 0.1**2) / 3
    recalibrated = (0.5**2 + 0.5**2) / 3
    uncertainty = 2 / 3 * 1 / 3
    np.testing.assert_allclose(
        parts,
        (score, score - recalibrated, uncertainty - recalibrated, uncertainty),
        atol=1e-7,
    )


@pytest.mark.parametrize("num_digits", [None, 1])
@pytest.mark.parametrize("shift", [-0.1, 0.0, 0.3])
def test_agrees_with_the_reference(shift, num_digits):
    labels, probabilities = draw(211, shift=shift, num_digits=num_digits)
    expected = reference.brier_decomposition(
        probabilities[:, 0], (labels == 0).astype(float)
    )
    found = calibration.brier_decomposition(labels, probabilities)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_score_of_two_classes_is_half_of_brier_score():
    labels, probabilities = draw(300)
    expected = np.mean(calibration.brier_score(labels, probabilities)) / 2
    found = calibration.brier_decomposition(labels, probabilities).score
    assert found == pytest.approx(expected, abs=1e-6)


def test_soft_targets_are_draws_of_labels():
    _, probabilities = draw(4, num_digits=2)
    targets = np.array([[1, 0], [0.75, 0.25], [0.5, 0.5], [0, 1]])
    found = calibration.brier_decomposition(targets, probabilities)
    # Four labels of each example, in the shares of its target.
    wrong = (4 * targets[:, 1]).astype(int)
    labels = (np.arange(4) < wrong[:, np.newaxis]).astype(int).ravel()
    drawn = calibration.brier_decomposition(
        labels, np.repeat(probabilities, 4, axis=0)
    )
    np.testing.assert_allclose(found, drawn, atol=1e-12)


def test_weights_repeat_examples():
    labels, probabilities = draw(30, num_digits=1)
    weight = np.random.default_rng(1).integers(0, 4, 30)
    repeated = calibration.brier_decomposition(
        np.repeat(labels, weight), np.repeat(probabilities, weight, axis=0)
    )
    for unit in (1, 0.3):
        found = calibration.brier_decomposition(
            labels, probabilities, sample_weight=unit * weight
        )
        np.testing.assert_allclose(found, repeated, atol=1e-6)


def test_ignored_labels_are_left_out():
    labels, probabilities = draw(30)
    expected = calibration.brier_decomposition(
        labels[labels == 0], probabilities[labels == 0]
    )
    found = calibration.brier_decomposition(
        labels, probabilities, ignore_label=1
    )
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_fine_table_is_close():
    labels, probabilities = draw(5000, shift=0.1)
    table = calibration.bin_predictions(labels, probabilities, num_bins=1000)
    np.testing.assert_allclose(
        calibration.brier_decomposition(table),
        calibration.brier_decomposition(labels, probabilities),
        atol=1e-3,
    )


@pytest.mark.parametrize("size", [0, 1])
def test_nan_without_examples_or_distribution(size):
    outputs = np.full((size, 2), np.nan)
    parts = calibration.brier_decomposition([0] * size, outputs)
    assert np.isnan(parts).all()


def test_refuses_tables_of_classes():
    labels, probabilities = draw(5)
    table = calibration.class_bins(labels, probabilities)
    with pytest.raises(ValueError, match="the examples of one table"):
        calibration.brier_decomposition(table)


def test_refuses_labels_alone():
    with pytest.raises(ValueError, match="Received: a list alone"):
        calibration.brier_decomposition([0, 1])
