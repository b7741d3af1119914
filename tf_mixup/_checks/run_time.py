"""Checks of values that are known only when a pipeline runs."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def require(
    values: Any,
    condition: tf.Tensor,
    rule: str,
    received: Callable[[], tf.Tensor],
    remedy: Callable[[], tf.Tensor | str] | str,
) -> Any:
    """Returns `values` if a condition holds when they are computed.

    The message is one text, made only when needed, so that TensorFlow shows
    it in one piece.

    Args:
        values: Tensor, or nested structure of tensors.
        condition: Boolean scalar.
        rule: What must hold, a sentence without its full stop.
        received: Makes the description of what was received.
        remedy: How to fix it, or a function that makes the text.

    Raises:
        tf.errors.InvalidArgumentError: If the condition does not hold.
    """

    def message() -> tf.Tensor:
        advice = remedy() if callable(remedy) else remedy
        return tf.strings.join(
            [f"{rule}. Received: ", received(), ". ", advice, "."]
        )

    if tf.executing_eagerly():
        if not condition:
            text = message().numpy().decode()
            raise tf.errors.InvalidArgumentError(None, None, text)
        return values
    check = tf.cond(
        condition,
        tf.no_op,
        lambda: tf.raw_ops.Assert(
            condition=tf.constant(False), data=[message()], summarize=1
        ),
    )
    with tf.control_dependencies([check]):
        return tf.nest.map_structure(tf.identity, values)
