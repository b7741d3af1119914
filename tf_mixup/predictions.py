"""Predictions row by row: confidence, correctness, Brier score, likelihood.

Letters: B rows, K classes.

**Predictions** are probabilities `(B, K)`; or one sigmoid column, `(B,)` or
`(B, 1)`, which stands for the two classes `{1 - p, p}`. **Labels** are class
ids `(B,)` or `(B, 1)`, or targets `(B, K)`, one-hot or soft; of one column
also the mass of class 1. With soft targets a prediction is correct by the
target's mass on the predicted class.

A row whose probabilities or targets are no distribution over classes (NaN,
logits in place of probabilities, a label out of range, several labels) gets
NaN, so that the result shows it.
"""

import functools
from typing import Any

import keras
from keras import ops

from tf_mixup import checks

# Half precision rounds each of K probabilities; logits miss by far more.
SUM_TOLERANCE = 0.02
# As in Keras' losses: one confident mistake cannot cost infinity.
TINY_PROBABILITY = 1e-7


def to_columns(outputs: Any, *, from_logits: bool = False) -> Any:
    """Returns float32 outputs `(B, K)`, where a sigmoid's column is two.

    Args:
        outputs: Float tensor `(B, K)`, or `(B,)` or `(B, 1)` of a sigmoid.
        from_logits: Whether `outputs` are logits: the other class of a
            sigmoid then has logit 0, else probability `1 - p`.

    Raises:
        ValueError: If `outputs` has another rank.
    """
    outputs = ops.cast(ops.convert_to_tensor(outputs), "float32")
    if len(outputs.shape) not in (1, 2):
        raise checks.refusal(
            "Predictions must have shape (B, K), (B,) or (B, 1)",
            f"predictions of shape {tuple(outputs.shape)}",
            "Reshape labels and predictions to one row per prediction",
        )
    if count_columns(outputs) != 1:
        return outputs
    column = ops.reshape(outputs, (-1, 1))
    other = ops.zeros_like(column) if from_logits else 1 - column
    return ops.concatenate([other, column], axis=-1)


def count_columns(outputs: Any) -> int:
    """Returns K of outputs `(B, K)`; 1 of a sigmoid's, also `(B,)`."""
    return outputs.shape[1] if len(outputs.shape) > 1 else 1


def to_probabilities(logits: Any) -> Any:
    """Returns the probabilities of both classes, or all, from logits.

    Args:
        logits: Float tensor `(B, K)`, or `(B,)` or `(B, 1)` of a sigmoid.

    Returns:
        probabilities: Float32 tensor `(B, K)`; K is 2 for a sigmoid.
    """
    return ops.softmax(to_columns(logits, from_logits=True), axis=-1)


def to_targets(labels: Any, num_classes: int, num_rows: Any = None) -> Any:
    """Returns labels as distributions over classes.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        num_classes: K; 1 for a sigmoid's column, whose label may be soft.
        num_rows: B, or None if it is not known.

    Returns:
        targets: Float32 tensor `(B, K)`; K is 2 for a sigmoid. NaN in the
            rows that are no distribution: ids out of range or not whole,
            several labels.

    Raises:
        ValueError: If the shape does not fit.
    """
    labels = _read_labels(labels, num_classes, num_rows)
    if len(labels.shape) == 1:
        labels = ops.one_hot(labels, num_classes, dtype="float32")
    valid = _are_distributions(labels)
    return labels + ops.where(valid, 0.0, float("nan"))[:, None]


def confidence(predictions: Any, *, from_logits: bool = False) -> Any:
    """Returns the probability of the predicted class, the winning score.

    It is low where the model hesitates between classes. It can also be high
    far from all training data: nothing in cross-entropy prevents that.

    Args:
        predictions: Float tensor `(B, K)`; or one sigmoid column `(B,)` or
            `(B, 1)`, read as the classes `{1 - p, p}`.
        from_logits: Whether predictions are logits. Defaults to `False`.

    Returns:
        confidence: Float32 tensor `(B,)`, in `[1/K, 1]`; NaN where the row is
            no distribution, such as logits that are taken for probabilities.

    Raises:
        ValueError: If `predictions` has another rank.

    Example:
        >>> confidence(np.array([[0.25, 0.75], [1.0, 0.0]])).numpy().tolist()
        [0.75, 1.0]
    """
    return _Outputs(predictions, from_logits=from_logits).confidence


