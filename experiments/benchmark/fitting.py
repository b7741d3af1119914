"""Times `fit` of ImageNet's network, by how it is fed, mixed and watched.

The batch is in memory, so what reads photographs is not timed here: the
table of throughput holds it against the step.
"""

import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import tf_mixup
from experiments import networks
from experiments.benchmark import imagenet
from experiments.benchmark import mixing
from experiments.benchmark import throughput
from experiments.benchmark import timing
from experiments.datasets import streams
from tf_mixup import callbacks
from tf_mixup import layers
from tf_mixup import metrics

PLAIN, FLOATS = "no mixup, fed uint8", "no mixup, fed float32"
HOST, MODEL = "mixup on the host", "mixup in the model"
METRIC = f"{MODEL}, calibration metric"
KERAS = "keras.applications.ResNet50, no mixup, fed uint8"
UNWATCHED = f"{MODEL}, accuracy only"
WATCHED = f"{MODEL}, calibration metric and monitor"
RATIOS = (
    (FLOATS, PLAIN),
    (HOST, PLAIN),
    (MODEL, PLAIN),
    (HOST, MODEL),
    (METRIC, MODEL),
    (METRIC, KERAS),
)
# Target: with mixup and calibration as fast as plain Keras without.
TARGETS = {KERAS: 1.0}
# Steps before the clock starts.
FIRST = 2

# From the shape of a row and K to a network.
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


def measure(
    size: mixing.Size,
    repeats: int,
    *,
    pipeline: np.ndarray,
    peak_tflops: float | None = None,
    network: Build = networks.build_resnet50,
    rival: Build | None = None,
) -> list[timing.Table]:
    """Times the steps of all cases, and an epoch with and without monitors.

    Args:
        size: The batch, and how many steps are timed in each round.
        repeats: Rounds.
        pipeline: Processor milliseconds in which the pipeline of photographs
            makes an image, one number a round.
        peak_tflops: What the GPU can do at most in this precision, in 1e12
            FLOPs a second; None where it is not known.
        network: Builds the network.
        rival: Builds the plain one to compare it with. Defaults to none,
            which is not measured.

    Returns:
        tables: Times and ratios of steps and of epochs; bytes; throughput.
    """
    cases = build_cases(size, network(size.shape[1:], size.num_classes), rival)
    measured = timing.run_in_turns(
        {name: _fitting(case, size) for name, case in cases.items()},
        repeats=repeats,
    )
    shape = "x".join(map(str, size.shape))
    precision = keras.config.dtype_policy().name
    title = f"ResNet-50, {shape}, {precision}, {timing.describe_device()}"
    step = float(np.median(measured[METRIC]))
    counted = {
        name: throughput.count_flops(cases[name].model)
        for name in (PLAIN, KERAS)
        if name in cases
    }
    return [
        timing.Section(
            title=f"Step of fit, {title}, ms a step",
            milliseconds={**measured, KERAS: measured.get(KERAS)},
            ratios=tuple(_compare(measured, *pair) for pair in RATIOS),
        ),
        _measure_epochs(size, repeats, cases, title),
        timing.Facts(
            title=f"Bytes that a step is fed, {title}",
            values={
                name: throughput.count_bytes(case.batches)
                for name, case in cases.items()
            },
        ),
        timing.Facts(
            title=f"Throughput, {METRIC}, {title}",
            values={
                **throughput.compare_rates(
                    size.shape[0], step, float(np.median(pipeline))
                ),
                "model FLOP utilisation": throughput.utilisation(
                    size.shape[0] * counted[PLAIN], step, peak_tflops
                ),
                **{
                    f"GFLOPs of an image forward, {name}": each / 1e9
                    for name, each in counted.items()
                },
            },
        ),
    ]


