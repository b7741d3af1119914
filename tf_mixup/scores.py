"""Calibration from stored scores: what does not add up over batches.

One confidence and one correctness per row, NumPy in, numbers out. Exact
equal-mass bins, intervals by bootstrap, and the ECE that a perfectly
calibrated model shows on as few rows: a yardstick for every other number.

Letters: B rows, M bins. `calibration.top_label` gives both columns.
"""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from tf_mixup import calibration
from tf_mixup import checks


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


class NullError(NamedTuple):
    """What an error is on draws from a perfectly calibrated model.

    Attributes:
        mean: Mean over the draws: the bias of the error on so many rows.
        low: Lower quantile of the draws.
        high: Upper quantile: an error above it speaks against the model.
    """

    mean: float
    low: float
    high: float


def adaptive_calibration_error(
    confidence: Any, correct: Any, *, num_bins: int = 15
) -> float:
    """Returns ECE over bins that hold equally many rows.

    Rows are sorted by confidence and cut into `num_bins` runs whose lengths
    differ by 1 at most. Equal-width bins leave most of a modern network's
    rows in the last bin; these do not. Rows of equal confidence stay in the
    order given, so where many confidences are exactly 1 it depends on that.

    Args:
        confidence: `(B,)` in [0, 1].
        correct: `(B,)`, 0 or 1, or mass in [0, 1].
        num_bins: Number of runs; no more than B are used.

    Returns:
        error: Number in [0, 1]; 0 without rows.

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
    checks.integer_at_least(
        "num_bins", num_bins, 1, remedy="Write 15, as for equal-width bins"
    )
    if not confidence.size:
        return 0.0
    order = np.argsort(confidence, kind="stable")
    gaps = np.array_split((confidence - correct)[order], num_bins)
    return float(sum(abs(gap.sum()) for gap in gaps) / confidence.size)


def bootstrap_interval(
    confidence: Any,
    correct: Any,
    *,
    measure: Callable[[calibration.Bins], Any] | None = None,
    num_bins: int = 15,
    edges: str = "right",
    level: float = 0.95,
    draws: int = 1000,
    seed: int | None = None,
) -> Interval:
    """Returns a function of the bins, with a bootstrap percentile interval.

    Draws B rows with replacement, again and again. ECE is biased upwards and
    a redrawn sample more so: near calibration the interval of ECE lies too
    high and may not even hold the estimate. Then compare with
    `null_calibration_error`. Of accuracy or `signed_gap` it is sound.

    Args:
        confidence: `(B,)` in [0, 1].
        correct: `(B,)`, 0 or 1, or mass in [0, 1].
        measure: Function of `Bins`, such as
            `calibration.overconfidence_error`; ECE by default.
        num_bins: Number of bins, at least 1.
        edges: The closed side of bins, `"right"` or `"left"`.
        level: Share of redrawn values inside of the interval.
        draws: How many samples are redrawn.
        seed: Seed of the draws; None draws a fresh one.

    Returns:
        interval: The measure of the rows themselves, and the two ends.

    Raises:
        ValueError: If there are no rows, if the columns differ, or if they
            hold values outside [0, 1].

    Example:
        >>> interval = bootstrap_interval([0.9, 0.8], [1, 0], seed=0)
        >>> round(interval.estimate, 6)
        0.45
    """
    confidence, correct = _check_columns(confidence, correct)
    measure = measure or calibration.expected_calibration_error
    place = _place(confidence, num_bins, edges)
    generator = np.random.default_rng(seed)
    size = confidence.size

    def redraw() -> np.ndarray:
        rows = generator.integers(0, size, size)
        weight = np.bincount(rows, minlength=size)
        return _tabulate(place, confidence, correct, weight, num_bins)

    estimate = _tabulate(place, confidence, correct, np.ones(size), num_bins)
    return Interval(
        float(_evaluate(measure, [estimate])[0]),
        *_quantiles(_evaluate(measure, _repeat(redraw, draws)), level),
    )


def null_calibration_error(
    confidence: Any,
    *,
    measure: Callable[[calibration.Bins], Any] | None = None,
    num_bins: int = 15,
    edges: str = "right",
    level: float = 0.95,
    draws: int = 200,
    seed: int | None = None,
) -> NullError:
    """Returns the ECE that a perfectly calibrated model would show.

    Keeps the confidences and draws correctness as if they were true: each row
    is correct with the probability that it claims. An ECE inside of this
    range says nothing against the model. With 100 bins and 500 rows it is
    about 0.10 for spread confidences: most of what small studies report.

    Args:
        confidence: `(B,)` in [0, 1].
        measure: Function of `Bins`; ECE by default.
        num_bins: Number of bins, at least 1.
        edges: The closed side of bins, `"right"` or `"left"`.
        level: Share of the draws inside of the range.
        draws: How many data sets are drawn.
        seed: Seed of the draws; None draws a fresh one.

    Returns:
        null: Mean over the draws, and the two ends of the range.

    Raises:
        ValueError: If there are no rows, or confidences outside [0, 1].

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
    measure = measure or calibration.expected_calibration_error
    place = _place(confidence, num_bins, edges)
    generator = np.random.default_rng(seed)
    weight = np.ones(confidence.size)

    def redraw() -> np.ndarray:
        correct = generator.random(confidence.size) < confidence
        return _tabulate(place, confidence, correct, weight, num_bins)

    values = _evaluate(measure, _repeat(redraw, draws))
    return NullError(float(values.mean()), *_quantiles(values, level))


