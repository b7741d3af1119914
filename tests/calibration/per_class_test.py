"""Class bias against formulas by hand and draws."""

import numpy as np
import pytest

from tf_mixup import calibration


class TestClassBias:
    def test_by_hand(self):
        probabilities = np.array([[0.8, 0.2], [0.6, 0.4]])
        sums = calibration.class_sums([0, 1], probabilities)
        np.testing.assert_allclose(sums.count, 2)
        np.testing.assert_allclose(sums.probability, [1.4, 0.6], rtol=1e-6)
        np.testing.assert_allclose(sums.target, [1, 1])
        np.testing.assert_allclose(sums.variance, [0.4, 0.4], rtol=1e-6)
        np.testing.assert_allclose(sums.residual, [0.4, 0.4], rtol=1e-6)
        bias = calibration.class_bias(sums)
        np.testing.assert_allclose(bias.bias, [0.2, -0.2], rtol=1e-6)
        np.testing.assert_allclose(bias.largest, 0.2, rtol=1e-6)
        # z = 2.2414 of 1 - .05 / 4.
        limit = (2.2414 * np.sqrt(0.4) + (2.2414**2 + 2) / 6) / 2
        np.testing.assert_allclose(bias.limits, limit, rtol=1e-4)
        np.testing.assert_allclose(bias.chance, limit, rtol=1e-4)

    @pytest.mark.parametrize("labels", ["ids", "one_hot", "sigmoid"])
    def test_forms_agree(self, labels):
        generator = np.random.default_rng(0)
        column = generator.random(50)
        probabilities = np.stack([1 - column, column], axis=1)
        ids = generator.integers(0, 2, 50)
        given = {
            "ids": (ids, probabilities),
            "one_hot": (np.eye(2)[ids], probabilities),
            "sigmoid": (ids[:, None], column),
        }[labels]
        found = calibration.class_bias(*given)
        expected = (probabilities - np.eye(2)[ids]).mean(0)
        np.testing.assert_allclose(found.bias, expected, atol=1e-6)

    @pytest.mark.parametrize("shape", [(60,), (60, 1)])
    def test_sums_add_and_weights_repeat(self, shape):
        generator = np.random.default_rng(0)
        probabilities = generator.dirichlet(np.ones(3), 60)
        labels = generator.integers(0, 3, 60)
        weight = generator.integers(0, 2, 60)
        kept = weight > 0
        weighted = calibration.class_sums(
            labels, probabilities, sample_weight=weight.reshape(shape)
        )
        parts = [
            calibration.class_sums(
                labels[kept][part], probabilities[kept][part]
            )
            for part in (slice(10), slice(10, None))
        ]
        for one, other in zip(weighted, parts[0] + parts[1], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)

    @pytest.mark.parametrize(
        ("temperature", "rarity"), [(1.0, [0, 1, 2, 5]), (0.3, [0, 0, 0, 0])]
    )
    def test_chance_holds(self, temperature, rarity):
        # Sharpened predictions are overconfident, but of no class too often.
        exceeded = 0
        for seed in range(60):
            generator = np.random.default_rng(seed)
            logits = 2 * generator.normal(size=(300, 4)) - rarity
            labels = (logits + generator.gumbel(size=(300, 4))).argmax(-1)
            scaled = np.exp(logits / temperature)
            scaled /= scaled.sum(-1, keepdims=True)
            bias = calibration.class_bias(
                calibration.class_sums(labels, scaled)
            )
            exceeded += np.any(np.abs(bias.bias) > bias.limits)
        assert exceeded <= 7

    def test_class_weights_are_seen(self):
        # Odds of the rare class times 9, as balanced weights make them.
        generator = np.random.default_rng(0)
        rare = np.clip(generator.beta(0.5, 4.5, 1000), 1e-3, 0.999)
        labels = generator.random(1000) < rare
        shifted = 9 * rare / (9 * rare + 1 - rare)
        bias = calibration.class_bias(labels, shifted)
        assert bias.bias[1] > 0.1 > bias.chance
        honest = calibration.class_bias(labels, rare)
        assert honest.largest < honest.chance

    def test_no_examples_have_no_bias(self):
        sums = calibration.class_sums(np.zeros(0, int), np.zeros((0, 3)))
        bias = calibration.class_bias(sums)
        assert np.isnan([bias.largest, bias.chance, *bias.bias]).all()

    def test_what_is_no_distribution_shows(self):
        sums = calibration.class_sums([0, 5], np.full((2, 2), 0.5))
        assert np.isnan(calibration.class_bias(sums).largest)


class TestForms:
    LABELS = np.array([0, 1, 1])
    PROBABILITIES = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]])

    def bias(self, labels, probabilities, **options):
        sums = calibration.class_sums(labels, probabilities, **options)
        return calibration.class_bias(sums).largest

    def test_weight_of_zero_and_ignored_labels_leave_out(self):
        expected = self.bias(self.LABELS[:2], self.PROBABILITIES[:2])
        outputs = np.vstack([self.PROBABILITIES[:2], [[np.nan, 0.5]]])
        labels = np.array([0, 1, 99])
        weight = np.array([[1], [1], [0]])
        found = self.bias(labels, outputs, sample_weight=weight)
        assert found == pytest.approx(expected)
        found = self.bias(labels, outputs, ignore_label=99)
        assert found == pytest.approx(expected)

    def test_takes_steps(self):
        expected = self.bias(self.LABELS, self.PROBABILITIES)
        found = self.bias(self.LABELS[None], self.PROBABILITIES[None])
        assert found == pytest.approx(expected)

    def test_one_call_is_two(self):
        expected = self.bias(self.LABELS, self.PROBABILITIES)
        bias = calibration.class_bias(self.LABELS, self.PROBABILITIES)
        assert bias.largest == expected

    @pytest.mark.parametrize("weight", [[1, -1, 1], [1, 1]])
    def test_refuses_weights(self, weight):
        with pytest.raises(ValueError, match="`sample_weight` must be"):
            self.bias(self.LABELS, self.PROBABILITIES, sample_weight=weight)
