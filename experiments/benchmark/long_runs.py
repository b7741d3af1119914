"""Reads what long runs cost: a thousand epochs, and millions of examples."""

import ctypes
import gc
import pathlib
import tempfile
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from experiments.benchmark import memory
from experiments.benchmark import small
from experiments.benchmark import timing
from tf_mixup import callbacks
from tf_mixup import metrics

EPOCHS = 1000
# Epochs after which memory and files are compared with those of the last.
WARMUP = 50
# As many epochs at either end are timed.
TIMED = 10
# Figures in the whole run; TensorBoard shows ten of a kind.
NUM_FIGURES = 20
NUM_EXAMPLES = 2_000_000
NUM_CLASSES = 10
BATCH_SIZE = 10_000


def measure() -> list[timing.Facts]:
    """Reads both."""
    return [measure_epochs(), measure_examples()]


def measure_epochs(epochs: int = EPOCHS) -> timing.Facts:
    """Trains with all monitors, and compares the last epochs with early ones.

    Args:
        epochs: At least `WARMUP` and twice `TIMED`.
    """
    with tempfile.TemporaryDirectory() as folder:
        logs = pathlib.Path(folder)
        watch = _Watch(logs)
        model, train, validation, watched = small.build_watched(
            logs, figure_freq=max(epochs // NUM_FIGURES, 1)
        )
        model.fit(
            train,
            validation_data=validation,
            epochs=epochs,
            callbacks=[*watched, watch],
            verbose=0,
        )
    seconds = np.diff(watch.moments)
    early = seconds[WARMUP - TIMED : WARMUP]
    grown = (watch.memory[-1] - watch.memory[WARMUP - 1]) / memory.MIB
    return timing.Facts(
        title=f"{epochs:,} epochs of `fit` with both monitors and"
        f" {NUM_FIGURES} times figures",
        values={
            f"last {TIMED} epochs / those before epoch {WARMUP}": float(
                np.median(seconds[-TIMED:]) / np.median(early)
            ),
            f"memory after epoch {WARMUP}, MiB more at the end": grown,
            "event files at the end, MiB": watch.size[-1] / memory.MIB,
            "event files, KiB an epoch": (
                (watch.size[-1] - watch.size[WARMUP - 1])
                / (epochs - WARMUP)
                / 2**10
            ),
        },
    )


def measure_examples(count: int = NUM_EXAMPLES) -> timing.Facts:
    """Measures a validation set of many examples, which a generator draws.

    Args:
        count: Examples, a multiple of `BATCH_SIZE`.
    """
    model = keras.Sequential(
        [keras.Input((NUM_CLASSES,)), keras.layers.Softmax()]
    )
    model.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(),
        metrics=[metrics.CalibrationMetrics(from_logits=False)],
    )
    batches = (
        tf.data.Dataset.range(count // BATCH_SIZE)
        .map(_draw)
        .apply(tf.data.experimental.assert_cardinality(count // BATCH_SIZE))
    )
    monitor = callbacks.CalibrationMonitor(batches, name="many")
    few = tf.data.Dataset.range(1).map(_draw)
    model.fit(few, callbacks=[monitor], verbose=0)
    before = memory.resident_memory()
    started = time.perf_counter()
    history = model.fit(few, callbacks=[monitor], verbose=0).history
    seconds = time.perf_counter() - started
    return timing.Facts(
        title=f"CalibrationMonitor over {count:,} examples",
        values={
            "seconds an epoch": seconds,
            "memory, MiB more": (memory.resident_memory() - before)
            / memory.MIB,
            "ECE of calibrated examples, %": 100 * history["many_ece"][0],
        },
    )


def _draw(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws logits and labels of their distribution."""
    seed = tf.stack([number, 0])
    logits = tf.random.stateless_normal((BATCH_SIZE, NUM_CLASSES), seed)
    labels = tf.random.stateless_categorical(logits, 1, seed + 1)
    return logits, labels[:, 0]


class _Watch(keras.callbacks.Callback):
    """Notes the time, the memory and the files at the end of each epoch."""

    def __init__(self, logs: pathlib.Path) -> None:
        super().__init__()
        self._logs = logs
        self.moments: list[float] = []
        self.memory: list[int] = []
        self.size: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.moments.append(time.perf_counter())
        if epoch % TIMED == TIMED - 1:
            gc.collect()
            # What is free but not given back yet is no leak.
            ctypes.CDLL(None).malloc_trim(0)
        self.memory.append(memory.resident_memory())
        files = self._logs.rglob("events*")
        self.size.append(sum(each.stat().st_size for each in files))
