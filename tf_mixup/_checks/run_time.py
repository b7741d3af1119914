"""Checks of values that are known only when a pipeline runs."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_mixup import _checks


def require(
    values: Any,
    condition: tf.Tensor,
    rule: str,
    received: str,
    numbers: Sequence[tf.Tensor],
    remedy: str,
) -> Any:
    """Returns `values` if a condition holds when they are computed.

    The message is one text, so that TensorFlow shows it in one piece. A graph
    makes it whether it is needed or not: that takes microseconds, while a
    branch takes milliseconds whenever an iterator starts.

    Args:
        values: Tensor, or nested structure of tensors.
        condition: Boolean scalar.
        rule: What must hold, a sentence without its full stop.
        received: Describes what was received, with a `{}` for each number.
        numbers: Scalars or vectors, to be put into `received`.
        remedy: How to fix it.

    Raises:
        tf.errors.InvalidArgumentError: If the condition does not hold.
    """

    def message() -> tf.Tensor:
        # Braces of the other parts are no places for numbers.
        mark = "\0"
        return tf.strings.format(
            str(_checks.refusal(rule, received.replace("{}", mark), remedy)),
            numbers,
            placeholder=mark,
            summarize=-1,
        )

    if tf.executing_eagerly():
        if not condition:
            text = message().numpy().decode()
            raise tf.errors.InvalidArgumentError(None, None, text)
        return values
    check = tf.raw_ops.Assert(
        condition=condition, data=[message()], summarize=1
    )
    with tf.control_dependencies([check]):
        return tf.nest.map_structure(tf.identity, values)
