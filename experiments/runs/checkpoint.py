"""Checkpoints: a killed run goes on and ends as if it had not been killed.

A checkpoint holds all that the rest of the run depends on: each variable of
the model (weights, moving statistics, states of dropout's generators) and of
the optimizer, the history so far, and within an epoch the sums of its metrics.
Everything else is a function of (seed, epoch, step), and of Keras' backend: a
run goes on with the one that it was started with. A checkpoint also says which
config it is of and which epoch and step it holds, whatever its name.
"""

import dataclasses
import hashlib
import io
import json
import logging
import pathlib
import re
import sys
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from experiments.distributed import preemption as preemption_lib
from experiments.distributed import workers as workers_lib
from experiments.runs import atomic_files
from experiments.runs import config as config_lib
from experiments.runs import run_files
from tf_mixup import _checks
from tf_mixup import callbacks
from tf_mixup import mixing

# Bytes of JSON travel in the same file as one array.
ABOUT = "about"
# Of what a checkpoint holds; files of another are not read.
FORMAT = 2
SUMS = "sum-"
KEPT = 2
# A file ends with the digest of the rest: zip has no checksum of its headers.
DIGEST_BYTES = 32

Position = tuple[int, int]
_NAME = re.compile(r"epoch-(\d{5,})(?:-step-(\d{7,}))?\.npz")


@dataclasses.dataclass(frozen=True)
class Found:
    """What a directory holds for a run.

    Attributes:
        own: Position -> arrays of the run's own whole checkpoints, the newest
            first.
        foreign: Path -> why a whole file is not the run's.
    """

    own: dict[Position, dict[str, np.ndarray]]
    foreign: dict[pathlib.Path, str]


