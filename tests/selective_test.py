"""Selective classification: the curve, its area, and one table for both."""

import keras
import numpy as np
import pytest
from scipy import special

from tests import backends
from tests import metrics_test
from tests import reference
from tf_mixup import calibration
from tf_mixup import metrics
from tf_mixup import selective

# Right, wrong, right, wrong from the most confident on.
LABELS = np.array([0, 1, 0, 1])
PROBABILITIES = np.array([[1, 0], [0.875, 0.125], [0.75, 0.25], [0.625, 0.375]])


def columns(labels, probabilities):
    """Returns confidence, and whether the prediction is wrong."""
    return (
        probabilities.max(1).tolist(),
        (probabilities.argmax(1) != labels).astype(float).tolist(),
    )


def tied(size, levels, seed=0):
    """Returns scores of few values, and correctness that follows them."""
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, levels, size) / levels
    return scores, (generator.random(size) < 0.3 + scores / 2).astype(float)


class TestByHand:
    def test_curve(self):
        curve = selective.risk_coverage_curve(LABELS, PROBABILITIES)
        assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1]
        assert curve.risk.tolist() == [0, 1 / 2, 1 / 3, 1 / 2]
        assert curve.confidence.tolist() == [1, 0.875, 0.75, 0.625]

    def test_areas(self):
        area = (0 + 1 / 2 + 1 / 3 + 1 / 2) / 4
        assert selective.aurc(LABELS, PROBABILITIES) == pytest.approx(area)
        # Of the best order: 0, 0, 1/3, 1/2.
        excess = area - (1 / 3 + 1 / 2) / 4
        found = selective.excess_aurc(LABELS, PROBABILITIES)
        assert found == pytest.approx(excess)

    @pytest.mark.parametrize("weight", [0.05, 0.7, 2.95])
    def test_equal_weights_change_nothing(self, weight):
        confidence = np.linspace(0.99, 0.6, 30)
        probabilities = np.stack([confidence, 1 - confidence], axis=1)
        labels = np.zeros(30, int)
        labels[[5, 15, 25]] = 1
        found = selective.coverage_at_risk(
            *(labels, probabilities),
            risk=0.1,
            sample_weight=np.full(30, weight),
        )
        assert found == 1

    @pytest.mark.parametrize(
        ("risk", "coverage"),
        [(0, 0.25), (0.1, 0.25), (1 / 3, 0.75), (0.5, 1), (1, 1)],
    )
    def test_coverage_at_risk(self, risk, coverage):
        found = selective.coverage_at_risk(LABELS, PROBABILITIES, risk=risk)
        assert found == coverage

    def test_no_threshold_keeps_to_the_risk(self):
        found = selective.coverage_at_risk(1 - LABELS, PROBABILITIES, risk=0.4)
        assert found == 0

    @pytest.mark.parametrize(
        ("coverage", "risk"),
        [(0, 0), (0.25, 0), (0.26, 1 / 2), (0.75, 1 / 3), (1, 1 / 2)],
    )
    def test_risk_at_coverage(self, coverage, risk):
        found = selective.risk_at_coverage(
            LABELS, PROBABILITIES, coverage=coverage
        )
        assert found == risk

    @pytest.mark.parametrize("unit", [1, 0.2, 0.1])
    def test_the_unit_of_weights_does_not_matter(self, unit):
        probabilities = [[0.99, 0.01], [0.8, 0.2], [0.7, 0.3]]
        weights = unit * np.array([3, 2, 1])
        found = selective.risk_at_coverage(
            [0, 1, 0], probabilities, coverage=0.5, sample_weight=weights
        )
        assert found == 0

    def test_tied_examples_are_accepted_together(self):
        # Right at 0.9; one of two right at 0.8.
        bins = selective.rank_scores([0.8, 0.9, 0.8], [1, 1, 0])
        curve = selective.risk_coverage_curve(bins)
        assert curve.coverage.tolist() == [1 / 3, 1]
        assert curve.risk.tolist() == [0, 1 / 3]
        # The second is right or wrong with the same chance: 0, 1/4, 1/3.
        assert selective.aurc(bins) == pytest.approx((1 / 4 + 1 / 3) / 3)

    def test_soft_targets_are_right_in_part(self):
        targets = np.array([[0.75, 0.25], [0.5, 0.5]])
        found = selective.aurc(targets, PROBABILITIES[:2])
        assert found == pytest.approx((0.25 + 0.375) / 2)

    def test_weights_have_a_mean_of_one(self):
        # Weights 3/2 and 1/2: right up to 3/2, then 1/2 of 2 is wrong.
        bins = selective.rank_scores([2, 1], [1, 0], sample_weight=[3e6, 1e6])
        assert bins.count.tolist() == [0.5, 1.5]
        harmonic = special.digamma(3) - special.digamma(2.5)
        area = (0.5 - 1.5 * harmonic) / 2
        assert selective.aurc(bins) == pytest.approx(area, abs=1e-7)

    def test_weights_count_as_examples(self):
        labels, probabilities = metrics_test.draw(2000, 3)
        weight = np.arange(2000) % 4
        found = selective.aurc(labels, probabilities, sample_weight=weight)
        repeated = selective.aurc(
            np.repeat(labels, weight), np.repeat(probabilities, weight, axis=0)
        )
        assert found == pytest.approx(repeated, abs=1e-3)

    def test_any_score_ranks(self):
        energies = [30.0, -2.0, 7.5, 0.0]
        bins = selective.rank_scores(energies, [1, 0, 1, 1])
        assert selective.aurc(bins) == pytest.approx(1 / 16)
        curve = selective.risk_coverage_curve(bins)
        assert curve.confidence.tolist() == sorted(energies, reverse=True)