def _check_columns(
    confidence: Any, correct: Any
) -> tuple[np.ndarray, np.ndarray]:
    columns = [
        np.asarray(keras.ops.convert_to_numpy(column), "float64")
        for column in (confidence, correct)
    ]
    if columns[0].ndim != 1 or columns[0].shape != columns[1].shape:
        raise checks.refusal(
            "`confidence` and `correct` must be two columns of one length",
            f"shapes {columns[0].shape} and {columns[1].shape}",
            "Take both from `calibration.top_label(labels, probabilities)`",
        )
    for name, column in zip(("confidence", "correct"), columns, strict=True):
        # Not `any(outside)`, which a NaN would pass. Softmax rounds.
        if not np.all((column >= 0) & (column <= 1 + 1e-5)):
            raise checks.refusal(
                f"`{name}` must lie in [0, 1]",
                f"{name} from {column.min()} to {column.max()}",
                "Give probabilities, not logits, and leave out NaN rows",
            )
    return columns[0], columns[1]


def _place(confidence: np.ndarray, num_bins: int, edges: str) -> np.ndarray:
    """Returns the bin of each row, of which there must be one."""
    if not confidence.size:
        raise checks.refusal(
            "There must be at least one row",
            "0 rows",
            "Give the scores of a data set that is not empty",
        )
    checks.one_of("edges", edges, calibration.EDGES)
    inner = calibration.bin_edges(num_bins)[1:-1]
    # `digitize` means by `right` what `edges="right"` means.
    return np.digitize(
        confidence.astype("float32"), inner, right=edges == "right"
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


def _repeat(draw: Callable[[], np.ndarray], draws: int) -> list[np.ndarray]:
    checks.integer_at_least("draws", draws, 1, remedy="Draw 200 or more")
    return [draw() for _ in range(draws)]


def _evaluate(
    measure: Callable[[calibration.Bins], Any], tables: list[np.ndarray]
) -> np.ndarray:
    """Returns the measure of each of the tables `(3, M)`, all at once."""
    bins = calibration.Bins(*np.stack(tables, axis=1))
    return np.asarray(keras.ops.convert_to_numpy(measure(bins)), "float64")


def _quantiles(values: np.ndarray, level: float) -> tuple[float, float]:
    checks.real_between("level", level, 0, 1, remedy="Write 0.95")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
