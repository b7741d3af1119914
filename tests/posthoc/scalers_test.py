"""Tests of the scalers, from logits to calibrated probabilities."""

import copy
import json
import pickle
import warnings

import keras
import numpy as np
import pytest

from tests import backends
from tests import reference
from tf_mixup import posthoc
from tf_mixup._models import output_layers
from tf_mixup.posthoc import scalers

SCALERS = [
    posthoc.TemperatureScaling,
    posthoc.VectorScaling,
    posthoc.IsotonicScaling,
]


def draw(num_rows=60, num_classes=3, seed=0, weight=1.0, bias=0.0):
    """Returns logits and labels drawn from softmax(weight * logits + bias)."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.normal(size=(num_rows, num_classes))
    truth = reference.softmax(weight * logits + bias)
    labels = [generator.choice(num_classes, p=row) for row in truth]
    return logits.astype("float32"), np.array(labels)


def softmax(logits):
    """Returns the float32 probabilities that the scalers see, as float64."""
    return np.float64(keras.ops.convert_to_numpy(keras.ops.softmax(logits)))


def nll(labels, logits):
    return reference.negative_log_likelihood(labels, reference.softmax(logits))


def build(units=3, activation=None):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(units, activation)]
    )


class TestTemperatureScaling:
    @pytest.mark.parametrize("margin", [0.1, 1.0, 20.0])
    @pytest.mark.parametrize("right", [6, 7, 9])
    def test_two_classes_by_hand(self, margin, right):
        # Each row says class 0 by the same margin, and is right so often:
        # the probability must be that share, so margin / T = its log-odds.
        logits = np.tile([margin, 0.0], (10, 1))
        labels = np.array([0] * right + [1] * (10 - right))
        scaler = posthoc.TemperatureScaling().fit(logits, labels)
        log_odds = np.log(right / (10 - right))
        assert scaler.temperature == pytest.approx(margin / log_odds, rel=1e-6)
        np.testing.assert_allclose(
            scaler.apply(logits)[:, 0], right / 10, atol=1e-6
        )

    @pytest.mark.parametrize("weight", [0.2, 1.0, 4.0])
    def test_no_temperature_of_a_grid_is_better(self, weight):
        logits, labels = draw(weight=weight)
        scaler = posthoc.TemperatureScaling().fit(logits, labels)
        reached = nll(labels, logits / scaler.temperature)
        grid = scaler.temperature * np.geomspace(0.5, 2, 200)
        best = min(nll(labels, logits / temperature) for temperature in grid)
        assert best - 1e-5 < reached <= best

    def test_probabilities_are_of_divided_logits(self):
        logits, labels = draw()
        scaler = posthoc.TemperatureScaling().fit(logits, labels)
        np.testing.assert_allclose(
            scaler.apply(logits),
            reference.softmax(logits / scaler.temperature),
            atol=1e-6,
        )

    def test_finds_the_scale_of_true_logits(self):
        logits, labels = draw(4000)
        scaler = posthoc.TemperatureScaling().fit(3 * logits, labels)
        assert scaler.temperature == pytest.approx(3, rel=0.05)

    @pytest.mark.parametrize("factor", [0.1, 7.0, 50.0])
    def test_temperature_scales_as_logits_do(self, factor):
        logits, labels = draw()
        one = posthoc.TemperatureScaling().fit(logits, labels)
        other = posthoc.TemperatureScaling().fit(factor * logits, labels)
        assert other.temperature / one.temperature == pytest.approx(
            factor, rel=1e-5
        )

    def test_sigmoid_equals_two_columns(self):
        logits, labels = draw(num_classes=2)
        column = logits[:, 1] - logits[:, 0]
        two = posthoc.TemperatureScaling().fit(logits, labels)
        for shape in [(-1,), (-1, 1)]:
            one = posthoc.TemperatureScaling()
            one.fit(column.reshape(shape), labels)
            assert one.temperature == pytest.approx(two.temperature, rel=1e-5)
            np.testing.assert_allclose(
                one.apply(column.reshape(shape)), two.apply(logits), atol=1e-6
            )

    def test_soft_targets_are_met(self):
        # The targets are the probabilities of temperature 2.
        logits, _ = draw()
        targets = reference.softmax(logits / 2).astype("float32")
        scaler = posthoc.TemperatureScaling().fit(logits, targets)
        assert scaler.temperature == pytest.approx(2, rel=1e-5)

    def test_one_hot_targets_equal_ids(self):
        logits, labels = draw()
        ids = posthoc.TemperatureScaling().fit(logits, labels[:, None])
        hot = posthoc.TemperatureScaling().fit(logits, np.eye(3)[labels])
        assert ids.temperature == pytest.approx(hot.temperature, rel=1e-9)

    def test_helps_a_real_classifier(self):
        from sklearn import datasets
        from sklearn import linear_model

        images, labels = datasets.load_digits(return_X_y=True)
        model = linear_model.LogisticRegression(C=10, max_iter=300)
        model.fit(images[:200] / 16, labels[:200])
        # Four times too sure of itself.
        logits = 4 * model.decision_function(images / 16)
        held_out, test = slice(200, 900), slice(900, None)
        scaler = posthoc.TemperatureScaling()
        scaler.fit(logits[held_out], labels[held_out])
        before = nll(labels[test], np.clip(logits[test], -300, 300))
        after = nll(labels[test], logits[test] / scaler.temperature)
        assert scaler.temperature > 2
        assert after < 0.7 * before

    def test_separable_classes_end_at_the_low_bound(self):
        logits = np.eye(3)[[0, 1, 2, 0]]
        scaler = posthoc.TemperatureScaling(bounds=(0.5, 2))
        with pytest.warns(UserWarning, match=r"at a bound: 0\.5"):
            scaler.fit(logits, [0, 1, 2, 0])
        assert scaler.temperature == 0.5
        assert scaler.at_bound

    def test_misleading_logits_end_at_the_high_bound(self):
        logits, labels = draw()
        scaler = posthoc.TemperatureScaling()
        with pytest.warns(UserWarning, match="at a bound: 1000"):
            scaler.fit(-logits, labels)
        assert scaler.at_bound
        np.testing.assert_allclose(scaler.apply(logits), 1 / 3, atol=0.01)

    def test_says_nothing_between_the_bounds(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            scaler = posthoc.TemperatureScaling().fit(*draw())
        assert not scaler.at_bound

    @pytest.mark.parametrize("bounds", [(0, 1), (2, 1), (1, np.inf)])
    def test_refuses_bounds(self, bounds):
        with pytest.raises(ValueError, match="above 0 and in order"):
            posthoc.TemperatureScaling(bounds=bounds)


class TestVectorScaling:
    def test_finds_weights_and_biases(self):
        weight, bias = np.array([0.5, 1.0, 2.0]), np.array([1.0, -0.5, -0.5])
        logits, labels = draw(8000, weight=weight, bias=bias)
        scaler = posthoc.VectorScaling().fit(logits, labels)
        np.testing.assert_allclose(scaler.weight, weight, rtol=0.15)
        np.testing.assert_allclose(scaler.bias, bias, atol=0.1)

    def test_probabilities_are_of_its_numbers(self):
        logits, labels = draw()
        scaler = posthoc.VectorScaling().fit(logits, labels)
        np.testing.assert_allclose(
            scaler.apply(logits),
            reference.softmax(logits * scaler.weight + scaler.bias),
            atol=1e-6,
        )

    def test_nothing_near_is_better(self):
        logits, labels = draw(bias=np.array([1.0, 0.0, -1.0]))
        scaler = posthoc.VectorScaling(l2=0).fit(logits, labels)

        def measure(change):
            weight, bias = scaler.weight + change[0], scaler.bias + change[1]
            return nll(labels, logits * weight + bias)

        least = measure(np.zeros((2, 3)))
        generator = np.random.default_rng(0)
        for _ in range(20):
            change = generator.normal(size=(2, 3), scale=0.01)
            assert measure(change) > least

    def test_fits_no_worse_than_a_temperature(self):
        logits, labels = draw(bias=np.array([1.0, 0.0, -1.0]))
        temperature = posthoc.TemperatureScaling().fit(logits, labels)
        vector = posthoc.VectorScaling().fit(logits, labels)
        losses = [
            reference.negative_log_likelihood(labels, scaler.apply(logits))
            for scaler in (temperature, vector)
        ]
        assert losses[1] < losses[0] - 0.01

    def test_a_strong_penalty_leaves_the_temperature(self):
        logits, labels = draw(bias=np.array([1.0, 0.0, -1.0]))
        temperature = posthoc.TemperatureScaling().fit(logits, labels)
        vector = posthoc.VectorScaling(l2=1e6).fit(logits, labels)
        np.testing.assert_allclose(
            vector.weight, 1 / temperature.temperature, rtol=1e-4
        )
        np.testing.assert_allclose(vector.bias, 0, atol=1e-4)

    def test_biases_sum_to_zero(self):
        scaler = posthoc.VectorScaling().fit(*draw())
        assert np.abs(scaler.bias).max() > 0.01
        assert scaler.bias.sum() == pytest.approx(0, abs=1e-9)

    @pytest.mark.parametrize("factor", [1e-3, 1e3])
    def test_weights_scale_as_logits_do(self, factor):
        logits, labels = draw()
        one = posthoc.VectorScaling().fit(logits, labels)
        other = posthoc.VectorScaling().fit(factor * logits, labels)
        np.testing.assert_allclose(factor * other.weight, one.weight, rtol=1e-4)
        np.testing.assert_allclose(other.bias, one.bias, atol=1e-4)

    def test_can_change_the_predicted_class(self):
        logits, labels = draw(500, bias=np.array([3.0, 0.0, 0.0]))
        scaled = posthoc.VectorScaling().fit(logits, labels).apply(logits)
        before = np.mean(logits.argmax(-1) == labels)
        assert np.mean(scaled.argmax(-1) == labels) > before + 0.05

    def test_gradient_is_that_of_finite_differences(self):
        logits, labels = draw(20)
        targets = np.eye(3)[labels]
        weights = np.full(20, 1 / 20)
        point = np.array([1.5, 0.5, 1.0, 0.2, -0.4, 0.3])

        def objective(parameters):
            return scalers._penalized_nll(
                parameters, logits.astype("float64"), targets, weights, 1.2, 0.3
            )

        value, gradient = objective(point)
        expected = nll(labels, logits * point[:3] + point[3:])
        expected += 0.15 * np.sum((point - [1.2, 1.2, 1.2, 0, 0, 0]) ** 2)
        assert value == pytest.approx(expected)
        for i, step in enumerate(1e-5 * np.eye(6)):
            rise = objective(point + step)[0] - objective(point - step)[0]
            assert gradient[i] == pytest.approx(rise / 2e-5, abs=1e-8)

    def test_refuses_a_negative_penalty(self):
        with pytest.raises(ValueError, match="`l2` must be a finite number"):
            posthoc.VectorScaling(l2=-1)


class TestIsotonicScaling:
    @pytest.mark.parametrize("num_classes", [2, 3, 5])
    def test_agrees_with_reference(self, num_classes):
        logits, labels = draw(num_classes=num_classes, weight=0.5)
        others, _ = draw(num_classes=num_classes, seed=1)
        scaler = posthoc.IsotonicScaling().fit(logits, labels)
        np.testing.assert_allclose(
            scaler.apply(others),
            reference.isotonic_scaling(
                reference.softmax(logits), labels, reference.softmax(others)
            ),
            atol=1e-4,
        )

    def test_two_values_by_hand(self):
        # Says 3/4, is right half the time; says 1/4 of class 0, never is.
        probabilities = np.array([[0.75, 0.25]] * 4 + [[0.25, 0.75]] * 2)
        scaler = posthoc.IsotonicScaling()
        scaler.fit(np.log(probabilities), [0, 0, 1, 1, 1, 1])
        np.testing.assert_allclose(
            scaler.apply(np.log(probabilities))[[0, 4]],
            [[0.5, 0.5], [0.0, 1.0]],
            atol=1e-6,
        )

    def test_rows_sum_to_one(self):
        logits, labels = draw(num_classes=5)
        scaler = posthoc.IsotonicScaling().fit(logits, labels)
        others = 5 * draw(200, num_classes=5, seed=1)[0]
        np.testing.assert_allclose(scaler.apply(others).sum(-1), 1, rtol=1e-6)

    def test_is_nearer_to_the_truth_than_logits_twice_too_sure(self):
        logits, labels = draw(3000)
        truth = reference.softmax(logits)
        scaler = posthoc.IsotonicScaling().fit(2 * logits, labels)
        wrong = np.abs(scaler.apply(2 * logits) - truth).mean()
        assert (
            wrong < 0.5 * np.abs(reference.softmax(2 * logits) - truth).mean()
        )

    def loop_of_scikit_learn(self, logits, labels):
        """Returns a function from logits to normalized probabilities."""
        from sklearn import isotonic

        regressions = [
            isotonic.IsotonicRegression(
                y_min=0, y_max=1, out_of_bounds="clip"
            ).fit(column, labels == label)
            for label, column in enumerate(softmax(logits).T)
        ]

        def predict(probabilities):
            columns = [
                regression.predict(column)
                for regression, column in zip(
                    regressions, probabilities.T, strict=True
                )
            ]
            mapped = np.stack(columns, axis=-1)
            return mapped / mapped.sum(axis=-1, keepdims=True)

        return predict

    @pytest.mark.parametrize("num_classes", [2, 3, 20])
    def test_equals_scikit_learn(self, num_classes):
        logits, labels = draw(400, num_classes)
        others = draw(200, num_classes, seed=1)[0]
        predict = self.loop_of_scikit_learn(logits, labels)
        scaler = posthoc.IsotonicScaling().fit(logits, labels)
        layer = backends.compile_function(scaler._make_layer(), jit=False)
        for each in (logits, others):
            expected = predict(softmax(each))
            np.testing.assert_allclose(scaler.apply(each), expected, atol=1e-6)
            np.testing.assert_allclose(layer(each), expected, atol=1e-6)

    def test_class_without_rows_gets_nothing(self):
        logits, labels = draw()
        scaler = posthoc.IsotonicScaling().fit(logits, labels % 2)
        np.testing.assert_array_equal(scaler.apply(logits)[:, 2], 0)


@pytest.mark.parametrize("make", SCALERS)
class TestScaler:
    def test_fit_returns_the_scaler(self, make):
        scaler = make()
        assert scaler.fit(*draw()) is scaler

    def test_probabilities_are_float32(self, make):
        logits, labels = draw()
        probabilities = make().fit(logits, labels).apply(logits)
        assert isinstance(probabilities, np.ndarray)
        assert probabilities.dtype == np.float32
        assert probabilities.shape == (60, 3)

    def test_attached_model_predicts_what_apply_gives(self, make):
        model = build()
        inputs = np.random.default_rng(0).normal(size=(60, 4))
        logits = model.predict(inputs, verbose=0)
        scaler = make().fit(logits, draw(weight=0)[1])
        calibrated = scaler.attach(model)
        np.testing.assert_allclose(
            calibrated.predict(inputs, verbose=0),
            scaler.apply(logits),
            atol=1e-6,
        )

    def test_attached_model_is_one_file(self, make, tmp_path):
        inputs = np.random.default_rng(0).normal(size=(20, 4))
        calibrated = make().fit(*draw()).attach(build())
        calibrated.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(
            loaded.predict(inputs, verbose=0),
            calibrated.predict(inputs, verbose=0),
            atol=1e-6,
        )

    def test_attaches_to_probabilities(self, make):
        model = build(activation="softmax")
        inputs = np.random.default_rng(0).normal(size=(60, 4))
        logits = np.log(model.predict(inputs, verbose=0))
        scaler = make().fit(logits, draw(weight=0)[1])
        calibrated = scaler.attach(model, from_logits=False)
        np.testing.assert_allclose(
            calibrated.predict(inputs, verbose=0),
            scaler.apply(logits),
            atol=1e-6,
        )

    @pytest.mark.parametrize("activation", [None, "sigmoid"])
    def test_attaches_to_a_sigmoid(self, make, activation):
        model = build(1, activation)
        inputs = np.random.default_rng(0).normal(size=(60, 4))
        column = model.predict(inputs, verbose=0)
        logits = output_layers.to_logits(column, activation is None)
        labels = (inputs[:, 0] > 1).astype(int)
        scaler = make().fit(logits, labels)
        calibrated = scaler.attach(model, from_logits=activation is None)
        np.testing.assert_allclose(
            calibrated.predict(inputs, verbose=0),
            scaler.apply(logits),
            atol=1e-6,
        )

    def test_attached_model_shares_its_weights(self, make):
        model = build()
        calibrated = make().fit(*draw()).attach(model)
        trained = {weight.path for weight in calibrated.trainable_weights}
        assert trained == {weight.path for weight in model.trainable_weights}
        inputs = np.ones((2, 4), "float32")
        before = calibrated.predict(inputs, verbose=0)
        model.set_weights([-weight for weight in model.get_weights()])
        assert not np.allclose(calibrated.predict(inputs, verbose=0), before)

    def test_attached_model_keeps_what_it_was_attached_with(self, make):
        scaler, model = make().fit(*draw()), build()
        calibrated = scaler.attach(model)
        inputs = np.ones((2, 4), "float32")
        before = calibrated.predict(inputs, verbose=0)
        scaler.fit(*draw(seed=1, weight=0.2))
        np.testing.assert_array_equal(
            calibrated.predict(inputs, verbose=0), before
        )

    @pytest.mark.parametrize(
        "copies",
        [
            copy.copy,
            copy.deepcopy,
            lambda scaler: pickle.loads(pickle.dumps(scaler)),
            lambda scaler: type(scaler).from_config(
                json.loads(json.dumps(scaler.get_config()))
            ),
            lambda scaler: keras.saving.deserialize_keras_object(
                keras.saving.serialize_keras_object(scaler)
            ),
        ],
        ids=["copy", "deepcopy", "pickle", "config", "Keras"],
    )
    def test_copies_keep_what_was_fitted(self, make, copies):
        logits, labels = draw()
        scaler = make().fit(logits, labels)
        twin = copies(scaler)
        before = twin.apply(logits)
        np.testing.assert_array_equal(before, scaler.apply(logits))
        for name, value in vars(scaler).items():
            np.testing.assert_array_equal(getattr(twin, name), value)
        assert repr(twin) == repr(scaler)
        scaler.fit(*draw(seed=1, weight=0.2))
        np.testing.assert_array_equal(twin.apply(logits), before)
        with pytest.raises(ValueError, match="must be fitted before"):
            copies(make()).apply(logits)

    def test_names_itself_in_a_line(self, make):
        scaler = make()
        assert repr(scaler).endswith("not fitted)")
        text = repr(scaler.fit(*draw()))
        assert text.startswith(make.__name__)
        assert "not fitted" not in text
        assert len(text) < 80

    def test_weights_count_examples(self, make):
        logits, labels = draw()
        counts = np.random.default_rng(0).integers(0, 3, 60)
        repeated = make().fit(
            np.repeat(logits, counts, 0), np.repeat(labels, counts)
        )
        # An example of weight 0 may have any label and any logits.
        labels = np.where(counts, labels, 99)
        logits[counts == 0] = np.nan
        for weights in (counts, counts[:, None], counts.astype("float16")):
            weighted = make().fit(logits, labels, sample_weight=weights)
            others = draw(seed=1)[0]
            np.testing.assert_allclose(
                weighted.apply(others), repeated.apply(others), atol=2e-3
            )

    def test_ignored_labels_are_left_out(self, make):
        logits, labels = draw()
        expected = make().fit(logits[:50], labels[:50]).apply(logits)
        labels[50:] = -1
        scaler = make().fit(logits, labels, ignore_label=-1)
        np.testing.assert_allclose(scaler.apply(logits), expected, atol=1e-6)

    def test_large_constants_cost_no_digits(self, make):
        logits, labels = draw()
        logits = np.float64(logits).round(3)
        if make is not posthoc.VectorScaling:
            one = make().fit(logits, labels).apply(logits)
            far = make().fit(logits + 2**24, labels).apply(logits + 2**24)
            np.testing.assert_allclose(far, one, atol=1e-5)

    def test_attaches_to_half_precision(self, make):
        inputs = keras.Input((3,))
        outputs = keras.layers.Softmax(dtype="float16")(inputs)
        calibrated = (
            make()
            .fit(*draw())
            .attach(keras.Model(inputs, outputs), from_logits=False)
        )
        assert calibrated.output.dtype == "float32"
        logits = np.array([[0.0, -9.0, -60.0]], "float32")
        probabilities = calibrated.predict(logits, verbose=0)
        assert np.isfinite(probabilities).all()

    def test_refuses_to_be_used_unfitted(self, make):
        with pytest.raises(ValueError, match="must be fitted before"):
            make().apply(np.zeros((2, 3)))
        with pytest.raises(ValueError, match="must be fitted before"):
            make().attach(build())

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_refuses_logits_that_are_not_finite(self, make, value):
        logits, labels = draw()
        scaler = make().fit(logits, labels)
        logits[[3, 7], 1] = value
        with pytest.raises(ValueError, match="2 of 60 examples with NaN"):
            scaler.apply(logits)
        with pytest.raises(ValueError, match="2 of 60 examples with NaN"):
            make().fit(logits, labels)

    def test_refuses_other_classes(self, make):
        scaler = make().fit(*draw())
        with pytest.raises(
            ValueError, match=r"on 3 classes\. Rec.*: 5 classes"
        ):
            scaler.apply(np.zeros((2, 5)))
        with pytest.raises(
            ValueError, match=r"on 3 classes\. Rec.*: 5 classes"
        ):
            scaler.attach(build(5))


class TestRefusals:
    def fit(self, logits, labels, **options):
        posthoc.TemperatureScaling().fit(logits, labels, **options)

    @pytest.mark.parametrize("label", [2**32 + 1, -(2**40), 1.5, 2**31])
    def test_labels_that_no_integer_type_holds(self, label):
        logits, labels = draw()
        labels = labels.astype(type(label))
        labels[5] = label
        with pytest.raises(ValueError, match="1 of 60 labels"):
            self.fit(logits, labels)

    def test_negative_weights(self):
        weights = np.linspace(-1, 1, 60)
        with pytest.raises(ValueError, match="must be at least 0"):
            self.fit(*draw(), sample_weight=weights)

    def test_weights_that_are_not_finite(self):
        weights = np.where(np.arange(60) == 3, np.nan, 1.0)
        with pytest.raises(ValueError, match="1 weights of 60"):
            self.fit(*draw(), sample_weight=weights)

    @pytest.mark.parametrize("logits", [3.0, [[1.0, 2.0], [3.0]]])
    def test_logits_of_no_shape(self, logits):
        with pytest.raises(ValueError, match="Logits must"):
            self.fit(logits, [0, 1])

    def test_weights_of_other_examples(self):
        with pytest.raises(ValueError, match="one number for each example"):
            self.fit(*draw(), sample_weight=np.ones(59))

    def test_nothing_to_fit_on(self):
        with pytest.raises(ValueError, match="60 examples that are all"):
            self.fit(*draw(), sample_weight=np.zeros(60))
        with pytest.raises(ValueError, match="60 examples that are all"):
            self.fit(draw()[0], np.full(60, -1), ignore_label=-1)

    @pytest.mark.parametrize("wrong", [-1, 3])
    def test_labels_out_of_range(self, wrong):
        logits, labels = draw()
        labels[5] = wrong
        with pytest.raises(ValueError, match=r"0 to 2.* 1 of 60 labels"):
            self.fit(logits, labels)

    def test_targets_of_several_labels(self):
        logits, _ = draw()
        with pytest.raises(
            ValueError, match="60 of 60 targets with several ones"
        ):
            self.fit(logits, np.ones((60, 3)))

    def test_one_class(self):
        logits, _ = draw()
        with pytest.raises(ValueError, match="60 labels of class 2"):
            self.fit(logits, np.full(60, 2))

    def test_fewer_labels(self):
        logits, labels = draw()
        with pytest.raises(ValueError, match="a label for each example"):
            self.fit(logits, labels[:-1])

    def test_targets_of_other_classes(self):
        logits, _ = draw()
        with pytest.raises(ValueError, match="one column for each class"):
            self.fit(logits, np.ones((60, 4)) / 4)

    def test_logits_for_each_pixel(self):
        with pytest.raises(ValueError, match="Outputs must have shape"):
            self.fit(np.zeros((2, 4, 3)), [0, 1])
