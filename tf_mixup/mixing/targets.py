"""What labels become before they are mixed: float32 targets.

Labels come in many forms and some are ambiguous. Each form is either turned
into float32 targets or refused with the remedy; none is guessed.
Shapes: B examples, T steps, K classes.
"""

from typing import Any

import tensorflow as tf

from tf_mixup import _checks
from tf_mixup._checks import run_time

# Sums this near to 1 are those of a distribution that was rounded.
ROUNDED = 0.05
# Sums nearer than this are off by no more than float32 makes them.
EXACT = 1e-5


def encode(
    labels: tf.Tensor,
    num_classes: int | None,
    ignore_label: int | None = None,
) -> tf.Tensor:
    """Turns a batch of labels into float32 targets that can be mixed.

    | labels                                   | targets            |
    |------------------------------------------|--------------------|
    | integers `(B,)`, `(B, 1)`                | one-hot `(B, K)`   |
    | `num_classes=1`: numbers in `[0, 1]`     | `(B, 1)`, sigmoid  |
    | one-hot, soft, multi-hot `(B, ..., K)`   | the same, float32  |
    | floats, `num_classes=None`               | the same, float32  |

    With `num_classes=K` vectors must lie in `[0, 1]`. A vector whose sum is
    within 0.05 of 1 is a distribution that was rounded, e.g. shares of votes
    with two decimals, and is divided by its sum; other sums, as of several
    labels, stay. Without `num_classes` nothing is changed.

    Args:
        labels: Tensor with B examples.
        num_classes: K; needed for integer labels. None takes targets that are
            numbers already: one-hot, soft, multi-hot, or regression targets.
        ignore_label: Label of examples whose class is unknown; their targets
            are 0. None if there are none.

    Returns:
        targets: Float32 tensor with B examples.

    Raises:
        ValueError: If the labels do not say what they mean.
        tf.errors.InvalidArgumentError: If a label is out of range (a value is
            seen only when the pipeline runs).
    """
    if labels.dtype not in (tf.bool, *_NUMBERS):
        raise _checks.refusal(
            "Targets must be numbers",
            f"targets of dtype {labels.dtype.name}",
            "Turn names of classes into integers from 0 first, with"
            " `keras.layers.StringLookup(num_oov_indices=0)`",
        )
    if not _are_scalars(labels, num_classes):
        return _encode_vectors(labels, num_classes)
    if num_classes is None:
        raise _checks.refusal(
            "Integer labels need the number of classes",
            f"targets of shape {labels.shape} and dtype {labels.dtype.name}"
            " with num_classes=None",
            "Write `MixUp(..., num_classes=K)`; for one sigmoid output"
            " `num_classes=1`; cast numbers to regress on to float32",
        )
    column = labels if labels.shape.rank == 1 else tf.reshape(labels, [-1])
    if ignore_label is None:
        return _encode_scalars(column, num_classes)
    known = find_known(labels, num_classes, ignore_label)
    # Zeros are in range, whatever the label of unknown classes is.
    column = tf.where(known, column, tf.zeros_like(column))
    targets = _encode_scalars(column, num_classes)
    return tf.where(known[:, None], targets, 0.0)


def find_known(
    labels: tf.Tensor, num_classes: int | None, ignore_label: int | None
) -> tf.Tensor:
    """Finds the examples whose class is known.

    Args:
        labels: As `encode` takes them.
        num_classes: As for `encode`.
        ignore_label: As for `encode`.

    Returns:
        known: Booleans `(B,)`; all are true for targets that are vectors.
    """
    if ignore_label is None or not _are_scalars(labels, num_classes):
        return tf.ones(tf.shape(labels)[:1], tf.bool)
    # In float64: -1 is no unsigned number, and 255 is no int8.
    values = tf.cast(tf.reshape(labels, [-1]), tf.float64)
    return values != tf.constant(ignore_label, tf.float64)


def replace_invalid(
    labels: tf.Tensor, num_classes: int | None, counted: tf.Tensor
) -> tf.Tensor:
    """Replaces labels out of range by 0 where an example does not count.

    Args:
        labels: As `encode` takes them.
        num_classes: As for `encode`.
        counted: Which examples count, bool `(B,)`.
    """
    if labels.dtype not in _NUMBERS:
        return labels
    values = tf.cast(labels, tf.float64)
    invalid = ~tf.math.is_finite(values)
    if num_classes is not None:
        scalars = _are_scalars(labels, num_classes)
        high = max(num_classes - 1, 1) if scalars else 1
        invalid |= (values < 0) | (values > high)
    invalid &= ~like(counted, labels)
    return tf.where(invalid, tf.zeros_like(labels), labels)


def renormalize(
    targets: tf.Tensor, known: tf.Tensor, own: tf.Tensor
) -> tf.Tensor:
    """Divides mixed targets by the share of examples that count.

    Args:
        targets: Mixed targets, in which those of other examples are 0.
        known: Share of examples that count in each mixture, float `(B,)`.
        own: Targets before mixing.

    Returns:
        targets: Those of the examples that count; `own` where there are none.
    """
    shares = tf.cast(like(known, targets), targets.dtype)
    mixed = tf.math.divide_no_nan(targets, shares)
    return tf.where(shares > 0, mixed, own[: tf.shape(targets)[0]])


