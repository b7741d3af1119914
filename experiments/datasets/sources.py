"""Encoded photographs and their labels: in files, or in records of TFRecord.

An entry is what leads to an image's bytes, a string; indices from 0 name the
images. Shapes: N images, B in a batch.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from experiments.datasets import batches
from tf_mixup._data import folders as folders_lib

# Records in the buffer that shuffles them, some 110 kB each, and the files
# that fill it in turns: records of one file lie far apart.
BUFFER_SIZE = 4096
_FILES_AT_A_TIME = 16


@dataclasses.dataclass(frozen=True)
class Files:
    """Images that are files `paths (N,)` with integer `labels (N,)`."""

    paths: np.ndarray
    labels: np.ndarray

    @property
    def num_images(self) -> int:
        """N."""
        return len(self.paths)

    def name(self, index: int) -> str:
        """Returns a file's path, which a user finds it by."""
        return folders_lib.printable(str(self.paths[index]))

    def read(self, entry: tf.Tensor) -> tf.Tensor:
        """Reads a file."""
        return tf.io.read_file(entry)

    def in_order(self) -> tf.data.Dataset:
        """Returns all images as `(index, path, label)`."""
        return tf.data.Dataset.from_tensor_slices(
            (
                np.arange(self.num_images, dtype=np.int64),
                folders_lib.encode(self.paths),
                self.labels.astype(np.int64),
            )
        )

    def shuffled(
        self,
        positions: tf.data.Dataset,
        *,
        batch_size: int,
        seed: int,
        worker: int = 0,
    ) -> tf.data.Dataset:
        """Returns an epoch of batches in random order, by a bijection.

        Args:
            positions: Dataset of (epoch, step), of known cardinality.
            batch_size: B.
            seed: Fixes the order.
            worker: Each has another order.

        Returns:
            batches: Dataset of `(step_seed (2,), indices (B,), entries (B,),
                labels (B,))`, one for each position.
        """
        with tf.device("/cpu:0"):
            paths = tf.constant(folders_lib.encode(self.paths))
            labels = tf.constant(self.labels.astype(np.int64))

        def choose(epoch: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, ...]:
            epoch_seed = batches.fold_epoch(seed, epoch, worker)
            indices = batches.draw_indices(
                epoch_seed, step, batch_size=batch_size, count=self.num_images
            )
            step_seed = tf.random.fold_in(epoch_seed, step)
            entries = (tf.gather(each, indices) for each in (paths, labels))
            return step_seed, indices, *entries

        return positions.map(choose)

    def shard(self, worker: int, workers: int) -> "Files":
        """Returns every file whose number leaves `worker` over `workers`."""
        return Files(self.paths[worker::workers], self.labels[worker::workers])


@dataclasses.dataclass(frozen=True)
class Records:
    """Images in TFRecord files, which are read from their beginning.

    Attributes:
        paths: Of the files.
        skips: Records of each file that belong to another split.
        takes: Records of each file that belong to this one.
        parse: From a record to `{"image": bytes, "label": int64, ...}`.
    """

    paths: Sequence[str]
    skips: Sequence[int]
    takes: Sequence[int]
    parse: Callable[[tf.Tensor], dict[str, tf.Tensor]]

    @property
    def num_images(self) -> int:
        """N."""
        return sum(self.takes)

    def name(self, index: int) -> str:
        """Returns a record's file and its place there, from 0."""
        ends = np.cumsum(self.takes)
        file = int(np.searchsorted(ends, index, side="right"))
        place = index - int(ends[file]) + self.takes[file] + self.skips[file]
        return f"{folders_lib.printable(self.paths[file])} record {place}"

    def read(self, entry: tf.Tensor) -> tf.Tensor:
        """Returns the bytes, which came with the record."""
        return entry

    def in_order(self) -> tf.data.Dataset:
        """Returns all images as `(index, bytes, label)`."""
        files = tf.data.Dataset.from_tensor_slices(self._files())
        return files.flat_map(_read_records).map(self._parse)

    def shuffled(
        self,
        positions: tf.data.Dataset,
        *,
        batch_size: int,
        seed: int,
        worker: int = 0,
    ) -> tf.data.Dataset:
        """Returns batches of an epoch, from files in an order of its own.

        Sixteen files at a time fill a buffer that shuffles. A run that goes
        on within an epoch reads again what lies before, and decodes nothing
        of it.
        """
        steps = int(positions.cardinality())

        def one_pass(epochs: tf.Tensor, steps: tf.Tensor) -> tf.data.Dataset:
            epoch_seed = batches.fold_epoch(seed, epochs[0], worker)
            draws = tf.random.stateless_uniform((len(self.paths),), epoch_seed)
            chosen = tf.argsort(draws)
            files = tuple(tf.gather(part, chosen) for part in self._files())
            images = (
                tf.data.Dataset.from_tensor_slices(files)
                .interleave(
                    _read_records,
                    cycle_length=_FILES_AT_A_TIME,
                    num_parallel_calls=_FILES_AT_A_TIME,
                    deterministic=True,
                )
                # The same draws each epoch, of files in another order.
                .shuffle(BUFFER_SIZE, seed, reshuffle_each_iteration=False)
                # A worker whose files hold fewer images reads some twice.
                .repeat()
                .skip(steps[0] * batch_size)
                .map(
                    self._parse,
                    num_parallel_calls=tf.data.AUTOTUNE,
                    deterministic=True,
                )
                .batch(batch_size, drop_remainder=True)
            )
            step_seeds = tf.data.Dataset.from_tensor_slices(steps).map(
                lambda step: tf.random.fold_in(epoch_seed, step)
            )
            return tf.data.Dataset.zip(step_seeds, images).map(
                lambda step_seed, batch: (step_seed, *batch)
            )

        # All positions of a pass at once: the first says where it starts.
        return positions.batch(steps).flat_map(one_pass)

    def shard(self, worker: int, workers: int) -> "Records":
        """Returns every file whose number leaves `worker` over `workers`."""
        return Records(
            self.paths[worker::workers],
            self.skips[worker::workers],
            self.takes[worker::workers],
            self.parse,
        )

    def _files(self) -> tuple[tf.Tensor, ...]:
        """Returns path, skip, take and the first index of each file."""
        firsts = np.cumsum([0, *self.takes[:-1]])
        numbers = (self.skips, self.takes, firsts)
        return (
            tf.constant(folders_lib.encode(self.paths)),
            *(tf.constant(each, tf.int64) for each in numbers),
        )

    def _parse(
        self, index: tf.Tensor, record: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        example = self.parse(record)
        return index, example["image"], tf.cast(example["label"], tf.int64)


def _read_records(
    path: tf.Tensor, skip: tf.Tensor, take: tf.Tensor, first: tf.Tensor
) -> tf.data.Dataset:
    """Returns a file's part as `(index, record)`; a damaged file is named."""
    # TensorFlow reads nothing behind a damaged record, and names no file.
    records = tf.data.TFRecordDataset(path).skip(skip).take(take)
    end = tf.data.Dataset.from_tensors((tf.constant(b""), True))
    records = records.ignore_errors().map(lambda record: (record, False))

    def check(
        number: tf.Tensor, entry: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, ...]:
        record, is_end = entry
        whole = tf.debugging.Assert(
            ~is_end | (number == take),
            ["Damaged file of records:", path, "record:", skip + number],
        )
        with tf.control_dependencies([whole]):
            return first + number, record, tf.identity(is_end)

    return (
        records.concatenate(end)
        .enumerate()
        .map(check)
        .filter(lambda *entry: ~entry[-1])
        .map(lambda *entry: entry[:2])
    )


Source = Files | Records
