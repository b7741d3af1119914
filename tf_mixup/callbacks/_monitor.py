"""The base of monitors, which measure calibration and detection during `fit`.

Their values are in `logs` before any callback's `on_epoch_end`, and belong to
the weights that were validated, wherever a monitor stands in the list of
callbacks; see `tf_mixup._models.validation_pass`.
"""

import abc
import contextlib
import copy
import os
import pathlib
import re
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import ClassVar

import keras
import tensorflow as tf

from tf_mixup import _checks
from tf_mixup._data import examples as examples_lib
from tf_mixup._models import model_calls
from tf_mixup._models import named_outputs
from tf_mixup._models import validation_pass

# Names that a legend, a tag and a file can show as they are.
_NAME = re.compile(r"[^\W_][\w .-]*")


class Monitor(keras.callbacks.Callback, abc.ABC):
    """Measures something every few epochs and adds it to `logs`.

    A subclass implements `measure` and `write`. Its values are in `logs`
    before any callback's `on_epoch_end`, in every epoch with validation. In
    an epoch without it they are added in the monitor's own `on_epoch_end`:
    then list the monitor before the callbacks that read them. A copied or
    unpickled monitor is new, and shares the data.

    Args:
        log_dir: Folder for TensorBoard's files, or None to write none.
        freq: Measures in epochs `freq`, `2 * freq`, ... counted from 1,
            the epochs in which `fit(validation_freq=freq)` validates.
            Defaults to 1.

    Raises:
        ValueError: If `freq` is below 1, or the model is not one of Keras 3.
    """

    # The folder in `log_dir` that the files are written to.
    run_name = ""
    # The state of one training; no value is changed in place.
    _new: ClassVar[dict[str, Any]] = {
        "_model": None,
        "params": None,
        "values": {},
        "_due": False,
        "_writer": None,
    }

    def __init__(
        self,
        *,
        log_dir: str | os.PathLike[str] | None = None,
        freq: int = 1,
    ) -> None:
        super().__init__()
        self.log_dir = None if log_dir is None else pathlib.Path(log_dir)
        self.freq = _checks.integer_at_least(
            "freq", freq, 1, remedy="Write 1 to measure in every epoch"
        )
        self.values: dict[str, float] = {}
        self._due = False
        self._writer: Any = None

    @abc.abstractmethod
    def measure(self, validated: bool) -> dict[str, float]:
        """Returns the values to add to `logs`, by their full names.

        Args:
            validated: Whether `fit` has just validated, so that the model's
                compiled metrics hold the validation set.
        """

    @abc.abstractmethod
    def write(self, step: int) -> None:
        """Writes the last values to the default summary writer."""

    def __getstate__(self) -> dict[str, Any]:
        """Returns the state of copies and pickles, without the training's."""
        return {**vars(self), **self._new}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Monitor":
        """Returns a new monitor of the same data."""
        del memo
        return copy.copy(self)

    def set_model(self, model: keras.Model) -> None:
        """Refuses what is not a Keras 3 model."""
        model_calls.check_model(model)
        super().set_model(model)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Prepares to measure in the validation passes of this `fit`."""
        self._due = False
        self.values = {}
        validation_pass.attach(self)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Notes whether to measure in this epoch."""
        self._due = (epoch + 1) % self.freq == 0
        self.values = {}

    def measure_validated(self) -> None:
        """Measures at the end of `fit`'s own validation pass."""
        if self._due and not self.values:
            self.values = self.measure(validated=True)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Writes; measures in an epoch without validation."""
        if not self._due:
            return
        if not self.values:
            self.values = self.measure(validated=False)
        if logs is not None:
            logs.update(self.values)
        if self.log_dir is not None:
            # Not earlier, as an interrupted epoch is run again.
            with self._open_writer(self.log_dir).as_default():
                self.write(epoch)
            self._writer.flush()
        self._due = False

    def on_train_end(self, logs: dict | None = None) -> None:
        """Gives the model its own `evaluate` back."""
        validation_pass.detach(self.model)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open_writer(self, log_dir: pathlib.Path) -> Any:
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(
                os.fspath(log_dir / self.run_name)
            )
        return self._writer


class Source:
    """The user's data, and how to read them.

    Args:
        name: Name in messages.
        data: In any form that `_data.examples.read` takes.
        batch_size: Examples in a batch where data are arrays.
        max_examples: Examples to stop after; None for all.
    """

    def __init__(
        self,
        name: str,
        data: Any,
        batch_size: int,
        max_examples: int | None = None,
    ) -> None:
        self._name = name
        self._data = data
        self._options: dict[str, Any] = {
            "batch_size": batch_size,
            "max_examples": max_examples,
        }
        self._examples: examples_lib.Examples | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Returns what is pickled: the data as given."""
        if isinstance(self._data, tf.data.Dataset):
            raise _checks.refusal(
                "A monitor is pickled with its data",
                f"{self._name} of a tf.data.Dataset, which cannot be",
                "Give arrays; `copy.deepcopy` shares a dataset",
            )
        return {**vars(self), "_examples": None}

    def read(
        self, *, labeled: bool, model: keras.Model | None = None
    ) -> examples_lib.Examples:
        """Returns the examples; refuses data without any."""
        held = isinstance(self._data, (list, tuple, Mapping)) or hasattr(
            self._data, "shape"
        )
        # The model decides whether a list or tuple holds several inputs.
        again = held or isinstance(self._data, tf.data.Dataset)
        if self._examples is None or (again and model is not None):
            examples = examples_lib.read(
                self._data,
                name=self._name,
                labeled=labeled,
                model=model,
                **self._options,
            )
            if held or not examples.num_batches:
                # Refuses data without examples.
                next(examples.batches())
            self._examples = examples
        return self._examples