def build_cases(
    size: mixing.Size, network: keras.Model, rival: Build | None = None
) -> dict[str, Training]:
    """Returns the cases, which share the weights of `network`.

    Args:
        size: The batch.
        network: From pixels to logits.
        rival: Builds what is trained beside it, if anything.
    """
    images, labels = mixing.draw_batch(size)
    on_host = _mixup(size, "host")
    in_model = _mixup(size, "model")

    def one_hot(batches: tf.data.Dataset) -> tf.data.Dataset:
        return batches.map(lambda x, y: (x, tf.one_hot(y, size.num_classes)))

    def feed(rows: np.ndarray, stage: Callable) -> tf.data.Dataset:
        with tf.device("/cpu:0"):
            batch = tf.constant(rows), tf.constant(labels)
        count = FIRST + size.batches
        batches = tf.data.Dataset.from_tensors(batch).repeat(count)
        return batches.apply(stage).prefetch(tf.data.AUTOTUNE)

    def copy() -> keras.Model:
        return keras.Model(network.inputs, network.outputs)

    twin = layers.training_twin
    bytes_fed = feed(images, one_hot)
    for_model = feed(images, in_model)
    # Both are sent float32 images: one compiled step does.
    floats = _compile(copy())
    cases = {
        PLAIN: Training(_compile(copy()), bytes_fed),
        FLOATS: Training(floats, feed(images.astype(np.float32), one_hot)),
        HOST: Training(floats, feed(images, on_host)),
        MODEL: Training(_compile(twin(network)), for_model),
        METRIC: Training(_compile(twin(network), watched=True), for_model),
    }
    if rival is not None:
        other = rival(size.shape[1:], size.num_classes)
        cases[KERAS] = Training(_compile(other), bytes_fed)
    return cases


def _mixup(size: mixing.Size, placement: str) -> tf_mixup.MixUp:
    return tf_mixup.MixUp(
        mixing.ALPHA,
        num_classes=size.num_classes,
        seed=0,
        placement=placement,
    )


def _compile(model: keras.Model, *, watched: bool = False) -> keras.Model:
    extra = [metrics.CalibrationBins(from_logits=True)] if watched else []
    model.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", *extra],
    )
    return model


class _Stopwatch(keras.callbacks.Callback):
    """Times an epoch after its first steps, to its end."""

    seconds = 0.0

    # After a step Keras would wait for its numbers, to hand them over.
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == FIRST:
            tf.test.experimental.sync_devices()
            self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        tf.test.experimental.sync_devices()
        self.seconds = time.perf_counter() - self._started


def _fitting(
    training: Training,
    size: mixing.Size,
    validation: tf.data.Dataset | None = None,
    monitors: tuple[keras.callbacks.Callback, ...] = (),
) -> timing.Case:
    """Returns a case of `fit`: seconds a step, or with validation an epoch."""
    units = size.batches if validation is None else 1

    def case() -> float:
        # Last, so that it stops after the monitors.
        stopwatch = _Stopwatch()
        training.model.fit(
            training.batches,
            validation_data=validation,
            shuffle=False,
            verbose=0,
            callbacks=[*monitors, stopwatch],
        )
        return stopwatch.seconds / units

    return case


def _measure_epochs(
    size: mixing.Size, repeats: int, cases: Mapping[str, Training], title: str
) -> timing.Section:
    """Times what the monitor adds to an epoch that validates."""
    with tf.device("/cpu:0"):
        batch = tuple(tf.constant(part) for part in mixing.draw_batch(size))
    validation = tf.data.Dataset.from_tensors(batch).apply(
        _mixup(size, "model").evaluation
    )
    monitors = (callbacks.CalibrationMonitor(),)
    measured = timing.run_in_turns(
        {
            UNWATCHED: _fitting(cases[MODEL], size, validation),
            WATCHED: _fitting(cases[METRIC], size, validation, monitors),
        },
        repeats=repeats,
    )
    return timing.Section(
        title=f"Epoch of {size.batches} steps and 1 validation batch,"
        f" {title}, ms an epoch",
        milliseconds=measured,
        ratios=(_compare(measured, WATCHED, UNWATCHED),),
    )


def _compare(
    measured: Mapping[str, np.ndarray], name: str, other: str
) -> timing.Ratio:
    known = name in measured and other in measured
    return timing.Ratio(
        name=f"{name} / {other}",
        rounds=measured[name] / measured[other] if known else None,
        at_most=TARGETS.get(other),
    )
