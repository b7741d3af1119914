"""Layers after a model's last: from its outputs to probabilities.

They are saved with the model, as weights that are not trained. Shapes: B and N
examples, K classes.
"""

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_mixup import _checks
from tf_mixup._models import output_kind


def to_logits(
    outputs: Any, from_logits: bool, *, multi_label: bool = False
) -> np.ndarray:
    """Returns predictions in memory as logits `(N, K)`; K is 2 for a sigmoid.

    With `multi_label` each column is a sigmoid of its own, also a single one.
    Warns of half precision, which loses probabilities close to 0 or 1.

    Example:
        >>> to_logits(np.array([[1.0, 3.0]]), True).tolist()
        [[1.0, 3.0]]
    """
    outputs = ops.convert_to_tensor(outputs)
    dtype = keras.backend.standardize_dtype(outputs.dtype)
    if dtype in ("float16", "bfloat16"):
        warnings.warn(
            f"The model's outputs are {dtype}, which rounds probabilities"
            " close to 0 or 1. Give its last layer `dtype='float32'`.",
            stacklevel=3,
        )
    layer = Logits(from_logits, multi_label=multi_label)
    return ops.convert_to_numpy(layer(outputs))


@keras.saving.register_keras_serializable("tf_mixup")
class Logits(keras.layers.Layer):
    """Turns a model's outputs into float32 logits of all classes.

    Logarithms of probabilities are logits. A probability of 0 counts as the
    least positive number of its type: 1e-38 of float32, 6e-8 of float16.

    Args:
        from_logits: Whether the outputs are logits already.
        multi_label: Whether each column is a sigmoid of its own, whose logit
            is `log(p / (1 - p))`.
        name: Name of the layer.

    Example:
        >>> Logits(from_logits=True)(np.array([[2.0]])).numpy().tolist()
        [[0.0, 2.0]]
    """

    def __init__(
        self,
        from_logits: bool,
        *,
        multi_label: bool = False,
        name: str | None = None,
    ) -> None:
        # Half precision would round logits of 20 by a hundredth. Without
        # autocast, as the type of the outputs decides the floor.
        super().__init__(name=name, dtype="float32", autocast=False)
        self.from_logits = from_logits
        self.multi_label = multi_label

    def call(self, outputs: Any) -> Any:
        """Returns logits `(B, K)` of outputs `(B, K)`, `(B,)` or `(B, 1)`."""
        dtype = keras.backend.standardize_dtype(outputs.dtype)
        floors = output_kind.FLOORS
        tiny, half_step = floors.get(dtype, floors["float32"])
        wide = "float64" if dtype == "float64" else "float32"
        columns = ops.cast(outputs, wide)
        if self.multi_label:
            if not self.from_logits:
                columns = ops.log(ops.maximum(columns, tiny)) - ops.log(
                    ops.maximum(1 - columns, half_step)
                )
            if len(outputs.shape) == 1:
                columns = ops.reshape(columns, (-1, 1))
            return ops.cast(columns, "float32")
        if len(outputs.shape) == 1 or outputs.shape[-1] == 1:
            column = ops.reshape(columns, (-1, 1))
            if self.from_logits:
                other = ops.zeros_like(column)
            else:
                other = ops.maximum(1 - column, half_step)
            columns = ops.concatenate([other, column], axis=-1)
        if not self.from_logits:
            columns = ops.log(ops.maximum(columns, tiny))
        return ops.cast(columns, "float32")

    def compute_output_spec(self, outputs: Any) -> Any:
        """Returns the specification of float32 logits `(B, K)`."""
        shape = self.compute_output_shape(outputs.shape)
        return keras.KerasTensor(shape, dtype="float32")

    def compute_output_shape(self, outputs_shape: Any) -> Any:
        """Returns `(B, K)`."""
        columns = outputs_shape[1] if len(outputs_shape) == 2 else 1
        return (outputs_shape[0], max(columns, 1 if self.multi_label else 2))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this layer."""
        config = {
            "name": super().get_config()["name"],
            "from_logits": self.from_logits,
        }
        # Older versions read what has no labels.
        return config | ({"multi_label": True} if self.multi_label else {})


@keras.saving.register_keras_serializable("tf_mixup")
class ScaledSoftmax(keras.layers.Layer):
    """Computes `softmax(weight * logits + bias)` with fixed weights."""

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
        check_classes(logits, self.num_classes)
        return ops.softmax(self.weight * logits + self.bias, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this layer."""
        name = super().get_config()["name"]
        return {"name": name, "num_classes": self.num_classes}


