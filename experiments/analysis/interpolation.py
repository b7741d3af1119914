"""Networks between two training images: mixup's figure 2.

Between two training images a network may predict the class of neither (a
miss), and its loss may be steep. Both are measured at
`lam * a + (1 - lam) * b`.
"""

import pathlib
from collections.abc import Iterator
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from experiments.analysis import posthoc
from experiments.datasets import Splits
from experiments.runs import config as config_lib
from experiments.runs import run_data

NUM_PAIRS = 1000
BATCH = 250
# Above one half the two images change places.
LAMS = tuple(round(0.05 * step, 2) for step in range(11))


def measure(
    runs: Mapping[config_lib.Config, pathlib.Path],
    sources: run_data.Sources,
    *,
    num_pairs: int = NUM_PAIRS,
) -> Iterator[tuple[config_lib.Config, dict[str, float]]]:
    """Yields results of networks between their own training images.

    Yields:
        config: Of a run.
        results: For each of `LAMS` `between_LAM_miss`, the share of pairs
            whose predicted class is neither's, and `between_LAM_slope`, the
            mean norm of the loss's gradient in the standardized image.
    """
    for config, folder in runs.items():
        splits = run_data.load_splits(config, sources)
        model = posthoc.load_model(folder)
        results = {}
        for lam in LAMS:
            misses, slopes = _walk(model, splits, lam, num_pairs, config.seed)
            results[f"between_{lam:.2f}_miss"] = float(misses.mean())
            results[f"between_{lam:.2f}_slope"] = float(slopes.mean())
        yield config, results


def _walk(
    model: keras.Model, splits: Splits, lam: float, num_pairs: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns misses and slopes of all pairs, each `(P,)`, at one `lam`."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(len(splits.train.labels), size=(2, num_pairs))
    misses, slopes = [], []
    for start in range(0, num_pairs, BATCH):
        first, second = (
            splits.train.take(each[start : start + BATCH]) for each in rows
        )
        images = lam * np.float32(first.inputs) + (1 - lam) * second.inputs
        targets = (
            lam * np.eye(splits.num_classes)[first.labels]
            + (1 - lam) * np.eye(splits.num_classes)[second.labels]
        )
        classes, slope = differentiate(model, images, targets, splits.std)
        missed = (classes != first.labels) & (classes != second.labels)
        misses.append(missed)
        slopes.append(slope)
    return np.concatenate(misses), np.concatenate(slopes)


def differentiate(
    model: keras.Model,
    images: np.ndarray,
    targets: np.ndarray,
    std: tuple[float, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Returns predicted classes and the norm of the loss's gradient, `(B,)`.

    For images `(B, H, W, C)` in [0, 255] and mixed labels `(B, K)`. The
    gradient is in the standardized image: `std` times that in [0, 255].
    """
    pixels = tf.constant(images, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        logits = model(pixels, training=False)
        loss = keras.losses.categorical_crossentropy(
            np.float32(targets), logits, from_logits=True
        )
    gradients = np.asarray(tape.gradient(loss, pixels)) * np.asarray(std)
    slopes = np.sqrt((gradients**2).sum(axis=(1, 2, 3)))
    return np.asarray(logits).argmax(axis=-1), slopes
