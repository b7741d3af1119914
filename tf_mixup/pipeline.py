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

import tensorflow as tf

from tf_mixup import checks
from tf_mixup import clock as clock_lib
from tf_mixup import elements
from tf_mixup import mixing
from tf_mixup import targets as targets_lib

Alpha = float | Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
Position = tuple[tf.Tensor, tf.Tensor]
PLACEMENTS = ("host", "model")
PARTNERS = (*mixing.PARTNERS, "given")
FOREVER = tf.int64.max


class Plan(NamedTuple):
    """What is drawn for a batch.

    Attributes:
        lam: Coefficients, float32 `(B,)`; with P > 2 points `(B, P)`.
        partner: The row that each row is mixed with, int32 `(B,)`; with P > 2
            points `(B, P - 1)`.
        where: What is mixed, int32: with several places the number of one,
            `(B,)`; with CutMix the corners of a box, `(B, 4)`; else nothing.
    """

    lam: tf.Tensor
    partner: tf.Tensor
    where: Any = ()


class Replay(NamedTuple):
    """What the stage does to one batch.

    Attributes:
        lam: Coefficients, float32 `(B,)`; with P > 2 points `(B, P)`.
        partner: The row that each row is mixed with, int32 `(B,)`; with P > 2
            points `(B, P - 1)`.
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

    The same `seed`, epoch and step give the same plan (coefficients and
    partners), whatever the parallelism and after a resume; so also the same
    batch if the dataset gives the same rows then. The epoch comes from
    `callbacks.MixingSchedule`. Without that callback each pass over the
    dataset differs from the one before, and nothing more is promised.

    Put `.repeat()` anywhere and pass `steps_per_epoch` to `fit` if you like.
    The dataset must know its number of batches. `class_weight` belongs here
    and not in `fit`, which would look at the largest entry of a mixed target
    only. Batches of rows of token ids are mixed as numbers, which is hardly
    ever meant: mix their embeddings with `placement="model"` and
    `layers.training_twin(model, at=...)`.

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
        points: Rows in a mixture, P. Above 2 each row has P - 1 partners,
            chosen independently, and coefficients come from
            Dirichlet(alpha, ..., alpha): d-Mixup with d = P - 1. Defaults
            to 2.
        partner: `"random"`, `"same_class"` or `"different_class"`; see
            `mixing.choose_partner`. Or `"given"`: a batch of B rows is
            followed by their partners, B more rows (with P points B for each
            partner), e.g. of `neighbors.choose_neighbors` or of another
            dataset; the mixed batch has B rows. Defaults to `"random"`.
        self_pairs: Whether a row may be its own partner, which is no mixing.
            Defaults to `True`, as in the papers.
        target: `"mixed"`, or `"nearest"` for the hard target of the nearest
            row (the ablation). Defaults to `"mixed"`.
        keep_clean: Whether the unmixed rows go before the mixed rows, in a
            batch of 2 B rows, so that the loss is the mean of both
            (RegMixup). Defaults to `False`.
        groups: Partners stay within this many contiguous blocks of the batch.
            Under a strategy with `placement="model"` it must be the number of
            replicas (of a worker, where workers make batches of their own).
            Defaults to 1.
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
        places: Places in the model that rows may be mixed in: the length of
            the twin's `at`. One is drawn for each batch and travels along as
            `"place"`, int32 `(B,)` (manifold mixup). Defaults to 1.
        num_parallel_calls: Parallel batches; no draw depends on it. Defaults
            to `tf.data.AUTOTUNE`.
        clock: A `Clock` shared with other stages; a new one by default.

    Attributes:
        alpha: As given; a number as a float.
        seed: What fixes all draws, also where None was given.
        clock: Tells the epoch; give it to what draws beside this stage.

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
        Chidambaram and Ge. On the Limitations of Temperature Scaling for
        Distributions with Overlaps. ICLR 2024.
        https://arxiv.org/abs/2306.00740 (d-Mixup)
        Verma et al. Manifold Mixup. ICML 2019.
        https://arxiv.org/abs/1806.05236
        Pinto et al. RegMixup. NeurIPS 2022. https://arxiv.org/abs/2206.14502
    """

    def __init__(
        self,
        alpha: Alpha,
        *,
        num_classes: Any = None,
        seed: int | None = None,
        per: str = "batch",
        points: int = 2,
        partner: str = "random",
        self_pairs: bool = True,
        target: str = "mixed",
        keep_clean: bool = False,
        groups: int = 1,
        probability: float = 1.0,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        class_weight: Mapping[int, float] | Sequence[float] | None = None,
        placement: str = "host",
        places: int = 1,
        num_parallel_calls: int | None = tf.data.AUTOTUNE,
        clock: clock_lib.Clock | None = None,
    ) -> None:
        self.alpha = alpha if callable(alpha) else _check_alpha(alpha)
        self.num_classes = tf.nest.map_structure(
            _check_num_classes, num_classes
        )
        self.seed = _check_seed(seed)
        self.per = checks.one_of("per", per, ("batch", "sample"))
        self.points = checks.integer_at_least(
            "points", points, 2, remedy="Write 2 to mix pairs"
        )
        self.partner = _check_partner(partner, placement, groups)
        self.self_pairs = self_pairs
        self.target = checks.one_of("target", target, ("mixed", "nearest"))
        self.keep_clean = keep_clean
        self.groups = checks.integer_at_least(
            "groups", groups, 1, remedy="Give the number of replicas, or 1"
        )
        self.probability = checks.real_between(
            "probability", probability, 0, 1, remedy="Write 1 to mix always"
        )
        self.placement = checks.one_of("placement", placement, PLACEMENTS)
        self.places = _check_places(places, placement)
        self._affine = _check_affine(mean, std, placement)
        self._class_weight = _check_class_weight(class_weight, self.num_classes)
        self._parallel = {"num_parallel_calls": num_parallel_calls}
        if num_parallel_calls is not None:
            self._parallel["deterministic"] = True
        self.clock = clock_lib.Clock() if clock is None else clock
        with tf.init_scope(), tf.device("/cpu:0"):
            # Mixing is on from the first of these epochs to before the second.
            self._window = tf.Variable([0, FOREVER], dtype=tf.int64)
        # Called within `tf.data`, since tfp draws otherwise when it is run
        # eagerly; and kept, since what a trace of tfp holds is never freed.
        self._replay_graph = tf.function(self._replay_element)
        self._lam_graph = tf.function(self._draw_element)

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Returns `dataset` with its batches mixed; for `Dataset.apply`.

        Args:
            dataset: Batches of `(x, y)` or `(x, y, sample_weight)`.

        Returns:
            mixed: Batches of the same structure and number (with
                `keep_clean` of twice the rows; without the given partners).
                Targets are float32; inputs are float, or with
                `placement="model"` a dictionary of the inputs and the plan.

        Raises:
            ValueError: If `dataset` is not what `Args` says, or its targets
                are ambiguous.
        """
        length = elements.check_dataset(dataset)
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
        elements.check_dataset(dataset)
        return dataset.map(self._leave_element, **self._parallel)

    def replay(self, batch: tuple, *, epoch: int, step: int) -> Replay:
        """Mixes one batch as it would be at a position of the training.

        To look at what the network sees, and to find again what it saw.

        Args:
            batch: Unmixed `(x, y)` or `(x, y, sample_weight)`, as the dataset
                has it.
            epoch: Counted from 0.
            step: Batch of the epoch, counted from 0.

        Returns:
            replay: The plan, and the batch after it: the mixed rows alone,
                mixed as inputs, whatever `keep_clean` and `places` say.
        """
        position = tf.constant(epoch, tf.int64), tf.constant(step, tf.int64)
        stage = tf.data.Dataset.from_tensors((position, tuple(batch)))
        return Replay(*next(iter(stage.map(self._replay_graph))))

    def coefficients(
        self, batch: tuple, *, epoch: int, steps: int
    ) -> tf.Tensor:
        """Draws what a batch's rows would be mixed by in an epoch's steps.

        To look at the distribution that coefficients have in fact.

        Args:
            batch: Unmixed, as `replay` takes it.
            epoch: Counted from 0.
            steps: First steps of the epoch to draw, at least 1.

        Returns:
            lam: float32 `(steps, B)`; with P > 2 points `(steps, B, P)`.
        """
        epochs = tf.data.Dataset.range(epoch, epoch + 1).repeat(steps)
        positions = tf.data.Dataset.zip(epochs, tf.data.Dataset.range(steps))
        rows = tf.data.Dataset.from_tensors(tuple(batch)).repeat(steps)
        stage = tf.data.Dataset.zip(positions, rows)
        return next(iter(stage.map(self._lam_graph).batch(steps)))

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

    def _mix_element(self, position: Position, element: tuple) -> tuple:
        inputs, targets, *weights = self._encode(element)
        if self._class_weight is not None:
            if tf.nest.is_nested(targets):
                raise _refuse_class_weight("several targets")
            per_row = tf.linalg.matvec(targets, self._class_weight)
            weights = [per_row * weights[0] if weights else per_row]
        plan = self._draw_plan(position, inputs, targets)
        rows = inputs, (targets, *weights)
        if self.keep_clean:
            plan = self._after_clean(plan)
            size = _num_rows(plan) // 2
            rows = tf.nest.map_structure(
                lambda each: tf.concat([each[:size], each], axis=0), rows
            )
        inputs, labels = rows
        return (self._apply(inputs, plan), *self._combine(labels, plan))

    def _replay_element(self, position: Position, element: tuple) -> Replay:
        plan, inputs, targets = self._plan_element(position, element)
        return Replay(
            plan.lam,
            plan.partner,
            self._mix(inputs, plan),
            self._combine(targets, plan),
        )

    def _draw_element(self, position: Position, element: tuple) -> tf.Tensor:
        return self._plan_element(position, element)[0].lam

    def _plan_element(
        self, position: Position, element: tuple
    ) -> tuple[Plan, Any, Any]:
        inputs, targets, *_ = self._encode(element)
        return self._draw_plan(position, inputs, targets), inputs, targets

    def _leave_element(self, *element: Any) -> tuple:
        inputs, *labels = self._encode(element)
        plan = self._identity(_num_rows(labels))
        return (self._apply(inputs, plan), *labels)

    def _apply(self, inputs: Any, plan: Plan) -> Any:
        """Applies the plan here, or sends it along to the model."""
        if self.placement == "host":
            return self._mix_inputs(inputs, plan)
        own = self._identity(_num_rows(plan))
        sent = {
            "inputs": inputs,
            "lam": plan.lam,
            "shift": plan.partner - own.partner,
        }
        return sent | ({"place": plan.where} if self.places > 1 else {})

    def _encode(self, element: tuple) -> tuple:
        inputs, labels, *weights = element
        if isinstance(self.num_classes, int | None):
            targets = tf.nest.map_structure(
                lambda each: targets_lib.encode(each, self.num_classes), labels
            )
        else:
            targets = tf.nest.map_structure(
                targets_lib.encode, labels, self.num_classes
            )
        return inputs, targets, *weights

    def _combine(self, values: Any, plan: Plan) -> Any:
        """Combines targets or weights, which stay hard with `"nearest"`."""
        combine = mixing.take_nearer if self.target == "nearest" else _mix
        return combine(values, plan.lam, plan.partner)

    def _draw_plan(self, position: Position, inputs: Any, targets: Any) -> Plan:
        """Draws the plan of a batch from (seed, epoch, step)."""
        epoch, step = position
        seed = tf.constant([self.seed, 0], tf.int64)
        seed = tf.random.fold_in(tf.random.fold_in(seed, epoch), step)
        lam_seed, partner_seed, apply_seed = tf.unstack(
            tf.random.split(seed, 3)
        )
        size = _num_rows(targets)
        if self.partner == "given":
            size = self._num_mixed(size)
        draws = self._num_draws(size)
        alpha = self._alpha_at(epoch, step)
        lam = mixing.draw_lam(alpha, draws, seed=lam_seed, points=self.points)
        if self.probability < 1:
            shape = [draws] if self.points == 2 else [draws, 1]
            chance = tf.random.stateless_uniform(shape, apply_seed)
            own = mixing.own_share(self.points)
            lam = tf.where(chance < self.probability, lam, own)
        lam = tf.broadcast_to(lam, [size, *lam.shape[1:]])
        partners = self._choose_partners(size, targets, partner_seed)
        plan = Plan(lam, _stack(partners))
        # The three seeds above are taken; this is a fourth.
        return self._locate(plan, tf.random.fold_in(seed, 3), inputs)

    def _choose_partners(
        self, size: Any, targets: Any, seed: tf.Tensor
    ) -> list[tf.Tensor]:
        """Returns the P - 1 partners of each row, P - 1 times `(B,)`."""
        if self.partner == "given":
            own = tf.range(size)
            return [own + size * k for k in range(1, self.points)]
        classes = self._classes(targets)
        return [
            mixing.choose_partner(
                size,
                seed=tf.random.fold_in(seed, k) if k else seed,
                kind=self.partner,
                labels=classes,
                groups=self.groups,
                self_pairs=self.self_pairs,
            )
            for k in range(self.points - 1)
        ]

    def _num_mixed(self, size: Any) -> Any:
        """Returns how many of the rows are mixed with those that follow."""
        known = not tf.is_tensor(size)
        unfit = checks.refusal(
            "Given partners must follow a batch's rows, one for each row and"
            " point but the first",
            f"points={self.points} with {size if known else 'too many'} rows",
            "Concatenate a batch and its partners, in this order",
        )
        if known and size % self.points:
            raise unfit
        tf.debugging.assert_equal(size % self.points, 0, str(unfit))
        return size // self.points

    def _num_draws(self, size: Any) -> Any:
        return size if self.per == "sample" else 1

    def _locate(self, plan: Plan, seed: tf.Tensor, inputs: Any) -> Plan:
        """Draws what of the rows is mixed: one of the places."""
        if self.places == 1:
            return plan
        place = tf.random.stateless_uniform(
            [], seed, maxval=self.places, dtype=tf.int32
        )
        return plan._replace(where=tf.fill([_num_rows(plan)], place))

    def _identity(self, size: Any) -> Plan:
        """Returns the plan that mixes nothing."""
        own = mixing.own_share(self.points)
        lam = tf.broadcast_to(own, [size, *own.shape])
        partner = _stack([tf.range(size)] * (self.points - 1))
        where = tf.zeros([size], tf.int32) if self.places > 1 else ()
        return Plan(lam, partner, where)

    def _after_clean(self, plan: Plan) -> Plan:
        """Returns the plan of a batch's rows twice, the first time unmixed."""
        size = _num_rows(plan)
        mixed = plan._replace(partner=plan.partner + size)
        return tf.nest.map_structure(
            lambda *both: tf.concat(both, axis=0), self._identity(size), mixed
        )

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

    def _mix(self, inputs: Any, plan: Plan) -> Any:
        return _mix(inputs, plan.lam, plan.partner)

    @tf.function(jit_compile=True)
    def _mix_inputs(self, inputs: Any, plan: Plan) -> Any:
        """One fused pass: gather, cast, interpolate, scale."""
        mixed = self._mix(inputs, plan)
        if self._affine is None:
            return mixed
        affine = self._affine
        mean, std = (tf.constant(each, tf.float32) for each in affine)

        def scale(x: tf.Tensor) -> tf.Tensor:
            checks.fits_channels(*affine, x.shape)
            return x * tf.cast(1 / std, x.dtype) - tf.cast(mean / std, x.dtype)

        return tf.nest.map_structure(scale, mixed)


