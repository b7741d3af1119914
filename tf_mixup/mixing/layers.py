"""Mix: the plan of `MixUp` applied inside a model.

On an accelerator the batch then travels as it is stored (uint8: a quarter of
the bytes) and XLA fuses the mixing into the training step. Inside a model not
only inputs can be mixed, but also embeddings of tokens and hidden features.
Shapes: B examples, P points.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tf_mixup import _checks
from tf_mixup._checks import channels

_WIDE_INTEGERS = ("int64", "uint32", "uint64")


class _Planned(keras.layers.Layer):
    """A layer that takes the plan of a batch, and has nothing to train."""

    def __init__(self, *, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype, autocast=False)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this layer."""
        config = super().get_config()
        # There is nothing to train, and `__init__` does not take it.
        del config["trainable"]
        return config


@keras.saving.register_keras_serializable("tf_mixup")
class Mix(_Planned):
    """Mixes each example with its partners in training, and else passes it on.

    Computes `lam * example + (1 - lam) * partner` in float32 (with more than
    two points the sum over the example and all its partners), then
    `(mixed - mean) / std`. Outside of training only the second.

    Under a strategy each replica sees a slice of the batch, so a partner is
    given by its distance, and `Partners(groups=replicas)` keeps it
    within the slice. A partner outside of the slice gives NaN, so that the
    loss shows it, rather than a wrong example.

    Args:
        mean: Subtracted after mixing, a number or one for each channel.
        std: Divides after mixing, above 0.
        place: Number of this layer among the `places`, from 0: it mixes the
            batches whose plan names it. Defaults to 0.
        places: Layers of a model that mix, one for each batch. Defaults to 1.
        name: Name of the layer.
        dtype: Type, or policy, of what is returned.

    Raises:
        ValueError: If `std` is not above 0 or `place` not below `places`; when
            called, if there are more or fewer numbers than channels, or
            examples that are to be mixed carry a mask or name no place of
            several.

    Example:
        >>> examples = np.array([[0.0], [8.0]], "float32")
        >>> lam, partner_offset = np.array([0.75, 0.75]), np.array([1, -1])
        >>> mixed = Mix()(examples, lam, partner_offset, training=True)
        >>> np.array(mixed).tolist()
        [[2.0], [6.0]]
    """

    def __init__(
        self,
        *,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        place: int = 0,
        places: int = 1,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        # Without autocast: half precision would round the coefficients.
        super().__init__(name=name, dtype=dtype)
        self.supports_masking = True
        self.mean, self.std = channels.statistics(mean, std)
        self.places = _checks.integer_at_least(
            "places", places, 1, remedy="Write 1 to mix every batch"
        )
        self.place = _checks.integer_at_least(
            "place", place, 0, remedy="Count places from 0"
        )
        if self.place >= self.places:
            raise _checks.refusal(
                "`place` must be one of the places, which are counted from 0",
                f"place={place} with places={places}",
                f"Write `places={self.place + 1}` or more",
            )

    def call(
        self,
        inputs: Any,
        lam: Any = None,
        partner_offset: Any = None,
        place: Any = None,
        training: bool = False,
        mask: Any = None,
    ) -> Any:
        """Returns the mixed examples in training, else the examples.

        Args:
            inputs: Tensor of any type and rank with B examples.
            lam: Coefficients in `[0, 1]`, float `(B,)`; with more than two
                points `(B, P)`, the example's own first.
            partner_offset: Distance of each example to its partner, integer
                `(B,)`, so that `index + partner_offset` lies in `[0, B - 1]`;
                with more than two points `(B, P - 1)`.
            place: Number of the layer that mixes, integer `(B,)`; needed with
                several places. An unknown number gives NaN.
            training: Whether to mix.
            mask: Refused with `lam`: two examples of different lengths have no
                common mask.

        Returns:
            mixed: Tensor like `inputs`, of the layer's compute type.
        """
        if mask is not None and lam is not None:
            raise _checks.refusal(
                "Examples with a mask cannot be mixed",
                f"a mask for examples of shape {tuple(inputs.shape)}",
                "Mix after the layer that pools over the mask, or embed with"
                " `mask_zero=False`",
            )
        if self.places > 1 and lam is not None and place is None:
            raise _checks.refusal(
                "Of several places a batch must name the one it is mixed in",
                f"no `place` with places={self.places}",
                "Give what the stage sends as `place`",
            )
        channels.check_fit(self.mean, self.std, inputs.shape)
        mixes = training and lam is not None
        scales = self.mean != 0.0 or self.std != 1.0
        if not (mixes or scales):
            # Not by way of float32, which would round.
            return ops.cast(inputs, self.compute_dtype)
        examples = ops.cast(inputs, "float32")
        if mixes:
            examples = self._mix(examples, lam, partner_offset, place)
        if scales:
            mean, std = (
                channels.along(numbers, len(examples.shape))
                for numbers in (self.mean, self.std)
            )
            examples = (examples - ops.convert_to_tensor(mean, "float32")) / (
                ops.convert_to_tensor(std, "float32")
            )
        return ops.cast(examples, self.compute_dtype)

    def _mix(
        self, examples: Any, lam: Any, partner_offset: Any, place: Any
    ) -> Any:
        lam, partner, known = _read_plan(
            lam, partner_offset, ops.shape(examples)[0]
        )
        own = lam[:, 0]
        if place is not None:
            own = ops.where(place == self.place, own, 1.0)
            known = known & (place >= 0) & (place < self.places)
        own = ops.where(known, own, float("nan"))
        mixed = _take_share(own, examples)
        for k in range(partner.shape[1]):
            others = ops.take(examples, partner[:, k], axis=0)
            mixed = mixed + _take_share(lam[:, k + 1], others)
        return ops.where(_spread(own == 1, examples), examples, mixed)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this layer."""
        config = super().get_config()
        names = ("mean", "std", "place", "places")
        return config | {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable("tf_mixup")
class Unmix(_Planned):
    """Undoes `Mix` of pairs in training: two mixtures become two examples.

    Of two examples that are each other's partner, with the own coefficients c
    and c', the mixtures m and m' are solved for the example:

        (c' m - (1 - c) m') / (c + c' - 1).

    After a linear map of the mixtures it gives the map of the example, as
    exactly as numbers are; after a network it is how MIT decouples outputs.
    Outside of training all passes as it is.

    Args:
        name: Name of the layer.
        dtype: Type, or policy, of what is returned.

    Example:
        >>> mixed = np.array([[2.0], [6.0]], "float32")
        >>> lam, partner_offset = np.array([0.75, 0.75]), np.array([1, -1])
        >>> examples = Unmix()(mixed, lam, partner_offset, training=True)
        >>> np.array(examples).tolist()
        [[0.0], [8.0]]

    References:
        Wang et al. On the Pitfall of Mixup for Uncertainty Calibration. CVPR
        2023, section 4.
    """

    def call(
        self,
        inputs: Any,
        lam: Any = None,
        partner_offset: Any = None,
        training: bool = False,
    ) -> Any:
        """Returns the examples in training, else the inputs.

        Args:
            inputs: Mixtures `(B, ...)`, floats.
            lam: Own coefficients `(B,)`. Those of a pair that sum to 1 have
                no solution, and give numbers that are not finite.
            partner_offset: Distances `(B,)`, of partners of each other.
            training: Whether to undo.

        Returns:
            examples: Tensor like `inputs`, of the layer's compute type.
        """
        if not training or lam is None:
            return ops.cast(inputs, self.compute_dtype)
        mixed = ops.cast(inputs, "float32")
        lam, partner, _ = _read_plan(lam, partner_offset, ops.shape(mixed)[0])
        partner = partner[:, 0]
        own = lam[:, 0]
        others = ops.take(own, partner, axis=0)
        gap = own + others - 1
        examples = _spread(others / gap, mixed) * mixed - _spread(
            (1 - own) / gap, mixed
        ) * ops.take(mixed, partner, axis=0)
        examples = ops.where(_spread(own == 1, mixed), mixed, examples)
        return ops.cast(examples, self.compute_dtype)


@keras.saving.register_keras_serializable("tf_mixup")
class Unite(_Planned):
    """Unites the mask of each example with its partners' in training.

    The elementwise maximum over the examples of a mixture whose share is
    above 0: of a mask the positions that any of them has. Outside of training
    the mask passes as it is.

    Args:
        name: Name of the layer.
        dtype: Type, or policy; what is returned has the type of the mask.

    Example:
        >>> mask = np.array([[1, 0], [1, 1]])
        >>> lam, partner_offset = np.array([0.75, 1.0]), np.array([1, -1])
        >>> np.array(Unite()(mask, lam, partner_offset, training=True)).tolist()
        [[1, 1], [1, 1]]
    """

    def call(
        self,
        inputs: Any,
        lam: Any = None,
        partner_offset: Any = None,
        training: bool = False,
    ) -> Any:
        """Returns the united masks in training, else the masks.

        Args:
            inputs: Masks `(B, ...)`, booleans or numbers of at least 0.
            lam: As `Mix.call` takes it.
            partner_offset: As `Mix.call` takes it.
            training: Whether to unite.

        Returns:
            united: Tensor like `inputs`, of its type.
        """
        if not training or lam is None:
            return inputs
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        masks = ops.cast(inputs, "int32") if dtype == "bool" else inputs
        lam, partner, _ = _read_plan(lam, partner_offset, ops.shape(inputs)[0])
        united = ops.where(_spread(lam[:, 0] > 0, masks), masks, 0)
        for k in range(partner.shape[1]):
            other = ops.take(masks, partner[:, k], axis=0)
            other = ops.where(_spread(lam[:, k + 1] > 0, masks), other, 0)
            united = ops.maximum(united, other)
        return ops.cast(united, dtype)

    def compute_output_spec(self, inputs: Any, *_: Any, **kwargs: Any) -> Any:
        """Returns the specification of the result, that of `inputs`."""
        return keras.KerasTensor(inputs.shape, inputs.dtype)


def _take_share(share: Any, examples: Any) -> Any:
    """Returns a share of examples; 0 also of infinity and NaN."""
    share = _spread(share, examples)
    return ops.where(share == 0, 0.0, share * examples)


def _read_plan(
    lam: Any, partner_offset: Any, size: Any
) -> tuple[Any, Any, Any]:
    """Returns coefficients, partners and which examples have them all.

    Args:
        lam: `(B,)`, or `(B, P)` with the example's own first.
        partner_offset: `(B,)` or `(B, P - 1)`.
        size: Examples in the batch, B.

    Returns:
        lam: Float32 `(B, P)`.
        partner: Int32 `(B, P - 1)`, each within the batch.
        known: Whether all partners were within it, `(B,)`.

    Raises:
        ValueError: If the two are no plan: of other shapes, or distances that
            are no integers.
    """
    lam, partner_offset = map(ops.convert_to_tensor, (lam, partner_offset))
    _check_plan(lam, partner_offset)
    if keras.backend.standardize_dtype(partner_offset.dtype) in _WIDE_INTEGERS:
        # Farther than any batch is long, and still within int32.
        partner_offset = ops.clip(
            ops.cast(partner_offset, "int64"), -(2**30), 2**30
        )
    lam, partner_offset = (
        ops.cast(lam, "float32"),
        ops.cast(partner_offset, "int32"),
    )
    if len(partner_offset.shape) == 1:
        lam, partner_offset = (
            ops.stack([lam, 1 - lam], axis=1),
            partner_offset[:, None],
        )
    partner = ops.arange(size, dtype="int32")[:, None] + partner_offset
    known = ops.all((partner >= 0) & (partner < size), axis=1)
    return lam, ops.clip(partner, 0, size - 1), known


def _check_plan(lam: Any, partner_offset: Any) -> None:
    pairs = len(lam.shape) == len(partner_offset.shape) == 1
    several = len(lam.shape) == len(partner_offset.shape) == 2
    fits = pairs or (several and lam.shape[1] == partner_offset.shape[1] + 1)
    sizes = {lam.shape[0], partner_offset.shape[0]} if fits else set()
    if (
        not fits
        or len(sizes - {None}) > 1
        or not keras.backend.is_int_dtype(partner_offset.dtype)
    ):
        raise _checks.refusal(
            "A plan must have coefficients (B,) and integer distances (B,),"
            " or of P points (B, P) and (B, P - 1)",
            f"lam of shape {tuple(lam.shape)} and partner_offset of shape"
            f" {tuple(partner_offset.shape)} and dtype {partner_offset.dtype}",
            "Give both as `MixUp` sends them",
        )


def _spread(values: Any, examples: Any) -> Any:
    """Shapes `(B,)` as `(B, 1, ..., 1)` to go with `examples`."""
    return ops.reshape(values, (-1,) + (1,) * (len(examples.shape) - 1))


def takes_plan(structure: Any) -> bool:
    """Returns whether inputs, or their specifications, come with a plan."""
    plan = {"lam", "partner_offset"}
    return isinstance(structure, Mapping) and plan <= set(structure)
