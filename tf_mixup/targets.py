"""What labels become before they are mixed: float32 targets.

Labels come in many forms and some are ambiguous. Each form is either turned
into float32 targets or refused with the remedy; none is guessed.
"""

import tensorflow as tf

from tf_mixup import checks


def encode(labels: tf.Tensor, num_classes: int | None) -> tf.Tensor:
    """Turns a batch of labels into float32 targets that can be mixed.

    | labels                                   | targets            |
    |------------------------------------------|--------------------|
    | integers `(B,)`, `(B, 1)`                | one-hot `(B, K)`   |
    | `num_classes=1`: numbers in `[0, 1]`     | `(B, 1)`, sigmoid  |
    | one-hot, soft, multi-hot `(B, ..., K)`   | the same, float32  |
    | floats, `num_classes=None`               | the same, float32  |

    Args:
        labels: Tensor with B rows.
        num_classes: K; needed for integer labels. None takes targets that are
            numbers already: one-hot, soft, multi-hot, or regression targets.

    Returns:
        targets: Float32 tensor with B rows.

    Raises:
        ValueError: If the labels do not say what they mean.
        tf.errors.InvalidArgumentError: If a label is out of range (a value is
            seen only when the pipeline runs).
    """
    if labels.dtype not in (tf.bool, *_NUMBERS):
        raise checks.refusal(
            "Targets must be numbers",
            f"targets of dtype {labels.dtype.name}",
            "Turn names of classes into integers first, e.g. with"
            " `keras.layers.StringLookup`",
        )
    if num_classes == 1:
        return _encode_binary(labels)
    if _are_class_ids(labels):
        return _encode_class_ids(labels, num_classes)
    return _encode_vectors(labels, num_classes)


_NUMBERS = (
    *(tf.uint8, tf.uint16, tf.uint32, tf.uint64),
    *(tf.int8, tf.int16, tf.int32, tf.int64),
    *(tf.bfloat16, tf.float16, tf.float32, tf.float64),
)


def _are_class_ids(labels: tf.Tensor) -> bool:
    scalars = labels.shape.rank == 1 or labels.shape[1:] == [1]
    return scalars and (labels.dtype.is_integer or labels.dtype == tf.bool)


def _encode_binary(labels: tf.Tensor) -> tf.Tensor:
    if labels.shape.rank != 1 and labels.shape[1:] != [1]:
        raise checks.refusal(
            "With `num_classes=1`, one sigmoid output, targets must have shape"
            " (B,) or (B, 1)",
            f"targets of shape {labels.shape}",
            "Give `num_classes` the number of columns",
        )
    targets = tf.reshape(tf.cast(labels, tf.float32), [-1, 1])
    return _with_range(targets, targets, 0.0, 1.0)


def _encode_class_ids(labels: tf.Tensor, num_classes: int | None) -> tf.Tensor:
    if num_classes is None:
        raise checks.refusal(
            "Integer labels need the number of classes",
            f"targets of shape {labels.shape} and dtype {labels.dtype.name}"
            " with num_classes=None",
            "Write `MixUp(..., num_classes=K)`; for one sigmoid output"
            " `num_classes=1`; cast numbers to regress on to float32",
        )
    ids = tf.reshape(tf.cast(labels, tf.int64), [-1])
    targets = tf.one_hot(ids, num_classes, dtype=tf.float32)
    return _with_range(targets, ids, 0, num_classes - 1)


def _encode_vectors(labels: tf.Tensor, num_classes: int | None) -> tf.Tensor:
    columns = labels.shape[-1] if labels.shape.rank > 1 else None
    if num_classes is not None and columns != num_classes:
        raise checks.refusal(
            f"With `num_classes={num_classes}` targets must be class ids of an"
            f" integer type, shape (B,), or vectors of {num_classes} values",
            f"targets of shape {labels.shape} and dtype {labels.dtype.name}",
            "Cast class ids to int32, encode dense ids with `tf.one_hot`, or"
            " leave `num_classes` out for targets to regress on",
        )
    targets = tf.cast(labels, tf.float32)
    if labels.dtype.is_integer:
        # Integers are one-hot or multi-hot; anything else is ids in disguise.
        return _with_range(targets, targets, 0.0, 1.0)
    return targets


def _with_range(
    targets: tf.Tensor, values: tf.Tensor, low: float, high: float
) -> tf.Tensor:
    """Returns `targets`; at run time all `values` must lie in a range."""
    inside = tf.reduce_all((values >= low) & (values <= high))
    check = tf.debugging.Assert(
        inside,
        [
            f"Labels must lie in [{low:g}, {high:g}]. Received: values from",
            tf.reduce_min(values),
            "to",
            tf.reduce_max(values),
            ". Count classes from 0 and check `num_classes`.",
        ],
    )
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(targets)
