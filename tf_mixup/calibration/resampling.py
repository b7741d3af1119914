"""Calibration from stored scores: what does not add up over batches.

One confidence and one correctness for each example, NumPy in, numbers out.
Exact equal-mass bins, intervals by bootstrap, the error that a perfectly
calibrated model shows on as few examples, and the bias of each class.

Shapes: B examples, K classes, M bins. `calibration.top_label` gives both
columns.
"""

import functools
import math
import statistics
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from tf_mixup import _checks
from tf_mixup import _numbers
from tf_mixup.calibration import bins as bins_lib
from tf_mixup.calibration import errors
from tf_mixup.calibration import per_example

# Draws from a calibrated model behind an interval.
NULL_DRAWS = 200
# How often a calibrated model may exceed the limits of `class_bias`.
_CHANCE = 0.05


class Interval(NamedTuple):
    """A number with the range it may lie in.

    Attributes:
        estimate: The number.
        low: Lower end of the range.
        high: Upper end of the range.
    """

    estimate: float
    low: float
    high: float


class NullRange(NamedTuple):
    """What an error is on draws from a perfectly calibrated model.

    Attributes:
        mean: Mean over the draws: the bias of the error on so few examples.
        low: Lower quantile of the draws.
        high: Upper quantile: an error above it speaks against the model.
    """

    mean: float
    low: float
    high: float


class ClassSums(NamedTuple):
    """Sums over examples for each class; `a + b` adds two sets of examples.

    Attributes:
        count: Sum of weights, a scalar.
        squared: Sum of squared weights, a scalar.
        probability: Weighted sum of probabilities, `(K,)`.
        target: Weighted sum of targets, `(K,)`.
        variance: Sum of `weight**2 * p * (1 - p)`, `(K,)`: the variance of
            `target` if the probabilities `p` are true.
        residual: Sum of `weight**2 * (target - p)**2`, `(K,)`: an estimate of
            that variance which does not believe the probabilities.
    """

    count: Any
    squared: Any
    probability: Any
    target: Any
    variance: Any
    residual: Any

    def __add__(self, other: "ClassSums") -> "ClassSums":  # type: ignore[override]
        """Returns the sums over both sets of examples."""
        return ClassSums(*(a + b for a, b in zip(self, other, strict=True)))


class ClassBias(NamedTuple):
    """How much too often a model expects each class.

    Attributes:
        largest: The largest `|bias|` of any class, in [0, 1].
        chance: What `largest` stays below for a calibrated model with as few
            examples, in 95 of 100 sets at least.
        bias: Mean probability minus share of the examples, `(K,)`; above 0
            the class is expected too often.
        limits: What `|bias|` of each class stays below by chance, `(K,)`, all
            classes at once in 95 of 100 sets.
    """

    largest: float
    chance: float
    bias: np.ndarray
    limits: np.ndarray


def adaptive_calibration_error(
    confidence: Any, correct: Any, *, num_bins: int = 15
) -> float:
    """Returns ECE over bins that hold equally many examples.

    Examples are sorted by confidence and cut into `num_bins` runs whose
    lengths differ by 1 at most. Equal-width bins leave most of a modern
    network's examples in the last bin; these do not. Examples of equal
    confidence share their mean correctness, also where a cut goes between
    them, so the result does not depend on the order of the examples.

    Args:
        confidence: `(B,)` in [0, 1].
        correct: `(B,)`, 0 or 1, or mass in [0, 1].
        num_bins: Number of runs; no more than B are used.

    Returns:
        error: Number in [0, 1]; NaN without examples.

    Raises:
        ValueError: If the columns differ or hold values outside [0, 1].

    Example:
        >>> confidence, correct = [0.9, 0.6, 0.8, 0.7], [1, 1, 1, 0]
        >>> error = adaptive_calibration_error(confidence, correct, num_bins=2)
        >>> round(error, 6)
        0.15

    References:
        Nguyen and O'Connor. Posterior calibration and exploratory analysis
        for natural language processing models. EMNLP 2015, section 3.
    """
    confidence, correct = _check_columns(confidence, correct)
    _checks.integer_at_least(
        "num_bins", num_bins, 1, remedy="Write 15, as for equal-width bins"
    )
    place = _equal_confidences(confidence)
    ones = np.ones(confidence.size)
    return _equal_mass_error(
        _tabulate(place, confidence, correct, ones, int(place.max(initial=0))),
        num_bins,
    )


