"""The numbers of a report; each is one call of the library.

Shapes: N examples, K classes, M bins. Shares are fractions in [0, 1].
"""

import dataclasses
import functools
import operator
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tf_mixup import calibration
from tf_mixup import ood
from tf_mixup import selective
from tf_mixup.calibration import equal_mass
from tf_mixup.calibration import resampling
from tf_mixup.calibration.resampling import Interval
from tf_mixup.report.predictions import Predictions

# The convention of all that is not shown under each of them.
MAIN = "guo"
# The conventions that are shown, those of most papers and packages.
SHOWN = ("paper", MAIN, "tfp", "torchmetrics", "netcal")
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
# Functions of a bin for each distinct confidence.
SELECTIVE: Mapping[str, Callable[[calibration.Bins], float]] = {
    "aurc": selective.aurc,
    "excess_aurc": selective.excess_aurc,
    "coverage_at_1_risk": functools.partial(
        selective.coverage_at_risk, risk=0.01
    ),
    "coverage_at_5_risk": functools.partial(
        selective.coverage_at_risk, risk=0.05
    ),
    "risk_at_80_coverage": functools.partial(
        selective.risk_at_coverage, coverage=0.8
    ),
}
# Of N * K: above it, redrawing all probabilities takes minutes and more memory
# than the rest of a report.
_MOST_REDRAWN = 2**20


@dataclasses.dataclass(frozen=True)
class Errors:
    """The calibration errors under one convention.

    Attributes:
        num_bins: Number of bins of equal width, M.
        edges: Which side of a bin is closed.
        note: Who counts so.
        examples_per_bin: Examples per bin, N / M.
        values: `ERRORS`, `adaptive_ece` and `classwise_ece`, with bootstrap
            intervals; the ends are NaN where none was drawn.
        null_ece: The ECE that a calibrated model would show.
        bins: The table that `values` are functions of.
    """

    num_bins: int
    edges: str
    note: str
    examples_per_bin: float
    values: dict[str, Interval]
    null_ece: resampling.NullRange
    bins: calibration.Bins


@dataclasses.dataclass(frozen=True)
class ClassErrors:
    """One class of the table of classes.

    Attributes:
        name: The class.
        labeled: Examples whose label, or largest share of a soft target,
            this is.
        recall: Share of these that are predicted so; NaN without examples.
        predicted: Examples of which this class is predicted. All below is of
            these: a calibrated model's gap is 0 there, whereas over examples
            of one label it need not be.
        accuracy: Share of them whose label it is; NaN without examples.
        confidence: Their mean confidence; NaN without examples.
        gap: Confidence minus accuracy.
        ece: Their ECE, under the convention `MAIN`.
    """

    name: str
    labeled: int
    recall: float
    predicted: int
    accuracy: float
    confidence: float
    gap: float
    ece: float


@dataclasses.dataclass(frozen=True)
class Detection:
    """How well confidence separates the data from another set.

    Attributes:
        num_examples: Examples of the other set.
        num_nonfinite: Examples left out because of NaN or infinite outputs.
        confidence: Mean confidence on it.
        auroc: `ood.auroc`.
        aupr_in: `ood.aupr_in`.
        aupr_out: `ood.aupr_out`.
        fpr95: `ood.fpr_at_95_tpr`.
    """

    num_examples: int
    num_nonfinite: int
    confidence: float
    auroc: float
    aupr_in: float
    aupr_out: float
    fpr95: float


def measure_overall(
    examples: Predictions, *, num_resamples: int, seed: int
) -> dict[str, Interval]:
    """Measures `OVERALL`, `nll`, `brier` and the share `impossible`."""
    intervals = resampling.bootstrap_intervals(
        examples.confidence,
        examples.correct,
        measures=list(OVERALL.values()),
        num_resamples=num_resamples,
        seed=seed,
    )
    values = dict(zip(OVERALL, intervals, strict=True))
    for name in ("nll", "brier", "impossible"):
        column = getattr(examples, name)
        values[name] = bootstrap_mean(
            column, num_resamples=num_resamples, seed=seed
        )
    return values