class TestReference:
    @pytest.mark.parametrize("levels", [1, 3, 40, 10**6])
    def test_scores(self, levels):
        scores, correct = tied(60, levels)
        bins = selective.rank_scores(scores, correct)
        data = scores.tolist(), (1 - correct).tolist()
        found = selective.aurc(bins)
        assert found == pytest.approx(reference.aurc(*data), abs=1e-7)
        curve = selective.risk_coverage_curve(bins)
        expected = np.transpose(reference.risk_coverage(*data))
        np.testing.assert_allclose(curve[:2], expected, atol=1e-12)

    @pytest.mark.parametrize("num_classes", [2, 10])
    def test_predictions(self, num_classes):
        data = metrics_test.draw(150, num_classes)
        expected = reference.aurc(*columns(*data))
        assert selective.aurc(*data) == pytest.approx(expected, abs=1e-7)

    def test_all_orders_of_ties_in_expectation(self):
        scores, correct = tied(40, 3)
        generator = np.random.default_rng(1)
        areas = []
        for _ in range(4000):
            order = np.lexsort((generator.random(40), -scores))
            wrong = np.cumsum(1 - correct[order])
            areas.append(np.mean(wrong / np.arange(1, 41)))
        error = np.std(areas) / np.sqrt(len(areas))
        found = selective.aurc(selective.rank_scores(scores, correct))
        assert found == pytest.approx(np.mean(areas), abs=4 * error)

    def test_digamma(self):
        x = np.array([1.0, 1.5, 2, 7, 100, 1e6])
        found = selective._digamma(x, np)
        np.testing.assert_allclose(found, special.digamma(x), atol=2e-8)


class TestEnds:
    def test_a_score_that_knows_nothing_has_the_error_rate(self):
        bins = selective.rank_scores(np.zeros(50), np.arange(50) < 40)
        assert selective.aurc(bins) == pytest.approx(0.2)

    @pytest.mark.parametrize("wrong", [0, 1, 7, 20])
    def test_best_order_has_no_excess(self, wrong):
        bins = selective.rank_scores(np.arange(20), np.arange(20) >= wrong)
        assert selective.excess_aurc(bins) == pytest.approx(0, abs=1e-8)

    def test_worst_order(self):
        bins = selective.rank_scores(np.arange(4), [1, 1, 0, 0])
        area = (1 + 1 + 2 / 3 + 1 / 2) / 4
        assert selective.aurc(bins) == pytest.approx(area)

    def test_no_examples(self):
        empty = selective.rank_scores([], [])
        for found in (
            selective.aurc(empty),
            selective.excess_aurc(empty),
            selective.coverage_at_risk(empty, risk=0.1),
            selective.risk_at_coverage(empty, coverage=0.1),
        ):
            assert np.isnan(found)
        assert selective.risk_coverage_curve(empty).risk.size == 0

    def test_invalid_examples_make_the_result_nan(self):
        spoiled = PROBABILITIES.copy()
        spoiled[2] = np.nan
        assert np.isnan(selective.aurc(LABELS, spoiled))
        found = selective.coverage_at_risk(LABELS, spoiled, risk=0.5)
        assert np.isnan(found)
        weight = [1, 1, 0, 1]
        found = selective.aurc(LABELS, spoiled, sample_weight=weight)
        assert np.isfinite(found)

    def test_ignores_a_label(self):
        labels = np.array([0, -1, 0, 1])
        found = selective.aurc(labels, PROBABILITIES, ignore_label=-1)
        kept = np.array([0, 2, 3])
        assert found == selective.aurc(LABELS[kept], PROBABILITIES[kept])


