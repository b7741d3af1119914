"""Callbacks of runs: scalars, test accuracy, best weights, failed losses."""

import math
import pathlib
from collections.abc import Iterable
from collections.abc import Sequence

import keras
import tensorflow as tf

from tf_mixup.callbacks import _monitor

# Prefix of names in `logs` -> folder of TensorBoard's files.
_FOLDERS = {"val": "validation", "test": "test"}


class EpochScalars(keras.callbacks.Callback):
    """Writes `logs` at each epoch's end, and flushes.

    Keras' own callback keeps events in memory, where a kill loses them, and
    counts batches from 0 after a resume.

    Args:
        directory: Gets `train/`, `validation/` for names that start with
            `val_`, and `test/` for those with `test_`.
        callbacks: The other callbacks. Values that monitors among them measure
            are left out, since these write them.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        callbacks: Iterable[keras.callbacks.Callback] = (),
    ) -> None:
        super().__init__()
        self._directory = directory
        self._monitors = [
            each for each in callbacks if isinstance(each, _monitor.Monitor)
        ]
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def on_epoch_end(
        self, epoch: int, logs: dict[str, float] | None = None
    ) -> None:
        """Writes `epoch_<name>` at step `epoch`."""
        written = {name for each in self._monitors for name in each.values}
        for name, value in (logs or {}).items():
            if name in written:
                continue
            prefix, _, rest = name.partition("_")
            folder = _FOLDERS.get(prefix, "train")
            if folder == "train":
                rest = name
            with self._writer(folder).as_default(step=epoch):
                tf.summary.scalar(f"epoch_{rest}", value)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Closes the files."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, name: str) -> tf.summary.SummaryWriter:
        if name not in self._writers:
            self._writers[name] = tf.summary.create_file_writer(
                str(self._directory / name)
            )
        return self._writers[name]


class TestAccuracy(keras.callbacks.Callback):
    """Adds `test_accuracy` to `logs` after each epoch.

    Args:
        batches: Of the test set, as `evaluate` takes them.
    """

    def __init__(self, batches: tf.data.Dataset) -> None:
        super().__init__()
        self._batches = batches

    def on_epoch_end(
        self, epoch: int, logs: dict[str, float] | None = None
    ) -> None:
        """Evaluates the model as `fit` does with the validation set."""
        found = self.model.evaluate(self._batches, verbose=0, return_dict=True)
        if logs is not None:
            logs["test_accuracy"] = found["accuracy"]


class BestWeights(keras.callbacks.ModelCheckpoint):
    """Keeps the weights of the epoch with the lowest validation loss.

    List it before `Checkpoint`: an epoch whose checkpoint was not saved is
    trained and compared again.

    Args:
        directory: Gets `best.weights.h5`.
        losses: Validation losses of the epochs before a resume.
    """

    def __init__(
        self, directory: pathlib.Path, losses: Sequence[float] = ()
    ) -> None:
        self._path = directory / "best.weights.h5"
        super().__init__(
            str(self._path),
            monitor="val_loss",
            mode="min",
            save_best_only=True,
            save_weights_only=True,
            initial_value_threshold=min(losses, default=None),
        )

    def restore(self, model: keras.Model) -> None:
        """Sets the model to the weights that were kept."""
        model.load_weights(self._path)


class StopWhenDiverged(keras.callbacks.Callback):
    """Stops with a sentence when the loss is no longer a number."""

    def on_epoch_end(
        self, epoch: int, logs: dict[str, float] | None = None
    ) -> None:
        """Raises a ValueError if a loss is infinite or NaN."""
        for name in ("loss", "val_loss"):
            value = (logs or {}).get(name, 0.0)
            if not math.isfinite(value):
                raise ValueError(
                    "The loss must stay finite. Received:"
                    f" {name}={value} in epoch {epoch}. Lower --learning_rate,"
                    " raise --warmup_epochs, and look for NaN in the data; the"
                    " epochs before are kept in the workdir."
                )
