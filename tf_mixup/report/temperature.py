"""What temperature scaling would do to a model, on rows that it did not see.

Letters: N rows.
"""

import dataclasses
import warnings

import numpy as np

from tf_mixup import posthoc
from tf_mixup.report import measures
from tf_mixup.report.predictions import Predictions

# Below it a half says nothing of a temperature.
_LEAST_ROWS = 40


@dataclasses.dataclass(frozen=True)
class Half:
    """A temperature from one half of the rows, and what it does to the other.

    Attributes:
        temperature: Fitted on one half.
        rows: Rows of the other half; all below is of these.
        nll_before: Negative log-likelihood as it is, in nats.
        nll_after: The same of the scaled predictions.
        ece_before: ECE under the convention `measures.MAIN` as it is.
        ece_after: The same of the scaled predictions.
    """

    temperature: float
    rows: int
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float


@dataclasses.dataclass(frozen=True)
class Temperature:
    """What temperature scaling would do.

    Attributes:
        temperature: Fitted on all rows: the one to use unless `at_bound`.
        at_bound: Whether there is no best temperature, as where all
            predictions are right; then `temperature` is the nearest bound.
        halves: Both directions of one random split.
    """

    temperature: float
    at_bound: bool
    halves: tuple[Half, Half]

    def mean(self, name: str) -> float:
        """Returns the mean of a field of `Half` over both directions.

        Args:
            name: The field.
        """
        return float(np.mean([getattr(half, name) for half in self.halves]))


def measure(rows: Predictions, *, seed: int) -> Temperature | None:
    """Fits temperatures, and measures them on rows that they did not see.

    Args:
        rows: Predictions and labels.
        seed: Seed of the split.

    Returns:
        temperature: What it would do; None if there are below 40 rows, or if
            a half holds one class only.
    """
    order = np.random.default_rng(seed).permutation(len(rows.labels))
    halves = np.sort(order[::2]), np.sort(order[1::2])
    classes = [np.unique(rows.labels[half]).size for half in halves]
    if len(order) < _LEAST_ROWS or min(classes) < 2:
        return None
    with warnings.catch_warnings():
        # `at_bound` says it, and the report says it in words.
        warnings.filterwarnings("ignore", "The temperature is at a bound")
        fits = [
            posthoc.TemperatureScaling().fit(
                rows.logits[part], rows.labels[part]
            )
            for part in (slice(None), *halves)
        ]
    both, first, second = fits
    return Temperature(
        temperature=float(both.temperature),
        at_bound=bool(both.at_bound),
        halves=(
            _apply_temperature(rows.take(halves[1]), first.temperature),
            _apply_temperature(rows.take(halves[0]), second.temperature),
        ),
    )


def _apply_temperature(rows: Predictions, temperature: float) -> Half:
    scaled = rows.divide(temperature)
    return Half(
        temperature=temperature,
        rows=len(rows.labels),
        nll_before=float(rows.nll.mean(dtype=np.float64)),
        nll_after=float(scaled.nll.mean(dtype=np.float64)),
        ece_before=measures.main_ece(rows),
        ece_after=measures.main_ece(scaled),
    )
