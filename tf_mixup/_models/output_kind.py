"""Logits or probabilities? The whole library decides it here.

The answer comes from the first of these that knows it:

1. the activation that made the outputs: of a model its last layer, of a tensor
   on TensorFlow the note that Keras leaves behind a softmax or a sigmoid;
2. the caller's `from_logits`;
3. the values: examples that are at least 0 and sum to 1 are probabilities,
   examples with values outside [0, 1] are logits.

Shapes: B or N examples, K classes. Outputs are `(B, K)`, or `(B,)` or `(B, 1)`
of a sigmoid.
"""

import warnings
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from tf_mixup import _checks
from tf_mixup._checks import numbers
from tf_mixup._models import last_layer

# Half precision rounds each of K probabilities; logits miss by far more. Also
# how far one value may lie outside of [0, 1], as a sum of probabilities does.
SUM_TOLERANCE = 0.02
# Logits may be less than this; a rounded probability is not.
_NEGATIVE = -0.001
# Fewer examples of logits may look like probabilities by chance.
_FEW_EXAMPLES = 4
# The first examples of a batch are enough.
_LOOKED_AT = 64
# Numbers of the arrays in memory that are examined at a time.
_BLOCK = 2**20
# The logarithm of 0 is taken of these, by the type of the probabilities: the
# least number above 0, and for a sigmoid, whose complement has been rounded,
# half a step below 1.
_TINY = float(np.finfo(np.float32).tiny)
FLOORS = {
    "float16": (2.0**-24, 2.0**-12),
    "bfloat16": (_TINY, 2.0**-9),
    "float32": (_TINY, 2.0**-25),
    "float64": (float(np.finfo(np.float64).tiny), 2.0**-54),
}


class Columns(NamedTuple):
    """Outputs of a model as one column for each class.

    Attributes:
        values: Logits or probabilities, float32 `(B, K)`; K is 2 for a sigmoid.
        from_logits: A bool, or a scalar tensor where only the values of a
            compiled function decide.
        floor: The least positive probability of the outputs' own type.
        evidence: As of `evidence`; 0 if the values were not examined.
    """

    values: Any
    from_logits: Any
    floor: float
    evidence: Any = 0.0


def read(
    outputs: Any,
    from_logits: bool | None = None,
    *,
    prior: Any = 0.0,
    ask: bool = False,
    dtype: Any = None,
) -> Columns:
    """Reads a batch of outputs, in or outside of a compiled function.

    Args:
        outputs: Float tensor.
        from_logits: Whether they are logits; None detects it.
        prior: `evidence` of earlier batches, which counts before this one.
        ask: For a loss, whose first outputs may all be 0: values without
            evidence are logits, and one column in a compiled function is
            refused.
        dtype: Type that the outputs had before they were cast, if they were.

    Returns:
        columns: Logits where they can be had, also behind a softmax.
    """
    from_logits = check_from_logits(from_logits)
    outputs = to_tensor(outputs)
    count = count_columns(outputs)
    logits = _behind_activation(outputs, count)
    if logits is not None:
        if from_logits:
            _warn("the output of a softmax or sigmoid")
        return Columns(to_columns(logits, True), True, 0.0)
    dtype = keras.backend.standardize_dtype(dtype or outputs.dtype)
    floor = max(FLOORS.get(dtype, (_TINY,))[0], _TINY)
    values = ops.cast(outputs, "float32")
    if from_logits is None and _ends_linear(outputs):
        from_logits = True
    counted = 0.0
    if from_logits is None:
        counted = evidence(values[:_LOOKED_AT])
        found = prior + counted
        from_logits = concrete(found >= 0 if ask else found > 0)
        if ask and count == 1 and not isinstance(from_logits, bool):
            raise _ask_about_column()
    elif from_logits is True and _operation(outputs) is None:
        values = _refuse_distributions(values)
    columns = to_columns(values, from_logits)
    return Columns(columns, from_logits, floor, counted)


def flatten_sigmoids(
    outputs: Any, from_logits: bool | None = None
) -> tuple[Any, bool | None]:
    """Returns outputs of K sigmoids as one column, for `read`.

    Args:
        outputs: Float tensor `(B, K)`, or `(B,)` of one sigmoid.
        from_logits: Whether they are logits; None detects it.

    Returns:
        column: `(B * K, 1)`; logits where Keras kept them.
        from_logits: Whether it is logits; None if only the values tell.
    """
    from_logits = check_from_logits(from_logits)
    logits = getattr(outputs, "_keras_logits", None)
    # Outside of graphs a softmax leaves the same note.
    if logits is not None and _kind(outputs) == "Sigmoid":
        if from_logits:
            _warn("the output of a softmax or sigmoid")
        outputs, from_logits = logits, True
    elif from_logits is None and _ends_linear(outputs):
        from_logits = True
    return ops.reshape(outputs, (-1, 1)), from_logits


