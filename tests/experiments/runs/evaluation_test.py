"""Tests of the numbers that tables are made of."""

import numpy as np
import pytest
import sklearn.metrics

from experiments.runs import evaluation
from experiments.runs import outputs
from tests import reference

PROBABILITIES = np.array(
    [[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]], "float32"
)
LABELS = np.array([0, 1, 1, 1])
SETS = ("validation", "test")


class TestMeasure:
    def test_by_hand(self):
        results = evaluation.measure(LABELS, PROBABILITIES, prefix="test_")
        # Right, wrong, right, right; confidences .9, .6, .7, .8.
        assert results["test_accuracy"] == pytest.approx(0.75)
        assert results["test_confidence"] == pytest.approx(0.75)
        assert results["test_signed_gap"] == pytest.approx(0, abs=1e-6)
        # Each in a bin of its own: (.1 + .6 + .3 + .2) / 4.
        assert results["test_ece"] == pytest.approx(0.3, abs=1e-6)
        assert results["test_ece_100"] == pytest.approx(0.3, abs=1e-6)
        # Only the wrong one is overconfident: .6 * .6 / 4.
        assert results["test_oe"] == pytest.approx(0.09, abs=1e-6)
        nll = -np.log([0.9, 0.4, 0.7, 0.8]).mean()
        assert results["test_nll"] == pytest.approx(nll, rel=1e-5)
        # Both columns miss by .1, .6, .3 and .2: 2 * .5 / 4.
        assert results["test_brier"] == pytest.approx(0.25, abs=1e-6)

    @pytest.mark.parametrize(("suffix", "bins"), [("", 15), ("_100", 100)])
    def test_equals_the_reference(self, suffix, bins):
        generator = np.random.default_rng(0)
        probabilities = generator.dirichlet(np.ones(5), 300).astype("float32")
        labels = generator.integers(5, size=300)
        results = evaluation.measure(labels, probabilities, prefix="")
        expected = reference.expected_calibration_error(
            labels, probabilities, bins
        )
        assert results[f"ece{suffix}"] == pytest.approx(expected, abs=1e-6)

    def test_certain_mistakes_cost_16_nats(self):
        # Two of four examples give the true class nothing, as isotonic may.
        certain = np.eye(2, dtype="float32")[[0, 1, 0, 1]]
        found = evaluation.measure(np.array([0, 1, 1, 0]), certain, prefix="")
        assert found["nll"] == pytest.approx(16.118 / 2, rel=1e-4)

    def test_top_5_of_more_than_10_classes_by_hand(self):
        # Of eleven classes 10 is the likeliest, 6 the fifth.
        row = np.arange(1.0, 12.0, dtype="float32")
        probabilities = np.tile(row / row.sum(), (4, 1))
        labels = np.array([10, 6, 5, 0])
        results = evaluation.measure(labels, probabilities, prefix="test_")
        assert results["test_accuracy"] == 0.25
        assert results["test_top5_accuracy"] == 0.5
        ten = evaluation.measure(labels % 10, np.full((4, 10), 0.1), prefix="")
        assert "top5_accuracy" not in ten

    def test_top_accuracy_equals_scikit_learn(self):
        rng = np.random.default_rng(0)
        values = rng.normal(size=(200, 12)).astype("float32")
        labels = rng.integers(12, size=200)
        for k in (1, 5):
            expected = sklearn.metrics.top_k_accuracy_score(
                labels, values, k=k, labels=np.arange(12)
            )
            found = evaluation.top_accuracy(labels, values, k)
            assert found == pytest.approx(expected)

    def test_errors_of_bins_are_the_references(self):
        results = evaluation.measure(LABELS, PROBABILITIES, prefix="test_")
        for name, error in (
            ("test_ace", reference.average_calibration_error),
            ("test_mce", reference.maximum_calibration_error),
        ):
            expected = error(LABELS, PROBABILITIES, 15)
            assert results[name] == pytest.approx(expected, abs=1e-6)

    def test_null_of_few_rows_in_many_bins_is_not_zero(self):
        results = evaluation.measure(LABELS, PROBABILITIES, prefix="")
        assert results["null_ece_100"] > 0.1
        assert all(isinstance(value, float) for value in results.values())


