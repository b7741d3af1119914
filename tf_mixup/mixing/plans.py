"""Mixing in two pure steps: draw a plan, then apply it.

A plan is a coefficient `lam` and a `partner` for each example of a batch; it is
all the randomness there is. Applying it is arithmetic:

    mixed = lam * example + (1 - lam) * partner's example

for inputs and targets alike (Zhang et al., equation for the vicinal
distribution). With more points an example has several partners, and `lam` one
coefficient for itself and one for each of them (d-Mixup: d + 1 points).
Shapes: B examples, K classes, G groups, P points.

References:
    Zhang, Cisse, Dauphin and Lopez-Paz. mixup: Beyond Empirical Risk
    Minimization. ICLR 2018. https://arxiv.org/abs/1710.09412
    Chidambaram and Ge. On the Limitations of Temperature Scaling for
    Distributions with Overlaps. ICLR 2024. https://arxiv.org/abs/2306.00740
"""

import math
import numbers
from typing import Any

import tensorflow as tf

from tf_mixup import _checks
from tf_mixup.mixing import _beta

# Who an example may be mixed with. Each name is explained in `choose_partner`.
PARTNERS = ("random", "same_class", "different_class")
# Beyond them float32 has the coefficients 0 and 1, or 1/2, and logarithms of
# draws overflow.
_LEAST, _LARGEST = 1e-30, 1e30


def draw_lam(
    alpha: tf.Tensor, size: int, *, seed: tf.Tensor, num_points: int = 2
) -> tf.Tensor:
    """Draws mixing coefficients from Beta(alpha, alpha), or Dirichlet.

    They are drawn in log space: the usual ratio of two Gammas underflows in
    float32 and gives 1/2 to a fifth of the examples at alpha 0.01.

    Args:
        alpha: Concentration >= 0, a float scalar; or a vector `(size,)`, one
            for each coefficient of two points. 0 gives coefficients of 1,
            which is no mixing.
        size: How many to draw.
        seed: Stateless seed, an integer tensor of shape `(2,)`.
        num_points: Examples in a mixture, P. Above 2 the coefficients come from
            Dirichlet(alpha, ..., alpha). Defaults to 2.

    Returns:
        lam: Float32 tensor in `[0, 1]` of shape `(size,)`; with more than two
            points `(size, P)`, each example's own coefficient first, sums of 1.
    """
    if not tf.is_tensor(alpha) and alpha > 0:
        alpha = min(max(alpha, _LEAST), _LARGEST)
        return _sample(alpha, size, seed, num_points)
    positive = tf.where(alpha > 0, alpha, 1.0)
    positive = tf.clip_by_value(positive, _LEAST, _LARGEST)
    lam = _sample(positive, size, seed, num_points)
    return tf.where(alpha > 0, lam, own_share(num_points))


def _sample(
    alpha: Any, size: int, seed: tf.Tensor, num_points: int
) -> tf.Tensor:
    if num_points == 2:
        several = tf.is_tensor(alpha) and alpha.shape.rank
        return _beta.beta(alpha).sample([] if several else size, seed=seed)
    return _beta.dirichlet(alpha, num_points).sample(size, seed=seed)


def own_share(num_points: int) -> tf.Tensor:
    """Returns the coefficients of an example that is not mixed.

    Args:
        num_points: Examples in a mixture, P.

    Returns:
        lam: Float32; 1, or with more than two points `(P,)`: 1, 0, ..., 0.
    """
    return tf.constant(1.0) if num_points == 2 else tf.one_hot(0, num_points)


def choose_partner(
    size: tf.Tensor,
    *,
    seed: tf.Tensor,
    kind: str = "random",
    labels: tf.Tensor | None = None,
    groups: int = 1,
    self_pairs: bool = True,
) -> tf.Tensor:
    """Chooses the example that each example is mixed with.

    - `"random"`: a random permutation.
    - `"same_class"`: a random permutation within each class.
    - `"different_class"`: any example of another class, each equally likely; an
      example may be chosen more than once. Where there is no other class an
      example is its own partner.

    Args:
        size: Rows in the batch, B.
        seed: Stateless seed, an integer tensor of shape `(2,)`.
        kind: One of `PARTNERS`.
        labels: Integer tensor of shape `(B,)`; needed by the two kinds that
            look at classes.
        groups: Partners stay within this many contiguous blocks of
            `ceil(B / groups)` examples: the slices that the replicas of a
            strategy see.
        self_pairs: False gives each example another partner than itself, where
            its block (and class) has another example: a random cycle in place
            of a random permutation.

    Returns:
        partner: Int32 tensor of shape `(B,)` with values in `[0, B - 1]`.
    """
    if kind == "random" and groups == 1:
        return _permute(size, seed, self_pairs)
    # Of no examples there is one block of none.
    block = tf.range(size) // tf.maximum((size - 1) // groups + 1, 1)
    if kind == "random":
        return _permute_within(block, seed, self_pairs)
    # Each pair of a block and a class is a cell.
    num_labels = tf.reduce_max(labels) + 1
    cell = block * num_labels + labels
    if kind == "same_class":
        return _permute_within(cell, seed, self_pairs)
    return _choose_outside(cell, block, seed)