class Checkpoint(keras.callbacks.Callback):
    """Saves after epochs and steps; restores the newest one that is whole.

    List it last: what later callbacks add to `logs` would miss its history,
    and what they do as an epoch begins would undo what it restores.

    Args:
        directory: For the files `epoch-00001.npz`, counted in epochs done,
            and `epoch-00001-step-0000200.npz`, in steps of the next one.
        epoch_counter: That of the training batches, which it sets to where a
            resumed run starts.
        config: Of the run; None reads and writes checkpoints of any.
        every_steps: Saves after as many steps of an epoch, too; 0 for after
            epochs only.
        preemption: Says when to save and to end the process; None for never.
        tuner: What sets alpha, listed before this, which goes on where it
            was; None if nothing does.
        workers: With whom to agree on what is restored, and when to end;
            None for alone.

    Attributes:
        epochs_done: Epochs in the restored checkpoint, 0 if there was none.
        steps_done: Steps of the next epoch in it.
        history: For each quantity in `logs` a list of its values by epoch.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        epoch_counter: mixing.EpochCounter,
        *,
        config: config_lib.Config | None = None,
        every_steps: int = 0,
        preemption: preemption_lib.Preemption | None = None,
        tuner: callbacks.AlphaTuner | None = None,
        workers: workers_lib.Workers | None = None,
    ) -> None:
        super().__init__()
        self._tuner = tuner
        self._config = config
        self._workers = workers or workers_lib.Workers()
        self._directory = directory
        self._epoch_counter = epoch_counter
        self._every_steps = _checks.integer_at_least(
            "checkpoint_every_steps",
            every_steps,
            0,
            remedy="Write 0 for after epochs only",
        )
        self._preemption = preemption
        self._sums: list[np.ndarray] = []
        self._epoch = self._first_step = 0
        self._held: tuple[Position, dict[str, np.ndarray]] | None = None
        self._kept: list[pathlib.Path] = []
        self._foreign: set[pathlib.Path] = set()
        self.epochs_done = self.steps_done = 0
        self.history: dict[str, list[float]] = {}

    def restore(self, model: keras.Model) -> None:
        """Sets a compiled model to the newest checkpoint that can be read.

        A damaged one is passed over in favor of the one before, with a
        warning; with none left, the run starts from its first epoch. One that
        is not of this run is passed over, too, and stays where it is. Several
        workers take the newest that all have. Within an epoch `fit` needs
        built metrics: evaluate a batch first.

        Raises:
            ValueError: If a whole checkpoint does not fit the model, is of
                another of Keras' backends, or none is of this run.
        """
        model.optimizer.build(model.trainable_variables)
        _warn_of_strays(self._directory)
        paths = find(self._directory)
        count = KEPT if self._workers.count > 1 else 1
        found = _read_newest(paths, self._config, count)
        for reason in found.foreign.values():
            logging.warning("Passed over a checkpoint: %s.", reason)
        self._foreign = {*found.foreign}
        position, arrays = self._agree(found.own)
        if position is None:
            if paths:
                logging.warning(
                    "No checkpoint is whole; starting from scratch."
                )
            return
        path = self._path(position)
        about = json.loads(arrays.pop(ABOUT).tobytes())
        _check_backend(about["backend"], path)
        self.history = about["history"]
        if self._tuner is not None:
            self._tuner.set_state(about["tuner"])
        self.epochs_done, self.steps_done = position
        # Those after it are not of all workers, or damaged.
        kept = paths[: paths.index(path) + 1]
        self._kept = [each for each in kept if each not in self._foreign]
        names = sorted(arrays)
        sums = [name for name in names if name.startswith(SUMS)]
        self._sums = [arrays.pop(name) for name in sums]
        values = [arrays[name] for name in sorted(arrays)]
        _assign(model, _state(model), values, path)

    def _agree(
        self, whole: dict[Position, dict[str, np.ndarray]]
    ) -> tuple[Position | None, dict[str, np.ndarray]]:
        """Returns the newest checkpoint that all workers have, if any.

        A worker may be killed just before it saves what others have saved;
        none is ever two checkpoints behind.
        """
        none = (-1, -1)
        mine = [*whole, *[none] * KEPT][:KEPT]
        of_all = self._workers.gather(np.ravel(mine).tolist())
        of_each = [
            {*map(tuple, own.tolist())} for own in of_all.reshape(-1, KEPT, 2)
        ]
        newest = max(set.intersection(*of_each) - {none}, default=None)
        return newest, {} if newest is None else whole[newest]

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Takes over to end the process when asked to."""
        if self._preemption is not None:
            self._preemption.postponed = True

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Goes to the step where a resumed run was killed."""
        self._epoch, self._first_step = epoch, 0
        if epoch == self.epochs_done and self.steps_done:
            self._first_step = self.steps_done
            self._epoch_counter.start_epoch(epoch, step=self.steps_done)
            # Keras has just set them to 0.
            path = self._path((epoch, self.steps_done))
            _assign(self.model, self.model.metrics_variables, self._sums, path)

    # Keras would wait for the numbers of every step if it were to hand them to
    # a callback after it. So what follows a step is done before the next one.
    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Saves what the steps before have done, if it is time."""
        steps = self._first_step + batch
        due = self._every_steps and steps % self._every_steps == 0
        asked = self._is_asked()
        if batch and (due or asked):
            self._save(self._collect((self._epoch, steps)))
        self._end_if(asked)
        if steps + 1 == self.params["steps"]:
            if self._first_step:
                # Keras expects as many steps as in every epoch.
                self.model.stop_training = True
            if batch and self._preemption is not None:
                # Validation forgets the sums, and may take long.
                self._held = self._collect((self._epoch, steps))

    def on_test_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Saves what there was before the last step, if asked to end."""
        asked = self._is_asked()
        if asked and self._held is not None:
            self._save(self._held)
        self._end_if(asked)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, float] | None = None
    ) -> None:
        """Adds `logs` to the history and saves."""
        self._held = None
        if self._first_step:
            self.model.stop_training = False
        for name, value in sorted((logs or {}).items()):
            self.history.setdefault(name, []).append(float(value))
        self._save(self._collect((epoch + 1, 0)))
        self._end_if(self._is_asked())

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Hands the end of the process back."""
        self._end_if(self._is_asked())
        if self._preemption is not None:
            self._preemption.postponed = False

    def _is_asked(self) -> bool:
        """Whether a worker was asked to end: then all do, at this step."""
        if self._preemption is None:
            return False
        return bool(self._workers.gather([self._preemption.asked]).any())

    def _end_if(self, asked: bool) -> None:
        if asked:
            logging.warning(
                "SIGTERM in epoch %d; the same command goes on.", self._epoch
            )
            sys.exit(preemption_lib.EXIT_CODE)

    def _collect(
        self, position: Position
    ) -> tuple[Position, dict[str, np.ndarray]]:
        """Returns what a checkpoint holds after some steps of an epoch."""
        if keras.backend.backend() == "jax":
            # Its trainer hands state from step to step outside of variables.
            self.model.jax_state_sync()
        arrays = {
            f"{index:05d}": _value(self.model, variable)
            for index, variable in enumerate(_state(self.model))
        }
        if position[1]:
            for index, variable in enumerate(self.model.metrics_variables):
                arrays[f"{SUMS}{index:05d}"] = _value(self.model, variable)
        about = {
            "format": FORMAT,
            "config": self._config and self._config.to_json(),
            "position": position,
            "backend": keras.backend.backend(),
            "history": self.history,
            "tuner": self._tuner and self._tuner.get_state(),
        }
        text = json.dumps(about).encode()
        arrays[ABOUT] = np.frombuffer(text, np.uint8)
        return position, arrays

    def _path(self, position: Position) -> pathlib.Path:
        return self._directory / _name(position)

    def _save(self, saved: tuple[Position, dict[str, np.ndarray]]) -> None:
        position, arrays = saved
        path = self._path(position)
        self._foreign.discard(path)
        atomic_files.write_atomically(
            path, lambda partial: _write(partial, arrays)
        )
        self._kept = [*self._kept, path][-KEPT:]
        for other in find(self._directory):
            # Damaged ones that come later go too, or they would be the newest.
            if other not in self._kept and other not in self._foreign:
                other.unlink()


