"""Photographs that do not fit into memory: decoded as they are needed.

Order and augmentation are a function of (seed, epoch, step), so a resumed run
goes on with the very batches that it would have seen. Shapes: N images, B in
a batch, S side of the square images.
"""

import functools
import logging
import math
import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from experiments.datasets import jpegs
from experiments.datasets import sources
from tf_mixup import _checks
from tf_mixup import mixing

SIDE = 224
# Share of the training images that may be damaged before a run is stopped.
MAX_BAD_SHARE = 0.01
# Batches that are decoded at the same time, so that no core waits for the last
# image of a batch.
_BATCHES_AT_A_TIME = 2


class StopWhenUnreadable(keras.callbacks.Callback):
    """Counts damaged training images, and stops a run that has too many.

    Args:
        source: Knows the names of images.

    Attributes:
        bad: Indices of those found so far.
    """

    def __init__(self, source: sources.Source) -> None:
        super().__init__()
        self.bad: set[int] = set()
        self._source = source
        self._limit = math.ceil(MAX_BAD_SHARE * source.num_images)

    def note(self, indices: np.ndarray) -> np.int64:
        """Notes damaged images, and logs the names of those that are new."""
        for index in sorted({*indices.tolist()} - self.bad):
            self.bad.add(index)
            logging.warning(
                "%s is no whole image; another one of its batch takes its"
                " place.",
                self._source.name(index),
            )
        return np.int64(len(self.bad))

    def check(self) -> None:
        """Raises a ValueError if there are more than the share allowed."""
        if len(self.bad) > self._limit:
            some = ", ".join(map(self._source.name, sorted(self.bad)[:3]))
            raise _checks.refusal(
                f"At most {self._limit} of {self._source.num_images} training"
                " images may be damaged",
                f"{len(self.bad)} that are, such as {some}",
                "List all with `python -m experiments.verify_images`, then"
                " replace or delete them",
            )

    # After a step Keras would wait for its numbers, to hand them over.
    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Looks at what was found while the batches were made."""
        self.check()

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Logs how many images were replaced."""
        self.check()
        if self.bad:
            logging.warning(
                "Damaged training images, so far: %d.", len(self.bad)
            )


