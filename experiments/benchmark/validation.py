"""Times what calibration costs: metrics, validation passes and monitors."""

import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from experiments import networks
from experiments.benchmark import timing
from tf_mixup import callbacks
from tf_mixup import metrics

IMAGE_SHAPE = (32, 32, 3)
NUM_CLASSES = 10
BATCH_SIZE = 500
PREDICTIONS = ((128, 10), (256, 1000))
# Target: calibration's share of the validation pass.
MAX_SHARE = 0.05
UPDATES = 50
UPDATES_ALONE = "its updates alone"
OURS, KERAS = "CalibrationMetrics", "CategoricalAccuracy"


def measure_metrics(repeats: int) -> list[timing.Section]:
    """Times updates of `CalibrationMetrics` beside Keras' accuracy."""
    sections = []
    for size, num_classes in PREDICTIONS:
        labels, logits = draw_predictions(size, num_classes)
        milliseconds = timing.run_in_turns(
            {
                name: timing.calling(update, labels, logits, calls=UPDATES)
                for name, update in metric_updates().items()
            },
            repeats=repeats,
        )
        sections.append(
            timing.Section(
                title=f"Metric on ({size}, {num_classes}), ms an update",
                milliseconds=milliseconds,
                ratios=(timing.compare(milliseconds, OURS, KERAS),),
            )
        )
    return sections


def draw_predictions(
    count: int, num_classes: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns one-hot labels and logits, both `(B, K)`."""
    generator = np.random.default_rng(0)
    classes = generator.integers(0, num_classes, count)
    logits = generator.normal(size=(count, num_classes)).astype(np.float32)
    return tf.one_hot(classes, num_classes), tf.constant(logits)


def metric_updates() -> dict[str, Callable[..., Any]]:
    """Returns each metric's compiled update, as `evaluate` makes it."""
    return {
        KERAS: _compile_update(keras.metrics.CategoricalAccuracy()),
        OURS: _compile_update(metrics.CalibrationMetrics(from_logits=True)),
    }


def _compile_update(metric: keras.metrics.Metric) -> Callable[..., Any]:
    @tf.function
    def update(labels: tf.Tensor, predictions: tf.Tensor) -> tf.Tensor:
        metric.update_state(labels, predictions)
        # Keras' steps return it for the progress bar.
        return metric.result()

    return update


def build_network(width: int) -> keras.Model:
    """Returns a ResNet-18 for CIFAR; 64 is its width in the papers."""
    return networks.build_resnet18(
        IMAGE_SHAPE, NUM_CLASSES, width=width, seed=0
    )


def draw_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns uint8 images `(count, 32, 32, 3)` and one-hot labels."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, *IMAGE_SHAPE), np.uint8)
    classes = generator.integers(0, NUM_CLASSES, count)
    return images, np.eye(NUM_CLASSES, dtype=np.float32)[classes]


def compile_for_validation(
    network: keras.Model, *, calibration: bool
) -> keras.Model:
    """Returns a model of the network's weights, with or without our metric."""
    model = keras.Model(network.inputs, network.outputs)
    extra = (
        [metrics.CalibrationMetrics(from_logits=True)] if calibration else []
    )
    model.compile(
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", *extra],
    )
    return model


def measure_pass(
    repeats: int, *, num_examples: int, width: int = 64
) -> list[timing.Section]:
    """Times a validation pass with and without `CalibrationMetrics`.

    The difference of two long passes is lost in their noise, so the metric's
    own work for as many examples is timed beside them. `width` is that of the
    network's first stage.
    """
    network = build_network(width)
    data = _batches(*draw_images(num_examples))
    size = min(num_examples, BATCH_SIZE)
    update, predictions = metric_updates()[OURS], draw_predictions(size, 10)
    without, whole, alone = f"without {OURS}", f"with {OURS}", UPDATES_ALONE
    cases = {
        name: _evaluating(compile_for_validation(network, calibration=on), data)
        for name, on in ((without, False), (whole, True))
    }
    cases[alone] = timing.calling(_repeat(update, len(data)), *predictions)
    milliseconds = timing.run_in_turns(cases, repeats=repeats)
    added = milliseconds[whole] - milliseconds[without]
    ratios = (
        timing.Ratio(
            name=f"{name} / pass with it",
            rounds=rounds / milliseconds[whole],
            at_most=MAX_SHARE,
        )
        for name, rounds in (
            ("added", added),
            ("updates alone", milliseconds[alone]),
        )
    )
    return [
        timing.Section(
            title=f"Validation pass, ResNet-18 of width {width},"
            f" {num_examples} examples 32x32x3, batches of {size}, ms a pass",
            milliseconds=milliseconds,
            ratios=tuple(ratios),
        )
    ]


def measure_monitors(
    repeats: int, *, num_examples: int, width: int = 64
) -> list[timing.Section]:
    """Times what monitors add to the end of a validation pass.

    The validation set and each set that OODMonitor looks at have
    `num_examples`; `width` is that of the network's first stage.
    """
    images, labels = draw_images(num_examples)
    data = _batches(images, labels)
    model = compile_for_validation(build_network(width), calibration=True)
    out = callbacks.OODMonitor(
        {},
        reference=images,
        noise=("gaussian",),
        max_examples=num_examples,
        from_logits=True,
        batch_size=BATCH_SIZE,
    )
    with tempfile.TemporaryDirectory() as logs:
        monitors = {
            "CalibrationMonitor, numbers": callbacks.CalibrationMonitor(),
            "CalibrationMonitor, with figures": callbacks.CalibrationMonitor(
                log_dir=pathlib.Path(logs)
            ),
            "OODMonitor, reference and one set": out,
        }
        cases = {"validation pass": _evaluating(model, data)}
        for name, monitor in monitors.items():
            monitor.set_model(model)
            monitor.set_params({})
            monitor.on_train_begin()
            cases[name] = timing.calling(_end_epoch, monitor)
        milliseconds = timing.run_in_turns(cases, repeats=repeats)
        for monitor in monitors.values():
            monitor.on_train_end()
    return [
        timing.Section(
            title=f"Monitors at the end of an epoch, ResNet-18 of width"
            f" {width}, {num_examples} examples a set, ms an epoch",
            milliseconds=milliseconds,
            ratios=tuple(
                timing.compare(milliseconds, name, "validation pass")
                for name in monitors
            ),
        )
    ]


def _end_epoch(monitor: keras.callbacks.Callback) -> None:
    """Does to a monitor what `fit` does once it has validated."""
    monitor.on_epoch_begin(0)
    monitor.measure_validated()
    monitor.on_epoch_end(0, {})


def _batches(images: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
    examples = tf.data.Dataset.from_tensor_slices((images, labels))
    return examples.batch(BATCH_SIZE).prefetch(1)


def _evaluating(model: keras.Model, data: tf.data.Dataset) -> timing.Case:
    return timing.calling(lambda: model.evaluate(data, verbose=0))


def _repeat(function: Callable[..., Any], count: int) -> Callable[..., None]:
    def repeated(*args: Any) -> None:
        for _ in range(count):
            function(*args)

    return repeated
