"""Confidence of every form of outputs."""

import keras
import numpy as np
import pytest

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