def choose_similar(
    targets: tf.Tensor,
    bandwidth: float,
    *,
    seed: tf.Tensor,
    groups: int = 1,
    self_pairs: bool = True,
) -> tf.Tensor:
    """Chooses for each example one whose regression target is similar.

    The partner of example i is j with a probability in proportion to

        exp(-|y_i - y_j|^2 / (2 bandwidth^2)),

    drawn for each example alone: one may be chosen more than once, or be its
    own partner. An example whose target is not finite is its own partner.

    Args:
        targets: Float tensor `(B, ...)`; distances are Euclidean, over all
            axes but the first.
        bandwidth: Standard deviation of the kernel in the unit of the targets,
            above 0.
        seed: Stateless seed, an integer tensor of shape `(2,)`.
        groups: Partners stay in blocks, as for `choose_partner`.
        self_pairs: False gives each example another partner than itself, where
            its block has another one.

    Returns:
        partner: Int32 tensor of shape `(B,)` with values in `[0, B - 1]`.

    References:
        Yao, Wang, Zhang, Zou and Finn. C-Mixup: Improving Generalization in
        Regression. NeurIPS 2022, section 3. https://arxiv.org/abs/2210.05775
    """
    size = tf.shape(targets)[0]
    own = tf.range(size)
    block = own // tf.maximum((size - 1) // groups + 1, 1)
    allowed = block[:, None] == block
    if not self_pairs:
        allowed &= own[:, None] != own
    infinity = tf.constant(math.inf, tf.float64)
    distance = _square_distances(targets)
    allowed &= tf.math.is_finite(distance)
    distance = tf.where(allowed, distance, infinity)
    # However small the bandwidth, the nearest has a probability above 0.
    nearest = tf.reduce_min(distance, axis=1)
    found = tf.math.is_finite(nearest)
    # Divided twice: the square of a small bandwidth is 0.
    logits = (nearest[:, None] - distance) / bandwidth / bandwidth / 2
    logits = tf.where(allowed, logits, -infinity)
    chosen = tf.random.stateless_categorical(logits, 1, seed, tf.int32)[:, 0]
    return tf.where(found, chosen, own)


def _square_distances(targets: tf.Tensor) -> tf.Tensor:
    """Returns the squared distances of all pairs, float64 `(B, B)`."""
    size = tf.shape(targets)[0]
    width = tf.reduce_prod(tf.shape(targets)[1:])
    columns = tf.reshape(tf.cast(targets, tf.float64), [size, width])
    # A column at a time: no table of B x B x K, and equal ones are at 0.
    return tf.foldl(
        lambda total, column: total + (column[:, None] - column) ** 2,
        tf.transpose(columns),
        initializer=tf.zeros([size, size], tf.float64),
    )


def _permute(size: Any, seed: tf.Tensor, self_pairs: bool) -> tf.Tensor:
    """Permutes all examples at random."""
    key = tf.random.stateless_uniform([size], seed, None, None, tf.int64)
    shuffled = tf.math.top_k(key, size).indices
    if self_pairs:
        return shuffled
    following = tf.roll(shuffled, -1, axis=0)
    return tf.scatter_nd(shuffled[:, None], following, [size])


def _permute_within(
    cell: tf.Tensor, seed: tf.Tensor, self_pairs: bool
) -> tf.Tensor:
    """Permutes examples at random within each cell, all cells at once."""
    size = tf.size(cell)
    key = tf.random.stateless_uniform([size], seed, dtype=tf.float64)
    # Sorting by cell, then at random: float64 has bits to spare for both.
    shuffled = tf.argsort(tf.cast(cell, tf.float64) + key)
    if self_pairs:
        ordered = tf.argsort(cell, stable=True)
        partners = shuffled
    else:
        # Each example takes the next of its cell; the last takes the first.
        ordered = shuffled
        start, count = _runs(tf.gather(cell, shuffled))
        place = tf.range(size) - start
        partners = tf.gather(shuffled, start + (place + 1) % count)
    return tf.scatter_nd(ordered[:, None], partners, [size])


