"""What averaging does to members that are calibrated."""

import numpy as np
import scipy.special

from experiments.advice import spread
from tf_mixup import calibration
from tf_mixup import posthoc

CLASSES = 10
MEMBERS = 5
EXAMPLES = 20_000
# Distance of the class means from 0, in deviations of a member's input.
DISTANCES = (1.0, 1.5, 2.0)


def draw(distance: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels, and each member's probabilities `(M, N, K)`.

    A member sees the one-hot label times `distance` with normal noise of its
    own, and says the true posterior of what it sees.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, EXAMPLES)
    seen = distance * np.eye(CLASSES)[labels]
    seen = seen + rng.normal(size=(MEMBERS, EXAMPLES, CLASSES))
    return labels, scipy.special.softmax(distance * seen, axis=-1)


def averaging(num_seeds: int = 5) -> list[list[str]]:
    """Averages of calibrated members are underconfident.

    Five members with independent errors, each calibrated exactly; 10 classes,
    20,000 examples, 5 draws. The more the members differ, the more accurate
    their average is, and the further above its confidence.
    """
    lines = [
        [
            "accuracy of a member (%)",
            "ECE of a member (%)",
            "accuracy of the average (%)",
            "ECE of the average (%)",
            "signed gap (%)",
            "T",
        ]
    ]
    for distance in DISTANCES:
        runs = []
        for seed in range(num_seeds):
            labels, members = draw(distance, seed)
            average = members.mean(axis=0)
            bins = calibration.bin_predictions(labels, average)
            own = calibration.bin_predictions(labels, members[0])
            scaler = posthoc.TemperatureScaling().fit(np.log(average), labels)
            runs.append(
                [
                    calibration.accuracy(own),
                    calibration.expected_calibration_error(own),
                    calibration.accuracy(bins),
                    calibration.expected_calibration_error(bins),
                    calibration.signed_gap(bins),
                    scaler.temperature,
                ]
            )
        scale = [100, 100, 100, 100, 100, 1]
        lines.append(spread.cells(runs, scale=scale))
    return lines
