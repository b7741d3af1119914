"""Bins of confidence: sums that every calibration measure is a function of.

A batch, an epoch, a replica and a data set have the same type `Bins` and add
with `+`. What does not add up over batches (exact equal-mass bins, intervals)
is in `equal_mass` and `resampling`.

Shapes: B examples, K classes, M bins. Errors are fractions in [0, 1].
`per_example` describes labels and predictions. An example whose prediction is
no distribution over classes (NaN, logits in place of probabilities), or whose
label is out of range, makes the result NaN: nothing is left out silently.

**Edges.** Bins have equal width. `edges="right"` closes bins on the right,
`((m - 1) / M, m / M]`, as in the papers; `edges="left"` on the left, as in
TensorFlow Probability. Confidence 0 and 1 always count, in the first and the
last bin. An edge is the float32 nearest to `m / M` and confidences are
compared with it as float32, never multiplied: a confidence of 0.8 is on the
edge 4/5.
"""

import math
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from tf_mixup import _checks
from tf_mixup._checks import numbers
from tf_mixup._models import output_kind
from tf_mixup.calibration import per_example

EDGES = ("right", "left")


# Numbers of the table of examples and bins that is made at a time.
_BLOCK = 2**21


class Bins(NamedTuple):
    """Sums over the examples of each bin; `a + b` adds two tables.

    Attributes:
        count: Sum of weights (without weights: number of examples), `(..., M)`.
        confidence: Weighted sum of confidences, `(..., M)`.
        correct: Weighted sum of correct predictions, `(..., M)`.
    """

    count: Any
    confidence: Any
    correct: Any

    def __add__(self, other: "Bins") -> "Bins":  # type: ignore[override]
        """Returns the table of both sets of examples."""
        return Bins(
            self.count + other.count,
            self.confidence + other.confidence,
            self.correct + other.correct,
        )


def accumulator_dtype() -> str:
    """Returns the type of sums: float64 where the backend has it.

    JAX without `jax_enable_x64` has none, and on PyTorch Keras multiplies
    matrices and adds up in float32; sums are then float32, exact up to 2**24
    examples in a bin.
    """
    if keras.backend.backend() == "torch":
        return "float32"
    # Asking for a float64 would make JAX warn; giving one does not.
    given = ops.convert_to_tensor(np.zeros((), "float64"))
    return keras.backend.standardize_dtype(given.dtype)


def bin_edges(num_bins: int) -> np.ndarray:
    """Returns the edges `m / M` of equal-width bins.

    Args:
        num_bins: Number of bins, at least 1.

    Returns:
        edges: Float32 array of shape `(M + 1,)` from 0 to 1. Rounded from
            float64, so that `(k * m) / (k * M)` is `m / M` to the bit.

    Raises:
        ValueError: If `num_bins` is not an integer, at least 1.
    """
    _checks.integer_at_least(
        "num_bins", num_bins, 1, remedy="Write 15, as most papers do"
    )
    return (np.arange(num_bins + 1) / num_bins).astype("float32")


def bin_predictions(
    labels: Any,
    probabilities: Any,
    *,
    num_bins: int = 15,
    edges: str = "right",
    from_logits: bool | None = None,
    sample_weight: Any = None,
    ignore_label: int | None = None,
) -> Bins:
    """Sums predictions into equal-width bins of confidence.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)` of a
            sigmoid.
        num_bins: Number of bins, at least 1. Defaults to 15. Many bins and few
            examples measure noise: see `resampling.null_calibration_error`.
        edges: The closed side of bins, `"right"` (papers) or `"left"` (tfp).
            Defaults to `"right"`.
        from_logits: Whether they are logits instead; None detects it.
        sample_weight: Weights `(B,)` or `(B, 1)`, at least 0, or None; an
            example of weight 0 is left out.
        ignore_label: Class id of examples without a label, often -1, which are
            left out; None ignores none.

    Returns:
        bins: `Bins` of shape `(M,)`.

    Raises:
        ValueError: If the shapes do not fit or an option is out of range.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])
        >>> bins = bin_predictions([0, 1, 1], probabilities, num_bins=2)
        >>> np.array(bins.count).tolist(), np.array(bins.correct).tolist()
        ([0.0, 3.0], [0.0, 2.0])
    """
    confidence, correct, weight = columns_of(
        labels,
        probabilities,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_label=ignore_label,
    )
    return bin_confidences(
        confidence,
        correct,
        num_bins=num_bins,
        edges=edges,
        sample_weight=weight,
    )


def columns_of(
    labels: Any,
    probabilities: Any,
    *,
    from_logits: bool | None = None,
    sample_weight: Any = None,
    ignore_label: int | None = None,
) -> tuple[Any, Any, Any]:
    """Returns confidence, correctness and weight, None for 1, `(B,)` each."""
    labels, probabilities, sample_weight = per_example.flatten_steps(
        labels, probabilities, sample_weight
    )
    confidence, correct = per_example.top_label(
        labels, probabilities, from_logits=from_logits
    )
    return confidence, correct, weigh(labels, sample_weight, ignore_label)


