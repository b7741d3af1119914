"""How many examples each scaler needs."""

import keras
import numpy as np
import scipy.special

from experiments.advice import spread
from tf_mixup import calibration
from tf_mixup import posthoc

CLASSES = 10
TEST_EXAMPLES = 20_000
SIZES = (20, 50, 200, 1000, 5000)
SCALERS = {
    "temperature": posthoc.TemperatureScaling,
    "vector": posthoc.VectorScaling,
    "isotonic": posthoc.IsotonicScaling,
}


def draw(
    num_examples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels and the logits `(N, 10)` of an overconfident model.

    Labels are drawn from a softmax; the model's logits are twice its, and have
    a bias of their own for each class.
    """
    true = rng.normal(scale=2.0, size=(num_examples, CLASSES))
    labels = (true + rng.gumbel(size=true.shape)).argmax(axis=1)
    bias = np.linspace(-0.5, 0.5, CLASSES)
    return labels, (2 * true + bias).astype("float32")


def scalers(num_seeds: int = 5) -> list[list[str]]:
    """A temperature needs few examples, the other scalers many.

    Drawn logits of 10 classes, twice as large as they should be and with a
    bias of each class; 20,000 test examples, 5 draws. ECE in percent, and NLL
    in nats.
    """
    lines = [
        ["examples", *(f"{x}: {y}" for x in SCALERS for y in ("ECE", "NLL"))]
    ]
    rows: dict[str, list[list[float]]] = {"none": []}
    rows |= {f"{size:,}": [] for size in SIZES}
    for seed in range(num_seeds):
        rng = np.random.default_rng(seed)
        test = draw(TEST_EXAMPLES, rng)
        own = _measure(test[0], scipy.special.softmax(test[1], axis=1))
        rows["none"].append(own * len(SCALERS))
        for size in SIZES:
            labels, logits = draw(size, rng)
            measured = []
            for make in SCALERS.values():
                scaler = make().fit(logits, labels)
                measured += _measure(test[0], scaler.apply(test[1]))
            rows[f"{size:,}"].append(measured)
    scale = [100, 1] * len(SCALERS)
    lines += [
        [name, *spread.cells(runs, scale=scale)] for name, runs in rows.items()
    ]
    return lines


def _measure(labels: np.ndarray, probabilities: np.ndarray) -> list[float]:
    clipped = np.clip(probabilities, keras.config.epsilon(), 1)
    return [
        calibration.expected_calibration_error(labels, probabilities),
        np.mean(calibration.negative_log_likelihood(labels, clipped)),
    ]
