"""Conformal sets are fitted on one half and tested on the other."""

import numpy as np
import pytest

from tests.report import temperature_test
from tf_mixup import posthoc
from tf_mixup.report import prediction_sets


def measure(size, targets=None, seed=0):
    logits, labels = temperature_test.calibrated(size)
    rows = temperature_test.predict(
        logits, labels if targets is None else targets(labels)
    )
    return prediction_sets.measure(rows, seed=seed)


class TestMeasure:
    def test_coverage_is_as_wanted(self):
        found = measure(4000)
        assert [(each.score, each.wanted) for each in found] == [
            ("lac", 0.9),
            ("lac", 0.95),
            ("aps", 0.9),
            ("aps", 0.95),
        ]
        for each in found:
            assert each.coverage == pytest.approx(each.wanted, abs=0.02)
            assert each.largest <= 4
        sizes = [each.mean_size for each in found]
        # LAC makes the smallest sets.
        assert sizes[0] < sizes[1]
        assert sizes[0] < sizes[2]

    def test_by_hand_of_both_halves(self):
        logits, labels = temperature_test.calibrated(200)
        order = np.random.default_rng(3).permutation(200)
        halves = np.sort(order[::2]), np.sort(order[1::2])
        held, sizes = [], []
        for fitted, other in (halves, halves[::-1]):
            sets = posthoc.ConformalSets("aps", coverage=0.95)
            sets.fit(logits[fitted], labels[fitted])
            found = sets.apply(logits[other])
            held += [*found[np.arange(100), labels[other]]]
            sizes += [*found.sum(axis=1)]
        last = prediction_sets.measure(
            temperature_test.predict(logits, labels), seed=3
        )[-1]
        assert last.coverage == pytest.approx(np.mean(held))
        assert last.mean_size == pytest.approx(np.mean(sizes))
        assert last.single == pytest.approx(np.mean(np.array(sizes) == 1))
        assert last.largest == max(sizes)

    def test_one_hot_targets_are_classes(self):
        assert measure(200, lambda labels: np.eye(4)[labels]) == measure(200)

    def test_nothing_of_few_examples_or_soft_targets(self):
        assert measure(99) == []
        assert measure(200, lambda y: 0.9 * np.eye(4)[y] + 0.025) == []
