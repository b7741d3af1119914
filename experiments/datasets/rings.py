"""Two noisy rings, one within the other: the mixup paper's toy problem."""

from typing import Any

import numpy as np

from experiments.datasets import splits

# The paper does not state them.
NUM_EXAMPLES = 1_200
NUM_TEST = 2_000
NOISE = 0.1
# Radius of the inner ring; the outer one has radius 1.
INNER = 0.5
# Streams 0 to 2 of a seed belong to `splits` and `gaussians`.
_DRAW_STREAM = 3


def load(name: str, *, seed: int, **counts: Any) -> splits.Splits:
    """Draws training, validation and test examples, anew for each seed.

    Inputs are float32 points `(N, 2)`; class 0 is the outer ring.

    References:
        Zhang, Cisse, Dauphin and Lopez-Paz. mixup: Beyond Empirical Risk
        Minimization. ICLR 2018, figure 1b. https://arxiv.org/abs/1710.09412
    """
    rng = np.random.default_rng([seed, _DRAW_STREAM])
    train, test = _draw(NUM_EXAMPLES, rng), _draw(NUM_TEST, rng)
    return splits.build(name, train, test, num_classes=2, seed=seed, **counts)


def _draw(count: int, rng: np.random.Generator) -> splits.Arrays:
    from sklearn import datasets

    points, labels = datasets.make_circles(
        count,
        noise=NOISE,
        factor=INNER,
        random_state=int(rng.integers(2**31)),
    )
    return splits.Arrays(points.astype(np.float32), labels.astype(np.int32))
