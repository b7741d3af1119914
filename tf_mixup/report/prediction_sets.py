"""Conformal prediction sets on examples that they were not fitted on.

Shapes: N examples, K classes.
"""

import dataclasses

import numpy as np

from tf_mixup.posthoc import conformal
from tf_mixup.report.predictions import Predictions

COVERAGES = (0.9, 0.95)
SHOWN = ("lac", "aps")
# With fewer, a half says little of a coverage.
_LEAST_EXAMPLES = 100


@dataclasses.dataclass(frozen=True)
class SetQuality:
    """What the sets of one score and coverage would be.

    Attributes:
        score: As for `ConformalSets`.
        wanted: The coverage that it was fitted for.
        coverage: Share of examples whose set holds their class. Each half of
            the data is tested with what the other half was fitted to.
        mean_size: Classes in a set.
        single: Share of sets of one class.
        largest: Classes in the largest set.
    """

    score: str
    wanted: float
    coverage: float
    mean_size: float
    single: float
    largest: int


def measure(predictions: Predictions, *, seed: int) -> list[SetQuality]:
    """Fits sets on each half and tests them on the other.

    Args:
        predictions: Of the held-out data.
        seed: Fixes the split, an integer of at least 0.

    Returns:
        qualities: One for each score and coverage; none of too few examples,
            or of soft targets, which have no class that a set could hold.
    """
    halves = predictions.halves(seed=seed, least=_LEAST_EXAMPLES)
    if halves is None or not _are_classes(predictions):
        return []
    found = []
    for score in SHOWN:
        for wanted in COVERAGES:
            sizes, held = zip(
                *(
                    _test(predictions, score, wanted, fitted, other)
                    for fitted, other in (halves, halves[::-1])
                ),
                strict=True,
            )
            size = np.concatenate(sizes)
            found.append(
                SetQuality(
                    score=score,
                    wanted=wanted,
                    coverage=float(np.concatenate(held).mean()),
                    mean_size=float(size.mean()),
                    single=float((size == 1).mean()),
                    largest=int(size.max()),
                )
            )
    return found


def _are_classes(predictions: Predictions) -> bool:
    return predictions.has_ids or bool(
        (predictions.targets.max(axis=-1) == 1).all()
    )


def _test(
    predictions: Predictions,
    score: str,
    wanted: float,
    fitted: np.ndarray,
    other: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the size of each set, and whether it holds the class."""
    sets = conformal.ConformalSets(score, coverage=wanted)
    sets.fit(predictions.logits(fitted), predictions.labels[fitted])
    sizes, held = [], []
    for block in predictions.blocks():
        at = other[block]
        if at.size:
            found = sets.apply(predictions.logits(at))
            sizes.append(found.sum(axis=1))
            held.append(found[np.arange(at.size), predictions.labels[at]])
    return np.concatenate(sizes), np.concatenate(held)
