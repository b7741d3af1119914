"""Calibration: do predictions of confidence 0.8 come true 8 times in 10?

Sums first, numbers last. `Bins` holds sums, so that a batch, an epoch, a
replica and a data set are the same type and add with `+`; every error is a
function of `Bins`, so that no two of them can disagree. What does not add up
over batches (exact equal-mass bins, intervals) is in `tf_mixup.scores`.

Letters: B rows, K classes, M bins. Errors are fractions in [0, 1].

`tf_mixup.predictions` tells what labels and predictions may be. A row that
is no distribution over classes (NaN, logits in place of probabilities, a
label out of range) makes the result NaN: nothing is left out in silence.

**Edges.** Bins have equal width. `edges="right"` closes bins on the right,
`((m - 1) / M, m / M]`, as in the papers; `edges="left"` on the left, as in
TensorFlow Probability. Confidence 0 and 1 always count, in the first and the
last bin. An edge is the float32 nearest to `m / M` and confidences are
compared with it as float32, never multiplied: a confidence of 0.8 is on the
edge 4/5.
"""

import math
import types
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from tf_mixup import _numbers
from tf_mixup import _output_kind
from tf_mixup import checks
from tf_mixup import predictions
from tf_mixup.predictions import brier_score as brier_score
from tf_mixup.predictions import (
    negative_log_likelihood as negative_log_likelihood,
)
from tf_mixup.predictions import top_label as top_label

EDGES = ("right", "left")

# Numbers of the table of rows and bins that is made at a time.
_BLOCK = 2**21


class Convention(NamedTuple):
    """How a paper or package counts; its numbers differ from others' numbers.

    Attributes:
        num_bins: Number of equal-width bins.
        edges: Which side of a bin is closed, `"right"` or `"left"`.
        note: What else to know when comparing numbers.
    """

    num_bins: int
    edges: str
    note: str


CONVENTIONS: Mapping[str, Convention] = types.MappingProxyType(
    {
        "paper": Convention(
            100,
            "right",
            "Thulasidasan et al. 2019 (mixup). With 500 rows most of it is"
            " bias; see `scores.null_calibration_error`.",
        ),
        "guo": Convention(15, "right", "Guo et al. 2017, and most papers."),
        "tfp": Convention(
            10,
            "left",
            "`tfp.stats.expected_calibration_error`, whose documentation"
            " uses 10; `num_bins` has no default there.",
        ),
        "torchmetrics": Convention(
            15,
            "left",
            "`multiclass_calibration_error`. It gives a confidence of exactly"
            " 1 a bin of its own, here it shares the last one; its binary"
            " form bins P(y=1), not the confidence.",
        ),
        "netcal": Convention(
            10,
            "left",
            "`netcal.metrics.ECE`, 10 by default. Of two classes it bins"
            " P(y=1), not the confidence; its ACE averages over bins.",
        ),
    }
)
"""Settings by name: `num_bins` and `edges` for the functions below."""


class Bins(NamedTuple):
    """Sums over the rows of each bin of confidence; `a + b` adds two tables.

    Attributes:
        count: Sum of weights (without weights: number of rows), `(..., M)`.
        confidence: Weighted sum of confidences, `(..., M)`.
        correct: Weighted sum of correct predictions, `(..., M)`.
    """

    count: Any
    confidence: Any
    correct: Any

    def __add__(self, other: "Bins") -> "Bins":  # type: ignore[override]
        """Returns the table of both sets of rows."""
        return Bins(
            self.count + other.count,
            self.confidence + other.confidence,
            self.correct + other.correct,
        )


