"""Times small epochs: how long a pass takes to start, and epochs of `fit`."""

import itertools
import pathlib
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_mixup
from experiments.benchmark import mixing
from experiments.benchmark import timing
from tf_mixup import calibration
from tf_mixup import callbacks
from tf_mixup import metrics
from tf_mixup import plots
from tf_mixup import summaries

SIZE = mixing.Size("digits", (50, 8, 8, 1), 10, batches=20, calls=1)
NUM_VALIDATION = 500
# Epochs of a `fit` that are timed, after one that is not.
EPOCHS = 3
PLAIN, MIXUP = "plain map", "tf_mixup"
# Of the three figures of `summaries.write_bins` together.
MAX_MILLISECONDS = 60
MAX_TUNING = 1.05
MAX_STARTS, MAX_EPOCHS = 2.0, {"": 1.1, "monitors": 1.3, "figures": 1.6}


def measure(repeats: int) -> list[timing.Section]:
    """Times passes over a small data set, `fit` on it, and its figures."""
    return [
        *_measure_passes(repeats),
        _measure_fit(repeats),
        _measure_tuning(repeats),
        _measure_figures(repeats),
    ]


def _measure_passes(repeats: int) -> list[timing.Section]:
    batches = _make_batches(SIZE.batches)
    on_host, in_model = _make_mixup(), _make_mixup().send_plans()
    datasets = {
        PLAIN: batches.map(_scale, tf.data.AUTOTUNE),
        "Keras": batches.map(
            mixing.keras_stage(SIZE.num_classes, 0.0, 255.0), tf.data.AUTOTUNE
        ),
        MIXUP: batches.apply(on_host),
        f"{MIXUP}, for a model that mixes": batches.apply(in_model),
        f"{MIXUP}, evaluation": batches.apply(on_host.evaluation),
    }
    shape = "x".join(map(str, SIZE.shape))
    sections = []
    for what, count in (("First batch of", 1), ("Whole", None)):
        measured = timing.run_in_turns(
            {
                name: timing.calling(_read, dataset, count)
                for name, dataset in datasets.items()
            },
            repeats=repeats,
        )
        ratios = (
            timing.compare(
                measured,
                name,
                PLAIN,
                at_most=MAX_STARTS if count and MIXUP in name else None,
            )
            for name in datasets
            if name != PLAIN
        )
        sections.append(
            timing.Section(
                title=f"{what} a pass of {SIZE.batches} batches {shape}, ms",
                milliseconds=measured,
                ratios=tuple(ratios),
            )
        )
    return sections


def _read(dataset: tf.data.Dataset, count: int | None) -> None:
    for _, _batch in zip(
        range(count or SIZE.batches + 1), dataset, strict=False
    ):
        pass


def _measure_fit(repeats: int) -> timing.Section:
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            name: _fit_case(name, pathlib.Path(folder))
            for name in (PLAIN, *(_name(each) for each in MAX_EPOCHS))
        }
        measured = timing.run_in_turns(cases, repeats=repeats)
    return timing.Section(
        title=f"An epoch of `fit`, {SIZE.batches} steps and a validation set"
        f" of {NUM_VALIDATION} examples, small convolutional network, ms",
        milliseconds=measured,
        ratios=tuple(
            timing.compare(measured, _name(each), PLAIN, at_most=target)
            for each, target in MAX_EPOCHS.items()
        ),
    )


def _measure_tuning(repeats: int) -> timing.Section:
    """Times epochs whose alpha is tuned beside those of a fixed one."""
    tuned, fixed = "tuned alpha", "fixed alpha"
    cases = {}
    for name, alpha in ((fixed, mixing.ALPHA), (tuned, "auto")):
        mixup = tf_mixup.MixUp(alpha, num_classes=SIZE.num_classes, seed=0)
        watch = (
            callbacks.AlphaTuner(mixup)
            if name == tuned
            else callbacks.CalibrationMonitor()
        )
        model = _build_network()
        _compile(model, [metrics.CalibrationMetrics(from_logits=True)])
        cases[name] = _timing_epochs(
            model,
            _make_batches(SIZE.batches).apply(mixup),
            _make_batches(10).apply(mixup.evaluation),
            [callbacks.MixingSchedule(mixup), watch],
        )
    measured = timing.run_in_turns(cases, repeats=repeats)
    return timing.Section(
        title="An epoch of `fit` as above, with a tuned and a fixed alpha, ms",
        milliseconds=measured,
        ratios=(timing.compare(measured, tuned, fixed, at_most=MAX_TUNING),),
    )


def _name(watched: str) -> str:
    return f"{MIXUP}, {watched}" if watched else MIXUP