def measure_without_bins(examples: Predictions) -> dict[str, float]:
    """Measures `smooth_ece`, and `calibration.BrierParts` by their names."""
    table = selective.rank_scores(examples.confidence, examples.correct)
    error = calibration.smooth_calibration_error(table)
    parts = calibration.brier_decomposition(table)
    return {"smooth_ece": error, **parts._asdict()}


def measure_selective(
    examples: Predictions, *, num_resamples: int, seed: int
) -> dict[str, Interval]:
    """Measures `SELECTIVE`, with percentile intervals."""
    place = equal_mass.rank(examples.confidence)

    def measure(weight: np.ndarray) -> list[float]:
        columns = examples.confidence, examples.correct
        bins = equal_mass.sum_groups(place, *columns, weight)
        return [each(bins) for each in SELECTIVE.values()]

    size = len(examples)
    own = measure(np.ones(size))
    resamples = resampling.redraw(size, num_resamples=num_resamples, seed=seed)
    redrawn = [measure(weight) for weight in resamples]
    ends = np.quantile(redrawn, [0.025, 0.975], axis=0).tolist()
    return dict(zip(SELECTIVE, map(Interval, own, *ends), strict=True))


def measure_errors(
    examples: Predictions,
    convention: calibration.Convention,
    *,
    num_resamples: int,
    seed: int,
) -> Errors:
    """Measures all calibration errors under one convention."""
    num_bins, edges, note = convention
    options: dict[str, Any] = {"num_bins": num_bins, "edges": edges}
    intervals = resampling.bootstrap_intervals(
        examples.confidence,
        examples.correct,
        measures=list(ERRORS.values()),
        num_resamples=num_resamples,
        seed=seed,
        **options,
    )
    values = dict(zip(ERRORS, intervals, strict=True))
    values["adaptive_ece"] = resampling.adaptive_interval(
        examples.confidence,
        examples.correct,
        num_bins=num_bins,
        num_resamples=num_resamples,
        seed=seed,
    )
    values["classwise_ece"] = _Classwise(examples, num_bins, edges).interval(
        num_resamples=num_resamples, seed=seed
    )
    return Errors(
        num_bins=num_bins,
        edges=edges,
        note=note,
        examples_per_bin=len(examples) / num_bins,
        values=values,
        null_ece=resampling.null_calibration_error(
            examples.confidence, seed=seed, **options
        ),
        bins=_table(examples.confidence, examples.correct, **options),
    )


def measure_classes(
    examples: Predictions, names: Sequence[str]
) -> list[ClassErrors]:
    """Measures calibration class by class, in order."""
    return [
        _measure_class(
            examples, name, examples.labels == k, examples.predicted == k
        )
        for k, name in enumerate(names)
    ]


def measure_class_bias(examples: Predictions) -> calibration.ClassBias:
    """Measures the bias of the mean probability of each class."""
    return calibration.class_bias(
        functools.reduce(
            operator.add,
            (
                calibration.class_sums(
                    examples.targets[at], probabilities, from_logits=False
                )
                for at, probabilities in examples.probability_blocks()
            ),
        )
    )


def measure_detection(
    inside: np.ndarray, outside: np.ndarray, *, num_nonfinite: int = 0
) -> Detection:
    """Measures how well confidences `(N,)` and `(M,)` differ."""
    return Detection(
        num_examples=len(outside),
        num_nonfinite=num_nonfinite,
        confidence=float(np.mean(outside, dtype=np.float64)),
        auroc=ood.auroc(inside, outside),
        aupr_in=ood.aupr_in(inside, outside),
        aupr_out=ood.aupr_out(inside, outside),
        fpr95=ood.fpr_at_95_tpr(inside, outside),
    )


