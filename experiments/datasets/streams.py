"""Photographs that do not fit into memory: decoded as they are needed.

Order and augmentation are a function of (seed, epoch, step), so a resumed run
goes on with the very batches that it would have seen. Shapes: N rows, B rows
in a batch, S side of the square images.
"""

import functools
import logging
import math
import os
from typing import Any
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from experiments.datasets import jpegs
from tf_mixup import _checks
from tf_mixup import mixing

SIDE = 224
# Share of the training rows that may be no images before a run is stopped.
MAX_BAD_SHARE = 0.01
# Batches whose rows are decoded at the same time, so that no core waits for a
# batch's last row.
_BATCHES_AT_A_TIME = 2


class Source(Protocol):
    """Encoded images and their labels, somewhere.

    An entry is what leads to an image's bytes, a string; rows are numbers
    from 0 that name it.
    """

    @property
    def num_rows(self) -> int:
        """N."""

    def name(self, row: int) -> str:
        """Returns what a user finds a row by."""

    def read(self, entry: tf.Tensor) -> tf.Tensor:
        """Returns an entry's bytes, in a graph."""

    def in_order(self) -> tf.data.Dataset:
        """Returns all rows as `(row, entry, label)`, two int64 scalars."""

    def shuffled(
        self,
        positions: tf.data.Dataset,
        *,
        batch_size: int,
        seed: int,
        worker: int = 0,
    ) -> tf.data.Dataset:
        """Returns an epoch of batches in random order.

        Args:
            positions: Dataset of (epoch, step), of known cardinality.
            batch_size: B.
            seed: Fixes the order.
            worker: Each has another order.

        Returns:
            batches: Dataset of `(step_seed (2,), rows (B,), entries (B,),
                labels (B,))`, one for each position.
        """

    def shard(self, worker: int, workers: int) -> "Source":
        """Returns the part of the files that one of several workers reads."""


class Replaced:
    """Counts training rows that were no images, and says when to stop.

    Args:
        source: Knows the names of rows.
        max_share: Share of the rows, rounded up, that may be bad.

    Attributes:
        rows: Those found so far.
    """

    def __init__(
        self, source: Source, *, max_share: float = MAX_BAD_SHARE
    ) -> None:
        self.rows: set[int] = set()
        self._source = source
        self._limit = math.ceil(max_share * source.num_rows)

    def note(self, rows: np.ndarray) -> np.int64:
        """Notes bad rows, and logs the names of those that are new."""
        for row in sorted({*rows.tolist()} - self.rows):
            self.rows.add(row)
            logging.warning(
                "%s is no whole image; another row of its batch takes its"
                " place.",
                self._source.name(row),
            )
        return np.int64(len(self.rows))

    def check(self) -> None:
        """Refuses to go on with too many.

        Raises:
            ValueError: If there are more than the share that may be bad.
        """
        if len(self.rows) > self._limit:
            some = ", ".join(map(self._source.name, sorted(self.rows)[:3]))
            raise _checks.refusal(
                f"At most {self._limit} of {self._source.num_rows} training"
                " rows may be no whole images",
                f"{len(self.rows)} that are not, such as {some}",
                "List all with `python -m experiments.verify_images`, then"
                " replace or delete them",
            )


class StopWhenUnreadable(keras.callbacks.Callback):
    """Stops a run of which too many training rows are no images.

    Args:
        replaced: What the stream of training batches has found.
    """

    def __init__(self, replaced: Replaced) -> None:
        super().__init__()
        self._replaced = replaced

    # After a step Keras would wait for its numbers, to hand them over.
    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Looks at what was found while the batches were made."""
        self._replaced.check()

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Says how many rows were replaced."""
        self._replaced.check()
        if self._replaced.rows:
            logging.warning(
                "Training rows that are no whole images, so far: %d.",
                len(self._replaced.rows),
            )


