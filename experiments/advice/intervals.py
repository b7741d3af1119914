"""How often an interval of ECE holds the true value."""

import numpy as np

from tf_mixup import calibration

EXAMPLES = 2000
RESAMPLES = 200
BINS = 15


def draw(
    error: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns confidences and correctness with a known ECE, each `(N,)`.

    Confidence is accuracy plus the error, so that ECE is it in any bins.
    """
    accuracy = rng.uniform(0.5, 0.9, EXAMPLES)
    correct = rng.random(EXAMPLES) < accuracy
    return accuracy + error, correct.astype(float)


def quantile_interval(
    confidence: np.ndarray, correct: np.ndarray, rng: np.random.Generator
) -> tuple[float, float]:
    """Returns the 2.5 and 97.5 % quantiles of ECE over redrawn examples."""
    member = np.digitize(confidence, np.linspace(0, 1, BINS + 1)[1:-1], True)
    gaps = np.eye(BINS)[member] * (confidence - correct)[:, None]
    count = len(confidence)
    weights = rng.multinomial(count, np.full(count, 1 / count), RESAMPLES)
    redrawn = np.abs(weights @ gaps).sum(axis=1) / count
    low, high = np.quantile(redrawn, [0.025, 0.975])
    return float(low), float(high)


def intervals(num_sets: int = 200) -> list[list[str]]:
    """The quantiles of a bootstrap are no interval of ECE.

    ECE is biased upwards, more so on redrawn examples. How many of 200 sets
    of 2,000 examples have the true ECE within the 95 % interval, with 15 bins
    and 200 bootstrap samples.
    """
    lines = [
        [
            "true ECE (%)",
            "mean ECE (%)",
            "quantiles hold it (%)",
            "`bootstrap_interval` holds it (%)",
        ]
    ]
    for error in (0.01, 0.02, 0.03, 0.05):
        rng = np.random.default_rng(0)
        found, held = [], []
        for seed in range(num_sets):
            columns = draw(error, rng)
            interval = calibration.bootstrap_interval(
                *columns, num_resamples=RESAMPLES, seed=seed
            )
            ends = quantile_interval(*columns, rng)
            found.append(interval.estimate)
            held.append(
                [
                    low <= error <= high
                    for low, high in (ends, (interval.low, interval.high))
                ]
            )
        lines.append(
            [
                f"{100 * error:g}",
                f"{100 * np.mean(found):.2f}",
                *(f"{100 * share:.1f}" for share in np.mean(held, axis=0)),
            ]
        )
    return lines
