"""Outputs of every kind become the same predictions."""

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
        assert report_predictions.recognise(outputs) == kind

    def test_believes_what_may_be(self):
        told = report_predictions.recognise(SOFTMAX, "logits")
        assert told == "logits"
        column = np.array([[0.3], [0.9]])
        told = report_predictions.recognise(column, "sigmoid_logits")
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
            report_predictions.recognise(outputs, told)

    def test_refuses_several_sigmoids(self):
        outputs = np.array([[0.9, 0.9], [0.1, 0.2]])
        with pytest.raises(ValueError, match=r"sums go from 0\.3 to 1\.8"):
            report_predictions.recognise(outputs)
        told = report_predictions.recognise(outputs, "logits")
        assert told == "logits"

    def test_refuses_an_unknown_word(self):
        with pytest.raises(ValueError, match="`outputs` must be one of"):
            report_predictions.recognise(LOGITS, "softmax")


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
        rows = report_predictions.standardise(outputs, kind, [0, 2])
        np.testing.assert_allclose(rows.probabilities, SOFTMAX, atol=1e-6)
        np.testing.assert_allclose(rows.confidence, SOFTMAX.max(-1), atol=1e-6)
        np.testing.assert_array_equal(rows.correct, [1, 0])
        expected = -np.log(SOFTMAX[[0, 1], [0, 2]])
        np.testing.assert_allclose(rows.nll, expected, rtol=1e-5)

    @pytest.mark.parametrize("kind", ["sigmoid", "sigmoid_logits"])
    def test_one_column_is_two_classes(self, kind):
        column = np.array([[0.2], [0.9]], np.float32)
        outputs = column if kind == "sigmoid" else np.log(column / (1 - column))
        rows = report_predictions.standardise(outputs, kind, [[1], [0]])
        expected = [[0.8, 0.2], [0.1, 0.9]]
        np.testing.assert_allclose(rows.probabilities, expected, atol=1e-6)
        np.testing.assert_array_equal(rows.correct, [0, 0])
        np.testing.assert_allclose(rows.nll, -np.log([0.2, 0.1]), rtol=1e-5)

    def test_a_certain_mistake_costs_the_least_float32(self):
        outputs = np.array([[0.0, 1.0], [1.0, 0.0]])
        rows = report_predictions.standardise(outputs, "probabilities", [0, 1])
        least = np.finfo(np.float32).tiny
        np.testing.assert_allclose(rows.nll, -np.log([least] * 2), rtol=1e-5)
        assert np.isfinite(rows.logits).all()

    def test_refuses_one_class(self):
        with pytest.raises(ValueError, match="2 rows that are all of class 1"):
            report_predictions.standardise(LOGITS, "logits", [1, 1])


class TestDivide:
    def test_softens_and_keeps_the_class(self):
        rows = report_predictions.standardise(LOGITS, "logits", [0, 2])
        soft = rows.divide(2.0)
        expected = reference.softmax(LOGITS / 2)
        np.testing.assert_allclose(soft.probabilities, expected, atol=1e-6)
        np.testing.assert_array_equal(soft.correct, rows.correct)

    def test_take_keeps_rows_together(self):
        rows = report_predictions.standardise(LOGITS, "logits", [0, 2])
        second = rows.take(np.array([1]))
        np.testing.assert_array_equal(second.labels, [2])
        np.testing.assert_array_equal(second.confidence, rows.confidence[1:])


class TestClassIds:
    @pytest.mark.parametrize(
        "labels",
        [
            np.array([2, 0], np.uint8),
            np.array([[2.0], [0.0]]),
            np.array([[0, 0, 1], [1, 0, 0]]),
        ],
    )
    def test_reads_all_forms(self, labels):
        ids = report_predictions.class_ids(labels, 3)
        assert ids.tolist() == [2, 0]
        assert ids.dtype == np.int64

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (np.array([0, 3]), "from 0 to 2.*labels from 0 to 3"),
            (np.array([-1, 2]), "labels from -1 to 2.*Number the classes"),
            (np.array([0.5, 1.0]), "whole numbers"),
            (np.array([np.nan, 1.0]), "whole numbers"),
            (np.array(["a", "b"]), "type <U1"),
            (np.zeros((2, 5)), r"shape \(2, 5\)"),
            (np.array([[0.9, 0.1, 0.0]] * 2), "several classes in them"),
        ],
    )
    def test_refuses_others(self, labels, message):
        with pytest.raises(ValueError, match=message):
            report_predictions.class_ids(labels, 3)
