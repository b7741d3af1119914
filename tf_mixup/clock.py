"""Tells a `tf.data` pipeline the epoch and the step of each of its batches.

Randomness that is a function of (seed, epoch, step) repeats exactly after a
resume and for any degree of parallelism. A dataset cannot know the epoch by
itself: `fit` may start a new iterator for each epoch, or keep one iterator of
a repeated dataset for all of them, and prefetching starts the next pass before
the epoch has ended. So a pass starts at the later of two positions: the
announced one, and where the last complete pass ended.
"""

import tensorflow as tf

# An endless dataset without a known epoch length counts as one epoch.
ENDLESS = 2**40


class Clock:
    """The position of a training run, counted in batches.

    `MixUp` owns one; `callbacks.MixingSchedule` winds it. Share one between
    several stages of a pipeline (shuffling, augmentation, mixing) to have all
    of them follow the same epochs.
    """

    def __init__(self) -> None:
        self._epoch = _counter()
        self._step = _counter()
        self._steps_per_epoch = _counter()
        self._ends: list[tf.Variable] = []

    def start_training(self, steps_per_epoch: int | None) -> None:
        """Forgets earlier passes; `fit` starts.

        Args:
            steps_per_epoch: Batches in an epoch, or None if unknown: then an
                epoch is one pass over the dataset.
        """
        self._steps_per_epoch.assign(steps_per_epoch or 0)
        for end in self._ends:
            end.assign(0)

    def start_epoch(self, epoch: int, *, step: int = 0) -> None:
        """Announces an epoch before its first batch.

        Args:
            epoch: Counted from 0.
            step: The batch of this epoch to start with, counted from 0, where
                a resumed run has done those before. A dataset whose pass is
                an epoch then repeats the epoch's last position, as it must
                have its length: leave off after that batch.
        """
        self._epoch.assign(epoch)
        self._step.assign(step)

    def positions(self, length: int) -> tf.data.Dataset:
        """Returns a dataset of (epoch, step), one for each batch of a pass.

        Args:
            length: Batches in a pass, or `tf.data.INFINITE_CARDINALITY`.

        Returns:
            positions: Dataset of pairs of int64 scalars, both from 0.
        """
        endless = length == tf.data.INFINITE_CARDINALITY
        length = ENDLESS if endless else length
        end = _counter()
        self._ends.append(end)

        def one_pass(_: tf.Tensor) -> tf.data.Dataset:
            announced = self._steps_per_epoch.read_value()
            steps = tf.where(announced > 0, announced, length)
            first = tf.maximum(self._epoch * steps + self._step, end)
            stop = first + length
            if steps == length:
                stop = (first // steps + 1) * steps

            def locate(place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                if place + 1 == first + length:
                    end.assign(stop)
                position = tf.minimum(place, stop - 1)
                return position // steps, position % steps

            # Sequential: the last element marks the pass as complete.
            return tf.data.Dataset.range(first, first + length).map(locate)

        positions = tf.data.Dataset.from_tensors(0).flat_map(one_pass)
        cardinality = tf.data.INFINITE_CARDINALITY if endless else length
        return positions.apply(
            tf.data.experimental.assert_cardinality(cardinality)
        )


def _counter() -> tf.Variable:
    """Returns an int64 variable on the host, where `tf.data` reads it."""
    with tf.init_scope(), tf.device("/cpu:0"):
        return tf.Variable(0, dtype=tf.int64, trainable=False)
