"""CutMix: pastes a box of a partner's image instead of averaging."""

from typing import Any

import tensorflow as tf

from tf_mixup import checks
from tf_mixup import pipeline


class CutMix(pipeline.MixUp):
    """Pastes a box of each image's partner, and mixes targets by its area.

    With `lam` from Beta(alpha, alpha), the box has sides of `sqrt(1 - lam)`
    of the image's, and its centre is anywhere in the image. Pixels outside of
    the image are cut off, and the coefficient of targets and weights is the
    share of pixels that are left of the own image, exactly.

    It is used as `MixUp` is, in `dataset.apply(cutmix)`, with the same
    callbacks, forms of labels and `evaluation`.

    Args:
        alpha: As for `pipeline.MixUp`. Defaults to 1, the paper's.
        options: As for `pipeline.MixUp`, but for `points`, `placement` and
            `places`: a box has one partner, and is pasted on the host. With
            `per="batch"` all rows of a batch share one box, as in the paper's
            code.

    Raises:
        ValueError: If an argument is out of range; where the stage is
            applied, if inputs are not one batch of images `(B, H, W, C)`.

    Example:
        >>> cutmix = CutMix(num_classes=10, seed=0)
        >>> rows = np.zeros((8, 28, 28, 1), "uint8"), np.arange(8)
        >>> batches = tf.data.Dataset.from_tensor_slices(rows).batch(4)
        >>> x, y = next(iter(batches.apply(cutmix)))
        >>> x.shape.as_list(), y.shape.as_list()
        ([4, 28, 28, 1], [4, 10])

    References:
        Yun, Han, Oh, Chun, Choe and Yoo. CutMix: Regularization Strategy to
        Train Strong Classifiers with Localizable Features. ICCV 2019,
        equations 1 and 2. https://arxiv.org/abs/1905.04899
    """

    def __init__(self, alpha: pipeline.Alpha = 1.0, **options: Any) -> None:
        for name in ("points", "placement", "places"):
            if name in options:
                raise checks.refusal(
                    "CutMix pastes a box of one partner, on the host",
                    f"{name}={options[name]!r}",
                    f"Leave `{name}` out, or use MixUp",
                )
        super().__init__(alpha, **options)

    def _locate(
        self, plan: pipeline.Plan, seed: tf.Tensor, inputs: Any
    ) -> pipeline.Plan:
        """Draws the boxes; their areas are the coefficients."""
        if not tf.is_tensor(inputs) or inputs.shape.rank != 4:
            shapes = tf.nest.map_structure(lambda each: each.shape, inputs)
            raise checks.refusal(
                "CutMix takes one batch of images (B, H, W, C)",
                f"inputs of shape {shapes}",
                "Give grayscale images one channel, or use MixUp",
            )
        sides = tf.cast(tf.shape(inputs)[1:3], tf.float32)
        draws = self._num_draws(tf.shape(plan.partner)[0])
        centre = tf.random.stateless_uniform([draws, 2], seed) * sides
        centre = tf.cast(centre, tf.int32)
        share = tf.sqrt(1 - plan.lam)
        half = tf.cast(share[:, None] * sides, tf.int32) // 2
        low = tf.maximum(centre - half, 0)
        high = tf.minimum(centre + half, tf.cast(sides, tf.int32))
        area = tf.reduce_prod(tf.cast(high - low, tf.float32), axis=1)
        return pipeline.Plan(
            1 - area / tf.reduce_prod(sides),
            plan.partner,
            tf.concat([low, high], axis=1),
        )

    def _identity(self, size: Any) -> pipeline.Plan:
        plan = super()._identity(size)
        return plan._replace(where=tf.zeros([size, 4], tf.int32))

    def _mix(self, inputs: Any, plan: pipeline.Plan) -> Any:
        kept = inputs.dtype.is_floating
        images = inputs if kept else tf.cast(inputs, tf.float32)
        corners = tf.unstack(plan.where[:, :, None, None, None], axis=1)
        top, left, bottom, right = corners
        row = tf.range(tf.shape(images)[1])[None, :, None, None]
        column = tf.range(tf.shape(images)[2])[None, None, :, None]
        inside = (
            (row >= top) & (row < bottom) & (column >= left) & (column < right)
        )
        own = images[: plan.partner.shape[0] or tf.shape(plan.partner)[0]]
        return tf.where(inside, tf.gather(images, plan.partner), own)
