"""Reads the memory that measures of many stored scores take."""

import multiprocessing
import pathlib
import resource
import tracemalloc
from collections.abc import Callable

import keras
import numpy as np

from experiments.benchmark import timing
from tf_mixup import calibration_report
from tf_mixup import ood
from tf_mixup.calibration import resampling

NUM_SCORES = 10_000_000
# Probabilities `(N, K)` that a report is made of.
REPORT_SHAPE = (500_000, 100)
# Resamples are drawn one by one, so that few show the peak.
_NUM_RESAMPLES = 2
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
        ),
        measure_report(),
    ]


def measure_report(shape: tuple[int, int] = REPORT_SHAPE) -> timing.Facts:
    """Reads a report's peak above its input, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        peak = pool.apply(read_report_peak, (shape,))
    return timing.Facts(
        title="Memory above the input, calibration report of"
        f" {shape[0]:,} x {shape[1]:,} probabilities",
        values={"all of the process, MiB at most": peak},
    )


def read_report_peak(shape: tuple[int, int]) -> float:
    """Returns what a report takes at most above its input, in MiB.

    Counts all memory of the process, so that it must be a new one.

    Args:
        shape: Of the probabilities, `(N, K)`.
    """
    generator = np.random.default_rng(0)
    probabilities = generator.standard_exponential(shape, np.float32)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = generator.integers(0, shape[1], len(probabilities))
    model = keras.Sequential(
        [keras.Input(shape[1:]), keras.layers.Activation("linear")]
    )

    def report(count: int) -> None:
        data = probabilities[:count], labels[:count]
        calibration_report(model, data, num_resamples=_NUM_RESAMPLES)

    # What every first report loads is not its data's.
    report(1_000)
    before = resident_memory()
    report(len(probabilities))
    # Linux counts it in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10
    return (peak - before) / MIB


def resident_memory(process: int | str = "self") -> int:
    """Returns the bytes of a process that are in memory, on Linux.

    Args:
        process: Its number.
    """
    path = pathlib.Path(f"/proc/{process}/statm")
    statistics = path.read_text(encoding="ascii")
    return int(statistics.split()[1]) * resource.getpagesize()


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
