"""Adversarial inputs: small steps that raise a classifier's loss the most.

The fast gradient sign method and its iterated form. Steps are in the unit of
the model's own inputs: a model that takes raw pixels is attacked in pixels.
Shapes: N examples, K classes.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tf_mixup import _checks
from tf_mixup._checks import numbers
from tf_mixup._models import last_layer
from tf_mixup._models import output_kind
from tf_mixup._models import output_layers
from tf_mixup.calibration import per_example

_LIMITS = "Write the least and the greatest value of an input, one number each"


def fgsm(
    model: keras.Model,
    inputs: Any,
    labels: Any,
    epsilon: float,
    *,
    from_logits: bool | None = None,
    low: float = 0.0,
    high: float = 255.0,
    batch_size: int = 128,
) -> np.ndarray:
    """Moves each value by `epsilon` in the direction that raises the loss.

    The fast gradient sign method: `inputs + epsilon * sign(gradient)` within
    `[low, high]`, with the gradient of the cross-entropy in the inputs. A
    value without gradient stays. The model predicts as in inference.

    Args:
        model: Functional or sequential model of one input and one output:
            logits or probabilities `(N, K)`, or one sigmoid column.
        inputs: Array of N examples, all values in `[low, high]`.
        labels: Class ids `(N,)` or `(N, 1)`, or targets `(N, K)`, one-hot or
            soft; of one column also the mass of class 1.
        epsilon: Step, at least 0, in the unit of the model's inputs.
        from_logits: Whether the outputs are logits. None detects it by the
            last layer, or else by the values of the first examples.
        low: Least value of an input.
        high: Greatest value of an input.
        batch_size: Examples to differentiate at once.

    Returns:
        adversarial: Float32 array of the shape of `inputs`, no further than
            `epsilon` from them.

    Raises:
        ValueError: If the inputs are not in range, the labels do not fit, the
            gradient does not reach the inputs or is NaN, or Keras' backend is
            not TensorFlow.

    Example:
        >>> layer = keras.layers.Dense(2, use_bias=False)
        >>> model = keras.Sequential([keras.Input((2,)), layer])
        >>> model.set_weights([np.eye(2)])
        >>> fgsm(model, [[9.0, 5.0]], [0], 4.0, from_logits=True).tolist()
        [[5.0, 9.0]]

    References:
        Goodfellow et al. Explaining and Harnessing Adversarial Examples. ICLR
        2015, section 4. https://arxiv.org/abs/1412.6572
    """
    return bim(
        model,
        inputs,
        labels,
        epsilon,
        steps=1,
        from_logits=from_logits,
        low=low,
        high=high,
        batch_size=batch_size,
    )


def bim(
    model: keras.Model,
    inputs: Any,
    labels: Any,
    epsilon: float,
    *,
    steps: int = 10,
    step_size: float | None = None,
    from_logits: bool | None = None,
    low: float = 0.0,
    high: float = 255.0,
    batch_size: int = 128,
) -> np.ndarray:
    """Runs the basic iterative method: several small steps of `fgsm`.

    After each step values are clipped to `[low, high]` and to `epsilon`
    around the inputs.

    Args:
        model: As in `fgsm`.
        inputs: As in `fgsm`.
        labels: As in `fgsm`.
        epsilon: Maximal distance of a value, at least 0, in the unit of the
            model's inputs.
        steps: Number of steps, at least 1.
        step_size: Length of a step; None takes `epsilon / steps`.
        from_logits: As in `fgsm`.
        low: As in `fgsm`.
        high: As in `fgsm`.
        batch_size: As in `fgsm`.

    Returns:
        adversarial: Float32 array of the shape of `inputs`.

    Raises:
        ValueError: As `fgsm`.

    References:
        Kurakin et al. Adversarial Examples in the Physical World. 2016,
        section 2.2. https://arxiv.org/abs/1607.02533
    """
    epsilon = _checks.real_at_least(
        "epsilon", epsilon, 0, remedy="Write 4 for 4 of 255 levels"
    )
    _checks.integer_at_least("steps", steps, 1, remedy="Write 10")
    _checks.integer_at_least("batch_size", batch_size, 1, remedy="Write 128")
    if step_size is None:
        step_size = epsilon / steps
    _checks.real_at_least(
        "step_size", step_size, 0, remedy="Leave it out for epsilon / steps"
    )
    examples = _check_inputs(inputs, low, high)
    differentiate, columns = _gradient(
        model, examples[:batch_size], from_logits
    )
    targets = _check_labels(labels, len(examples), columns)
    adversarial = np.empty_like(examples)
    for start in range(0, len(examples), batch_size):
        part = slice(start, start + batch_size)
        given = moved = examples[part]
        lower = np.maximum(given - np.float32(epsilon), np.float32(low))
        upper = np.minimum(given + np.float32(epsilon), np.float32(high))
        for _ in range(steps):
            gradient = np.asarray(differentiate(moved, targets[part]))
            if np.isnan(gradient).any():
                raise _checks.refusal(
                    "The loss must have a gradient at the inputs",
                    "NaN",
                    "Look for NaN in the model's weights and outputs",
                )
            step = np.float32(step_size) * np.sign(gradient)
            moved = np.clip(moved + step, lower, upper)
        adversarial[part] = moved
    return adversarial


def _check_inputs(inputs: Any, low: float, high: float) -> np.ndarray:
    """Returns the inputs in float32."""
    low, high = (
        _checks.real_at_least(name, limit, -math.inf, remedy=_LIMITS)
        for name, limit in (("low", low), ("high", high))
    )
    if not low < high:
        raise _checks.refusal(
            "`low` must be below `high`",
            f"low={low!r} and high={high!r}",
            "Write the least and the greatest value of an input",
        )
    examples = numbers.to_numpy(inputs, "Inputs", dtype=np.float32)
    if not examples.size:
        raise _checks.refusal(
            "There must be at least one example",
            f"inputs of shape {examples.shape}",
            "Give the inputs of a test set",
        )
    if not np.all((examples >= low) & (examples <= high)):
        raise _checks.refusal(
            f"Inputs must lie in [{low:g}, {high:g}]",
            f"values from {examples.min():g} to {examples.max():g}",
            "Write `low` and `high` of what the model takes, and `epsilon` in"
            " the same unit",
        )
    return examples


def _check_labels(labels: Any, num_examples: int, columns: int) -> np.ndarray:
    """Returns targets `(N, K)`; K is 2 for one column."""
    labels = ops.convert_to_numpy(per_example.to_label_tensor(labels))
    if labels.ndim == 0 or len(labels) != num_examples:
        raise _checks.refusal(
            "There must be one label for each example",
            f"labels of shape {labels.shape} for {num_examples} examples",
            "Give the labels of these inputs",
        )
    targets = ops.convert_to_numpy(per_example.to_targets(labels, columns))
    if np.isnan(targets).any():
        raise _checks.refusal(
            f"Labels must be class ids in [0, {max(columns, 2) - 1}], or"
            " targets that sum to 1",
            f"{np.isnan(targets).any(axis=-1).sum()} labels that are not",
            "Count classes from 0",
        )
    return targets


def _gradient(
    model: keras.Model, first: np.ndarray, from_logits: bool | None
) -> tuple[Callable[[Any, Any], Any], int]:
    """Returns the gradient of the loss, up to its length, and the columns."""
    if keras.config.backend() != "tensorflow":
        raise _checks.refusal(
            "Attacks take their gradients from TensorFlow",
            f"the Keras backend {keras.config.backend()!r}",
            "Set KERAS_BACKEND=tensorflow before Keras is imported",
        )
    network, cut = _rebuild(model)
    outputs = np.asarray(network(first, training=False))
    # Without the last activation the outputs are logits, whatever was said.
    to_logits = output_layers.Logits(
        cut or output_kind.are_logits(outputs, from_logits, model=model)
    )

    # AutoGraph would wrap the refusal in a traceback.
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *first.shape[1:]], tf.float32),
            tf.TensorSpec([None, None], tf.float32),
        ],
        autograph=False,
    )
    def differentiate(examples: Any, targets: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(examples)
            logits = to_logits(network(examples, training=False))
        slope = _crossentropy_slope(logits, targets)
        gradient = tape.gradient(logits, examples, output_gradients=slope)
        if gradient is None:
            raise _checks.refusal(
                "The gradient must reach the inputs",
                f"a model named {model.name!r} with a layer that stops it, as"
                " an embedding of ids or a cast to integers does",
                "Cut the model after that layer, and attack what it gives",
            )
        return gradient

    return differentiate, 1 if outputs.ndim == 1 else outputs.shape[-1]


def _crossentropy_slope(logits: Any, targets: Any) -> Any:
    """Returns the cross-entropy's gradient in the logits, up to its length.

    It is `p - t`. For a one-hot target all of it is 0 where p rounds to 1, so
    it is divided by `1 - p`: the softmax of the other classes, and -1. The
    signs in the inputs stay the same.
    """
    others = ops.softmax(ops.where(targets == 1, float("-inf"), logits))
    hard = ops.any(targets == 1, axis=-1, keepdims=True)
    return ops.where(hard, others, ops.softmax(logits)) - targets


def _rebuild(model: keras.Model) -> tuple[keras.Model, bool]:
    """Returns the model on float32 inputs, before a last softmax or sigmoid.

    It shares the model's layers. Before the softmax there is no rounding to 0
    and 1. The flag is whether one was removed.
    """
    inputs = last_layer.single_output_inputs(model)
    if keras.tree.is_nested(inputs):
        raise _checks.refusal(
            "The model must have one input",
            f"{len(keras.tree.flatten(inputs))} inputs",
            "Make a model of the one to attack, with the others held fixed",
        )
    # A model of its own, since a clone would be compiled as `model` is.
    plain = keras.Model(inputs, model.outputs[0])
    last = plain
    while isinstance(last, keras.Model):
        last = last.layers[-1]
    cut = []

    def reuse(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer is not last or not _normalizes(layer):
            return layer
        cut.append(_without_activation(layer))
        return cut[-1]

    rebuilt = keras.models.clone_model(
        plain,
        input_tensors=keras.Input(batch_shape=inputs.shape, dtype="float32"),
        clone_function=reuse,
        recursive=True,
    )
    for layer in cut:
        layer.set_weights(last.get_weights())
    return rebuilt, bool(cut)


def _normalizes(layer: keras.layers.Layer) -> bool:
    """Returns whether a last layer ends in a softmax, or in one sigmoid."""
    if type(layer) is keras.layers.Softmax:
        return True
    if type(layer) not in (keras.layers.Dense, keras.layers.Activation):
        return False
    if layer.output.shape[-1] == 1:
        return layer.activation is keras.activations.sigmoid
    return layer.activation is keras.activations.softmax


def _without_activation(layer: keras.layers.Layer) -> keras.layers.Layer:
    if type(layer) is keras.layers.Softmax:
        return keras.layers.Identity(name=layer.name, dtype=layer.dtype_policy)
    config = layer.get_config() | {"activation": "linear"}
    return type(layer).from_config(config)
