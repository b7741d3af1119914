"""Measures of single predictions: confidence, correctness, Brier score, NLL.

Shapes: B examples, K classes.

**Predictions** are probabilities or logits `(B, K)`; or one sigmoid column,
`(B,)` or `(B, 1)`, which stands for the two classes `{1 - p, p}`. Which of the
two they are is detected, or given by `from_logits`; see `_models.output_kind`.
Probabilities may lie .02 outside of [0, 1], and sum to 1 within .02, since half
precision and averages round.

**Labels** are class ids `(B,)` or `(B, 1)`, or targets `(B, K)`, one-hot or
soft; of one column also the mass of class 1. Soft targets whose sums are
within .05 of 1, as rounded shares of votes are, are divided by their sums.
With soft targets a prediction is correct by the target's mass on the predicted
class.

An example whose probabilities or targets are no distribution over classes (NaN,
a label out of range, counts, several labels) gets NaN. Outside of compiled
functions multi-hot targets are refused: see `per_label`.
"""

import functools
import warnings
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from tf_mixup import _checks
from tf_mixup._checks import numbers
from tf_mixup._models import output_kind

# Shares of votes with two decimals: half of .01 for each of ten classes.
TARGET_TOLERANCE = 0.05
_INT32 = np.iinfo(np.int32)


def to_probabilities(logits: Any) -> Any:
    """Returns float32 probabilities `(B, K)` of logits."""
    logits = output_kind.to_columns(output_kind.to_tensor(logits), True)
    return ops.softmax(logits, axis=-1)


def to_targets(
    labels: Any, num_classes: int, num_examples: int | None = None
) -> Any:
    """Returns labels as float32 distributions `(B, K)`, or NaN.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        num_classes: K; 1 for a sigmoid's column, whose label may be soft.
        num_examples: B, or None if it is not known.

    Raises:
        ValueError: If the shape does not fit, or labels are text.
    """
    labels = _read_labels(labels, num_classes, num_examples)
    if len(labels.shape) == 1:
        # PyTorch refuses an id beyond the last class; -1 no backend does.
        inside = ops.where(labels < num_classes, labels, -1)
        labels = ops.one_hot(inside, num_classes, dtype="float32")
    targets, valid = _normalize(labels)
    return targets + _nan_unless(valid)[:, None]


def check_ignore_label(ignore_label: int | None) -> int | None:
    """Returns `ignore_label` if it is None or an int32."""
    if ignore_label is None:
        return None
    return _checks.integer_at_least(
        "ignore_label",
        ignore_label,
        _INT32.min,
        remedy="Write the label of unknown classes, e.g. -1, or None",
        dtype="int32",
    )


def ignored(labels: Any, ignore_label: int | None) -> Any:
    """Returns which labels `(B,)` are ignored, or None if none can be."""
    if check_ignore_label(ignore_label) is None:
        return None
    labels = to_label_tensor(labels)
    if len(labels.shape) > 1 and labels.shape[-1] != 1:
        return None
    return ops.reshape(labels, (-1,)) == ops.cast(ignore_label, labels.dtype)


