"""Partners among the nearest examples of the whole training set.

    neighbors = nearest_neighbors(images, k=200)
    partners = choose_neighbors(neighbors, indices, seed=position)
    indices = tf.concat([indices, partners], axis=0)

A batch of these examples goes through `MixUp(..., partner="given")`. With the
neighbors of each example's own class and `mix="inputs"` it is SMOTE.
Shapes: N examples of a training set, B examples of a batch.

References:
    Zhang, Cisse, Dauphin and Lopez-Paz. mixup: Beyond Empirical Risk
    Minimization. ICLR 2018, table 5. https://arxiv.org/abs/1710.09412
    Chawla, Bowyer, Hall and Kegelmeyer. SMOTE: Synthetic Minority
    Over-sampling Technique. JAIR 2002. https://arxiv.org/abs/1106.1813
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_mixup import _checks
from tf_mixup._checks import numbers
from tf_mixup._checks import run_time

# With more a tree is slower than comparing all, as in scikit-learn.
_FEW_COLUMNS = 15
# Of the largest squared length: squared distances below are computed anew.
_CLOSE = 1e-10


def nearest_neighbors(
    examples: Any, *, k: int, labels: Any = None
) -> np.ndarray:
    """Finds the k other examples that are nearest to each example.

    Distances are Euclidean, of the numbers as they are given, in float64:
    large numbers that are close to each other, such as times, keep their
    digits. scikit-learn compares blocks of examples, so that memory grows with
    N k and not with N N; time grows with N N.

    Args:
        examples: Array of any rank of N examples: images, or features.
        k: Neighbors of each example, at least 1.
        labels: Integers `(N,)`; with them neighbors are of the same class.
            Defaults to nothing.

    Returns:
        neighbors: Int32 `(N, k)`, the nearest first; no example is its own.

    Raises:
        ValueError: If there are not k other examples, in any class if `labels`
            are given; if `examples` has something else than finite numbers; or
            if integers differ by more than 2**53, which float64 cannot hold.

    Example:
        >>> nearest_neighbors([[0.0], [1.0], [5.0]], k=1).tolist()
        [[1], [0], [1]]
    """
    _checks.integer_at_least("k", k, 1, remedy="The paper has 200")
    points = _to_points(examples)
    if labels is None:
        return _search(points, k, "the set")
    numbers.check_dense(labels, "Labels")
    labels = np.asarray(labels)
    if labels.dtype.kind == "O":
        labels = labels.astype(str)
    if labels.shape != points.shape[:1]:
        raise _checks.refusal(
            "`labels` must be one class for each example",
            f"labels of shape {labels.shape} for {len(points)} examples",
            "Give integers of shape (N,)",
        )
    found = np.empty((len(points), k), np.int32)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        found[members] = members[_search(points[members], k, f"class {label}")]
    return found


def _to_points(examples: Any) -> np.ndarray:
    """Returns floats `(N, D)` with the distances of the given numbers."""
    numbers.check_dense(examples, "Examples")
    array = np.asarray(examples)
    if array.dtype.kind != "O":
        array = numbers.read(array, "Examples")
    if not array.size:
        raise _checks.refusal(
            "Examples must have numbers to compare",
            f"an array of shape {array.shape}",
            "Give images or features, `(N, D)`",
        )
    points = array.reshape(len(array), -1)
    kind = points.dtype.kind
    if kind == "b":
        return points.astype(np.float32)
    if kind in "iuO" and points.dtype.itemsize > 2:
        return _from_origin(points)
    wide = kind == "f" and points.dtype.itemsize > 4
    # Types such as bfloat16 are none of NumPy's own.
    points = points.astype(np.float64 if wide else np.float32)
    if not np.isfinite(points).all():
        raise _checks.refusal(
            "Examples must be finite numbers",
            f"NaN or infinity in {np.sum(~np.isfinite(points).all(1))} of"
            f" {len(points)} examples",
            "Leave these examples out, or fill the gaps",
        )
    return _center(points) if wide else points


def _center(points: np.ndarray) -> np.ndarray:
    """Returns points about 0, of which float64 holds the squares."""
    exponent = np.frexp(np.abs(points).max())[1]
    # A power of 2 changes no digit.
    points = np.ldexp(points, -exponent)
    return points - points.mean(axis=0)


def _from_origin(integers: np.ndarray) -> np.ndarray:
    """Returns integers less the least of their column, float64 and exact."""
    try:
        least = integers.min(axis=0)
        if integers.dtype.kind == "i":
            # Differences beyond int64 are right in uint64.
            integers, least = integers.astype(np.uint64), least.astype("u8")
        points = integers - least
        span = int(points.max(initial=0))
    except (TypeError, ValueError) as error:
        raise _checks.refusal(
            "Examples must be of numbers",
            f"an array of dtype {integers.dtype}",
            "Give images or features as one array of numbers",
        ) from error
    if span > 2**53:
        raise _checks.refusal(
            "Integers must differ by at most 2**53, so that float64 holds"
            " their distances",
            f"integers that differ by {span}",
            "Divide them, or subtract what each column has in common",
        )
    return points.astype(np.float64)


def _search(points: np.ndarray, k: int, whose: str) -> np.ndarray:
    """Returns the k nearest others of each example, `(N, k)`."""
    if k >= len(points):
        raise _checks.refusal(
            "`k` must be less than the examples to choose from",
            f"k={k} with {len(points)} examples in {whose}",
            "Ask for fewer neighbors",
        )
    # Late: few need it, and it takes a second to import.
    from sklearn import neighbors

    # A tree subtracts before it squares; products of many columns are faster,
    # and lose digits where numbers are large and close.
    tree = points.shape[1] <= _FEW_COLUMNS
    search = neighbors.NearestNeighbors(
        n_neighbors=k, algorithm="kd_tree" if tree else "brute"
    )
    points = points.astype(np.float64) if tree else points
    # Of the examples it was fitted on it leaves out each one itself.
    distances, found = search.fit(points).kneighbors()
    if not tree:
        largest = np.max(np.einsum("nd,nd->n", points, points, dtype=float))
        close = np.flatnonzero(distances[:, -1] ** 2 <= _CLOSE * largest)
        for index in close:
            found[index] = _nearest_to(points, int(index), k)
    return found.astype(np.int32)


def _nearest_to(points: np.ndarray, index: int, k: int) -> np.ndarray:
    """Returns the k nearest others of one example, by exact differences."""
    apart = points.astype(np.float64) - points[index].astype(np.float64)
    distances = np.einsum("nd,nd->n", apart, apart)
    distances[index] = np.inf
    return np.argsort(distances, kind="stable")[:k]


def choose_neighbors(neighbors: Any, indices: Any, *, seed: Any) -> tf.Tensor:
    """Chooses one of the neighbors of each example, each equally likely.

    Args:
        neighbors: Integers `(N, k)`, of `nearest_neighbors`.
        indices: Numbers of the examples, integers `(B,)` in `[0, N - 1]`.
        seed: Stateless seed, two integers, such as the epoch and the step
            of `MixUp.epoch_counter.positions`. (What is random in a dataset
            without one is the same in each epoch after `set_random_seed`.)

    Returns:
        partners: Numbers of examples `(B,)`, int64 where `indices` are, else
            int32.

    Raises:
        ValueError: If `indices` are no integers.

    Example:
        >>> neighbors = nearest_neighbors([[0.0], [1.0], [5.0]], k=1)
        >>> choose_neighbors(neighbors, [2, 0], seed=[0, 0]).numpy().tolist()
        [1, 1]
    """
    neighbors, indices = map(tf.convert_to_tensor, (neighbors, indices))
    if not indices.dtype.is_integer:
        raise _checks.refusal(
            "`indices` must be the numbers of examples, integers",
            f"indices of dtype {indices.dtype.name}",
            "Give what `tf.data.Dataset.range(n)` counts",
        )
    seed = tf.convert_to_tensor(seed)
    if neighbors.shape.rank != 2 or seed.shape not in ([2], [None], None):
        raise _checks.refusal(
            "`neighbors` must have shape (N, k), and `seed` two integers",
            f"neighbors of shape {neighbors.shape}, seed of shape {seed.shape}",
            "Give what `nearest_neighbors` returns, and `seed=[epoch, step]`",
        )
    # In 64 bits, so that no number becomes that of another example.
    wide_indices = tf.cast(indices, tf.int64)
    size = tf.shape(neighbors, tf.int64)[0]
    wide_indices = run_time.require(
        wide_indices,
        tf.reduce_all((wide_indices >= 0) & (wide_indices < size)),
        "`indices` must be the numbers of examples of `neighbors`",
        "indices from {} to {} of {} examples",
        [tf.reduce_min(wide_indices), tf.reduce_max(wide_indices), size],
        "Count the examples that `nearest_neighbors` was given from 0",
    )
    draws = tf.random.stateless_uniform(
        tf.shape(indices), seed, maxval=tf.shape(neighbors)[1], dtype=tf.int32
    )
    places = tf.stack([wide_indices, tf.cast(draws, tf.int64)], axis=1)
    # A short type of `indices` may not hold the numbers of partners.
    wide = indices.dtype if indices.dtype in (tf.int32, tf.int64) else tf.int32
    return tf.cast(tf.gather_nd(neighbors, places), wide)
