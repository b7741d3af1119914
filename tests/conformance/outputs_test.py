"""Logits or probabilities: one answer everywhere."""

import warnings

import keras
import numpy as np
import pytest

from tests import backends
from tests import reference
from tests.conformance import objects
from tests.conformance.objects import LABELS
from tests.conformance.objects import LOGITS
from tests.conformance.objects import PROBABILITIES
from tf_mixup import metrics
from tf_mixup import ood

every = pytest.mark.parametrize("measure", objects.ALL, ids=objects.name)
SIGMOIDS = np.array([[0.9, 0.8, 0.1], [0.2, 0.6, 0.7], [0.1, 0.1, 0.1]])


def head(activation, units=3, *, inputs=4):
    """Returns a model of one layer whose weights are random and large."""
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(
        units, activation, kernel_initializer=keras.initializers.Constant(0)
    )
    model = keras.Sequential([keras.Input((inputs,)), layer])
    generator = np.random.default_rng(1)
    layer.set_weights(
        [3 * generator.normal(size=(inputs, units)), np.zeros(units)]
    )
    return model


def examples(size=40):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(size, 4)).astype("float32")
    return x, generator.integers(0, 3, size)


class TestValues:
    @every
    def test_logits_are_found(self, measure):
        expected = measure(LABELS, LOGITS, from_logits=True)
        assert measure(LABELS, LOGITS) == pytest.approx(expected)
        assert measure(LABELS, PROBABILITIES) == pytest.approx(
            expected, rel=1e-5
        )

    @every
    def test_column_is_found(self, measure):
        labels, logits = np.array([0, 1, 1, 0]), np.array([-2, 3.0, 0.5, 4])
        expected = measure(labels, logits, from_logits=True)
        column = 1 / (1 + np.exp(-logits))
        for form in (logits, logits[:, None], column, column[:, None]):
            assert measure(labels, form) == pytest.approx(expected, rel=1e-5)

    @every
    def test_warns_of_probabilities_as_logits(self, measure):
        with pytest.warns(UserWarning, match="`from_logits=True` was given"):
            measure(LABELS, PROBABILITIES, from_logits=True)

    def test_one_spoiled_example_changes_no_other(self):
        outputs = PROBABILITIES.copy()
        outputs[2] = [4, -2, 1]
        found = np.array(ood.confidence(outputs))
        np.testing.assert_allclose(
            found, [0.7, 0.8, np.nan, 0.6, 0.9], rtol=1e-6
        )

    def test_earlier_batches_decide(self):
        # By itself the last batch looks like probabilities.
        outputs = np.array([[2.0, -3.0], [-1.0, 4.0], [0.4, 0.6]], "float32")
        metric = metrics.CalibrationMetrics()
        for rows in (slice(0, 2), slice(2, 3)):
            metric.update_state(np.array([0, 1, 1])[rows], outputs[rows])
        expected = reference.expected_calibration_error(
            np.array([0, 1, 1]), reference.softmax(outputs), 15
        )
        assert float(metric.result()) == pytest.approx(expected, rel=1e-5)

    def test_sigmoids_of_several_labels_have_no_confidence(self):
        assert np.isnan(np.array(ood.confidence(SIGMOIDS))).all()