def flatten_steps(
    labels: Any, outputs: Any, sample_weight: Any = None
) -> tuple[Any, Any, Any]:
    """Returns predictions of each step of a sequence as single examples.

    Args:
        labels: Class ids `(B, T)` or `(B, T, 1)`, or targets `(B, T, K)`;
            more axes of steps or pixels work the same.
        outputs: Predictions `(B, T, K)`, or `(B, T, 1)` of a sigmoid.
        sample_weight: Weights `(B,)`, `(B, 1)`, `(B, T)` or `(B, T, 1)`, a
            scalar, or None.

    Returns:
        columns: Labels `(B * T,)` or `(B * T, K)`, outputs `(B * T, K)` and
            weights `(B * T,)` or None; unchanged for outputs `(B, K)`.

    Raises:
        ValueError: If the labels have other steps.
    """
    outputs = ops.convert_to_tensor(numbers.read(outputs, "Predictions"))
    rank = len(outputs.shape)
    if rank < 3:
        return labels, outputs, sample_weight
    labels = to_label_tensor(labels)
    columns = outputs.shape[-1]
    steps = tuple(outputs.shape[1:-1])
    if tuple(labels.shape[1:]) not in (
        steps,
        (*steps, 1),
        (*steps, max(columns, 2)),
    ):
        raise _checks.refusal(
            "Labels of predictions for each step must have a class id, or a"
            " target, for each step",
            f"labels of shape {tuple(labels.shape)} for predictions of shape"
            f" {tuple(outputs.shape)}",
            f"Give labels of shape (B, {', '.join(map(str, steps))})",
        )
    if sample_weight is not None:
        sample_weight = ops.reshape(spread(sample_weight, outputs), (-1,))
    ids = len(labels.shape) < rank or labels.shape[-1] == 1
    shape = (-1,) if ids else (-1, labels.shape[-1])
    return (
        ops.reshape(labels, shape),
        output_kind.flatten(outputs),
        sample_weight,
    )


def spread(sample_weight: Any, outputs: Any) -> Any:
    """Returns a weight for each step of outputs `(B, T, K)`, `(B, T)`.

    Args:
        sample_weight: As `flatten_steps` takes it.
        outputs: As `flatten_steps` takes them; more axes work the same.
    """
    weight = ops.convert_to_tensor(numbers.read(sample_weight, "Weights"))
    steps = ops.shape(outputs)[:-1]
    if len(weight.shape) > len(steps):
        weight = weight[..., 0]
    missing = (1,) * (len(steps) - len(weight.shape))
    weight = ops.reshape(weight, (*ops.shape(weight), *missing))
    return ops.broadcast_to(weight, steps)


class Labels(NamedTuple):
    """Labels as tensors.

    Attributes:
        values: Class ids, int32 `(B,)`, or distributions, float32 `(B, K)`.
        valid: Which distributions are valid, `(B,)`; None for class ids.
    """

    values: Any
    valid: Any = None


def read_examples(
    labels: Any,
    outputs: Any,
    *,
    from_logits: bool | None = None,
    prior: Any = 0.0,
) -> tuple[Labels, output_kind.Columns]:
    """Returns labels and outputs as `ExampleScores` takes them, checked.

    Outside of a compiled function all refusals and warnings come from here.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        outputs: Probabilities or logits, `(B, K)`, `(B,)` or `(B, 1)`.
        from_logits: Whether `outputs` are logits; None detects it.
        prior: Evidence of earlier batches; see `_models.output_kind.read`.

    Raises:
        ValueError: If the shapes do not fit.
    """
    outputs = output_kind.to_tensor(outputs)
    columns = output_kind.read(outputs, from_logits, prior=prior)
    labels = _read_labels(
        labels, output_kind.count_columns(outputs), outputs.shape[0]
    )
    if len(labels.shape) == 1:
        return Labels(labels), columns
    return Labels(*_normalize(labels)), columns


