"""What tests need of Keras' backend, which `KERAS_BACKEND` chooses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_mixup.calibration import bins

# Sums of some thousand rows, as exact as the backend adds them.
EXACT = 1e-12 if bins.accumulator_dtype() == "float64" else 2e-6

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="Keras has this on TensorFlow only",
)
# Keras has PyTorch compile with C++, which takes minutes.
compiles_quickly = pytest.mark.skipif(
    keras.backend.backend() == "torch",
    reason="compilation on this backend takes minutes",
)
needs_float64 = pytest.mark.skipif(
    bins.accumulator_dtype() != "float64",
    reason="sums are float32 on this backend",
)


def compile_function(function, *, jit=True):
    """Returns a function of arrays as the backend compiles it."""
    if keras.backend.backend() == "torch":
        # Keras itself compiles on request only.
        return function
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return tf.function(function, jit_compile=jit, reduce_retracing=True)


def compile_update(metric, *, jit=None):
    """Returns a metric's update, compiled as in training."""
    if keras.backend.backend() != "jax":
        return compile_function(metric.update_state, jit=jit)
    update = compile_function(metric.stateless_update_state)

    def assign(*batch):
        values = update([each.value for each in metric.variables], *batch)
        for variable, value in zip(metric.variables, values, strict=True):
            variable.assign(value)

    return assign


def gradient(function, inputs):
    """Returns the gradient of a scalar function, shaped as its inputs."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(inputs))
    if keras.backend.backend() == "torch":
        inputs = keras.ops.convert_to_tensor(inputs).requires_grad_()
        function(inputs).backward()
        return inputs.grad.numpy(force=True)
    inputs = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(inputs)
    return tape.gradient(value, inputs).numpy()
