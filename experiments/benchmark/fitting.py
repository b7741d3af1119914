"""What `fit` of ImageNet's network is timed on: fed, mixed, watched in turn.

The batch is in memory: reading photographs is no part of these times.
"""

import time
from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import tf_mixup
from experiments.benchmark import imagenet
from experiments.benchmark import mixing
from experiments.benchmark import timing
from experiments.datasets import streams
from tf_mixup import metrics

PLAIN, FLOATS = "no mixup, fed uint8", "no mixup, fed float32"
HOST, MODEL = "mixup on the host", "mixup in the model"
METRIC = f"{MODEL}, calibration metric"
KERAS = "keras.applications.ResNet50, no mixup, fed uint8"
# Steps before the clock starts.
FIRST = 2

# From the shape of an example and K to a network.
Build = Callable[[tuple[int, ...], int], keras.Model]


class Training(NamedTuple):
    """A compiled model and what `fit` feeds it."""

    model: keras.Model
    batches: tf.data.Dataset


def choose_size(
    side: int | None = None, batch_size: int | None = None
) -> mixing.Size:
    """Returns the batch of the papers on a GPU, else one that a CPU can do.

    Args:
        side: Of the square images. Defaults to 224, without a GPU 64.
        batch_size: B. Defaults to 256, without a GPU 8.
    """
    on_gpu = bool(timing.gpu_names())
    side = side or (streams.SIDE if on_gpu else 64)
    return mixing.Size(
        name="ImageNet",
        shape=(batch_size or (256 if on_gpu else 8), side, side, 3),
        num_classes=imagenet.NUM_CLASSES,
        batches=30 if on_gpu else 2,
        calls=1,
    )


def build_keras(shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Returns Keras' ResNet-50, which scales its pixels itself.

    Its blocks stride in another convolution than ours, which saves it 6 % of
    the FLOPs.
    """
    inputs = keras.Input(shape)
    return keras.applications.ResNet50(
        weights=None,
        input_tensor=keras.layers.Rescaling(1 / 127.5, -1.0)(inputs),
        classes=num_classes,
        classifier_activation=None,
    )


def build_cases(
    size: mixing.Size, network: keras.Model, rival: Build | None = None
) -> dict[str, Training]:
    """Returns the cases, which share the weights of `network`.

    `rival` builds what is trained beside it, if anything.
    """
    images, labels = mixing.draw_batch(size)
    on_host, in_model = _mixup(size), _mixup(size).send_plans()

    def one_hot(batches: tf.data.Dataset) -> tf.data.Dataset:
        return batches.map(lambda x, y: (x, tf.one_hot(y, size.num_classes)))

    def feed(inputs: np.ndarray, stage: Callable) -> tf.data.Dataset:
        # One more than is timed: an epoch's end takes time of its own.
        batches = _in_memory(inputs, labels).repeat(FIRST + size.batches + 1)
        return batches.apply(stage).prefetch(tf.data.AUTOTUNE)

    def copy() -> keras.Model:
        return keras.Model(network.inputs, network.outputs)

    mixing_copy = in_model.training_model
    bytes_fed = feed(images, one_hot)
    for_model = feed(images, in_model)
    # Both are sent float32 images: one compiled step does.
    floats = _compile(copy())
    cases = {
        PLAIN: Training(_compile(copy()), bytes_fed),
        FLOATS: Training(floats, feed(images.astype(np.float32), one_hot)),
        HOST: Training(floats, feed(images, on_host)),
        MODEL: Training(_compile(mixing_copy(network)), for_model),
        METRIC: Training(
            _compile(mixing_copy(network), watched=True), for_model
        ),
    }
    if rival is not None:
        other = rival(size.shape[1:], size.num_classes)
        cases[KERAS] = Training(_compile(other), bytes_fed)
    return cases


def build_validation(size: mixing.Size) -> tf.data.Dataset:
    """Returns one unmixed batch, as a model that mixes takes it."""
    batch = _in_memory(*mixing.draw_batch(size))
    return batch.apply(_mixup(size).send_plans().evaluation)


def _in_memory(images: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
    with tf.device("/cpu:0"):
        batch = tf.constant(images), tf.constant(labels)
    return tf.data.Dataset.from_tensors(batch)


def _mixup(size: mixing.Size) -> tf_mixup.MixUp:
    return tf_mixup.MixUp(mixing.ALPHA, num_classes=size.num_classes, seed=0)


def _compile(model: keras.Model, *, watched: bool = False) -> keras.Model:
    extra = [metrics.CalibrationMetrics(from_logits=True)] if watched else []
    model.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", *extra],
    )
    return model


class Stopwatch(keras.callbacks.Callback):
    """Notes when the device is done with steps, and with an epoch.

    Attributes:
        times: Seconds before and after the steps of `size`, which follow some
            first ones, and after the epoch.
    """

    def __init__(self, size: mixing.Size) -> None:
        super().__init__()
        self.times: list[float] = []
        self._steps = FIRST, FIRST + size.batches

    # After a step Keras would wait for its numbers, to hand them over.
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Notes the time before the first step and after the last."""
        if batch in self._steps:
            self._note()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Notes the time when all is done, validation too."""
        self._note()

    def _note(self) -> None:
        tf.test.experimental.sync_devices()
        self.times.append(time.perf_counter())


def step_case(training: Training, size: mixing.Size) -> timing.Case:
    """Returns `fit`, of which a step after the first ones is timed."""

    def case() -> float:
        started, ended, _ = _fit(training, size)
        return (ended - started) / size.batches

    return case


def epoch_case(
    training: Training,
    size: mixing.Size,
    *monitors: keras.callbacks.Callback,
) -> timing.Case:
    """Returns `fit` with validation, timed from a step to an epoch's end.

    `training` is a model that mixes. The clock starts after the first steps of
    `size`, and the time of the monitors counts.
    """
    validation = build_validation(size)

    def case() -> float:
        started, _, ended = _fit(
            training, size, *monitors, validation_data=validation
        )
        return ended - started

    return case


def _fit(
    training: Training,
    size: mixing.Size,
    *monitors: keras.callbacks.Callback,
    **options: Any,
) -> list[float]:
    """Fits one epoch and returns the stopwatch's three times."""
    stopwatch = Stopwatch(size)
    training.model.fit(
        training.batches,
        shuffle=False,
        verbose=0,
        # Last, so that monitors are done before it.
        callbacks=[*monitors, stopwatch],
        **options,
    )
    return stopwatch.times