class Outputs:
    """Measures of predictions alone; float32 `(B,)` each.

    Args:
        outputs: Probabilities or logits, `(B, K)`, `(B,)` or `(B, 1)`; or the
            columns that `_models.output_kind.read` returns.
        from_logits: Whether `outputs` are logits; None detects it.
    """

    def __init__(
        self, outputs: Any, *, from_logits: bool | None = None
    ) -> None:
        columns = outputs
        if not isinstance(columns, output_kind.Columns):
            columns = output_kind.read(outputs, from_logits)
        self._floor = columns.floor
        self.evidence = columns.evidence
        values = columns.values
        if columns.from_logits is True:
            self._logits, self.probabilities = values, ops.softmax(values)
            # After NaN or infinity other columns of a softmax may be NaN or 0,
            # which depends on the processor.
            valid = ops.isfinite(self._squares)
        elif columns.from_logits is False:
            valid = output_kind.are_distributions(values)
            self._logits, self.probabilities = None, ops.maximum(values, 0.0)
        else:
            self._logits = ops.where(
                columns.from_logits, values, self._log(values)
            )
            self.probabilities = ops.where(
                columns.from_logits, ops.softmax(values), ops.maximum(values, 0)
            )
            valid = ops.where(
                columns.from_logits,
                ops.isfinite(self._squares),
                output_kind.are_distributions(values),
            )
        self.missing = _nan_unless(valid)
        # Bits of numbers from 0 on have the same order, and Keras' argmax of
        # floats first looks for negative zeros, in five passes.
        bits = ops.view(self.probabilities, "int32")
        self._predicted = ops.argmax(bits, axis=-1)

    @functools.cached_property
    def _squares(self) -> Any:
        """The sum of squares of all probabilities."""
        return ops.sum(ops.square(self.probabilities), axis=-1)

    @functools.cached_property
    def confidence(self) -> Any:
        """The largest probability."""
        confidence = _pick(self.probabilities, self._predicted)
        # Rounding may take it above 1.
        return ops.minimum(confidence, 1.0) + self.missing

    def _log(self, probabilities: Any) -> Any:
        return ops.log(ops.maximum(probabilities, self._floor))


class ExampleScores(Outputs):
    """Measures of predictions with labels; float32 `(B,)` each, made on demand.

    Examples without a distribution have NaN. With class ids nothing of size
    `(B, K)` is made but the probabilities and their squares.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        outputs: Probabilities or logits, `(B, K)`, `(B,)` or `(B, 1)`; or both
            as `read_examples` returns them.
        from_logits: Whether `outputs` are logits; None detects it.

    Raises:
        ValueError: If the shapes do not fit.
    """

    def __init__(
        self, labels: Any, outputs: Any, *, from_logits: bool | None = None
    ) -> None:
        if not isinstance(outputs, output_kind.Columns):
            labels, outputs = read_examples(
                labels, outputs, from_logits=from_logits
            )
        super().__init__(outputs)
        labels, valid = labels
        self._has_ids = valid is None
        if self._has_ids:
            inside = ops.clip(labels, 0, self.probabilities.shape[-1] - 1)
            valid = ops.equal(inside, labels)
            labels = inside
        self._labels = labels
        self.missing = self.missing + _nan_unless(valid)

    @property
    def correct(self) -> Any:
        """The target's mass on the predicted class; of a class id 0 or 1."""
        if self._has_ids:
            same = ops.equal(self._predicted, self._labels)
            return ops.cast(same, "float32") + self.missing
        return _pick(self._labels, self._predicted) + self.missing

    @property
    def targets(self) -> Any:
        """The labels as distributions `(B, K)`."""
        if not self._has_ids:
            return self._labels
        size = self.probabilities.shape[-1]
        return ops.one_hot(self._labels, size, dtype="float32")

    def sum_targets(self, weight: Any) -> Any:
        """Returns the mass of each class `(K,)`, weighted by float32 `(B,)`."""
        size = self.probabilities.shape[-1]
        if self._has_ids:
            return ops.segment_sum(weight, self._labels, num_segments=size)
        targets = ops.where(weight[:, None] == 0, 0.0, self._labels)
        return ops.matmul(weight[None, :], targets)[0]

    @property
    def nll(self) -> Any:
        """The cross-entropy, in nats."""
        outputs = self.probabilities if self._logits is None else self._logits
        if self._has_ids:
            return self.missing - self._to_log(_pick(outputs, self._labels))
        # A class without mass costs nothing, even at probability 0.
        terms = self._labels * self._to_log(outputs)
        terms = ops.where(self._labels == 0, 0.0, terms)
        return self.missing - ops.sum(terms, axis=-1)

    @property
    def brier(self) -> Any:
        """The squared distance between targets and probabilities."""
        columns = self.probabilities
        if self._has_ids:
            mass = _pick(columns, self._labels)
            others = self._squares - ops.square(mass)
            # Rounding may take the difference below 0.
            others = ops.maximum(others, 0.0)
            return ops.square(1 - mass) + others + self.missing
        distance = ops.sum(ops.square(columns - self._labels), axis=-1)
        return distance + self.missing

    def _to_log(self, outputs: Any) -> Any:
        """Returns log-probabilities of outputs, one or all of each example."""
        if self._logits is None:
            return self._log(outputs)
        # logit - log(probability) is the same for all columns, and most
        # accurate for the largest probability.
        best = ops.log(self.confidence) - _pick(self._logits, self._predicted)
        extra = (1,) * (len(outputs.shape) - 1)
        return outputs + ops.reshape(best, (-1, *extra))