class _Outputs:
    """What predictions alone tell; `(B,)` and float32 each.

    Args:
        outputs: Probabilities or logits, `(B, K)`, `(B,)` or `(B, 1)`.
        from_logits: Whether `outputs` are logits.
    """

    def __init__(self, outputs: Any, *, from_logits: bool) -> None:
        columns = to_columns(outputs, from_logits=from_logits)
        self._logits = columns if from_logits else None
        self._probabilities = ops.softmax(columns) if from_logits else columns
        if from_logits:
            # One NaN, or infinity above 0, makes a whole softmax NaN.
            valid = ops.isfinite(self._probabilities[:, 0])
        else:
            valid = _are_distributions(columns)
        self._missing = ops.where(valid, 0.0, float("nan"))
        # Of numbers from 0 on the bits are in the same order, and Keras'
        # argmax of floats first looks for negative zeros, in five passes.
        bits = ops.view(self._probabilities, "int32")
        self._predicted = ops.argmax(bits, axis=-1)

    @functools.cached_property
    def confidence(self) -> Any:
        """The largest probability."""
        confidence = _pick(self._probabilities, self._predicted)
        # Rounding may take it above 1.
        return ops.minimum(confidence, 1.0) + self._missing


class Rows(_Outputs):
    """Predictions beside their labels; measures them one by one.

    Each measure is a float32 tensor `(B,)`, made when it is asked for, with
    NaN in the rows that are no distribution. With class ids nothing of size
    `(B, K)` is made but the probabilities and their squares.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        outputs: Probabilities or logits, `(B, K)`, `(B,)` or `(B, 1)`.
        from_logits: Whether `outputs` are logits.

    Raises:
        ValueError: If the shapes do not fit.
    """

    def __init__(
        self, labels: Any, outputs: Any, *, from_logits: bool = False
    ) -> None:
        outputs = ops.convert_to_tensor(outputs)
        super().__init__(outputs, from_logits=from_logits)
        labels = _read_labels(labels, count_columns(outputs), outputs.shape[0])
        self._has_ids = len(labels.shape) == 1
        if self._has_ids:
            inside = ops.clip(labels, 0, self._probabilities.shape[-1] - 1)
            valid = ops.equal(inside, labels)
            labels = inside
        else:
            valid = _are_distributions(labels)
        self._labels = labels
        self._missing += ops.where(valid, 0.0, float("nan"))

    @property
    def correct(self) -> Any:
        """The target's mass on the predicted class; of a class id 0 or 1."""
        if self._has_ids:
            same = ops.equal(self._predicted, self._labels)
            return ops.cast(same, "float32") + self._missing
        return _pick(self._labels, self._predicted) + self._missing

    @property
    def nll(self) -> Any:
        """The cross-entropy, in nats."""
        outputs = self._probabilities if self._logits is None else self._logits
        if self._has_ids:
            return self._missing - self._to_log(_pick(outputs, self._labels))
        # A class without mass costs nothing, even at probability 0.
        terms = self._labels * self._to_log(outputs)
        terms = ops.where(self._labels == 0, 0.0, terms)
        return self._missing - ops.sum(terms, axis=-1)

    @property
    def brier(self) -> Any:
        """The squared distance between targets and probabilities."""
        rows = self._probabilities
        if self._has_ids:
            mass = _pick(rows, self._labels)
            others = ops.sum(ops.square(rows), axis=-1) - ops.square(mass)
            # Rounding may take the difference below 0.
            others = ops.maximum(others, 0.0)
            return ops.square(1 - mass) + others + self._missing
        distance = ops.sum(ops.square(rows - self._labels), axis=-1)
        return distance + self._missing

    def _to_log(self, outputs: Any) -> Any:
        """Returns log-probabilities of outputs, one or all of each row."""
        if self._logits is None:
            tiny = outputs < TINY_PROBABILITY
            return ops.log(ops.where(tiny, TINY_PROBABILITY, outputs))
        # Of any column, that of the confidence too, the logit less the
        # logarithm of its probability is the same; of that one it is sound.
        best = ops.log(self.confidence) - _pick(self._logits, self._predicted)
        extra = (1,) * (len(outputs.shape) - 1)
        return outputs + ops.reshape(best, (-1, *extra))