def like(column: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Returns a column `(B,)` as `(B, 1, ..., 1)`, of the rank of `values`."""
    return tf.reshape(column, [-1, *[1] * (values.shape.rank - 1)])


def weigh_outputs(weights: list, factors: Any) -> Any:
    """Multiplies the sample weights of outputs by factors.

    Args:
        weights: Nothing, or one item: a tensor for all outputs, or a
            structure like `factors`.
        factors: Float32 `(B,)` or `(B, T)` for each output.

    Returns:
        weights: The structure of `factors`, or of `weights` if there is one
            output.

    Raises:
        ValueError: If the structures do not fit.
    """
    if not weights:
        return factors
    (given,) = weights
    if not tf.nest.is_nested(given):
        return tf.nest.map_structure(lambda each: weigh(given, each), factors)
    flat, each = tf.nest.flatten(given), tf.nest.flatten(factors)
    if len(flat) != len(each):
        raise _checks.refusal(
            "Sample weights must be one tensor, or one for each output",
            f"weights for {len(flat)} of {len(each)} outputs",
            "Give the other outputs weights of 1",
        )
    weighed = [weigh(*pair) for pair in zip(flat, each, strict=True)]
    return tf.nest.pack_sequence_as(given, weighed)


def weigh(weights: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies sample weights by a factor for each example or step.

    Args:
        weights: Of any dtype, `(B,)`, `(B, 1)` or `(B, T)`.
        factor: Float32, `(B,)` or `(B, T)`.

    Returns:
        weights: Float32, of the larger rank; `(B,)` for `(B, 1)`.
    """
    weights = tf.cast(weights, tf.float32)
    if weights.shape.rank == factor.shape.rank + 1 and weights.shape[-1] == 1:
        weights = tf.squeeze(weights, axis=-1)
    while weights.shape.rank < factor.shape.rank:
        weights = weights[..., None]
    while factor.shape.rank < weights.shape.rank:
        factor = factor[..., None]
    return weights * factor


_NUMBERS = (
    *(tf.uint8, tf.uint16, tf.uint32, tf.uint64),
    *(tf.int8, tf.int16, tf.int32, tf.int64),
    *(tf.bfloat16, tf.float16, tf.float32, tf.float64),
)


def _are_scalars(labels: tf.Tensor, num_classes: int | None) -> bool:
    """Returns whether each example has one number for a label."""
    scalars = labels.shape.rank == 1 or labels.shape[1:] == [1]
    whole = labels.dtype.is_integer or labels.dtype == tf.bool
    if num_classes == 1 and not scalars:
        raise _checks.refusal(
            "With `num_classes=1`, one sigmoid output, targets must have shape"
            " (B,) or (B, 1)",
            f"targets of shape {labels.shape}",
            "Give `num_classes` the number of columns",
        )
    return scalars and (whole or num_classes == 1)


def _encode_scalars(labels: tf.Tensor, num_classes: int) -> tf.Tensor:
    # Checked before the cast: 2**32 is 0 in 32 bits.
    labels = _in_range(
        labels,
        tf.cast(labels, tf.float64),
        max(num_classes - 1, 1),
        "Count classes from 0 and check `num_classes`; if a label marks"
        " examples of unknown class write `MixUp(..., ignore_label=-1)`",
    )
    if num_classes == 1:
        targets = tf.cast(labels, tf.float32)[:, None]
        return tf.clip_by_value(targets, 0, 1)
    return tf.one_hot(tf.cast(labels, tf.int64), num_classes, dtype=tf.float32)


def _encode_vectors(labels: tf.Tensor, num_classes: int | None) -> tf.Tensor:
    columns = labels.shape[-1] if labels.shape.rank > 1 else None
    if num_classes is not None and columns != num_classes:
        raise _checks.refusal(
            f"With `num_classes={num_classes}` targets must be class ids of an"
            f" integer type, shape (B,), or vectors of {num_classes} values",
            f"targets of shape {labels.shape} and dtype {labels.dtype.name}",
            "Cast class ids to int32, encode the ids of steps (B, T) with"
            f" `tf.one_hot(y, {num_classes})` and give a mask of steps as"
            " sample weights (B, T), or leave `num_classes` out for targets to"
            " regress on",
        )
    whole = labels.dtype.is_integer or labels.dtype == tf.bool
    if num_classes is None and not whole:
        return tf.cast(labels, tf.float32)
    # Integers are one-hot or multi-hot; anything else is ids or counts.
    labels = _in_range(
        labels,
        tf.cast(labels, tf.float32),
        1.0,
        "Divide counts of votes by their sum, `y / tf.reduce_sum(y, axis=-1,"
        " keepdims=True)`; encode class ids with `tf.one_hot`; leave"
        " `num_classes` out for targets to regress on",
    )
    targets = tf.clip_by_value(tf.cast(labels, tf.float32), 0, 1)
    return _normalize_rounded(targets)


def _normalize_rounded(targets: tf.Tensor) -> tf.Tensor:
    """Divides vectors by their sums, where these are nearly 1."""
    sums = tf.reduce_sum(targets, axis=-1, keepdims=True)
    error = tf.abs(sums - 1)
    rounded = (error > EXACT) & (error <= ROUNDED + EXACT)
    return targets / tf.where(rounded, sums, 1.0)


def _in_range(
    labels: tf.Tensor, values: tf.Tensor, high: float, remedy: str
) -> tf.Tensor:
    """Returns `labels`; at run time all `values` must lie in a range."""
    # Rounding may end a step of the type above 1.
    room = 2.0**-7 if labels.dtype.size == 2 else EXACT

    # NaN is in no range.
    valid = tf.reduce_all((values >= -room) & (values <= high + room))
    return run_time.require(
        labels,
        valid,
        f"Labels must lie in [0, {high:g}]",
        "values from {} to {}",
        [tf.reduce_min(values), tf.reduce_max(values)],
        remedy,
    )
