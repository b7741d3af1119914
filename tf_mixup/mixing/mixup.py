"""MixUp: the `tf.data` stage that draws plans and applies them.

    dataset.batch(128).apply(mixup)

The plan is drawn from `f(seed, epoch, step)`. It is applied here, by one
XLA-compiled function on the batch as it came (`placement="host"`), or
travels with the batch to `mixing.Mix` inside the model on the accelerator
(`placement="model"`). Targets are small and always mixed here.
"""

import functools
import inspect
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import tensorflow as tf

from tf_mixup import _checks
from tf_mixup import _run_time
from tf_mixup.mixing import _arguments
from tf_mixup.mixing import _batches
from tf_mixup.mixing import _input_rules
from tf_mixup.mixing import epoch_counter
from tf_mixup.mixing import plans
from tf_mixup.mixing import targets as targets_lib

Alpha = float | Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
Position = tuple[tf.Tensor, tf.Tensor]
PLACEMENTS = _arguments.PLACEMENTS
PARTNERS = _arguments.PARTNERS
FOREVER = tf.int64.max
# The smallest number that TensorFlow does not take for 0.
_TINY = 1.1754944e-38


class Plan(NamedTuple):
    """What is drawn for a batch.

    Attributes:
        lam: Coefficients, float32 `(B,)`; with P > 2 points `(B, P)`.
        partner: The example that each one is mixed with, int32 `(B,)`; with
            P > 2 points `(B, P - 1)`.
        where: What is mixed, int32: with several places the number of one,
            `(B,)`; with CutMix the corners of a box, `(B, 4)`, or the ends of
            an interval, `(B, 2)`; else nothing.
    """

    lam: tf.Tensor
    partner: tf.Tensor
    where: Any = ()


class Replay(NamedTuple):
    """What the stage does to one batch.

    Attributes:
        lam: Coefficients, float32 `(B,)`; with P > 2 points `(B, P)`.
        partner: The example that each one is mixed with, int32 `(B,)`; with
            P > 2 points `(B, P - 1)`.
        inputs: The mixed inputs, before `mean` and `std`.
        targets: The mixed targets.
    """

    lam: tf.Tensor
    partner: tf.Tensor
    inputs: Any
    targets: Any


class Batch(NamedTuple):
    """A batch on its way through the stage.

    Attributes:
        inputs: As the dataset has them.
        labels: Targets, and sample weights where there are some.
        known: Share of examples of known class, float32 `(B,)` for each
            output; nothing where all classes are known.
    """

    inputs: Any
    labels: tuple
    known: Any = ()