def find(directory: pathlib.Path) -> list[pathlib.Path]:
    """Returns the checkpoints in a directory, damaged ones too, in order."""
    return sorted(filter(_is_named, directory.glob("epoch-*")), key=_position)


def check_config(
    paths: Sequence[pathlib.Path], config: config_lib.Config
) -> None:
    """Refuses checkpoints, as `find` gives them, if none is of a config.

    Raises:
        ValueError: If some are whole, and none of them is of `config`.
    """
    _read_newest(paths, config, 1)


def _read_newest(
    paths: Sequence[pathlib.Path],
    config: config_lib.Config | None,
    count: int,
) -> Found:
    """Returns the newest whole checkpoints of a run, `count` at most."""
    found = Found({}, {})
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
        reason = _why_foreign(arrays, path, config)
        if reason:
            found.foreign[path] = reason
            continue
        found.own[_position(path)] = arrays
        if len(found.own) == count:
            break
    if found.foreign and not found.own:
        raise _checks.refusal(
            "A workdir's checkpoints must be of its run",
            next(iter(found.foreign.values())),
            "Take another --workdir, or move this file away",
        )
    return found


def _why_foreign(
    arrays: dict[str, np.ndarray],
    path: pathlib.Path,
    config: config_lib.Config | None,
) -> str:
    """Returns why a whole file is not a run's; empty if it is."""
    if ABOUT not in arrays:
        return f"{path}, which has no format version"
    about = json.loads(arrays[ABOUT].tobytes())
    if about["format"] != FORMAT:
        return f"{path} of format {about['format']}, which is not {FORMAT}"
    if config is not None:
        changes = run_files.describe_changes(about["config"] or {}, config)
        if changes:
            return f"{path} of another config ({changes})"
    if tuple(about["position"]) != _position(path):
        return f"{path}, which is a copy of {_name(about['position'])}"
    return ""


def _warn_of_strays(directory: pathlib.Path) -> None:
    """Warns once of files that look like checkpoints and are none."""
    strays = [
        path.name
        for path in sorted(directory.glob("epoch-*"))
        if not _is_named(path)
    ]
    if strays:
        logging.warning(
            "Ignored what is no checkpoint in %s: %s.",
            directory,
            ", ".join(strays),
        )


def _is_named(path: pathlib.Path) -> bool:
    """Whether a file has the name of a checkpoint, as `_name` writes it."""
    return (
        _NAME.fullmatch(path.name) is not None
        and path.name == _name(_position(path))
        and path.is_file()
    )


def _name(position: Iterable[int]) -> str:
    """Returns the name of the file of a position."""
    epochs, steps = position
    within = f"-step-{steps:07d}" if steps else ""
    return f"epoch-{epochs:05d}{within}.npz"


def _position(path: pathlib.Path) -> Position:
    """Returns the epochs done, and the steps of the next one."""
    epochs, _, steps = path.stem.removeprefix("epoch-").partition("-step-")
    return int(epochs), int(steps or 0)


def _state(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _copies(model: keras.Model, variable: Any) -> tuple[Any, ...]:
    """Returns the variable of each replica."""
    if keras.backend.backend() != "tensorflow":
        return (variable,)
    strategy = model.distribute_strategy
    return strategy.experimental_local_results(variable.value)


def _value(model: keras.Model, variable: Any) -> np.ndarray:
    """Returns a variable's value, of each replica where they differ."""
    values = [copy.numpy() for copy in _copies(model, variable)]
    if len({value.tobytes() for value in values}) == 1:
        values = values[:1]
    return np.asarray(values[0] if len(values) == 1 else values)


def _check_backend(saved: str, path: pathlib.Path) -> None:
    """Refuses another backend's state: its rounding and dropout differ."""
    now = keras.backend.backend()
    if saved != now:
        raise _checks.refusal(
            "A run goes on with the Keras backend it was started with",
            f"{path} of {saved!r} with the Keras backend {now!r}",
            f"Set KERAS_BACKEND={saved}, or take another --workdir",
        )


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
    model: keras.Model,
    variables: list[Any],
    values: list[np.ndarray],
    path: pathlib.Path,
) -> None:
    copies = [_copies(model, variable) for variable in variables]
    shapes = [list(each[0].shape) for each in copies]
    fits = len(copies) == len(values) and all(
        list(value.shape) in (shape, [len(each), *shape])
        for each, shape, value in zip(copies, shapes, values, strict=True)
    )
    if not fits:
        raise _checks.refusal(
            "A checkpoint must fit the model",
            f"{path} of another network or optimizer",
            "Take another --workdir, or delete this one",
        )
    for each, shape, value in zip(copies, shapes, values, strict=True):
        whole = np.broadcast_to(value, [len(each), *shape])
        for copy, part in zip(each, whole, strict=True):
            copy.assign(keras.ops.cast(part, copy.dtype))
