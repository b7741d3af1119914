"""Class bias: how much too often a model expects each class.

Shapes: B examples, K classes.
"""

import math
import statistics
from typing import Any
from typing import NamedTuple

import numpy as np
from keras import ops

from tf_mixup.calibration import bins as bins_lib
from tf_mixup.calibration import per_example

# How often a calibrated model may exceed the limits of `class_bias`.
_CHANCE = 0.05


class ClassSums(NamedTuple):
    """Sums over examples for each class; `a + b` adds two sets of examples.

    Attributes:
        count: Sum of weights, a scalar.
        squared: Sum of squared weights, a scalar.
        probability: Weighted sum of probabilities, `(K,)`.
        target: Weighted sum of targets, `(K,)`.
        variance: Sum of `weight**2 * p * (1 - p)`, `(K,)`: the variance of
            `target` if the probabilities `p` are true.
        residual: Sum of `weight**2 * (target - p)**2`, `(K,)`: an estimate of
            that variance which does not rely on the probabilities.
    """

    count: Any
    squared: Any
    probability: Any
    target: Any
    variance: Any
    residual: Any

    def __add__(self, other: "ClassSums") -> "ClassSums":  # type: ignore[override]
        """Returns the sums over both sets of examples."""
        return ClassSums(*(a + b for a, b in zip(self, other, strict=True)))


class ClassBias(NamedTuple):
    """How much too often a model expects each class.

    Attributes:
        largest: The largest `|bias|` of any class, in [0, 1].
        chance: Limit of `largest` for a calibrated model with as few examples,
            in at least 95 of 100 data sets.
        bias: Mean probability minus frequency of each class, `(K,)`; above 0
            the class is expected too often.
        limits: Limits of `|bias|` by chance, `(K,)`, for all classes at once
            in at least 95 of 100 data sets.
    """

    largest: float
    chance: float
    bias: np.ndarray
    limits: np.ndarray


def class_sums(
    labels: Any,
    probabilities: Any,
    *,
    from_logits: bool | None = None,
    sample_weight: Any = None,
    ignore_label: int | None = None,
) -> ClassSums:
    """Sums probabilities and targets of each class, as tensors."""
    labels, probabilities, sample_weight = per_example.flatten_steps(
        labels, probabilities, sample_weight
    )
    targets, probabilities = per_example.pair(
        labels, probabilities, from_logits=from_logits
    )
    dtype = bins_lib.accumulator_dtype()
    weight = ops.ones_like(targets[:, 0], dtype=dtype)
    given = bins_lib.weigh(labels, sample_weight, ignore_label)
    if given is not None:
        weight = weight * bins_lib.read_weights(given, weight.shape[0])
        # Left out, not only weighted by 0: 0 * NaN is NaN.
        targets, probabilities = (
            ops.where(weight[:, None] == 0, ops.zeros_like(columns), columns)
            for columns in (targets, probabilities)
        )
    squared = ops.square(weight)
    spread = probabilities * (1 - probabilities)
    residual = ops.square(targets - probabilities)

    def add(factor: Any, columns: Any) -> Any:
        return ops.sum(factor[:, None] * ops.cast(columns, dtype), axis=0)

    return ClassSums(
        count=ops.sum(weight),
        squared=ops.sum(squared),
        probability=add(weight, probabilities),
        target=add(weight, targets),
        variance=add(squared, ops.relu(spread)),
        residual=add(squared, residual),
    )


def class_bias(
    labels: Any,
    probabilities: Any = None,
    *,
    from_logits: bool | None = None,
    sample_weight: Any = None,
    ignore_label: int | None = None,
) -> ClassBias:
    """Returns mean probability minus frequency of each class, with limits.

    Class weights, resampled classes and a test set with other class
    frequencies than the training set make a model expect rare classes too
    often. ECE, of the predicted class alone, can stay small, and a temperature
    cannot correct it; `posthoc.VectorScaling` can.

    Takes labels and probabilities, or a sum of `class_sums` alone. For a
    calibrated model the sum of targets of class k has the mean `probability`
    and the variance V, the larger of `variance` and `residual`. With the
    quantile z of the normal distribution for K comparisons (Bonferroni), the
    limit of a class is

        (z sqrt(V) + u (z^2 + 2) / 6) / count

    whose second term allows for the skew and the whole numbers of few
    examples; u is `squared / count`, 1 without weights.

    Args:
        labels: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`; or
            `ClassSums`.
        probabilities: Float tensor `(B, K)`, or `(B,)` or `(B, 1)`.
        from_logits: Whether they are logits instead; None detects it.
        sample_weight: Weights `(B,)` or `(B, 1)`, at least 0, or None; an
            example of weight 0 is left out.
        ignore_label: Class id of examples without a label, often -1, which are
            left out; None ignores none.

    Returns:
        bias: Of all classes, with their limits; K is 2 for a sigmoid. NaN
            without examples, or if one has no distribution over classes.

    Raises:
        ValueError: If the shapes do not fit, a weight is below 0, or sums come
            with other arguments.

    Example:
        >>> probabilities = np.tile([0.5, 0.5], (400, 1))
        >>> bias = class_bias(np.arange(400) % 10 == 0, probabilities)
        >>> round(bias.largest, 3), bias.largest > bias.chance
        (0.4, True)
    """
    options = {
        "from_logits": from_logits,
        "sample_weight": sample_weight,
        "ignore_label": ignore_label,
    }
    sums = bins_lib.table_of(
        ClassSums, class_sums, labels, probabilities, options
    )
    count, squared, probability, target, variance, residual = (
        np.asarray(ops.convert_to_numpy(each), "float64") for each in sums
    )
    if count == 0:
        count = np.full_like(count, math.nan)
    z = statistics.NormalDist().inv_cdf(1 - _CHANCE / (2 * len(target)))
    spread = z * np.sqrt(np.maximum(variance, residual))
    limits = (spread + squared / count * (z**2 + 2) / 6) / count
    bias = (probability - target) / count
    return ClassBias(
        float(np.abs(bias).max()), float(limits.max()), bias, limits
    )
