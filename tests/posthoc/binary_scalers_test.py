"""Platt scaling and beta calibration."""

import copy
import json

import keras
import numpy as np
import pytest
from sklearn import calibration as sklearn_calibration
from sklearn import frozen
from sklearn import linear_model

from tests import reference
from tf_mixup import posthoc

BOTH = [posthoc.PlattScaling, posthoc.BetaCalibration]


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.asarray(logits, "float64")))


def log_odds(share):
    return np.log(share / (1 - share))


def draw(size=400, weight=0.5, bias=-1.0, seed=0):
    """Returns logits and labels drawn from sigmoid(weight * logit + bias)."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.normal(size=size)
    labels = generator.random(size) < sigmoid(weight * logits + bias)
    return logits, labels.astype("int64")


def nll(targets, logits):
    p = sigmoid(logits)
    return -np.mean(targets * np.log(p) + (1 - targets) * np.log1p(-p))


def beta(logits, a, b, c):
    return a * np.log(sigmoid(logits)) - b * np.log(sigmoid(-logits)) + c


class TestPlattScaling:
    @pytest.mark.parametrize("smooth", [True, False])
    def test_two_logits_by_hand(self, smooth):
        # Of 10 examples with logit -1 two are of class 1, of 10 with 3 seven.
        logits = np.repeat([-1.0, 3.0], 10)
        labels = np.array([1] * 2 + [0] * 8 + [1] * 7 + [0] * 3)
        low, high = (1 / 13, 10 / 11) if smooth else (0, 1)
        shares = [low + (high - low) * share for share in (0.2, 0.7)]
        scaler = posthoc.PlattScaling(smooth).fit(logits, labels)
        weight = (log_odds(shares[1]) - log_odds(shares[0])) / 4
        assert scaler.weight == pytest.approx(weight, rel=1e-8)
        assert scaler.bias == pytest.approx(log_odds(shares[0]) + weight)
        np.testing.assert_allclose(
            scaler.apply([-1.0, 3.0])[:, 1], shares, atol=1e-6
        )

    @pytest.mark.filterwarnings("ignore:Since FrozenEstimator")
    @pytest.mark.parametrize("weighted", [False, True])
    def test_equals_scikit_learn(self, weighted):
        logits, labels = draw()
        weight = np.ones(len(labels))
        if weighted:
            weight = np.random.default_rng(1).random(len(labels))
            weight /= weight.mean()
        identity = linear_model.LogisticRegression()
        identity.fit(logits[:, None], labels)
        identity.coef_, identity.intercept_ = np.ones((1, 1)), np.zeros(1)
        theirs = sklearn_calibration.CalibratedClassifierCV(
            frozen.FrozenEstimator(identity), method="sigmoid"
        )
        theirs.fit(logits[:, None], labels, sample_weight=weight)
        found = posthoc.PlattScaling().fit(logits, labels, sample_weight=weight)
        np.testing.assert_allclose(
            found.apply(logits),
            theirs.predict_proba(logits[:, None]),
            atol=1e-6,
        )

    def test_separated_classes_have_an_optimum(self):
        logits, labels = np.array([-2.0, -1, 1, 2]), [0, 0, 1, 1]
        scaler = posthoc.PlattScaling().fit(logits, labels)
        # Of targets 1/4 and 3/4.
        assert 0 < scaler.weight < 2
        np.testing.assert_allclose(
            scaler.apply(logits)[:, 1].sum(), 2, atol=1e-6
        )
        for labels in ([0, 0, 1, 1], [1, 1, 0, 0]):
            with pytest.raises(ValueError, match=r"overlap.*smooth_targets="):
                posthoc.PlattScaling(False).fit(logits, labels)

    def test_warns_of_swapped_labels(self):
        logits, labels = draw(bias=0)
        with pytest.warns(UserWarning, match="below 0.*swapped labels"):
            scaler = posthoc.PlattScaling().fit(logits, 1 - labels)
        right = posthoc.PlattScaling().fit(logits, labels)
        np.testing.assert_allclose(
            scaler.apply(logits), 1 - right.apply(logits), atol=1e-6
        )


class TestBetaCalibration:
    def test_three_targets_are_met(self):
        # Three equations for a, b and c.
        logits = np.array([-2.0, 0.5, 3.0])
        targets = sigmoid(beta(logits, 0.7, 0.2, -0.4))
        scaler = posthoc.BetaCalibration().fit(logits, targets)
        found = scaler.a, scaler.b, scaler.c
        assert found == pytest.approx((0.7, 0.2, -0.4), rel=1e-5)
        np.testing.assert_allclose(
            scaler.apply(logits)[:, 1], targets, atol=1e-6
        )

    def test_equals_logistic_regression_on_the_logarithms(self):
        logits, labels = draw()
        features = np.stack(
            [np.log(sigmoid(logits)), -np.log(sigmoid(-logits))], axis=-1
        )
        theirs = linear_model.LogisticRegression(
            C=np.inf, tol=1e-12, solver="newton-cholesky"
        ).fit(features, labels)
        found = posthoc.BetaCalibration().fit(logits, labels)
        assert (found.a, found.b) == pytest.approx(theirs.coef_[0], rel=1e-6)
        assert found.c == pytest.approx(theirs.intercept_[0], rel=1e-6)

    @pytest.mark.parametrize(
        ("truth", "zero"), [((-0.5, 1.0), "a"), ((1.0, -0.5), "b")]
    )
    def test_bound_is_the_best_within(self, truth, zero):
        generator = np.random.default_rng(0)
        logits = 2 * generator.normal(size=200)
        targets = sigmoid(beta(logits, *truth, 0.3))
        scaler = posthoc.BetaCalibration().fit(logits, targets)
        assert getattr(scaler, zero) == 0
        reached = nll(targets, beta(logits, scaler.a, scaler.b, scaler.c))
        for _ in range(300):
            step = 0.05 * generator.normal(size=3)
            a, b, c = np.array([scaler.a, scaler.b, scaler.c]) + step
            other = beta(logits, max(a, 0), max(b, 0), c)
            assert reached <= nll(targets, other)

    def test_swapped_labels_leave_the_frequency(self):
        logits, labels = draw(weight=1)
        scaler = posthoc.BetaCalibration().fit(logits, 1 - labels)
        assert scaler.a == scaler.b == 0
        np.testing.assert_allclose(
            scaler.apply(logits)[:, 0], labels.mean(), atol=1e-6
        )

    def test_separated_classes_need_smooth_targets(self):
        logits, labels = np.array([-2.0, -1, 1, 2]), [0, 0, 1, 1]
        with pytest.raises(ValueError, match=r"overlap.*smooth_targets=True"):
            posthoc.BetaCalibration().fit(logits, labels)
        found = posthoc.BetaCalibration(True).fit(logits, labels)
        platt = posthoc.PlattScaling().fit(logits, labels)
        np.testing.assert_allclose(
            found.apply(logits), platt.apply(logits), atol=1e-5
        )


@pytest.mark.parametrize("kind", BOTH)
class TestBoth:
    def test_calibrated_predictions_stay(self, kind):
        logits, _ = draw()
        scaler = kind(smooth_targets=False).fit(logits, sigmoid(logits))
        assert scaler.parameters == pytest.approx((1, 1, 0), abs=1e-5)

    def test_forms_agree(self, kind):
        logits, labels = draw()
        two = np.stack([-0.25 * logits, 0.75 * logits], axis=-1)
        one = kind().fit(logits, labels)
        for given, target in (
            (logits[:, None], labels[:, None]),
            (two, labels),
            (two, np.eye(2)[labels]),
        ):
            other = kind().fit(given, target)
            assert other.parameters == pytest.approx(one.parameters, rel=1e-5)
            np.testing.assert_allclose(
                other.apply(given), one.apply(logits), atol=1e-6
            )

    def test_weights_repeat(self, kind):
        logits, labels = draw()
        weight = np.random.default_rng(1).integers(0, 3, len(labels))
        weighted = kind(smooth_targets=False)
        weighted.fit(logits, labels, sample_weight=weight)
        repeated = kind(smooth_targets=False)
        repeated.fit(np.repeat(logits, weight), np.repeat(labels, weight))
        assert weighted.parameters == pytest.approx(
            repeated.parameters, rel=1e-6
        )

    def test_constant_logits_give_the_frequency(self, kind):
        labels = np.array([0, 1, 1, 1])
        scaler = kind(smooth_targets=False).fit(np.full(4, 7.0), labels)
        np.testing.assert_allclose(scaler.apply([7.0]), [[0.25, 0.75]])

    def test_large_logits_are_exact(self, kind):
        logits, labels = draw()
        scaler = kind().fit(100 * logits, labels)
        assert np.isfinite(scaler.parameters).all()
        found = scaler.apply([-1e4, 1e4])
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)

    @pytest.mark.parametrize("activation", ["sigmoid", None, "softmax"])
    def test_model_predicts_the_same(self, kind, activation, tmp_path):
        generator = np.random.default_rng(0)
        x = generator.normal(size=(100, 3)).astype("float32")
        labels = (x[:, 0] + generator.normal(size=100) > 1).astype("int32")
        units = 2 if activation == "softmax" else 1
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(units, activation)]
        )
        scaler = kind()
        calibrated = posthoc.calibrate(model, scaler, (x, labels))
        kernel, bias = model.get_weights()
        found = calibrated.predict(x, verbose=0)
        np.testing.assert_allclose(
            found, scaler.apply(x @ kernel + bias), atol=1e-6
        )
        path = tmp_path / "calibrated.keras"
        calibrated.save(path)
        loaded = keras.saving.load_model(path)
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), found)
        # It ends with a softmax, which other tools recognize.
        again = posthoc.TemperatureScaling()
        posthoc.calibrate(loaded, again, (x, labels))
        assert again.temperature == pytest.approx(1, abs=0.15)

    def test_config_and_copies(self, kind):
        logits, labels = draw()
        scaler = kind(smooth_targets=True)
        assert "not fitted" in repr(scaler)
        scaler.fit(logits, labels)
        config = json.loads(json.dumps(scaler.get_config()))
        for twin in (kind.from_config(config), copy.deepcopy(scaler)):
            assert repr(twin) == repr(scaler)
            np.testing.assert_array_equal(
                twin.apply(logits), scaler.apply(logits)
            )

    def test_refuses_several_classes(self, kind):
        logits = np.random.default_rng(0).normal(size=(9, 3))
        message = r"two classes.*of 3 classes.*VectorScaling.*LabelwiseScaling"
        with pytest.raises(ValueError, match=message):
            kind().fit(logits, np.arange(9) % 3)

    def test_refuses_a_word_for_smoothing(self, kind):
        with pytest.raises(ValueError, match="`smooth_targets` must be True"):
            kind("no")


def test_platt_scaling_corrects_what_a_temperature_cannot():
    logits, labels = draw(4000)
    shares = {
        name: reference.negative_log_likelihood(
            labels, np.clip(scaler.fit(logits, labels).apply(logits), 1e-9, 1)
        )
        for name, scaler in (
            ("temperature", posthoc.TemperatureScaling()),
            ("platt", posthoc.PlattScaling()),
        )
    }
    assert shares["platt"] < 0.95 * shares["temperature"]