def adaptive_interval(
    confidence: Any,
    correct: Any,
    *,
    num_bins: int = 15,
    level: float = 0.95,
    num_resamples: int = 1000,
    seed: int | None = None,
) -> Interval:
    """Returns the adaptive calibration error with its bootstrap interval.

    Args:
        confidence: `(B,)` in [0, 1].
        correct: `(B,)`, 0 or 1, or mass in [0, 1].
        num_bins: Number of runs; no more than B are used.
        level: Share of intervals that hold the truth, in [0, 1].
        num_resamples: How many samples are redrawn.
        seed: Seed of the draws; None draws a fresh one.

    Returns:
        interval: As `error_interval` gives it.

    Raises:
        ValueError: As `bootstrap_interval`.
    """
    confidence, correct = _check_columns(confidence, correct)
    _check_size(confidence)
    place = _equal_confidences(confidence)
    groups = int(place.max()) + 1
    ones = np.ones(confidence.size)

    def error(right: np.ndarray, weight: np.ndarray) -> float:
        table = _tabulate(place, confidence, right, weight, groups)
        return _equal_mass_error(table, num_bins)

    return error_interval(
        adaptive_calibration_error(confidence, correct, num_bins=num_bins),
        [
            error(correct, weight)
            for weight in redraw(
                confidence.size, num_resamples=num_resamples, seed=seed
            )
        ],
        [
            error(each, ones)
            for each in _draw_correct(
                confidence, num_resamples=NULL_DRAWS, seed=seed
            )
        ],
        level=level,
    )


def bootstrap_interval(
    confidence: Any,
    correct: Any,
    *,
    measure: Callable[[bins_lib.Bins], Any] | None = None,
    num_bins: int = 15,
    edges: str = "right",
    level: float = 0.95,
    num_resamples: int = 1000,
    seed: int | None = None,
) -> Interval:
    """Returns a function of the bins, with a bootstrap interval.

    Draws B examples with replacement, again and again. Accuracy, confidence
    and `signed_gap` are means, and their intervals are the quantiles of the
    draws. A calibration error is biased upwards, and redrawn examples bias it
    once more: its interval is that of `error_interval`, for which correctness
    is also drawn from the confidences, as in `null_calibration_error`.

    Share of intervals of ECE that held the truth at level 0.95, in 1,000
    simulated sets each (15 bins, 200 draws):

    | model | 500 examples | 2,000 examples |
    | --- | --- | --- |
    | calibrated | 97.3 % | 97.6 % |
    | confidence 2 points too high | 99.7 % | 100 % |
    | confidence 10 points too high | 95.3 % | 95.4 % |

    Args:
        confidence: `(B,)` in [0, 1].
        correct: `(B,)`, 0 or 1, or mass in [0, 1].
        measure: Function of `Bins`, such as
            `calibration.overconfidence_error`; ECE by default. It is taken
            for an error if it is never negative, and 0 where accuracy equals
            confidence in each bin.
        num_bins: Number of bins, at least 1.
        edges: The closed side of bins, `"right"` or `"left"`.
        level: Share of intervals that hold the truth, in [0, 1].
        num_resamples: How many samples are redrawn.
        seed: Seed of the draws; None draws a fresh one.

    Returns:
        interval: The measure of the examples themselves, and the two ends.

    Raises:
        ValueError: If there are no examples, if the columns differ, or if
            they hold values outside [0, 1].

    Example:
        >>> interval = bootstrap_interval([0.9, 0.8], [1, 0], seed=0)
        >>> round(interval.estimate, 6)
        0.45

    References:
        Davison and Hinkley. Bootstrap Methods and their Application. 1997,
        section 5.2: the basic bootstrap interval.
    """
    (interval,) = bootstrap_intervals(
        confidence,
        correct,
        measures=[measure or errors.expected_calibration_error],
        num_bins=num_bins,
        edges=edges,
        level=level,
        num_resamples=num_resamples,
        seed=seed,
    )
    return interval