def _choose_outside(
    cell: tf.Tensor, block: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    """Chooses for each example an example of its block, but not of its cell."""
    size = tf.size(cell)
    ordered = tf.argsort(cell, stable=True)
    cell_start, cell_count = _runs(tf.gather(cell, ordered))
    block_start, block_count = _runs(tf.gather(block, ordered))
    others = block_count - cell_count
    uniform = tf.random.stateless_uniform([size], seed, dtype=tf.float64)
    place = tf.cast(uniform * tf.cast(others, tf.float64), tf.int32)
    # The places of the own cell are jumped over.
    jump = tf.where(block_start + place >= cell_start, cell_count, 0)
    chosen = tf.where(others > 0, block_start + place + jump, tf.range(size))
    return tf.scatter_nd(ordered[:, None], tf.gather(ordered, chosen), [size])


def _runs(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns for each element of a sorted vector its run's start and size."""
    start = tf.searchsorted(values, values, side="left")
    return start, tf.searchsorted(values, values, side="right") - start


def mix(
    inputs: Any, targets: Any, lam: tf.Tensor, partner: tf.Tensor
) -> tuple[Any, Any]:
    """Mixes each example of a batch with its partner, inputs and targets alike.

    Args:
        inputs: Tensor, or nested structure of tensors, of any rank whose first
            axis is B; examples beyond B are partners only, and not returned.
            Integers and booleans become floats before any arithmetic, so
            uint8 does not overflow: float64 from 32 bits on, which float32
            cannot hold, else float32. Floats keep their type. Mix embeddings
            of tokens, not their ids.
        targets: The same; class probabilities `(B, K)`, or regression targets.
        lam: Coefficients in `[0, 1]`, float of shape `(B,)` or a scalar; for
            more than two points `(B, P)`, the example's own first, sums of 1.
            Rows with an own coefficient of 1 are returned bit by bit (of a
            bfloat16's NaN XLA keeps only that it is one).
        partner: Integer tensor of shape `(B,)`: the example to mix with; for
            more than two points `(B, P - 1)`.

    Returns:
        mixed_inputs: Structure of `inputs`.
        mixed_targets: Structure of `targets`.

    Raises:
        ValueError: If a tensor has no numbers to mix (strings, ragged
            examples), or `lam` and `partner` do not fit.

    Example:
        >>> x, y = mix([[0.0], [8.0]], [[1.0, 0.0], [0.0, 1.0]], 0.75, [1, 0])
        >>> x.numpy().tolist(), y.numpy().tolist()
        ([[2.0], [6.0]], [[0.75, 0.25], [0.25, 0.75]])

    References:
        Zhang et al., section 2. https://arxiv.org/abs/1710.09412
    """
    lam = tf.convert_to_tensor(lam, tf.float32)
    partner = tf.convert_to_tensor(partner)
    _check_points(lam, partner)

    def interpolate(examples: Any) -> tf.Tensor:
        return _interpolate(examples, lam, partner)

    return _map_tensors(interpolate, inputs), _map_tensors(interpolate, targets)


def take_nearer(values: Any, lam: tf.Tensor, partner: tf.Tensor) -> Any:
    """Returns the value of the nearest of the examples that were mixed.

    With it the inputs alone are mixed and the label stays hard, the ablation
    in which mixup loses its effect on calibration.

    Args:
        values: Tensor or structure of tensors whose first axis is B, or
            longer as for `mix`.
        lam: Coefficients as for `mix`. The example with the largest is nearest,
            and an example to itself where it shares the largest.
        partner: Integer tensor, as for `mix`.

    Returns:
        nearest: Structure of `values`.

    Raises:
        ValueError: If `lam` and `partner` do not fit.

    References:
        Thulasidasan et al. On Mixup Training: Improved Calibration and
        Predictive Uncertainty for Deep Neural Networks. NeurIPS 2019.
        https://arxiv.org/abs/1905.11001
    """
    lam = tf.convert_to_tensor(lam, tf.float32)
    partner = tf.convert_to_tensor(partner, tf.int32)
    _check_points(lam, partner)
    own = tf.range(tf.shape(partner)[0])
    if partner.shape.rank == 1:
        nearest = tf.where(lam >= 0.5, own, partner)
    else:
        sources = tf.concat([own[:, None], partner], axis=1)
        nearest = tf.gather(sources, tf.argmax(lam, axis=1), batch_dims=1)
    return _map_tensors(lambda examples: tf.gather(examples, nearest), values)


def _check_points(lam: tf.Tensor, partner: tf.Tensor) -> None:
    if partner.shape.rank == 1:
        fit = lam.shape.rank <= 1
    else:
        fit = lam.shape.rank == 2 and lam.shape[1] == partner.shape[1] + 1
    if not fit:
        raise _checks.refusal(
            "`lam` must have one coefficient for an example and for each of its"
            " partners, or that of the example alone if it has one partner",
            f"lam of shape {lam.shape}, partner of shape {partner.shape}",
            "Give shapes (B,) and (B,), or (B, P) and (B, P - 1)",
        )


def _interpolate(
    examples: Any, lam: tf.Tensor, partner: tf.Tensor
) -> tf.Tensor:
    """Returns the weighted sum of each example and its partners."""
    if isinstance(examples, tf.RaggedTensor | tf.SparseTensor):
        raise _checks.refusal(
            "Only dense tensors can be mixed",
            f"a {type(examples).__name__}",
            "Pad it to a dense tensor, e.g. with `.to_tensor()`",
        )
    examples = tf.convert_to_tensor(examples)
    if examples.dtype == tf.string:
        raise _checks.refusal(
            "Only numbers can be mixed",
            f"a tensor of dtype {examples.dtype.name}",
            "Mix embeddings inside the model with `mixing.Mix`",
        )
    own = examples
    if partner.shape[0] is None or partner.shape[0] != examples.shape[0]:
        own = examples[: partner.shape[0] or tf.shape(partner)[0]]
    kept = as_numbers(examples).dtype
    wide = widen(kept)
    lam = _broadcast_rows(tf.cast(lam, wide), examples.shape.rank)
    if partner.shape.rank == 1:
        first, rest = lam, [(1 - lam, partner)]
    else:
        first, *others = tf.unstack(lam, axis=1)
        partners = tf.unstack(partner, axis=1)
        rest = list(zip(others, partners, strict=True))
    # A share of 0 leaves out also infinity and NaN.
    mixed = tf.math.multiply_no_nan(tf.cast(own, wide), first)
    # Gathered as they came: bytes, if that is what images are.
    for share, index in rest:
        others = tf.cast(tf.gather(examples, index), wide)
        mixed += tf.math.multiply_no_nan(others, share)
    # Not mixed means untouched.
    # Through float32 and back, half precision would lose a NaN's bits.
    return tf.where(first == 1, as_numbers(own), tf.cast(mixed, kept))


def as_numbers(values: tf.Tensor) -> tf.Tensor:
    """Returns floats and complex numbers as they are, all else as floats.

    Integers of 32 and 64 bits become float64, as float32 has 24 bits.

    Args:
        values: Tensor of numbers or booleans.

    Returns:
        numbers: Tensor of the same shape.
    """
    if values.dtype.is_floating or values.dtype.is_complex:
        return values
    return tf.cast(values, tf.float64 if values.dtype.size > 2 else tf.float32)


def widen(dtype: tf.DType) -> tf.DType:
    """Returns the type that numbers of `dtype` are computed in."""
    return dtype if dtype.size > 2 else tf.float32


def _broadcast_rows(lam: tf.Tensor, rank: int) -> tf.Tensor:
    """Shapes `(B, ...)` as `(B, ..., 1, ..., 1)`; keeps scalars."""
    ones = [1] * (rank - 1)
    if lam.shape.rank == 0 or not ones:
        return lam
    return tf.reshape(lam, [-1, *lam.shape[1:], *ones])


def _map_tensors(function: Any, structure: Any) -> Any:
    """Maps over tensors; plain Python lists of numbers count as tensors."""
    return tf.nest.map_structure(function, convert_list(structure))


def convert_list(structure: Any) -> Any:
    """Returns a list of numbers as a tensor, all else as it is."""
    leaves = tf.nest.flatten(structure)
    plain = all(isinstance(each, numbers.Number) for each in leaves)
    if isinstance(structure, list) and plain:
        return tf.convert_to_tensor(structure)
    return structure