@backends.needs_tensorflow
class TestInFit:
    """The compiled metric and loss, as `evaluate` has them."""

    @pytest.mark.parametrize(
        ("told", "jit_compile"),
        [
            *((None, True), (False, False), (True, False)),
            pytest.param(None, False, marks=pytest.mark.slow),
            pytest.param(False, True, marks=pytest.mark.slow),
            pytest.param(True, True, marks=pytest.mark.slow),
        ],
    )
    @pytest.mark.parametrize("activation", ["softmax", None])
    def test_evaluate(self, activation, told, jit_compile):
        if told is False and activation is None:
            pytest.skip("logits as probabilities are left out, and counted")
        x, labels = examples()
        model = head(activation)
        metric = metrics.CalibrationMetrics(from_logits=told)
        loss = objects.LOSSES[1](0.0, from_logits=told)
        model.compile(loss=loss, metrics=[metric], jit_compile=jit_compile)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = model.evaluate(x, labels, verbose=0, return_dict=True)
        said = [
            each for each in caught if "`from_logits=True`" in str(each.message)
        ]
        assert bool(said) == (activation == "softmax" and told is True)
        logits = x @ model.get_weights()[0]
        softmax = reference.softmax(logits)
        nll = -np.log(softmax[np.arange(len(x)), labels]).mean()
        assert found["loss"] == pytest.approx(nll, rel=1e-4)
        assert metric.results()["nll"] == pytest.approx(nll, rel=1e-4)
        assert found["ece"] == pytest.approx(
            reference.expected_calibration_error(labels, softmax, 15), abs=1e-5
        )

    @pytest.mark.parametrize("activation", ["sigmoid", None])
    def test_one_column(self, activation):
        x, labels = examples()
        labels = (labels > 0).astype("int32")
        model = head(activation, units=1)
        metric = metrics.CalibrationMetrics()
        model.compile(loss=objects.LOSSES[0](0.0), metrics=[metric])
        found = model.evaluate(x, labels, verbose=0, return_dict=True)
        logits = (x @ model.get_weights()[0])[:, 0]
        p = 1 / (1 + np.exp(-logits.astype("float64")))
        expected = -np.log(np.where(labels == 1, p, 1 - p)).mean()
        assert found["loss"] == pytest.approx(expected, rel=1e-4)
        assert metric.results()["nll"] == pytest.approx(expected, rel=1e-4)

    def test_nll_of_a_certain_softmax_has_no_floor(self):
        x, labels = examples()
        model = head("softmax")
        model.set_weights([300 * w for w in model.get_weights()])
        metric = metrics.CalibrationMetrics()
        loss = keras.losses.SparseCategoricalCrossentropy()
        model.compile(loss=loss, metrics=[metric])
        found = model.evaluate(x, labels, verbose=0, return_dict=True)
        assert found["loss"] > 100
        assert metric.results()["nll"] == pytest.approx(found["loss"], rel=1e-4)

    def test_half_precision_keeps_the_logits(self):
        keras.config.set_dtype_policy("mixed_float16")
        try:
            model = head("softmax")
        finally:
            keras.config.set_dtype_policy("float32")
        x, labels = examples()
        metric = metrics.CalibrationMetrics()
        model.compile(loss="sparse_categorical_crossentropy", metrics=[metric])
        model.evaluate(x, labels, verbose=0)
        exact = reference.softmax(x @ model.get_weights()[0])
        nll = -np.log(exact[np.arange(len(x)), labels]).mean()
        assert metric.results()["nll"] == pytest.approx(nll, rel=1e-2)

    def test_refuses_sigmoids_of_several_labels(self):
        x, _ = examples(8)
        model = head("sigmoid")
        model.compile(
            loss="binary_crossentropy", metrics=[metrics.CalibrationMetrics()]
        )
        with pytest.raises(ValueError, match="3 sigmoids, as of a model of"):
            model.evaluate(x, np.ones((8, 3)), verbose=0)

    def test_masked_steps_are_left_out(self):
        inputs = keras.Input((3,), dtype="int32")
        embedded = keras.layers.Embedding(5, 4, mask_zero=True)(inputs)
        outputs = keras.layers.Dense(3, "softmax")(embedded)
        model = keras.Model(inputs, outputs)
        metric = metrics.CalibrationMetrics()
        model.compile(loss="sparse_categorical_crossentropy", metrics=[metric])
        x = np.array([[1, 2, 0], [3, 0, 0]])
        model.evaluate(x, np.ones((2, 3), "int32"), verbose=0)
        assert float(keras.ops.sum(metric.bins().count)) == 3
