"""Runs a model over a data set once.

Outputs and labels are kept, and as many inputs as it takes to try other
scales on and to draw noise like.

Letters: B rows of a batch, N rows, K classes.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_mixup import checks

# Inputs kept where there are enough; for a moment twice as many.
_SAMPLE_ROWS = 500


@dataclasses.dataclass(frozen=True)
class Run:
    """A model's raw outputs for a data set.

    Attributes:
        outputs: Float32 `(N, K)` or `(N, 1)`; finite rows only.
        labels: Labels of these rows as given; None where there are none.
        num_nonfinite: Rows left out because of NaN or infinite outputs.
        inputs: Finite inputs evenly spaced over the set, `(S, ...)`; None
            where an input is more than one array of numbers.
        input_labels: Labels of these, as given; None where there are none.
    """

    outputs: np.ndarray
    labels: np.ndarray | None
    num_nonfinite: int
    inputs: np.ndarray | None
    input_labels: np.ndarray | None


def run(
    model: keras.Model,
    data: Any,
    *,
    name: str = "data",
    labelled: bool = True,
    max_rows: int | None = None,
    batch_size: int = 128,
) -> Run:
    """Runs a model over a data set once.

    Args:
        model: A model of one output.
        data: Dataset of batches `(x, y)`, or a tuple of arrays; without
            labels also batches of `x`, or an array.
        name: What messages call the data set.
        labelled: Whether labels are needed; else they are not looked at.
        max_rows: Rows to stop after; None for all.
        batch_size: Rows at a time, of arrays.

    Returns:
        run: What the model said.

    Raises:
        ValueError: If the data are empty or endless or do not fit the model,
            or if all predictions are NaN or infinite.
    """
    outputs: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    sample = _Sample()
    for x, y in _batches(data, name, labelled, max_rows, batch_size):
        if not outputs:
            _check_inputs(model, x, name)
        outputs.append(_predict(model, x))
        if y is not None:
            labels.append(y)
        sample.add(x, y)
    if not outputs:
        raise checks.refusal(
            f"The set `{name}` must have rows", "0 rows", "Give another set"
        )
    rows = np.concatenate(outputs)
    finite = np.isfinite(rows).all(axis=-1)
    if not finite.any():
        raise checks.refusal(
            "A model must predict finite numbers",
            f"NaN or infinity in all {len(rows)} rows of `{name}`",
            "Look for training that diverged, and for inputs that are NaN or"
            " not scaled as in training",
        )
    return Run(
        outputs=rows[finite],
        labels=np.concatenate(labels)[finite] if labels else None,
        num_nonfinite=int(np.sum(~finite)),
        inputs=sample.inputs,
        input_labels=sample.labels,
    )


def try_scales(
    model: keras.Model,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    threshold: float = 0.5,
    batch_size: int = 128,
) -> dict[str, float]:
    """Returns the accuracy that a model would have on other scales of inputs.

    Args:
        model: A model of one output.
        inputs: Numbers `(S, ...)`.
        labels: Class ids `(S,)`.
        threshold: Above it a single output column says class 1: 1/2 of a
            sigmoid, 0 of its logit.
        batch_size: Rows at a time.

    Returns:
        accuracies: By what was done to the inputs; first `"as given"`.
    """
    accuracies = {}
    wide = inputs.astype(np.float32)
    for name, factor, offset in (("as given", 1, 0), *_other_scales(wide)):
        scaled = inputs if factor == 1 else wide * factor + offset
        outputs = np.concatenate(
            [
                _predict(model, scaled[at])
                for at in _slices(len(scaled), batch_size)
            ]
        )
        predicted = (
            outputs[:, 0] > threshold
            if outputs.shape[1] == 1
            else outputs.argmax(axis=-1)
        )
        accuracies[name] = float(np.mean(predicted == labels))
    return accuracies


def _other_scales(inputs: np.ndarray) -> list[tuple[str, float, float]]:
    """Returns names, factors and offsets that inputs may have wanted."""
    low, high = float(inputs.min()), float(inputs.max())
    if low < 0:
        return [("(x + 1) / 2", 1 / 2, 1 / 2), ("127.5 (x + 1)", 127.5, 127.5)]
    if high > 2:
        return [("x / 255", 1 / 255, 0), ("x / 127.5 - 1", 1 / 127.5, -1)]
    return [("255 x", 255, 0), ("2 x - 1", 2, -1)]


def _slices(size: int, step: int) -> list[slice]:
    return [slice(start, start + step) for start in range(0, size, step)]


class _Sample:
    """Keeps rows that are evenly spaced over a set of unknown size."""

    def __init__(self) -> None:
        self.inputs: np.ndarray | None = None
        self.labels: np.ndarray | None = None
        self._seen, self._stride = 0, 1

    def add(self, inputs: Any, labels: np.ndarray | None) -> None:
        """Keeps its share of a batch."""
        if not isinstance(inputs, np.ndarray) or inputs.dtype.kind not in "iuf":
            return
        rows = slice(-self._seen % self._stride, None, self._stride)
        self._seen += len(inputs)
        inputs = inputs[rows]
        finite = np.isfinite(inputs).reshape(len(inputs), -1).all(axis=-1)
        self.inputs = _append(self.inputs, inputs[finite])
        if labels is not None:
            self.labels = _append(self.labels, labels[rows][finite])
        while len(self.inputs) >= 2 * _SAMPLE_ROWS:
            self._stride *= 2
            self.inputs = self.inputs[::2]
            self.labels = None if self.labels is None else self.labels[::2]


def _append(rows: np.ndarray | None, more: np.ndarray) -> np.ndarray:
    return more if rows is None else np.concatenate([rows, more])


def _batches(
    data: Any, name: str, labelled: bool, max_rows: int | None, batch_size: int
) -> Iterator[tuple[Any, np.ndarray | None]]:
    """Yields inputs and labels, at most `max_rows` rows in all."""
    left = math.inf if max_rows is None else max_rows
    for element in _elements(data, name, batch_size, endless=left < math.inf):
        x, y = _split(element, name, labelled)
        first = keras.tree.flatten(x)[0]
        if y is not None and (y.ndim == 0 or len(y) != len(first)):
            raise checks.refusal(
                f"Batches of `{name}` must have one label for each row",
                f"inputs of shape {tuple(first.shape)} and labels of shape"
                f" {y.shape}",
                "Batch the dataset: `dataset.batch(128)`",
            )
        size = int(min(len(first), left))
        x = keras.tree.map_structure(lambda rows, n=size: rows[:n], x)
        yield x, None if y is None else y[:size]
        left -= size
        if left <= 0:
            return


def _elements(
    data: Any, name: str, batch_size: int, *, endless: bool
) -> Iterator[Any]:
    if isinstance(data, tf.data.Dataset):
        if data.cardinality() == tf.data.INFINITE_CARDINALITY and not endless:
            raise checks.refusal(
                f"The set `{name}` must have an end",
                "a dataset that repeats for ever",
                "Give `max_rows`, or leave out `repeat()`",
            )
        try:
            yield from data
        except tf.errors.OpError as error:
            # What the model raises does not pass through here.
            raise checks.refusal(
                f"All rows of `{name}` must be readable",
                error.message.strip().splitlines()[0].rstrip("."),
                "Look for damaged files and for what the dataset's own"
                " functions do",
            ) from error
        return
    if isinstance(data, tuple) and len(data) == 2:
        data = (data[0], np.asarray(data[1]))
    shapes = [np.shape(leaf) for leaf in keras.tree.flatten(data)]
    sizes = {shape[:1] for shape in shapes}
    if len(sizes) != 1 or () in sizes:
        raise checks.refusal(
            f"The set `{name}` must be a batched `tf.data.Dataset`, or arrays"
            " with as many rows",
            f"{type(data).__name__} of shapes {shapes[:3]}",
            "Give `(inputs, labels)`",
        )
    for at in _slices(shapes[0][0], batch_size):
        yield keras.tree.map_structure(
            lambda rows, at=at: np.asarray(rows[at]), data
        )


def _split(
    element: Any, name: str, labelled: bool
) -> tuple[Any, np.ndarray | None]:
    """Returns inputs as NumPy, and labels where they are wanted."""
    pair = isinstance(element, tuple) and len(element) == 2
    if (labelled and not pair) or (
        isinstance(element, tuple) and len(element) > 2
    ):
        raise checks.refusal(
            f"The set `{name}` must be of pairs (inputs, labels)",
            f"{len(element)} items"
            if isinstance(element, tuple)
            else "inputs alone",
            "Drop sample weights with `dataset.map(lambda x, y, w: (x, y))`",
        )
    x = element[0] if isinstance(element, tuple) else element
    x = keras.tree.map_structure(np.asarray, x)
    return x, np.asarray(element[1]) if labelled else None


def _check_inputs(model: keras.Model, x: Any, name: str) -> None:
    """Refuses inputs that the model was not made for."""
    wanted = getattr(model, "inputs", None)  # Subclasses may not know.
    given = keras.tree.flatten(x)
    if not wanted:
        return
    if len(wanted) != len(given):
        raise checks.refusal(
            f"The set `{name}` must have the model's {len(wanted)} inputs",
            f"{len(given)} inputs",
            "Give a dictionary of inputs by name; of a training twin save the"
            " model that it was made from",
        )
    if len(given) == 1:
        shape, model_shape = given[0].shape[1:], tuple(wanted[0].shape[1:])
        if not _fits(shape, model_shape):
            raise checks.refusal(
                f"Inputs of `{name}` must have the model's shape {model_shape}",
                f"inputs of shape {shape}",
                "Resize or reshape them as for training",
            )


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    # As Keras does: a last axis of 1 may be missing or too many.
    if len(shape) == len(wanted) + 1 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == len(wanted) - 1 and wanted[-1] == 1:
        wanted = wanted[:-1]
    return len(shape) == len(wanted) and all(
        b in (None, a) for a, b in zip(shape, wanted, strict=True)
    )


def _predict(model: keras.Model, x: Any) -> np.ndarray:
    """Returns a model's outputs for a batch as float32 `(B, K)`."""
    # Of a model that was built under a strategy each replica predicts the
    # whole batch, and Keras gives one after the other.
    outputs = _check_outputs(model.predict_on_batch(x))
    return outputs[: len(keras.tree.flatten(x)[0])]


def _check_outputs(outputs: Any) -> np.ndarray:
    """Returns a batch of outputs as float32 `(B, K)`."""
    leaves = keras.tree.flatten(outputs)
    if len(leaves) != 1:
        raise checks.refusal(
            "The model must have one output",
            f"{len(leaves)} outputs",
            "Report on a part: `keras.Model(model.inputs, model.outputs[0])`",
        )
    rows = np.asarray(leaves[0], np.float32)
    if rows.ndim == 1:
        rows = rows[:, np.newaxis]
    if rows.ndim != 2:
        raise checks.refusal(
            "The model must say one distribution over classes for each row,"
            " outputs (N, K) or (N, 1)",
            f"outputs of shape {rows.shape}",
            "Segmentation, sequences and detection have no such report",
        )
    return rows