class MixUp(epoch_counter.Bound):
    """Mixes shuffled pairs of examples of each batch, inputs and targets.

    Use it on a batched dataset of `(x, y)` or `(x, y, sample_weight)`, or of
    dictionaries such as `{"image": x, "label": y}`, with
    `dataset.apply(mixup)`, and `dataset.apply(mixup.evaluation)` where the
    same format is wanted without mixing. On a `keras.utils.PyDataset` write
    `mixup(dataset)` and `mixup.evaluation(dataset)`.

    The same `seed`, epoch and step give the same plan (coefficients and
    partners), whatever the parallelism and after a resume; so also the same
    batch if the dataset gives the same examples then. The epoch comes from
    `callbacks.MixingSchedule`. Without that callback each pass that starts is
    the next epoch. In all loops no two passes mix alike; see
    `epoch_counter` for a second `fit`, two datasets of one stage, and what a
    resume restores.

    Mix after the tf.data service: its workers cannot see the epoch, and an
    error says so when they read mixed data. Mix after `.cache()`, `.snapshot`
    and `.save`, too, which would repeat the mixes of one pass forever;
    `testing.check_mixing` finds that.

    Put `.repeat()` anywhere and pass `steps_per_epoch` to `fit` if you like.
    The dataset must know its number of batches. `class_weight` belongs here
    and not in `fit`, which would look at the largest entry of a mixed target
    only.

    Inputs of several kinds: floats and integers of 8 and 16 bits (images,
    sound) are mixed. Integers of 32 and 64 bits, booleans and text may be ids,
    tokens or masks, and are refused unless `inputs` says what to do with them.
    Embeddings of tokens are mixed inside the model, with `placement="model"`
    and `mixing.training_twin(model, at=...)`. Mixed integers of 32 and 64 bits
    become float64, those of 8 and 16 bits float32.

    Targets: with `num_classes` float vectors must lie in [0, 1]; those whose
    sum is within 0.05 of 1, such as shares of votes with two decimals, are
    divided by it. See `mixing.targets.encode`.

    Copies of a stage are the stage itself, so that a callback that is copied
    still belongs to its dataset.

    Args:
        alpha: Concentration of Beta(alpha, alpha), from which coefficients
            are drawn; 0, which is no mixing, or a number from 1.2e-38 to
            3.4e38; or a function of (epoch, step), two int64 scalars, that
            returns it as a float tensor; it is compiled into the stage.
            Papers: 0.2 to 0.4 for calibration and ImageNet, 1 for accuracy on
            CIFAR.
        num_classes: K, for integer labels; 1 for one sigmoid output; None for
            targets that are vectors or regression targets. With several
            outputs: one for all, or a structure like the targets.
        seed: Integer that fixes all draws. None takes a fresh one, to be
            found in the attribute `seed`. Defaults to `None`.
        per: `"batch"` draws one coefficient for each batch, as the papers do;
            `"sample"` one for each example. Defaults to `"batch"`.
        points: Examples in a mixture, P. Above 2 each example has P - 1
            partners, chosen independently, and coefficients come from
            Dirichlet(alpha, ..., alpha): d-Mixup with d = P - 1. Defaults
            to 2.
        partner: `"random"`, `"same_class"` or `"different_class"`; see
            `mixing.choose_partner`. Or `"given"`: a batch of B examples is
            followed by their partners, B more examples (with P points B for
            each partner), e.g. of `mixing.choose_neighbors` or of another
            dataset; the mixed batch has B examples. Defaults to `"random"`.
        self_pairs: Whether an example may be its own partner, which is no
            mixing. Defaults to `True`, as in the papers.
        target: `"mixed"`, or `"nearest"` for the hard target of the nearest
            example (the ablation). Defaults to `"mixed"`.
        keep_clean: Whether the unmixed examples go before the mixed ones, in
            a batch of 2 B examples, so that the loss is the mean of both
            (RegMixup). Defaults to `False`.
        groups: Partners stay within this many contiguous blocks of the batch.
            Under a strategy with `placement="model"` it must be the number of
            replicas (of a worker, where workers make batches of their own).
            Defaults to 1.
        probability: Chance that a batch (or example, with `per="sample"`) is
            mixed at all. Defaults to 1.
        inputs: How inputs are combined on the host: `"mix"`; `"keep"`, the
            example's own; or `"union"`, the elementwise maximum over the
            examples of a mixture (for masks). One rule for all inputs, or a
            dictionary such as `{"ids": "keep", "text/mask": "union"}`, in
            which "/" joins the names of nested inputs. Defaults to `None`:
            see above.
        mean: Subtracted from mixed inputs, a number or one for each channel,
            in the unit of the inputs. Channels are on the last axis, or on
            the second if `keras.config.image_data_format()` says so. Defaults
            to nothing.
        std: Divides the mixed inputs. Defaults to nothing.
        class_weight: Weight of each class, a dictionary or sequence; becomes
            sample weights, mixed like all else: `lam * w_i + (1-lam) * w_j`.
        ignore_label: Label of examples whose class is unknown, such as -1.
            They weigh 0: a mixture has the target of its other examples, and
            the weight `lam * w_i + (1-lam) * w_j`. Batches then always have
            sample weights. Defaults to `None`.
        check_finite: Whether to refuse batches with NaN or infinity when they
            are drawn, which reads each batch once more. Defaults to `False`.
        placement: `"host"`, or `"model"`: then inputs travel unmixed, as
            `{"inputs": x, "lam": lam, "shift": shift}`, to a model made by
            `mixing.training_twin`, which takes `mean` and `std` instead.
        places: Places in the model that examples may be mixed in: the length
            of the twin's `at`. One is drawn for each batch and travels along
            as `"place"`, int32 `(B,)` (manifold mixup). Defaults to 1.
        num_parallel_calls: Parallel batches; no draw depends on it. Defaults
            to `tf.data.AUTOTUNE`.
        clock: A `Clock` shared with other stages; a new one by default.

    Attributes:
        alpha: As given; a number as a float.
        seed: What fixes all draws, also where None was given.
        clock: Tells the epoch; give it to what draws beside this stage.
        window: First epoch with mixing, and the first without it again or
            None; see `restrict`.

    Raises:
        ValueError: If an argument is out of range, or float32 cannot hold it.
        tf.errors.InvalidArgumentError: While batches are drawn, if a label is
            out of range, parts of a batch have different lengths, or a
            function gives no valid alpha.

    Example:
        >>> mixup = MixUp(alpha=0.2, num_classes=10, seed=0)
        >>> arrays = np.zeros((8, 28, 28, 1), "uint8"), np.arange(8)
        >>> batches = tf.data.Dataset.from_tensor_slices(arrays).batch(4)
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
        inputs: Any = None,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        class_weight: Mapping[int, float] | Sequence[float] | None = None,
        ignore_label: int | None = None,
        check_finite: bool = False,
        placement: str = "host",
        places: int = 1,
        num_parallel_calls: int | None = tf.data.AUTOTUNE,
        clock: epoch_counter.Clock | None = None,
    ) -> None:
        self.alpha = _arguments.check_alpha(alpha)
        self.num_classes = _arguments.check_num_classes(num_classes)
        self.seed = _arguments.check_seed(seed)
        self.per = _checks.one_of("per", per, ("batch", "sample"))
        self.points = _checks.integer_at_least(
            "points", points, 2, remedy="Write 2 to mix pairs", dtype="int32"
        )
        self.partner = _arguments.check_partner(partner, placement, groups)
        self.self_pairs = _checks.boolean("self_pairs", self_pairs)
        self.target = _checks.one_of("target", target, ("mixed", "nearest"))
        self.keep_clean = _checks.boolean("keep_clean", keep_clean)
        self.groups = _checks.integer_at_least(
            "groups",
            groups,
            1,
            remedy="Give the number of replicas, or 1",
            dtype="int32",
        )
        self.probability = _checks.real_between(
            "probability", probability, 0, 1, remedy="Write 1 to mix always"
        )
        self.placement = _checks.one_of(
            "placement", placement, _arguments.PLACEMENTS
        )
        self.places = _arguments.check_places(places, placement)
        self.inputs = _arguments.check_inputs(inputs, placement)
        self._rules = _input_rules.InputRules(inputs)
        self._affine = _arguments.check_affine(mean, std, placement)
        subtracted, divides = self._affine or (None, None)
        self.mean = None if mean is None else subtracted
        self.std = None if std is None else divides
        self.class_weight = _arguments.check_class_weight(
            class_weight, self.num_classes
        )
        self.ignore_label = _arguments.check_ignore_label(
            ignore_label, self.num_classes
        )
        self.check_finite = _checks.boolean("check_finite", check_finite)
        self.num_parallel_calls = _arguments.check_calls(num_parallel_calls)
        self.clock = _arguments.check_clock(clock)
        self.window: tuple[int, int | None] = (0, None)
        with tf.init_scope(), tf.device("/cpu:0"):
            # Mixing is on from the first of these epochs to before the second.
            self._window = tf.Variable([0, FOREVER], dtype=tf.int64)
        # Called within `tf.data`, since tfp draws otherwise when it is run
        # eagerly; and kept, since what a trace of tfp holds is never freed.
        self._replay_graph = tf.function(self._replay_element, autograph=False)
        self._lam_graph = tf.function(self._draw_element, autograph=False)

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        """Returns the arguments but the clock, and their defaults."""
        parameters = inspect.signature(MixUp).parameters.values()
        return {
            each.name: each.default
            for each in parameters
            if each.name != "clock"
        }

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal stage.

        Returns:
            config: For `MixUp(**config)`, with the seed that was drawn where
                none was given, and without the clock.
        """
        return {name: getattr(self, name) for name in self._defaults()}

    def __repr__(self) -> str:
        given = {
            name: value
            for name, value in self.get_config().items()
            if name == "alpha" or value != self._defaults()[name]
        }
        arguments = ", ".join(f"{name}={given[name]!r}" for name in given)
        return f"{type(self).__name__}({arguments})"

    def __reduce__(self) -> tuple:
        """Pickles the arguments and the clock."""
        make = functools.partial(type(self), **self.get_config())
        return _restore, (make, self.clock, self.window)

    def __call__(self, dataset: Any) -> tf.data.Dataset:
        """Returns `dataset` with its batches mixed; for `Dataset.apply`.

        Args:
            dataset: Batches of `(x, y)` or `(x, y, sample_weight)`, or of
                dictionaries such as `{"image": x, "label": y}`; or a
                `keras.utils.PyDataset`.

        Returns:
            mixed: Batches of the same structure and number (with
                `keep_clean` of twice the examples; without the given
                partners). Targets are float32; inputs are float, or with
                `placement="model"` a dictionary of the inputs and the plan.
                With `class_weight` or `ignore_label` there are always
                weights.

        Raises:
            ValueError: If `dataset` is not what `Args` says, its targets are
                ambiguous, or an input needs a rule.
        """
        dataset, length = _batches.read_batches(dataset)
        self._check_inputs(dataset.element_spec[0])
        dataset = _batches.count_batches(dataset, length)

        def mix(positions: tf.data.Dataset) -> tf.data.Dataset:
            # Batches first: their end is read, and so is one too many.
            pairs = tf.data.Dataset.zip(dataset, positions)
            return self._map(
                pairs,
                lambda element, place: self._mix_element(place, element),
            )

        return self.clock.attach(length, mix, owner=self)

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
        return self._map(dataset, self._leave_element)

    def _map(self, dataset: tf.data.Dataset, function: Any) -> tf.data.Dataset:
        # AutoGraph would put its traceback around each error.
        plain = tf.autograph.experimental.do_not_convert(function)
        if self.num_parallel_calls is None:
            return dataset.map(plain)
        calls = self.num_parallel_calls
        return dataset.map(plain, num_parallel_calls=calls, deterministic=True)

    def _check_inputs(self, spec: Any, *, mixes: bool = True) -> None:
        """Refuses inputs whose rules or statistics do not fit."""
        if self.placement == "model":
            return
        mixed = self._rules.select_mixed(spec, mixes=mixes)
        if not mixed and mixes and self.alpha != 0:
            raise _checks.refusal(
                "At least one input must be mixed",
                f"inputs={self.inputs!r} with alpha={self.alpha!r}",
                'Give one the rule "mix", mix inside the model with'
                ' `placement="model"`, or write `alpha=0`',
            )
        if self._affine is not None:
            for each in mixed:
                _checks.fits_channels(*self._affine, each.shape)

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
                alone, mixed as inputs, whatever `keep_clean` and `places`
                say.
        """
        place = {"epoch": epoch, "step": step}
        for name, value in place.items():
            _checks.integer_at_least(name, value, 0, remedy="Count from 0")
        position = tf.constant(epoch, tf.int64), tf.constant(step, tf.int64)
        stage = tf.data.Dataset.from_tensors((position, tuple(batch)))
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
        _checks.integer_at_least("steps", steps, 1, remedy="Ask for some")
        epochs = tf.data.Dataset.range(epoch, epoch + 1).repeat(steps)
        positions = tf.data.Dataset.zip(epochs, tf.data.Dataset.range(steps))
        examples = tf.data.Dataset.from_tensors(tuple(batch)).repeat(steps)
        stage = tf.data.Dataset.zip(positions, examples)
        return next(iter(stage.map(self._lam_graph).batch(steps)))

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

    def _mix_element(self, position: Position, element: tuple) -> tuple:
        batch = self._weigh_classes(self._encode(element))
        plan = self._draw_plan(position, batch)
        if self.keep_clean:
            plan = self._after_clean(plan)
            size = _size(plan) // 2
            batch = tf.nest.map_structure(
                lambda each: tf.concat([each[:size], each], axis=0), batch
            )
        return (self._apply(batch.inputs, plan), *self._combine(batch, plan))

    def _replay_element(self, position: Position, element: tuple) -> Replay:
        batch = self._encode(element)
        plan = self._draw_plan(position, batch)
        inputs = self._rules.combine(
            batch.inputs,
            plan.lam,
            plan.partner,
            lambda mixed: self._mix(mixed, plan),
        )
        targets = self._combine(batch, plan)[0]
        return Replay(plan.lam, plan.partner, inputs, targets)

    def _draw_element(self, position: Position, element: tuple) -> tf.Tensor:
        return self._draw_plan(position, self._encode(element)).lam

    def _leave_element(self, *element: Any) -> tuple:
        batch = self._encode(element)
        if self.placement == "model":
            plan = self._identity(_size(batch.labels))
            return (self._apply(batch.inputs, plan), *batch.labels)
        leaves = tf.nest.flatten(batch.inputs)
        rules = self._rules.resolve(batch.inputs, mixes=False)
        kept = [
            self._scale(leaf) if rule == "mix" else leaf
            for rule, leaf in zip(rules, leaves, strict=True)
        ]
        inputs = tf.nest.pack_sequence_as(batch.inputs, kept)
        return (inputs, *batch.labels)

    def _apply(self, inputs: Any, plan: Plan) -> Any:
        """Applies the plan here, or sends it along to the model."""
        if self.placement == "host":
            return self._rules.combine(
                inputs,
                plan.lam,
                plan.partner,
                lambda mixed: self._mix_inputs(mixed, plan),
            )
        own = self._identity(_size(plan))
        sent = {
            "inputs": inputs,
            "lam": plan.lam,
            "shift": plan.partner - own.partner,
        }
        return sent | ({"place": plan.where} if self.places > 1 else {})

    def _encode(self, element: tuple) -> Batch:
        """Turns labels into targets, and weights into float32."""
        element = _batches.require_same_size(element)
        if self.check_finite:
            element = _batches.require_finite(element)
        inputs, labels, *weights = element
        label = self.ignore_label
        targets = self._per_output(
            lambda each, count: targets_lib.encode(each, count, label), labels
        )
        weights = tf.nest.map_structure(
            lambda each: tf.cast(each, tf.float32), weights
        )
        if label is None:
            return Batch(inputs, (targets, *weights))
        known = self._per_output(
            lambda each, count: targets_lib.find_known(each, count, label),
            labels,
        )
        known = tf.nest.map_structure(
            lambda each: tf.cast(each, tf.float32), known
        )
        weighed = targets_lib.weigh_outputs(weights, known)
        return Batch(inputs, (targets, weighed), known)

    def _per_output(self, function: Any, labels: Any) -> Any:
        """Maps over labels, each with its number of classes."""
        counts = self.num_classes
        if counts is None or isinstance(counts, int):
            return tf.nest.map_structure(
                lambda each: function(each, counts), labels
            )
        try:
            tf.nest.assert_same_structure(labels, counts)
        except (TypeError, ValueError) as error:
            raise _checks.refusal(
                "`num_classes` must be one number, or have the structure of"
                " the targets",
                f"num_classes={counts!r} for targets"
                f" {tf.nest.map_structure(lambda each: each.shape, labels)}",
                "Give each output its number, None for regression",
            ) from error
        return tf.nest.map_structure(function, labels, counts)

    def _weigh_classes(self, batch: Batch) -> Batch:
        """Multiplies weights by the class weights in expectation."""
        if self.class_weight is None:
            return batch
        labels, *weights = batch.labels
        outputs = tf.nest.flatten(labels)
        if len(outputs) > 1:
            raise _arguments.refuse_class_weight("several targets")
        each = tf.constant(self.class_weight, tf.float32)
        per_example = tf.nest.pack_sequence_as(
            labels, [tf.linalg.matvec(outputs[0], each)]
        )
        weighed = targets_lib.weigh_outputs(weights, per_example)
        return batch._replace(labels=(labels, weighed))

    def _combine(self, batch: Batch, plan: Plan) -> tuple:
        """Combines targets and weights, which stay hard with `"nearest"`."""
        lam, partner = plan.lam, plan.partner
        if self.target == "nearest":
            return plans.take_nearer(batch.labels, lam, partner)
        labels = _mix(batch.labels, lam, partner)
        if self.ignore_label is None:
            return labels
        shares = _mix(batch.known, lam, partner)
        targets, weights = labels
        targets = tf.nest.map_structure(
            targets_lib.renormalize, targets, shares
        )
        return targets, weights

    def _draw_plan(self, position: Position, batch: Batch) -> Plan:
        """Draws the plan of a batch from (seed, epoch, step)."""
        epoch, step = position
        seed = tf.constant([self.seed, 0], tf.int64)
        seed = tf.random.fold_in(tf.random.fold_in(seed, epoch), step)
        lam_seed, partner_seed, apply_seed = tf.unstack(
            tf.random.split(seed, 3)
        )
        size = _size(batch.labels)
        if self.partner == "given":
            size = self._num_mixed(size)
        draws = self._num_draws(size)
        alpha = self._alpha_at(epoch, step)
        lam = plans.draw_lam(alpha, draws, seed=lam_seed, points=self.points)
        if self.probability < 1:
            shape = [draws] if self.points == 2 else [draws, 1]
            chance = tf.random.stateless_uniform(shape, apply_seed)
            own = plans.own_share(self.points)
            lam = tf.where(chance < self.probability, lam, own)
        lam = tf.broadcast_to(lam, [size, *lam.shape[1:]])
        partners = self._choose_partners(size, batch, partner_seed)
        plan = Plan(lam, _stack(partners))
        # The three seeds above are taken; this is a fourth.
        return self._locate(plan, tf.random.fold_in(seed, 3), batch.inputs)

    def _choose_partners(
        self, size: Any, batch: Batch, seed: tf.Tensor
    ) -> list[tf.Tensor]:
        """Returns the P - 1 partners of each example, P - 1 times `(B,)`."""
        if self.partner == "given":
            own = tf.range(size)
            return [own + size * k for k in range(1, self.points)]
        classes = self._classes(batch)
        return [
            plans.choose_partner(
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
        """Returns how many examples are mixed with those that follow."""
        rule = (
            "Given partners must follow a batch's examples, one for each"
            " example and point but the first"
        )
        remedy = "Concatenate a batch and its partners, in this order"
        if not tf.is_tensor(size):
            if size % self.points:
                received = f"points={self.points} with {size} examples"
                raise _checks.refusal(rule, received, remedy)
            return size // self.points
        size = _run_time.require(
            size,
            size % self.points == 0,
            rule,
            lambda: tf.strings.format(
                f"points={self.points} with {{}} examples", size
            ),
            remedy,
        )
        return size // self.points

    def _num_draws(self, size: Any) -> Any:
        return size if self.per == "sample" else 1

    def _locate(self, plan: Plan, seed: tf.Tensor, inputs: Any) -> Plan:
        """Draws what of the examples is mixed: one of the places."""
        if self.places == 1:
            return plan
        place = tf.random.stateless_uniform(
            [], seed, maxval=self.places, dtype=tf.int32
        )
        return plan._replace(where=tf.fill([_size(plan)], place))

    def _identity(self, size: Any) -> Plan:
        """Returns the plan that mixes nothing."""
        own = plans.own_share(self.points)
        lam = tf.broadcast_to(own, [size, *own.shape])
        partner = _stack([tf.range(size)] * (self.points - 1))
        where = tf.zeros([size], tf.int32) if self.places > 1 else ()
        return Plan(lam, partner, where)

    def _after_clean(self, plan: Plan) -> Plan:
        """Returns the plan of a batch twice, the first time unmixed."""
        size = _size(plan)
        clean = self._identity(size)._replace(
            where=tf.nest.map_structure(tf.zeros_like, plan.where)
        )
        mixed = plan._replace(partner=plan.partner + size)
        return tf.nest.map_structure(
            lambda *both: tf.concat(both, axis=0), clean, mixed
        )

    def _alpha_at(self, epoch: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        epoch = epoch_counter.training_epoch(epoch)
        alpha = self.alpha
        if callable(alpha):
            # AutoGraph is for the user's function.
            alpha = _check_drawn_alpha(tf.function(alpha)(epoch, step))
        alpha = tf.convert_to_tensor(alpha, tf.float32)
        first, end = tf.unstack(self._window.read_value())
        return tf.where((epoch >= first) & (epoch < end), alpha, 0.0)

    def _classes(self, batch: Batch) -> tf.Tensor | None:
        """Returns the classes `(B,)` that partners are chosen by, if any."""
        if self.partner == "random":
            return None
        targets = batch.labels[0]
        classes = None
        if tf.is_tensor(targets) and targets.shape.rank == 2:
            if targets.shape[-1] == 1 and self.num_classes == 1:
                classes = tf.cast(targets[:, 0] >= 0.5, tf.int32)
            elif targets.shape[-1] > 1:
                classes = tf.argmax(targets, axis=-1, output_type=tf.int32)
        if classes is None:
            raise _checks.refusal(
                f'`partner="{self.partner}"` needs one class for each example',
                f"targets {tf.nest.map_structure(lambda t: t.shape, targets)}",
                'Use `partner="random"`',
            )
        if self.ignore_label is None:
            return classes
        # Those of unknown class are a class of their own.
        unknown = tf.constant(max(targets.shape[-1], 2), tf.int32)
        return tf.where(batch.known > 0, classes, unknown)

    def _mix(self, inputs: tuple, plan: Plan) -> tuple:
        return _mix(inputs, plan.lam, plan.partner)

    @tf.function(jit_compile=True, autograph=False)
    def _mix_inputs(self, inputs: tuple, plan: Plan) -> tuple:
        """One fused pass: gather, cast, interpolate, scale."""
        return tf.nest.map_structure(self._scale, self._mix(inputs, plan))

    def _scale(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns inputs as floats, without `mean` and divided by `std`."""
        inputs = plans.as_numbers(inputs)
        if self._affine is None:
            return inputs
        wide = plans.widen(inputs.dtype)
        mean, std = (
            _checks.along_channels(numbers, inputs.shape.rank)
            for numbers in self._affine
        )
        shifted = tf.cast(inputs, wide) - tf.cast(mean, wide)
        return tf.cast(shifted * tf.cast(1 / std, wide), inputs.dtype)


