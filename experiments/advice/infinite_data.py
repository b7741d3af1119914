"""What mixup's optimum predicts with infinite data, in closed form.

Classes are normal distributions on the line, with one deviation. A mixture of
classes i and j is normal, too, given its coefficient, so that the minimum of
the cross-entropy on mixed targets is a ratio of integrals over the coefficient
(Gauss-Jacobi quadrature) at each input. Nothing is trained or sampled.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

from tf_mixup import _checks

NODES = 200
POINTS = 4001
# Inputs reach this many deviations beyond the outer means.
REACH = 6


class Classes(NamedTuple):
    """Normal classes on the line.

    Attributes:
        means: `(K,)`.
        deviation: Of each class.
        priors: `(K,)`, with sum 1.
    """

    means: Sequence[float]
    deviation: float
    priors: Sequence[float]

    def grid(self) -> np.ndarray:
        """Returns evenly spaced inputs `(N,)` that cover all classes."""
        reach = REACH * self.deviation
        return np.linspace(
            min(self.means) - reach, max(self.means) + reach, POINTS
        )

    def joint(self) -> np.ndarray:
        """Returns the mass of each input of the grid and class, `(N, K)`."""
        density = scipy.stats.norm.pdf(
            self.grid()[:, None], np.array(self.means), self.deviation
        )
        joint = density * np.array(self.priors)
        return joint / joint.sum()


def optimum(classes: Classes, alpha: float) -> np.ndarray:
    """Returns what the best predictor of mixed targets says, `(N, K)`.

    Args:
        classes: The data.
        alpha: Concentration of the coefficients; 0 for no mixing, whose
            optimum is the true posterior.
    """
    _checks.real_at_least("alpha", alpha, 0, remedy="Write 0 for no mixing")
    lams, weights = _coefficients(alpha)
    means, priors = np.array(classes.means), np.array(classes.priors)
    found = np.zeros((POINTS, len(means)))
    for i, j in np.ndindex(len(means), len(means)):
        centers = lams * means[i] + (1 - lams) * means[j]
        scales = classes.deviation * np.hypot(lams, 1 - lams)
        density = scipy.stats.norm.pdf(classes.grid()[:, None], centers, scales)
        mass = priors[i] * priors[j] * weights * density
        found[:, i] += mass @ lams
        found[:, j] += mass @ (1 - lams)
    return found / found.sum(axis=1, keepdims=True)


def _coefficients(alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns nodes in [0, 1] and weights of Beta(alpha, alpha)."""
    if not alpha:
        return np.array([0.0, 1.0]), np.array([0.5, 0.5])
    nodes, weights = scipy.special.roots_jacobi(NODES, alpha - 1, alpha - 1)
    return (nodes + 1) / 2, weights / weights.sum()


def signed_gap(joint: np.ndarray, predicted: np.ndarray) -> float:
    """Returns mean confidence minus accuracy, in [-1, 1]."""
    correct = joint[np.arange(len(joint)), predicted.argmax(axis=1)]
    return float(predicted.max(axis=1) @ joint.sum(axis=1) - correct.sum())


def recalls(joint: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Returns the share of each class that is predicted as it, `(K,)`."""
    hits = predicted.argmax(axis=1)[:, None] == np.arange(joint.shape[1])
    return (joint * hits).sum(axis=0) / joint.sum(axis=0)


def best_temperature(joint: np.ndarray, predicted: np.ndarray) -> float:
    """Returns the temperature with the lowest NLL."""

    def nll(log_temperature: float) -> float:
        log_scaled = np.log(soften(predicted, np.exp(log_temperature)))
        return float(-(joint * log_scaled).sum())

    found = scipy.optimize.minimize_scalar(nll, bounds=(-4, 4))
    return float(np.exp(found.x))


def soften(predicted: np.ndarray, temperature: float) -> np.ndarray:
    """Returns probabilities after a temperature."""
    log = np.log(np.maximum(predicted, np.finfo(float).tiny))
    return scipy.special.softmax(log / temperature, axis=1)


def two_classes() -> list[list[str]]:
    """Mixup's optimum is underconfident, even with infinite data.

    Two classes N(-mu, 1) and N(mu, 1) of one size. Nothing is overfitted: the
    whole gap is mixup's.
    """
    lines = [
        ["mu", "accuracy (%)", "alpha", "signed gap (%)", "T", "gap, scaled"]
    ]
    for mu in (0.5, 1.0, 2.0, 3.0):
        classes = Classes((-mu, mu), 1.0, (0.5, 0.5))
        joint = classes.joint()
        for alpha in (0.2, 1.0):
            predicted = optimum(classes, alpha)
            temperature = best_temperature(joint, predicted)
            scaled = soften(predicted, temperature)
            lines.append(
                [
                    f"{mu:g}",
                    f"{100 * scipy.stats.norm.cdf(mu):.1f}",
                    f"{alpha:g}",
                    f"{100 * signed_gap(joint, predicted):z.2f}",
                    f"{temperature:.2f}",
                    f"{100 * signed_gap(joint, scaled):z.2f}",
                ]
            )
    return lines


def class_between() -> list[list[str]]:
    """Mixup can erase a rare class that lies between two others.

    Three classes at -2, 0 and 2 with deviation 0.3, and infinite data; 5 % of
    the examples are of the class in the middle, where mixtures of the other
    two fall. The signed gap does not show it.
    """
    classes = Classes((-2.0, 0.0, 2.0), 0.3, (0.475, 0.05, 0.475))
    joint = classes.joint()
    lines = [
        [
            "alpha",
            "recall, middle class (%)",
            "recall, outer classes (%)",
            "signed gap (%)",
        ]
    ]
    for alpha in (0.0, 0.02, 0.1, 0.2, 0.4, 1.0):
        predicted = optimum(classes, alpha)
        outer, middle, _ = recalls(joint, predicted)
        gap = signed_gap(joint, predicted)
        lines.append(
            [
                f"{alpha:g}",
                *(f"{100 * value:z.1f}" for value in (middle, outer, gap)),
            ]
        )
    return lines
