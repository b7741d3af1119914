"""A temperature is found on one half and judged on the other."""

import numpy as np
import pytest

from tf_mixup import posthoc
from tf_mixup.report import predictions as report_predictions
from tf_mixup.report import temperature as report_temperature


def calibrated(size=4000, seed=0):
    """Returns logits, and labels drawn from their softmax."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.normal(size=(size, 4))
    gumbel = generator.gumbel(size=logits.shape)
    return logits.astype(np.float32), (logits + gumbel).argmax(-1)


def predict(logits, labels):
    return report_predictions.standardize(logits, labels, from_logits=True)


class TestMeasure:
    @pytest.mark.parametrize("truth", [0.5, 1.0, 3.0])
    def test_recovers_the_temperature(self, truth):
        logits, labels = calibrated()
        found = report_temperature.measure(
            predict(truth * logits, labels), seed=0
        )
        assert found.temperature == pytest.approx(truth, rel=0.1)
        assert not found.at_bound
        for half in found.halves:
            assert half.temperature == pytest.approx(truth, rel=0.15)
            assert half.num_examples == 2000

    def test_scaling_helps_the_overconfident(self):
        logits, labels = calibrated()
        found = report_temperature.measure(predict(3 * logits, labels), seed=0)
        for half in found.halves:
            assert half.nll_after < half.nll_before - 0.1
            assert half.ece_after < half.ece_before / 3
        expected = sum(half.nll_after for half in found.halves) / 2
        assert found.mean("nll_after") == pytest.approx(expected)

    def test_equals_the_library(self):
        logits, labels = calibrated(size=101)
        rows = predict(logits, labels)
        found = report_temperature.measure(rows, seed=7)
        scaler = posthoc.TemperatureScaling().fit(logits, labels)
        assert found.temperature == pytest.approx(scaler.temperature, 1e-12)
        order = np.random.default_rng(7).permutation(101)
        first, second = order[::2], order[1::2]
        scaler = posthoc.TemperatureScaling()
        scaler.fit(logits[first], labels[first])
        half = found.halves[0]
        assert half.temperature == pytest.approx(scaler.temperature)
        assert half.num_examples == 50
        scaled = scaler.apply(logits[second])
        nll = -np.log(scaled[np.arange(50), labels[second]]).mean()
        assert half.nll_after == pytest.approx(nll, rel=1e-5)
        before = rows.take(np.sort(second)).nll.mean()
        assert half.nll_before == pytest.approx(before, rel=1e-5)

    def test_says_that_there_is_none(self):
        labels = np.arange(60) % 2
        right = np.eye(2, dtype=np.float32)[labels]
        found = report_temperature.measure(predict(right, labels), seed=0)
        assert found.at_bound

    def test_does_not_try_on_few_rows(self):
        logits, labels = calibrated(size=39)
        assert report_temperature.measure(predict(logits, labels), seed=0) is (
            None
        )
        labels = (np.arange(60) == 0).astype(int)
        rows = predict(np.zeros((60, 2), np.float32), labels)
        assert report_temperature.measure(rows, seed=0) is None