def top_label(
    labels: Any, probabilities: Any, *, from_logits: bool | None = None
) -> tuple[Any, Any]:
    """Returns each example's confidence, and whether its prediction is correct.

    Ties go to the first class, so a sigmoid of exactly 0.5 predicts class 0.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)`.
        from_logits: Whether they are logits instead; None detects it.

    Returns:
        confidence: Float32 tensor `(B,)`: the largest probability.
        correct: Float32 tensor `(B,)`: the target's mass on that class. Both
            are NaN where the example has no distribution.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> confidence, correct = top_label([0, 1], [[0.75, 0.25], [1.0, 0.0]])
        >>> confidence.numpy().tolist(), correct.numpy().tolist()
        ([0.75, 1.0], [1.0, 0.0])
    """
    scores = ExampleScores(labels, probabilities, from_logits=from_logits)
    return scores.confidence, scores.correct


def brier_score(
    labels: Any, probabilities: Any, *, from_logits: bool | None = None
) -> Any:
    """Returns each example's squared distance of target and probabilities.

    The sum over all classes, in [0, 2]: for two classes twice the form for
    one column. It measures accuracy and calibration together.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)`.
        from_logits: Whether they are logits instead; None detects it.

    Returns:
        brier: Float32 tensor `(B,)`, within 3e-7; its mean is the Brier score.

    Raises:
        ValueError: If the shapes do not fit.

    References:
        Brier. Verification of forecasts expressed in terms of probability.
        Monthly Weather Review 78, 1950.
    """
    return ExampleScores(labels, probabilities, from_logits=from_logits).brier


def negative_log_likelihood(
    labels: Any, predictions: Any, *, from_logits: bool | None = None
) -> Any:
    """Returns each example's cross-entropy, in nats.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        predictions: Probabilities or logits, `(B, K)`, `(B,)` or `(B, 1)`. A
            probability of 0 counts as the least of its type: 1.2e-38 and
            87.3 nats, of float16 6e-8 and 16.6 nats. Logits are exact.
        from_logits: Whether `predictions` are logits; None detects it.

    Returns:
        nll: Float32 tensor `(B,)`.

    Raises:
        ValueError: If the shapes do not fit.
    """
    return ExampleScores(labels, predictions, from_logits=from_logits).nll


def pair(
    labels: Any, probabilities: Any, *, from_logits: bool | None = None
) -> tuple[Any, Any]:
    """Returns labels and outputs as float32 distributions `(B, K)`, or NaN."""
    scores = ExampleScores(labels, probabilities, from_logits=from_logits)
    missing = scores.missing[:, None]
    return scores.targets + missing, scores.probabilities + missing


def to_label_tensor(labels: Any) -> Any:
    """Returns labels as a float or int32 tensor without changing any id.

    Args:
        labels: Real numbers; ids that int32 cannot hold become its least or
            greatest number.

    Raises:
        ValueError: If labels are text, masked or other than real numbers.
    """
    labels = numbers.read(
        labels,
        "Labels",
        remedy="Turn names into ids from 0 on, e.g. with"
        " `keras.layers.StringLookup(num_oov_indices=0)`",
    )
    if isinstance(labels, np.ndarray):
        if labels.dtype.kind == "u":
            labels = np.minimum(labels.astype(np.uint64), _INT32.max)
        if labels.dtype.kind in "iu":
            labels = labels.astype(np.int64).clip(_INT32.min, _INT32.max)
            labels = labels.astype(np.int32)
    labels = ops.convert_to_tensor(labels)
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if dtype == "uint64":
        labels = ops.minimum(labels, ops.cast(_INT32.max, dtype))
    if dtype in ("int64", "uint64", "uint32"):
        labels = ops.clip(ops.cast(labels, "int64"), _INT32.min, _INT32.max)
    integers = dtype == "bool" or keras.backend.is_int_dtype(dtype)
    return ops.cast(labels, "int32") if integers else labels


