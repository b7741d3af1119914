"""Reads data sets that TensorFlow Datasets has prepared."""

import pathlib
from typing import Any

from tf_mixup._data import tfds as tfds_lib

DataDir = str | pathlib.Path | None


def open_builder(name: str, data_dir: DataDir, *, download: bool) -> Any:
    """Opens a data set of TensorFlow Datasets; None if it is not prepared.

    Args:
        name: There.
        data_dir: Its folder; None is its default, in the home folder.
        download: Whether a missing set is downloaded and prepared there.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=data_dir or None)
    if download:
        builder.download_and_prepare()
    return builder if builder.is_prepared() else None


def read(builder: Any, split: str, *, batch_size: int | None = -1) -> Any:
    """Reads a split as NumPy arrays: a dictionary of columns.

    Args:
        builder: As `open_builder` returns it.
        split: Its name.
        batch_size: -1 for all examples at once; None for a list of single
            examples, whose shapes may differ.

    Raises:
        ValueError: If a file of it is damaged.
    """
    import tensorflow_datasets as tfds

    with tfds_lib.naming_damage(builder, split):
        examples = tfds.as_numpy(
            builder.as_dataset(split=split, batch_size=batch_size)
        )
        return examples if batch_size else list(examples)


def missing(name: str, data_dir: DataDir, remedy: str = "") -> Exception:
    """Returns the error of a data set that has not been prepared."""
    remedy = remedy or (
        f"Fetch it with `python -m experiments.train --dataset={name}"
        " --data_dir=DIR --download`"
    )
    return FileNotFoundError(
        f"The data set `{name}` must have been prepared. Received:"
        f" data_dir={str(data_dir)!r} without it. {remedy}."
    )