class Stream:
    """Images that are decoded when asked for; stands where an array stands.

    Args:
        source: The encoded images.
        side: S.
        left_out: Rows that evaluation leaves out, as `find_unreadable` gives
            them.

    Attributes:
        source: As given.
        shape: `(N, S, S, 3)`, without the rows that are left out.
        ndim: 4.
        replaced: The bad rows that the training batches asked for last have
            met.
    """

    ndim = 4

    def __init__(
        self,
        source: Source,
        *,
        side: int = SIDE,
        left_out: tuple[int, ...] = (),
    ) -> None:
        self.source = source
        self.shape = (source.num_rows - len(left_out), side, side, 3)
        self.replaced = Replaced(source)
        self._side = side
        self._left_out = left_out

    def __len__(self) -> int:
        """Returns N."""
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Decodes some rows, as evaluation sees them.

        Args:
            rows: A slice, or integers in `[0, N - 1]`.

        Returns:
            images: uint8 `(n, S, S, 3)`.
        """
        wanted = np.atleast_1d(np.arange(len(self))[rows])
        last = int(wanted.max(initial=-1))
        places = tf.constant(np.unique(wanted), tf.int64)
        chosen = (
            self._rows()
            .enumerate()
            .take(last + 1)
            .filter(lambda place, _: tf.reduce_any(place == places))
            .map(lambda place, row: (place, self._decode_central(*row)[0]))
        )
        images = {int(place): image.numpy() for place, image in chosen}
        found = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        for index, place in enumerate(wanted):
            found[index] = images[int(place)]
        return found

    def watcher(self) -> keras.callbacks.Callback:
        """Returns what stops a run that meets too many bad examples."""
        return StopWhenUnreadable(self.replaced)

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

        A row that is no whole image is replaced, label and all, by the next
        good row of its batch; see `Replaced`. Two batches are decoded at a
        time, and nothing else is kept in memory.

        Args:
            batch_size: B, of this worker.
            seed: Fixes order and augmentation.
            epoch_counter: Gives the epoch.
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
            ValueError: If there are fewer rows than a batch holds, or another
                augmentation is asked for.
        """
        if augmentation not in ("inception", "none"):
            raise _checks.refusal(
                "Photographs of any size are cropped before they are resized",
                f"augmentation={augmentation!r}",
                "Write --augmentation=inception, or none",
            )
        if steps is None:
            steps = self.source.num_rows // (batch_size * workers)
        if steps < 1:
            raise _checks.refusal(
                "A batch must not be larger than the training set",
                f"batch_size={batch_size} with {self.source.num_rows} training"
                " rows",
                "Lower --batch_size",
            )

        source = self.source.shard(worker, workers)
        if not source.num_rows:
            raise _checks.refusal(
                "Each worker needs files of its own",
                f"none for worker {worker} of {workers}",
                "Take fewer workers",
            )
        self.replaced = Replaced(source)

        def decode(
            step_seed: tf.Tensor,
            rows: tf.Tensor,
            entries: tf.Tensor,
            labels: tf.Tensor,
        ) -> tf.data.Dataset:
            crops = None
            if augmentation == "inception":
                crops = jpegs.draw_crops(batch_size, step_seed)
            return self._decode_batch(rows, entries, labels, crops)

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
        rows: tf.Tensor,
        entries: tf.Tensor,
        labels: tf.Tensor,
        crops: jpegs.Crops | None,
    ) -> tf.data.Dataset:
        """Returns a batch, as a dataset of one element."""
        batch_size = rows.shape[0]
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
        # One more, so that there is a batch even if all rows fail.
        black = tf.zeros(self.shape[1:], tf.uint8)
        end = tf.data.Dataset.from_tensors((tf.size(places, tf.int64), black))
        return (
            good.concatenate(end)
            .batch(batch_size + 1)
            .map(functools.partial(self._fill, rows, labels))
        )

    def _fill(
        self,
        rows: tf.Tensor,
        labels: tf.Tensor,
        places: tf.Tensor,
        images: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Puts the next good row of the batch where a row failed."""
        size = rows.shape[0]
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
            bad = tf.boolean_mask(rows, kept != wanted)
            noted = tf.numpy_function(self.replaced.note, [bad], tf.int64)
            with tf.control_dependencies([noted]):
                source = tf.minimum(kept, size - 1)
                return tf.gather(images, next_good), tf.gather(labels, source)

        images, labels = tf.cond(num_good == size, leave, replace)
        return tf.ensure_shape(images, [size, *self.shape[1:]]), labels

    def evaluation_batches(
        self, batch_size: int, *, worker: int = 0, workers: int = 1
    ) -> tf.data.Dataset:
        """Returns all rows in order, but for those that are left out.

        Args:
            batch_size: B; the last batch holds what remains.
            worker: Which of several workers is to have them, from 0: each
                decodes every `workers`-th row, of all files.
            workers: How many.

        Returns:
            batches: Dataset of `(images (B, S, S, 3) uint8, labels (B,))`,
                cropped centrally.
        """
        num_rows = len(range(worker, len(self), workers))
        return (
            self._rows()
            .shard(workers, worker)
            .map(
                self._decode_central,
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            .batch(batch_size)
            .apply(
                tf.data.experimental.assert_cardinality(
                    -(-num_rows // batch_size)
                )
            )
            .prefetch(tf.data.AUTOTUNE)
        )

    def _rows(self) -> tf.data.Dataset:
        """Returns what evaluation reads, as `(row, entry, label)`."""
        rows = self.source.in_order()
        if not self._left_out:
            return rows
        left_out = tf.constant(self._left_out, tf.int64)
        return rows.filter(lambda row, *_: tf.reduce_all(row != left_out))

    def _decode_central(
        self, row: tf.Tensor, entry: tf.Tensor, label: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        del row
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
    source: Source,
) -> tuple[dict[int, Exception], np.ndarray]:
    """Decodes every image of a source, whole.

    Args:
        source: The encoded images.

    Returns:
        reasons: The error of each bad row.
        labels: Of the good rows, in order, int32 `(n,)`.
    """

    def check(
        row: tf.Tensor, entry: tf.Tensor, label: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        # The size is asked for, so that the decoding is not optimised away.
        return row, label, tf.size(jpegs.decode(source.read(entry)))

    good = (
        source.in_order()
        .map(check, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .ignore_errors()
        .batch(256)
        .prefetch(1)
    )
    labels: dict[int, int] = {}
    for rows, found, _ in good.as_numpy_iterator():
        labels |= zip(rows.tolist(), found.tolist(), strict=True)
    missing = sorted({*range(source.num_rows)} - labels.keys())
    reasons: dict[int, Exception] = dict.fromkeys(
        missing, OSError("Its file is damaged here or before.")
    )
    if missing:
        bad = tf.constant(missing, tf.int64)
        for row, entry, _ in (
            source.in_order()
            .filter(lambda row, *_: tf.reduce_any(row == bad))
            .ignore_errors()
        ):
            reasons[int(row)] = _find_error(source, entry)
    return reasons, np.array([*labels.values()], np.int32)


def _find_error(source: Source, entry: tf.Tensor) -> Exception:
    try:
        jpegs.decode(source.read(entry))
    except tf.errors.OpError as error:
        return error
    return OSError("It could not be read a moment ago.")
