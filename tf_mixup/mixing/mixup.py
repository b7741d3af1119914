"""MixUp: the `tf.data` stage that draws plans and applies them.

    dataset.batch(128).apply(mixup)

The plan is drawn from `f(seed, epoch, step)`. It is applied here, by one
XLA-compiled function on the batch as it came; or it travels with the batch to
`mixing.Mix` layers inside a model that `MixUp.training_model` makes, on the
accelerator. Targets are small and always mixed here.
"""

import functools
import inspect
import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import tensorflow as tf

from tf_mixup import _checks
from tf_mixup._checks import channels
from tf_mixup._checks import run_time
from tf_mixup.mixing import _encoding
from tf_mixup.mixing import _input_rules
from tf_mixup.mixing import epoch_counter as epoch_counter_lib
from tf_mixup.mixing import options
from tf_mixup.mixing import plans
from tf_mixup.mixing import similarity
from tf_mixup.mixing import stage as stage_lib
from tf_mixup.mixing import training_model as training_model_lib
from tf_mixup.mixing.stage import Position
from tf_mixup.mixing.stage import Replay
from tf_mixup.mixing.stage import Stage

Alpha = float | str | Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
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


class MixUp(Stage):
    """Mixes shuffled pairs of examples of each batch, inputs and targets.

    Use it on a batched dataset of `(x, y)` or `(x, y, sample_weight)`, or of
    dictionaries such as `{"image": x, "label": y}`, with
    `dataset.apply(mixup)`, and `dataset.apply(mixup.evaluation)` where the
    same format is wanted without mixing. On a `keras.utils.PyDataset` write
    `mixup(dataset)` and `mixup.evaluation(dataset)`; for arrays
    `mixup.from_arrays(x, y)`.

    The same `seed`, epoch and step give the same plan (coefficients and
    partners), whatever the parallelism and after a resume; so also the same
    batch if the dataset gives the same examples then. The epoch comes from
    `callbacks.MixingSchedule`. Without that callback each pass that starts is
    the next epoch. In all loops no two passes mix alike; see
    `mixing.EpochCounter` for a second `fit`, two datasets of one stage, and
    what a resume restores.

    Mix after the tf.data service: its workers cannot see the epoch, and an
    error says so when they read mixed data. Mix after `.cache()`, `.snapshot`
    and `.save`, too, which would repeat the mixes of one pass forever;
    `testing.check_mixing` finds that.

    Put `.repeat()` anywhere and pass `steps_per_epoch` to `fit` if you like.
    The dataset must know its number of batches.

    Inputs of several kinds: floats and integers of 8 and 16 bits (images,
    sound) are mixed. Integers of 32 and 64 bits, booleans and text may be ids,
    tokens or masks, and are refused unless `inputs` has a rule for them.
    Embeddings of tokens are mixed inside the model; see `training_model`.
    Mixed integers of 32 and 64 bits become float64, those of 8 and 16 bits
    float32.

    Targets: with `num_classes` float vectors must lie in [0, 1]; those whose
    sum is within 0.05 of 1, such as shares of votes with two decimals, are
    divided by it. See `mixing.targets.encode`.

    Copies of a stage are the stage itself, so that a callback that is copied
    still belongs to its dataset.

    Args:
        alpha: Concentration of Beta(alpha, alpha), from which coefficients
            are drawn; 0, which is no mixing, or a number from 1.2e-38 to
            3.4e38; or `"auto"`, with `callbacks.AlphaTuner`, which sets it
            while the model is trained; or a function of (epoch, step), two
            int64 scalars, that returns it as a float tensor; it is compiled
            into the stage. Papers: 0.2 to 0.4 for calibration and ImageNet, 1
            for accuracy on CIFAR.
        num_classes: K, for integer labels; 1 for one sigmoid output; None for
            targets that are vectors or regression targets. With several
            outputs: one for all, or a structure like the targets. Or
            `mixing.Labels(K, class_weight=..., ignore_label=...)`.
        seed: Integer that fixes all draws. None takes a fresh one, to be
            found in the attribute `seed`. Defaults to `None`.
        per: `"batch"` draws one coefficient for each batch, as the papers do;
            `"example"` one for each example; `"class"` with `alpha="auto"`
            one for each example, by the alpha of its class, and at least 1/2
            (CAMixup); `mixing.SimilarityKernel(width)` one for each pair, by
            the distance of its examples. Defaults to `"batch"`.
        num_points: Examples in a mixture, P. Above 2 each example has P - 1
            partners, chosen independently, and coefficients come from
            Dirichlet(alpha, ..., alpha): d-Mixup with d = P - 1. Defaults
            to 2.
        partner: `"random"`, `"same_class"`, `"different_class"` or `"given"`;
            or `mixing.Partners("random", self_pairs=..., groups=...)`, for
            regression `mixing.Partners("similar_target", bandwidth=...)`
            (C-Mixup). Defaults to `"random"`.
        mix: What is mixed: `"both"`, inputs and targets; `"inputs"`, for the
            target of the nearest example; or `"targets"`, for the inputs of
            the example itself (the ablation). Defaults to `"both"`.
        include_clean: Whether the unmixed examples go before the mixed ones,
            in a batch of 2 B examples, so that the loss is the mean of both
            (RegMixup). Defaults to `False`.
        probability: Chance that a batch (or example, with `per="example"`) is
            mixed at all. Defaults to 1.
        inputs: How inputs are combined: None, `"mix"`, `"keep"`, `"union"`, a
            dictionary of rules such as `{"ids": "keep"}`, or
            `mixing.Inputs(rules, mean=..., std=...)`, which also standardizes
            the mixed inputs. Defaults to `None`.

    Attributes:
        alpha: As given; a number as a float.
        tuned_alpha: With `alpha="auto"` the alpha that batches are mixed with
            now, with `per="class"` an array `(K,)` of that of each class; else
            None.
        labels: The `mixing.Labels`.
        partner: The `mixing.Partners`.
        inputs: The `mixing.Inputs`.
        num_places: Places in a model that examples are mixed in; 0 on the
            host. See `training_model`.

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
        Bouniot et al. Tailoring Mixup to Data for Calibration. ICLR 2025.
        https://arxiv.org/abs/2311.01434 (similarity kernel)
        Yao et al. C-Mixup. NeurIPS 2022. https://arxiv.org/abs/2210.05775
        Wen et al. Combining Ensembles and Data Augmentation can Harm your
        Calibration. ICLR 2021. https://arxiv.org/abs/2010.09875 (CAMixup)
    """

    def __init__(
        self,
        alpha: Alpha,
        *,
        num_classes: Any = None,
        seed: int | None = None,
        per: str | options.SimilarityKernel = "batch",
        num_points: int = 2,
        partner: str | options.Partners = "random",
        mix: str = "both",
        include_clean: bool = False,
        probability: float = 1.0,
        inputs: Any = None,
    ) -> None:
        super().__init__(options.check_seed(seed))
        self.alpha = options.check_alpha(alpha)
        self.labels = options.read_group(
            "num_classes", num_classes, options.Labels
        )
        self.per = options.check_per(per)
        count = options.count_alphas(per, self.alpha, self.labels.num_classes)
        self._tuned: tf.Variable | None = None
        if self.alpha == options.AUTO:
            with tf.init_scope(), tf.device("/cpu:0"):
                # Not a number until it is set.
                unset = math.nan if count is None else [math.nan] * count
                self._tuned = tf.Variable(unset, dtype=tf.float32)
        self.num_points = _checks.integer_at_least(
            "num_points",
            num_points,
            2,
            remedy="Write 2 to mix pairs",
            dtype="int32",
        )
        if self.per not in ("batch", "example") and self.num_points != 2:
            raise _checks.refusal(
                "Mixing by class or by similarity supports pairs only",
                f"per={per!r} with num_points={self.num_points}",
                'Leave `num_points` out, or write `per="example"`',
            )
        self.partner = options.read_group("partner", partner, options.Partners)
        options.check_targets(self.partner, self.labels)
        self.mix = _checks.one_of("mix", mix, ("both", "inputs", "targets"))
        self.include_clean = _checks.boolean("include_clean", include_clean)
        self.probability = _checks.real_between(
            "probability", probability, 0, 1, remedy="Write 1 to mix always"
        )
        self.inputs = options.read_group("inputs", inputs, options.Inputs)
        self._rules = _input_rules.InputRules(self.inputs.rules)
        self._affine = self.inputs.affine

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        """Returns the arguments and their defaults, groups in full."""
        parameters = inspect.signature(MixUp).parameters.values()
        groups = {
            "num_classes": options.Labels(),
            "partner": options.Partners(),
            "inputs": options.Inputs(),
        }
        return {each.name: each.default for each in parameters} | groups

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal stage.

        Returns:
            config: For `MixUp(**config)`, with the seed that was drawn where
                none was given.
        """
        held = {"num_classes": "labels"}
        return {
            name: getattr(self, held.get(name, name))
            for name in self._defaults()
        }

    def __repr__(self) -> str:
        default = self._defaults()
        given = ", ".join(
            f"{name}={options.shorten(value)!r}"
            for name, value in self.get_config().items()
            if name == "alpha" or value != default[name]
        )
        return f"{type(self).__name__}({given})"

    @property
    def tuned_alpha(self) -> Any:
        """What `"auto"` mixes with now; see the class."""
        if self._tuned is None:
            return None
        tuned = self._tuned.numpy()
        return tuned if tuned.ndim else float(tuned)

    def _set_alpha(self, alpha: Any) -> None:
        if self._tuned is not None:
            self._tuned.assign(alpha)

    def _maker(self) -> Callable[[], "MixUp"]:
        return functools.partial(type(self), **self.get_config())

    def training_model(
        self, model: keras.Model, at: str | Sequence[str] | None = None
    ) -> keras.Model:
        """Returns a model that mixes inside, and shares `model`'s weights.

        Train it on `dataset.apply(mixup)` and evaluate it on
        `dataset.apply(mixup.evaluation)`; predict, save and serve with
        `model`, whose weights are the same variables. The batch then travels
        to the accelerator as it is stored, and the mixing is fused into the
        training step. Call it before the stage is applied to a dataset: from
        then on batches are `{"inputs": x, "lam": (B,), "partner_offset":
        (B,)}`, with P > 2 points `(B, P)` and `(B, P - 1)`, and with several
        places also `"place": (B,)`.

        Args:
            model: Functional or sequential model with defined inputs.
            at: Where examples are mixed: `"input"`, or the name of a layer
                whose output is mixed, one of `mixing.mixable_layers(model)`;
                a layer of a model inside it is `"backbone/token_embedding"`.
                For text name the embedding. Of several names one is drawn for
                each batch (manifold mixup). Defaults to the inputs.

        Returns:
            training_model: It saves and reloads as any Keras model.

        Raises:
            ValueError: If the inputs of `model` are not defined; if examples
                cannot be mixed at one of the names; if the stage was applied
                before with another number of places; or if the training model
                would lose what `model` overrides, as `train_step` or a
                preprocessor in `fit`.

        Example:
            >>> mixup = MixUp(alpha=0.2, num_classes=3)
            >>> layers = [keras.Input((4,)), keras.layers.Dense(3)]
            >>> training_model = mixup.training_model(keras.Sequential(layers))
            >>> sorted(training_model.input), training_model.output.shape
            (['inputs', 'lam', 'partner_offset'], (None, 3))

        References:
            Verma et al. Manifold Mixup. ICML 2019.
            https://arxiv.org/abs/1806.05236
        """
        built = training_model_lib.build(
            model, at=at, num_points=self.num_points, inputs=self.inputs
        )
        self._send_plans(len(training_model_lib.names_of(at)))
        return built

    def send_plans(self, num_places: int = 1) -> "MixUp":
        """Sends plans along with unmixed inputs, for `Mix` layers of your own.

        `training_model` calls it. The layers standardize inputs themselves.

        Args:
            num_places: Layers that mix, one of which is drawn for each batch.

        Returns:
            mixup: The stage itself.

        Raises:
            ValueError: If the stage has options of the host (rules or
                statistics of inputs, given partners), or was applied before.
        """
        num_places = _checks.integer_at_least(
            "num_places",
            num_places,
            1,
            remedy="Write 1 to mix in one place",
            dtype="int32",
        )
        if self.inputs != options.Inputs():
            raise _checks.refusal(
                "`inputs` belongs to the layers that mix, where these are your"
                " own",
                f"inputs={options.shorten(self.inputs)!r}",
                "Give `mean` and `std` to `Mix`, or use `training_model`",
            )
        self._send_plans(num_places)
        return self

    def _send_plans(self, num_places: int) -> None:
        if self.partner.kind == "given":
            raise _checks.refusal(
                "`partner='given'` works on the host only, and without groups",
                "partner='given' with a model that mixes",
                "Train `model` itself, and leave `training_model` out",
            )
        if self._is_applied and num_places != self.num_places:
            raise _checks.refusal(
                "A stage must know where it mixes before it is applied to a"
                " dataset",
                f"{num_places} places in a model, after the stage was applied"
                f" with {self.num_places or 'none'}",
                "Call `training_model` first, then `dataset.apply(mixup)`",
            )
        self.num_places = num_places

    def _check_inputs(self, spec: Any, *, mixes: bool = True) -> None:
        """Refuses inputs whose rules or statistics do not fit."""
        if not isinstance(self.per, str) and mixes and self.alpha != 0:
            self._check_distances(spec)
        if self.num_places:
            return
        mixes = mixes and self.mix != "targets"
        mixed = self._rules.select_mixed(spec, mixes=mixes)
        if not mixed and mixes and self.alpha != 0:
            raise _checks.refusal(
                "At least one input must be mixed",
                f"inputs={self.inputs.rules!r} with alpha={self.alpha!r}",
                'Give one the rule "mix", mix inside the model with'
                " `mixup.training_model(model, at=...)`, or write `alpha=0`",
            )
        if self._affine is not None:
            mean, std = self._affine
            for each in mixed:
                channels.check_fit(mean, std, each.shape)

    def _check_distances(self, spec: Any) -> None:
        if not self._rules.select_mixed(spec, mixes=False):
            types = [each.dtype.name for each in tf.nest.flatten(spec)]
            raise _checks.refusal(
                "A similarity kernel needs inputs that are numbers, floats or"
                " integers of 8 and 16 bits",
                f"inputs of dtypes {types}",
                'Write `per="example"`, or give an input of numbers the rule'
                ' "mix"',
            )

    def _mix_element(self, position: Position, element: tuple) -> tuple:
        batch = _encoding.weigh_classes(
            _encoding.encode(element, self.labels), self.labels
        )
        plan = self._draw_plan(position, batch)
        if self.include_clean:
            plan = self._after_clean(plan)
            size = _encoding.size_of(plan) // 2
            batch = tf.nest.map_structure(
                lambda each: tf.concat([each[:size], each], axis=0), batch
            )
        return (self._apply(batch.inputs, plan), *self._combine(batch, plan))

    def _replay_element(self, position: Position, element: tuple) -> Replay:
        batch = _encoding.encode(element, self.labels)
        plan = self._shown_plan(position, batch)
        applied = self._applied_plan(plan)
        inputs = self._rules.combine(
            batch.inputs,
            applied.lam,
            applied.partner,
            lambda mixed: self._mix(mixed, applied),
            mixes=self.mix != "targets",
        )
        targets = self._combine(batch, plan)[0]
        return Replay(plan.lam, plan.partner, inputs, targets)

    def _draw_element(self, position: Position, element: tuple) -> tf.Tensor:
        return self._shown_plan(
            position, _encoding.encode(element, self.labels)
        ).lam

    def _shown_plan(self, position: Position, batch: _encoding.Batch) -> Plan:
        """Returns the plan that `replay` and `coefficients` show."""
        return self._draw_plan(position, batch)

    def _leave_element(self, *element: Any) -> tuple:
        batch = _encoding.encode(element, self.labels)
        if self.num_places:
            plan = self._identity(_encoding.size_of(batch.labels))
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
        plan = self._applied_plan(plan)
        if not self.num_places:
            return self._rules.combine(
                inputs,
                plan.lam,
                plan.partner,
                lambda mixed: self._mix_inputs(mixed, plan),
                mixes=self.mix != "targets",
            )
        own = self._identity(_encoding.size_of(plan))
        sent = {
            "inputs": inputs,
            "lam": plan.lam,
            "partner_offset": plan.partner - own.partner,
        }
        return sent | ({"place": plan.where} if self.num_places > 1 else {})

    def _applied_plan(self, plan: Plan) -> Plan:
        """Returns what inputs are mixed by: nothing if targets alone are."""
        if self.mix != "targets":
            return plan
        own = self._identity(_encoding.size_of(plan))
        # Of CutMix an empty box.
        where = tf.nest.map_structure(tf.zeros_like, plan.where)
        return own._replace(where=where)

    def _combine(self, batch: _encoding.Batch, plan: Plan) -> tuple:
        return _encoding.combine(
            *(batch, plan.lam, plan.partner),
            mix_targets=self.mix != "inputs",
        )

    def _draw_plan(self, position: Position, batch: _encoding.Batch) -> Plan:
        """Draws the plan of a batch from (seed, epoch, step)."""
        size = _encoding.size_of(batch.labels)
        if self.partner.kind == "given":
            size = self._num_mixed(size)
        draws = self._num_draws(size)
        partner = _stack(self._choose_partners(position, size, batch))
        lam = self._draw_lam(
            self._alpha_of(position, batch, partner),
            draws,
            self._seed_at(position, stage_lib.LAM),
        )
        own = plans.own_share(self.num_points)
        mixes = self._mixes_in(epoch_counter_lib.training_epoch(position[0]))
        if self.probability < 1:
            chance = tf.random.stateless_uniform(
                [draws] + [1] * (lam.shape.rank - 1),
                self._seed_at(position, stage_lib.CHANCE),
            )
            mixes &= chance < self.probability
        lam = tf.where(mixes, lam, own)
        lam = tf.broadcast_to(lam, [size, *lam.shape[1:]])
        return self._locate(position, Plan(lam, partner), batch.inputs)

    def _draw_lam(self, alpha: Any, draws: Any, seed: tf.Tensor) -> tf.Tensor:
        """Returns coefficients, `(draws,)` or `(draws, P)`."""
        lam = plans.draw_lam(
            alpha, draws, seed=seed, num_points=self.num_points
        )
        # The class of an example decides: it is the larger part.
        return tf.maximum(lam, 1 - lam) if self.per == "class" else lam

    def _choose_partners(
        self, position: Position, size: Any, batch: _encoding.Batch
    ) -> list[tf.Tensor]:
        """Returns the P - 1 partners of each example, P - 1 times `(B,)`."""
        if self.partner.kind == "given":
            own = tf.range(size)
            return [own + size * k for k in range(1, self.num_points)]
        seed = self._seed_at(position, stage_lib.PARTNER)
        choose = self._partner_chooser(size, batch)
        return [
            choose(
                seed=tf.random.fold_in(seed, k) if k else seed,
                groups=self.partner.groups,
                self_pairs=self.partner.self_pairs,
            )
            for k in range(self.num_points - 1)
        ]

    def _partner_chooser(
        self, size: Any, batch: _encoding.Batch
    ) -> Callable[..., tf.Tensor]:
        """Returns what chooses a partner for each example, by a seed."""
        kind, classes = self.partner.kind, None
        if kind == "similar_target":
            return functools.partial(
                plans.choose_similar,
                _encoding.find_numbers(batch),
                self.partner.bandwidth,
            )
        if kind != "random":
            classes = _encoding.find_classes(
                batch, self.labels, f'partner="{kind}"', 'partner="random"'
            )
        return functools.partial(
            plans.choose_partner, size, kind=kind, labels=classes
        )

    def _num_mixed(self, size: Any) -> Any:
        """Returns how many examples are mixed with those that follow."""
        rule = (
            "Given partners must follow a batch's examples, one for each"
            " example and point but the first"
        )
        remedy = "Concatenate a batch and its partners, in this order"
        if not tf.is_tensor(size):
            if size % self.num_points:
                received = f"num_points={self.num_points} with {size} examples"
                raise _checks.refusal(rule, received, remedy)
            return size // self.num_points
        size = run_time.require(
            size,
            size % self.num_points == 0,
            rule,
            f"num_points={self.num_points} with {{}} examples",
            [size],
            remedy,
        )
        return size // self.num_points

    def _num_draws(self, size: Any) -> Any:
        return 1 if self.per == "batch" else size

    def _locate(self, position: Position, plan: Plan, inputs: Any) -> Plan:
        """Draws what of the examples is mixed: one of the places."""
        if self.num_places < 2:
            return plan
        place = tf.random.stateless_uniform(
            [],
            self._seed_at(position, stage_lib.WHERE),
            maxval=self.num_places,
            dtype=tf.int32,
        )
        return plan._replace(where=tf.fill([_encoding.size_of(plan)], place))

    def _identity(self, size: Any) -> Plan:
        """Returns the plan that mixes nothing."""
        own = plans.own_share(self.num_points)
        lam = tf.broadcast_to(own, [size, *own.shape])
        partner = _stack([tf.range(size)] * (self.num_points - 1))
        where = tf.zeros([size], tf.int32) if self.num_places > 1 else ()
        return Plan(lam, partner, where)

    def _after_clean(self, plan: Plan) -> Plan:
        """Returns the plan of a batch twice, the first time unmixed."""
        size = _encoding.size_of(plan)
        clean = self._identity(size)._replace(
            where=tf.nest.map_structure(tf.zeros_like, plan.where)
        )
        mixed = plan._replace(partner=plan.partner + size)
        return tf.nest.map_structure(
            lambda *both: tf.concat(both, axis=0), clean, mixed
        )

    def _alpha_of(
        self, position: Position, batch: _encoding.Batch, partner: tf.Tensor
    ) -> Any:
        """Returns the alpha of all examples, or of each `(B,)`."""
        alpha = self._alpha_at(*position)
        if self.per == "class":
            classes = _encoding.find_classes(
                batch, self.labels, 'per="class"', 'per="example"'
            )
            # Examples of unknown class are not mixed.
            return tf.gather(
                tf.concat([alpha, [0.0]], axis=0),
                classes[: _encoding.size_of(partner)],
            )
        if isinstance(self.per, str) or self.alpha == 0:
            return alpha
        measured = self._rules.select_mixed(batch.inputs, mixes=False)
        distance = self._measure_pairs(measured, partner)
        return alpha * similarity.gaussian(distance, self.per.width)

    @tf.function(jit_compile=True, autograph=False)
    def _measure_pairs(self, inputs: tuple, partner: tf.Tensor) -> tf.Tensor:
        """Returns the distance of each pair of standardized inputs, `(B,)`."""
        scaled = tuple(map(self._scale, inputs))
        return similarity.measure_distance(scaled, partner)

    def _alpha_at(self, epoch: tf.Tensor, step: tf.Tensor) -> Any:
        if self._tuned is not None:
            return _check_tuned_alpha(self._tuned.read_value())
        if not callable(self.alpha):
            return self.alpha
        epoch = epoch_counter_lib.training_epoch(epoch)
        # AutoGraph is for the user's function.
        return _check_drawn_alpha(tf.function(self.alpha)(epoch, step))

    def _mix(self, inputs: tuple, plan: Plan) -> tuple:
        return plans.mix(inputs, (), plan.lam, plan.partner)[0]

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
            channels.along(numbers, inputs.shape.rank)
            for numbers in self._affine
        )
        shifted = tf.cast(inputs, wide) - tf.cast(mean, wide)
        return tf.cast(shifted * tf.cast(1 / std, wide), inputs.dtype)


def _stack(partners: list[tf.Tensor]) -> tf.Tensor:
    return partners[0] if len(partners) == 1 else tf.stack(partners, axis=1)


def _check_tuned_alpha(alpha: tf.Tensor) -> tf.Tensor:
    """Returns what a callback has set."""
    return run_time.require(
        alpha,
        tf.reduce_all(tf.math.is_finite(alpha)),
        'A stage with alpha="auto" mixes when its alpha is set',
        "a batch before that",
        [],
        "Make `callbacks.AlphaTuner(mixup)`, and give it to `fit`",
    )


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
    cast = run_time.require(
        cast,
        (cast >= 0) & tf.math.is_finite(cast),
        rule,
        "{}",
        [alpha],
        remedy,
    )
    # What is smaller than float32 holds draws shares of 0 or 1: no mixing.
    return tf.where(cast < _TINY, 0.0, cast)