def scope(model: keras.Model) -> Any:
    """Returns the scope in which the model's variables are made."""
    if keras.backend.backend() == "tensorflow":
        return model.distribute_strategy.scope()
    return contextlib.nullcontext()


def check_name(argument: str, name: Any) -> str:
    """Returns a name that logs, tags and figures can show."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _checks.refusal(
            f"`{argument}` must be letters, digits, spaces, '_', '-' and '.',"
            " and begin with a letter or digit",
            f"{argument}={name!r}",
            "Choose a name that figures and TensorBoard can show",
        )
    return name


def name_outputs(
    model: keras.Model, examples: examples_lib.Examples
) -> dict[str, Any]:
    """Returns the model's outputs by name, symbolic or of the first batch."""
    if model_calls.runs_plainly(model):
        sequential = isinstance(model, keras.Sequential)
        outputs = model.outputs if sequential else model.output
    else:
        inputs = next(examples.batches()).inputs
        outputs = model_calls.predict(model, inputs)
    return named_outputs.by_name(outputs, model)


def choose(
    named: dict[str, Any], outputs: Sequence[str] | None
) -> dict[str, Any]:
    """Returns the named outputs; all if `outputs` is None."""
    if outputs is None or list(named) == [""]:
        return named
    unknown = [name for name in outputs if name not in named]
    if unknown:
        raise _checks.refusal(
            "Outputs to measure must be outputs of the model that can be"
            " measured",
            f"{unknown} for a model of {list(named)}",
            "Write one of these names; without `data` compile it with"
            " `CalibrationMetrics`",
        )
    return {name: named[name] for name in outputs}


def head_of(model: keras.Model, output: str | None) -> keras.Model | None:
    """Returns the model of one output, whose last layer can be inspected."""
    if not model_calls.runs_plainly(model):
        return None
    if output is None or len(model.outputs) == 1:
        return model
    named = named_outputs.by_name(model.output, model)
    return keras.Model(model.inputs, named[output])
