"""Partners among the nearest rows of the whole training set.

    neighbors = nearest_neighbors(images, k=200)
    partners = choose_neighbors(neighbors, rows, seed=position)
    rows = tf.concat([rows, partners], axis=0)

A batch of these rows goes through `MixUp(..., partner="given")`. With the
neighbors of each row's own class and `target="nearest"` it is SMOTE.
Letters: N rows of a training set, B rows of a batch.

References:
    Zhang, Cisse, Dauphin and Lopez-Paz. mixup: Beyond Empirical Risk
    Minimization. ICLR 2018, table 5. https://arxiv.org/abs/1710.09412
    Chawla, Bowyer, Hall and Kegelmeyer. SMOTE: Synthetic Minority
    Over-sampling Technique. JAIR 2002. https://arxiv.org/abs/1106.1813
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_mixup import checks


def nearest_neighbors(rows: Any, *, k: int, labels: Any = None) -> np.ndarray:
    """Finds the k other rows that are nearest to each row.

    Distances are Euclidean, of the numbers as they are given. scikit-learn
    compares blocks of rows, so that memory grows with N k and not with N N;
    time grows with N N.

    Args:
        rows: Array of any rank with N rows of numbers: images, or features.
        k: Neighbors of each row, at least 1.
        labels: Integers `(N,)`; with them neighbors are of the row's class.
            Defaults to nothing.

    Returns:
        neighbors: Int32 `(N, k)`, the nearest first; no row is its own.

    Raises:
        ValueError: If there are not k other rows, in any class if `labels`
            are given, or `rows` has something else than finite numbers.

    Example:
        >>> nearest_neighbors([[0.0], [1.0], [5.0]], k=1).tolist()
        [[1], [0], [1]]
    """
    checks.integer_at_least("k", k, 1, remedy="The paper has 200")
    points = np.asarray(rows, np.float32).reshape(len(rows), -1)
    if labels is None:
        return _search(points, k, "the set")
    labels = np.asarray(labels)
    if labels.shape != points.shape[:1]:
        raise checks.refusal(
            "`labels` must be one class for each row",
            f"labels of shape {labels.shape} for {len(points)} rows",
            "Give integers of shape (N,)",
        )
    found = np.empty((len(points), k), np.int32)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        found[members] = members[_search(points[members], k, f"class {label}")]
    return found


def _search(points: np.ndarray, k: int, whose: str) -> np.ndarray:
    """Returns the k nearest others of each row, `(N, k)`."""
    if k >= len(points):
        raise checks.refusal(
            "`k` must be less than the rows to choose from",
            f"k={k} with {len(points)} rows in {whose}",
            "Ask for fewer neighbors",
        )
    # Late: few need it, and it takes a second to import.
    from sklearn import neighbors

    search = neighbors.NearestNeighbors(n_neighbors=k, algorithm="brute")
    # Of the rows it was fitted on it leaves out each one itself.
    return search.fit(points).kneighbors(return_distance=False).astype(np.int32)


def choose_neighbors(neighbors: Any, rows: Any, *, seed: Any) -> tf.Tensor:
    """Chooses one of the neighbors of each row, each equally likely.

    Args:
        neighbors: Integers `(N, k)`, of `nearest_neighbors`.
        rows: Numbers of the rows, integers `(B,)` in `[0, N - 1]`.
        seed: Stateless seed, two integers, such as the epoch and the step
            that `MixUp.clock.positions` tells. (What is random in a dataset
            without one is the same in each epoch after `set_random_seed`.)

    Returns:
        partners: Numbers of rows, of the type of `rows`, `(B,)`.

    Example:
        >>> neighbors = nearest_neighbors([[0.0], [1.0], [5.0]], k=1)
        >>> choose_neighbors(neighbors, [2, 0], seed=[0, 0]).numpy().tolist()
        [1, 1]
    """
    neighbors, rows = map(tf.convert_to_tensor, (neighbors, rows))
    draws = tf.random.stateless_uniform(
        tf.shape(rows),
        tf.convert_to_tensor(seed),
        maxval=tf.shape(neighbors)[1],
        dtype=tf.int32,
    )
    places = tf.stack([tf.cast(rows, tf.int32), draws], axis=1)
    return tf.cast(tf.gather_nd(neighbors, places), rows.dtype)