@keras.saving.register_keras_serializable("tf_mixup")
class IsotonicSoftmax(keras.layers.Layer):
    """Maps each class's softmax by its piecewise linear curve; normalizes.

    Args:
        num_classes: K, of logits `(B, K)`.
        num_thresholds: Points of each curve, at least 2. A shorter curve
            repeats its last point.
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
        check_classes(logits, self.num_classes)
        columns = ops.transpose(ops.softmax(logits, axis=-1))
        mapped = ops.transpose(
            _interpolate(
                columns,
                ops.convert_to_tensor(self.thresholds),
                ops.convert_to_tensor(self.values),
            )
        )
        total = ops.sum(mapped, axis=-1, keepdims=True)
        empty = total == 0
        return ops.where(
            empty, 1 / self.num_classes, mapped / ops.where(empty, 1.0, total)
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this layer."""
        return {
            "name": super().get_config()["name"],
            "num_classes": self.num_classes,
            "num_thresholds": self.num_thresholds,
        }


@keras.saving.register_keras_serializable("tf_mixup")
class BetaSigmoid(keras.layers.Layer):
    """Computes `sigmoid(a log(p) - b log(1 - p) + c)` for each of K labels.

    Of logits z, p is their sigmoid. With a = b it is
    `sigmoid(a z + c)`.

    Args:
        num_labels: K, of logits `(B, K)`.
        name: Name of the layer.
    """

    def __init__(self, num_labels: int, *, name: str | None = None) -> None:
        super().__init__(name=name, trainable=False, dtype="float32")
        self.num_labels = num_labels
        self.a, self.b, self.c = (
            self.add_weight((num_labels,), start, trainable=False, name=key)
            for key, start in (("a", "ones"), ("b", "ones"), ("c", "zeros"))
        )

    def call(self, logits: Any) -> Any:
        """Returns probabilities `(B, K)` of logits `(B, K)`."""
        check_classes(logits, self.num_labels, "labels")
        return ops.sigmoid(self.scale(logits))

    def scale(self, logits: Any) -> Any:
        """Returns scaled logits of logits, both `(B, K)`."""
        return (
            self.a * ops.log_sigmoid(logits)
            - self.b * ops.log_sigmoid(-logits)
            + self.c
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this layer."""
        name = super().get_config()["name"]
        return {"name": name, "num_labels": self.num_labels}


@keras.saving.register_keras_serializable("tf_mixup")
class BetaSoftmax(BetaSigmoid):
    """Scales the logit of two classes as `BetaSigmoid` does that of a label."""

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(1, name=name)

    def call(self, logits: Any) -> Any:
        """Returns probabilities `(B, 2)` of logits `(B, 2)`."""
        check_classes(logits, 2)
        scaled = self.scale(logits[:, 1:] - logits[:, :1])
        columns = ops.concatenate([ops.zeros_like(scaled), scaled], axis=-1)
        return ops.softmax(columns, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this layer."""
        return {"name": super().get_config()["name"]}


def check_classes(logits: Any, num_classes: int, what: str = "classes") -> None:
    """Refuses logits of other classes, which would be broadcast."""
    if logits.shape[-1] != num_classes:
        raise _checks.refusal(
            f"This scaler was fitted on {num_classes} {what}",
            f"{logits.shape[-1]} {what}",
            "Fit it on the model that it is used for",
        )


def _interpolate(columns: Any, thresholds: Any, values: Any) -> Any:
    """Maps probabilities `(K, B)` by curves with `(K, L)` points each."""
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
