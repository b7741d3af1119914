"""Long runs: memory, files and traces stay what they were."""

import ctypes
import gc
import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_mixup
from tests import backends
from tf_mixup import callbacks
from tf_mixup import metrics

EPOCHS = 200
# Epochs in which caches fill and pools of memory find their size.
WARMUP = 50
MIB = 2**20

pytestmark = [
    pytest.mark.slow,
    backends.needs_tensorflow,
    pytest.mark.skipif(
        not pathlib.Path("/proc/self/statm").exists(),
        reason="reads memory and files from /proc, which Linux has",
    ),
]


class Count(keras.layers.Layer):
    """Counts how often Python goes through it: once for each trace."""

    traces = 0

    def call(self, inputs):
        self.traces += 1
        return inputs


class Watch(keras.callbacks.Callback):
    """Notes at the end of each epoch what the process holds."""

    def __init__(self, logs, count):
        super().__init__()
        self._logs, self._count = logs, count
        self.memory, self.files, self.size, self.traces = [], [], [], []

    def on_epoch_end(self, epoch, logs=None):
        gc.collect()
        # What is free but not given back yet is no leak.
        ctypes.CDLL(None).malloc_trim(0)
        pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
        self.memory.append(int(pages) * os.sysconf("SC_PAGESIZE") / MIB)
        self.files.append(len(os.listdir("/proc/self/fd")))
        self.size.append(
            sum(each.stat().st_size for each in self._logs.rglob("*v2"))
        )
        self.traces.append(self._count.traces)


def test_two_hundred_epochs_with_all_monitors(tmp_path):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (96, 8, 8, 1), np.uint8)
    labels = generator.integers(0, 3, 96)
    rows = tf.data.Dataset.from_tensor_slices((images, labels))
    mixup = tf_mixup.MixUp(0.4, num_classes=3, seed=0)
    count = Count()
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 255),
            count,
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    model.compile(
        "sgd",
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", metrics.CalibrationMetrics(from_logits=True)],
    )
    watch = Watch(tmp_path, count)
    model.fit(
        rows.shuffle(96).batch(16, drop_remainder=True).apply(mixup),
        validation_data=rows.batch(32).apply(mixup.evaluation),
        epochs=EPOCHS,
        verbose=0,
        callbacks=[
            callbacks.MixingSchedule(mixup),
            callbacks.CalibrationMonitor(log_dir=tmp_path, figure_freq=10),
            callbacks.OODMonitor(
                {"negatives": 255 - images},
                reference=images,
                from_logits=True,
                log_dir=tmp_path,
            ),
            callbacks.MixedBatchSummary(
                mixup, (images[:8], labels[:8]), tmp_path, freq=10
            ),
            keras.callbacks.TensorBoard(tmp_path),
            watch,
        ],
    )
    memory = np.array(watch.memory)
    # A trace of the stage that is made anew and never freed takes 2 MiB; that
    # of every tenth epoch would be 26.
    assert memory[-20:].mean() - memory[WARMUP : WARMUP + 20].mean() < 12
    assert set(watch.files[WARMUP:]) == {watch.files[WARMUP]}
    assert set(watch.traces) == {watch.traces[0]}
    # Ten epochs of scalars, and one of figures.
    grown = np.diff(watch.size[9::10])
    assert grown.max() < 0.5 * MIB
    assert grown[-5:].mean() < 1.2 * grown[:5].mean()
