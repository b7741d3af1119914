"""Selective classification: which predictions to trust, and which to refuse.

A selective classifier predicts where its confidence is high enough and
abstains elsewhere. Its coverage is the share of the examples that it accepts,
its risk their error rate. Every measure takes `(labels, probabilities)`, or a
table of `calibration.Bins` alone, whose bins are in ascending order of
confidence and whose examples of one bin count as equally confident:

- `rank_predictions` and `rank_scores` make a bin for each distinct confidence,
  which is exact;
- `metrics.CalibrationMetrics.ranked_bins` streams about 400 bins, and
  `aurc_bounds` says between which numbers the exact one lies.

**Weights** are scaled to a mean of 1. Their unit does not matter, but a weight
of 2 is two examples only up to terms of 1 / B.

**Ties.** Examples of one confidence are accepted together: a threshold cannot
separate them. The curve, `coverage_at_risk` and `risk_at_coverage` have no
points between; `aurc` is the expectation over all orders of tied examples.
Packages that sort give the number of one such order.

Shapes: B examples, K classes, G groups of equal confidence.

References:
    El-Yaniv and Wiener. On the Foundations of Noise-free Selective
    Classification. JMLR 11, 2010.
    Geifman and El-Yaniv. Selective Classification for Deep Neural Networks.
    NeurIPS 2017. https://arxiv.org/abs/1705.08500
    Geifman, Uziel and El-Yaniv. Bias-Reduced Uncertainty Estimation for Deep
    Neural Classifiers. ICLR 2019. https://arxiv.org/abs/1805.08206
"""

from typing import Any
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from tf_mixup import _checks
from tf_mixup._checks import numbers
from tf_mixup.calibration import bins as bins_lib
from tf_mixup.calibration.bins import Bins

# Cells of `ranked_edges` for each halving of the distance to confidence 1.
_CELLS_PER_OCTAVE = 8
# Float32 has no number between this far from 1 and 1.
_LAST_STEP = 2.0**-24
# Of sums of weights.
_ROUNDING = 1e-12


class RiskCoverageCurve(NamedTuple):
    """Risk by coverage, a point for each threshold, from the highest down.

    Attributes:
        coverage: Share of the examples that are accepted, `(G,)`, ascending;
            the last is 1.
        risk: Their error rate, `(G,)`.
        confidence: Mean confidence of the examples that the point adds,
            `(G,)`; of exact tables the threshold itself, to 1e-15.
    """

    coverage: np.ndarray
    risk: np.ndarray
    confidence: np.ndarray


class AURCBounds(NamedTuple):
    """What the exact AURC of binned examples lies between.

    Attributes:
        low: If every bin has its right predictions first.
        high: If every bin has its wrong predictions first.
    """

    low: float
    high: float


def rank_predictions(
    labels: Any,
    probabilities: Any,
    *,
    from_logits: bool | None = None,
    sample_weight: Any = None,
    ignore_label: int | None = None,
) -> Bins:
    """Sums predictions of equal confidence, the largest probability.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`; of soft
            targets an example is correct by the mass on the predicted class.
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)` of a
            sigmoid.
        from_logits: Whether they are logits instead; None detects it.
        sample_weight: Weights `(B,)` or `(B, 1)`, at least 0, or None. Those
            above 0 are scaled to a mean of 1.
        ignore_label: Class id of examples without a label, often -1, which are
            left out; None ignores none.

    Returns:
        bins: `Bins` of NumPy arrays `(G,)`, in ascending order of confidence.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> bins = rank_predictions([0, 1, 1], [[.75, .25], [.75, .25], [0, 1]])
        >>> bins.count.tolist(), bins.correct.tolist()
        ([2.0, 1.0], [1.0, 1.0])
    """
    confidence, correct, weight = bins_lib.columns_of(
        labels,
        probabilities,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_label=ignore_label,
    )
    return rank_scores(confidence, correct, sample_weight=weight)


