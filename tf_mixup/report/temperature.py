"""The effect of temperature scaling on examples that it was not fitted on.

Shapes: N examples.
"""

import dataclasses
from typing import Any

import numpy as np

from tf_mixup.calibration.resampling import Interval
from tf_mixup.posthoc import scalers
from tf_mixup.report import measures
from tf_mixup.report.predictions import Predictions

# With fewer, a half says nothing of a temperature.
_LEAST_EXAMPLES = 40


@dataclasses.dataclass(frozen=True)
class Half:
    """A temperature from one half of the examples, tested on the other.

    Attributes:
        temperature: Fitted on one half.
        num_examples: Examples of the other half; all below is of these.
        nll_before: Negative log-likelihood as it is, in nats.
        nll_after: The same of the scaled predictions.
        ece_before: ECE under the convention `measures.MAIN` as it is.
        ece_after: The same of the scaled predictions.
    """

    temperature: float
    num_examples: int
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float


@dataclasses.dataclass(frozen=True)
class Temperature:
    """The effect of temperature scaling.

    Attributes:
        temperature: Fitted on all examples: the one to use unless `at_bound`.
        at_bound: Whether there is no best temperature, as where all
            predictions are right; then `temperature` is the nearest bound.
        halves: Both directions of one random split.
        nll_change: Mean change of the negative log-likelihood of all
            examples, each scaled by the temperature of the half that it is
            not in, with a paired bootstrap interval; None if it is unknown.
    """

    temperature: float
    at_bound: bool
    halves: tuple[Half, Half]
    nll_change: Interval | None = None

    @property
    def helps(self) -> bool:
        """Whether the likelihood rises by more than chance explains."""
        return self.nll_change is not None and self.nll_change.high < 0

    @property
    def harms(self) -> bool:
        """Whether the likelihood falls by more than chance explains."""
        return self.nll_change is not None and self.nll_change.low > 0

    def mean(self, name: str) -> float:
        """Returns the mean of a field of `Half` over both halves."""
        return float(np.mean([getattr(half, name) for half in self.halves]))


def measure(
    predictions: Predictions, *, seed: int, num_resamples: int = 500
) -> Temperature | None:
    """Fits temperatures and tests them; None of too few examples."""
    halves = predictions.halves(seed=seed, least=_LEAST_EXAMPLES)
    if halves is None:
        return None
    both = _fit(predictions, np.arange(len(predictions)))
    tested, changes = [], []
    for fitted, other in (halves, halves[::-1]):
        half, change = _test(predictions, other, _fit(predictions, fitted))
        tested.append(half)
        changes.append(change)
    return Temperature(
        temperature=both,
        at_bound=both in scalers.BOUNDS,
        halves=(tested[0], tested[1]),
        nll_change=measures.bootstrap_mean(
            np.concatenate(changes), num_resamples=num_resamples, seed=seed
        ),
    )


def _fit(predictions: Predictions, examples: np.ndarray) -> float:
    """Returns what `TemperatureScaling` finds, a block at a time."""

    def slope(temperature: float) -> float:
        return sum(
            float(
                np.sum(
                    scalers.temperature_slopes(
                        predictions.logits(at).astype(np.float64),
                        predictions.distributions(at),
                        temperature,
                    )
                )
            )
            for at in (examples[block] for block in predictions.blocks())
        )

    return scalers.find_temperature(slope)


def _test(
    predictions: Predictions, examples: np.ndarray, temperature: float
) -> tuple[Half, np.ndarray]:
    """Returns a temperature's effect, and each example's change of NLL."""
    scaled = predictions.scaled(examples, temperature)
    before = {
        name: getattr(predictions, name)[examples]
        for name in ("confidence", "correct", "nll")
    }

    def ece(columns: dict[str, Any]) -> float:
        return measures.main_ece(columns["confidence"], columns["correct"])

    half = Half(
        temperature=temperature,
        num_examples=len(examples),
        nll_before=float(before["nll"].mean(dtype=np.float64)),
        nll_after=float(scaled["nll"].mean(dtype=np.float64)),
        ece_before=ece(before),
        ece_after=ece(scaled),
    )
    return half, scaled["nll"].astype(np.float64) - before["nll"]
