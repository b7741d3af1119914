"""Tests of the overlapping Gaussians against closed forms and draws."""

import math

import keras
import numpy as np
import pytest
from scipy import integrate
from scipy import special

from experiments import datasets
from experiments.datasets import gaussians
from experiments.runs import config as config_lib
from experiments.runs import training
from tests import reference

# What the paper's three distances cost at least.
KNOWN = [(0.25, 0.015, 0.041), (0.05, 0.333, 0.607), (0.01, 0.466, 0.689)]


@pytest.fixture(scope="module")
def overlapping():
    """Returns the data of the middle distance."""
    return datasets.load("gaussians:0.05", seed=3)


def bayes_error(mu):
    """Returns the least error: the best border lies halfway."""
    return special.ndtr(-mu * math.sqrt(gaussians.DIMENSIONS) / 2)


def bayes_nll(mu):
    """Returns the least likelihood, in nats.

    With means `d` apart the log-odds of the true class are `N(d**2/2, d**2)`.
    """
    distance = mu * math.sqrt(gaussians.DIMENSIONS)

    def integrand(normal):
        log_odds = distance**2 / 2 + distance * normal
        density = math.exp(-(normal**2) / 2) / math.sqrt(2 * math.pi)
        return density * np.logaddexp(0.0, -log_odds)

    return integrate.quad(integrand, -40, 40)[0]


class TestClosedForms:
    @pytest.mark.parametrize(("mu", "error", "nll"), KNOWN)
    def test_at_the_papers_distances(self, mu, error, nll):
        # Half a unit of the last printed digit.
        assert bayes_error(mu) == pytest.approx(error, abs=6e-4)
        assert bayes_nll(mu) == pytest.approx(nll, abs=6e-4)

    @pytest.mark.parametrize("mu", [mu for mu, _, _ in KNOWN])
    def test_equal_what_is_drawn(self, mu):
        splits = datasets.load(f"gaussians:{mu}", seed=0)
        labels = splits.test.labels
        chosen = splits.test_posterior[np.arange(len(labels)), labels]
        for values, expected in [
            (chosen < 0.5, bayes_error(mu)),
            (-np.log(chosen), bayes_nll(mu)),
        ]:
            noise = np.std(values) / math.sqrt(len(labels))
            assert abs(np.mean(values) - expected) < 4 * noise


class TestPosterior:
    def test_halfway_is_even(self):
        halfway = np.full((1, 300), 0.125)
        np.testing.assert_allclose(
            gaussians.posterior(halfway, 0.25), [[0.5, 0.5]]
        )

    def test_at_a_mean_by_hand(self):
        # 300 * .1**2 / 2 = 1.5 nats for the nearer class.
        p = 1 / (1 + math.exp(-1.5))
        at_means = np.array([[0.0] * 300, [0.1] * 300])
        np.testing.assert_allclose(
            gaussians.posterior(at_means, 0.1), [[p, 1 - p], [1 - p, p]]
        )

    def test_equals_the_ratio_of_densities(self):
        rows = np.random.default_rng(0).normal(size=(50, 7)).astype("float32")
        expected = [
            reference.gaussian_posterior(row, [[0] * 7, [0.6] * 7])
            for row in rows
        ]
        np.testing.assert_allclose(
            gaussians.posterior(rows, 0.6), expected, rtol=1e-10
        )

    def test_small_probabilities_are_kept(self):
        sure = gaussians.posterior(np.zeros((1, 300)), 1.0)
        np.testing.assert_allclose(sure, [[1, math.exp(-150)]])

    def test_says_how_often_labels_occur(self, overlapping):
        # Calibrated on each half of its range, not only in the mean.
        p = overlapping.test_posterior[:, 1]
        for part in (p < 0.5, p >= 0.5):
            surprise = overlapping.test.labels[part] - p[part]
            noise = math.sqrt(np.sum(p[part] * (1 - p[part])))
            assert abs(surprise.sum()) < 4 * noise


