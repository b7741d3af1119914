"""Reads the memory that measures of many stored scores take."""

import tracemalloc
from collections.abc import Callable

import numpy as np

from experiments.benchmark import timing
from tf_mixup import ood
from tf_mixup.calibration import resampling

NUM_SCORES = 10_000_000
MIB = 2**20


def measure() -> list[timing.Facts]:
    """Reads each measure's peak above its arguments."""
    return [
        timing.Facts(
            title=f"Memory above the arguments, {NUM_SCORES:,} scores",
            values={
                f"{name}, MiB at most": read_peak(name, NUM_SCORES)
                for name in MEASURES
            },
        )
    ]


def read_peak(name: str, count: int) -> float:
    """Returns what arrays of a measure take at most, in MiB.

    Args:
        name: One of `MEASURES`.
        count: Scores to measure.
    """
    generator = np.random.default_rng(0)
    scores = generator.random(count, np.float32)
    correct = generator.random(count, np.float32) < scores
    tracemalloc.start()
    try:
        MEASURES[name](scores, correct)
        return tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()


def _bootstrap(scores: np.ndarray, correct: np.ndarray) -> None:
    resampling.bootstrap_interval(scores, correct, num_resamples=2, seed=0)


def _null(scores: np.ndarray, _: np.ndarray) -> None:
    resampling.null_calibration_error(scores, num_resamples=2, seed=0)


def _auroc(scores: np.ndarray, _: np.ndarray) -> None:
    half = len(scores) // 2
    ood.auroc(scores[:half], scores[half:])


MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], None]] = {
    "bootstrap interval of ECE": _bootstrap,
    "null range of ECE": _null,
    "AUROC": _auroc,
}