def _restore(
    make: Any, clock: epoch_counter.Clock, window: tuple[int, int | None]
) -> MixUp:
    """Returns a stage that was pickled."""
    stage = make(clock=clock)
    stage.restrict(*window)
    return stage


def _mix(values: Any, lam: tf.Tensor, partner: tf.Tensor) -> Any:
    return plans.mix(values, (), lam, partner)[0]


def _stack(partners: list[tf.Tensor]) -> tf.Tensor:
    return partners[0] if len(partners) == 1 else tf.stack(partners, axis=1)


def _size(structure: Any) -> Any:
    """Returns the number of examples, as an int where it is known."""
    first = tf.nest.flatten(structure)[0]
    known = first.shape[0]
    return tf.shape(first)[0] if known is None else known


def _check_drawn_alpha(alpha: Any) -> tf.Tensor:
    """Returns what a function gave as alpha, a float32 scalar."""
    rule = "The function `alpha` must return one finite number, at least 0"
    remedy = "Return a float scalar, e.g. `tf.where(epoch < 5, 0.0, 0.2)`"
    number = tf.is_tensor(alpha) and (
        alpha.dtype.is_floating or alpha.dtype.is_integer
    )
    if not number or alpha.shape.rank != 0:
        received = f"{alpha!r}" if not number else f"shape {alpha.shape}"
        raise _checks.refusal(rule, received, remedy)
    cast = tf.cast(alpha, tf.float32)
    cast = _run_time.require(
        cast,
        (cast >= 0) & tf.math.is_finite(cast),
        rule,
        lambda: tf.strings.format("{}", alpha),
        remedy,
    )
    # What is smaller than float32 holds draws shares of 0 or 1: no mixing.
    return tf.where(cast < _TINY, 0.0, cast)
