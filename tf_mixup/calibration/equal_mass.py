"""ECE over bins that hold equally many examples.

Shapes: B examples, M bins.
"""

import math
from typing import Any

import numpy as np
from keras import ops

from tf_mixup import _checks
from tf_mixup._checks import numbers
from tf_mixup.calibration import bins as bins_lib
from tf_mixup.calibration import errors
from tf_mixup.calibration.bins import Bins


def adaptive_calibration_error(
    labels: Any,
    probabilities: Any = None,
    *,
    num_bins: int = 15,
    from_logits: bool | None = None,
    sample_weight: Any = None,
    ignore_label: int | None = None,
) -> float:
    """Returns ECE over bins that hold equally many examples.

    Examples are sorted by confidence and cut into `num_bins` runs whose
    lengths differ by at most 1. Equal-width bins leave most examples of a
    modern network in the last bin; these do not. Examples of equal confidence
    share their mean correctness, so the result does not depend on the order of
    the examples.

    Given a fine table of `Bins` alone, it is an estimate, which differs from
    the exact number by at most

        2 (M - 1) / n
        + sum over cut bins j of n_j / n * (2 acc_j (1 - acc_j) + w / 2)

    where cut bins are the fine ones (of width w) that a boundary between equal
    masses falls in. The estimate is good if the examples are spread out, or if
    the crowded fine bins are nearly all correct, as is usual.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`; or a table
            of `Bins` with many more bins than `num_bins`, such as
            `metrics.CalibrationMetrics.fine_bins()`.
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)`.
        num_bins: Number of runs, at least 1; no more than B are used.
        from_logits: Whether they are logits instead; None detects it.
        sample_weight: Weights `(B,)` or `(B, 1)`, at least 0. Unless they are
            all the same, runs have equal weight.
        ignore_label: Class id of examples without a label, often -1, which are
            left out; None ignores none.

    Returns:
        error: In [0, 1]; NaN without examples, or if an example has no
            distribution over classes. A scalar tensor for `Bins`.

    Raises:
        ValueError: If the shapes do not fit or an option is out of range.

    Example:
        >>> probabilities = [[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.7, 0.3]]
        >>> error = adaptive_calibration_error(
        ...     [0, 0, 0, 1], probabilities, num_bins=2)
        >>> round(error, 6)
        0.15

    References:
        Nguyen and O'Connor. Posterior calibration and exploratory analysis
        for natural language processing models. EMNLP 2015, section 3.
    """
    options = {
        "from_logits": from_logits,
        "sample_weight": sample_weight,
        "ignore_label": ignore_label,
    }
    table = bins_lib.table_of(
        Bins, sum_by_confidence, labels, probabilities, options
    )
    if table is labels:
        merged = equal_mass_bins(table, num_bins)
        return errors.expected_calibration_error(merged)
    if not all(np.isfinite(part).all() for part in table):
        return math.nan
    return equal_mass_error(table, num_bins)


def equal_mass_bins(bins: Bins, num_bins: int) -> Bins:
    """Regroups a fine table into bins that hold equally many examples.

    A fine bin that a boundary cuts is shared out in proportion.

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
    share = bins_lib.divide(overlap, bins.count[..., None, :])
    return Bins(*(ops.sum(share * part[..., None, :], -1) for part in bins))


def rank(confidence: np.ndarray) -> np.ndarray:
    """Returns the rank `(B,)` of each confidence among the distinct ones."""
    return np.unique(confidence, return_inverse=True)[1]


def sum_groups(
    place: np.ndarray,
    confidence: np.ndarray,
    correct: np.ndarray,
    weight: np.ndarray,
    num_groups: int = 0,
) -> Bins:
    """Returns sums `(G,)` over groups of examples, in NumPy."""
    columns = (weight, weight * confidence, weight * correct)
    return Bins(
        *(
            np.bincount(place, column, minlength=num_groups)
            for column in columns
        )
    )


def equal_mass_error(groups: Bins, num_bins: int) -> float:
    """Returns the adaptive ECE of sums over equal confidences, in order."""
    _checks.integer_at_least("num_bins", num_bins, 1, remedy="Write 15")
    total = groups.count.sum()
    if not total:
        return math.nan
    if (groups.count % 1 == 0).all():
        size = int(total)
        lengths = size // num_bins + (np.arange(num_bins) < size % num_bins)
        ends = np.cumsum([0, *lengths])
    else:
        ends = total * np.arange(num_bins + 1) / num_bins
    # A group that a cut goes through is shared out in proportion.
    gaps = np.interp(
        ends,
        np.cumsum([0, *groups.count]),
        np.cumsum([0, *(groups.confidence - groups.correct)]),
    )
    return float(np.abs(np.diff(gaps)).sum() / total)


def sum_by_confidence(labels: Any, probabilities: Any, **options: Any) -> Bins:
    """Returns sums `(G,)` over the examples of each confidence, in NumPy.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)`.
        options: Those of `bins.columns_of`.

    Returns:
        table: Sums in ascending order of confidence.

    Raises:
        ValueError: If the shapes do not fit.
    """
    *columns, weight = bins_lib.columns_of(labels, probabilities, **options)
    if weight is None:
        weight = np.ones(())
    confidence, correct, weight = np.broadcast_arrays(
        *(ops.convert_to_numpy(each).astype("float64") for each in columns),
        ops.convert_to_numpy(weight).astype("float64").ravel(),
    )
    kept = weight != 0
    confidence, correct, weight = confidence[kept], correct[kept], weight[kept]
    # Only ratios of weights count.
    weight = weight / weight.min(initial=np.inf)
    return sum_groups(rank(confidence), confidence, correct, weight)


def read_exact(labels: Any, probabilities: Any, **options: Any) -> Bins | None:
    """Returns the table of a measure that needs no bins, in NumPy.

    Args:
        labels: Labels, or `Bins` alone, in ascending order of confidence.
        probabilities: Predictions, or None beside `Bins`.
        options: Those of `bins.columns_of`; None stands for none given.

    Returns:
        table: Sums `(G,)` without empty bins; None if there is no example, or
            if one has no distribution over classes.

    Raises:
        ValueError: If the shapes do not fit.
    """
    table = bins_lib.table_of(
        Bins, sum_by_confidence, labels, probabilities, options
    )
    table = Bins(*(numbers.to_numpy(x, "Bins", dtype="float64") for x in table))
    if table.count.ndim != 1:
        raise _checks.refusal(
            "A measure without bins takes the examples of one table",
            f"bins of shape {table.count.shape}",
            "Pick a class, or sum over the leading axes",
        )
    seen = table.count != 0
    table = Bins(*(part[seen] for part in table))
    if not table.count.size or not np.isfinite(np.stack(table)).all():
        return None
    return table