def bootstrap_intervals(
    confidence: Any,
    correct: Any,
    *,
    measures: Sequence[Callable[[bins_lib.Bins], Any]],
    num_bins: int = 15,
    edges: str = "right",
    level: float = 0.95,
    num_resamples: int = 1000,
    seed: int | None = None,
) -> list[Interval]:
    """Returns several functions of the bins, with intervals of one bootstrap.

    Args:
        confidence: `(B,)` in [0, 1].
        correct: `(B,)`, 0 or 1, or mass in [0, 1].
        measures: Functions of `Bins`.
        num_bins: Number of bins, at least 1.
        edges: The closed side of bins, `"right"` or `"left"`.
        level: Share of intervals that hold the truth, in [0, 1].
        num_resamples: How many samples are redrawn.
        seed: Seed of the draws; None draws a fresh one.

    Returns:
        intervals: One for each measure, as `bootstrap_interval` gives it.

    Raises:
        ValueError: As `bootstrap_interval`.
    """
    confidence, correct = _check_columns(confidence, correct)
    place = _place(confidence, num_bins, edges)
    table = functools.partial(_tabulate, place, confidence, num_bins=num_bins)
    ones = np.ones(confidence.size)
    own = table(correct, ones)
    redrawn = [
        table(correct, weight)
        for weight in redraw(
            confidence.size, num_resamples=num_resamples, seed=seed
        )
    ]
    null = [
        table(each, ones)
        for each in _draw_correct(
            confidence, num_resamples=NULL_DRAWS, seed=seed
        )
    ]
    intervals = []
    for measure in measures:
        (estimate,) = _evaluate(measure, [own])
        values = _evaluate(measure, redrawn)
        if _is_error(measure, num_bins):
            ends = error_interval(
                estimate, values, _evaluate(measure, null), level=level
            )
        else:
            ends = Interval(float(estimate), *_quantiles(values, level))
        intervals.append(ends)
    return intervals


def error_interval(
    estimate: float, redrawn: Any, null: Any, *, level: float = 0.95
) -> Interval:
    """Returns the interval of an error that is biased upwards, as ECE is.

    Quantiles of redrawn values would lie too high. With their lower quantile
    L, median M and upper quantile H, and the upper quantile N of the error of
    a calibrated model on as many examples,

        low = max(0, min(2 estimate - H, estimate - N))
        high = estimate + M - L

    The lower end is reflected, which takes off the bias that the redrawn
    values show; near calibration they show too little of it, so it also
    allows for all that chance adds. It is therefore 0 wherever the error does
    not exceed its null range. From the upper end no bias is taken off.

    Args:
        estimate: The error of the examples themselves, at least 0.
        redrawn: Errors of redrawn examples, `(D,)`.
        null: Errors of draws from a calibrated model, `(E,)`.
        level: Share of intervals that hold the truth, in [0, 1].

    Returns:
        interval: The estimate, and two ends that hold it; they keep within
            the bounds that the redrawn values have.

    Example:
        >>> error_interval(0.5, [0.5, 0.625, 0.75], [0.0, 0.25], level=1.0)
        Interval(estimate=0.5, low=0.25, high=0.625)
    """
    redrawn = np.asarray(redrawn, "float64")
    lower, upper = _quantiles(redrawn, level)
    _, chance = _quantiles(np.asarray(null, "float64"), level)
    estimate = float(estimate)
    low = max(0.0, min(2 * estimate - upper, estimate - chance))
    # It could lie above 1; no redrawn value does.
    high = min(estimate + float(np.median(redrawn)) - lower, redrawn.max())
    return Interval(estimate, min(low, estimate), float(max(high, estimate)))


