"""The smooth calibration error: ECE by a kernel whose width is no choice.

Shapes: B examples, K classes, G groups of equal confidence.
"""

import math
from typing import Any
from typing import NamedTuple

import numpy as np
from scipy import fft
from scipy import optimize
from scipy import special

from tf_mixup import _checks
from tf_mixup.calibration import equal_mass
from tf_mixup.calibration.bins import Bins

KERNELS = ("reflected", "logit")
# Of the grid that residuals are spread over.
_CELLS = 2**16
# Confidences of 0 and 1 have no log-odds.
_LEAST = 1e-12
# Standard deviations after which a Gaussian has no mass.
_REACH = 6


def smooth_calibration_error(
    labels: Any,
    probabilities: Any = None,
    *,
    kernel: str = "reflected",
    bandwidth: float | None = None,
    from_logits: bool | None = None,
    sample_weight: Any = None,
    ignore_label: int | None = None,
) -> float:
    """Returns the smooth ECE of the top label (smECE).

    With confidences c, correctness y and a Gaussian kernel K of standard
    deviation s

        smECE_s = integral of abs(mean over i of K_s(t, c_i) (y_i - c_i)) dt

    It falls as s grows, and the smooth ECE is where both are equal, `smECE_s =
    s`: what is smoothed over is as wide as the error that is found. It is
    continuous in the confidences, which ECE is not, and no number of bins is
    to be chosen. It lies between the absolute signed gap and the ECE with a
    bin for each confidence. Like ECE it is above 0 for a calibrated model of
    finitely many examples.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`, of which an
            example is correct with the mass on the predicted class. Or a table
            of many `Bins` alone, such as
            `metrics.CalibrationMetrics.fine_bins()`, whose examples count with
            the mean confidence of their bin.
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)`.
        kernel: `"reflected"`, a Gaussian on [0, 1] that is reflected at both
            ends, as in the paper and by default in relplot; or `"logit"`, a
            Gaussian of the log-odds, as in probcal, which resolves confidences
            near 1. For it they are kept 1e-12 away from 0 and 1.
        bandwidth: The s of a fixed kernel, in (0, 1], in place of the point
            where both are equal; of log-odds for `"logit"`.
        from_logits: Whether `probabilities` are logits; None detects it.
        sample_weight: Weights `(B,)` or `(B, 1)`, at least 0, or None.
        ignore_label: Class id of examples without a label, often -1, which are
            left out; None ignores none.

    Returns:
        error: In [0, 1]; NaN without examples, or if an example has no
            distribution over classes. It is computed on a grid of 65,536
            cells, which moves it by less than 1e-6, of log-odds less than 1e-5
            at errors from 0.01 on.

    Raises:
        ValueError: If the shapes do not fit or an option is out of range.

    Example:
        >>> probabilities = [[0.75, 0.25], [0.75, 0.25], [1.0, 0.0], [1.0, 0.0]]
        >>> error = smooth_calibration_error([0, 1, 0, 1], probabilities)
        >>> round(error, 4)  # All are overconfident, by 0.375 on average.
        0.375

    References:
        Blasiok and Nakkiran. Smooth ECE: Principled Reliability Diagrams via
        Kernel Smoothing. ICLR 2024. https://arxiv.org/abs/2309.12236
    """
    _checks.one_of("kernel", kernel, KERNELS)
    if bandwidth is not None:
        bandwidth = _checks.real_between(
            "bandwidth",
            bandwidth,
            1e-6,
            1,
            remedy="Write None, which finds the width that fits the error",
        )
    table = equal_mass.read_exact(
        labels,
        probabilities,
        from_logits=from_logits,
        sample_weight=sample_weight,
        ignore_label=ignore_label,
    )
    if table is None:
        return math.nan
    residuals = _Residuals.of(table, kernel)
    if bandwidth is not None:
        return residuals.smooth(bandwidth)
    return residuals.fixed_point()


class _Residuals(NamedTuple):
    """Residuals on a grid over an interval, as a sum of cosines.

    Reflection at both ends makes them even and periodic. The Gaussian then
    damps each cosine by a factor of its own, and reflects as often as it
    takes.

    Attributes:
        waves: Coefficients of the density of residuals, `(_CELLS + 1,)`.
        span: Length of the interval.
    """

    waves: np.ndarray
    span: float

    @classmethod
    def of(cls, table: Bins, kernel: str) -> "_Residuals":
        count, confidence, correct = table
        place, span = _find_places(confidence / count, kernel)
        mass = _spread(place, (correct - confidence) / count.sum())
        return cls(fft.idct(mass / _widths(), type=1), span)

    def smooth(self, bandwidth: float) -> float:
        """Returns the integral of absolute residuals after smoothing."""
        frequency = np.pi * bandwidth / self.span * np.arange(_CELLS + 1)
        damped = self.waves * np.exp(-(frequency**2) / 2)
        return float(_widths() @ np.abs(fft.dct(damped, type=1)))

    def fixed_point(self) -> float:
        """Returns the bandwidth that equals the error."""

        def excess(bandwidth: float) -> float:
            return self.smooth(bandwidth) - bandwidth

        # Rounding leaves an error of 1e-16 where there is none.
        if excess(0) < 1e-9:
            return 0.0
        # The error is at most 1, but for rounding.
        return min(optimize.brentq(excess, 0, 2, xtol=1e-9), 1.0)


def _find_places(confidence: np.ndarray, kernel: str) -> tuple[Any, float]:
    """Returns the place in [0, 1] of each confidence, and the unit of it."""
    if confidence.min() < 0 or confidence.max() > 1:
        raise _checks.refusal(
            "Confidences must lie in [0, 1]",
            f"bins with mean confidences from {confidence.min():g} to"
            f" {confidence.max():g}",
            "Give bins of confidences, not of other scores",
        )
    if kernel == "reflected":
        return confidence, 1.0
    logits = special.logit(np.clip(confidence, _LEAST, 1 - _LEAST))
    # Room for the widest kernel, so that nothing is reflected.
    start, end = logits.min() - _REACH, logits.max() + _REACH
    return (logits - start) / (end - start), float(end - start)


def _spread(place: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Shares each mass out between the two points of the grid next to it."""
    left = np.minimum((place * _CELLS).astype(int), _CELLS - 1)
    part = place * _CELLS - left
    return np.bincount(
        np.concatenate([left, left + 1]),
        np.concatenate([mass * (1 - part), mass * part]),
        minlength=_CELLS + 1,
    )


def _widths() -> np.ndarray:
    """Returns the weights of the trapezoid rule on the grid."""
    widths = np.full(_CELLS + 1, 1 / _CELLS)
    widths[[0, -1]] /= 2
    return widths