def rank_scores(
    scores: Any, correct: Any, *, sample_weight: Any = None
) -> Bins:
    """Sums examples of equal score, for any score of confidence.

    Args:
        scores: Real numbers `(B,)`, higher for predictions to be trusted more,
            such as `ood.confidence` or an ensemble's negative variance.
        correct: 0 or 1, or mass in [0, 1], `(B,)`.
        sample_weight: Weights `(B,)` or `(B, 1)`, at least 0, or None; those
            above 0 are scaled to a mean of 1.

    Returns:
        bins: `Bins` of NumPy arrays `(G,)`, in ascending order of score, whose
            field `confidence` has the sums of the scores. A NaN makes all
            sums NaN, unless its weight is 0.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> bins = rank_scores([-0.5, 2.0, 2.0], [0, 1, 0])
        >>> bins.count.tolist(), bins.confidence.tolist()
        ([1.0, 2.0], [-0.5, 4.0])
    """
    scores = _to_float64(scores, "`scores`")
    correct = _to_float64(correct, "`correct`")
    if scores.ndim != 1 or scores.shape != correct.shape:
        raise _checks.refusal(
            "`scores` and `correct` must be one number for each example",
            f"shapes {scores.shape} and {correct.shape}",
            "Give two arrays of shape (B,)",
        )
    weight = np.ones(scores.size)
    if sample_weight is not None:
        given = bins_lib.read_weights(sample_weight, scores.size)
        weight = weight * keras.ops.convert_to_numpy(given)
        kept = weight != 0
        scores, correct, weight = scores[kept], correct[kept], weight[kept]
        # First by the least: equal weights are then exactly 1.
        weight = weight / weight.min(initial=np.inf)
        weight = weight / weight.mean() if weight.size else weight
    distinct, place = np.unique(scores, return_inverse=True)
    count = np.bincount(place, weight, minlength=distinct.size)
    right = np.bincount(place, weight * correct, minlength=distinct.size)
    if not (np.isfinite(scores).all() and np.isfinite(right).all()):
        return Bins(*(np.full(distinct.size, np.nan) for _ in Bins._fields))
    return Bins(count, count * distinct, right)


def risk_coverage_curve(
    labels: Any, probabilities: Any = None, **options: Any
) -> RiskCoverageCurve:
    """Returns the risk at each coverage that a threshold can give.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`; or `Bins`.
        probabilities: As of `rank_predictions`.
        options: Those of `rank_predictions`.

    Returns:
        curve: NumPy arrays; empty without examples.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> curve = risk_coverage_curve([0, 1], [[0.75, 0.25], [1.0, 0.0]])
        >>> curve.coverage.tolist(), curve.risk.tolist()
        ([0.5, 1.0], [1.0, 0.5])
    """
    bins = _read(labels, probabilities, options)
    # NaN counts are shown, not dropped.
    seen = np.flatnonzero(bins.count != 0)[::-1]
    count, confidence, correct = (part[seen] for part in bins)
    accepted = np.cumsum(count)
    return RiskCoverageCurve(
        accepted / accepted[-1:],
        np.cumsum(count - correct) / accepted,
        confidence / count,
    )


def aurc(labels: Any, probabilities: Any = None, **options: Any) -> float:
    """Returns the area under the risk-coverage curve.

    It is the mean over k of the error rate of the k most confident examples,
    k = 1 ... B, and in expectation over all orders of tied examples. It is low
    if few predictions are wrong, and these are the least confident ones.

    torch-uncertainty integrates by trapezoids from coverage 1 / B on; without
    ties that is `(B * aurc - (first + last) / 2) / (B - 1)`, with the risks at
    coverage 1 / B and 1.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`; or `Bins`.
        probabilities: As of `rank_predictions`.
        options: Those of `rank_predictions`.

    Returns:
        aurc: In [0, 1], 0 is best; the error rate, in expectation, of a score
            that knows nothing. NaN without examples.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> probabilities = [[0.75, 0.25], [1.0, 0.0], [0.875, 0.125]]
        >>> round(aurc([1, 0, 0], probabilities), 4)
        0.1111
    """
    return float(area(_read(labels, probabilities, options)))


