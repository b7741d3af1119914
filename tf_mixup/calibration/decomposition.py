"""The Brier score of the top label in three parts, without bins (CORP).

Shapes: B examples, K classes, G groups of equal confidence.
"""

import math
from typing import Any
from typing import NamedTuple

from sklearn import isotonic

from tf_mixup.calibration import equal_mass
from tf_mixup.calibration.bins import Bins


class BrierParts(NamedTuple):
    """The Brier score of confidence against correctness, and its parts.

    `score = miscalibration - discrimination + uncertainty`, exactly.

    Attributes:
        score: Mean of `(confidence - correct)^2`, in [0, 1].
        miscalibration: MCB, what recalibrating the confidences would save, at
            least 0; of a few examples above 0 even for a calibrated model.
        discrimination: DSC, what the order of the confidences is worth, from 0
            (they do not separate right from wrong) to `uncertainty` (they
            separate them completely).
        uncertainty: UNC, `accuracy * (1 - accuracy)`, the score of a model
            that is as sure of every example as it is accurate.
    """

    score: float
    miscalibration: float
    discrimination: float
    uncertainty: float


def brier_decomposition(
    labels: Any,
    probabilities: Any = None,
    *,
    from_logits: bool | None = None,
    sample_weight: Any = None,
    ignore_label: int | None = None,
) -> BrierParts:
    """Splits the Brier score of the top label into three parts.

    With S(q) the mean of `(q - correct)^2`, c the confidences, r the isotonic
    regression of correctness on confidence, and a the accuracy:

        MCB = S(c) - S(r),  DSC = S(a) - S(r),  UNC = S(a)

    so that `S(c) = MCB - DSC + UNC`. The regression takes the place of bins:
    no number is to be chosen, and the sum is exact. (Over bins the
    decomposition of Murphy, 1973, needs two terms more.)

    The score is that of one number, whether the prediction is correct, and not
    `brier_score`, which sums over classes. With two classes it is half of it.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`, of which an
            example is correct with the mass on the predicted class: the parts
            are those of labels that are drawn from the targets. Or a table of
            many `Bins` alone, such as `metrics.CalibrationMetrics.fine_bins()`,
            whose examples count with the mean confidence of their bin.
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)`.
        from_logits: Whether they are logits instead; None detects it.
        sample_weight: Weights `(B,)` or `(B, 1)`, at least 0, or None.
        ignore_label: Class id of examples without a label, often -1, which are
            left out; None ignores none.

    Returns:
        parts: Four numbers; NaN without examples, or if an example has no
            distribution over classes.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> probabilities = [[0.75, 0.25], [0.75, 0.25], [1.0, 0.0], [1.0, 0.0]]
        >>> parts = brier_decomposition([0, 1, 0, 0], probabilities)
        >>> parts.score, parts.uncertainty
        (0.15625, 0.1875)
        >>> parts.miscalibration, parts.discrimination
        (0.03125, 0.0625)

    References:
        Dimitriadis, Gneiting and Jordan. Stable reliability diagrams for
        probabilistic classifiers. PNAS 118(8), 2021, equation 3.
    """
    table = equal_mass.read_exact(
        labels,
        probabilities,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_label=ignore_label,
    )
    if table is None:
        return BrierParts(math.nan, math.nan, math.nan, math.nan)
    return decompose(table)


def decompose(table: Bins) -> BrierParts:
    """Returns the parts of sums `(G,)` in ascending order of confidence."""
    count, confidence, correct = table
    share, accuracy = count / count.sum(), correct / count

    def score(forecast: Any) -> float:
        losses = (forecast - accuracy) ** 2 + accuracy * (1 - accuracy)
        return float(share @ losses)

    recalibrated = isotonic.isotonic_regression(accuracy, sample_weight=count)
    own, best = score(confidence / count), score(recalibrated)
    constant = score(share @ accuracy)
    return BrierParts(own, own - best, constant - best, constant)