def table_of(
    kind: type,
    make: Callable[..., Any],
    labels: Any,
    probabilities: Any,
    options: Mapping[str, Any],
) -> Any:
    """Returns the table that a measure got as `labels`, or makes it."""
    # None is what a measure has where nothing was given.
    options = {key: each for key, each in options.items() if each is not None}
    if not isinstance(labels, kind):
        if probabilities is not None:
            return make(labels, probabilities, **options)
        received = f"a {type(labels).__name__} alone"
    elif probabilities is None and not options:
        return labels
    else:
        others = ["probabilities"] * (probabilities is not None)
        received = f"{kind.__name__} with {', '.join([*others, *options])}"
    raise _checks.refusal(
        f"A measure takes (labels, probabilities), or {kind.__name__} alone",
        received,
        f"Write `measure(labels, probabilities, ...)`; {kind.__name__} hold"
        " their bins and weights already",
    )


def bin_confidences(
    confidence: Any,
    correct: Any,
    *,
    num_bins: int = 15,
    edges: str = "right",
    sample_weight: Any = None,
) -> Bins:
    """Sums confidences and correctness into bins.

    Adds a column for each bin, in place of a histogram: XLA compiles it, and
    the order of additions is fixed on every device.

    Args:
        confidence: Float tensor `(B,)` in [0, 1]; or `(B, K)`, which makes a
            table for each column.
        correct: Tensor of the same shape: 0 or 1, or mass in [0, 1].
        num_bins: Number of bins, at least 1.
        edges: The closed side of bins, `"right"` or `"left"`.
        sample_weight: Optional weights `(B,)` or `(B, 1)`, at least 0.

    Returns:
        bins: `Bins` of shape `(M,)` or `(K, M)`.

    Raises:
        ValueError: If an option is out of range.
    """
    dtype = accumulator_dtype()
    confidence = _check_shares("confidence", confidence, "float32")
    correct = _check_shares("correct", correct, dtype)
    if correct.shape != confidence.shape or len(correct.shape) not in (1, 2):
        raise _checks.refusal(
            "`confidence` and `correct` must have the same shape, (B,) or"
            " (B, K)",
            f"shapes {tuple(confidence.shape)} and {tuple(correct.shape)}",
            "Take both from `calibration.top_label(labels, probabilities)`",
        )
    weight = ops.ones_like(confidence, dtype=dtype)
    if sample_weight is not None:
        given = read_weights(sample_weight, confidence.shape[0])
        weight = weight * ops.reshape(
            given, (-1,) + (1,) * (len(confidence.shape) - 1)
        )
        # Left out, not only weighted by 0: 0 * NaN is NaN.
        confidence, correct = (
            ops.where(weight == 0, ops.zeros_like(column), column)
            for column in (confidence, correct)
        )
    return sum_into_bins(
        confidence,
        correct,
        weight,
        inner=bin_edges(num_bins)[1:-1],
        edges=edges,
    )


