"""The numbers of a report: each is one call of the library, named here.

Letters: N rows, K classes, M bins. Shares are fractions in [0, 1].
"""

import dataclasses
import functools
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tf_mixup import calibration
from tf_mixup import ood
from tf_mixup import predictions
from tf_mixup import scores
from tf_mixup.report.predictions import Predictions
from tf_mixup.scores import Interval

# The convention of all that is not shown under each of them.
MAIN = "guo"
# Functions of the bins alone, and of no other setting than theirs.
OVERALL: Mapping[str, Callable[[calibration.Bins], Any]] = {
    "accuracy": calibration.accuracy,
    "confidence": calibration.mean_confidence,
    "signed_gap": calibration.signed_gap,
}
ERRORS: Mapping[str, Callable[[calibration.Bins], Any]] = {
    "ece": calibration.expected_calibration_error,
    "oe": calibration.overconfidence_error,
    "mce": calibration.maximum_calibration_error,
    "overconfident_part": calibration.overconfident_part,
    "underconfident_part": calibration.underconfident_part,
    "debiased_ece": calibration.debiased_calibration_error,
}
# Of N * K: above it, redrawing all probabilities takes minutes.
_MOST_REDRAWN = 2**20


@dataclasses.dataclass(frozen=True)
class Errors:
    """The calibration errors under one convention.

    Attributes:
        num_bins: Number of bins of equal width, M.
        edges: Which side of a bin is closed.
        note: Who counts so.
        rows_per_bin: N / M.
        values: `ERRORS`, `adaptive_ece` and `classwise_ece`, with bootstrap
            intervals; the ends are NaN where none was drawn.
        null_ece: The ECE that a calibrated model would show.
        bins: The table that `values` are functions of.
    """

    num_bins: int
    edges: str
    note: str
    rows_per_bin: float
    values: dict[str, Interval]
    null_ece: scores.NullError
    bins: calibration.Bins


@dataclasses.dataclass(frozen=True)
class ClassErrors:
    """One class of the table of classes.

    Attributes:
        name: The class.
        labelled: Rows with this label.
        recall: Share of these that are predicted so; NaN without rows.
        predicted: Rows of which this class is predicted. All below is of
            these: a calibrated model's gap is 0 there, whereas over rows of
            one label it need not be.
        accuracy: Share of them whose label it is; NaN without rows.
        confidence: Their mean confidence; NaN without rows.
        gap: Confidence minus accuracy.
        ece: Their ECE, under the convention `MAIN`.
    """

    name: str
    labelled: int
    recall: float
    predicted: int
    accuracy: float
    confidence: float
    gap: float
    ece: float


@dataclasses.dataclass(frozen=True)
class Detection:
    """How well confidence tells the data from another set.

    Attributes:
        rows: Rows of the other set.
        num_nonfinite: Rows left out because of NaN or infinite outputs.
        confidence: Mean confidence on it.
        auroc: `ood.auroc`.
        aupr_in: `ood.aupr_in`.
        aupr_out: `ood.aupr_out`.
        fpr95: `ood.fpr_at_95_tpr`.
    """

    rows: int
    num_nonfinite: int
    confidence: float
    auroc: float
    aupr_in: float
    aupr_out: float
    fpr95: float


def measure_overall(
    rows: Predictions, *, draws: int, seed: int
) -> dict[str, Interval]:
    """Measures what no choice of bins changes.

    Args:
        rows: Predictions and labels.
        draws: Samples redrawn for an interval.
        seed: Seed of the draws.

    Returns:
        values: `OVERALL`, and the means of `nll` and `brier`.
    """
    values = {
        name: scores.bootstrap_interval(
            rows.confidence,
            rows.correct,
            measure=measure,
            draws=draws,
            seed=seed,
        )
        for name, measure in OVERALL.items()
    }
    columns = {
        "nll": rows.nll,
        "brier": predictions.brier_score(rows.labels, rows.probabilities),
    }
    for name, column in columns.items():
        column = keras.ops.convert_to_numpy(column).astype(np.float64)
        values[name] = bootstrap_rows(
            _weighted_mean(column),
            len(column),
            draws=draws,
            seed=seed,
        )
    return values


def measure_errors(
    rows: Predictions,
    convention: calibration.Convention,
    *,
    draws: int,
    seed: int,
) -> Errors:
    """Measures calibration under one convention.

    Args:
        rows: Predictions and labels.
        convention: Number of bins and edges.
        draws: Samples redrawn for an interval.
        seed: Seed of the draws.

    Returns:
        errors: All errors, and the yardstick.
    """
    num_bins, edges, note = convention
    values = {
        name: scores.bootstrap_interval(
            rows.confidence,
            rows.correct,
            measure=measure,
            num_bins=num_bins,
            edges=edges,
            draws=draws,
            seed=seed,
        )
        for name, measure in ERRORS.items()
    }
    redraw = functools.partial(
        bootstrap_rows, size=len(rows.labels), draws=draws, seed=seed
    )
    values["adaptive_ece"] = redraw(_adaptive(rows, num_bins))
    values["classwise_ece"] = _classwise(rows, num_bins, edges, redraw)
    return Errors(
        num_bins=num_bins,
        edges=edges,
        note=note,
        rows_per_bin=len(rows.labels) / num_bins,
        values=values,
        null_ece=scores.null_calibration_error(
            rows.confidence, num_bins=num_bins, edges=edges, seed=seed
        ),
        bins=_table(rows, num_bins=num_bins, edges=edges),
    )


