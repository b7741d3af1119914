"""Counts the passes over a dataset, so that no two passes mix alike.

A dataset does not know which epoch it is read in. `fit` may start an iterator
for each epoch, or keep one of a repeated dataset; prefetching starts a pass
early; loops break off; a dataset may be built anew for each epoch. So the
count lives here. Each batch gets a position, (epoch, step), and what is drawn
from a seed and the position repeats for any degree of parallelism.

What is counted: the passes that *start*. Without an announced epoch each pass
over a dataset is the next epoch. With `callbacks.MixingSchedule` the announced
epoch decides: a pass starts there, or where the last whole pass of the same
dataset ended, whichever is later (a repeated dataset runs ahead).

What a resume restores: `fit(initial_epoch=n)` starts at epoch n exactly, in a
new process, too. Nothing else has to be saved.

What two loops see: a second `fit` of the same model goes on after the epochs
of the first. Another model, whose optimizer has taken no step yet, starts a
training of its own from epoch 0, with other draws. Two datasets of one stage,
a second pass within an epoch, and passes after a training have draws of their
own, too. To these ends an epoch is a number below `EPOCHS` plus a multiple of
`EPOCHS`, which is 0 in a single training; `training_epoch` takes it off.
Only a look at the data before the first training, or an `initial_epoch` that
was trained before, sees draws again.
"""

import dataclasses
import functools
import secrets
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_mixup import _checks

# An endless dataset without a known epoch length counts as one epoch.
ENDLESS = 2**40
# Epochs of a training are below it.
EPOCHS = 2**32
# Series, passes at one position and datasets are counted modulo this each.
_LIMIT = 2**10


class Bound:
    """What datasets refer to: a copy would be cut off from them.

    Copies, deep ones included, are the object itself. KerasTuner and others
    copy callbacks, which must still lead to the stage of the dataset.
    """

    def __copy__(self) -> "Bound":
        return self

    def __deepcopy__(self, memo: dict) -> "Bound":
        return self


@dataclasses.dataclass
class _Period:
    """A training, or the passes before, between and after trainings.

    Attributes:
        series: Distinguishes periods that have the same epochs.
        first: Where epochs are counted from.
        announced: Epoch and step, in a training.
        steps: Batches in an epoch of a training; None for those of a pass.
        num_passes: Passes that started, where no epoch is announced.
        lanes: For each stage, how many of its datasets were read: in the
            training, or in the last pass.
    """

    series: int = 0
    first: int = 0
    announced: tuple[int, int] | None = None
    steps: int | None = None
    num_passes: int = 0
    lanes: weakref.WeakKeyDictionary = dataclasses.field(
        default_factory=weakref.WeakKeyDictionary
    )

    def take_lane(self, owner: Any) -> int:
        """Returns 0 for the stage's first dataset, 1 for its second, ..."""
        if owner is None:
            return 0
        lane = self.lanes.get(owner, 0)
        self.lanes[owner] = lane + 1
        return lane


