"""Confidence of every form of outputs."""

import keras
import numpy as np
import pytest

from tests import reference
from tf_mixup import ood


class TestConfidence:
    def test_is_the_largest_probability(self):
        probabilities = np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]])
        np.testing.assert_allclose(ood.confidence(probabilities), [0.5, 1.0])

    @pytest.mark.parametrize("shape", [(3,), (3, 1)])
    def test_reads_a_sigmoid_column_as_two_classes(self, shape):
        column = np.array([0.1, 0.5, 0.8]).reshape(shape)
        np.testing.assert_allclose(
            ood.confidence(column), [0.9, 0.5, 0.8], rtol=1e-6
        )

    def test_takes_logits(self):
        # softmax(0, log 3) = (1/4, 3/4); sigmoid(-log 3) = 1/4.
        logits = np.array([[0.0, np.log(3)]])
        confidence = ood.confidence(logits, from_logits=True)
        np.testing.assert_allclose(confidence, [0.75], rtol=1e-6)
        confidence = ood.confidence([-np.log(3)], from_logits=True)
        np.testing.assert_allclose(confidence, [0.75], rtol=1e-6)

    def test_half_precision_logits_give_float32(self):
        logits = keras.ops.cast([[0.0, 7.0]], "bfloat16")
        confidence = ood.confidence(logits, from_logits=True)
        expected = 1 / (1 + np.exp(-7.0))
        np.testing.assert_allclose(confidence, [expected], rtol=1e-6)

    @pytest.mark.parametrize(
        ("outputs", "from_logits"),
        [
            ([[5.0, 0.0]], False),
            ([[-1.0, 2.0]], False),
            ([1.5], False),
            ([[np.nan, 1.0]], None),
            ([[0.2, 0.2]], None),
        ],
    )
    def test_what_is_no_distribution_gives_nan(self, outputs, from_logits):
        found = ood.confidence(np.array(outputs), from_logits=from_logits)
        assert np.isnan(np.array(found)).all()

    def test_logarithms_of_certain_predictions_are_logits(self):
        outputs = np.array([[-np.inf, 0.0], [0.0, -np.inf]])
        np.testing.assert_array_equal(ood.confidence(outputs), [1, 1])

    def test_refuses_other_ranks(self):
        with pytest.raises(
            ValueError,
            match=r"must have shape \(B, K\).* Received: predictions of shape"
            r" \(2, 3, 4\)\. Reshape",
        ):
            ood.confidence(np.zeros((2, 3, 4)))


LOGITS = np.random.default_rng(0).normal(0, 4, (30, 5)).astype("float32")


class TestScoresOfLogits:
    @pytest.mark.parametrize("temperature", [0.5, 1.0, 10.0])
    def test_energy(self, temperature):
        found = ood.energy(LOGITS, temperature=temperature)
        expected = reference.energy(LOGITS.astype(float), temperature)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_energy_of_huge_logits(self):
        found = ood.energy(np.array([[1e4, 0.0], [-1e4, -1e4]]))
        np.testing.assert_allclose(found, [1e4, -1e4 + np.log(2)])

    def test_energy_is_confidence_and_the_largest_logit(self):
        # log max softmax = max logit - log sum exp.
        found = ood.max_logit(LOGITS) - np.log(ood.confidence(LOGITS))
        np.testing.assert_allclose(found, ood.energy(LOGITS), atol=1e-5)

    @pytest.mark.parametrize("score", [ood.energy, ood.max_logit])
    def test_a_shift_of_all_logits_shifts_them(self, score):
        np.testing.assert_allclose(
            score(LOGITS + 3), np.array(score(LOGITS)) + 3, atol=1e-5
        )

    def test_max_logit(self):
        np.testing.assert_array_equal(ood.max_logit(LOGITS), LOGITS.max(1))

    def test_one_column_is_the_logit_of_two_classes(self):
        column = np.array([-3.0, 2.0])
        pairs = np.array([[0, -3.0], [0, 2.0]])
        for score in (ood.energy, ood.max_logit, ood.negative_entropy):
            expected = score(pairs, from_logits=True)
            for form in (column, column[:, None]):
                np.testing.assert_allclose(score(form), expected, atol=1e-6)

    @pytest.mark.parametrize("score", [ood.energy, ood.max_logit])
    @pytest.mark.parametrize("options", [{}, {"from_logits": False}])
    def test_refuse_probabilities(self, score, options):
        probabilities = reference.softmax(LOGITS)
        with pytest.raises(
            ValueError,
            match=r"is a score of logits\. Received: probabilities of shape"
            r" \(30, 5\)\. Predict without the last softmax",
        ):
            score(probabilities, **options)

    def test_refuses_a_temperature_of_zero(self):
        with pytest.raises(ValueError, match="`temperature` must be"):
            ood.energy(LOGITS, temperature=0)


class TestNegativeEntropy:
    def test_reference(self):
        probabilities = reference.softmax(LOGITS)
        expected = reference.negative_entropy(probabilities.astype(float))
        for form in (probabilities, LOGITS):
            found = ood.negative_entropy(form)
            np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_ends(self):
        found = ood.negative_entropy(np.array([[1.0, 0, 0], [1 / 3] * 3]))
        np.testing.assert_allclose(found, [0, -np.log(3)], atol=1e-6)

    def test_what_is_no_distribution_gives_nan(self):
        found = ood.negative_entropy(np.array([[0.2, 0.2]]), from_logits=False)
        assert np.isnan(np.array(found)).all()
