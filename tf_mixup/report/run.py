"""Runs a model over data in any form.

Shapes: N examples, K columns of outputs, S examples of a sample.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tf_mixup import _checks
from tf_mixup._data import examples as examples_lib
from tf_mixup._models import model_calls
from tf_mixup.calibration import per_example

# Inputs kept where there are enough; for a moment twice as many.
_SAMPLE_SIZE = 500
# Of integers that no byte holds: satellite bands and 16-bit images.
_WIDE_SCALES = (1000, 10_000, 65_535)


@dataclasses.dataclass(frozen=True)
class Run:
    """A model's raw outputs for a data set.

    Attributes:
        outputs: Float32 `(N, K)` or `(N, 1)`; finite examples only.
        labels: Labels of these examples as given; None where there are none.
        num_nonfinite: Examples left out because of NaN or infinite outputs.
        num_ignored: Examples left out because of the label that is ignored,
            or a weight of 0.
        inputs: Finite inputs evenly spaced over the set, `(S, ...)`; None
            where an input is more than one array of numbers.
        input_labels: Labels of these, as given; None where there are none.
    """

    outputs: np.ndarray
    labels: np.ndarray | None
    num_nonfinite: int
    num_ignored: int
    inputs: np.ndarray | None
    input_labels: np.ndarray | None


def run(
    model: keras.Model,
    data: Any,
    *,
    name: str = "data",
    labeled: bool = True,
    max_examples: int | None = None,
    batch_size: int = 128,
    output: str | int | None = None,
    ignore_label: int | None = None,
    verbose: int | str = 0,
    watch: Callable[..., None] | None = None,
) -> Run:
    """Runs a model over a data set once.

    Args:
        model: Any Keras model.
        data: In any form that `_data.examples.read` takes.
        name: What messages call the data set.
        labeled: Whether labels are needed; else they are not looked at.
        max_examples: Examples to stop after; None for all.
        batch_size: Examples at a time, of arrays.
        output: Name or place of the output to take; None of a model of one.
        ignore_label: Class id of examples to leave out.
        verbose: 0 shows nothing; 1 or `"auto"` shows a progress bar.
        watch: Called for each batch with outputs `(B, K)`, labels, inputs and
            which examples count and are finite.

    Returns:
        run: What the model predicts.

    Raises:
        ValueError: If the data are empty or endless or do not fit the model,
            or if all predictions are NaN or infinite.
    """
    examples = examples_lib.read(
        data,
        name=name,
        labeled=labeled,
        batch_size=batch_size,
        max_examples=max_examples,
        model=model,
    )
    parts = _Parts()
    for batch, outputs in model_calls.predict_batches(
        model,
        examples,
        check=lambda inputs: _check_inputs(model, inputs, name),
        verbose=verbose,
    ):
        labels = _choose_labels(batch.labels, output)
        columns = _to_columns(choose_output(outputs, output))
        counted = _find_counted(
            labels,
            batch.weights,
            batch.size,
            ignore_label=ignore_label,
            name=name,
        )
        kept = parts.add(columns, labels, batch.inputs, counted)
        if watch is not None:
            watch(columns, labels, batch.inputs, kept)
    return parts.join(name)


def try_scales(
    model: keras.Model,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    threshold: float = 0.5,
    batch_size: int = 128,
    output: str | int | None = None,
) -> dict[str, float]:
    """Returns the accuracy on other scales of inputs `(S, ...)`, by name."""
    accuracies = {}
    wide = inputs.astype(np.float32)
    for name, factor, offset in (("as given", 1, 0), *_other_scales(wide)):
        scaled = inputs if factor == 1 else wide * factor + offset
        outputs = model_calls.predict(model, scaled, batch_size=batch_size)
        columns = _to_columns(choose_output(outputs, output))
        predicted = (
            columns[:, 0] > threshold
            if columns.shape[1] == 1
            else columns.argmax(axis=-1)
        )
        accuracies[name] = float(np.mean(predicted == labels))
    return accuracies


def _other_scales(inputs: np.ndarray) -> list[tuple[str, float, float]]:
    """Returns names, factors and offsets that training may have used."""
    low, high = float(inputs.min()), float(inputs.max())
    if low < 0:
        return [("(x + 1) / 2", 1 / 2, 1 / 2), ("127.5 (x + 1)", 127.5, 127.5)]
    if high > 2:
        wide = [(f"x / {top}", 1 / top, 0) for top in _WIDE_SCALES]
        return [
            ("x / 255", 1 / 255, 0),
            ("x / 127.5 - 1", 1 / 127.5, -1),
            *(wide if high > 255 else []),
        ]
    return [("255 x", 255, 0), ("2 x - 1", 2, -1)]


class _Parts:
    """Collects batches, without the examples that are left out."""

    def __init__(self) -> None:
        self._outputs: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self._sample = _Sample()
        self._num_counted = self._num_seen = 0

    def add(
        self,
        outputs: np.ndarray,
        labels: np.ndarray | None,
        inputs: Any,
        counted: np.ndarray,
    ) -> np.ndarray:
        """Adds a batch; returns which examples count and are finite."""
        kept = counted & np.isfinite(outputs).all(axis=-1)
        self._num_seen += len(kept)
        self._num_counted += int(counted.sum())
        self._outputs.append(outputs if kept.all() else outputs[kept])
        if labels is not None:
            self._labels.append(labels[kept])
        self._sample.add(inputs, labels, counted)
        return kept

    def join(self, name: str) -> Run:
        """Returns all batches as one."""
        if not self._num_counted:
            raise _checks.refusal(
                f"The set `{name}` must have examples that count",
                f"{self._num_seen} examples, each with a weight of 0 or the"
                " label that is ignored",
                "Give another set, or other weights",
            )
        size = sum(map(len, self._outputs))
        if not size:
            raise _checks.refusal(
                "A model must predict finite numbers",
                f"NaN or infinity for all {self._num_counted} examples of"
                f" `{name}`",
                "Look for training that diverged, and for inputs that are NaN"
                " or not scaled as in training",
            )
        # Part by part, so that no more than one copy is held.
        outputs = np.empty((size, self._outputs[0].shape[1]), np.float32)
        start = size
        while self._outputs:
            part = self._outputs.pop()
            start -= len(part)
            outputs[start : start + len(part)] = part
        return Run(
            outputs=outputs,
            labels=np.concatenate(self._labels) if self._labels else None,
            num_nonfinite=self._num_counted - size,
            num_ignored=self._num_seen - self._num_counted,
            inputs=self._sample.inputs,
            input_labels=self._sample.labels,
        )


class _Sample:
    """Keeps examples that are evenly spaced over a set of unknown size."""

    def __init__(self) -> None:
        self.inputs: np.ndarray | None = None
        self.labels: np.ndarray | None = None
        self._seen, self._stride = 0, 1

    def add(
        self, inputs: Any, labels: np.ndarray | None, counted: np.ndarray
    ) -> None:
        """Adds the examples of a batch at the current spacing."""
        if not isinstance(inputs, np.ndarray) or inputs.dtype.kind not in "iuf":
            return
        places = slice(-self._seen % self._stride, None, self._stride)
        self._seen += len(inputs)
        inputs = inputs[places]
        finite = np.isfinite(inputs).reshape(len(inputs), -1).all(axis=-1)
        finite &= counted[places]
        self.inputs = _append(self.inputs, inputs[finite])
        if labels is not None:
            self.labels = _append(self.labels, labels[places][finite])
        while len(self.inputs) >= 2 * _SAMPLE_SIZE:
            self._stride *= 2
            self.inputs = self.inputs[::2]
            self.labels = None if self.labels is None else self.labels[::2]


def _append(examples: np.ndarray | None, more: np.ndarray) -> np.ndarray:
    return more if examples is None else np.concatenate([examples, more])


def _find_counted(
    labels: np.ndarray | None,
    weights: np.ndarray | None,
    size: int,
    *,
    ignore_label: int | None,
    name: str,
) -> np.ndarray:
    """Returns which examples count, bool `(B,)`."""
    counted = np.ones(size, bool)
    if weights is not None:
        flat = np.asarray(weights, np.float64).reshape(size, -1)
        if flat.shape[1] != 1 or not np.isin(flat, (0, 1)).all():
            raise _checks.refusal(
                f"Weights of `{name}` must be 0 or 1, one for each example, as"
                " a report counts each example once",
                f"weights of shape {np.shape(weights)} from {flat.min():g} to"
                f" {flat.max():g}",
                "Drop them with `dataset.map(lambda x, y, w: (x, y))`",
            )
        counted &= flat[:, 0] == 1
    if labels is not None:
        ignored = per_example.ignored(labels, ignore_label)
        if ignored is not None:
            counted &= ~keras.ops.convert_to_numpy(ignored)
    return counted


def check_output(model: keras.Model, output: str | int | None) -> None:
    """Refuses an unknown `output` of a model with one output."""
    if output is None or len(getattr(model, "outputs", None) or ()) != 1:
        return
    paths = keras.tree.flatten_with_path(getattr(model, "output", None))
    # A sequential model has no names of outputs.
    own = list(getattr(model, "output_names", ())) or [model.layers[-1].name]
    names = {*own, 0, *(path[0] for path, _ in paths if path)}
    if output not in names:
        raise _checks.refusal(
            "`output` must name an output of the model",
            f"output={output!r} of a model with the one output {own[0]!r}",
            "Leave it out",
        )


def choose_output(outputs: Any, output: str | int | None) -> Any:
    """Returns the chosen output of a model."""
    if not keras.tree.is_nested(outputs):
        return outputs
    names = (
        list(outputs)
        if isinstance(outputs, Mapping)
        else (list(range(len(outputs))))
    )
    if output not in names:
        raise _checks.refusal(
            "A report is on one output of the model, which `output` names",
            f"output={output!r} of a model with outputs {names}",
            f"Write `output={names[0]!r}`, and give labels of that output",
        )
    return choose_output(outputs[output], None)


def _choose_labels(labels: Any, output: str | int | None) -> Any:
    """Returns the labels of the chosen output."""
    labels = model_calls.single_output(labels)
    return labels if labels is None else choose_output(labels, output)


def _check_inputs(model: keras.Model, inputs: Any, name: str) -> None:
    """Refuses inputs of another number or shape than the model's."""
    if not model_calls.runs_plainly(model):
        # Its own steps, such as a preprocessor, make other inputs of these.
        return
    wanted, given = model.inputs, keras.tree.flatten(inputs)
    if len(wanted) != len(given):
        raise _checks.refusal(
            f"The set `{name}` must have the model's {len(wanted)} inputs",
            f"{len(given)} inputs",
            "Give a dictionary of inputs by name; of a training model save"
            " the one that it was made from",
        )
    if len(given) == 1:
        shape, model_shape = given[0].shape[1:], tuple(wanted[0].shape[1:])
        if not _fits(shape, model_shape):
            raise _checks.refusal(
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


def _to_columns(outputs: Any) -> np.ndarray:
    """Returns a batch of outputs as float32 `(B, K)`."""
    columns = np.asarray(outputs, np.float32)
    if columns.ndim == 1:
        columns = columns[:, np.newaxis]
    if columns.ndim != 2:
        raise _checks.refusal(
            "The model must predict one distribution over classes for each"
            " example, outputs (N, K) or (N, 1)",
            f"outputs of shape {columns.shape}",
            "Segmentation, sequences and detection have no such report",
        )
    return columns