def check_from_logits(from_logits: Any) -> bool | None:
    """Returns `from_logits` as a bool or None; refuses other values."""
    if from_logits is None:
        return None
    truth = isinstance(from_logits, bool | np.bool_ | int)
    if not truth or from_logits not in (0, 1):
        raise _checks.refusal(
            "`from_logits` must be True, False or None",
            f"from_logits={from_logits!r}",
            "Omit it to detect it automatically",
        )
    return bool(from_logits)


def to_tensor(outputs: Any) -> Any:
    """Returns outputs `(B, K)`, `(B,)` or `(B, 1)` as a tensor."""
    outputs = ops.convert_to_tensor(numbers.read(outputs, "Predictions"))
    if len(outputs.shape) not in (1, 2) or count_columns(outputs) == 0:
        raise _checks.refusal(
            "Predictions must have shape (B, K), (B,) or (B, 1)",
            f"predictions of shape {tuple(outputs.shape)}",
            "Reshape labels and predictions to one example per prediction",
        )
    return outputs


def count_columns(outputs: Any) -> int:
    """Returns K of outputs `(B, K)`; 1 of a sigmoid's, also `(B,)`."""
    return outputs.shape[1] if len(outputs.shape) > 1 else 1


def evidence(values: Any) -> Any:
    """Counts examples that look like logits, minus those like probabilities.

    Args:
        values: Float32 outputs.

    Returns:
        evidence: Float32 scalar; 0 where no example decides, such as values
            in [0, 1] that do not sum to 1.
    """
    single = count_columns(values) == 1
    examples = ops.reshape(values, (-1, 1)) if single else values
    # A logit of -inf, of a masked class, counts as any other.
    finite = ops.all(examples < float("inf"), axis=-1)
    valid = ops.zeros_like(finite) if single else are_distributions(examples)
    outside = ops.logical_or(
        ops.any(examples > 1 + SUM_TOLERANCE, axis=-1),
        ops.logical_and(
            ops.logical_not(valid), ops.any(examples < _NEGATIVE, axis=-1)
        ),
    )
    outside = _count(ops.logical_and(finite, outside))
    if single:
        # One value beyond 1 is no probability; others lie in [0, 1] by chance.
        inside = _count(finite) - outside
        return ops.where(outside > 0, outside, -inside)
    return outside - _count(valid)


def are_distributions(values: Any) -> Any:
    """Returns which of `(B, K)` are at least 0 and sum to 1, within .02.

    Of arrays in NumPy, of tensors as a tensor.
    """
    # Some small operations take NumPy much less time than an eager backend.
    library: Any = np if isinstance(values, np.ndarray) else ops
    with np.errstate(over="ignore", invalid="ignore"):
        total = library.sum(values, axis=-1)
    return library.logical_and(
        library.all(values >= -SUM_TOLERANCE, axis=-1),
        library.abs(total - 1) <= SUM_TOLERANCE,
    )


def refuse_outside(
    values: Any, name: str, *, received: str, remedy: str
) -> Any:
    """Returns values in [0, 1]; refuses others, or gives NaN when compiled.

    Args:
        values: Float tensor; .02 outside of [0, 1] are tolerated.
        name: Name in messages.
        received: Name of its values in messages.
        remedy: How to fix the call, without its full stop.
    """
    outside = ops.logical_or(
        values < -SUM_TOLERANCE, values > 1 + SUM_TOLERANCE
    )
    if concrete(ops.any(outside)) is True:
        raise _checks.refusal(
            f"{name} must lie in [0, 1]",
            f"{received} from {float(ops.min(values)):g} to"
            f" {float(ops.max(values)):g}",
            remedy,
        )
    return ops.where(outside, ops.cast(float("nan"), values.dtype), values)


def are_logits(
    outputs: Any,
    from_logits: bool | None = None,
    *,
    model: keras.Model | None = None,
) -> bool:
    """Returns whether predictions in memory are logits.

    Args:
        outputs: Float array.
        from_logits: What the caller says. With None the last layer of `model`
            decides, else the values.
        model: The model that predicted them, if it is at hand.

    Raises:
        ValueError: If `outputs` are no such array; if `from_logits`, the last
            layer and the values contradict each other; or if nothing decides:
            one column within [0, 1], or several whose examples do not sum
            to 1, as the sigmoids of several labels.

    Example:
        >>> are_logits([[0.5, 0.5]]), are_logits([[0.5, -0.5]])
        (False, True)
    """
    from_logits = check_from_logits(from_logits)
    values = check_outputs(outputs)
    layer = None if model is None else last_layer.last_layer_gives_logits(model)
    if model is not None and last_layer.last_activation(model) == "sigmoid":
        last_layer.refuse_several_labels(count_columns(values))
    known = agree(layer, from_logits)
    if known is None:
        return _find_in_values(values)
    _compare_with_values(values, known)
    return known