def measure_classes(
    rows: Predictions, names: Sequence[str]
) -> list[ClassErrors]:
    """Measures calibration class by class.

    Args:
        rows: Predictions and labels.
        names: Names of the K classes.

    Returns:
        classes: One for each class, in order.
    """
    predicted = rows.probabilities.argmax(axis=-1)
    return [
        _measure_class(rows, name, rows.labels == k, predicted == k)
        for k, name in enumerate(names)
    ]


def measure_detection(
    inside: np.ndarray, outside: np.ndarray, *, num_nonfinite: int = 0
) -> Detection:
    """Measures how well confidence tells a set from the data.

    Args:
        inside: Confidences on the data, `(N,)`.
        outside: Confidences on the other set, `(M,)`.
        num_nonfinite: Rows of the other set that were left out.

    Returns:
        detection: The measures of `tf_mixup.ood`.
    """
    return Detection(
        rows=len(outside),
        num_nonfinite=num_nonfinite,
        confidence=float(np.mean(outside, dtype=np.float64)),
        auroc=ood.auroc(inside, outside),
        aupr_in=ood.aupr_in(inside, outside),
        aupr_out=ood.aupr_out(inside, outside),
        fpr95=ood.fpr_at_95_tpr(inside, outside),
    )


def main_ece(rows: Predictions) -> float:
    """Returns the ECE under the convention `MAIN`.

    Args:
        rows: Predictions and labels.
    """
    convention = calibration.CONVENTIONS[MAIN]
    bins = _table(rows, num_bins=convention.num_bins, edges=convention.edges)
    return float(calibration.expected_calibration_error(bins))


def bootstrap_rows(
    measure: Callable[[np.ndarray], float],
    size: int,
    *,
    draws: int,
    seed: int,
    level: float = 0.95,
) -> Interval:
    """Returns a measure with a bootstrap percentile interval.

    Args:
        measure: Function of how often each row was drawn, int `(N,)`.
        size: Number of rows, N.
        draws: How many samples are redrawn.
        seed: Seed of the draws.
        level: Share of redrawn values inside of the interval.

    Returns:
        interval: The measure of the rows themselves, and the two ends.
    """
    generator = np.random.default_rng(seed)
    values = [
        measure(np.bincount(generator.integers(0, size, size), minlength=size))
        for _ in range(draws)
    ]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    estimate = measure(np.ones(size, np.int64))
    return Interval(float(estimate), float(low), float(high))


def _table(rows: Predictions, **convention: Any) -> calibration.Bins:
    bins = calibration.bin_confidences(
        rows.confidence, rows.correct, **convention
    )
    return calibration.Bins(*map(keras.ops.convert_to_numpy, bins))


def _weighted_mean(column: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda weight: float(weight @ column / len(column))


def _adaptive(
    rows: Predictions, num_bins: int
) -> Callable[[np.ndarray], float]:
    def measure(weight: np.ndarray) -> float:
        drawn = np.repeat(np.arange(len(weight)), weight)
        return scores.adaptive_calibration_error(
            rows.confidence[drawn], rows.correct[drawn], num_bins=num_bins
        )

    return measure


def _classwise(
    rows: Predictions,
    num_bins: int,
    edges: str,
    redraw: Callable[[Callable[[np.ndarray], float]], Interval],
) -> Interval:
    """Returns the classwise ECE; intervals only where they take seconds."""
    size, num_classes = rows.probabilities.shape
    if size * num_classes > _MOST_REDRAWN:
        bins = calibration.class_bins(
            rows.labels, rows.probabilities, num_bins=num_bins, edges=edges
        )
        estimate = float(calibration.classwise_calibration_error(bins))
        return Interval(estimate, np.nan, np.nan)
    inner = calibration.bin_edges(num_bins)[1:-1]
    # `digitize` means by `right` what `edges="right"` means.
    place = np.digitize(rows.probabilities, inner, right=edges == "right")
    cell = (place + num_bins * np.arange(num_classes)).ravel()
    gap = rows.probabilities.astype(np.float64)
    gap[np.arange(size), rows.labels] -= 1

    def measure(weight: np.ndarray) -> float:
        drawn = (gap * weight[:, np.newaxis]).ravel()
        sums = np.bincount(cell, drawn, minlength=num_bins * num_classes)
        return float(np.abs(sums).sum() / (size * num_classes))

    return redraw(measure)


def _measure_class(
    rows: Predictions, name: str, labelled: np.ndarray, predicted: np.ndarray
) -> ClassErrors:
    right = int(np.sum(labelled & predicted))
    count = int(predicted.sum())
    own = rows.take(predicted)
    accuracy = right / count if count else np.nan
    mean = float(own.confidence.mean(dtype=np.float64)) if count else np.nan
    return ClassErrors(
        name=name,
        labelled=int(labelled.sum()),
        recall=right / int(labelled.sum()) if labelled.any() else np.nan,
        predicted=count,
        accuracy=accuracy,
        confidence=mean,
        gap=mean - accuracy,
        ece=main_ece(own) if count else np.nan,
    )