def _mix(values: Any, lam: tf.Tensor, partner: tf.Tensor) -> Any:
    return mixing.mix(values, (), lam, partner)[0]


def _stack(partners: list[tf.Tensor]) -> tf.Tensor:
    return partners[0] if len(partners) == 1 else tf.stack(partners, axis=1)


def _num_rows(structure: Any) -> tf.Tensor:
    first = tf.nest.flatten(structure)[0]
    return first.shape[0] or tf.shape(first)[0]


def _check_alpha(alpha: float) -> float:
    return checks.real_at_least(
        "alpha", alpha, 0, remedy="Write 0 to train without mixing"
    )


def _check_partner(partner: str, placement: str, groups: int) -> str:
    checks.one_of("partner", partner, PARTNERS)
    if partner == "given" and (placement != "host" or groups != 1):
        raise checks.refusal(
            "Partners that are given are mixed on the host, each with its row",
            f"partner='given' with placement={placement!r}, groups={groups}",
            "Leave `placement` and `groups` out",
        )
    return partner


def _check_seed(seed: int | None) -> int:
    if seed is None:
        return secrets.randbits(31)
    return checks.integer_at_least(
        "seed", seed, 0, remedy="Write None for a fresh seed"
    )


def _check_places(places: int, placement: str) -> int:
    if placement == "host" and places != 1:
        raise checks.refusal(
            "On the host rows are mixed in one place, the inputs",
            f"places={places!r} with placement='host'",
            'Write `placement="model"` and use `layers.training_twin(at=...)`',
        )
    return checks.integer_at_least(
        "places", places, 1, remedy="Write 1 to mix in one place"
    )


