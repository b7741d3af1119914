"""Outputs of every kind become the same predictions."""

import keras
import numpy as np
import pytest

from tests import reference
from tf_mixup.report import predictions as report_predictions

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]], np.float32)
SOFTMAX = np.array(reference.softmax(LOGITS), np.float32)


class TestRecognise:
    @pytest.mark.parametrize(
        ("outputs", "kind"),
        [
            (SOFTMAX, "probabilities"),
            (SOFTMAX.astype(np.float16), "probabilities"),
            (LOGITS, "logits"),
            # At least 0, as after a ReLU, but no distribution.
            (np.array([[3.0, 1.0], [0.5, 0.5]]), "logits"),
            # Logarithms of probabilities are logits.
            (np.log(SOFTMAX), "logits"),
            (np.array([[0.3], [0.9]]), "sigmoid"),
            (np.array([[0.3], [-0.9]]), "sigmoid_logits"),
        ],
    )
    def test_finds_out(self, outputs, kind):
        assert report_predictions.recognize(outputs) == kind

    def test_believes_what_may_be(self):
        told = report_predictions.recognize(SOFTMAX, "logits")
        assert told == "logits"
        column = np.array([[0.3], [0.9]])
        told = report_predictions.recognize(column, "sigmoid_logits")
        assert told == "sigmoid_logits"

    @pytest.mark.parametrize(
        ("outputs", "told", "finds"),
        [
            (LOGITS, "probabilities", "logits"),
            (LOGITS, "sigmoid", "logits"),
            (np.array([[0.3], [-0.9]]), "sigmoid", "sigmoid_logits"),
            (np.array([[0.3]]), "logits", "sigmoid"),
        ],
    )
    def test_refuses_what_cannot_be(self, outputs, told, finds):
        with pytest.raises(ValueError, match=rf"{told}\. .*finds {finds}"):
            report_predictions.recognize(outputs, told)

    def test_refuses_many_distributions_as_logits(self):
        outputs = np.tile(SOFTMAX, (4, 1))
        message = r"says, logits\. .*finds probabilities"
        with pytest.raises(ValueError, match=message):
            report_predictions.recognize(outputs, "logits")

    def test_refuses_several_sigmoids(self):
        outputs = np.array([[0.9, 0.9], [0.1, 0.2]])
        with pytest.raises(ValueError, match="must sum to 1 in each example"):
            report_predictions.recognize(outputs)
        told = report_predictions.recognize(outputs, "logits")
        assert told == "logits"

    @pytest.mark.parametrize(
        ("activation", "columns", "told", "finds"),
        [
            ("softmax", 3, "logits", "probabilities"),
            ("linear", 3, "probabilities", "logits"),
            ("sigmoid", 1, "sigmoid_logits", "sigmoid"),
            ("linear", 1, "sigmoid", "sigmoid_logits"),
        ],
    )
    def test_the_last_layer_decides(self, activation, columns, told, finds):
        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(columns, activation)]
        )
        outputs = np.full((8, columns), 1 / columns, np.float32) * 0.9
        if activation == "softmax":
            outputs /= 0.9
        assert report_predictions.recognize(outputs, model=model) == finds
        with pytest.raises(ValueError, match=rf"{told}\. .*finds {finds}"):
            report_predictions.recognize(outputs, told, model=model)

    def test_refuses_an_unknown_word(self):
        with pytest.raises(ValueError, match="`outputs` must be one of"):
            report_predictions.recognize(LOGITS, "softmax")


class TestStandardise:
    @pytest.mark.parametrize(
        ("outputs", "kind"),
        [
            (LOGITS, "logits"),
            (SOFTMAX, "probabilities"),
            (np.log(SOFTMAX), "logits"),
        ],
    )
    def test_forms_agree(self, outputs, kind):
        rows = report_predictions.standardize(outputs, kind, [0, 2])
        np.testing.assert_allclose(rows.probabilities, SOFTMAX, atol=1e-6)
        np.testing.assert_allclose(rows.confidence, SOFTMAX.max(-1), atol=1e-6)
        np.testing.assert_array_equal(rows.correct, [1, 0])
        expected = -np.log(SOFTMAX[[0, 1], [0, 2]])
        np.testing.assert_allclose(rows.nll, expected, rtol=1e-5)

    @pytest.mark.parametrize("kind", ["sigmoid", "sigmoid_logits"])
    def test_one_column_is_two_classes(self, kind):
        column = np.array([[0.2], [0.9]], np.float32)
        outputs = column if kind == "sigmoid" else np.log(column / (1 - column))
        rows = report_predictions.standardize(outputs, kind, [[1], [0]])
        expected = [[0.8, 0.2], [0.1, 0.9]]
        np.testing.assert_allclose(rows.probabilities, expected, atol=1e-6)
        np.testing.assert_array_equal(rows.correct, [0, 0])
        np.testing.assert_allclose(rows.nll, -np.log([0.2, 0.1]), rtol=1e-5)

    def test_a_certain_mistake_costs_the_least_float32(self):
        outputs = np.array([[0.0, 1.0], [1.0, 0.0]])
        rows = report_predictions.standardize(outputs, "probabilities", [0, 1])
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
                outputs, "probabilities", labels
            )
            np.testing.assert_array_equal(rows.impossible, expected)
        # exp(-200) is 0 in float32, and the NLL is 200.
        rows = report_predictions.standardize(
            np.array([[-200.0, 0.0], [1.0, 0.0]]), "logits", [0, 1]
        )
        assert not rows.impossible.any()
        assert rows.nll[0] == pytest.approx(200)

    def test_refuses_one_class(self):
        with pytest.raises(ValueError, match="2 examples, all of class 1"):
            report_predictions.standardize(LOGITS, "logits", [1, 1])


class TestScaled:
    def test_softens_and_keeps_the_class(self):
        rows = report_predictions.standardize(LOGITS, "logits", [0, 2])
        soft = rows.scaled(np.arange(2), 2.0)
        expected = reference.softmax(LOGITS / 2)
        np.testing.assert_allclose(
            soft["confidence"], np.max(expected, axis=-1), atol=1e-6
        )
        np.testing.assert_array_equal(soft["correct"], rows.correct)
        np.testing.assert_array_equal(soft["predicted"], rows.predicted)

    def test_take_keeps_examples_together(self):
        rows = report_predictions.standardize(LOGITS, "logits", [0, 2])
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