def main_ece(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Returns the ECE under `MAIN` of two columns `(N,)`."""
    convention = calibration.CONVENTIONS[MAIN]
    bins = _table(
        confidence,
        correct,
        num_bins=convention.num_bins,
        edges=convention.edges,
    )
    return float(calibration.expected_calibration_error(bins))


def bootstrap_mean(
    column: np.ndarray, *, num_resamples: int, seed: int, level: float = 0.95
) -> Interval:
    """Returns the mean of `(N,)` with its percentile interval."""
    column = np.asarray(column, np.float64)
    size = len(column)
    values = [
        weight @ column / size
        for weight in resampling.redraw(
            size, num_resamples=num_resamples, seed=seed
        )
    ]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(column.mean()), float(low), float(high))


def _table(
    confidence: np.ndarray, correct: np.ndarray, **convention: Any
) -> calibration.Bins:
    bins = calibration.bin_confidences(confidence, correct, **convention)
    return calibration.Bins(*map(keras.ops.convert_to_numpy, bins))


class _Classwise:
    """The classwise ECE, from the cells of each probability of each class."""

    def __init__(
        self, examples: Predictions, num_bins: int, edges: str
    ) -> None:
        self._examples, self._right = examples, edges == "right"
        self._inner = calibration.bin_edges(num_bins)[1:-1]
        self._num_bins = num_bins

    def interval(self, *, num_resamples: int, seed: int) -> Interval:
        """Returns it; without ends if these would take minutes."""
        examples = self._examples
        if len(examples) * examples.num_classes > _MOST_REDRAWN:
            sums: Any = sum(
                self._sum(self._find_cells(p), p - examples.distributions(at))
                for at, p in examples.probability_blocks()
            )
            return Interval(self._error(sums), np.nan, np.nan)
        probabilities = examples.probabilities
        cell = self._find_cells(probabilities)
        gap = probabilities - examples.distributions(slice(None))
        redrawn = [
            self._error(self._sum(cell, gap * weight[:, np.newaxis]))
            for weight in resampling.redraw(
                len(examples), num_resamples=num_resamples, seed=seed
            )
        ]
        return resampling.error_interval(
            self._error(self._sum(cell, gap)),
            redrawn,
            list(self._draw_null(cell, probabilities, seed)),
        )

    def _find_cells(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns the number of bin and class of each probability."""
        # `digitize` means by `right` what `edges="right"` means.
        place = np.digitize(probabilities, self._inner, right=self._right)
        return place + self._num_bins * np.arange(self._examples.num_classes)

    def _sum(self, cell: np.ndarray, gap: np.ndarray) -> np.ndarray:
        cells = self._num_bins * self._examples.num_classes
        return np.bincount(cell.ravel(), gap.ravel(), minlength=cells)

    def _error(self, sums: np.ndarray) -> float:
        size = len(self._examples) * self._examples.num_classes
        return float(np.abs(sums).sum() / size)

    def _draw_null(
        self, cell: np.ndarray, probabilities: np.ndarray, seed: int
    ) -> Iterator[float]:
        """Yields errors of labels that are drawn from the probabilities."""
        generator = np.random.default_rng(seed)
        expected = self._sum(cell, probabilities)
        limits = probabilities.cumsum(axis=1)[:, :-1]
        example = np.arange(len(cell))
        for _ in range(resampling.NULL_DRAWS):
            place = generator.random((len(cell), 1))
            drawn = cell[example, (place > limits).sum(axis=1)]
            hits = np.bincount(drawn, minlength=expected.size)
            yield self._error(expected - hits)


def _measure_class(
    examples: Predictions,
    name: str,
    labeled: np.ndarray,
    predicted: np.ndarray,
) -> ClassErrors:
    count = int(predicted.sum())
    confidence, correct = (
        examples.confidence[predicted],
        examples.correct[predicted],
    )
    accuracy = float(correct.mean(dtype=np.float64)) if count else np.nan
    mean = float(confidence.mean(dtype=np.float64)) if count else np.nan
    hits = int(np.sum(labeled & predicted))
    return ClassErrors(
        name=name,
        labeled=int(labeled.sum()),
        recall=hits / int(labeled.sum()) if labeled.any() else np.nan,
        predicted=count,
        accuracy=accuracy,
        confidence=mean,
        gap=mean - accuracy,
        ece=main_ece(confidence, correct) if count else np.nan,
    )