def check_outputs(outputs: Any) -> np.ndarray:
    """Returns outputs `(N, K)`, `(N,)` or `(N, 1)` as a float array."""
    array = numbers.to_numpy(outputs, "Outputs")
    # Types such as bfloat16 are none of NumPy's own floats.
    array = array.astype(
        np.float64 if array.dtype == np.float64 else np.float32, copy=False
    )
    if array.ndim not in (1, 2) or not array.size:
        raise _checks.refusal(
            "Outputs must have shape (N, K), or (N,) or (N, 1) of a sigmoid,"
            " and at least one example",
            f"outputs of shape {array.shape}",
            "Give one list of logits or probabilities for each example",
        )
    return array


def must_give_logits(
    model: keras.Model, from_logits: bool | None = None
) -> bool:
    """Returns whether a model gives logits, before there are any values."""
    layer = last_layer.last_layer_gives_logits(model)
    known = agree(layer, check_from_logits(from_logits))
    if known is None:
        raise _checks.refusal(
            "Whether outputs are logits must be known to build a model",
            f"from_logits=None and a model named {model.name!r} whose last"
            " layer does not decide",
            "Write `from_logits=True`, or False",
        )
    return known


def agree(layer: bool | None, from_logits: bool | None) -> bool | None:
    """Returns what is known of a last layer; refuses a contradiction."""
    if None not in (layer, from_logits) and layer != from_logits:
        raise _checks.refusal(
            "`from_logits` must say what the model's last layer gives",
            f"from_logits={from_logits} with a last layer that gives"
            f" {'logits' if layer else 'probabilities'}",
            f"Write `from_logits={layer}`, or leave it out",
        )
    return layer if from_logits is None else from_logits


def to_columns(values: Any, from_logits: Any) -> Any:
    """Returns float32 `(B, K)`; a sigmoid's first logit is 0."""
    values = ops.cast(values, "float32")
    if count_columns(values) != 1:
        return values
    column = ops.reshape(values, (-1, 1))
    if isinstance(from_logits, bool):
        other = ops.zeros_like(column) if from_logits else 1 - column
    else:
        other = ops.where(from_logits, ops.zeros_like(column), 1 - column)
    return ops.concatenate([other, column], axis=-1)


def _behind_activation(outputs: Any, count: int) -> Any:
    """Returns the logits that Keras keeps beside a softmax or a sigmoid."""
    logits = getattr(outputs, "_keras_logits", None)
    if logits is None or logits.shape != outputs.shape:
        return None
    kind = _kind(outputs)
    if kind == "Sigmoid":
        last_layer.refuse_several_labels(count)
    if (
        kind is None
        and count > 1
        and not concrete(
            ops.all(are_distributions(ops.cast(outputs, "float32")))
        )
    ):
        # Outside of graphs only values separate a softmax from sigmoids.
        return None
    # The softmax of one column is 1, whatever its logit.
    return None if kind == "Softmax" and count == 1 else logits


def _operation(tensor: Any) -> Any:
    """Returns the TensorFlow operation behind a graph's tensor, or None."""
    if keras.backend.backend() != "tensorflow":
        return None
    try:
        operation = tensor.op
    except AttributeError:
        return None
    # Losses cast what half precision gives, and flatten steps.
    while operation.type in ("Cast", "Reshape"):
        operation = operation.inputs[0].op
    return operation


def _kind(tensor: Any) -> str | None:
    """Returns the type of the operation behind a graph's tensor."""
    operation = _operation(tensor)
    return None if operation is None else operation.type


def cast(outputs: Any, dtype: Any) -> Any:
    """Casts a model's outputs and keeps Keras' notes on them."""
    outputs = ops.convert_to_tensor(outputs)
    converted = ops.cast(outputs, dtype)
    if converted is outputs:
        return outputs
    logits = getattr(outputs, "_keras_logits", None)
    mask = getattr(outputs, "_keras_mask", None)
    if logits is not None:
        converted._keras_logits = ops.cast(logits, dtype)
    if mask is not None:
        converted._keras_mask = mask
    return converted


def flatten(outputs: Any) -> Any:
    """Returns outputs `(B, ..., K)` as `(-1, K)`, with Keras' note on them."""
    shape = (-1, outputs.shape[-1])
    flat = ops.reshape(outputs, shape)
    logits = getattr(outputs, "_keras_logits", None)
    if logits is not None:
        flat._keras_logits = ops.reshape(logits, shape)
    return flat