def excess_aurc(
    labels: Any, probabilities: Any = None, **options: Any
) -> float:
    """Returns the excess AURC: that of the best order is subtracted.

    The best order of the same predictions has all right ones before all wrong
    ones. So it is 0 if confidence separates them, whatever the accuracy; for
    soft targets above 0.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`; or `Bins`.
        probabilities: As of `rank_predictions`.
        options: Those of `rank_predictions`.

    Returns:
        excess: In [0, 1], 0 is best; NaN without examples.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> round(excess_aurc([1, 0], [[1.0, 0.0], [0.75, 0.25]]), 4)
        0.5
    """
    bins = _read(labels, probabilities, options)
    merged = Bins(*(np.sum(part, keepdims=True) for part in bins))
    return float(area(bins) - area(_split(merged, wrong_first=False)))


def aurc_bounds(bins: Bins) -> AURCBounds:
    """Returns what the exact AURC of binned examples lies between.

    Binning forgets the order within each bin, and nothing else. `aurc` of the
    table takes the mean of these orders, so that it is off by less than
    `high - low`.

    Args:
        bins: Table `(M,)` of examples with class ids, in ascending order of
            confidence.

    Returns:
        bounds: Two numbers in [0, 1].

    Example:
        >>> # Of two examples in a bin the second is wrong, or the first.
        >>> bounds = aurc_bounds(Bins(*np.array([[2.0], [1.5], [1.0]])))
        >>> round(bounds.low, 6), round(bounds.high, 6)
        (0.25, 0.75)
    """
    bins = _read(bins, None, {})
    low, high = (area(_split(bins, wrong_first=each)) for each in (False, True))
    return AURCBounds(float(low), float(high))


def coverage_at_risk(
    labels: Any, probabilities: Any = None, *, risk: float, **options: Any
) -> float:
    """Returns the largest coverage whose risk is at most `risk`.

    The risk may rise and fall again; the largest coverage counts. Of a
    streamed table it is a lower bound, since a threshold lies between bins.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`; or `Bins`.
        probabilities: As of `rank_predictions`.
        risk: The error rate that is allowed, in [0, 1].
        options: Those of `rank_predictions`.

    Returns:
        coverage: In [0, 1]; 0 if no threshold keeps to the risk, where
            torch-uncertainty gives NaN. NaN without examples.

    Raises:
        ValueError: If `risk` is out of range or the shapes do not fit.

    Example:
        >>> coverage_at_risk([0, 1], [[1.0, 0.0], [0.75, 0.25]], risk=0.1)
        0.5
    """
    risk = _checks.real_between(
        "risk", risk, 0, 1, remedy="Write 0.05 for 5 %", dtype="float64"
    )
    curve = risk_coverage_curve(labels, probabilities, **options)
    if not np.isfinite(curve.risk).all() or not curve.risk.size:
        return float("nan")
    allowed = np.flatnonzero(curve.risk <= risk * (1 + _ROUNDING))
    return float(curve.coverage[allowed[-1]]) if allowed.size else 0.0


def risk_at_coverage(
    labels: Any, probabilities: Any = None, *, coverage: float, **options: Any
) -> float:
    """Returns the risk at the least coverage that is at least `coverage`.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`; or `Bins`.
        probabilities: As of `rank_predictions`.
        coverage: Share of the examples to accept at least, in [0, 1].
        options: Those of `rank_predictions`.

    Returns:
        risk: In [0, 1]; NaN without examples.

    Raises:
        ValueError: If `coverage` is out of range or the shapes do not fit.

    Example:
        >>> risk_at_coverage([0, 1], [[1.0, 0.0], [0.75, 0.25]], coverage=0.5)
        0.0
    """
    coverage = _checks.real_between(
        "coverage", coverage, 0, 1, remedy="Write 0.8 for 80 %", dtype="float64"
    )
    curve = risk_coverage_curve(labels, probabilities, **options)
    enough = np.flatnonzero(curve.coverage >= coverage * (1 - _ROUNDING))
    return float(curve.risk[enough[0]]) if enough.size else float("nan")


