"""Times the pipeline of photographs, from files to mixed batches.

What is timed is the processor's time of all threads, so that a busy machine
does not count, and a number says what one core does.
"""

import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_mixup
from experiments.benchmark import timing
from experiments.datasets import images
from experiments.datasets import jpegs
from experiments.datasets import sources
from experiments.datasets import streams

ALPHA = 0.2
NUM_CLASSES = 1000
BATCH_SIZE = 64
# A long pass less a short one is what these batches more take.
SHORT, LONG = 2, 34
SYNTHETIC_IMAGES = 32
SHAPE = (375, 500, 3)
OURS, BARE = "tf_mixup, whole pipeline", "tf.io.decode_jpeg alone"
FULL, LAYERS = "full decode, slice, resize, mix", "keras.layers"
# Targets: another's time over ours.
TARGETS = {BARE: 0.95, FULL: 1.2, LAYERS: 2.0}

# From a number of batches to a dataset of them.
Make = Callable[[int], tf.data.Dataset]


def measure(
    repeats: int, *, data: str | None = None, batch_size: int = BATCH_SIZE
) -> list[timing.Section]:
    """Times the whole pipeline against decoding, and against others.

    `data` is a folder of JPEGs; None writes noise of ImageNet's usual size.
    """
    with tempfile.TemporaryDirectory() as folder:
        if data is None:
            write_synthetic(pathlib.Path(folder))
        source = find_files(pathlib.Path(data or folder), LONG * batch_size)
        cases = {
            name: _difference(make, batch_size)
            for name, make in pipelines(source, batch_size).items()
        }
        milliseconds = timing.run_in_turns(cases, repeats=repeats)
    return [
        timing.Section(
            title=f"Photographs of {data or 'noise'}, batches of {batch_size},"
            " processor ms an image",
            milliseconds=milliseconds,
            ratios=tuple(
                timing.compare(milliseconds, name, OURS, at_least=target)
                for name, target in TARGETS.items()
            ),
        )
    ]


def write_synthetic(folder: pathlib.Path) -> None:
    """Writes JPEGs of about ImageNet's median, 110 kB."""
    rng = np.random.default_rng(0)
    for index in range(SYNTHETIC_IMAGES):
        coarse = rng.uniform(0, 255, (1, 47, 63, 3))
        smooth = tf.image.resize(coarse, SHAPE[:2], "bicubic")[0].numpy()
        noisy = (smooth + rng.normal(0, 12, SHAPE)).clip(0, 255)
        contents = tf.io.encode_jpeg(noisy.astype(np.uint8), quality=92)
        tf.io.write_file(str(folder / f"{index}.jpeg"), contents)


def find_files(folder: pathlib.Path, least: int) -> sources.Files:
    """Returns all images below a folder, often enough for a long pass."""
    paths = np.array(images.find_images(folder))
    paths = np.tile(paths, -(-least // len(paths)))
    return sources.Files(paths, np.arange(len(paths)) % NUM_CLASSES)


def pipelines(source: sources.Files, batch_size: int) -> dict[str, Make]:
    """Returns each way to read the same files."""

    def read(steps: int) -> tf.data.Dataset:
        images = source.in_order().take(steps * batch_size)
        return images.map(lambda _, path, label: (tf.io.read_file(path), label))

    def ours(steps: int) -> tf.data.Dataset:
        mixup = tf_mixup.MixUp(ALPHA, num_classes=NUM_CLASSES, seed=0)
        return (
            streams.Stream(source)
            .training_batches(
                batch_size=batch_size,
                seed=0,
                epoch_counter=mixup.epoch_counter,
                steps=steps,
            )
            .apply(mixup)
        )

    def bare(steps: int) -> tf.data.Dataset:
        return read(steps).map(
            lambda contents, _: _decode(contents),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def full(steps: int) -> tf.data.Dataset:
        mixup = tf_mixup.MixUp(ALPHA, num_classes=NUM_CLASSES, seed=0)
        crops = jpegs.draw_crops(steps * batch_size, tf.constant([0, 0]))
        draws = tf.data.Dataset.from_tensor_slices(tuple(crops))
        return (
            tf.data.Dataset.zip(read(steps), draws)
            .map(_slice_whole, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size, drop_remainder=True)
            .apply(mixup)
        )

    def by_layers(steps: int) -> tf.data.Dataset:
        prepare, mix = _keras_stages()
        return (
            read(steps)
            .map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size, drop_remainder=True)
            .map(mix, num_parallel_calls=tf.data.AUTOTUNE)
        )

    return {OURS: ours, BARE: bare, FULL: full, LAYERS: by_layers}


def _decode(contents: tf.Tensor) -> tf.Tensor:
    """Decodes a whole image, with the same transform everywhere."""
    return tf.io.decode_jpeg(contents, channels=3, dct_method=jpegs.DCT_METHOD)


def _slice_whole(example: tuple, crop: tuple) -> tuple[tf.Tensor, tf.Tensor]:
    """Makes our squares without fused or scaled decoding."""
    contents, label = example
    sides, place, flip = crop
    image = _decode(contents)
    window = jpegs.choose_window(tf.shape(image)[:2], sides, place)
    top, left, height, width = tf.unstack(window)
    cut = image[top : top + height, left : left + width]
    square = tf.image.resize(cut, (streams.SIDE, streams.SIDE))
    square = tf.cast(square + 0.5, tf.uint8)
    square = tf.cond(
        flip, lambda: tf.image.flip_left_right(square), lambda: square
    )
    return square, label


def _keras_stages() -> tuple[Any, Any]:
    """Returns augmentation as one writes it with Keras' layers."""
    resize = keras.layers.Resizing(256, 256, crop_to_aspect_ratio=True)
    crop = keras.layers.RandomCrop(streams.SIDE, streams.SIDE, seed=0)
    flip = keras.layers.RandomFlip("horizontal", seed=0)
    mixup = keras.layers.MixUp(ALPHA, seed=0)

    def prepare(
        contents: tf.Tensor, label: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return crop(resize(_decode(contents)), training=True), label

    def mix(
        images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        mixed = mixup(
            {
                "images": flip(tf.cast(images, tf.float32), training=True),
                "labels": tf.one_hot(labels, NUM_CLASSES),
            },
            training=True,
        )
        return mixed["images"], mixed["labels"]

    return prepare, mix


def _difference(make: Make, batch_size: int) -> timing.Case:
    """Returns the processor's seconds for an image, without the start."""
    passes = make(SHORT), make(LONG)

    def run(dataset: tf.data.Dataset) -> float:
        started = time.process_time()
        for _ in dataset:
            pass
        return time.process_time() - started

    def case() -> float:
        short, long = map(run, passes)
        return (long - short) / ((LONG - SHORT) * batch_size)

    return case