def _ends_linear(tensor: Any) -> bool:
    """Returns whether a graph's tensor comes straight from a dense layer."""
    operation = _operation(tensor)
    if operation is None or operation.type in ("MatMul", "BiasAdd"):
        return operation is not None
    return operation.type in ("Add", "AddV2") and any(
        _kind(each) == "MatMul" for each in operation.inputs
    )


def _count(flags: Any) -> Any:
    return ops.sum(ops.cast(flags, "float32"))


def _all_distributions(values: Any) -> Any:
    """Returns whether more than a few examples are all probabilities."""
    size = values.shape[0] or 0
    if count_columns(values) == 1 or size < _FEW_EXAMPLES:
        return False
    return are_distributions(values).all()


def _refuse_distributions(logits: Any) -> Any:
    """Warns of logits that are all probabilities; compiled, gives NaN."""
    examples = logits[:_LOOKED_AT]
    if keras.backend.backend() == "tensorflow":
        # It is asked outside of graphs only; see `read`.
        examples = ops.convert_to_numpy(examples)
    mistaken = concrete(_all_distributions(examples))
    if mistaken is True:
        _warn("examples that are probabilities")
    return (
        logits
        if isinstance(mistaken, bool)
        else ops.where(mistaken, ops.cast(float("nan"), "float32"), logits)
    )


def concrete(flag: Any) -> Any:
    """Returns a bool; in a compiled function, which has none, the tensor."""
    try:
        return bool(flag)
    except TypeError:
        return flag


def _warn(what: str) -> None:
    warnings.warn(
        f"`from_logits=True` was given {what}. Leave `from_logits` out, or"
        " remove the activation of the last layer.",
        stacklevel=4,
    )


def _find_in_values(values: np.ndarray) -> bool:
    columns = count_columns(values)
    found, low, high = 0.0, np.inf, -np.inf
    for examples in _blocks(values, _lacks_infinity):
        found += float(evidence(examples.astype(np.float32, copy=False)))
        low, high = min(low, examples.min()), max(high, examples.max())
    if low > high:
        # There are no such examples.
        return True
    if columns == 1 and found <= 0:
        raise _ask_about_column()
    if found == 0 and (low < _NEGATIVE or high > 1 + SUM_TOLERANCE):
        return True
    if found == 0 or (
        found < 0 and any(map(_count_wrong, _blocks(values, _lacks_infinity)))
    ):
        raise _checks.refusal(
            "Columns within [0, 1] must sum to 1 in each example, as"
            " probabilities do",
            f"from_logits=None with {columns} columns that do not",
            "Sigmoids of several labels at once have no confidence in one"
            " class; write `from_logits=True` if they are logits",
        )
    return found > 0


def _blocks(
    values: np.ndarray, keep: Callable[[np.ndarray], np.ndarray]
) -> Iterator[np.ndarray]:
    """Yields the kept examples `(B, K)` in parts, without empty ones.

    One column comes as one part, since its evidence does not add up.
    """
    examples = values.reshape(len(values), -1)
    columns = examples.shape[-1]
    step = max(1, _BLOCK // columns if columns > 1 else len(examples))
    for start in range(0, len(examples), step):
        block = examples[start : start + step]
        kept = keep(block).all(axis=-1)
        block = block if kept.all() else block[kept]
        if len(block):
            yield block


def _lacks_infinity(values: np.ndarray) -> np.ndarray:
    """Returns which values are less than infinity, and not NaN."""
    return values < np.inf


def _ask_about_column() -> ValueError:
    return _checks.refusal(
        "One column within [0, 1] can be logits or probabilities",
        "from_logits=None",
        "Write `from_logits=False` for a sigmoid's probabilities",
    )


def are_all_distributions(values: np.ndarray) -> bool:
    """Returns whether all of more than a few finite examples sum to 1."""
    size = 0
    for examples in _blocks(values, np.isfinite):
        size += len(examples)
        if count_columns(examples) == 1 or _count_wrong(examples):
            return False
    return size >= _FEW_EXAMPLES


def _compare_with_values(values: np.ndarray, known: bool) -> None:
    """Refuses, or warns of, values that contradict what is known."""
    if known:
        if are_all_distributions(values):
            _warn("examples that are probabilities")
        return
    size = wrong = 0
    for examples in _blocks(values, np.isfinite):
        size += len(examples)
        wrong += _count_wrong(examples)
    if wrong:
        raise _checks.refusal(
            "Probabilities must lie in [0, 1], and sum to 1 over classes",
            f"from_logits=False with {wrong} of {size} examples that do not",
            "Write `from_logits=True` if they are logits",
        )


def _count_wrong(examples: np.ndarray) -> int:
    """Counts the examples `(N, K)` that are not probabilities."""
    if examples.shape[-1] == 1:
        examples = np.hstack([1 - examples, examples])
    valid = are_distributions(examples.astype(np.float32, copy=False))
    return int(np.sum(~valid))
