"""Checkpoints: a killed run goes on and ends as if it had not been killed.

A checkpoint holds all that the rest of the run depends on: each variable of
the model (weights, moving statistics, states of dropout's generators) and of
the optimizer, and the history so far. Everything else is a function of
(seed, epoch, step).
"""

import hashlib
import io
import json
import logging
import pathlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from experiments import files
from tf_mixup import checks

# Bytes of JSON travel in the same file as one array.
HISTORY = "history"
KEPT = 2
# A file ends with the digest of the rest: zip has no checksum of its headers.
DIGEST_BYTES = 32


class Checkpoint(keras.callbacks.Callback):
    """Saves after each epoch; restores the newest one that is whole.

    List it last: what later callbacks add to `logs` would miss its history.

    Args:
        directory: For the files `epoch-00001.npz`, counted in epochs done.

    Attributes:
        epochs_done: Epochs in the restored checkpoint, 0 if there was none.
        history: For each quantity in `logs` a list of its values by epoch.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__()
        self._directory = directory
        self.epochs_done = 0
        self.history: dict[str, list[float]] = {}

    def restore(self, model: keras.Model) -> None:
        """Sets `model` to the newest checkpoint that can be read.

        A damaged one is passed over in favour of the one before, with a
        warning; with none left, the run starts from its first epoch.

        Args:
            model: The compiled model, built as it was when saved.

        Raises:
            ValueError: If a whole checkpoint does not fit the model.
        """
        model.optimizer.build(model.trainable_variables)
        paths = find(self._directory)
        for path in reversed(paths):
            try:
                arrays = _read(path)
            except (OSError, ValueError) as error:
                logging.warning(
                    "Checkpoint %s is damaged (%s); looking at the one before.",
                    path.name,
                    error,
                )
                continue
            self.history = json.loads(arrays.pop(HISTORY).tobytes())
            _assign(model, arrays, path)
            self.epochs_done = _epochs_done(path)
            return
        if paths:
            logging.warning("No checkpoint is whole; starting from scratch.")

    def on_epoch_end(
        self, epoch: int, logs: dict[str, float] | None = None
    ) -> None:
        """Adds `logs` to the history and saves."""
        for name, value in sorted((logs or {}).items()):
            self.history.setdefault(name, []).append(float(value))
        self._save(epoch + 1)

    def _save(self, epochs_done: int) -> None:
        arrays = {
            f"{index:05d}": np.asarray(variable.numpy())
            for index, variable in enumerate(_variables(self.model))
        }
        text = json.dumps(self.history).encode()
        arrays[HISTORY] = np.frombuffer(text, np.uint8)
        files.write_atomically(
            self._directory / f"epoch-{epochs_done:05d}.npz",
            lambda partial: _write(partial, arrays),
        )
        for path in find(self._directory):
            # Damaged ones of later epochs go, or they would count as newest.
            if not epochs_done - KEPT < _epochs_done(path) <= epochs_done:
                path.unlink()


def find(directory: pathlib.Path) -> list[pathlib.Path]:
    """Returns the checkpoints in a directory, damaged ones too, by epoch."""
    return sorted(directory.glob("epoch-*.npz"))


def _epochs_done(path: pathlib.Path) -> int:
    return int(path.stem.removeprefix("epoch-"))


def _variables(model: keras.Model) -> list[Any]:
    return [
        variable.value
        for variable in [*model.variables, *model.optimizer.variables]
    ]


def _write(path: pathlib.Path, arrays: dict[str, Any]) -> None:
    np.savez(path, allow_pickle=False, **arrays)
    digest = hashlib.sha256(path.read_bytes()).digest()
    with path.open("ab") as file:
        file.write(digest)


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    content = path.read_bytes()
    content, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("its digest is another")
    with np.load(io.BytesIO(content)) as archive:
        return {name: archive[name] for name in archive.files}


def _assign(
    model: keras.Model, arrays: dict[str, np.ndarray], path: pathlib.Path
) -> None:
    variables = _variables(model)
    values = [arrays[name] for name in sorted(arrays)]
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        raise checks.refusal(
            "A checkpoint must fit the model",
            f"{path} of another network or optimizer",
            "Take another --workdir, or delete this one",
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(tf.cast(value, variable.dtype))


def drop_summaries(directory: pathlib.Path, *, from_step: int) -> None:
    """Removes what TensorBoard files hold of steps that will be run again.

    Args:
        directory: Searched for event files, at any depth.
        from_step: First step to be removed; steps are epochs.
    """
    for path in sorted(directory.glob("**/events.out.tfevents.*")):
        events = [
            event
            for event in _read_events(path)
            if not event.HasField("summary") or event.step < from_step
        ]

        def write(partial: pathlib.Path, events: list = events) -> None:
            with tf.io.TFRecordWriter(str(partial)) as writer:
                for event in events:
                    writer.write(event.SerializeToString())

        files.write_atomically(path, write)


def _read_events(path: pathlib.Path) -> list[Any]:
    """Reads events up to the first that the kill left half-written."""
    events = []
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            events.append(tf.compat.v1.Event.FromString(record))
    except tf.errors.DataLossError:
        logging.info("%s ends within an event; the rest is whole.", path.name)
    return events