class EpochCounter(Bound):
    """The position of a training run, counted in batches.

    Each stage has one, which `callbacks.MixingSchedule` sets. Several stages of
    a pipeline (shuffling, augmentation, mixing) that share one follow the same
    epochs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._period = _Period()
        self._training = self._period
        self._num_series = 1
        # Of the training that was started, until its first epoch says where.
        self._pending: tuple[int | None, bool] | None = None

    def __reduce__(self) -> tuple:
        """Pickles as a new counter: passes are counted in one process."""
        return EpochCounter, ()

    def __repr__(self) -> str:
        return f"EpochCounter(epoch={training_epoch(self.epoch)})"

    @property
    def epoch(self) -> int:
        """The epoch as positions have it: announced, or of the last pass."""
        period = self._period
        if period.announced is None:
            epoch = period.first + max(period.num_passes - 1, 0)
        else:
            epoch = period.announced[0]
        return epoch + EPOCHS * _number(period.series)

    def start_training(
        self, steps_per_epoch: int | None, *, goes_on: bool = False
    ) -> None:
        """Notes that epochs will be announced; `fit` starts.

        If the first epoch is 0 though there was a training before, this one
        has draws of its own.

        Args:
            steps_per_epoch: Batches in an epoch, or None if unknown: then an
                epoch is one pass over the dataset.
            goes_on: Whether it continues the last training: then epoch 0 is
                the one after that training's last.
        """
        with self._lock:
            self._leave()
            self._pending = steps_per_epoch or None, goes_on

    def start_epoch(self, epoch: int, *, step: int = 0) -> None:
        """Announces an epoch before its first batch.

        Args:
            epoch: Counted from 0.
            step: The batch of this epoch to start with, counted from 0, where
                a resumed run has done those before. A dataset whose pass is
                an epoch then repeats the epoch's last position, as it must
                have its length: leave off after that batch.
        """
        with self._lock:
            period = self._period
            if period.announced is None:
                self._enter(epoch, *(self._pending or (None, False)))
            elif epoch + period.first < period.announced[0]:
                self._enter(epoch, period.steps, goes_on=False)
            period = self._period
            period.announced = epoch + period.first, step

    def end_training(self) -> None:
        """Notes that no epoch will be announced; `fit` has ended."""
        with self._lock:
            self._leave()

    def has_started(self, owner: Any) -> bool:
        """Returns whether a pass of this stage started in the training."""
        return owner in self._period.lanes

    def positions(self, length: int) -> tf.data.Dataset:
        """Returns a dataset of (epoch, step), one for each batch of a pass.

        Args:
            length: Batches in a pass, or `tf.data.INFINITE_CARDINALITY`.

        Returns:
            positions: Dataset of pairs of int64 scalars, both from 0. The
                epoch may have a multiple of `EPOCHS` added to it.
        """

        def transform(places: tf.data.Dataset) -> tf.data.Dataset:
            return places.map(tf.autograph.experimental.do_not_convert(locate))

        return self.attach(length, transform)

    def attach(
        self,
        length: int,
        transform: Callable[[tf.data.Dataset], tf.data.Dataset],
        *,
        owner: Any = None,
    ) -> tf.data.Dataset:
        """Returns what is made of places, and counts its passes.

        Args:
            length: As for `positions`.
            transform: Takes a dataset of places, which `locate` turns into
                positions, to one of as many elements. A pass has ended when
                all of these were taken, no matter how many were read ahead.
            owner: The stage that it belongs to: datasets of one stage have
                draws of their own. By default all have the same positions.

        Returns:
            dataset: What `transform` returned, of known cardinality.
        """
        # Each function costs milliseconds whenever a pass starts.
        line = _Line(self, length, owner)
        plain = tf.autograph.experimental.do_not_convert
        start = tf.data.Dataset.from_tensors(0)
        made = transform(start.flat_map(plain(line.places)))
        end = start.flat_map(plain(lambda _: line.finish(made.element_spec)))
        return made.concatenate(end).apply(
            tf.data.experimental.assert_cardinality(length)
        )

    def _enter(self, epoch: int, steps: int | None, goes_on: bool) -> None:
        """Begins the training whose first epoch this is."""
        self._leave()
        self._pending = None
        last, first, series = self._training, 0, 0
        if epoch == 0 and last.announced is not None:
            if goes_on:
                first, series = last.announced[0] + 1, last.series
            else:
                series = self._new_series()
        self._period = self._training = _Period(series, first, (0, 0), steps)

    def _leave(self) -> None:
        """Begins the passes after a training, if there was one."""
        announced = self._period.announced
        if announced is not None:
            self._period = _Period(self._new_series(), announced[0] + 1)

    def _new_series(self) -> int:
        self._num_series += 1
        return self._num_series - 1


class _Line:
    """The passes of one dataset that follows a counter."""

    def __init__(self, counter: EpochCounter, length: int, owner: Any) -> None:
        self._counter = counter
        self._length = ENDLESS if length < 0 else length
        self._owner = owner
        self._period = counter._period
        # Of the period's passes, the last that this line was part of, or that
        # started before it was made.
        self._joined = self._period.num_passes
        self._lane: int | None = None
        self._start = self._stop = self._end = -1
        self._announced: tuple[int, int] | None = None
        self._again = 0

    def places(self, _: tf.Tensor) -> tf.data.Dataset:
        """Returns the places of a pass that starts now, for `locate`."""
        with tf.control_dependencies([_assert_home()]):
            first, end, span = tf.numpy_function(
                self._begin, [], [tf.int64] * 3
            )
        for each, shape in ((first, []), (end, []), (span, [3])):
            each.set_shape(shape)
        return tf.data.Dataset.zip(
            tf.data.Dataset.range(first, end),
            tf.data.Dataset.from_tensors(span).repeat(),
        )

    def finish(self, spec: Any) -> tf.data.Dataset:
        """Marks the pass as whole; returns a dataset of no elements."""
        none = tf.ensure_shape(tf.numpy_function(self._mark, [], tf.int64), [])

        def stack_none(each: tf.TensorSpec) -> tf.Tensor:
            sides = each.shape if each.shape.rank is not None else ()
            return tf.zeros(
                [none, *(none if side is None else side for side in sides)],
                each.dtype,
            )

        return tf.data.Dataset.from_tensor_slices(
            tf.nest.map_structure(stack_none, spec)
        )

    def _mark(self) -> np.ndarray:
        with self._counter._lock:
            self._end = self._stop
        return np.array(0, np.int64)

    def _begin(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the first place, the one after the last, and their span."""
        with self._counter._lock:
            period = self._counter._period
            if period is not self._period:
                self._period, self._lane = period, None
                self._joined, self._again = 0, 0
                self._start = self._end = -1
            steps = period.steps or self._length
            place = self._place(period, steps)
            self._stop = place + self._length
            if steps == self._length:
                self._stop = (place // steps + 1) * steps
            number = _number(period.series, self._again, self._lane or 0)
            span = steps, self._stop - 1, EPOCHS * number
            return (
                np.array(place, np.int64),
                np.array(place + self._length, np.int64),
                np.array(span, np.int64),
            )

    def _place(self, period: _Period, steps: int) -> int:
        """Returns where the pass starts, in batches from epoch 0."""
        if period.announced is None:
            return self._next_pass(period) * steps
        if self._lane is None:
            self._lane = period.take_lane(self._owner)
        epoch, step = period.announced
        place = max(epoch * steps + step, self._end)
        seen = place == self._start and period.announced == self._announced
        self._again = self._again + 1 if seen else 0
        self._start, self._announced = place, period.announced
        return place

    def _next_pass(self, period: _Period) -> int:
        """Joins a pass that others started, or starts the next one."""
        if self._joined == period.num_passes:
            period.num_passes += 1
            period.lanes.clear()
        self._joined = period.num_passes
        self._lane = period.take_lane(self._owner)
        return period.first + self._joined - 1


def locate(place: tf.Tensor, span: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the position (epoch, step) of a place in a pass.

    Args:
        place: In batches from epoch 0, an int64 scalar.
        span: Batches in an epoch, the last place, and the multiple of `EPOCHS`
            that is added to the epoch, int64 `(3,)`.
    """
    steps, last, base = tf.unstack(span)
    place = tf.minimum(place, last)
    return base + place // steps, place % steps


def training_epoch(epoch: Any) -> Any:
    """Returns the epoch of a training that a position is in.

    Args:
        epoch: As positions have it, an integer or an integer tensor.
    """
    return epoch % EPOCHS


def _number(series: int, again: int = 0, lane: int = 0) -> int:
    """Numbers what has the same epochs, from 0 to below 2**30."""
    parts = (part % _LIMIT for part in (series, again, lane))
    return functools.reduce(lambda number, part: number * _LIMIT + part, parts)


@functools.cache
def _home() -> str:
    """Returns the name of a variable that only this process has."""
    name = f"tf_mixup_{secrets.token_hex(8)}"
    with tf.init_scope():
        tf.raw_ops.AssignVariableOp(resource=_handle(name), value=True)
    return name


def _handle(name: str) -> tf.Tensor:
    with tf.device("/cpu:0"):
        return tf.raw_ops.VarHandleOp(dtype=tf.bool, shape=[], shared_name=name)


def _assert_home() -> tf.Operation:
    """Refuses to run where the counter is not: it would stand still."""
    refusal = _checks.refusal(
        "Passes are counted in the process that trains",
        "a mixed dataset that another one reads, as the workers of the tf.data"
        " service do",
        "Mix after the service:"
        " `dataset.apply(distribute(...)).apply(assert_cardinality(n))"
        ".apply(mixup)`",
    )
    here = tf.raw_ops.VarIsInitializedOp(resource=_handle(_home()))
    return tf.debugging.Assert(here, [str(refusal)])
