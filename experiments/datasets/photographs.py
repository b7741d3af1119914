"""ImageNet and its like: from TFDS's records, or from folders of images.

A folder is laid out as ImageNet's or Tiny-ImageNet's archives unpack:
`train/CLASS/*` or `train/CLASS/images/*`, and `val` in the same way, or flat
with a file of labels. Classes are numbered in the order of their names, which
for synsets (`n01440764`) is the usual one.
"""

import logging
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from experiments.datasets import folders
from experiments.datasets import prepared
from experiments.datasets import sources
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


def load(
    name: str,
    *,
    data_dir: DataDir,
    download: bool = False,
    seed: int,
    num_train: int | None,
    num_validation: int | None,
    image_size: int = streams.SIDE,
) -> splits.Splits:
    """Opens ImageNet's records, or a folder of images, as streams.

    The test set is `val`, whose labels are public; validation is carved from
    the training set: of files by `seed`, as `splits.carve` does, of records
    the first, which are the same for every seed. Images of both are decoded
    once, and those that cannot be are left out. Labels of training records are
    unknown until they are read, and left empty. `download` is ignored, since
    ImageNet cannot be fetched. Other arguments are those of `datasets.load`.

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
        parts["train"], parts["validation"] = (
            sources.Files(*part) for part in carved
        )
    train = splits.Arrays(
        streams.Stream(parts["train"], side=image_size),
        getattr(parts["train"], "labels", np.empty(0, np.int32)),
    )
    return splits.clean(
        name=name,
        train=train,
        validation=_evaluated("validation", parts["validation"], image_size),
        test=_evaluated("test", parts["test"], image_size),
        num_classes=num_classes,
        mean=MEAN,
        std=STD,
    )


def open_sources(name: str, data_dir: DataDir) -> dict[str, sources.Source]:
    """Returns the training and the test images of a data set, encoded."""
    if name == TFDS_NAME:
        _, parts = _open_records(data_dir, num_train=None, num_validation=0)
        del parts["validation"]
        return parts
    return dict(open_folder(_locate(name, data_dir))[1])


def _locate(name: str, data_dir: DataDir) -> pathlib.Path:
    """Returns the folder of `imagefolder:PATH`."""
    return pathlib.Path(data_dir or ".", name.removeprefix(PREFIX))


def open_folder(folder: pathlib.Path) -> tuple[int, dict[str, sources.Files]]:
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
        sources.Files(np.array(part.paths), part.labels)
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

    def open_split(split: str) -> sources.Records:
        files = builder.info.splits[split].file_instructions
        return sources.Records(
            [str(each.filename) for each in files],
            [each.skip for each in files],
            [each.take for each in files],
            parse,
        )

    return features["label"].num_classes, {
        part: open_split(split) for part, split in ranges.items()
    }


def _evaluated(part: str, source: sources.Source, side: int) -> splits.Arrays:
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
