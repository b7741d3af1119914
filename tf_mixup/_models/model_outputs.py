"""Predictions of a model as logits of all classes, and its inputs.

Shapes: N examples, K classes. A model's **outputs** are logits or
probabilities, `(N, K)`; or one sigmoid column `(N, 1)` or `(N,)`, which stands
for the two classes `{1 - p, p}`.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from tf_mixup import _checks
from tf_mixup._models import output_kind
from tf_mixup._models import output_layers
from tf_mixup._models.output_kind import are_logits as are_logits
from tf_mixup._models.output_kind import before_softmax as before_softmax
from tf_mixup._models.output_kind import (
    check_single_label as check_single_label,
)
from tf_mixup._models.output_kind import (
    last_layer_gives_logits as last_layer_gives_logits,
)
from tf_mixup._models.output_kind import must_give_logits as must_give_logits


def to_logits(outputs: Any, from_logits: bool | None = None) -> np.ndarray:
    """Returns a model's outputs as logits of all classes.

    Args:
        outputs: Float array `(N, K)`, or `(N,)` or `(N, 1)` of a sigmoid.
        from_logits: Whether they are logits; None finds it out, see
            `are_logits`.

    Returns:
        logits: Float32 array `(N, K)`; K is 2 for a sigmoid.

    Raises:
        ValueError: As `are_logits`.

    Example:
        >>> to_logits([[0.0, 2.0]]).tolist()
        [[0.0, 2.0]]
    """
    layer = output_layers.Logits(are_logits(outputs, from_logits))
    return ops.convert_to_numpy(layer(output_kind.check_outputs(outputs)))


def structured_inputs(model: keras.Model) -> Any:
    """Returns the symbolic inputs of a model, as it takes them.

    Args:
        model: Functional or sequential model with one output `(B, K)`, or one
            sigmoid column.

    Returns:
        inputs: A Keras tensor, or a nest of them.

    Raises:
        ValueError: If the inputs are not defined, or the output is not one
            row for each example.
    """
    try:
        outputs = model.outputs
        sequential = isinstance(model, keras.Sequential)
        inputs = model.inputs[0] if sequential else model.input
    except (AttributeError, ValueError):
        inputs = outputs = None
    if inputs is None or not outputs:
        raise _checks.refusal(
            "The model must have defined inputs",
            f"a {type(model).__name__} named {model.name!r}",
            "Build it as a functional model, or start a `keras.Sequential`"
            " with `keras.Input(shape)`",
        )
    if len(outputs) != 1 or len(outputs[0].shape) > 2:
        raise _checks.refusal(
            "The model must have one output, (B, K), or one sigmoid column",
            f"outputs of shape {[tuple(tensor.shape) for tensor in outputs]}",
            "Cut it with `keras.Model(model.inputs, one_output)`",
        )
    return inputs
