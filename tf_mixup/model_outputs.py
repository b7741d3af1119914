"""What a model says of rows of inputs, as logits of all classes.

Letters: B and N rows, K classes. A model's **outputs** are logits or
probabilities, `(B, K)`; or one sigmoid column `(B, 1)` or `(B,)`, which stands
for the two classes `{1 - p, p}`.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from tf_mixup import checks
from tf_mixup import output_layers
from tf_mixup import predictions


def are_logits(outputs: Any, from_logits: bool | None = None) -> bool:
    """Tells whether a model's outputs are logits, if need be by their values.

    Args:
        outputs: Float array `(N, K)`, or `(N,)` or `(N, 1)`.
        from_logits: The answer where it is known. With None, outputs are
            probabilities if each row is at least 0 and sums to 1.

    Returns:
        from_logits: Whether they are logits.

    Raises:
        ValueError: If `outputs` are no such array; or if `from_logits` is None
            and they are one column within [0, 1], which could be either, or
            several whose rows do not sum to 1, as sigmoids.

    Example:
        >>> are_logits([[0.5, 0.5]]), are_logits([[0.5, -0.5]])
        (False, True)
    """
    outputs = _check_outputs(outputs)
    if from_logits is not None:
        return from_logits
    rows = outputs.reshape(len(outputs), -1)
    rows = rows[np.isfinite(rows).all(axis=-1)]
    if rows.shape[-1] > 1:
        sums = np.abs(rows.sum(axis=-1, dtype=np.float64) - 1)
        distributions = (rows >= 0).all(axis=-1) & (
            sums <= predictions.SUM_TOLERANCE
        )
        if len(rows) and distributions.all():
            return False
        if np.all((rows >= 0) & (rows <= 1)) and len(rows):
            raise checks.refusal(
                "Columns within [0, 1] must sum to 1 in each row, as"
                " probabilities do",
                f"from_logits=None with {rows.shape[-1]} columns that do not",
                "Sigmoids of several labels at once have no confidence in one"
                " class; write `from_logits=True` if they are logits",
            )
        return True
    if np.all((rows >= 0) & (rows <= 1)):
        raise checks.refusal(
            "One column within [0, 1] can be logits or probabilities",
            "from_logits=None",
            "Write `from_logits=False` for a sigmoid's probabilities",
        )
    return True


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
    return ops.convert_to_numpy(layer(_check_outputs(outputs)))


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
        raise checks.refusal(
            "The model must have defined inputs",
            f"a {type(model).__name__} named {model.name!r}",
            "Build it as a functional model, or start a `keras.Sequential`"
            " with `keras.Input(shape)`",
        )
    if len(outputs) != 1 or len(outputs[0].shape) > 2:
        raise checks.refusal(
            "The model must have one output, (B, K), or one sigmoid column",
            f"outputs of shape {[tuple(tensor.shape) for tensor in outputs]}",
            "Cut it with `keras.Model(model.inputs, one_output)`",
        )
    return inputs


def _check_outputs(outputs: Any) -> np.ndarray:
    array = np.asarray(outputs)
    # Types such as bfloat16 are none of NumPy's own floats.
    array = array.astype(
        np.float64 if array.dtype == np.float64 else np.float32
    )
    if array.ndim not in (1, 2) or not array.size:
        raise checks.refusal(
            "Outputs must have shape (N, K), or (N,) or (N, 1) of a sigmoid,"
            " and at least one row",
            f"outputs of shape {array.shape}",
            "Give one row of logits or probabilities for each example",
        )
    return array