def accumulator_dtype() -> str:
    """Returns the type of sums: float64 where the backend has it.

    JAX without `jax_enable_x64` has none; sums are then float32, exact to
    2**24 rows in a bin.
    """
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
    checks.integer_at_least(
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
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)`.
        num_bins: Number of bins, at least 1. Many bins and few rows measure
            noise: see `scores.null_calibration_error`.
        edges: The closed side of bins, `"right"` (papers) or `"left"` (tfp).
        from_logits: Whether they are logits instead; None finds out.
        sample_weight: Optional weights `(B,)` or `(B, 1)` of any type, at
            least 0; an example of weight 0 is left out.
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
    labels, probabilities, sample_weight = predictions.flatten_steps(
        labels, probabilities, sample_weight
    )
    confidence, correct = top_label(
        labels, probabilities, from_logits=from_logits
    )
    return bin_confidences(
        confidence,
        correct,
        num_bins=num_bins,
        edges=edges,
        sample_weight=weigh(labels, sample_weight, ignore_label),
    )


def bin_confidences(
    confidence: Any,
    correct: Any,
    *,
    num_bins: int = 15,
    edges: str = "right",
    sample_weight: Any = None,
) -> Bins:
    """Sums confidences that are known already into bins.

    Adds a column for each bin, in place of a histogram: XLA compiles it, and
    no device adds in the order in which threads come by.

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
        raise checks.refusal(
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
        confidence, correct, weight, num_bins=num_bins, edges=edges
    )


def sum_into_bins(
    confidence: Any, correct: Any, weight: Any, *, num_bins: int, edges: str
) -> Bins:
    """Does what `bin_confidences` does with columns that are checked.

    Args:
        confidence: Float32 tensor `(B,)` or `(B, K)`, in [0, 1] or NaN.
        correct: Tensor like it, of the type of sums.
        weight: Tensor like it, at least 0.
        num_bins: Number of bins, at least 1.
        edges: The closed side of bins, `"right"` or `"left"`.

    Returns:
        bins: `Bins` of shape `(M,)` or `(K, M)`.
    """
    checks.one_of("edges", edges, EDGES)
    limits = bin_edges(num_bins)
    dtype = accumulator_dtype()
    columns = (confidence, correct)

    def sum_rows(rows: slice) -> Bins:
        part, right = (column[rows] for column in columns)
        inside = _membership(part, limits, edges, dtype)
        weighted = weight[rows]
        summed = (weighted, weighted * ops.cast(part, dtype), weighted * right)
        if dtype == "float64" and len(confidence.shape) == 1:
            # Faster, but hardware rounds the products of float32 matrices.
            return Bins(*ops.unstack(ops.matmul(ops.stack(summed), inside)))
        return Bins(
            *(ops.sum(inside * column[..., None], axis=0) for column in summed)
        )

    size = confidence.shape[0] or 0
    block = max(1, _BLOCK // (num_bins * math.prod(confidence.shape[1:])))
    if size <= block:
        return sum_rows(slice(None))
    parts = (slice(start, start + block) for start in range(0, size, block))
    total = sum_rows(next(parts))
    for rows in parts:
        total = total + sum_rows(rows)
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
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)`.
        num_bins: Number of bins, at least 1.
        edges: The closed side of bins, `"right"` or `"left"`.
        from_logits: Whether they are logits instead; None finds out.
        sample_weight: Optional weights `(B,)` or `(B, 1)` of any type, at
            least 0; an example of weight 0 is left out.
        ignore_label: Class id of examples without a label, often -1, which are
            left out; None ignores none.

    Returns:
        bins: `Bins` of shape `(K, M)`; K is 2 for a sigmoid.

    Raises:
        ValueError: If the shapes do not fit or an option is out of range.
    """
    labels, probabilities, sample_weight = predictions.flatten_steps(
        labels, probabilities, sample_weight
    )
    targets, probabilities = predictions.pair(
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
    """Returns sample weights as one column of the type of sums.

    Args:
        sample_weight: Weights `(B,)` or `(B, 1)`, or a scalar, of any type.
        num_examples: B, if it is known.

    Returns:
        weights: Tensor `(B,)`, or `(1,)` of a scalar; NaN where a weight is
            below 0 in a compiled function, which cannot refuse it.

    Raises:
        ValueError: If a weight is below 0, or there are not B of them.
    """
    given = ops.convert_to_tensor(_numbers.read(sample_weight, "Weights"))
    size = math.prod(given.shape) if None not in given.shape else None
    if None not in (size, num_examples) and size not in (num_examples, 1):
        raise checks.refusal(
            "`sample_weight` must be one number for each example",
            f"weights of shape {tuple(given.shape)} for {num_examples}"
            " examples",
            "Give an array of shape (B,)",
        )
    weights = ops.reshape(ops.cast(given, accumulator_dtype()), (-1,))
    negative = weights < 0
    if _output_kind.concrete(ops.any(negative)) is True:
        raise checks.refusal(
            "`sample_weight` must be at least 0",
            f"weights from {float(ops.min(weights)):g}",
            "Write 0 to leave an example out",
        )
    return ops.where(negative, float("nan"), weights)


def weigh(labels: Any, sample_weight: Any, ignore_label: int | None) -> Any:
    """Returns weights that are 0 where there is no label; or None.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        sample_weight: Weights `(B,)` or `(B, 1)`; None weighs all the same.
        ignore_label: Class id of examples without a label; None ignores none.
    """
    ignored = predictions.ignored(labels, ignore_label)
    if ignored is None:
        return sample_weight
    kept = ops.cast(ops.logical_not(ignored), accumulator_dtype())
    if sample_weight is None:
        return kept
    return read_weights(sample_weight, kept.shape[0]) * kept


def _check_shares(name: str, values: Any, dtype: str) -> Any:
    """Returns values in [0, 1]; others are refused, or NaN when compiled."""
    values = _numbers.read(values, f"`{name}`")
    return _output_kind.refuse_outside(
        ops.cast(ops.convert_to_tensor(values), dtype),
        f"`{name}`",
        received=name,
        remedy="Give shares, not percent, and probabilities, not logits",
    )


def accuracy(bins: Bins) -> Any:
    """Returns the fraction of correct predictions of a whole table.

    Args:
        bins: Table from `bin_predictions`, or a sum of several.

    Returns:
        accuracy: Scalar in [0, 1], or one for each leading index of `bins`; NaN
            for an empty table.
    """
    return _average(bins.correct, bins)


def mean_confidence(bins: Bins) -> Any:
    """Returns the mean confidence of a whole table.

    Args:
        bins: Table from `bin_predictions`, or a sum of several.

    Returns:
        confidence: Scalar in [0, 1], or one for each leading index of `bins`;
            NaN for an empty table.
    """
    return _average(bins.confidence, bins)


def signed_gap(bins: Bins) -> Any:
    """Returns mean confidence - accuracy: above 0 is over-confidence.

    gap = sum over m of |B_m| / n * (conf(B_m) - acc(B_m)), which is
    `overconfident_part - underconfident_part`. It can be 0 where ECE is large:
    bins that are too confident and bins that are not enough cancel.

    Args:
        bins: Table from `bin_predictions`, or a sum of several.

    Returns:
        gap: Scalar in [-1, 1]; NaN for an empty table.
    """
    return mean_confidence(bins) - accuracy(bins)


def expected_calibration_error(bins: Bins) -> Any:
    """Averages |accuracy - confidence| over bins, weighted by their counts.

    ECE = sum over m of |B_m| / n * |acc(B_m) - conf(B_m)|. It is biased
    upwards: a perfectly calibrated model has an ECE above 0 on finite data,
    more with more bins and fewer rows.

    Args:
        bins: Table from `bin_predictions`, or a sum of several.

    Returns:
        ece: Scalar in [0, 1], or one for each leading index of `bins`; NaN for
            an empty table.

    Example:
        >>> bins = Bins(*np.array([[4.0, 4.0], [1.0, 3.6], [1.0, 3.0]]))
        >>> round(float(expected_calibration_error(bins)), 6)
        0.075

    References:
        Guo, Pleiss, Sun and Weinberger. On Calibration of Modern Neural
        Networks. ICML 2017, equation 3. https://arxiv.org/abs/1706.04599
    """
    return _average(ops.abs(bins.confidence - bins.correct), bins)


def overconfident_part(bins: Bins) -> Any:
    """Returns what the bins with conf > acc add to ECE.

    over = sum over m of |B_m| / n * max(conf(B_m) - acc(B_m), 0); ECE is
    `overconfident_part + underconfident_part`.

    Args:
        bins: Table from `bin_predictions`, or a sum of several.

    Returns:
        part: Scalar in [0, 1], at most ECE; NaN for an empty table.
    """
    return _average(ops.relu(bins.confidence - bins.correct), bins)


def underconfident_part(bins: Bins) -> Any:
    """Returns what the bins with acc > conf add to ECE.

    under = sum over m of |B_m| / n * max(acc(B_m) - conf(B_m), 0).

    Args:
        bins: Table from `bin_predictions`, or a sum of several.

    Returns:
        part: Scalar in [0, 1], at most ECE; NaN for an empty table.
    """
    return _average(ops.relu(bins.correct - bins.confidence), bins)


def overconfidence_error(bins: Bins) -> Any:
    """Averages conf * max(conf - acc, 0) over bins: OE.

    OE = sum over m of |B_m| / n * conf(B_m) * max(conf(B_m) - acc(B_m), 0).
    Being wrong with confidence costs most; under-confidence costs nothing,
    so a model can lower OE by being under-confident: read it beside ECE.

    Args:
        bins: Table from `bin_predictions`, or a sum of several.

    Returns:
        oe: Scalar in [0, 1], at most ECE; NaN for an empty table.

    References:
        Thulasidasan, Chennupati, Bilmes, Bhattacharya and Michalak. On Mixup
        Training: Improved Calibration and Predictive Uncertainty for Deep
        Neural Networks. NeurIPS 2019, section 3.
        https://arxiv.org/abs/1905.11001
    """
    confidence = _divide(bins.confidence, bins.count)
    gap = confidence * ops.relu(bins.confidence - bins.correct)
    return _average(gap, bins)


def maximum_calibration_error(bins: Bins) -> Any:
    """Returns the largest |acc - conf| of any bin: MCE.

    MCE = max over m of |acc(B_m) - conf(B_m)|, of the bins with rows. A bin of
    one row counts as much as one of thousands, so it is mostly the noise of
    the emptiest bin.

    Args:
        bins: Table from `bin_predictions`, or a sum of several.

    Returns:
        mce: Scalar in [0, 1]; NaN for an empty table.
    """
    gap = ops.abs(bins.confidence - bins.correct)
    return _average(bins.count, bins) * ops.max(_divide(gap, bins.count), -1)


def debiased_calibration_error(bins: Bins) -> Any:
    """Takes from ECE an estimate of its own bias.

    If m's accuracy had been drawn from N(acc, acc (1 - acc) / |B_m|), ECE
    would change on average by as much as ECE differs from the truth. With the
    gap g = |acc(B_m) - conf(B_m)| and s = sqrt(acc (1 - acc) / |B_m|) of each
    bin it is

        max(sum over m of |B_m| / n * (2 g - f(g, s)), 0)
        f(g, s) = s sqrt(2 / pi) exp(-g^2 / (2 s^2)) + g erf(g / (s sqrt(2)))

    where f, the mean of |N(g, s^2)|, is g if s is 0. Where the model is far
    from calibrated this is nothing; of the ECE of a calibrated model it takes
    about two fifths, and less where bins hold a handful of rows.
    `scores.null_calibration_error` shows the rest.

    Args:
        bins: Table of rows of weight 1.

    Returns:
        ece: Scalar, at least 0; NaN for an empty table.

    References:
        Kumar, Liang and Ma. Verified Uncertainty Calibration. NeurIPS 2019;
        its L2 estimate, for ECE. https://arxiv.org/abs/1909.10155
    """
    rate = _divide(bins.correct, bins.count)
    gap = ops.abs(_divide(bins.confidence, bins.count) - rate)
    deviation = ops.sqrt(_divide(ops.relu(rate * (1 - rate)), bins.count))
    # The mean of |N(gap, deviation)|, the folded normal distribution.
    ratio = _divide(gap, deviation * math.sqrt(2))
    spread = math.sqrt(2 / math.pi) * deviation * ops.exp(-ops.square(ratio))
    redrawn = ops.where(deviation > 0, spread + gap * ops.erf(ratio), gap)
    return ops.relu(_average(bins.count * (2 * gap - redrawn), bins))


def classwise_calibration_error(bins: Bins) -> Any:
    """Averages the ECE of each class's own probability over classes.

    error = 1 / K * sum over k and m of |B_km| / n * |acc(B_km) - conf(B_km)|,
    where bin B_km holds the rows by their probability of class k. It is small
    by construction with many classes, most of whose probabilities are near 0:
    compare it only at equal K.

    Args:
        bins: Table `(K, M)` from `class_bins`.

    Returns:
        error: Scalar in [0, 1]; NaN for an empty table.

    References:
        Kull et al. Beyond temperature scaling. NeurIPS 2019, section 2.
        https://arxiv.org/abs/1910.12656
    """
    return ops.mean(expected_calibration_error(bins), -1)


def merge_bins(bins: Bins, factor: int) -> Bins:
    """Sums groups of adjacent bins; exact, as fine edges contain the coarse.

    Args:
        bins: Table `(..., M)`.
        factor: How many bins become one; divides M.

    Returns:
        merged: Table `(..., M / factor)`, as if binned with that number.

    Raises:
        ValueError: If `factor` does not divide M.
    """
    size = bins.count.shape[-1]
    if factor < 1 or size % factor:
        raise checks.refusal(
            f"`factor` must divide the number of bins, {size}",
            f"factor={factor!r}",
            "Bin again with a number of bins that it divides",
        )
    shape = (*bins.count.shape[:-1], size // factor, factor)
    return Bins(*(ops.sum(ops.reshape(part, shape), -1) for part in bins))


def equal_mass_bins(bins: Bins, num_bins: int) -> Bins:
    """Regroups a fine table into bins that hold equally many rows.

    A fine bin that a boundary cuts is shared out in proportion, as if its
    rows were alike.

    Args:
        bins: Fine table `(..., M_fine)`, with many more bins than `num_bins`.
        num_bins: Number of bins of equal count, at least 1.

    Returns:
        equal: Table `(..., num_bins)` with equal counts.
    """
    after = ops.cumsum(bins.count, -1)[..., None, :]
    before = after - bins.count[..., None, :]
    place = ops.convert_to_tensor(np.arange(num_bins + 1) / num_bins)
    bounds = after[..., -1:] * ops.cast(place, after.dtype)[:, None]
    overlap = ops.relu(
        ops.minimum(after, bounds[..., 1:, :])
        - ops.maximum(before, bounds[..., :-1, :])
    )
    share = _divide(overlap, bins.count[..., None, :])
    return Bins(*(ops.sum(share * part[..., None, :], -1) for part in bins))


def adaptive_calibration_error_from_bins(bins: Bins, num_bins: int) -> Any:
    """Estimates the ECE over equal-mass bins from a fine table.

    It differs from `scores.adaptive_calibration_error` by at most

        2 (num_bins - 1) / n
        + sum over cut bins j of n_j / n * (2 acc_j (1 - acc_j) + w / 2)

    where cut bins are the fine ones (width w) that a boundary between equal
    masses falls in: rows within them may stand in any order. The estimate is
    good if the rows are spread out, or if the crowded fine bins are nearly
    all correct, as is usual.

    Args:
        bins: Fine table, such as `metrics.CalibrationBins.fine_bins()`.
        num_bins: Number of bins of equal count.

    Returns:
        error: Scalar in [0, 1]; NaN for an empty table.
    """
    return expected_calibration_error(equal_mass_bins(bins, num_bins))


def _membership(
    confidence: Any, limits: np.ndarray, edges: str, dtype: str
) -> Any:
    """Returns 1 for the bin in which each confidence lies, `(..., M)`."""
    # The outer bins are open-ended: a softmax may exceed 1 by rounding.
    place = ops.searchsorted(
        limits[1:-1],
        ops.reshape(confidence, (-1,)),
        side="left" if edges == "right" else "right",
    )
    place = ops.reshape(place, ops.shape(confidence))
    return ops.one_hot(place, len(limits) - 1, dtype=dtype)


def _average(sums: Any, bins: Bins) -> Any:
    """Divides sums over bins by the whole weight; of an empty table NaN."""
    weight = ops.sum(bins.count, -1)
    total = ops.sum(sums, -1)
    return _divide(total, ops.where(weight == 0, float("nan"), weight))


def _divide(numerator: Any, denominator: Any) -> Any:
    """Divides sums; an empty bin's 0 / 0 is 0, and NaN stays NaN."""
    return numerator / ops.where(denominator == 0, 1.0, denominator)