def null_calibration_error(
    confidence: Any,
    *,
    measure: Callable[[bins_lib.Bins], Any] | None = None,
    num_bins: int = 15,
    edges: str = "right",
    level: float = 0.95,
    num_resamples: int = 200,
    seed: int | None = None,
) -> NullRange:
    """Returns the ECE that a perfectly calibrated model would show.

    Keeps the confidences and draws correctness as if they were true: each
    example is correct with the probability that it claims. An ECE inside of
    this range says nothing against the model. With 100 bins and 500 examples
    it is about 0.10 for spread confidences: most of what small studies report.

    Args:
        confidence: `(B,)` in [0, 1].
        measure: Function of `Bins`; ECE by default.
        num_bins: Number of bins, at least 1.
        edges: The closed side of bins, `"right"` or `"left"`.
        level: Share of the draws inside of the range.
        num_resamples: How many data sets are drawn.
        seed: Seed of the draws; None draws a fresh one.

    Returns:
        null: Mean over the draws, and the two ends of the range.

    Raises:
        ValueError: If there are no examples, or confidences outside [0, 1].

    Example:
        >>> confidence = np.linspace(0.5, 1.0, 500)
        >>> null = null_calibration_error(confidence, num_bins=100, seed=0)
        >>> 0.08 < null.mean < 0.12
        True

    References:
        Bröcker and Smith. Increasing the reliability of reliability diagrams.
        Weather and Forecasting 22, 2007: the same draws, bin by bin.
    """
    confidence, _ = _check_columns(confidence, confidence)
    measure = measure or errors.expected_calibration_error
    place = _place(confidence, num_bins, edges)
    ones = np.ones(confidence.size)
    tables = [
        _tabulate(place, confidence, correct, ones, num_bins)
        for correct in _draw_correct(
            confidence, num_resamples=num_resamples, seed=seed
        )
    ]
    values = _evaluate(measure, tables)
    return NullRange(float(values.mean()), *_quantiles(values, level))


def redraw(
    size: int, *, num_resamples: int, seed: int | None = None
) -> Iterator[np.ndarray]:
    """Yields how often each example is in a sample with replacement.

    Args:
        size: Number of examples, B.
        num_resamples: How many samples are drawn.
        seed: Seed of the draws; None draws a fresh one.

    Yields:
        weight: Whole numbers `(B,)` that sum to B.

    Raises:
        ValueError: If `num_resamples` or `seed` is out of range.
    """
    _checks.integer_at_least(
        "num_resamples", num_resamples, 1, remedy="Draw 200 or more"
    )
    generator = _generator(seed)
    for _ in range(num_resamples):
        drawn = generator.integers(0, size, size)
        yield np.bincount(drawn, minlength=size)


def class_sums(
    labels: Any,
    probabilities: Any,
    *,
    from_logits: bool | None = None,
    sample_weight: Any = None,
    ignore_label: int | None = None,
) -> ClassSums:
    """Sums probabilities and targets of each class, for `class_bias`.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)`.
        from_logits: Whether they are logits instead; None finds out.
        sample_weight: Optional weights `(B,)` or `(B, 1)`, at least 0; an
            example of weight 0 is left out.
        ignore_label: Class id of examples without a label, often -1, which are
            left out; None ignores none.

    Returns:
        sums: Tensors; K is 2 for a sigmoid. NaN if an example is no
            distribution over classes.

    Raises:
        ValueError: If the shapes do not fit, or a weight is below 0.
    """
    labels, probabilities, sample_weight = per_example.flatten_steps(
        labels, probabilities, sample_weight
    )
    targets, probabilities = per_example.pair(
        labels, probabilities, from_logits=from_logits
    )
    dtype = bins_lib.accumulator_dtype()
    weight = ops.ones_like(targets[:, 0], dtype=dtype)
    given = bins_lib.weigh(labels, sample_weight, ignore_label)
    if given is not None:
        weight = weight * bins_lib.read_weights(given, weight.shape[0])
        # Left out, not only weighted by 0: 0 * NaN is NaN.
        targets, probabilities = (
            ops.where(weight[:, None] == 0, ops.zeros_like(columns), columns)
            for columns in (targets, probabilities)
        )
    squared = ops.square(weight)
    spread = probabilities * (1 - probabilities)
    residual = ops.square(targets - probabilities)

    def add(factor: Any, columns: Any) -> Any:
        return ops.sum(factor[:, None] * ops.cast(columns, dtype), axis=0)

    return ClassSums(
        count=ops.sum(weight),
        squared=ops.sum(squared),
        probability=add(weight, probabilities),
        target=add(weight, targets),
        variance=add(squared, ops.relu(spread)),
        residual=add(squared, residual),
    )


