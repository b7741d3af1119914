"""What balanced class weights do to probabilities, and what repairs them."""

import numpy as np
import scipy.special

from experiments.advice import spread
from tf_mixup import calibration
from tf_mixup import posthoc

EXAMPLES = 20_000
PRIOR = 0.1
# Half the distance of the class means, in deviations.
MU = 1.0


def draw(num_examples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels and the logits `(N, 2)` of a model with balanced weights.

    Classes are N(-mu, 1) and N(mu, 1), the second with the prior. The logits
    are those of the true posterior with priors of one half, which is what
    balanced class weights learn.
    """
    rng = np.random.default_rng(seed)
    labels = (rng.random(num_examples) < PRIOR).astype(int)
    x = rng.normal(MU * (2 * labels - 1))
    return labels, np.stack([-MU * x, MU * x], axis=1)


def measure(labels: np.ndarray, probabilities: np.ndarray) -> list[float]:
    """Returns the errors of both views of one set of probabilities."""
    positive = calibration.bin_confidences(probabilities[:, 1], labels)
    predicted = probabilities.argmax(axis=1)
    return [
        calibration.expected_calibration_error(labels, probabilities),
        calibration.expected_calibration_error(positive),
        float((predicted == labels).mean()),
        float(predicted[labels == 1].mean()),
    ]


def class_weights(num_seeds: int = 5) -> list[list[str]]:
    """Class weights spoil probabilities in a way that the top label hides.

    Two classes, N(-1, 1) and N(1, 1), 10 % of the second; the probabilities
    are those that balanced class weights learn from infinite data. 20,000
    examples without weights fit the scalers, as many others test; 5 draws.
    """
    scalers = {
        "none": None,
        "temperature": posthoc.TemperatureScaling,
        "vector": posthoc.VectorScaling,
    }
    lines = [
        [
            "scaling",
            "top-label ECE (%)",
            "ECE of the rare class (%)",
            "accuracy (%)",
            "recall, rare class (%)",
        ]
    ]
    for name, make in scalers.items():
        runs = []
        for seed in range(num_seeds):
            labels, logits = draw(EXAMPLES, 2 * seed)
            probabilities = scipy.special.softmax(logits, axis=1)
            if make is not None:
                fitting = draw(EXAMPLES, 2 * seed + 1)
                scaler = make().fit(fitting[1], fitting[0])
                probabilities = scaler.apply(logits)
            runs.append(measure(labels, probabilities))
        lines.append([name, *spread.cells(runs, scale=100)])
    return lines
