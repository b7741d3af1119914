"""Bins and errors of several labels at once."""

import keras
import numpy as np
import pytest

from tests import backends
from tests import reference
from tf_mixup import calibration
from tf_mixup.calibration import per_label


def draw(size=200, num_labels=4, seed=0):
    """Returns multi-hot labels and miscalibrated probabilities of them."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.normal(size=(size, num_labels)) - np.arange(
        num_labels
    )
    labels = generator.random(logits.shape) < 1 / (1 + np.exp(-logits / 2))
    return labels.astype("int64"), logits.astype("float32")


def sigmoid(logits):
    return (1 / (1 + np.exp(-logits.astype("float64")))).astype("float32")


def each(bins):
    return np.array(calibration.expected_calibration_error(bins))


class TestAgainstTheReference:
    @pytest.mark.parametrize("edges", ["right", "left"])
    @pytest.mark.parametrize("num_bins", [1, 10, 15])
    def test_errors_of_labels(self, edges, num_bins):
        labels, logits = draw()
        probabilities = sigmoid(logits)
        # On edges, and at both ends.
        probabilities[:6, 0] = [0, 0.2, 0.4, 0.5, 0.8, 1]
        options = {"num_bins": num_bins, "edges": edges}
        expected = reference.label_calibration_errors(
            labels, probabilities, **options
        )
        bins = calibration.label_bins(labels, probabilities, **options)
        np.testing.assert_allclose(each(bins), expected, atol=1e-7)
        found = calibration.label_calibration_error(
            labels, probabilities, **options
        )
        np.testing.assert_allclose(found, np.mean(expected), atol=1e-7)

    @pytest.mark.parametrize("shape", [(200,), (200, 1)])
    def test_one_label(self, shape):
        labels, logits = draw(num_labels=1)
        probabilities = sigmoid(logits)
        (expected,) = reference.label_calibration_errors(
            labels, probabilities, 15
        )
        found = calibration.label_calibration_error(
            labels.reshape(shape), probabilities.reshape(shape)
        )
        np.testing.assert_allclose(found, expected, atol=1e-7)

    def test_mixed_labels_count_by_their_mass(self):
        labels, logits = draw()
        mixed = 0.3 * labels + 0.7 * labels[::-1]
        expected = reference.label_calibration_errors(
            mixed, sigmoid(logits), 15
        )
        bins = calibration.label_bins(mixed, sigmoid(logits))
        np.testing.assert_allclose(each(bins), expected, atol=1e-6)


class TestForms:
    @pytest.mark.parametrize("from_logits", [True, None])
    @pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float64"])
    def test_logits_and_types(self, from_logits, dtype):
        labels, logits = draw()
        expected = each(calibration.label_bins(labels, sigmoid(logits)))
        bins = calibration.label_bins(
            labels.astype(dtype), logits, from_logits=from_logits
        )
        np.testing.assert_allclose(each(bins), expected, atol=1e-6)

    @backends.needs_tensorflow
    def test_compiled(self):
        import tensorflow as tf

        labels, logits = draw()
        measure = tf.function(
            calibration.label_calibration_error, jit_compile=True
        )
        np.testing.assert_allclose(
            measure(tf.constant(labels), tf.constant(sigmoid(logits))),
            calibration.label_calibration_error(labels, sigmoid(logits)),
            atol=1e-6,
        )

    def test_other_measures_are_by_label(self):
        labels, logits = draw()
        bins = calibration.label_bins(labels, sigmoid(logits))
        np.testing.assert_allclose(
            calibration.signed_gap(bins),
            sigmoid(logits).mean(0) - labels.mean(0),
            atol=1e-6,
        )


class TestWeights:
    def test_whole_weights_repeat(self):
        labels, logits = draw()
        weight = np.random.default_rng(1).integers(0, 3, len(labels))
        expected = calibration.label_bins(
            np.repeat(labels, weight, axis=0), np.repeat(logits, weight, axis=0)
        )
        for form in (weight, weight[:, None], np.tile(weight[:, None], 4)):
            bins = calibration.label_bins(labels, logits, sample_weight=form)
            for one, other in zip(bins, expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-6)

    @pytest.mark.parametrize("how", ["ignored", "weights"])
    def test_unknown_labels_are_left_out_one_by_one(self, how):
        labels, logits = draw()
        unknown = np.random.default_rng(1).random(labels.shape) < 0.3
        # Of the last label nothing is known.
        unknown[:, -1] = True
        expected = [
            calibration.label_calibration_error(
                labels[~unknown[:, k], k], logits[~unknown[:, k], k]
            )
            for k in range(3)
        ]
        options = (
            {"ignore_label": -1}
            if how == "ignored"
            else {"sample_weight": np.where(unknown, 0, 2)}
        )
        given = np.where(unknown, -1, labels)
        bins = calibration.label_bins(given, logits, **options)
        np.testing.assert_allclose(each(bins), [*expected, np.nan], atol=1e-7)
        np.testing.assert_allclose(
            calibration.label_calibration_error(bins), np.mean(expected)
        )

    def test_all_left_out_has_no_error(self):
        found = calibration.label_calibration_error(
            [[-1, -1]], [[0.5, 0.5]], ignore_label=-1
        )
        assert np.isnan(float(found))


class TestBadInput:
    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (np.zeros(3, int), r"multi-hot.*shape \(3,\).*\(3, 4\).*Category"),
            (np.zeros((3, 5)), r"multi-hot.*\(3, 5\)"),
            (np.zeros((2, 4)), r"multi-hot.*\(2, 4\)"),
            (np.full((3, 4), 2), r"in \[0, 1\].*from 2 to 2.*ignore_label=-1"),
            (np.full((3, 4), -1), r"in \[0, 1\].*from -1 to -1"),
        ],
    )
    def test_labels(self, labels, message):
        with pytest.raises(ValueError, match=message):
            calibration.label_bins(labels, np.full((3, 4), 0.5))

    def test_weights_of_other_examples(self):
        with pytest.raises(ValueError, match=r"one number for each example"):
            calibration.label_bins(
                np.eye(3), np.eye(3), sample_weight=np.ones(2)
            )

    def test_nan_is_not_left_out(self):
        outputs = np.array([[0.5, np.nan], [0.5, 0.5]])
        errors = each(calibration.label_bins(np.eye(2), outputs))
        np.testing.assert_array_equal(np.isnan(errors), [False, True])

    @pytest.mark.parametrize(
        "measure",
        [
            calibration.expected_calibration_error,
            calibration.class_bias,
            calibration.brier_score,
        ],
    )
    def test_measures_of_one_class_name_those_of_labels(self, measure):
        labels = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 1]])
        message = r"one class.*2 of 3 targets.*label_calibration_error"
        with pytest.raises(ValueError, match=message):
            measure(labels, keras.ops.softmax(labels * 1.0))


def test_the_worst_labels_are_those_beyond_chance():
    generator = np.random.default_rng(0)
    probabilities = np.full((4000, 4), 0.5)
    labels = generator.random((4000, 4)) < [0.5, 0.55, 0.5, 0.6]
    weights = np.ones((4000, 4))
    weights[:, 3] = 0  # None is known.
    weights[20:, 2] = 0  # Few: a larger ECE than that of label 1, by chance.
    labels[:20, 2] = np.arange(20) < 12
    bins = calibration.label_bins(
        labels, probabilities, from_logits=False, sample_weight=weights
    )
    errors = np.array(calibration.expected_calibration_error(bins))
    assert errors[2] > errors[1] > errors[0]
    assert per_label.find_worst(bins)[[0, 3]].tolist() == [1, 3]