def area(bins: Bins) -> Any:
    """Returns the AURC of a table, also in a compiled function.

    Args:
        bins: Table `(M,)` of tensors or arrays, in ascending order of
            confidence.

    Returns:
        aurc: Scalar in [0, 1]; NaN without examples.
    """
    library: Any = np if isinstance(bins.count, np.ndarray) else ops
    size = library.flip(bins.count)
    wrong = size - library.flip(bins.correct)
    end = library.cumsum(size)
    start = end - size
    # In expectation the j-th of `size` tied examples brings `rate` errors, so
    # the group adds the sum over j of (before + j * rate) / (start + j).
    before = library.cumsum(wrong) - wrong
    rate = wrong / library.where(size > 0, size, 1.0)
    harmonic = _digamma(end + 1, library) - _digamma(start + 1, library)
    terms = wrong + (before - rate * start) * harmonic
    total = library.sum(size)
    mean = library.sum(terms) / library.where(total == 0, 1.0, total)
    return library.where(total == 0, float("nan"), mean)


def ranked_edges(num_bins: int, edges: str = "right") -> np.ndarray:
    """Returns edges between bins that also rank very confident examples.

    These are the edges of `num_bins` bins of equal width, and more of them in
    the last one, where most examples of a modern network are: each halving of
    the distance to 1 has eight cells, and a confidence of 1 its own.

    Args:
        num_bins: Bins of equal width, at least 1.
        edges: The closed side of bins, `"right"` or `"left"`.

    Returns:
        inner: Float32, ascending; the first `num_bins - 1` are those of equal
            width.

    Raises:
        ValueError: If an option is out of range.
    """
    _checks.one_of("edges", edges, bins_lib.EDGES)
    limits = bins_lib.bin_edges(num_bins)
    octaves = np.log2(1 / num_bins / _LAST_STEP)
    steps = np.arange(1, int(_CELLS_PER_OCTAVE * octaves) + 1)
    distance = 2.0 ** (-steps / _CELLS_PER_OCTAVE) / num_bins
    tail = np.append(1 - distance, 1 - _LAST_STEP).astype(np.float32)
    # Close to 1 several round to the same number.
    tail = np.unique(tail[(tail > limits[-2]) & (tail < 1)])
    if edges == "left":
        # The same cells, closed on the other side.
        tail = np.nextafter(tail, np.float32(2))
    return np.concatenate([limits[1:-1], tail])


def _read(labels: Any, probabilities: Any, options: dict[str, Any]) -> Bins:
    """Returns the table that a measure got, or makes it, as NumPy arrays."""
    bins = bins_lib.table_of(
        Bins, rank_predictions, labels, probabilities, options
    )
    bins = Bins(*(_to_float64(part, "Bins") for part in bins))
    if bins.count.ndim != 1:
        raise _checks.refusal(
            "Selective classification ranks the examples of one table",
            f"bins of shape {bins.count.shape}",
            "Pick a class, or sum over the leading axes",
        )
    return bins


def _split(bins: Bins, *, wrong_first: bool) -> Bins:
    """Returns bins of right and bins of wrong examples, in this order."""
    wrong, right = bins.count - bins.correct, bins.correct
    # The most confident come last.
    order = (slice(None), slice(None, None, -1 if wrong_first else 1))
    count, correct = (
        np.stack(pair, axis=-1)[order].ravel()
        for pair in ((wrong, right), (np.zeros_like(right), right))
    )
    return Bins(count, np.zeros_like(count), correct)


def _digamma(x: Any, library: Any) -> Any:
    """Returns the digamma function of numbers from 1 on, to 1e-8."""
    steps = sum(1 / (x + k) for k in range(8))
    # Its asymptotic series at y + 1/2, whose terms are half as large.
    y = x + 7.5
    square = 1 / (y * y)
    return library.log(y) + square * (1 / 24 - square * 7 / 960) - steps


def _to_float64(values: Any, name: str) -> np.ndarray:
    return numbers.to_numpy(values, name).astype(np.float64)
