"""A pass hands over all examples, with what the model says of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_mixup._data import examples as examples_lib
from tf_mixup._models import data_pass


class Testing(keras.Model):
    """Doubles its inputs in `test_step` alone."""

    def test_step(self, data):
        return super().test_step((2 * data[0], *data[1:]))


class Predicting(keras.Model):
    """Doubles its inputs before it predicts."""

    def predict(self, x, **kwargs):
        return super().predict(2 * x, **kwargs)


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    ("kind", "factor"), [(keras.Model, 3), (Testing, 6), (Predicting, 6)]
)
def test_hands_over_all_examples(kind, factor, eager):
    inputs = keras.Input((1,))
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = kind(inputs, 3 * layer(inputs))
    model.compile("sgd", "mse", metrics=["mae"], run_eagerly=eager)
    x = np.arange(5, dtype="float32")[:, None]
    model.evaluate(x, x, verbose=0)
    before = [np.array(variable) for variable in model.metrics_variables]
    total = tf.Variable(tf.zeros(3))

    def update(outputs, labels, weights):
        parts = [outputs[:, 0], labels, weights]
        total.assign_add(
            [tf.reduce_sum(tf.cast(part, "float32")) for part in parts]
        )

    examples = examples_lib.read(
        (x, np.arange(5), np.full(5, 0.5)),
        name="data",
        labeled=True,
        batch_size=2,
    )
    run = data_pass.make(model, examples, update)
    for passes in (1, 2):
        run()
        expected = passes * np.array([10 * factor, 10, 2.5])
        np.testing.assert_allclose(total, expected, rtol=1e-6)
    for variable, value in zip(model.metrics_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
