"""Names the damaged file of a data set that TensorFlow Datasets prepared."""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tf_mixup import _checks
from tf_mixup._data import folders


@contextlib.contextmanager
def naming_damage(builder: Any, split: str) -> Iterator[None]:
    """Turns an error of reading into one that names the damaged file.

    Args:
        builder: A `tfds.core.DatasetBuilder`.
        split: The split that is read, such as `"train[:10]"`.

    Raises:
        ValueError: If a file of the split is damaged or missing.
    """
    try:
        yield
    except tf.errors.OpError as error:
        found = find_damage(builder, split)
        if found is None:
            raise
        raise _checks.refusal(
            f"The files of the data set `{builder.name}` must be whole",
            found,
            f"Delete {folders.printable(builder.data_dir)!r} and prepare the"
            " data set again",
        ) from error


def find_damage(builder: Any, split: str) -> str | None:
    """Returns the first damaged record of a split; None if all are whole.

    It is the file, the number of the record there, from 0, and TensorFlow's
    message.
    """
    for part in builder.info.splits[split].file_instructions:
        dataset = tf.data.TFRecordDataset(folders.encode([part.filename]))
        records = iter(dataset.map(builder.info.features.deserialize_example))
        for record in range(part.skip + part.take):
            try:
                next(records)
            except StopIteration:
                reason = "the file ends before"
            except tf.errors.OpError as error:
                reason = error.message.strip().splitlines()[0]
            else:
                continue
            path = folders.printable(part.filename)
            return f"{path!r}, record {record}: {reason}"
    return None