def _read_labels(labels: Any, num_classes: int, num_examples: Any) -> Any:
    """Returns class ids, int32 `(B,)`, or targets, float32 `(B, K)`."""
    labels = to_label_tensor(labels)
    shape = tuple(labels.shape)
    columns = max(num_classes, 2)
    if len(shape) == 0 or (
        len(shape) != 1 and shape[1:] not in ((1,), (columns,))
    ):
        raise _checks.refusal(
            "Labels must be class ids, (B,) or (B, 1), or targets"
            f" (B, {columns}), one column for each class",
            f"labels of shape {shape}",
            "Give class ids, or one-hot targets of as many columns as the"
            " predictions have",
        )
    if None not in (shape[0], num_examples) and shape[0] != num_examples:
        raise _checks.refusal(
            "There must be a label for each example",
            f"labels of shape {shape} for {num_examples} examples",
            "Give the labels of these examples",
        )
    if shape[1:] == (columns,):
        return ops.cast(labels, "float32")
    labels = ops.reshape(labels, (-1,))
    if num_classes == 1:
        # The label may be soft, the mass of class 1.
        mass = ops.cast(labels, "float32")[:, None]
        return ops.concatenate([1 - mass, mass], axis=-1)
    ids = ops.cast(labels, "int32")
    if not keras.backend.is_float_dtype(labels.dtype):
        return ids
    return ops.where(ops.cast(ids, labels.dtype) == labels, ids, -1)


def _normalize(targets: Any) -> tuple[Any, Any]:
    """Returns targets that sum to 1, and which of them could be made so."""
    total = ops.sum(targets, axis=-1)
    off = ops.abs(total - 1)
    valid = ops.logical_and(
        ops.all(targets >= 0, axis=-1), off <= TARGET_TOLERANCE
    )
    rounded = ops.any(ops.logical_and(valid, off > 1e-3))
    if output_kind.concrete(rounded) is True:
        warnings.warn(
            "Targets whose sums are within 0.05 of 1 are divided by their"
            " sums.",
            stacklevel=4,
        )
    if output_kind.concrete(ops.any(total > 1.5)) is True:
        _refuse_several_labels(targets)
    return targets / ops.where(valid, total, 1.0)[:, None], valid


def _refuse_several_labels(targets: Any) -> None:
    """Refuses targets with several ones, as of several labels."""
    hot = ops.all(ops.logical_or(targets == 0, targets == 1), axis=-1)
    several = ops.logical_and(hot, ops.sum(targets, axis=-1) > 1)
    count = int(ops.sum(ops.cast(several, "int32")))
    if count:
        raise _checks.refusal(
            "Each example must have one class, or a distribution over classes",
            f"{count} of {targets.shape[0]} targets with several ones",
            "For several labels of an example use"
            " `calibration.label_calibration_error`,"
            " `metrics.LabelCalibrationMetrics`, `posthoc.LabelwiseScaling` or"
            " `multi_label=True` of a monitor; divide votes by their sums",
        )


def _nan_unless(valid: Any) -> Any:
    """Returns 0 for what is valid and NaN for the rest, float32."""
    # Whatever type Keras gives Python's floats: `floatx` may be another.
    return ops.cast(ops.where(valid, 0.0, float("nan")), "float32")


def _pick(columns: Any, classes: Any) -> Any:
    """Returns the column of `(B, K)` that each example names, `(B,)`."""
    # Keras' `take_along_axis` would copy all columns first.
    size, num_classes = ops.shape(columns)
    places = ops.arange(size, dtype="int32") * num_classes + classes
    return ops.take(ops.reshape(columns, (-1,)), places)
