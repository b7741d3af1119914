"""DecoupledMixUp: trains on what mixtures say of each of their examples.

Shapes: B examples in a batch, L places in a model that mix.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_mixup import _checks
from tf_mixup._models import last_layer
from tf_mixup.mixing import _encoding
from tf_mixup.mixing import mixup
from tf_mixup.mixing import training_model as training_model_lib
from tf_mixup.mixing.stage import Position

# Pairs of coefficients that are drawn for one that keeps the margin.
_TRIES = 16
# Of float32 outputs, three of the seven digits are left.
_LEAST_MARGIN = 1e-3
_REFUSED = ("num_points", "mix", "include_clean")


class DecoupledMixUp(mixup.MixUp):
    """Mixup inference in training (MIT): mixed inputs, unmixed targets.

    Mixed targets penalize confidence, so that networks may end up less
    calibrated after a temperature than without mixup. Here each pair of
    examples (a, b) is mixed twice, and the network's logits of the two,

        z1 of c1 a + (1 - c1) b,    z2 of c2 b + (1 - c2) a,

    are solved for those of the examples, as if the network were linear:

        z_a = (c2 z1 - (1 - c1) z2) / (c1 + c2 - 1),

    and z_b with 1 and 2 exchanged. The loss is that of z_a and z_b against
    the own target of each. Each coefficient is max(lam, 1 - lam) for a lam of
    its own from Beta(alpha, alpha). The paper has lambda_1 = c1 and
    lambda_2 = 1 - c2.

    A batch of B examples becomes one of 2 B: each is followed by its partner.
    A step costs what two of mixup do. Decoupling is inside the model:

        mixup = mixing.DecoupledMixUp(1.0, num_classes=10, seed=0)
        training_model = mixup.training_model(model)
        training_model.compile(...)
        training_model.fit(train.apply(mixup), validation_data=...)

    Predict, save and serve with `model`, which sees no mixing. `replay` shows
    the first mixture of each example.

    Args:
        alpha: As for `MixUp`. Defaults to 1, the paper's.
        margin: Least difference of lambda_1 and lambda_2, c1 + c2 - 1, in
            [0, 1]: coefficients are drawn again below it, 16 times at most,
            and then spread. At least 0.001 is kept. The paper: 0, and 0.5
            where several places mix. Defaults to 0.
        options: As for `MixUp`, but for `num_points`, `mix` and
            `include_clean`; `per` is `"batch"` or `"example"`.

    Raises:
        ValueError: If an argument is out of range; where the stage is
            applied, if there is no `training_model` yet.

    Example:
        >>> mixup = DecoupledMixUp(num_classes=3, seed=0)
        >>> layers = [keras.Input((4,)), keras.layers.Dense(3)]
        >>> model = mixup.training_model(keras.Sequential(layers))
        >>> arrays = np.ones((8, 4), "float32"), np.arange(8) % 3
        >>> batches = tf.data.Dataset.from_tensor_slices(arrays).batch(4)
        >>> x, y = next(iter(batches.apply(mixup)))
        >>> x["inputs"].shape.as_list(), x["lam"].shape.as_list()
        ([8, 4], [8, 1])

    References:
        Wang, Li, Zhao, Heng and Zhang. On the Pitfall of Mixup for Uncertainty
        Calibration. CVPR 2023, section 4.
    """

    def __init__(
        self, alpha: mixup.Alpha = 1.0, *, margin: float = 0.0, **options: Any
    ) -> None:
        for name in _REFUSED:
            if name in options:
                raise _checks.refusal(
                    "DecoupledMixUp mixes pairs twice, for unmixed targets",
                    f"{name}={options[name]!r}",
                    f"Leave `{name}` out, or use MixUp",
                )
        super().__init__(alpha, **options)
        if self.per not in ("batch", "example"):
            raise _checks.refusal(
                "DecoupledMixUp draws one coefficient for a batch or for each"
                " example",
                f"per={self.per!r}",
                'Write "batch" or "example"',
            )
        self.margin = _checks.real_between(
            "margin", margin, 0, 1, remedy="Write 0.5"
        )

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        defaults = super()._defaults() | {"alpha": 1.0, "margin": 0.0}
        return {
            name: value
            for name, value in defaults.items()
            if name not in _REFUSED
        }

    def training_model(
        self, model: keras.Model, at: str | Sequence[str] | None = None
    ) -> keras.Model:
        """Returns a model that mixes and decouples, and shares the weights.

        Use it as that of `MixUp.training_model`.

        Args:
            model: As for `MixUp.training_model`; its outputs are logits.
            at: `"input"`, or the name of a layer whose output is mixed, and
                where outputs of the model are decoupled (MIT-L). Of several
                names each decouples what came in mixed, and mixes it anew
                with other coefficients (MIT-A): e.g. the input and the output
                of each block. Defaults to the inputs.

        Returns:
            training_model: Its outputs in training are the decoupled logits.

        Raises:
            ValueError: As `MixUp.training_model` does; if the model ends in
                probabilities.
        """
        for head in _heads_of(model):
            if last_layer.last_layer_gives_logits(head) is False:
                raise _checks.refusal(
                    "Logits are decoupled, as probabilities might fall below 0",
                    f"a model named {model.name!r} that ends in"
                    f" {last_layer.last_activation(head)}",
                    "Leave the activation out, and give the loss"
                    " `from_logits=True`",
                )
        built = training_model_lib.build(
            model, at=at, num_points=2, inputs=self.inputs, decouples=True
        )
        self._send_plans(len(training_model_lib.names_of(at)))
        return built

    def send_plans(self, num_places: int = 1) -> "DecoupledMixUp":
        """Refuses: `training_model` makes the layers that decouple."""
        raise _checks.refusal(
            "The layers that decouple are those of `training_model`",
            f"send_plans({num_places})",
            "Call `mixup.training_model(model)`",
        )

    def _check_inputs(self, spec: Any, *, mixes: bool = True) -> None:
        if not self.num_places:
            raise _checks.refusal(
                "Decoupling is inside the model that is trained",
                "a dataset before there is one",
                "Call `mixup.training_model(model)` first",
            )
        super()._check_inputs(spec, mixes=mixes)

    def _mix_element(self, position: Position, element: tuple) -> tuple:
        batch = _encoding.weigh_classes(
            _encoding.encode(element, self.labels), self.labels
        )
        plan = self._draw_plan(position, batch)
        size = _encoding.size_of(plan)
        pairs = tf.stack([tf.range(size), plan.partner], axis=1)
        # The coefficients of a pair follow each other, as its examples do.
        lam = tf.reshape(
            tf.transpose(plan.lam, [0, 2, 1]), [2 * size, self.num_places]
        )
        inputs, labels = tf.nest.map_structure(
            lambda each: tf.gather(each, tf.reshape(pairs, [-1])),
            (batch.inputs, batch.labels),
        )
        sent = {
            "inputs": inputs,
            "lam": lam,
            "partner_offset": tf.tile([1, -1], [size]),
        }
        return (sent, *labels)

    def _shown_plan(
        self, position: Position, batch: _encoding.Batch
    ) -> mixup.Plan:
        """Returns the first mixture of each example."""
        plan = self._draw_plan(position, batch)
        return plan._replace(lam=plan.lam[:, 0, 0])

    def _draw_lam(self, alpha: Any, draws: Any, seed: tf.Tensor) -> tf.Tensor:
        """Returns the shares of both examples of a pair, `(draws, L, 2)`.

        In `MixUp._draw_plan` they take the place of one coefficient.
        """
        shape = [draws, self.num_places, _TRIES, 2]
        lam = super()._draw_lam(alpha, tf.reduce_prod(shape), seed)
        shares = tf.reshape(tf.maximum(lam, 1 - lam), shape)
        margin = max(self.margin, _LEAST_MARGIN)
        # The first that keeps the margin, or the widest.
        tries = tf.minimum(_gap(shares), margin)
        chosen = tf.argmax(tries, axis=2, output_type=tf.int32)
        shares = tf.gather(shares, chosen, batch_dims=2)
        gap = _gap(shares)
        missing = tf.maximum(margin - gap, 0)
        return shares + tf.math.divide_no_nan(
            missing[..., None] * (1 - shares), (1 - gap)[..., None]
        )

    def _locate(
        self, position: Position, plan: mixup.Plan, inputs: Any
    ) -> mixup.Plan:
        del position, inputs
        return plan

    def _apply(self, inputs: Any, plan: mixup.Plan) -> Any:
        sent = super()._apply(inputs, plan)
        sent.pop("place", None)
        return sent

    def _combine(self, batch: _encoding.Batch, plan: mixup.Plan) -> tuple:
        """Returns the targets as they are."""
        del plan
        return batch.labels

    def _identity(self, size: Any) -> mixup.Plan:
        """Returns the plan that mixes nothing, in any place."""
        return mixup.Plan(tf.ones([size, self.num_places]), tf.range(size))


def _gap(shares: tf.Tensor) -> tf.Tensor:
    """Returns `c1 + c2 - 1`, the difference of lambda_1 and lambda_2."""
    return tf.reduce_sum(shares, axis=-1) - 1


def _heads_of(model: keras.Model) -> list[keras.Model]:
    """Returns a model of each output; the model itself if it has one."""
    outputs = getattr(model, "outputs", None) or ()
    if len(outputs) < 2:
        return [model]
    return [keras.Model(model.inputs, output) for output in outputs]
