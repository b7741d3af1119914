"""What a network says between two training images: mixup's figure 2.

On the way from one training image to another a network may predict a class
that is neither's (a miss), and its loss may be steep. Both are measured at
`lam * a + (1 - lam) * b`, without mixing anything in training.
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
# Beyond one half the two images change places.
LAMS = tuple(round(0.05 * step, 2) for step in range(11))


def measure(
    runs: Mapping[config_lib.Config, pathlib.Path],
    sources: run_data.Sources,
    *,
    num_pairs: int = NUM_PAIRS,
) -> Iterator[tuple[config_lib.Config, dict[str, float]]]:
    """Yields what trained networks do between their own training rows.

    Args:
        runs: Config -> folder of a complete run, of images.
        sources: Where the data is.
        num_pairs: Pairs of training rows, drawn by the run's seed.

    Yields:
        config: Of a run.
        results: For each of `LAMS` `between_LAM_miss`, the share of pairs
            whose predicted class is neither's, and `between_LAM_slope`, the
            mean length of the loss's gradient in the standardised image.
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
    """Returns classes, and how steep the loss is.

    Args:
        model: From pixels to logits `(B, K)`.
        images: `(B, H, W, C)` in `[0, 255]`.
        targets: Mixed labels `(B, K)`.
        std: Deviation of the pixels, one a channel. The loss is `std` times
            as steep in a standardised pixel as in one of [0, 255].

    Returns:
        classes: Predicted, `(B,)`.
        slopes: `(B,)`, Euclidean length of the cross-entropy's gradient in
            the standardised image.
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
