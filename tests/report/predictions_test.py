"""Outputs of every kind become the same predictions."""

import keras
import numpy as np
import pytest

from tests import reference
from tf_mixup.report import predictions as report_predictions

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]], np.float32)
SOFTMAX = np.array(reference.softmax(LOGITS), np.float32)


class TestDetectLogits:
    @pytest.mark.parametrize(
        ("outputs", "expected"),
        [
            (SOFTMAX, False),
            (SOFTMAX.astype(np.float16), False),
            (LOGITS, True),
            # At least 0, as after a ReLU, but no distribution.
            (np.array([[3.0, 1.0], [0.5, 0.5]]), True),
            # Logarithms of probabilities are logits.
            (np.log(SOFTMAX), True),
            # A sigmoid's.
            (np.array([[0.3], [0.9]]), False),
            (np.array([[0.3], [-0.9]]), True),
        ],
    )
    def test_by_the_values(self, outputs, expected):
        assert report_predictions.detect_logits(outputs) == expected

    def test_believes_what_may_be(self):
        for outputs in (SOFTMAX, np.array([[0.3], [0.9]])):
            assert report_predictions.detect_logits(outputs, True)

    @pytest.mark.parametrize("outputs", [LOGITS, np.array([[0.3], [-0.9]])])
    def test_refuses_what_cannot_be(self, outputs):
        with pytest.raises(ValueError, match="from_logits=False with"):
            report_predictions.detect_logits(outputs, False)

    def test_refuses_several_sigmoids(self):
        outputs = np.array([[0.9, 0.9], [0.1, 0.2]])
        with pytest.raises(ValueError, match="must sum to 1 in each example"):
            report_predictions.detect_logits(outputs)
        assert report_predictions.detect_logits(outputs, True)

    @pytest.mark.parametrize(
        ("activation", "columns", "expected"),
        [
            *(("softmax", 3, False), ("linear", 3, True)),
            *(("sigmoid", 1, False), ("linear", 1, True)),
        ],
    )
    def test_the_last_layer_decides(self, activation, columns, expected):
        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(columns, activation)]
        )
        outputs = np.full((8, columns), 1 / columns, np.float32) * 0.9
        if activation == "softmax":
            outputs /= 0.9
        found = report_predictions.detect_logits(outputs, model=model)
        assert found == expected
        with pytest.raises(ValueError, match="must say what the model's last"):
            report_predictions.detect_logits(outputs, not expected, model=model)

    def test_refuses_a_word(self):
        with pytest.raises(ValueError, match="`from_logits` must be True, F"):
            report_predictions.detect_logits(LOGITS, "softmax")


class TestStandardise:
    @pytest.mark.parametrize(
        ("outputs", "from_logits"),
        [(LOGITS, True), (SOFTMAX, False), (np.log(SOFTMAX), True)],
    )
    def test_forms_agree(self, outputs, from_logits):
        rows = report_predictions.standardize(
            outputs, [0, 2], from_logits=from_logits
        )
        np.testing.assert_allclose(rows.probabilities, SOFTMAX, atol=1e-6)
        np.testing.assert_allclose(rows.confidence, SOFTMAX.max(-1), atol=1e-6)
        np.testing.assert_array_equal(rows.correct, [1, 0])
        expected = -np.log(SOFTMAX[[0, 1], [0, 2]])
        np.testing.assert_allclose(rows.nll, expected, rtol=1e-5)

    @pytest.mark.parametrize("from_logits", [False, True])
    def test_one_column_is_two_classes(self, from_logits):
        column = np.array([[0.2], [0.9]], np.float32)
        rows = report_predictions.standardize(
            np.log(column / (1 - column)) if from_logits else column,
            [[1], [0]],
            from_logits=from_logits,
        )
        expected = [[0.8, 0.2], [0.1, 0.9]]
        np.testing.assert_allclose(rows.probabilities, expected, atol=1e-6)
        np.testing.assert_array_equal(rows.correct, [0, 0])
        np.testing.assert_allclose(rows.nll, -np.log([0.2, 0.1]), rtol=1e-5)

    def test_a_certain_mistake_costs_the_least_float32(self):
        outputs = np.array([[0.0, 1.0], [1.0, 0.0]])
        rows = report_predictions.standardize(
            outputs, [0, 1], from_logits=False
        )
        least = np.finfo(np.float32).tiny
        np.testing.assert_allclose(rows.nll, -np.log([least] * 2), rtol=1e-5)
        assert np.isfinite(rows.logits(slice(None))).all()

    def test_true_classes_of_probability_0_are_impossible(self):
        outputs = np.array([[0.0, 1.0], [0.25, 0.75], [1.0, 0.0]])
        for labels, expected in (
            ([0, 1, 0], [1, 0, 0]),
            ([[0.5, 0.5], [0, 1], [1, 0]], [1, 0, 0]),
        ):
            rows = report_predictions.standardize(
                outputs, labels, from_logits=False
            )
            np.testing.assert_array_equal(rows.impossible, expected)
        # exp(-200) is 0 in float32, and the NLL is 200.
        rows = report_predictions.standardize(
            np.array([[-200.0, 0.0], [1.0, 0.0]]), [0, 1], from_logits=True
        )
        assert not rows.impossible.any()
        assert rows.nll[0] == pytest.approx(200)

    def test_refuses_one_class(self):
        with pytest.raises(ValueError, match="2 examples, all of class 1"):
            report_predictions.standardize(LOGITS, [1, 1], from_logits=True)