class TestLoad:
    def test_sizes_and_types(self, overlapping):
        sizes = [
            part.inputs.shape
            for part in (
                overlapping.train,
                overlapping.validation,
                overlapping.test,
            )
        ]
        assert sizes == [(3600, 300), (400, 300), (10_000, 300)]
        assert overlapping.train.inputs.dtype == np.float32
        assert overlapping.train.labels.dtype == np.int32
        assert overlapping.num_classes == 2
        assert (overlapping.mean, overlapping.std) == ((0.0,), (1.0,))
        assert overlapping.test_posterior.shape == (10_000, 2)
        assert not overlapping.corrupted.any()

    def test_classes_have_their_means_and_unit_variance(self, overlapping):
        for label, mean in [(0, 0.0), (1, 0.05)]:
            rows = overlapping.test.inputs[overlapping.test.labels == label]
            noise = 1 / math.sqrt(rows.size)
            assert abs(rows.mean() - mean) < 4 * noise
            assert rows.std() == pytest.approx(1, abs=0.01)
            assert abs(len(rows) - 5_000) < 4 * 50

    def test_features_are_independent(self, overlapping):
        rows = overlapping.test.inputs[overlapping.test.labels == 0]
        correlation = np.corrcoef(rows[:, :20].T) - np.eye(20)
        assert np.abs(correlation).max() < 5 / math.sqrt(len(rows))

    def test_every_seed_has_data_of_its_own(self, overlapping):
        same, other = (
            datasets.load("gaussians:0.05", seed=seed) for seed in (3, 4)
        )
        for part in ("train", "validation", "test"):
            mine, equal, fresh = (
                getattr(each, part).inputs
                for each in (overlapping, same, other)
            )
            np.testing.assert_array_equal(mine, equal)
            assert not np.any(mine[:, 0] == fresh[:, 0])

    def test_one_seed_has_one_noise_for_every_distance(self, overlapping):
        far = datasets.load("gaussians:1", seed=3)
        np.testing.assert_array_equal(
            far.train.labels, overlapping.train.labels
        )
        np.testing.assert_allclose(
            far.train.inputs - overlapping.train.inputs,
            0.95 * far.train.labels[:, np.newaxis] * np.ones((1, 300)),
            atol=1e-5,
        )

    def test_no_row_stands_twice(self, overlapping):
        first = np.concatenate(
            [
                part.inputs[:, :2]
                for part in (
                    overlapping.train,
                    overlapping.validation,
                    overlapping.test,
                )
            ]
        )
        assert len(np.unique(first, axis=0)) == 14_000

    def test_fewer_training_rows_leave_the_rest_alone(self, overlapping):
        few = datasets.load(
            "gaussians:0.05", seed=3, num_train=100, num_validation=400
        )
        np.testing.assert_array_equal(
            few.train.inputs, overlapping.train.inputs[:100]
        )
        np.testing.assert_array_equal(
            few.validation.inputs, overlapping.validation.inputs
        )
        np.testing.assert_array_equal(few.test.inputs, overlapping.test.inputs)

    def test_labels_may_be_corrupted(self, overlapping):
        noisy = datasets.load(
            "gaussians:0.05",
            seed=3,
            corruption=1.0,
            corruption_kind="class_map",
        )
        np.testing.assert_array_equal(
            noisy.train.labels, 1 - overlapping.train.labels
        )
        np.testing.assert_array_equal(
            noisy.test.labels, overlapping.test.labels
        )

    @pytest.mark.parametrize("mu", ["-0.1", "nan", "inf", "far", ""])
    def test_refuses_what_is_no_distance(self, mu):
        with pytest.raises(
            ValueError,
            match=rf"`mu` must be a finite .*mu='?{mu}'?. Write e",
        ):
            datasets.load(f"gaussians:{mu}")

    def test_refuses_more_rows_than_are_drawn(self):
        with pytest.raises(ValueError, match="must fit into 4000 examples"):
            datasets.load("gaussians:0.25", num_train=3_601)

    def test_other_names_are_pointed_to_it(self):
        with pytest.raises(ValueError, match=r"or gaussians:MU for"):
            datasets.load("gaussian")

    def test_is_no_set_of_images(self):
        with pytest.raises(ValueError, match="Sets out of distribution are"):
            datasets.load_ood("gaussians:0.25", input_shape=(8, 8, 1))


@pytest.mark.slow
class TestRun:
    @pytest.mark.parametrize(
        ("method", "placement"),
        [
            ("mixup", "model"),
            ("erm", "host"),
        ],
    )
    def test_trains_on_features(self, tmp_path, method, placement):
        config = config_lib.Config(
            dataset="gaussians:0.25",
            network="mlp",
            width=32,
            method=method,
            alpha=1.0,
            placement=placement,
            optimizer="adam",
            learning_rate=1e-2,
            schedule="constant",
            weight_decay=0.0,
            batch_size=500,
            epochs=2,
            num_validation=400,
        )
        record = training.run(config, tmp_path)
        results = record["results"]
        assert results["test_accuracy"] > 0.9
        assert results["bayes_nll"] == pytest.approx(0.041, abs=0.003)
        # What a network loses is lost on average over labels too.
        assert results["test_nll"] == pytest.approx(
            results["bayes_nll"] + results["bayes_kl"], abs=0.02
        )
        assert not (tmp_path / "logs" / "mixing").exists()
        # The saved network takes raw features.
        splits = datasets.load("gaussians:0.25")
        network = keras.saving.load_model(tmp_path / "model.keras")
        classes = network.predict(splits.test.inputs, verbose=0).argmax(-1)
        accuracy = np.mean(classes == splits.test.labels)
        assert accuracy == pytest.approx(results["test_accuracy"])
