"""Measures of detection by hand and against slow NumPy."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from tf_mixup import ood
from tf_mixup.ood import measures


def slow_auroc(inside, outside):
    """Counts pairs: the chance that inside scores higher, ties half."""
    pairs = [(a > b) + 0.5 * (a == b) for a in inside for b in outside]
    return sum(pairs) / len(pairs)


def slow_average_precision(positive, negative):
    """Sums precision times the step of recall, threshold by threshold."""
    total, recall = 0.0, 0.0
    for threshold in sorted({*positive, *negative}, reverse=True):
        hits = sum(p >= threshold for p in positive)
        false = sum(n >= threshold for n in negative)
        total += (hits / len(positive) - recall) * hits / (hits + false)
        recall = hits / len(positive)
    return total


def slow_fpr(inside, outside):
    """Tries every threshold, from the highest."""
    for threshold in sorted({*inside, *outside}, reverse=True):
        if sum(a >= threshold for a in inside) >= 0.95 * len(inside):
            return sum(b >= threshold for b in outside) / len(outside)
    raise AssertionError


class TestMeasures:
    def test_auroc_by_hand(self):
        # Of 4 pairs 0.9>0.7, 0.9>0.5, 0.6<0.7, 0.6>0.5: 3 are right.
        assert ood.auroc([0.9, 0.6], [0.7, 0.5]) == 0.75

    def test_ties_count_half(self):
        assert ood.auroc([0.5, 0.5], [0.5]) == 0.5

    def test_aupr_by_hand(self):
        # Thresholds 0.9: recall 1/2, precision 1; 0.6: recall 1, 2 of 3.
        expected = 0.5 * 1 + 0.5 * 2 / 3
        assert ood.aupr_in([0.9, 0.6], [0.7, 0.5]) == pytest.approx(expected)
        # Lowest first: 0.5 is out (1), 0.6 is in, 0.7 is out (2 of 3).
        expected = 0.5 * 1 + 0.5 * 2 / 3
        assert ood.aupr_out([0.9, 0.6], [0.7, 0.5]) == pytest.approx(expected)

    def test_fpr_by_hand(self):
        # 19 of 20 inside rows score at least 2: accepted with them are 2, 3.
        inside = np.arange(1, 21)
        assert ood.fpr_at_95_tpr(inside, [0, 1, 2, 3]) == 0.5

    def test_other_conventions_by_the_numbers_of_the_docs(self):
        inside = np.array([0.9, 0.8, 0.7, 0.3])
        outside = np.array([0.6, 0.5, 0.4, 0.2])
        assert ood.fpr_at_95_tpr(inside, outside) == 0.75
        # With those from outside as positives: 0.3 alone is at most 0.6.
        assert ood.fpr_at_95_tpr(-outside, -inside) == 0.25
        both = np.concatenate([inside, outside])
        precision, recall, _ = sklearn_metrics.precision_recall_curve(
            [1] * 4 + [0] * 4, both
        )
        trapezoid = sklearn_metrics.auc(recall, precision)
        found = round(ood.aupr_in(inside, outside), 3), round(trapezoid, 3)
        assert found == (0.893, 0.884)
        for number in (0.75, 0.25, *found):
            assert str(number) in measures.__doc__

    @pytest.mark.parametrize("seed", range(4))
    def test_equal_slow_counting_with_ties(self, seed):
        rng = np.random.default_rng(seed)
        inside = np.round(rng.beta(4, 2, 60), 1)
        outside = np.round(rng.beta(2, 3, 41), 1)
        assert ood.auroc(inside, outside) == pytest.approx(
            slow_auroc(inside, outside)
        )
        assert ood.aupr_in(inside, outside) == pytest.approx(
            slow_average_precision(inside, outside)
        )
        assert ood.aupr_out(inside, outside) == pytest.approx(
            slow_average_precision(-outside, -inside)
        )
        assert ood.fpr_at_95_tpr(inside, outside) == pytest.approx(
            slow_fpr(inside, outside)
        )

    @pytest.mark.parametrize("seed", range(2))
    def test_examples_from_outside_as_positives(self, seed):
        rng = np.random.default_rng(seed)
        inside, outside = rng.beta(4, 2, 60), rng.beta(2, 3, 41)
        assert ood.fpr_at_95_tpr(
            inside, outside, positive="out"
        ) == pytest.approx(slow_fpr(-outside, -inside))
        found = ood.aupr(inside, outside, positive="out")
        assert found == ood.aupr_out(inside, outside)
        assert ood.aupr(inside, outside) == ood.aupr_in(inside, outside)
        for measure in (ood.aupr, ood.fpr_at_95_tpr):
            with pytest.raises(ValueError, match="`positive` must be one of"):
                measure(inside, outside, positive="outside")

    def test_swapping_the_sets_mirrors_auroc(self):
        rng = np.random.default_rng(0)
        a, b = rng.random(50), rng.random(30)
        assert ood.auroc(a, b) + ood.auroc(b, a) == pytest.approx(1)

    def test_perfect_separation(self):
        inside, outside = [0.8, 0.9], [0.1, 0.2]
        assert ood.auroc(inside, outside) == 1
        assert ood.fpr_at_95_tpr(inside, outside) == 0

    @pytest.mark.parametrize(
        "measure", [ood.auroc, ood.aupr_in, ood.aupr_out, ood.fpr_at_95_tpr]
    )
    def test_refuse_unusable_scores(self, measure):
        with pytest.raises(
            ValueError, match=r"`out_scores` must be one score.*shape \(0,\)"
        ):
            measure([0.5], [])
        with pytest.raises(
            ValueError,
            match=r"`in_scores`.*Received: in_scores of shape \(1, 1",
        ):
            measure([[0.5]], [0.5])
        with pytest.raises(
            ValueError,
            match=r"`in_scores` must be finite\. Received: in_scores with 2 of"
            r" 3 scores NaN or infinite\. Look for",
        ):
            measure([0.5, np.nan, np.inf], [0.5])


class TestForms:
    """Numbers only, and all of float64."""

    @pytest.mark.parametrize(
        "scores",
        [
            np.ma.masked_array([0.9, 0.6], mask=[1, 0]),
            np.array([0.9 + 0j, 0.6]),
            np.array(["0.9", "0.6"]),
            np.array([9, 6], "M8[s]"),
        ],
    )
    @pytest.mark.parametrize(
        "measure", [ood.auroc, ood.aupr_in, ood.aupr_out, ood.fpr_at_95_tpr]
    )
    def test_measures_refuse(self, measure, scores):
        with pytest.raises(ValueError, match="`in_scores` must"):
            measure(scores, [0.7])

    def test_refuses_scores_beyond_float64(self):
        with pytest.raises(ValueError, match="numbers that float64 holds"):
            ood.auroc(np.array([2**53 + 1]), np.array([2**53]))
