"""Bins of each label, for examples that can have several labels or none.

Each label is a binary problem of its own: the probability of label k, a
sigmoid, against whether the example has it. Shapes: B examples, K labels, M
bins.
"""

from typing import Any

import numpy as np
from keras import ops

from tf_mixup import _checks
from tf_mixup._checks import numbers
from tf_mixup._models import output_kind
from tf_mixup.calibration import bins as bins_lib
from tf_mixup.calibration import per_example


def label_bins(
    labels: Any,
    probabilities: Any,
    *,
    num_bins: int = 15,
    edges: str = "right",
    from_logits: bool | None = None,
    sample_weight: Any = None,
    ignore_label: int | None = None,
) -> bins_lib.Bins:
    """Sums the probability of each label into bins, and how often it is there.

    In the table of label k the confidence is the probability of k, not that of
    the more probable answer, and correct is whether the example has label k,
    or its target in [0, 1]. All measures of `Bins` take it and give one number
    for each label: `expected_calibration_error` its ECE, `signed_gap` its mean
    probability minus its frequency.

    Args:
        labels: Multi-hot `(B, K)` of 0 and 1, or targets in [0, 1] that need
            not sum to 1, as mixed ones; of one label also `(B,)`.
        probabilities: Float tensor `(B, K)` of K sigmoids; of one label also
            `(B,)`.
        num_bins: Number of bins, at least 1. Defaults to 15.
        edges: The closed side of bins, `"right"` (papers) or `"left"` (tfp).
        from_logits: Whether they are logits instead; None detects it.
        sample_weight: Weights `(B,)` or `(B, 1)`, or `(B, K)` for each label,
            at least 0, or None; what has weight 0 is left out.
        ignore_label: Value of labels that are not known, often -1, which are
            left out, each by itself; None ignores none.

    Returns:
        bins: `Bins` of shape `(K, M)`.

    Raises:
        ValueError: If the shapes do not fit, a label lies outside of [0, 1],
            or an option is out of range.

    Example:
        >>> labels = np.array([[1, 1], [1, 0], [0, 0], [1, 0]])
        >>> probabilities = np.tile([0.75, 0.5], (4, 1))
        >>> bins = label_bins(labels, probabilities, num_bins=2)
        >>> np.array(bins.confidence).tolist(), np.array(bins.correct).tolist()
        ([[0.0, 3.0], [2.0, 0.0]], [[0.0, 3.0], [1.0, 0.0]])
    """
    shape, labels, outputs, weight = flatten(
        labels, probabilities, sample_weight, ignore_label
    )
    outputs, from_logits = output_kind.flatten_sigmoids(outputs, from_logits)
    targets, columns = per_example.pair(
        labels, outputs, from_logits=from_logits
    )
    return sum_labels(
        columns[:, 1],
        targets[:, 1],
        weight,
        shape=shape,
        num_bins=num_bins,
        edges=edges,
    )


def sum_labels(
    probability: Any,
    target: Any,
    weight: Any,
    *,
    shape: tuple[int, int],
    num_bins: int,
    edges: str,
) -> bins_lib.Bins:
    """Sums flat columns into bins of each label, without checks.

    Args:
        probability: Float tensor `(B * K,)`.
        target: The same.
        weight: The same in the type of sums, or None for 1.
        shape: Of outputs, `(-1, K)`.
        num_bins: Number of bins, M.
        edges: The closed side of bins.

    Returns:
        bins: `Bins` of shape `(K, M)`.
    """
    dtype = bins_lib.accumulator_dtype()
    if weight is None:
        weight = ops.ones_like(probability, dtype=dtype)
    # Left out, not only weighted by 0: 0 * NaN is NaN.
    probability, target = (
        ops.where(weight == 0, ops.zeros_like(column), column)
        for column in (probability, ops.cast(target, dtype))
    )
    return bins_lib.sum_into_bins(
        *(ops.reshape(x, shape) for x in (probability, target, weight)),
        inner=bins_lib.bin_edges(num_bins)[1:-1],
        edges=edges,
    )