class TestMeasureTraining:
    def test_by_hand(self):
        labels = np.array([0, 1, 2, 0, 1])
        logits = np.array(
            [[5, 1, 0], [1, 3, 2], [4, 0, 2], [6, 5, -9], [0, 1, 2]], "float32"
        )
        corrupted = np.array([False, False, True, True, False])
        results = evaluation.measure_training(labels, logits, corrupted)
        # Right are rows 0, 1 and 3; of the redrawn 2 and 3, one.
        assert results == {
            "train_first_logit": pytest.approx((5 + 3 + 4 + 6 + 2) / 5),
            "train_second_logit": pytest.approx((1 + 2 + 2 + 5 + 1) / 5),
            "train_accuracy": pytest.approx(3 / 5),
            "train_real_accuracy": pytest.approx(2 / 3),
            "train_corrupted_accuracy": pytest.approx(1 / 2),
        }

    @pytest.mark.parametrize("all_of_them", [False, True])
    def test_tells_no_kinds_apart_where_there_is_one(self, all_of_them):
        corrupted = np.full(2, all_of_them)
        logits = np.array([[1.0, 0.0], [1.0, 0.0]])
        results = evaluation.measure_training(LABELS[:2], logits, corrupted)
        assert results["train_accuracy"] == 0.5
        assert "train_real_accuracy" not in results


class TestMeasureEpochs:
    def test_by_hand(self):
        history = {"val_accuracy": [0.2, 0.75, 0.5]}
        results = evaluation.measure_epochs(history)
        assert not any(name.startswith("test") for name in results)
        assert results["validation_best_accuracy"] == 0.75
        assert results["validation_gain_of_best"] == pytest.approx(0.25)
        assert results["validation_median_accuracy"] == 0.5

    def test_median_is_of_the_last_ten(self):
        accuracies = [0.9] * 20 + [0.1] * 4 + [0.2, 0.4] + [0.8] * 4
        history = {"val_accuracy": [0.5], "test_accuracy": accuracies}
        results = evaluation.measure_epochs(history)
        assert results["validation_median_accuracy"] == 0.5
        assert results["test_median_accuracy"] == pytest.approx(0.3)
        assert results["test_best_accuracy"] == 0.9
        assert results["test_gain_of_best"] == pytest.approx(0.1)
        alone = evaluation.measure_epochs(history, ("test",))
        assert alone.keys() == {name for name in results if "test" in name}

    def test_nothing_is_lost_where_the_last_is_best(self):
        results = evaluation.measure_epochs({"val_accuracy": [0.2, 0.5]})
        assert results["validation_gain_of_best"] == 0


class TestMeasureOod:
    def test_by_hand(self):
        inside, outside = np.array([0.9, 0.8]), np.array([0.5, 0.85])
        results = evaluation.measure_ood(inside, outside, prefix="mnist_")
        assert results["mnist_confidence"] == pytest.approx(0.675)
        # Of the four pairs only (.8, .85) is in the wrong order.
        assert results["mnist_auroc"] == pytest.approx(0.75)
        # Precision 1 at recall 1/2, 2/3 at recall 1.
        assert results["mnist_aupr"] == pytest.approx((1 + 2 / 3) / 2)
        # All of the inside are found at .8, with half of the outside.
        assert results["mnist_fpr95"] == pytest.approx(0.5)


class TestMeasureScores:
    def test_by_hand(self):
        # Energies near 9, 5 inside, 1, 7 outside; all nearly certain.
        inside = np.array([[9.0, -9.0], [5.0, -5.0]])
        outside = np.array([[1.0, -9.0], [7.0, -9.0]])
        results = evaluation.measure_scores(
            inside, outside, prefix="mnist_", raw=True
        )
        for name in ("energy", "max_logit"):
            assert results[f"mnist_auroc_{name}"] == 0.75
            assert results[f"mnist_fpr95_{name}"] == 0.5
        # By entropy the margins 18, 10 and 10, 16 count: one tie.
        assert results["mnist_auroc_entropy"] == pytest.approx(0.625)
        assert len(results) == 6
        # Logarithms of probabilities have no energy.
        results = evaluation.measure_scores(
            inside, outside, prefix="mnist_", raw=False
        )
        assert list(results) == ["mnist_auroc_entropy", "mnist_fpr95_entropy"]