def class_bias(sums: ClassSums) -> ClassBias:
    """Returns how far each class's mean probability is from its share.

    Training with class weights or resampled classes, and a test set with
    other shares than the training set, make a model expect rare classes too
    often. ECE, of the predicted class alone, can be small all the same, and
    a temperature cannot change it; `posthoc.VectorScaling` can.

    The sum of targets of class k in a calibrated model has the mean
    `probability` and the variance V, the larger of `variance` and `residual`.
    With the quantile z of the normal distribution, shared out over K classes
    (Bonferroni), the limit of a class is

        (z sqrt(V) + u (z^2 + 2) / 6) / count

    whose second term allows for the skew and the whole numbers of few
    examples; u is `squared / count`, 1 without weights.

    Args:
        sums: From `class_sums`, or a sum of several.

    Returns:
        bias: Of all classes, with their limits. NaN without examples.

    Example:
        >>> probabilities = np.tile([0.5, 0.5], (400, 1))
        >>> labels = np.arange(400) % 10 == 0
        >>> bias = class_bias(class_sums(labels, probabilities))
        >>> round(bias.largest, 3), bias.largest > bias.chance
        (0.4, True)
    """
    count, squared, probability, target, variance, residual = (
        np.asarray(keras.ops.convert_to_numpy(each), "float64") for each in sums
    )
    if count == 0:
        count = np.full_like(count, math.nan)
    z = statistics.NormalDist().inv_cdf(1 - _CHANCE / (2 * len(target)))
    spread = z * np.sqrt(np.maximum(variance, residual))
    limits = (spread + squared / count * (z**2 + 2) / 6) / count
    bias = (probability - target) / count
    return ClassBias(
        float(np.abs(bias).max()), float(limits.max()), bias, limits
    )


def _check_columns(
    confidence: Any, correct: Any
) -> tuple[np.ndarray, np.ndarray]:
    columns = [
        _read_column(name, column)
        for name, column in (("confidence", confidence), ("correct", correct))
    ]
    if columns[0].ndim != 1 or columns[0].shape != columns[1].shape:
        raise _checks.refusal(
            "`confidence` and `correct` must be two columns of one length",
            f"shapes {columns[0].shape} and {columns[1].shape}",
            "Take both from `calibration.top_label(labels, probabilities)`",
        )
    for name, column in zip(("confidence", "correct"), columns, strict=True):
        # Not `any(outside)`, which a NaN would pass. Softmax rounds.
        if not np.all((column >= 0) & (column <= 1 + 1e-5)):
            raise _checks.refusal(
                f"`{name}` must lie in [0, 1]",
                f"{name} from {column.min()} to {column.max()}",
                "Give probabilities, not logits, and leave out NaN",
            )
    # An interval of accuracy must not end above 1 for that rounding.
    return np.minimum(columns[0], 1.0), np.minimum(columns[1], 1.0)


