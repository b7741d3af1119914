"""ImageNet and its like: from TFDS's records, or from folders of images.

A folder is laid out as ImageNet's or Tiny-ImageNet's archives unpack:
`train/CLASS/*` or `train/CLASS/images/*`, and `val` in the same way, or flat
with a file of labels. Classes are numbered in the order of their names, which
for synsets (`n01440764`) is the usual one.
"""

import dataclasses
import logging
import pathlib
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from experiments.datasets import batches
from experiments.datasets import folders
from experiments.datasets import prepared
from experiments.datasets import splits
from experiments.datasets import streams
from experiments.datasets.prepared import DataDir
from tf_mixup import _checks
from tf_mixup._data import folders as folders_lib

TFDS_NAME = "imagenet2012"
PREFIX = "imagefolder:"
# Of ImageNet's training pixels, in [0, 255].
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
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
        """Returns a file's path."""
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
        """Returns batches of an epoch, found by a bijection of the images."""
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


def load(
    name: str,
    *,
    data_dir: DataDir,
    download: bool = False,
    seed: int,
    num_train: int | None,
    num_validation: int | None,
    side: int = streams.SIDE,
) -> splits.Splits:
    """Opens ImageNet's records, or a folder of images, as streams.

    The test set is `val`, whose labels are public; validation is carved from
    the training set: of files by `seed`, as `splits.carve` does, of records
    the first, which are the same for every seed. Images of both are decoded
    once, and those that cannot be are left out. Labels of training records are
    unknown until they are read, and left empty. `side` is that of the images
    that the network takes; `download` is ignored, since ImageNet cannot be
    fetched. Other arguments are those of `datasets.load`.

    Raises:
        ValueError: If a class has no image, a label does not fit, or a number
            is larger than the set.
        FileNotFoundError: If the set is not there.
    """
    del download
    numbers: dict[str, Any] = {
        "num_train": num_train,
        "num_validation": num_validation,
    }
    if name == TFDS_NAME:
        num_classes, parts = _open_records(data_dir, **numbers)
    else:
        num_classes, parts = open_folder(_locate(name, data_dir))
        train = splits.Arrays(parts["train"].paths, parts["train"].labels)
        carved = splits.carve(train, seed=seed, **numbers)
        parts["train"], parts["validation"] = (Files(*part) for part in carved)
    train = splits.Arrays(
        streams.Stream(parts["train"], side=side),
        getattr(parts["train"], "labels", np.empty(0, np.int32)),
    )
    return splits.clean(
        name=name,
        train=train,
        validation=_evaluated("validation", parts["validation"], side),
        test=_evaluated("test", parts["test"], side),
        num_classes=num_classes,
        mean=MEAN,
        std=STD,
    )


def open_sources(name: str, data_dir: DataDir) -> dict[str, streams.Source]:
    """Returns the training and the test images of a data set, encoded."""
    if name == TFDS_NAME:
        _, parts = _open_records(data_dir, num_train=None, num_validation=0)
        del parts["validation"]
        return parts
    return dict(open_folder(_locate(name, data_dir))[1])


def _locate(name: str, data_dir: DataDir) -> pathlib.Path:
    """Returns the folder of `imagefolder:PATH`."""
    return pathlib.Path(data_dir or ".", name.removeprefix(PREFIX))


def open_folder(folder: pathlib.Path) -> tuple[int, dict[str, Files]]:
    """Lists `train/CLASS/*`, and `val`, see `folders.find_test`.

    Returns:
        num_classes: K.
        parts: `"train"` and `"test"`, which is `val`.

    Raises:
        ValueError: If a class has no image, or a label does not fit.
        FileNotFoundError: If one of both is missing, or has no image.
    """
    for part in ("train", "val"):
        if not (folder / part).is_dir():
            raise FileNotFoundError(
                "A folder of photographs must hold `train` and `val`."
                f" Received: {folders_lib.printable(folder)!r} without"
                f" {part!r}. Give `{PREFIX}PATH`, PATH absolute or"
                " relative to `data_dir`."
            )
    classes = folders_lib.class_names(folder / "train")
    if not classes:
        raise _checks.refusal(
            "`train` must hold a folder for each class",
            f"{folders_lib.printable(folder / 'train')!r} without any",
            "Unpack the archives of the classes, each into a folder",
        )
    train, test = (
        Files(np.array(part.paths), part.labels)
        for part in folders.find_parts(folder, "val")
    )
    return len(classes), {"train": train, "test": test}


def _open_records(
    data_dir: DataDir,
    *,
    num_train: int | None,
    num_validation: int | None,
) -> tuple[int, dict[str, Any]]:
    """Opens ImageNet as TFDS has prepared it."""
    import tensorflow_datasets as tfds

    builder = prepared.open_builder(TFDS_NAME, data_dir, download=False)
    if builder is None:
        raise prepared.missing(
            TFDS_NAME,
            data_dir,
            "Put its two archives into `downloads/manual` there and run `tfds"
            f" build {TFDS_NAME}`, or name its folder of images as"
            f" {PREFIX}PATH",
        )
    size = builder.info.splits["train"].num_examples
    if num_validation is None:
        num_validation = size // 10
    splits.check_counts(size, num_train or 1, num_validation)
    end = num_validation + num_train if num_train else size
    ranges = {
        "train": f"train[{num_validation}:{end}]",
        "validation": f"train[:{num_validation}]",
        "test": "validation",
    }
    features = builder.info.features
    # The bytes as they are; TFDS would decode whole images.
    decoders = {"image": tfds.decode.SkipDecoding()}

    def parse(record: tf.Tensor) -> dict[str, tf.Tensor]:
        return features.deserialize_example(record, decoders=decoders)

    def open_split(split: str) -> Records:
        files = builder.info.splits[split].file_instructions
        return Records(
            [str(each.filename) for each in files],
            [each.skip for each in files],
            [each.take for each in files],
            parse,
        )

    return features["label"].num_classes, {
        part: open_split(split) for part, split in ranges.items()
    }


def _evaluated(part: str, source: streams.Source, side: int) -> splits.Arrays:
    """Returns a set of which all images decode, with its labels."""
    reasons, labels = streams.find_unreadable(source)
    logging.info(
        "The %s set has %d images; %d more are no whole images: %s",
        part,
        len(labels),
        len(reasons),
        ", ".join(map(source.name, reasons)) or "none",
    )
    stream = streams.Stream(source, side=side, left_out=tuple(reasons))
    return splits.Arrays(stream, labels)