def find_worst(bins: bins_lib.Bins) -> np.ndarray:
    """Returns labels in order, first the one furthest above chance.

    Few examples raise the ECE of a calibrated label: the gap of a bin is
    nearly normal then, and the mean of its absolute value sqrt(2 / pi)
    deviations.

    Args:
        bins: `Bins` of shape `(K, M)`.

    Returns:
        places: Integers `(K,)`, by the ECE less the one by chance; labels
            without examples are last.
    """
    count, claimed, correct = (
        numbers.to_numpy(part, "Bins", dtype=np.float64) for part in bins
    )
    share = claimed / np.where(count > 0, count, 1)
    variance = claimed * np.clip(1 - share, 0, 1)
    excess = np.abs(claimed - correct) - np.sqrt(2 / np.pi * variance)
    size = count.sum(axis=1)
    above = excess.sum(axis=1) / np.where(size > 0, size, 1)
    return np.argsort(np.where(size > 0, -above, np.inf), kind="stable")


def flatten(
    labels: Any, outputs: Any, sample_weight: Any, ignore_label: int | None
) -> tuple[tuple[int, int], Any, Any, Any]:
    """Returns one entry for each example and label.

    Args:
        labels: As of `label_bins`.
        outputs: Probabilities or logits `(B, K)`, or `(B,)` of one label.
        sample_weight: As of `label_bins`.
        ignore_label: The same.

    Returns:
        shape: `(-1, K)`, that of outputs.
        labels: Targets `(B * K,)`; those that are ignored are 0.
        outputs: As given, a tensor.
        weight: `(B * K,)` in the type of sums, 0 of ignored ones; None if all
            are 1.

    Raises:
        ValueError: If the shapes do not fit, or a label lies outside of [0, 1].
    """
    outputs = output_kind.to_tensor(outputs)
    columns = output_kind.count_columns(outputs)
    labels = per_example.to_label_tensor(labels)
    given = tuple(labels.shape)
    size = outputs.shape[0]
    fits = given[1:] == (columns,) or (columns == 1 and len(given) == 1)
    if not fits or (None not in (size, given[0]) and size != given[0]):
        raise _checks.refusal(
            "Multi-label targets must be multi-hot: (B, K) of 0 and 1, a column"
            " for each label",
            f"labels of shape {given} for outputs of shape"
            f" {tuple(outputs.shape)}",
            "Encode lists of labels, e.g. with"
            ' `keras.layers.CategoryEncoding(K, "multi_hot")`; for one class of'
            " each example use `expected_calibration_error`",
        )
    labels = ops.reshape(ops.cast(labels, "float32"), (-1,))
    weight = _flatten_weights(sample_weight, size, columns)
    if per_example.check_ignore_label(ignore_label) is not None:
        kept = labels != ignore_label
        labels = ops.where(kept, labels, 0.0)
        kept = ops.cast(kept, bins_lib.accumulator_dtype())
        weight = kept if weight is None else weight * kept
    if weight is not None:
        # What is left out may hold anything.
        weight = weight * ops.ones_like(labels, dtype=weight.dtype)
        labels = ops.where(weight == 0, 0.0, labels)
    labels = output_kind.refuse_outside(
        labels,
        "Multi-label targets",
        received="labels",
        remedy="Write 1 where an example has a label and 0 where not, and leave"
        " unknown ones out by `ignore_label=-1`",
    )
    return (-1, columns), labels, outputs, weight


def _flatten_weights(sample_weight: Any, size: Any, columns: int) -> Any:
    """Returns weights `(B * K,)` or `(1,)`; None if all are 1."""
    if sample_weight is None:
        return None
    given = ops.convert_to_tensor(numbers.read(sample_weight, "Weights"))
    if len(given.shape) == 2 and given.shape[1] == columns:
        return bins_lib.read_weights(given, size and size * columns)
    weight = bins_lib.read_weights(given, size)
    if weight.shape == (1,):
        return weight
    return ops.repeat(weight, columns)