def sum_into_bins(
    confidence: Any, correct: Any, weight: Any, *, inner: np.ndarray, edges: str
) -> Bins:
    """Sums columns into bins between any edges, without checks.

    Args:
        confidence: As of `bin_confidences`.
        correct: The same.
        weight: Weights of the same shape, in the type of sums.
        inner: Float32 edges between bins, ascending; one more bin.
        edges: The closed side of bins, `"right"` or `"left"`.
    """
    _checks.one_of("edges", edges, EDGES)
    dtype, num_bins = accumulator_dtype(), len(inner) + 1
    columns = (confidence, correct)

    def sum_part(place: slice) -> Bins:
        part, right = (column[place] for column in columns)
        found = find_bins(part, inner, edges)
        weighted = weight[place]
        summed = (weighted, weighted * ops.cast(part, dtype), weighted * right)
        if dtype == "float64" and len(confidence.shape) == 1:
            # Faster, but hardware rounds the products of float32 matrices.
            return Bins(*ops.unstack(_sum_by_matmul(summed, found, num_bins)))
        inside = ops.one_hot(found, num_bins, dtype=dtype)
        return Bins(
            *(ops.sum(inside * column[..., None], axis=0) for column in summed)
        )

    size = confidence.shape[0] or 0
    block = max(1, _BLOCK // (num_bins * math.prod(confidence.shape[1:])))
    if size <= block:
        return sum_part(slice(None))
    parts = (slice(start, start + block) for start in range(0, size, block))
    total = sum_part(next(parts))
    for place in parts:
        total = total + sum_part(place)
    return total


def class_bins(
    labels: Any,
    probabilities: Any,
    *,
    num_bins: int = 15,
    edges: str = "right",
    from_logits: bool | None = None,
    sample_weight: Any = None,
    ignore_label: int | None = None,
) -> Bins:
    """Sums the probability of every class, not of the predicted one only.

    In class k's table the confidence is the probability of k, and correct is
    whether k is the label (or the target's mass on k).

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)` of a
            sigmoid.
        num_bins: Number of bins, at least 1. Defaults to 15.
        edges: The closed side of bins, `"right"` or `"left"`.
        from_logits: Whether they are logits instead; None detects it.
        sample_weight: Weights `(B,)` or `(B, 1)`, at least 0, or None; an
            example of weight 0 is left out.
        ignore_label: Class id of examples without a label, often -1, which are
            left out; None ignores none.

    Returns:
        bins: `Bins` of shape `(K, M)`; K is 2 for a sigmoid.

    Raises:
        ValueError: If the shapes do not fit or an option is out of range.
    """
    labels, probabilities, sample_weight = per_example.flatten_steps(
        labels, probabilities, sample_weight
    )
    targets, probabilities = per_example.pair(
        labels, probabilities, from_logits=from_logits
    )
    return bin_confidences(
        probabilities,
        targets,
        num_bins=num_bins,
        edges=edges,
        sample_weight=weigh(labels, sample_weight, ignore_label),
    )


def read_weights(sample_weight: Any, num_examples: int | None = None) -> Any:
    """Returns weights as a column of the type of sums, `(1,)` of a scalar.

    Weights below 0 are refused, or NaN in a compiled function.

    Args:
        sample_weight: Weights `(B,)` or `(B, 1)`, or a scalar, of any type.
        num_examples: B, if it is known.
    """
    given = ops.convert_to_tensor(numbers.read(sample_weight, "Weights"))
    size = math.prod(given.shape) if None not in given.shape else None
    if None not in (size, num_examples) and size not in (num_examples, 1):
        raise _checks.refusal(
            "`sample_weight` must be one number for each example",
            f"weights of shape {tuple(given.shape)} for {num_examples}"
            " examples",
            "Give an array of shape (B,)",
        )
    weights = ops.reshape(ops.cast(given, accumulator_dtype()), (-1,))
    negative = weights < 0
    if output_kind.concrete(ops.any(negative)) is True:
        raise _checks.refusal(
            "`sample_weight` must be at least 0",
            f"weights from {float(ops.min(weights)):g}",
            "Write 0 to leave an example out",
        )
    return ops.where(negative, float("nan"), weights)


def weigh(labels: Any, sample_weight: Any, ignore_label: int | None) -> Any:
    """Returns weights that are 0 where there is no label; None if all are 1."""
    ignored = per_example.ignored(labels, ignore_label)
    if ignored is None:
        return sample_weight
    kept = ops.cast(ops.logical_not(ignored), accumulator_dtype())
    if sample_weight is None:
        return kept
    return read_weights(sample_weight, kept.shape[0]) * kept


def _check_shares(name: str, values: Any, dtype: str) -> Any:
    """Returns values in [0, 1]; others are refused, or NaN when compiled."""
    values = numbers.read(values, f"`{name}`")
    return output_kind.refuse_outside(
        ops.cast(ops.convert_to_tensor(values), dtype),
        f"`{name}`",
        received=name,
        remedy="Give shares, not percent, and probabilities, not logits",
    )


def merge_bins(bins: Bins, factor: int) -> Bins:
    """Sums groups of adjacent bins; exact, as fine edges contain the coarse.

    Args:
        bins: Table `(..., M)`.
        factor: Number of bins to sum; divides M.

    Returns:
        merged: Table `(..., M / factor)`.

    Raises:
        ValueError: If `factor` does not divide M.
    """
    size = bins.count.shape[-1]
    if factor < 1 or size % factor:
        raise _checks.refusal(
            f"`factor` must divide the number of bins, {size}",
            f"factor={factor!r}",
            "Bin again with a number of bins that it divides",
        )
    shape = (*bins.count.shape[:-1], size // factor, factor)
    return Bins(*(ops.sum(ops.reshape(part, shape), -1) for part in bins))


def find_bins(confidence: Any, inner: np.ndarray, edges: str) -> Any:
    """Returns the number of the bin in which each confidence lies."""
    # The outer bins are open-ended: a softmax may exceed 1 by rounding.
    place = ops.searchsorted(
        inner,
        ops.reshape(confidence, (-1,)),
        side="left" if edges == "right" else "right",
    )
    return ops.reshape(place, ops.shape(confidence))


def _sum_by_matmul(columns: Sequence[Any], place: Any, num_bins: int) -> Any:
    """Returns the sums of columns `(B,)` by bin, `(len(columns), M)`.

    A bin is a cell of a square of bins. Two short matrices, of its line and of
    its position there, take much less memory than one of all bins.
    """
    dtype, width = columns[0].dtype, math.ceil(math.sqrt(num_bins))
    height = -(-num_bins // width)
    line = ops.one_hot(place // width, height, axis=0, dtype=dtype)
    position = ops.one_hot(place % width, width, dtype=dtype)
    by_line = ops.concatenate([line * column for column in columns])
    sums = ops.matmul(by_line, position)
    return ops.reshape(sums, (len(columns), -1))[:, :num_bins]


def divide(numerator: Any, denominator: Any) -> Any:
    """Divides sums; 0 / 0 of an empty bin is 0, and NaN stays NaN."""
    return numerator / ops.where(denominator == 0, 1.0, denominator)