class TestMeasurePosterior:
    def test_by_hand(self):
        truth = np.array([[0.5, 0.5], [0.2, 0.8]])
        predicted = np.array([[0.75, 0.25], [0.4, 0.6]])
        results = evaluation.measure_posterior(truth, predicted)
        # Entropies log(2) and -(.2 log .2 + .8 log .8).
        entropies = [np.log(2), -(0.2 * np.log(0.2) + 0.8 * np.log(0.8))]
        assert results["bayes_nll"] == pytest.approx(np.mean(entropies))
        # .5 log(.5/.75) + .5 log(.5/.25) = .5 log(4/3), and
        # .2 log(.2/.4) + .8 log(.8/.6) = .8 log(4/3) - .2 log(2).
        divergences = [
            0.5 * np.log(4 / 3),
            0.8 * np.log(4 / 3) - 0.2 * np.log(2),
        ]
        assert results["bayes_kl"] == pytest.approx(np.mean(divergences))
        # Predicted are classes 0 and 1: |.75 - .5| and |.6 - .8|.
        assert results["bayes_gap"] == pytest.approx(0.225)

    def test_equals_the_reference(self):
        rng = np.random.default_rng(0)
        truth, predicted = rng.dirichlet(np.ones(4), (2, 200))
        results = evaluation.measure_posterior(truth, predicted)
        assert results["bayes_nll"] == pytest.approx(
            reference.label_entropy(truth).mean()
        )
        assert results["bayes_kl"] == pytest.approx(
            reference.posterior_divergence(truth, predicted)
        )
        assert results["bayes_gap"] == pytest.approx(
            reference.posterior_gap(truth, predicted)
        )

    def test_the_truth_itself_costs_nothing(self):
        truth = np.random.default_rng(0).dirichlet(np.ones(3), 50)
        results = evaluation.measure_posterior(truth, truth)
        assert results["bayes_kl"] == pytest.approx(0, abs=1e-12)
        assert results["bayes_gap"] == 0

    def test_nll_is_the_truths_and_what_is_lost(self):
        # Cross-entropy = entropy + divergence, for labels drawn exactly.
        truth = np.array([[0.25, 0.75]] * 4)
        predicted = np.array([[0.1, 0.9]] * 4, "float32")
        results = evaluation.measure_posterior(truth, predicted)
        nll = reference.negative_log_likelihood([0, 1, 1, 1], predicted)
        assert results["bayes_nll"] + results["bayes_kl"] == pytest.approx(nll)

    def test_certainty_is_finite(self):
        sure = np.array([[1.0, 0.0], [0.0, 1.0]])
        wrong = sure[::-1].astype("float32")
        right = evaluation.measure_posterior(sure, sure)
        assert right["bayes_nll"] == right["bayes_kl"] == 0
        lost = evaluation.measure_posterior(sure, wrong)
        # The logarithm of float32's smallest normal number.
        assert lost["bayes_kl"] == pytest.approx(87.3365, abs=1e-4)
        assert lost["bayes_gap"] == 1


class TestMeasureOutputs:
    def test_measures_the_posterior_where_it_is_known(self):
        logits = {name: np.log(PROBABILITIES) for name in SETS}
        labels = dict.fromkeys(SETS, LABELS)
        truth = np.full((4, 2), 0.5)
        known, unknown = (
            evaluation.measure_outputs(outputs.Outputs(logits, labels, each))
            for each in (truth, None)
        )
        assert known["bayes_nll"] == pytest.approx(np.log(2))
        # Confidences .9, .6, .7 and .8 where the truth is .5.
        assert known["bayes_gap"] == pytest.approx(0.25)
        assert set(known) - set(unknown) == {
            "bayes_nll",
            "bayes_kl",
            "bayes_gap",
        }
        assert unknown["test_nll"] == unknown["validation_nll"]


class TestFindChance:
    @pytest.mark.parametrize(
        ("hits", "warned"), [(0, True), (10, True), (15, True), (17, False)]
    )
    def test_warns_within_the_interval_around_chance(self, hits, warned):
        labels = np.repeat(np.arange(10), 10)
        classes = (labels + 1) % 10
        classes[:hits] = labels[:hits]
        warnings = evaluation.find_chance(labels, classes)
        assert len(warnings) == warned
        if warned:
            assert f"test accuracy of {hits}.0% is no better" in warnings[0]
            assert "frequent class is 10.0% of the test" in warnings[0]
            assert "Lower --learning_rate" in warnings[0]

    def test_chance_is_the_share_of_the_most_frequent_class(self):
        labels = np.repeat([0, 1], [90, 10])
        assert evaluation.find_chance(labels, np.zeros(100, int))
        assert not evaluation.find_chance(labels, labels)