def _read_column(name: str, column: Any) -> np.ndarray:
    return _numbers.to_numpy(
        column,
        f"`{name}`",
        dtype="float64",
        remedy="Take both columns from"
        " `calibration.top_label(labels, probabilities)`",
    )


def _place(confidence: np.ndarray, num_bins: int, edges: str) -> np.ndarray:
    """Returns the bin of each example, of which there must be one."""
    _check_size(confidence)
    _checks.one_of("edges", edges, bins_lib.EDGES)
    inner = bins_lib.bin_edges(num_bins)[1:-1]
    # `digitize` means by `right` what `edges="right"` means.
    return np.digitize(
        confidence.astype("float32"), inner, right=edges == "right"
    )


def _check_size(confidence: np.ndarray) -> None:
    if not confidence.size:
        raise _checks.refusal(
            "There must be at least one example",
            "0 examples",
            "Give the scores of a data set that is not empty",
        )


def _tabulate(
    place: np.ndarray,
    confidence: np.ndarray,
    correct: np.ndarray,
    weight: np.ndarray,
    num_bins: int,
) -> np.ndarray:
    """Returns sums `(3, M)`."""
    columns = (weight, weight * confidence, weight * correct)
    return np.stack(
        [np.bincount(place, column, minlength=num_bins) for column in columns]
    )


def _equal_confidences(confidence: np.ndarray) -> np.ndarray:
    """Returns the place of each confidence among the distinct ones, sorted."""
    return np.unique(confidence, return_inverse=True)[1]


def _equal_mass_error(table: np.ndarray, num_bins: int) -> float:
    """Returns the adaptive ECE of sums `(3, G)` over equal confidences."""
    count, confidence, correct = table
    size = int(count.sum())
    if not size:
        return math.nan
    lengths = size // num_bins + (np.arange(num_bins) < size % num_bins)
    ends = np.cumsum([0, *lengths])
    # A group that a cut goes through is shared out in proportion.
    gaps = np.interp(
        ends,
        np.cumsum([0, *count]),
        np.cumsum([0, *(confidence - correct)]),
    )
    return float(np.abs(np.diff(gaps)).sum() / size)


def _draw_correct(
    confidence: np.ndarray, *, num_resamples: int, seed: int | None
) -> Iterator[np.ndarray]:
    """Yields correctness as if the confidences were true."""
    _checks.integer_at_least(
        "num_resamples", num_resamples, 1, remedy="Draw 200 or more"
    )
    generator = _generator(seed)
    for _ in range(num_resamples):
        yield generator.random(confidence.size) < confidence


def _generator(seed: int | None) -> np.random.Generator:
    if seed is not None:
        _checks.integer_at_least(
            "seed", seed, 0, remedy="Write 0, or None for a fresh one"
        )
    return np.random.default_rng(seed)


def _evaluate(
    measure: Callable[[bins_lib.Bins], Any], tables: list[np.ndarray]
) -> np.ndarray:
    """Returns the measure of each of the tables `(3, M)`, all at once."""
    bins = bins_lib.Bins(*np.stack(tables, axis=1))
    return np.asarray(keras.ops.convert_to_numpy(measure(bins)), "float64")


def _is_error(measure: Callable[[bins_lib.Bins], Any], num_bins: int) -> bool:
    """Returns whether a measure is an error: at least 0, and 0 if calibrated.

    A mean such as accuracy is not 0 for a calibrated model; a signed gap
    changes its sign where confidence and accuracy change places.
    """
    low, even, high = (np.full(num_bins, share) for share in (0.25, 0.5, 0.75))
    count = np.ones(num_bins)
    calibrated, *others = _evaluate(
        measure,
        [
            np.stack([count, confidence, correct])
            for confidence, correct in ((even, even), (low, high), (high, low))
        ],
    )
    return bool(abs(calibrated) < 1e-12 and min(others) >= 0)


def _quantiles(values: np.ndarray, level: float) -> tuple[float, float]:
    _checks.real_between("level", level, 0, 1, remedy="Write 0.95")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
