"""Tests of models called as a whole; `posthoc_test.py` has their numbers."""

import keras
import numpy as np
import pytest

from tests import reference
from tf_mixup._models import wrapped_model


def build(**arguments):
    """Returns a wrapper of a model whose outputs are its inputs."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])
    return model, wrapped_model.WrappedModel([model], **arguments)


class TestWrappedModel:
    @pytest.mark.parametrize("from_logits", [False, True])
    def test_gives_probabilities(self, from_logits):
        _, wrapped = build(from_logits=[from_logits])
        rows = np.array([[0.25, 0.5, 0.25]], "float32")
        expected = reference.softmax(rows) if from_logits else rows
        np.testing.assert_allclose(wrapped(rows), expected, atol=1e-6)
        np.testing.assert_allclose(
            wrapped.predict(rows, verbose=0), expected, atol=1e-6
        )

    def test_shares_weights(self):
        inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        wrapped = wrapped_model.WrappedModel([inner, inner], [True, True])
        assert {each.path for each in wrapped.weights} == {
            each.path for each in inner.weights
        }

    def test_refuses_several_outputs(self):
        inputs = keras.Input((3,))
        model = keras.Model(inputs, [inputs + 1, inputs + 2])
        wrapped = wrapped_model.WrappedModel([model], [True])
        with pytest.raises(ValueError, match="must have one output"):
            wrapped(np.zeros((2, 3)))

    @pytest.mark.parametrize("name", ["predict", "make_predict_function"])
    def test_predicts_as_what_replaces_predict(self, name):
        model, wrapped = build(from_logits=[True])
        model.predict(np.zeros((1, 3)), verbose=0)
        if name == "predict":
            own = model.predict
            model.predict = lambda x, **options: 2 * own(x, verbose=0)
        else:
            step = model.predict_function
            model.make_predict_function = lambda: None
            model.predict_function = lambda batches: 2 * step(batches)
        rows = np.array([[1.0, 2.0, 4.0]], "float32")
        np.testing.assert_allclose(
            wrapped.predict(rows), reference.softmax(2 * rows), atol=1e-6
        )
        with pytest.raises(ValueError, match=f"override `Sequential.{name}`"):
            wrapped.evaluate(rows, rows)

    def test_plain_models_beside_it_take_the_same_options(self):
        model, _ = build(from_logits=[True])
        doubling, _ = build(from_logits=[True])
        own = doubling.predict
        doubling.predict = lambda x, **_: 2 * own(x, verbose=0)
        pair = wrapped_model.WrappedModel([model, doubling], [True, True])
        rows = np.array([[1.0, 2.0, 4.0]] * 5, "float32")
        expected = [reference.softmax(each * rows) for each in (1, 2)]
        # Without a batch size Keras has one of its own.
        np.testing.assert_allclose(
            pair.predict(rows, verbose=0), np.mean(expected, axis=0), atol=1e-6
        )

    def test_config_rebuilds(self):
        _, wrapped = build(from_logits=[True], name="whole")
        twin = type(wrapped).from_config(wrapped.get_config())
        assert twin.get_config() == wrapped.get_config()