def _check_affine(
    mean: Any, std: Any, placement: str
) -> tuple[checks.ChannelNumbers, checks.ChannelNumbers] | None:
    if mean is None and std is None:
        return None
    if placement == "model":
        raise checks.refusal(
            "`mean` and `std` are applied where rows are mixed",
            f"mean={mean!r}, std={std!r} with placement='model'",
            "Give them to `layers.training_twin`",
        )
    return checks.statistics(mean, std)


def _check_num_classes(count: Any) -> int | None:
    if count is None:
        return None
    return checks.integer_at_least(
        "num_classes",
        count,
        1,
        remedy="Write 1 for one sigmoid output, None for regression targets",
    )


def _refuse_class_weight(received: str) -> ValueError:
    return checks.refusal(
        "`class_weight` needs one output of at least 2 classes",
        f"class_weight with {received}",
        "Give `num_classes`, or sample weights in the dataset",
    )


def _check_class_weight(
    class_weight: Any, num_classes: Any
) -> tf.Tensor | None:
    if class_weight is None:
        return None
    if not isinstance(num_classes, int) or num_classes < 2:
        raise _refuse_class_weight(f"num_classes={num_classes!r}")
    classes = range(num_classes)
    if isinstance(class_weight, Mapping):
        given = [class_weight.get(k, 1.0) for k in classes]
        known = set(class_weight) <= set(classes)
    else:
        given = list(class_weight)
        known = len(given) == num_classes
    if not known:
        raise checks.refusal(
            "`class_weight` must give classes 0 to K - 1 a number >= 0",
            f"class_weight={class_weight!r} with num_classes={num_classes}",
            "Count classes from 0",
        )
    weights = [
        checks.real_at_least(
            f"class_weight[{k}]", weight, 0, remedy="Write 0 to leave it out"
        )
        for k, weight in enumerate(given)
    ]
    return tf.constant(weights, tf.float32)
