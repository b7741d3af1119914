"""Counts what a step moves and computes, from shapes, and holds it to rates.

FLOPs are those of convolutions and dense layers, two for a multiply-add, as
in published numbers: batch norm, activations, pooling and additions are below
1 % of a ResNet.
"""

import math

import keras
import tensorflow as tf

from experiments.benchmark import timing
from experiments.datasets import streams
from tf_mixup import checks

# A step goes forward once, and back to a layer's inputs and to its weights.
PASSES = 3


def count_flops(model: keras.Model) -> int:
    """Counts the FLOPs of one row's forward pass.

    Args:
        model: Of known sides, that calls each of its layers once.

    Returns:
        flops: For one row; a training step takes `PASSES` times as many.

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
        raise checks.refusal(
            "FLOPs are counted of Conv2D, Dense and BatchNormalization",
            f"a {type(layer).__name__} named {layer.name!r}",
            "Add its formula to `count_flops`",
        )
    return 0


def count_bytes(batches: tf.data.Dataset) -> int:
    """Counts the bytes of a batch, from its shapes and types.

    Args:
        batches: Of whole batches, so that all shapes are known.
    """
    return sum(
        spec.shape.num_elements() * spec.dtype.size
        for spec in tf.nest.flatten(batches.element_spec)
    )


def compare_rates(
    batch_size: int, step: float, pipeline: float
) -> dict[str, float | str]:
    """Holds what a core's pipeline makes against what a step takes.

    Args:
        batch_size: B.
        step: Milliseconds of a step.
        pipeline: Processor milliseconds of an image.

    Returns:
        facts: Both in images a second, and on a GPU how many cores feed one.
    """
    taken, made = 1e3 * batch_size / step, 1e3 / pipeline
    side = streams.SIDE
    return {
        "images/s that the step takes": taken,
        f"images/s that a core's pipeline makes, {side}x{side}": made,
        "cores that feed one GPU": (
            taken / made if timing.gpu_names() else timing.NOT_MEASURED
        ),
    }


def utilisation(
    batch_flops: int, step: float, peak_tflops: float | None
) -> float | str:
    """Returns the share of a GPU's peak that a training step computes.

    Args:
        batch_flops: Of a batch's forward pass.
        step: Milliseconds of a step.
        peak_tflops: In 1e12 FLOPs a second; None where it is not known.
    """
    if not timing.gpu_names():
        return timing.NOT_MEASURED
    if peak_tflops is None:
        return "not measured: no --peak_tflops"
    return PASSES * batch_flops / (step / 1e3) / (peak_tflops * 1e12)
