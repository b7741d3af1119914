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

from typing import Any

from keras import ops

from tf_mixup import checks

# Half precision rounds each of K probabilities; logits miss by far more.
SUM_TOLERANCE = 0.02
# As in Keras' losses: one confident mistake cannot cost infinity.
TINY_PROBABILITY = 1e-7


def to_probabilities(logits: Any) -> Any:
    """Returns the probabilities of both classes, or all, from logits.

    Args:
        logits: Float tensor `(B, K)`, or `(B,)` or `(B, 1)` of a sigmoid.

    Returns:
        probabilities: Float32 tensor `(B, K)`; K is 2 for a sigmoid.
    """
    return ops.softmax(_two_columns(logits, from_logits=True), axis=-1)


def top_label(labels: Any, probabilities: Any) -> tuple[Any, Any]:
    """Returns each row's confidence, and whether its prediction is correct.

    Ties go to the first class, so a sigmoid of exactly 0.5 predicts class 0.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)`.

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
    targets, probabilities = pair(labels, probabilities)
    predicted = ops.one_hot(
        ops.argmax(probabilities, axis=-1),
        probabilities.shape[-1],
        dtype="float32",
    )
    # Not `max`, which need not keep a NaN.
    confidence = ops.sum(predicted * probabilities, axis=-1)
    correct = ops.sum(predicted * targets, axis=-1)
    return confidence, correct


def brier_score(labels: Any, probabilities: Any) -> Any:
    """Returns each row's squared distance between targets and probabilities.

    The sum over all classes, in [0, 2]: for two classes twice what the form
    for one column gives. It measures accuracy and calibration together.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)`.

    Returns:
        brier: Float32 tensor `(B,)`; its mean is the Brier score.

    Raises:
        ValueError: If the shapes do not fit.

    References:
        Brier. Verification of forecasts expressed in terms of probability.
        Monthly Weather Review 78, 1950.
    """
    targets, probabilities = pair(labels, probabilities)
    return ops.sum(ops.square(probabilities - targets), axis=-1)


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
    if not from_logits:
        targets, probabilities = pair(labels, predictions)
        tiny = probabilities < TINY_PROBABILITY
        logs = ops.log(ops.where(tiny, TINY_PROBABILITY, probabilities))
    else:
        targets, _ = pair(labels, to_probabilities(predictions))
        columns = _two_columns(predictions, from_logits=True)
        logs = ops.log_softmax(columns, axis=-1)
    # A class without target mass costs nothing, even at probability 0.
    return -ops.sum(ops.where(targets == 0, 0.0, targets * logs), axis=-1)


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
    single = tuple(probabilities.shape[1:]) in ((), (1,))
    rows = _two_columns(probabilities, from_logits=False)
    targets = _to_targets(labels, rows.shape[-1], single=single)
    valid = ops.logical_and(
        _are_distributions(rows), _are_distributions(targets)
    )
    missing = ops.where(valid, 0.0, float("nan"))[:, None]
    return targets + missing, rows + missing


def _two_columns(outputs: Any, *, from_logits: bool) -> Any:
    """Returns float32 outputs `(B, K)`, where a sigmoid's column is two."""
    outputs = ops.cast(ops.convert_to_tensor(outputs), "float32")
    if len(outputs.shape) not in (1, 2):
        raise checks.refusal(
            "Predictions must have shape (B, K), (B,) or (B, 1)",
            f"predictions of shape {tuple(outputs.shape)}",
            "Reshape labels and predictions to one row per prediction",
        )
    if len(outputs.shape) == 2 and outputs.shape[-1] != 1:
        return outputs
    column = ops.reshape(outputs, (-1, 1))
    other = ops.zeros_like(column) if from_logits else 1 - column
    return ops.concatenate([other, column], axis=-1)


def _to_targets(labels: Any, num_classes: int, *, single: bool) -> Any:
    labels = ops.convert_to_tensor(labels)
    if len(labels.shape) == 2 and labels.shape[-1] == num_classes:
        return ops.cast(labels, "float32")
    if len(labels.shape) != 1 and tuple(labels.shape[1:]) != (1,):
        raise checks.refusal(
            "Labels must be class ids, (B,) or (B, 1), or targets"
            f" (B, {num_classes}), one column for each class",
            f"labels of shape {tuple(labels.shape)}",
            "Give class ids, or one-hot targets of as many columns as the"
            " predictions have",
        )
    labels = ops.reshape(labels, (-1,))
    if single:
        # One column: the label may be soft, the mass of class 1.
        mass = ops.cast(labels, "float32")[:, None]
        return ops.concatenate([1 - mass, mass], axis=-1)
    return ops.one_hot(ops.cast(labels, "int32"), num_classes, dtype="float32")


def _are_distributions(rows: Any) -> Any:
    """Tells which rows of `(B, K)` are at least 0 and sum to 1."""
    total = ops.sum(rows, axis=-1)
    return ops.logical_and(
        ops.all(rows >= 0, axis=-1), ops.abs(total - 1) <= SUM_TOLERANCE
    )
