"""TensorBoard's files of a run that was killed: what is read, what goes.

A file is a sequence of records: length (8 bytes), its checksum (4), data, its
checksum (4). TensorFlow stops at the first that is damaged; here the records
after it are found again by their checksums.
"""

import logging
import pathlib
import struct
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow

from experiments.runs import atomic_files

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


def read(path: pathlib.Path) -> list[Any]:
    """Reads the events of a file that are whole.

    A damaged part gets a warning that says how much of the file it is, and
    an end within an event, as a kill leaves it, a note.
    """
    try:
        records = [*tf.data.TFRecordDataset(str(path)).as_numpy_iterator()]
    except tf.errors.DataLossError:
        records = [*_salvage(path)]
    return [tf.compat.v1.Event.FromString(record) for record in records]


def drop_steps(directory: pathlib.Path, *, from_step: int) -> None:
    """Removes what files hold of steps that will be run again.

    Files are searched below the directory. Steps are epochs; `from_step` is the
    first to be removed.

    Raises:
        OSError: If the disk is full or read-only; the file is as it was.
    """
    for path in sorted(directory.glob("**/events.out.tfevents.*")):
        found = read(path)
        if not found:
            continue  # Whatever it is, there is nothing to remove.
        events = [
            event
            for event in found
            if not event.HasField("summary") or event.step < from_step
        ]

        def write(partial: pathlib.Path, events: list = events) -> None:
            try:
                with tf.io.TFRecordWriter(str(partial)) as writer:
                    for event in events:
                        writer.write(event.SerializeToString())
            except tf.errors.OpError as error:
                raise OSError(error.message) from error

        atomic_files.write_atomically(path, write)


def _salvage(path: pathlib.Path) -> Iterator[bytes]:
    """Yields the whole records of a damaged file."""
    content = path.read_bytes()
    position = 0
    while position < len(content):
        record = _record_at(content, position)
        if record is not None:
            yield record
            position += _HEADER.size + len(record) + _FOOTER.size
            continue
        following = _find_record(content, position + 1)
        if following is None:
            logging.info(
                "%s ends within an event; the rest is whole.", path.name
            )
            return
        logging.warning(
            "%s is damaged: the events in its bytes %d to %d are lost, those"
            " after them are kept.",
            path,
            position,
            following - 1,
        )
        position = following


def _find_record(content: bytes, start: int) -> int | None:
    """Returns where the next whole record begins, if there is one."""
    for position in range(start, len(content)):
        if _record_at(content, position) is not None:
            return position
    return None


def _record_at(content: bytes, position: int) -> bytes | None:
    """Returns the data of the record at a place; None if it is not whole."""
    begin = position + _HEADER.size
    if begin + _FOOTER.size > len(content):
        return None
    length, checksum = _HEADER.unpack_from(content, position)
    end = begin + length
    if end + _FOOTER.size > len(content):
        return None
    # Nearly all that is no record has ended here.
    if checksum != _masked_crc(content[position : position + 8]):
        return None
    data = content[begin:end]
    (checksum,) = _FOOTER.unpack_from(content, end)
    return data if checksum == _masked_crc(data) else None


def _masked_crc(data: bytes) -> int:
    return pywrap_tensorflow.masked_crc32c(data)
