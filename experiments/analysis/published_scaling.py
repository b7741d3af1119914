"""Temperature scaling as the code of Chidambaram and Ge (2024) fits it.

Their code takes one step of `torch.optim.LBFGS` with a learning rate of .01,
which has 20 iterations inside. Each moves the temperature from 1 by a
hundredth of a secant step, so that it ends near 1.1 wherever the optimum is.
The optimizer is written out here for its one parameter.
"""

import numpy as np
from scipy import special

from tf_mixup import posthoc

LEARNING_RATE = 0.01
NUM_ITERATIONS = 20
# Of the gradient, the step and the loss: below one of them it stops.
_LEAST_GRADIENT, _LEAST_CHANGE = 1e-7, 1e-9
# A step is not remembered unless step times change of gradient exceeds it.
_LEAST_CURVATURE = 1e-10


class PublishedTemperatureScaling(posthoc.TemperatureScaling):
    """Divides logits by a temperature that is not fitted to convergence.

    Attributes:
        temperature: T, after 20 iterations from 1.

    References:
        https://github.com/2014mchidamb/temp-scaling-limitations
    """

    def _fit(
        self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray
    ) -> None:
        weights = weights / weights.sum()
        self.temperature = 1.0
        loss, gradient = _evaluate(logits, targets, weights, 1.0)
        direction, inverse_curvature = -gradient, 1.0
        # The first step is at most as long as the learning rate.
        length = LEARNING_RATE * min(1.0, 1 / max(abs(gradient), 1e-30))
        for _ in range(NUM_ITERATIONS):
            steep = -gradient * direction
            if abs(gradient) <= _LEAST_GRADIENT or steep < _LEAST_CHANGE:
                break
            step = length * direction
            self.temperature += step
            before = loss, gradient
            loss, gradient = _evaluate(
                logits, targets, weights, self.temperature
            )
            small = abs(step), abs(loss - before[0])
            if min(small) <= _LEAST_CHANGE:
                break
            change = gradient - before[1]
            if change * step > _LEAST_CURVATURE:
                inverse_curvature = step / change
            direction = -inverse_curvature * gradient
            length = LEARNING_RATE


def _evaluate(
    logits: np.ndarray, targets: np.ndarray, weights: np.ndarray, t: float
) -> tuple[float, float]:
    """Returns the mean cross-entropy at a temperature, and its slope."""
    scaled = logits.astype(np.float64) / t
    log_probabilities = special.log_softmax(scaled, axis=-1)
    loss = -(targets * log_probabilities).sum(-1) @ weights
    excess = np.exp(log_probabilities) - targets
    slope = -((excess * scaled).sum(-1) / t) @ weights
    return float(loss), float(slope)