def top_label(
    labels: Any, probabilities: Any, *, from_logits: bool = False
) -> tuple[Any, Any]:
    """Returns each row's confidence, and whether its prediction is correct.

    Ties go to the first class, so a sigmoid of exactly 0.5 predicts class 0.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)`.
        from_logits: Whether they are logits instead.

    Returns:
        confidence: Float32 tensor `(B,)`: the largest probability.
        correct: Float32 tensor `(B,)`: the target's mass on that class. Both
            are NaN where the row is no distribution.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> confidence, correct = top_label([0, 1], [[0.75, 0.25], [1.0, 0.0]])
        >>> [float(row) for row in confidence], [float(row) for row in correct]
        ([0.75, 1.0], [1.0, 0.0])
    """
    rows = Rows(labels, probabilities, from_logits=from_logits)
    return rows.confidence, rows.correct


def brier_score(labels: Any, probabilities: Any) -> Any:
    """Returns each row's squared distance between targets and probabilities.

    The sum over all classes, in [0, 2]: for two classes twice what the form
    for one column gives. It measures accuracy and calibration together.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)`.

    Returns:
        brier: Float32 tensor `(B,)`, within 3e-7; its mean is the Brier score.

    Raises:
        ValueError: If the shapes do not fit.

    References:
        Brier. Verification of forecasts expressed in terms of probability.
        Monthly Weather Review 78, 1950.
    """
    return Rows(labels, probabilities).brier


def negative_log_likelihood(
    labels: Any, predictions: Any, *, from_logits: bool = False
) -> Any:
    """Returns each row's cross-entropy, in nats.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        predictions: Probabilities or logits, `(B, K)`, `(B,)` or `(B, 1)`.
            Probabilities below 1e-7 count as 1e-7, as in Keras: at most 16.1
            nats. Logits need no such floor and are exact.
        from_logits: Whether `predictions` are logits.

    Returns:
        nll: Float32 tensor `(B,)`.

    Raises:
        ValueError: If the shapes do not fit.
    """
    return Rows(labels, predictions, from_logits=from_logits).nll


def pair(labels: Any, probabilities: Any) -> tuple[Any, Any]:
    """Returns labels and probabilities in one form: distributions.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)`.

    Returns:
        targets: Float32 tensor `(B, K)`; K is 2 for a sigmoid.
        probabilities: Float32 tensor `(B, K)`. Both are NaN in the rows where
            one of them is no distribution.

    Raises:
        ValueError: If the shapes do not fit.
    """
    probabilities = ops.convert_to_tensor(probabilities)
    targets = to_targets(
        labels, count_columns(probabilities), probabilities.shape[0]
    )
    rows = to_columns(probabilities)
    valid = ops.logical_and(
        _are_distributions(rows), ops.isfinite(targets[:, 0])
    )
    missing = ops.where(valid, 0.0, float("nan"))[:, None]
    return targets + missing, rows + missing


def _read_labels(labels: Any, num_classes: int, num_rows: Any) -> Any:
    """Returns class ids, int32 `(B,)`, or targets, float32 `(B, K)`."""
    labels = ops.convert_to_tensor(labels)
    shape = tuple(labels.shape)
    columns = max(num_classes, 2)
    if len(shape) == 0 or (
        len(shape) != 1 and shape[1:] not in ((1,), (columns,))
    ):
        raise checks.refusal(
            "Labels must be class ids, (B,) or (B, 1), or targets"
            f" (B, {columns}), one column for each class",
            f"labels of shape {shape}",
            "Give class ids, or one-hot targets of as many columns as the"
            " predictions have",
        )
    if None not in (shape[0], num_rows) and shape[0] != num_rows:
        raise checks.refusal(
            "There must be a label for each row",
            f"labels of shape {shape} for {num_rows} rows",
            "Give the labels of these rows",
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


def _pick(columns: Any, classes: Any) -> Any:
    """Returns the column of `(B, K)` that each row names, `(B,)`."""
    # Keras' `take_along_axis` would copy all columns first.
    size, num_classes = ops.shape(columns)
    places = ops.arange(size, dtype="int32") * num_classes + classes
    return ops.take(ops.reshape(columns, (-1,)), places)


def _are_distributions(rows: Any) -> Any:
    """Tells which rows of `(B, K)` are at least 0 and sum to 1."""
    total = ops.sum(rows, axis=-1)
    return ops.logical_and(
        ops.all(rows >= 0, axis=-1), ops.abs(total - 1) <= SUM_TOLERANCE
    )