def _fit_case(name: str, folder: pathlib.Path) -> timing.Case:
    """Returns a case that trains one model for some epochs more."""
    watched: list[keras.callbacks.Callback] = []
    measures: list[Any] = ["accuracy"]
    if name in (PLAIN, MIXUP):
        mixup = _make_mixup()
        train, validation = _make_batches(SIZE.batches), _make_batches(10)
        if name == PLAIN:
            train, validation = train.map(_scale), validation.map(_scale)
        else:
            train = train.apply(mixup)
            validation = validation.apply(mixup.evaluation)
            watched = [callbacks.MixingSchedule(mixup)]
        model = _build_network()
        _compile(model, measures)
    else:
        model, train, validation, watched = build_watched(
            folder if "figures" in name else None
        )
    return _timing_epochs(model, train, validation, watched)


def _timing_epochs(
    model: keras.Model,
    train: tf.data.Dataset,
    validation: tf.data.Dataset,
    watched: list[keras.callbacks.Callback],
) -> timing.Case:
    """Returns a case that trains a model for some epochs more."""

    def case() -> float:
        clock = _Clock()
        model.fit(
            train,
            validation_data=validation,
            epochs=EPOCHS + 1,
            callbacks=[*watched, clock],
            verbose=0,
        )
        return clock.seconds / EPOCHS

    return case


def build_watched(
    log_dir: pathlib.Path | None, *, figure_freq: int = 1
) -> tuple[
    keras.Model,
    tf.data.Dataset,
    tf.data.Dataset,
    list[keras.callbacks.Callback],
]:
    """Returns a compiled model, its data, and all monitors.

    Args:
        log_dir: For TensorBoard; None draws nothing.
        figure_freq: As for `CalibrationMonitor`.
    """
    mixup = _make_mixup()
    train = _make_batches(SIZE.batches).apply(mixup)
    validation = _make_batches(10).apply(mixup.evaluation)
    model = _build_network()
    _compile(model, ["accuracy", metrics.CalibrationMetrics(from_logits=True)])
    watched = [
        callbacks.MixingSchedule(mixup),
        callbacks.CalibrationMonitor(log_dir=log_dir, figure_freq=figure_freq),
        callbacks.OODMonitor(
            {},
            reference=validation,
            noise=("gaussian",),
            from_logits=True,
            log_dir=log_dir,
        ),
    ]
    return model, train, validation, watched


def _compile(model: keras.Model, measures: list[Any]) -> None:
    model.compile(
        "adam",
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=measures,
    )


def _measure_figures(repeats: int) -> timing.Section:
    tables = itertools.cycle([_make_bins(seed) for seed in range(EPOCHS)])
    with tempfile.TemporaryDirectory() as folder:
        writer = tf.summary.create_file_writer(folder)
        measured = timing.run_in_turns(
            {
                name: timing.calling(write, writer, tables, calls=EPOCHS)
                for name, write in (("kept", _write), ("new", _write_new))
            },
            repeats=repeats,
        )
        writer.close()
    return timing.Section(
        title="Reliability diagram, histogram and density together, as kept"
        " figures filled again and as new ones, ms",
        milliseconds=measured,
        ratios=(
            timing.compare(measured, "kept", "new"),
            timing.Ratio(
                name="kept / 1 ms",
                rounds=measured["kept"],
                at_most=MAX_MILLISECONDS,
            ),
        ),
    )


def _make_bins(seed: int) -> calibration.Bins:
    generator = np.random.default_rng(seed)
    confidences = generator.beta(5, 2, NUM_VALIDATION)
    correct = generator.random(NUM_VALIDATION) < confidences
    return calibration.bin_confidences(confidences, correct)


def _write(
    writer: tf.summary.SummaryWriter, tables: Iterator[calibration.Bins]
) -> None:
    with writer.as_default():
        summaries.write_bins(next(tables), step=0)
    writer.flush()


def _write_new(
    writer: tf.summary.SummaryWriter, tables: Iterator[calibration.Bins]
) -> None:
    bins = next(tables)
    figures = (
        plots.reliability_diagram(bins),
        plots.confidence_histogram({"examples": bins}),
        plots.accuracy_confidence_density(bins),
    )
    with writer.as_default():
        for number, figure in enumerate(figures):
            summaries.write_figure(f"new/{number}", figure, step=0)
    writer.flush()


class _Clock(keras.callbacks.Callback):
    """Times all epochs of a `fit` but the first."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 1:
            self._start = time.perf_counter()

    def on_train_end(self, logs: Any = None) -> None:
        self.seconds = time.perf_counter() - self._start


def _make_mixup() -> tf_mixup.MixUp:
    return tf_mixup.MixUp(mixing.ALPHA, num_classes=SIZE.num_classes, seed=0)


def _make_batches(count: int) -> tf.data.Dataset:
    size = SIZE.shape[0] * count
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (size, *SIZE.shape[1:]), np.uint8)
    labels = generator.integers(0, SIZE.num_classes, size)
    examples = tf.data.Dataset.from_tensor_slices((images, labels))
    return examples.shuffle(size).batch(SIZE.shape[0], drop_remainder=True)


def _scale(images: tf.Tensor, labels: tf.Tensor) -> tuple:
    return (
        tf.cast(images, tf.float32) / 255,
        tf.one_hot(labels, SIZE.num_classes),
    )


def _build_network() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(SIZE.shape[1:]),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(SIZE.num_classes),
        ]
    )
