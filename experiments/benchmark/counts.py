"""Counts what a step computes and what it is fed, from shapes.

FLOPs are those of convolutions and dense layers, two for a multiply-add, as
in published numbers: batch norm, activations, pooling and additions are below
1 % of a ResNet.
"""

import math

import keras
import tensorflow as tf

from tf_mixup import _checks


def count_flops(model: keras.Model) -> int:
    """Counts the FLOPs of one example's forward pass.

    The model has known sides and calls each of its layers once. A training step
    takes three times as many.

    Raises:
        ValueError: If another layer has weights.

    Example:
        >>> layers = [keras.Input((5,)), keras.layers.Dense(3)]
        >>> count_flops(keras.Sequential(layers))
        30
    """
    return sum(map(_count_layer, model.layers))


def _count_layer(layer: keras.layers.Layer) -> int:
    if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
        # Each number put out takes one kernel, which spans its group's inputs.
        numbers = math.prod(layer.output.shape[1:])
        return 2 * numbers * math.prod(layer.kernel.shape[:-1])
    if layer.weights and not isinstance(layer, keras.layers.BatchNormalization):
        raise _checks.refusal(
            "FLOPs are counted of Conv2D, Dense and BatchNormalization",
            f"a {type(layer).__name__} named {layer.name!r}",
            "Add its formula to `count_flops`",
        )
    return 0


def count_bytes(batches: tf.data.Dataset) -> int:
    """Counts the bytes of a batch, from known shapes and types."""
    return sum(
        spec.shape.num_elements() * spec.dtype.size
        for spec in tf.nest.flatten(batches.element_spec)
    )