class TestScaled:
    def test_softens_and_keeps_the_class(self):
        rows = report_predictions.standardize(LOGITS, [0, 2], from_logits=True)
        soft = rows.scaled(np.arange(2), 2.0)
        expected = reference.softmax(LOGITS / 2)
        np.testing.assert_allclose(
            soft["confidence"], np.max(expected, axis=-1), atol=1e-6
        )
        np.testing.assert_array_equal(soft["correct"], rows.correct)
        np.testing.assert_array_equal(soft["predicted"], rows.predicted)

    def test_take_keeps_examples_together(self):
        rows = report_predictions.standardize(LOGITS, [0, 2], from_logits=True)
        second = rows.take(np.array([1]))
        np.testing.assert_array_equal(second.labels, [2])
        np.testing.assert_array_equal(second.confidence, rows.confidence[1:])


class TestReadTargets:
    @pytest.mark.parametrize(
        "labels",
        [
            np.array([2, 0], np.uint8),
            np.array([[2.0], [0.0]]),
            np.array([[0, 0, 1], [1, 0, 0]]),
        ],
    )
    def test_reads_all_forms_of_ids(self, labels):
        ids, num_normalized = report_predictions.read_targets(labels, 3)
        assert ids.tolist() == [2, 0]
        assert ids.dtype == np.int64
        assert num_normalized == 0

    def test_normalizes_rounded_shares_of_votes(self):
        given = np.array([[0.33, 0.33, 0.33], [0.5, 0.25, 0.25]])
        targets, num_normalized = report_predictions.read_targets(given, 3)
        np.testing.assert_allclose(
            targets, [[1 / 3] * 3, [0.5, 0.25, 0.25]], atol=1e-6
        )
        assert num_normalized == 1

    def test_one_column_may_be_soft(self):
        targets, _ = report_predictions.read_targets(
            np.array([[0.25], [1.0]]), 2, single=True
        )
        np.testing.assert_allclose(targets, [[0.75, 0.25], [0, 1]])

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (np.array([0, 3]), "from 0 to 2.*labels from 0 to 3"),
            (np.array([2**32, 1]), "from 0 to 2.*labels from 1 to 4294967296"),
            (np.array([-1, 2]), "labels from -1 to 2.*`ignore_label=-1`"),
            (np.array([-2, 2]), "labels from -2 to 2.*Number the classes"),
            (np.array([0.5, 1.0]), "whole numbers"),
            (np.array([np.nan, 1.0]), "whole numbers"),
            (np.array(["a", "b"]), "type <U1"),
            (np.zeros((2, 5)), r"shape \(2, 5\)"),
            (np.array([[51, 0, 0], [30, 20, 1]]), "Divide counts of votes"),
            (np.array([[1, 1, 0], [0, 0, 0]]), "several labels"),
            (np.array([[1.5, -0.5, 0.0]]), "values from -0.5"),
            (np.array([[np.nan, 1.0, 0.0]]), "sum to 1 over the classes"),
        ],
    )
    def test_refuses_others(self, labels, message):
        with pytest.raises(ValueError, match=message):
            report_predictions.read_targets(labels, 3)
