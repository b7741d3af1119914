"""CutMix: pastes a box of a partner's image instead of averaging.

Shapes: B examples, height H, width W, steps T, channels C.
"""

from typing import Any

import tensorflow as tf

from tf_mixup import _checks
from tf_mixup._checks import channels
from tf_mixup.mixing import mixup
from tf_mixup.mixing import plans
from tf_mixup.mixing import stage


class CutMix(mixup.MixUp):
    """Pastes a box of each image's partner, and mixes targets by its area.

    With `lam` from Beta(alpha, alpha), the box has sides of `sqrt(1 - lam)`
    of the image's, and its center is anywhere in the image. Pixels outside of
    the image are cut off, and the coefficient of targets and weights is the
    share of pixels that are left of the own image, exactly. Of signals the
    box is an interval of time, whose length is `1 - lam` of the signal's.

    It is used as `MixUp` is, in `dataset.apply(cutmix)`, with the same
    callbacks, forms of labels and `evaluation`.

    Args:
        alpha: As for `MixUp`. Defaults to 1, the paper's.
        options: As for `MixUp`, but for `num_points`: a box has one partner.
            With `per="batch"` all examples of a batch share one box, as in
            the paper's code. Of several inputs one is mixed; `inputs` says
            that the others are kept.

    Raises:
        ValueError: If an argument is out of range; where the stage is
            applied, if the mixed input is not one batch of images
            `(B, H, W, C)` or of float signals `(B, T, C)`; with the channels
            first where `keras.config.image_data_format()` says so.

    Example:
        >>> cutmix = CutMix(num_classes=10, seed=0)
        >>> arrays = np.zeros((8, 28, 28, 1), "uint8"), np.arange(8)
        >>> batches = tf.data.Dataset.from_tensor_slices(arrays).batch(4)
        >>> x, y = next(iter(batches.apply(cutmix)))
        >>> x.shape.as_list(), y.shape.as_list()
        ([4, 28, 28, 1], [4, 10])

    References:
        Yun, Han, Oh, Chun, Choe and Yoo. CutMix: Regularization Strategy to
        Train Strong Classifiers with Localizable Features. ICCV 2019,
        equations 1 and 2. https://arxiv.org/abs/1905.04899
    """

    def __init__(self, alpha: mixup.Alpha = 1.0, **options: Any) -> None:
        if "num_points" in options:
            raise _checks.refusal(
                "CutMix pastes a box of one partner",
                f"num_points={options['num_points']!r}",
                "Leave `num_points` out, or use MixUp",
            )
        super().__init__(alpha, **options)

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        defaults = super()._defaults() | {"alpha": 1.0}
        del defaults["num_points"]
        return defaults

    def _send_plans(self, num_places: int) -> None:
        raise _checks.refusal(
            "CutMix pastes boxes on the host",
            f"{num_places} places in a model",
            "Train `model` itself, or use MixUp",
        )

    def _check_inputs(self, spec: Any, *, mixes: bool = True) -> None:
        super()._check_inputs(spec, mixes=mixes)
        mixed = self._rules.select_mixed(spec, mixes=mixes)
        sound = len(mixed) == 1 and _has_boxes(mixed[0])
        if mixed and not sound:
            shapes = [str(each.shape) for each in mixed]
            raise _checks.refusal(
                "CutMix takes one batch of images (B, H, W, C) or of signals"
                " (B, T, C)",
                f"inputs of shape {', '.join(shapes)} and dtype"
                f" {mixed[0].dtype.name}",
                "Give grayscale images one channel, keep other inputs with"
                ' `inputs={name: "keep"}`, or use MixUp',
            )

    def _locate(
        self, position: stage.Position, plan: mixup.Plan, inputs: Any
    ) -> mixup.Plan:
        """Draws the boxes; their shares are the coefficients."""
        mixed = self._rules.select_mixed(inputs)
        if not mixed:
            return plan
        axes = _box_axes(mixed[0].shape.rank)
        sides = tf.gather(tf.shape(mixed[0]), axes)
        draws = self._num_draws(tf.shape(plan.partner)[0])
        lengths = tf.cast(sides, tf.float32)
        seed = self._seed_at(position, stage.WHERE)
        center = tf.random.stateless_uniform([draws, len(axes)], seed) * lengths
        center = tf.cast(center, tf.int32)
        share = 1 - plan.lam
        if len(axes) == 2:
            share = tf.sqrt(share)
        half = tf.cast(share[:, None] * lengths, tf.int32) // 2
        low = tf.maximum(center - half, 0)
        high = tf.minimum(center + half, sides)
        area = tf.reduce_prod(tf.cast(high - low, tf.float32), axis=1)
        return mixup.Plan(
            1 - area / tf.reduce_prod(lengths),
            plan.partner,
            tf.concat([low, high], axis=1),
        )

    def _mix(self, inputs: tuple, plan: mixup.Plan) -> tuple:
        images = plans.as_numbers(inputs[0])
        rank = images.shape.rank
        axes = _box_axes(rank)
        low, high = tf.split(plan.where, 2, axis=1)
        inside = tf.constant(True)
        for k, axis in enumerate(axes):
            shape = [-1 if each == axis else 1 for each in range(rank)]
            place = tf.reshape(tf.range(tf.shape(images)[axis]), shape)
            first, end = (
                tf.reshape(corner[:, k], [-1] + [1] * (rank - 1))
                for corner in (low, high)
            )
            inside = inside & (place >= first) & (place < end)
        own = images[: plan.partner.shape[0] or tf.shape(plan.partner)[0]]
        return (tf.where(inside, tf.gather(images, plan.partner), own),)


def _box_axes(rank: int) -> list[int]:
    """Returns the axes of a batch that a box is cut along."""
    apart = channels.find_axis(rank)
    return [axis for axis in range(1, rank) if axis != apart]


def _has_boxes(images: Any) -> bool:
    # Integers of 8 and 16 bits without a channel are grayscale images.
    signal = images.shape.rank == 3 and images.dtype.is_floating
    return signal or images.shape.rank == 4
