"""MixUp: the `tf.data` stage that draws plans and applies them.

    dataset.batch(128).apply(mixup)

The plan is drawn from `f(seed, epoch, step)`. It is applied here, by one
XLA-compiled function on the batch as it came (`placement="host"`), or
travels with the batch to `layers.Mix` inside the model on the accelerator
(`placement="model"`). Targets are small and always mixed here.
"""

import secrets
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import tensorflow as tf

from tf_mixup import checks
from tf_mixup import clock as clock_lib
from tf_mixup import mixing
from tf_mixup import targets as targets_lib

Alpha = float | Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
PLACEMENTS = ("host", "model")
FOREVER = tf.int64.max


class Replay(NamedTuple):
    """What the stage does to one batch.

    Attributes:
        lam: Coefficients, float32 `(B,)`.
        partner: The row that each row is mixed with, int32 `(B,)`.
        inputs: The mixed inputs, before `mean` and `std`.
        targets: The mixed targets.
    """

    lam: tf.Tensor
    partner: tf.Tensor
    inputs: Any
    targets: Any


class MixUp:
    """Mixes shuffled pairs of rows of each batch, inputs and targets.

    Use it on a batched dataset of `(x, y)` or `(x, y, sample_weight)` with
    `dataset.apply(mixup)`, and `dataset.apply(mixup.evaluation)` where the
    same format is wanted without mixing.

    The same `seed`, epoch and step give the same batch, whatever the
    parallelism and after a resume. The epoch comes from
    `callbacks.MixingSchedule`. Without that callback each pass over the
    dataset differs from the one before, and nothing more is promised.

    Put `.repeat()` anywhere and pass `steps_per_epoch` to `fit` if you like.
    The dataset must know its number of batches. `class_weight` belongs here
    and not in `fit`, which would look at the largest entry of a mixed target
    only. Batches of rows of token ids are mixed as numbers, which is hardly
    ever meant: mix their embeddings with `layers.Mix`.

    Args:
        alpha: Concentration of Beta(alpha, alpha), from which coefficients
            are drawn; a number >= 0, where 0 is no mixing, or a function of
            (epoch, step), two int64 scalars, that returns it as a float
            tensor; it is compiled into the stage. Papers: 0.2 to 0.4 for
            calibration and ImageNet, 1 for accuracy on CIFAR.
        num_classes: K, for integer labels; 1 for one sigmoid output; None for
            targets that are vectors or regression targets. With several
            outputs: one for all, or a structure like the targets.
        seed: Integer that fixes all draws. None takes a fresh one, to be
            found in the attribute `seed`. Defaults to `None`.
        per: `"batch"` draws one coefficient for each batch, as the papers do;
            `"sample"` one for each row. Defaults to `"batch"`.
        partner: `"random"`, `"same_class"` or `"different_class"`; see
            `mixing.choose_partner`. Defaults to `"random"`.
        self_pairs: Whether a row may be its own partner, which is no mixing.
            Defaults to `True`, as in the papers.
        target: `"mixed"`, or `"nearest"` for the hard target of the nearer
            row (the ablation). Defaults to `"mixed"`.
        groups: Partners stay within this many contiguous blocks of the batch.
            Under a strategy with `placement="model"` it must be the number of
            replicas. Defaults to 1.
        probability: Chance that a batch (or row, with `per="sample"`) is
            mixed at all. Defaults to 1.
        mean: Subtracted after mixing, a number or one for each channel, in
            the unit of the inputs. Defaults to nothing.
        std: Divides after mixing. Defaults to nothing.
        class_weight: Weight of each class, a dictionary or sequence; becomes
            sample weights, mixed like all else: `lam * w_i + (1-lam) * w_j`.
        placement: `"host"`, or `"model"`: then inputs travel unmixed, as
            `{"inputs": x, "lam": lam, "shift": shift}`, to a model made by
            `layers.training_twin`, which takes `mean` and `std` instead.
        num_parallel_calls: Parallel batches; no draw depends on it. Defaults
            to `tf.data.AUTOTUNE`.
        clock: A `Clock` shared with other stages; a new one by default.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> mixup = MixUp(alpha=0.2, num_classes=10, seed=0)
        >>> rows = np.zeros((8, 28, 28, 1), "uint8"), np.arange(8)
        >>> batches = tf.data.Dataset.from_tensor_slices(rows).batch(4)
        >>> x, y = next(iter(batches.apply(mixup)))
        >>> x.shape.as_list(), x.dtype.name, y.shape.as_list()
        ([4, 28, 28, 1], 'float32', [4, 10])

    References:
        Zhang et al. mixup: Beyond Empirical Risk Minimization. ICLR 2018.
        https://arxiv.org/abs/1710.09412
    """

    def __init__(
        self,
        alpha: Alpha,
        *,
        num_classes: Any = None,
        seed: int | None = None,
        per: str = "batch",
        partner: str = "random",
        self_pairs: bool = True,
        target: str = "mixed",
        groups: int = 1,
        probability: float = 1.0,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        class_weight: Mapping[int, float] | Sequence[float] | None = None,
        placement: str = "host",
        num_parallel_calls: int | None = tf.data.AUTOTUNE,
        clock: clock_lib.Clock | None = None,
    ) -> None:
        self.alpha = alpha if callable(alpha) else _check_alpha(alpha)
        self.num_classes = num_classes
        self.seed = _check_seed(seed)
        self.per = checks.one_of("per", per, ("batch", "sample"))
        self.partner = checks.one_of("partner", partner, mixing.PARTNERS)
        self.self_pairs = self_pairs
        self.target = checks.one_of("target", target, ("mixed", "nearest"))
        self.groups = checks.integer_at_least(
            "groups", groups, 1, remedy="Give the number of replicas, or 1"
        )
        self.probability = checks.real_between(
            "probability", probability, 0, 1, remedy="Write 1 to mix always"
        )
        self.placement = checks.one_of("placement", placement, PLACEMENTS)
        self._affine = _check_affine(mean, std, placement)
        self._class_weight = _check_class_weight(class_weight, num_classes)
        self._parallel = {"num_parallel_calls": num_parallel_calls}
        if num_parallel_calls is not None:
            self._parallel["deterministic"] = True
        self.clock = clock_lib.Clock() if clock is None else clock
        with tf.init_scope(), tf.device("/cpu:0"):
            # Mixing is on from the first of these epochs to before the second.
            self._window = tf.Variable([0, FOREVER], dtype=tf.int64)

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Returns `dataset` with its batches mixed; for `Dataset.apply`.

        Args:
            dataset: Batches of `(x, y)` or `(x, y, sample_weight)`.

        Returns:
            mixed: Batches of the same structure and number. Targets are
                float32; inputs are float, or with `placement="model"` a
                dictionary of the inputs and the plan.

        Raises:
            ValueError: If `dataset` is not what `Args` says, or its targets
                are ambiguous.
        """
        length = _check_dataset(dataset)
        positions = self.clock.positions(length)
        return (
            tf.data.Dataset.zip(positions, dataset)
            .map(self._mix_element, **self._parallel)
            .apply(tf.data.experimental.assert_cardinality(length))
        )

    def evaluation(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Returns `dataset` in the format of training, without mixing.

        Args:
            dataset: Batches of `(x, y)` or `(x, y, sample_weight)`.

        Returns:
            unmixed: The same batches with float32 targets, and inputs cast
                and scaled as in training. Class weights are not applied.

        Raises:
            ValueError: As `__call__` does.
        """
        _check_dataset(dataset)
        return dataset.map(self._leave_element, **self._parallel)

    def replay(self, batch: tuple, *, epoch: int, step: int) -> Replay:
        """Mixes one batch as it would be at a position of the training.

        To look at what the network sees, and to find again what it saw.

        Args:
            batch: Unmixed `(x, y)` or `(x, y, sample_weight)`.
            epoch: Counted from 0.
            step: Batch of the epoch, counted from 0.

        Returns:
            replay: The plan, and the batch after it.
        """
        position = tf.constant(epoch, tf.int64), tf.constant(step, tf.int64)
        # Through `tf.data` again: tfp draws otherwise when run eagerly.
        stage = tf.data.Dataset.from_tensors((position, tuple(batch)))
        return Replay(*next(iter(stage.map(self._replay_element))))

    def restrict(self, first_epoch: int, end_epoch: int | None) -> None:
        """Mixes in epochs from `first_epoch` to before `end_epoch` only.

        Datasets that were made already obey it when they next start.
        `callbacks.MixingSchedule` calls it.

        Args:
            first_epoch: First epoch with mixing, at least 0.
            end_epoch: First epoch without it again; None for never.
        """
        end = FOREVER if end_epoch is None else end_epoch
        self._window.assign([first_epoch, end])

    def _mix_element(
        self, position: tuple[tf.Tensor, tf.Tensor], element: tuple
    ) -> tuple:
        inputs, targets, weights = self._encode(element)
        if self._class_weight is not None:
            per_row = tf.linalg.matvec(targets, self._class_weight)
            weights = per_row if weights is None else weights * per_row
        lam, partner = self._draw_plan(position, targets)
        targets = self._combine(targets, lam, partner)
        if weights is not None:
            weights = self._combine(weights, lam, partner)
        return _pack(self._place(inputs, lam, partner), targets, weights)

    def _replay_element(
        self, position: tuple[tf.Tensor, tf.Tensor], element: tuple
    ) -> Replay:
        inputs, targets, _ = self._encode(element)
        lam, partner = self._draw_plan(position, targets)
        return Replay(
            lam,
            partner,
            _interpolate(inputs, lam, partner),
            self._combine(targets, lam, partner),
        )

    def _leave_element(self, *element: Any) -> tuple:
        inputs, targets, weights = self._encode(element)
        size = _num_rows(targets)
        inputs = self._place(inputs, tf.ones([size]), tf.range(size))
        return _pack(inputs, targets, weights)

    def _place(self, inputs: Any, lam: tf.Tensor, partner: tf.Tensor) -> Any:
        """Applies the plan here, or sends it along to the model."""
        if self.placement == "host":
            return self._mix_inputs(inputs, lam, partner)
        shift = partner - tf.range(tf.size(partner))
        return {"inputs": inputs, "lam": lam, "shift": shift}

    def _encode(self, element: tuple) -> tuple[Any, Any, Any]:
        inputs, labels, *rest = element
        weights = rest[0] if rest else None
        if isinstance(self.num_classes, int | None):
            targets = tf.nest.map_structure(
                lambda each: targets_lib.encode(each, self.num_classes), labels
            )
        else:
            targets = tf.nest.map_structure(
                targets_lib.encode, labels, self.num_classes
            )
        return inputs, targets, weights

    def _combine(self, values: Any, lam: tf.Tensor, partner: tf.Tensor) -> Any:
        """Combines targets or weights, which stay hard with `"nearest"`."""
        if self.target == "nearest":
            return mixing.take_nearer(values, lam, partner)
        return _interpolate(values, lam, partner)

    def _draw_plan(
        self, position: tuple[tf.Tensor, tf.Tensor], targets: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws `lam` and `partner`, both `(B,)`, from (seed, epoch, step)."""
        epoch, step = position
        seed = tf.constant([self.seed, 0], tf.int64)
        seed = tf.random.fold_in(tf.random.fold_in(seed, epoch), step)
        lam_seed, partner_seed, apply_seed = tf.unstack(
            tf.random.split(seed, 3)
        )
        size = _num_rows(targets)
        draws = size if self.per == "sample" else 1
        alpha = self._alpha_at(epoch, step)
        lam = mixing.draw_lam(alpha, draws, seed=lam_seed)
        if self.probability < 1:
            chance = tf.random.stateless_uniform([draws], apply_seed)
            lam = tf.where(chance < self.probability, lam, 1.0)
        partner = mixing.choose_partner(
            size,
            seed=partner_seed,
            kind=self.partner,
            labels=self._classes(targets),
            groups=self.groups,
            self_pairs=self.self_pairs,
        )
        return tf.broadcast_to(lam, [size]), partner

    def _alpha_at(self, epoch: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        if callable(self.alpha):
            alpha = tf.cast(self.alpha(epoch, step), tf.float32)
            valid = (alpha >= 0) & tf.math.is_finite(alpha)
            message = "The function `alpha` must return finite numbers >= 0."
            tf.debugging.Assert(valid, [message, "Received:", alpha])
        else:
            alpha = tf.constant(self.alpha, tf.float32)
        first, end = tf.unstack(self._window.read_value())
        return tf.where((epoch >= first) & (epoch < end), alpha, 0.0)

    def _classes(self, targets: Any) -> tf.Tensor | None:
        """Returns the classes `(B,)` that partners are chosen by, if any."""
        if self.partner == "random":
            return None
        if tf.is_tensor(targets) and targets.shape.rank == 2:
            if targets.shape[-1] == 1 and self.num_classes == 1:
                return tf.cast(targets[:, 0] >= 0.5, tf.int32)
            if targets.shape[-1] > 1:
                return tf.argmax(targets, axis=-1, output_type=tf.int32)
        raise checks.refusal(
            f'`partner="{self.partner}"` needs one class for each row',
            f"targets {tf.nest.map_structure(lambda t: t.shape, targets)}",
            'Use `partner="random"`',
        )

    @tf.function(jit_compile=True)
    def _mix_inputs(
        self, inputs: Any, lam: tf.Tensor, partner: tf.Tensor
    ) -> Any:
        """One fused pass: gather, cast, interpolate, scale."""
        mixed = _interpolate(inputs, lam, partner)
        if self._affine is None:
            return mixed
        mean, std = self._affine
        return tf.nest.map_structure(
            lambda x: (
                x * tf.cast(1 / std, x.dtype) - tf.cast(mean / std, x.dtype)
            ),
            mixed,
        )


def _interpolate(values: Any, lam: tf.Tensor, partner: tf.Tensor) -> Any:
    return mixing.mix(values, (), lam, partner)[0]


def _num_rows(structure: Any) -> tf.Tensor:
    first = tf.nest.flatten(structure)[0]
    return first.shape[0] or tf.shape(first)[0]


def _pack(inputs: Any, targets: Any, weights: Any) -> tuple:
    rest = () if weights is None else (weights,)
    return (inputs, targets, *rest)


def _check_alpha(alpha: float) -> float:
    return checks.real_at_least(
        "alpha", alpha, 0, remedy="Write 0 to train without mixing"
    )


def _check_seed(seed: int | None) -> int:
    if seed is None:
        return secrets.randbits(31)
    return checks.integer_at_least(
        "seed", seed, 0, remedy="Write None for a fresh seed"
    )


def _check_affine(
    mean: Any, std: Any, placement: str
) -> tuple[tf.Tensor, tf.Tensor] | None:
    if mean is None and std is None:
        return None
    if placement == "model":
        raise checks.refusal(
            "`mean` and `std` are applied where rows are mixed",
            f"mean={mean!r}, std={std!r} with placement='model'",
            "Give them to `layers.training_twin`",
        )
    mean = tf.constant(0.0 if mean is None else mean, tf.float32)
    std = tf.constant(1.0 if std is None else std, tf.float32)
    if not bool(tf.reduce_all(std > 0)):
        raise checks.refusal(
            "`std` must be above 0",
            f"std={std.numpy().tolist()}",
            "Leave it out to divide by nothing",
        )
    return mean, std


def _check_class_weight(
    class_weight: Any, num_classes: Any
) -> tf.Tensor | None:
    if class_weight is None:
        return None
    if not isinstance(num_classes, int) or num_classes < 2:
        raise checks.refusal(
            "`class_weight` needs one output of at least 2 classes",
            f"num_classes={num_classes!r}",
            "Give `num_classes`, or sample weights in the dataset",
        )
    if isinstance(class_weight, Mapping):
        weights = [class_weight.get(k, 1.0) for k in range(num_classes)]
        known = set(class_weight) <= set(range(num_classes))
    else:
        weights = [float(weight) for weight in class_weight]
        known = len(weights) == num_classes
    if not known or min(weights) < 0:
        raise checks.refusal(
            "`class_weight` must give classes 0 to K - 1 a number >= 0",
            f"class_weight={class_weight!r} with num_classes={num_classes}",
            "Count classes from 0",
        )
    return tf.constant(weights, tf.float32)


def _check_dataset(dataset: Any) -> int:
    """Returns the number of batches of a dataset that can be mixed."""
    if not isinstance(dataset, tf.data.Dataset):
        remedy = (
            "Write `tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x))"
            ".batch(128).apply(mixup)` for arrays"
        )
        if isinstance(dataset, keras.utils.PyDataset) or hasattr(
            dataset, "__next__"
        ):
            remedy = (
                "Wrap it with `tf.data.Dataset.from_generator` and"
                " `.apply(tf.data.experimental.assert_cardinality(n))`"
            )
        raise checks.refusal(
            "MixUp takes a batched tf.data.Dataset",
            f"a {type(dataset).__name__}",
            remedy,
        )
    _check_element(dataset.element_spec)
    length = int(dataset.cardinality())
    if length == tf.data.UNKNOWN_CARDINALITY:
        raise checks.refusal(
            "The dataset must know its number of batches: without it Keras"
            " runs a phantom step at the end of each epoch",
            "a dataset of unknown cardinality",
            "Write `.apply(tf.data.experimental.assert_cardinality(n))` before"
            " `.apply(mixup)`",
        )
    return length


def _check_element(spec: Any) -> None:
    if not isinstance(spec, tuple) or len(spec) not in (2, 3):
        raise checks.refusal(
            "The dataset must yield (x, y) or (x, y, sample_weight)",
            f"elements of structure {tf.nest.map_structure(_shape, spec)}",
            'Map them first, e.g. `.map(lambda e: (e["image"], e["label"]))`',
        )
    shapes = [_shape(each) for each in tf.nest.flatten(spec)]
    ranks_known = all(shape.rank is not None for shape in shapes)
    leading = {shape[0] if shape.rank else 0 for shape in shapes if ranks_known}
    if not ranks_known or 0 in leading or len(leading - {None}) > 1:
        raise checks.refusal(
            "All parts of an element must be batches of the same rows",
            f"shapes {[str(shape) for shape in shapes]}",
            "Write `.batch(128)` before `.apply(mixup)`",
        )


def _shape(spec: Any) -> tf.TensorShape:
    return getattr(spec, "shape", tf.TensorShape(None))