class Stream:
    """Images that are decoded when asked for; stands where an array stands.

    Args:
        source: The encoded images.
        side: S.
        left_out: Indices of images that evaluation leaves out, see
            `find_unreadable`.

    Attributes:
        shape: `(N, S, S, 3)`, without the images that are left out.
        watcher: Callback that has seen the damaged images of the training
            batches asked for last.
    """

    ndim = 4

    def __init__(
        self,
        source: sources.Source,
        *,
        side: int = SIDE,
        left_out: tuple[int, ...] = (),
    ) -> None:
        self.source = source
        self.shape = (source.num_images - len(left_out), side, side, 3)
        self.watcher = StopWhenUnreadable(source)
        self._side = side
        self._left_out = left_out

    def __len__(self) -> int:
        """Returns N."""
        return self.shape[0]

    def __getitem__(self, chosen: Any) -> np.ndarray:
        """Decodes images as evaluation sees them, uint8 `(n, S, S, 3)`."""
        wanted = np.atleast_1d(np.arange(len(self))[chosen])
        last = int(wanted.max(initial=-1))
        places = tf.constant(np.unique(wanted), tf.int64)
        decoded = (
            self._evaluated()
            .enumerate()
            .take(last + 1)
            .filter(lambda place, _: tf.reduce_any(place == places))
            .map(lambda place, entry: (place, self._decode_central(*entry)[0]))
        )
        images = {int(place): image.numpy() for place, image in decoded}
        found = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        for index, place in enumerate(wanted):
            found[index] = images[int(place)]
        return found

    def training_batches(
        self,
        *,
        batch_size: int,
        seed: int,
        epoch_counter: mixing.EpochCounter,
        augmentation: str = "inception",
        steps: int | None = None,
        worker: int = 0,
        workers: int = 1,
    ) -> tf.data.Dataset:
        """Returns an epoch of full batches, in another order each epoch.

        A damaged image is replaced, label and all, by the next good one of
        its batch; see `StopWhenUnreadable`. Two batches are decoded at a time,
        and nothing else is kept in memory.

        Args:
            batch_size: B, of this worker.
            seed: Fixes order and augmentation.
            epoch_counter: Counts the epochs.
            augmentation: `"inception"`: crops of random area and aspect, and
                flips; or `"none"`: the central crop.
            steps: Batches in an epoch. Defaults to the full ones that there
                are.
            worker: Which of several workers is to have them, from 0: each
                reads its part of the files, and draws its own order and
                augmentation.
            workers: How many.

        Returns:
            batches: Dataset of `(images (B, S, S, 3) uint8, labels (B,))`.

        Raises:
            ValueError: If there are fewer images than a batch holds, or
                another augmentation is asked for.
        """
        if augmentation not in ("inception", "none"):
            raise _checks.refusal(
                "Photographs of any size are cropped before they are resized",
                f"augmentation={augmentation!r}",
                "Write --augmentation=inception, or none",
            )
        if steps is None:
            steps = self.source.num_images // (batch_size * workers)
        if steps < 1:
            raise _checks.refusal(
                "A batch must not be larger than the training set",
                f"batch_size={batch_size} with {self.source.num_images}"
                " training images",
                "Lower --batch_size",
            )
        source = self.source.shard(worker, workers)
        if not source.num_images:
            raise _checks.refusal(
                "Each worker needs files of its own",
                f"none for worker {worker} of {workers}",
                "Take fewer workers",
            )
        self.watcher = StopWhenUnreadable(source)

        def decode(
            step_seed: tf.Tensor,
            indices: tf.Tensor,
            entries: tf.Tensor,
            labels: tf.Tensor,
        ) -> tf.data.Dataset:
            crops = None
            if augmentation == "inception":
                crops = jpegs.draw_crops(batch_size, step_seed)
            return self._decode_batch(indices, entries, labels, crops)

        return (
            source.shuffled(
                epoch_counter.positions(steps),
                batch_size=batch_size,
                seed=seed,
                worker=worker,
            )
            .interleave(
                decode,
                cycle_length=_BATCHES_AT_A_TIME,
                num_parallel_calls=_BATCHES_AT_A_TIME,
                deterministic=True,
            )
            .apply(tf.data.experimental.assert_cardinality(steps))
        )

    def _decode_batch(
        self,
        indices: tf.Tensor,
        entries: tf.Tensor,
        labels: tf.Tensor,
        crops: jpegs.Crops | None,
    ) -> tf.data.Dataset:
        """Returns a batch, as a dataset of one element."""
        batch_size = indices.shape[0]
        places = tf.range(batch_size, dtype=tf.int64)

        def load(
            place: tf.Tensor, entry: tf.Tensor, *crop: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor]:
            return place, self._decode(entry, *crop)

        # What fails is dropped here, and replaced in `_fill`.
        good = (
            tf.data.Dataset.from_tensor_slices(
                (places, entries, *(crops or ()))
            )
            .map(load, num_parallel_calls=os.cpu_count(), deterministic=True)
            .ignore_errors()
        )
        # One more, so that there is a batch even if all fail.
        black = tf.zeros(self.shape[1:], tf.uint8)
        end = tf.data.Dataset.from_tensors((tf.size(places, tf.int64), black))
        return (
            good.concatenate(end)
            .batch(batch_size + 1)
            .map(functools.partial(self._fill, indices, labels))
        )

    def _fill(
        self,
        indices: tf.Tensor,
        labels: tf.Tensor,
        places: tf.Tensor,
        images: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Puts the next good image of the batch where one failed."""
        size = indices.shape[0]
        images.set_shape([None, *self.shape[1:]])
        num_good = tf.size(places) - 1

        def leave() -> tuple[tf.Tensor, tf.Tensor]:
            return images[:size], labels

        def replace() -> tuple[tf.Tensor, tf.Tensor]:
            wanted = tf.range(size, dtype=tf.int64)
            next_good = tf.searchsorted(places, wanted) % tf.maximum(
                num_good, 1
            )
            kept = tf.gather(places, next_good)
            bad = tf.boolean_mask(indices, kept != wanted)
            noted = tf.numpy_function(self.watcher.note, [bad], tf.int64)
            with tf.control_dependencies([noted]):
                source = tf.minimum(kept, size - 1)
                return tf.gather(images, next_good), tf.gather(labels, source)

        images, labels = tf.cond(num_good == size, leave, replace)
        return tf.ensure_shape(images, [size, *self.shape[1:]]), labels

    def evaluation_batches(
        self, batch_size: int, *, worker: int = 0, workers: int = 1
    ) -> tf.data.Dataset:
        """Returns all images in order, but for those that are left out.

        Args:
            batch_size: B; the last batch holds what remains.
            worker: Which of several workers is to have them, from 0: each
                decodes every `workers`-th image, of all files.
            workers: How many.

        Returns:
            batches: Dataset of `(images (B, S, S, 3) uint8, labels (B,))`,
                cropped centrally.
        """
        count = len(range(worker, len(self), workers))
        steps = -(-count // batch_size)
        return (
            self._evaluated()
            .shard(workers, worker)
            .map(
                self._decode_central,
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            .batch(batch_size)
            .apply(tf.data.experimental.assert_cardinality(steps))
            .prefetch(tf.data.AUTOTUNE)
        )

    def _evaluated(self) -> tf.data.Dataset:
        """Returns what evaluation reads, as `(index, entry, label)`."""
        images = self.source.in_order()
        if not self._left_out:
            return images
        left_out = tf.constant(self._left_out, tf.int64)
        return images.filter(lambda index, *_: tf.reduce_all(index != left_out))

    def _decode_central(
        self, index: tf.Tensor, entry: tf.Tensor, label: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        del index
        return self._decode(entry), label

    def _decode(self, entry: tf.Tensor, *crop: tf.Tensor) -> tf.Tensor:
        """Returns the window that the draws choose, or the central one."""
        contents = self.source.read(entry)
        if not crop:
            return jpegs.decode_square(
                contents, jpegs.central_window, self._side
            )
        sides, place, flip = crop
        return jpegs.decode_square(
            contents,
            lambda shape: jpegs.choose_window(shape, sides, place),
            self._side,
            flip,
        )


def find_unreadable(
    source: sources.Source,
) -> tuple[dict[int, Exception], np.ndarray]:
    """Decodes every image of a source, whole.

    Returns:
        reasons: The error of each damaged image, by its index.
        labels: Of the good images, in order, int32 `(n,)`.
    """

    def check(
        index: tf.Tensor, entry: tf.Tensor, label: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        # The size is asked for, so that the decoding is not optimized away.
        return index, label, tf.size(jpegs.decode(source.read(entry)))

    good = (
        source.in_order()
        .map(check, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .ignore_errors()
        .batch(256)
        .prefetch(1)
    )
    labels: dict[int, int] = {}
    for indices, found, _ in good.as_numpy_iterator():
        labels |= zip(indices.tolist(), found.tolist(), strict=True)
    missing = sorted({*range(source.num_images)} - labels.keys())
    reasons: dict[int, Exception] = dict.fromkeys(
        missing, OSError("Its file is damaged here or before.")
    )
    if missing:
        bad = tf.constant(missing, tf.int64)
        for index, entry, _ in (
            source.in_order()
            .filter(lambda index, *_: tf.reduce_any(index == bad))
            .ignore_errors()
        ):
            reasons[int(index)] = _find_error(source, entry)
    return reasons, np.array([*labels.values()], np.int32)


def _find_error(source: sources.Source, entry: tf.Tensor) -> Exception:
    try:
        jpegs.decode(source.read(entry))
    except tf.errors.OpError as error:
        return error
    return OSError("It could not be read a moment ago.")
