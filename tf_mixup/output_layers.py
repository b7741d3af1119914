"""Layers after a model's last: from its outputs to probabilities.

They are saved with the model, as numbers that training leaves alone. Letters:
B rows, K classes.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

# The logarithm of 0 is taken of these: the least normal float32, and for a
# sigmoid, whose complement has been rounded, half a step below 1.
_TINY = float(np.finfo(np.float32).tiny)
_HALF_STEP = 2.0**-25


@keras.saving.register_keras_serializable("tf_mixup")
class Logits(keras.layers.Layer):
    """Turns a model's outputs into logits of all classes, in float32.

    Logarithms of probabilities are logits: their softmax gives the same
    probabilities back. Probabilities of 0 count as 1e-38.

    Args:
        from_logits: Whether the outputs are logits already.
        name: Name of the layer.

    Example:
        >>> Logits(from_logits=True)(np.array([[2.0]])).numpy().tolist()
        [[0.0, 2.0]]
    """

    def __init__(self, from_logits: bool, *, name: str | None = None) -> None:
        # Half precision would round logits of 20 by a hundredth.
        super().__init__(name=name, dtype="float32")
        self.from_logits = from_logits

    def call(self, outputs: Any) -> Any:
        """Returns logits.

        Args:
            outputs: Float tensor `(B, K)`, or `(B,)` or `(B, 1)`.

        Returns:
            logits: Float32 tensor `(B, K)`; K is 2 for a sigmoid.
        """
        if len(outputs.shape) == 2 and outputs.shape[-1] != 1:
            columns = outputs
        else:
            column = ops.reshape(outputs, (-1, 1))
            if self.from_logits:
                other = ops.zeros_like(column)
            else:
                other = ops.maximum(1 - column, _HALF_STEP)
            columns = ops.concatenate([other, column], axis=-1)
        if self.from_logits:
            return columns
        return ops.log(ops.maximum(columns, _TINY))

    def compute_output_shape(self, outputs_shape: Any) -> Any:
        """Returns `(B, K)`."""
        columns = outputs_shape[1] if len(outputs_shape) == 2 else 1
        return (outputs_shape[0], max(columns, 2))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this layer."""
        name = super().get_config()["name"]
        return {"name": name, "from_logits": self.from_logits}


@keras.saving.register_keras_serializable("tf_mixup")
class ScaledSoftmax(keras.layers.Layer):
    """Computes `softmax(weight * logits + bias)` with weights that stay.

    Args:
        num_classes: K, of logits `(B, K)`.
        name: Name of the layer.
    """

    def __init__(self, num_classes: int, *, name: str | None = None) -> None:
        super().__init__(name=name, trainable=False, dtype="float32")
        self.num_classes = num_classes
        self.weight = self.add_weight(
            (num_classes,), "ones", trainable=False, name="weight"
        )
        self.bias = self.add_weight(
            (num_classes,), "zeros", trainable=False, name="bias"
        )

    def call(self, logits: Any) -> Any:
        """Returns probabilities `(B, K)` of logits `(B, K)`."""
        return ops.softmax(self.weight * logits + self.bias, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this layer."""
        name = super().get_config()["name"]
        return {"name": name, "num_classes": self.num_classes}


@keras.saving.register_keras_serializable("tf_mixup")
class IsotonicSoftmax(keras.layers.Layer):
    """Maps each class's softmax by its piecewise linear curve; normalises.

    Args:
        num_classes: K, of logits `(B, K)`.
        num_thresholds: Points of each curve, at least 2. A shorter curve
            repeats its last.
        name: Name of the layer.
    """

    def __init__(
        self, num_classes: int, num_thresholds: int, *, name: str | None = None
    ) -> None:
        super().__init__(name=name, trainable=False, dtype="float32")
        self.num_classes = num_classes
        self.num_thresholds = num_thresholds
        shape = (num_classes, num_thresholds)
        self.thresholds = self.add_weight(
            shape, "zeros", trainable=False, name="thresholds"
        )
        self.values = self.add_weight(
            shape, "zeros", trainable=False, name="values"
        )

    def call(self, logits: Any) -> Any:
        """Returns probabilities `(B, K)` of logits `(B, K)`."""
        columns = ops.transpose(ops.softmax(logits, axis=-1))
        rows = ops.transpose(
            _interpolate(
                columns,
                ops.convert_to_tensor(self.thresholds),
                ops.convert_to_tensor(self.values),
            )
        )
        total = ops.sum(rows, axis=-1, keepdims=True)
        empty = total == 0
        return ops.where(
            empty, 1 / self.num_classes, rows / ops.where(empty, 1.0, total)
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this layer."""
        return {
            "name": super().get_config()["name"],
            "num_classes": self.num_classes,
            "num_thresholds": self.num_thresholds,
        }


def _interpolate(columns: Any, thresholds: Any, values: Any) -> Any:
    """Maps each class by its own curve.

    Args:
        columns: Probabilities `(K, B)`.
        thresholds: Where the K curves bend, in order, `(K, L)`.
        values: Of the curves at these points, `(K, L)`.

    Returns:
        mapped: `(K, B)`.
    """
    columns = ops.clip(columns, thresholds[:, :1], thresholds[:, -1:])
    starts = thresholds[:, :-1]
    width = thresholds[:, 1:] - starts
    # Only points that repeat the last have no width.
    width = ops.where(width == 0, 1.0, width)
    rise = values[:, 1:] - values[:, :-1]
    # One search over all classes, which TensorFlow and JAX have in one call.
    above = ops.vectorized_map(
        lambda pair: ops.searchsorted(*pair, side="right"), (starts, columns)
    )
    count, lines = starts.shape
    table = ops.stack([starts, width, values[:, :-1], rise], axis=-1)
    first = lines * ops.arange(count, dtype="int32")[:, None]
    line = ops.take(
        ops.reshape(table, (-1, 4)),
        first + ops.maximum(ops.cast(above, "int32") - 1, 0),
        axis=0,
    )
    share = (columns - line[..., 0]) / line[..., 1]
    return line[..., 2] + share * line[..., 3]