def stream(labels, probabilities, **options):
    metric = metrics.CalibrationMetrics(**options)
    return metrics_test.stream(metric, labels, probabilities)


def sure(size=5000, seed=0):
    """Predictions as of an overfitted network: most are nearly certain."""
    generator = np.random.default_rng(seed)
    logit = np.abs(generator.normal(0, 10, size))
    p = 1 / (1 + np.exp(-logit))
    labels = (generator.random(size) < 0.15 * np.exp(-logit / 6)).astype(int)
    return labels, np.stack([p, 1 - p], axis=1).astype("float32")


class TestStreaming:
    @pytest.mark.parametrize("edges", ["right", "left"])
    @pytest.mark.parametrize(
        "data", [metrics_test.draw(5000), metrics_test.draw(300, 3), sure()]
    )
    def test_exact_lies_within_the_bounds(self, data, edges):
        metric = stream(*data, edges=edges)
        low, high = selective.aurc_bounds(metric.ranked_bins())
        exact = selective.aurc(*data)
        found = metric.results()["aurc"]
        assert low - 1e-6 <= exact <= high + 1e-6
        assert low < found < high
        # Far better than the bounds promise.
        assert found == pytest.approx(exact, rel=0.01)

    def test_sure_models_need_the_fine_end(self):
        data = sure()
        metric = stream(*data)
        exact = selective.aurc(*data)
        equal = selective.aurc(metric.fine_bins())
        assert equal > 1.1 * exact
        assert metric.results()["aurc"] == pytest.approx(exact, rel=0.005)

    def test_the_class_logs_what_results_has(self):
        data = metrics_test.draw(1000)
        metric = metrics_test.stream(metrics.AURC(), *data)
        assert float(metric.result()) == pytest.approx(
            metric.results()["aurc"], abs=1e-6
        )

    def test_compiles(self):
        bins = stream(*metrics_test.draw(1000)).ranked_bins()
        table = keras.ops.stack(bins)
        area = backends.compile_function(
            lambda t: selective.area(calibration.Bins(t[0], t[1], t[2]))
        )
        found = selective.aurc(bins)
        assert float(area(table)) == pytest.approx(found, abs=1e-6)

    @pytest.mark.parametrize("edges", ["right", "left"])
    def test_edges(self, edges):
        inner = selective.ranked_edges(300, edges)
        assert inner.dtype == np.float32
        assert (np.diff(inner) > 0).all()
        equal = calibration.bin_edges(300)[1:-1]
        np.testing.assert_array_equal(inner[:299], equal)
        below = np.nextafter(np.float32(1), np.float32(0))
        assert inner[-1] == (below if edges == "right" else 1)

    @pytest.mark.parametrize("edges", ["right", "left"])
    def test_fine_bins_are_those_of_equal_width(self, edges):
        labels, probabilities = sure(1000)
        probabilities[:5] = [1, 0]
        metric = stream(labels, probabilities, edges=edges)
        expected = calibration.bin_predictions(
            labels, probabilities, num_bins=300, edges=edges
        )
        for ours, theirs in zip(metric.fine_bins(), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=backends.EXACT)

    def test_one_example_in_each_bin_is_exact(self):
        bins = selective.rank_scores([0.1, 0.2, 0.3], [1, 0, 1])
        low, high = selective.aurc_bounds(bins)
        assert low == pytest.approx(high) == pytest.approx(selective.aurc(bins))


class TestRefusals:
    @pytest.mark.parametrize("risk", [-0.1, 5, "low", np.nan])
    def test_risk(self, risk):
        with pytest.raises(ValueError, match=r"`risk`.*\[0, 1\].*Write 0.05"):
            selective.coverage_at_risk(LABELS, PROBABILITIES, risk=risk)

    def test_coverage(self):
        with pytest.raises(
            ValueError, match=r"`coverage`.*Received: coverage=80"
        ):
            selective.risk_at_coverage(LABELS, PROBABILITIES, coverage=80)

    def test_columns(self):
        with pytest.raises(ValueError, match=r"one number for each example"):
            selective.rank_scores([1, 2], [1])

    def test_tables_of_classes(self):
        table = calibration.class_bins(LABELS, PROBABILITIES)
        with pytest.raises(ValueError, match=r"one table.*\(2, 15\).*Pick a"):
            selective.aurc(table)

    def test_bins_with_options(self):
        table = selective.rank_scores([1], [1])
        with pytest.raises(ValueError, match=r"or Bins alone.*from_logits"):
            selective.aurc(table, from_logits=True)

    def test_labels_alone(self):
        with pytest.raises(ValueError, match="a list alone"):
            selective.aurc([0, 1])
