"""Two overlapping Gaussians: the truth is known, so calibration is exact.

Class 0 is `N(0, I)`, class 1 is `N(mu * 1, I)`, in 300 dimensions and equally
often. The sum of the features decides all: the log-odds of class 1 are
`mu * sum(x) - D * mu**2 / 2`. Shapes: N examples, D dimensions.
"""

import contextlib
from typing import Any

import numpy as np
from scipy import special

from experiments.datasets import splits
from tf_mixup import _checks

PREFIX = "gaussians:"
DIMENSIONS = 300
# The paper draws 5,000 and tests on 1,000 of them. More test examples cost
# nothing and divide the variance of what is measured by ten.
NUM_EXAMPLES = 4_000
NUM_TEST = 10_000
# Streams 0 and 1 of a seed belong to `splits`.
_DRAW_STREAM = 2


def load(name: str, *, seed: int, **counts: Any) -> splits.Splits:
    """Draws training, validation and test examples, anew for each seed.

    One seed draws the same noise for every MU, at least 0, so that two overlaps
    are compared on the same examples. Inputs are float32 features `(N, 300)`;
    the true probabilities of the 10,000 test examples are known.

    References:
        Chidambaram and Ge. On the Limitations of Temperature Scaling for
        Distributions with Overlaps. ICLR 2024. https://arxiv.org/abs/2306.00740
    """
    written: Any = name.removeprefix(PREFIX)
    with contextlib.suppress(ValueError):
        # Other text is refused as it is.
        written = float(written)
    mu = _checks.real_at_least(
        "mu", written, 0, remedy=f"Write e.g. {PREFIX}0.25"
    )
    rng = np.random.default_rng([seed, _DRAW_STREAM])
    train = _draw(NUM_EXAMPLES, mu, rng)
    test = _draw(NUM_TEST, mu, rng)
    truth = posterior(test.inputs, mu)
    return splits.build(
        *(name, train, test),
        num_classes=2,
        test_posterior=truth,
        seed=seed,
        **counts,
    )


def posterior(features: np.ndarray, mu: float) -> np.ndarray:
    """Returns the true probabilities of both classes, float64 `(N, 2)`.

    Example:
        >>> posterior(np.zeros((1, 300)), 0.0).tolist()
        [[0.5, 0.5]]
    """
    wide = np.asarray(features, np.float64)
    log_odds = mu * wide.sum(axis=-1) - wide.shape[-1] * mu**2 / 2
    # Each by itself: 1 - p would round a small probability to nothing.
    return special.expit(np.stack([-log_odds, log_odds], axis=-1))


def _draw(count: int, mu: float, rng: np.random.Generator) -> splits.Arrays:
    """Draws labels, then features given the labels."""
    labels = rng.integers(2, size=count, dtype=np.int32)
    features = rng.standard_normal((count, DIMENSIONS), np.float32)
    features[labels == 1] += mu
    return splits.Arrays(features, labels)
