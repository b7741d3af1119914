"""Stage: what all mixing stages share, from a dataset to mixed batches."""

import abc
from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_mixup import _checks
from tf_mixup.mixing import _batches
from tf_mixup.mixing import epoch_counter as epoch_counter_lib
from tf_mixup.mixing import plans

Position = tuple[tf.Tensor, tf.Tensor]
FOREVER = tf.int64.max
# What is drawn at a position, and by which seed it is.
LAM, PARTNER, CHANCE, WHERE, SWITCH, _ORDER, _SPLIT = range(7)
# Odd and large, so that seeds reach no epochs of each other.
_STRIDE = 0x9E3779B97F4A7C15


class Replay(NamedTuple):
    """What a stage does to one batch.

    Attributes:
        lam: Coefficients, float32 `(B,)`; with P > 2 points `(B, P)`.
        partner: The example that each one is mixed with, int32 `(B,)`; with
            P > 2 points `(B, P - 1)`.
        inputs: The mixed inputs, before they are standardized.
        targets: The mixed targets.
    """

    lam: tf.Tensor
    partner: tf.Tensor
    inputs: Any
    targets: Any


class Stage(epoch_counter_lib.Bound, abc.ABC):
    """A `tf.data` stage that mixes batches by (seed, epoch, step).

    Args:
        seed: Fixes all draws.

    Attributes:
        seed: As given.
        epoch_counter: Counts the passes over datasets. Assign that of another
            stage, before this one is applied, to have both follow the same
            epochs.
        num_parallel_calls: Batches that are mixed in parallel; no draw
            depends on it. None for one at a time. Defaults to
            `tf.data.AUTOTUNE`.
        num_places: Places in a model that examples are mixed in; 0 on the
            host. See `MixUp.training_model`.
        window: First epoch with mixing, and the first without it again or
            None; see `restrict`.
    """

    num_parallel_calls: int | None = tf.data.AUTOTUNE
    num_places: int = 0

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.epoch_counter = epoch_counter_lib.EpochCounter()
        self.window: tuple[int, int | None] = (0, None)
        self._is_applied = False
        with tf.init_scope(), tf.device("/cpu:0"):
            # Mixing is on from the first of these epochs to before the second.
            self._window = tf.Variable([0, FOREVER], dtype=tf.int64)
        # Called within `tf.data`, since tfp draws otherwise when it is run
        # eagerly; and kept, since what a trace of tfp holds is never freed.
        self._replay_graph = tf.function(self._replay_element, autograph=False)
        self._lam_graph = tf.function(self._draw_element, autograph=False)

    def __reduce__(self) -> tuple:
        """Pickles the arguments, and an epoch counter that starts anew."""
        names = ("epoch_counter", "num_parallel_calls", "num_places")
        state = {name: getattr(self, name) for name in names}
        return _restore, (self._maker(), self.window, state)

    @abc.abstractmethod
    def _maker(self) -> Callable[[], "Stage"]:
        """Returns what makes a stage of the same arguments."""

    @abc.abstractmethod
    def _check_inputs(self, spec: Any, *, mixes: bool = True) -> None:
        """Raises a `ValueError` for inputs that the stage cannot mix."""

    @abc.abstractmethod
    def _mix_element(self, position: Position, element: tuple) -> tuple:
        """Returns a mixed batch."""

    @abc.abstractmethod
    def _leave_element(self, *element: Any) -> tuple:
        """Returns a batch in the format of training, without mixing."""

    @abc.abstractmethod
    def _replay_element(self, position: Position, element: tuple) -> Replay:
        """Returns what is done to a batch."""

    @abc.abstractmethod
    def _draw_element(self, position: Position, element: tuple) -> tf.Tensor:
        """Returns the coefficients of a batch."""

    def __call__(self, dataset: Any) -> tf.data.Dataset:
        """Returns `dataset` with its batches mixed; for `Dataset.apply`.

        Args:
            dataset: Batches of `(x, y)` or `(x, y, sample_weight)`, or of
                dictionaries such as `{"image": x, "label": y}`; or a
                `keras.utils.PyDataset`.

        Returns:
            mixed: Batches of the same structure and number (with
                `include_clean` of twice the examples; without the given
                partners). Targets are float32; inputs are float, or, after
                `training_model`, a dictionary of the inputs and the plan.
                With `class_weight` or `ignore_label` there are always
                weights.

        Raises:
            ValueError: If `dataset` is not what `Args` says, its targets are
                ambiguous, or an input needs a rule.
        """
        dataset, length = _batches.read_batches(dataset)
        self._check_inputs(dataset.element_spec[0])
        dataset = _batches.count_batches(dataset, length)
        self._is_applied = True

        def mix(places: tf.data.Dataset) -> tf.data.Dataset:
            # Batches first: their end is read, and so is one too many.
            pairs = tf.data.Dataset.zip(dataset, places)
            return self._map(
                pairs,
                lambda element, place: self._mix_element(
                    epoch_counter_lib.locate(*place), element
                ),
            )

        return self.epoch_counter.attach(length, mix, owner=self)

    def evaluation(self, dataset: Any) -> tf.data.Dataset:
        """Returns `dataset` in the format of training, without mixing.

        Args:
            dataset: As `__call__` takes it.

        Returns:
            unmixed: The same batches with float32 targets, and inputs cast
                and scaled as in training. Inputs that would need a rule to be
                mixed stay as they are. Class weights are not applied;
                with `ignore_label` examples of unknown class weigh 0.

        Raises:
            ValueError: As `__call__` does.
        """
        dataset, _ = _batches.read_batches(dataset)
        self._check_inputs(dataset.element_spec[0], mixes=False)
        self._is_applied = True
        return self._map(dataset, self._leave_element)

    def from_arrays(
        self,
        x: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        batch_size: int = 32,
        validation_split: float = 0.0,
    ) -> tuple[tf.data.Dataset, tf.data.Dataset | None]:
        """Returns mixed training batches of arrays, and validation batches.

        The order of the examples is a function of (seed, epoch), as the mixing
        is: `fit(initial_epoch=...)` goes on as an uninterrupted `fit` does.

        Args:
            x: Inputs, an array of N examples, or a dictionary or tuple of
                arrays.
            y: Labels or targets, in the same forms.
            sample_weight: Weights `(N,)`. Defaults to none.
            batch_size: Examples in a batch, B. Training examples that do not
                fill a batch are left out, others in each epoch.
            validation_split: Share of the examples, chosen at random by the
                seed, that are not trained on, in [0, 1). Defaults to 0.

        Returns:
            train: Shuffled and mixed batches, for `fit`.
            validation: Batches without mixing, for `validation_data`; None
                without a split.

        Raises:
            ValueError: If arrays have different lengths, fewer training
                examples than a batch, or a validation set of none; or as
                `__call__` does.

        Example:
            >>> import tf_mixup
            >>> mixup = tf_mixup.MixUp(alpha=0.2, num_classes=3, seed=0)
            >>> x, y = np.ones((50, 4), "float32"), np.arange(50) % 3
            >>> train, validation = mixup.from_arrays(
            ...     x, y, batch_size=8, validation_split=0.2
            ... )
            >>> int(train.cardinality()), int(validation.cardinality())
            (5, 2)
        """
        columns = (x, y) if sample_weight is None else (x, y, sample_weight)
        columns = tf.nest.map_structure(
            np.asarray, tuple(map(plans.convert_list, columns))
        )
        size = _count_examples(columns)
        _checks.integer_at_least("batch_size", batch_size, 1, remedy="Write 32")
        _checks.real_between(
            "validation_split", validation_split, 0, 1, remedy="Write 0.1"
        )
        order = np.random.default_rng((self.seed, _SPLIT)).permutation(size)
        num_held_out = round(size * validation_split)
        held_out, kept = np.split(order, [num_held_out])
        if len(kept) < batch_size or (validation_split and not num_held_out):
            raise _checks.refusal(
                "There must be enough examples for a batch, and to validate"
                " with",
                f"{len(kept)} training and {num_held_out} validation examples"
                f" with batch_size={batch_size}",
                "Write a smaller `batch_size`, or another `validation_split`",
            )
        train = self._draw_batches(columns, np.sort(kept), batch_size)
        if not num_held_out:
            return self(train), None
        rest = tf.data.Dataset.from_tensor_slices(
            tf.nest.map_structure(lambda each: each[held_out], columns)
        )
        return self(train), self.evaluation(rest.batch(batch_size))

    def _draw_batches(
        self, columns: tuple, kept: np.ndarray, batch_size: int
    ) -> tf.data.Dataset:
        """Returns shuffled batches; the order is a function of the epoch."""
        with tf.device("/cpu:0"):
            arrays = tf.nest.map_structure(
                lambda each: tf.constant(each[kept]), columns
            )

        def load(*place: tf.Tensor) -> tuple:
            epoch, step = epoch_counter_lib.locate(*place)
            places = step * batch_size + tf.range(batch_size, dtype=tf.int64)
            seed = self._seed_at((epoch, 0), _ORDER)
            chosen = tf.random.experimental.index_shuffle(
                places, seed, tf.constant(len(kept) - 1, tf.int64)
            )
            return tf.nest.map_structure(
                lambda each: tf.gather(each, chosen), arrays
            )

        steps = len(kept) // batch_size
        return self.epoch_counter.attach(
            steps, lambda places: self._map(places, load)
        )

    def _map(self, dataset: tf.data.Dataset, function: Any) -> tf.data.Dataset:
        # AutoGraph would put its traceback around each error.
        plain = tf.autograph.experimental.do_not_convert(function)
        calls = self.num_parallel_calls
        if calls is None:
            return dataset.map(plain)
        return dataset.map(plain, num_parallel_calls=calls, deterministic=True)

    def replay(self, batch: tuple, *, epoch: int, step: int) -> Replay:
        """Mixes one batch as it would be at a position of the training.

        To look at what the network sees, and to find again what it saw.

        Args:
            batch: Unmixed `(x, y)` or `(x, y, sample_weight)`, as the dataset
                has it.
            epoch: Counted from 0.
            step: Batch of the epoch, counted from 0.

        Returns:
            replay: The plan, and the batch after it: the mixed examples
                alone, mixed as inputs, whatever `include_clean` and
                `training_model` say.
        """
        place = {"epoch": epoch, "step": step}
        for name, value in place.items():
            _checks.integer_at_least(name, value, 0, remedy="Count from 0")
        position = tf.constant(epoch, tf.int64), tf.constant(step, tf.int64)
        stage = tf.data.Dataset.from_tensors(
            (position, _batches.parts_of(batch))
        )
        return Replay(*next(iter(stage.map(self._replay_graph))))

    def coefficients(
        self, batch: tuple, *, epoch: int, steps: int
    ) -> tf.Tensor:
        """Draws what a batch's examples would be mixed by in an epoch's steps.

        To look at the distribution that coefficients have in fact.

        Args:
            batch: Unmixed, as `replay` takes it.
            epoch: Counted from 0.
            steps: First steps of the epoch to draw, at least 1.

        Returns:
            lam: float32 `(steps, B)`; with P > 2 points `(steps, B, P)`.
        """
        _checks.integer_at_least("epoch", epoch, 0, remedy="Count from 0")
        _checks.integer_at_least("steps", steps, 1, remedy="Write 1 or more")
        epochs = tf.data.Dataset.range(epoch, epoch + 1).repeat(steps)
        positions = tf.data.Dataset.zip(epochs, tf.data.Dataset.range(steps))
        examples = tf.data.Dataset.from_tensors(_batches.parts_of(batch))
        stage = tf.data.Dataset.zip(positions, examples.repeat(steps))
        return next(iter(stage.map(self._lam_graph).batch(steps)))

    @property
    def tuned_alpha(self) -> Any:
        """What `alpha="auto"` mixes with now; None for a fixed alpha."""
        return None

    def set_alpha(self, alpha: Any) -> None:
        """Mixes the batches that are drawn from now on with another alpha.

        `callbacks.AlphaTuner` calls it between epochs. Of `MixUpOrCutMix` it
        sets the alpha of each stage that was made for it.

        Args:
            alpha: As `MixUp` takes it, a number; with `per="class"` a number
                for each class.

        Raises:
            ValueError: If the stage was not made with `alpha="auto"`, a
                number is out of range, or there are more or fewer numbers.
        """
        if self.tuned_alpha is None:
            raise _checks.refusal(
                "A stage must be made for an alpha that changes",
                f"set_alpha({alpha!r}) of {self!r}",
                'Write `MixUp(alpha="auto")`',
            )
        if np.shape(alpha) != np.shape(self.tuned_alpha):
            raise _checks.refusal(
                'A stage has one alpha, or with `per="class"` one of each'
                " class",
                f"alpha of shape {np.shape(alpha)} for"
                f" {np.shape(self.tuned_alpha)}",
                "Write as many numbers",
            )
        remedy = "Write 0 for no mixing"
        for each in np.ravel(np.asarray(alpha, object)):
            _checks.real_at_least("alpha", each, 0, remedy=remedy)
        self._set_alpha(alpha)

    def _set_alpha(self, alpha: Any) -> None:
        """Sets the alpha, or alphas, in range."""

    def restrict(self, first_epoch: int, end_epoch: int | None) -> None:
        """Mixes in epochs from `first_epoch` to before `end_epoch` only.

        Datasets that were made already obey it when they next start.
        `callbacks.MixingSchedule` calls it.

        Args:
            first_epoch: First epoch with mixing, at least 0.
            end_epoch: First epoch without it again; None for never.
        """
        _checks.integer_at_least(
            "first_epoch", first_epoch, 0, remedy="Write 0"
        )
        if end_epoch is not None:
            _checks.integer_at_least(
                "end_epoch", end_epoch, first_epoch, remedy="Write None"
            )
        end = FOREVER if end_epoch is None else end_epoch
        self.window = first_epoch, end_epoch
        self._window.assign([first_epoch, end])

    def _seed_at(self, position: tuple, purpose: int) -> tf.Tensor:
        """Returns the stateless seed `(2,)` of a position's draws.

        Stateless operations scramble what they are given; it only has to
        differ, and this takes fewer nodes than `tf.random.fold_in`.

        Args:
            position: Epoch and step.
            purpose: What is drawn, one of those above.
        """
        epoch, step = position
        # As int64 has it, which overflows.
        shift = (self.seed * _STRIDE + 2**63) % 2**64 - 2**63
        return tf.stack([epoch + shift, step + purpose * 2**56])

    def _mixes_in(self, epoch: tf.Tensor) -> tf.Tensor:
        """Returns whether an epoch of a training is one with mixing."""
        first, end = tf.unstack(self._window.read_value())
        return (epoch >= first) & (epoch < end)


def _count_examples(columns: tuple) -> int:
    sizes = {each.shape[:1] for each in tf.nest.flatten(columns)}
    if len(sizes) != 1 or () in sizes:
        shapes = [each.shape for each in tf.nest.flatten(columns)]
        raise _checks.refusal(
            "Inputs, labels and weights must be arrays of as many examples",
            f"arrays of shapes {', '.join(map(str, shapes))}",
            "Give one row of each array for each example",
        )
    return sizes.pop()[0]


def _restore(
    make: Callable[[], Stage],
    window: tuple[int, int | None],
    state: dict[str, Any],
) -> Stage:
    """Returns a stage that was pickled."""
    stage = make()
    vars(stage).update(state)
    stage.restrict(*window)
    return stage
