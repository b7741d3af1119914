"""Out-of-distribution detection: scores, exact measures and noise sets.

A detector scores every row; rows of the distribution that the model was
trained on ("in") should score higher than rows from elsewhere ("out"). The
score here is the model's confidence, the baseline of Hendrycks and Gimpel.
The measures are exact, with no grid of thresholds; a random score has AUROC
1/2, AUPR the share of its positives, FPR95 0.95.

References:
    Hendrycks and Gimpel. A Baseline for Detecting Misclassified and
    Out-of-Distribution Examples in Neural Networks. ICLR 2017.
    https://arxiv.org/abs/1610.02136
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_mixup import checks
from tf_mixup.predictions import confidence as confidence

NOISES = ("gaussian", "uniform")


def auroc(in_scores: Any, out_scores: Any) -> float:
    """Returns the area under the ROC curve.

    It is the chance that a row from inside scores higher than one from
    outside, ties counting half. It does not depend on the sizes of the sets.

    Args:
        in_scores: Scores inside the distribution, `(N,)`, higher for inside.
        out_scores: Scores outside of it, `(M,)`.

    Returns:
        auroc: In `[0, 1]`; 1/2 for scores that tell nothing.

    Raises:
        ValueError: If scores are empty, not one-dimensional or not finite.

    Example:
        >>> auroc([0.9, 0.6], [0.7, 0.5])
        0.75
    """
    inside = np.sort(_check_scores("in_scores", in_scores))
    outside = np.sort(_check_scores("out_scores", out_scores))
    # Its definition, counted: a tenth of the time of a curve and its area.
    below = np.searchsorted(outside, inside, "left").sum()
    not_above = np.searchsorted(outside, inside, "right").sum()
    return float((below + not_above) / 2 / (inside.size * outside.size))


def aupr_in(in_scores: Any, out_scores: Any) -> float:
    """Returns the average precision at finding the rows from inside.

    It depends on the sizes of the sets: compare it only between detectors on
    the same two sets.

    Args:
        in_scores: Scores inside the distribution, `(N,)`, higher for inside.
        out_scores: Scores outside of it, `(M,)`.

    Returns:
        aupr: In `[0, 1]`; near `N / (N + M)` for scores that tell nothing.

    Raises:
        ValueError: If scores are empty, not one-dimensional or not finite.

    Example:
        >>> aupr_in([0.9, 0.8], [0.1])
        1.0
    """
    from sklearn import metrics as sklearn_metrics

    is_in, scores = _pool(in_scores, out_scores)
    return float(sklearn_metrics.average_precision_score(is_in, scores))


def aupr_out(in_scores: Any, out_scores: Any) -> float:
    """Returns the average precision at finding the rows from outside.

    Args:
        in_scores: Scores inside the distribution, `(N,)`, higher for inside.
        out_scores: Scores outside of it, `(M,)`.

    Returns:
        aupr: In `[0, 1]`; near `M / (N + M)` for scores that tell nothing.

    Raises:
        ValueError: If scores are empty, not one-dimensional or not finite.

    Example:
        >>> aupr_out([0.9, 0.8], [0.1])
        1.0
    """
    from sklearn import metrics as sklearn_metrics

    is_in, scores = _pool(in_scores, out_scores)
    return float(sklearn_metrics.average_precision_score(1 - is_in, -scores))


def fpr_at_95_tpr(in_scores: Any, out_scores: Any) -> float:
    """Returns the share of rows from outside that pass for inside.

    The threshold is the highest one that still accepts 95% of the rows from
    inside. Rows that score exactly the threshold are accepted.

    Args:
        in_scores: Scores inside the distribution, `(N,)`, higher for inside.
        out_scores: Scores outside of it, `(M,)`.

    Returns:
        fpr: In `[0, 1]`; 0 is best.

    Raises:
        ValueError: If scores are empty, not one-dimensional or not finite.

    Example:
        >>> fpr_at_95_tpr([0.9, 0.6], [0.7, 0.5])
        0.5
    """
    from sklearn import metrics as sklearn_metrics

    is_in, scores = _pool(in_scores, out_scores)
    # Without `drop_intermediate=False` points of the curve are left out.
    fpr, tpr, _ = sklearn_metrics.roc_curve(
        is_in, scores, drop_intermediate=False
    )
    return float(fpr[np.argmax(tpr >= 0.95)])


def gaussian_noise(
    shape: Sequence[int],
    mean: Any,
    std: Any,
    *,
    num_rows: int,
    seed: int,
    dtype: Any = "float32",
) -> np.ndarray:
    """Draws rows of independent Gaussian noise.

    Args:
        shape: Shape of one row, e.g. `(32, 32, 3)`.
        mean: Mean, a number or an array that broadcasts to `shape`.
        std: Standard deviation, likewise.
        num_rows: How many rows to draw, N.
        seed: Integer that fixes the draw.
        dtype: A float type, or `"uint8"`: then values are rounded and clipped
            to `[0, 255]`, which lowers the variance where the mean is within
            two deviations of an end.

    Returns:
        noise: Array of shape `(N, *shape)`.

    Raises:
        ValueError: If `num_rows` is below 1, or `dtype` is another integer.

    Example:
        >>> gaussian_noise((4, 4), 0.5, 0.1, num_rows=2, seed=0).shape
        (2, 4, 4)
    """
    generator, size = _start(shape, num_rows, seed)
    standard = generator.standard_normal(size, dtype=np.float32)
    return _finish(standard * std + mean, dtype)


def uniform_noise(
    shape: Sequence[int],
    mean: Any,
    std: Any,
    *,
    num_rows: int,
    seed: int,
    dtype: Any = "float32",
) -> np.ndarray:
    """Draws rows of independent uniform noise of a given mean and deviation.

    Values lie in `mean ± sqrt(3) * std`.

    Args:
        shape: Shape of one row, e.g. `(32, 32, 3)`.
        mean: Mean, a number or an array that broadcasts to `shape`.
        std: Standard deviation, likewise.
        num_rows: How many rows to draw, N.
        seed: Integer that fixes the draw.
        dtype: As in `gaussian_noise`.

    Returns:
        noise: Array of shape `(N, *shape)`.

    Raises:
        ValueError: If `num_rows` is below 1, or `dtype` is another integer.

    Example:
        >>> uniform_noise((4, 4), 0.5, 0.1, num_rows=2, seed=0).shape
        (2, 4, 4)
    """
    generator, size = _start(shape, num_rows, seed)
    # The variance of the uniform distribution on [-1, 1] is 1/3.
    unit = 2 * generator.random(size, dtype=np.float32) - 1
    return _finish(unit * np.sqrt(np.float32(3)) * std + mean, dtype)


def noise_like(
    inputs: np.ndarray,
    *,
    kind: str = "gaussian",
    num_rows: int | None = None,
    seed: int = 0,
    channel_axis: int | None = -1,
) -> np.ndarray:
    """Draws noise with the shape, mean and variance of given inputs.

    Training inputs are the usual choice. A network that is sure of a class
    for such rows is sure of nothing that it has learnt.

    Args:
        inputs: Array `(N, ...)`, of a float type or uint8.
        kind: `"gaussian"` or `"uniform"`. Defaults to `"gaussian"`.
        num_rows: Rows to draw. Defaults to N.
        seed: Integer that fixes the draw. Defaults to 0.
        channel_axis: The axis along which mean and variance are separate, or
            None for one mean and one variance. Defaults to the last.

    Returns:
        noise: Array of shape `(num_rows, ...)` and the dtype of `inputs`.

    Raises:
        ValueError: If `kind` is unknown, or `inputs` has no rows, no numbers
            or values that are not finite.

    Example:
        >>> noise_like(np.ones((3, 8, 8, 1), "uint8"), num_rows=2).shape
        (2, 8, 8, 1)

    References:
        Thulasidasan et al. On Mixup Training: Improved Calibration and
        Predictive Uncertainty for Deep Neural Networks. NeurIPS 2019.
        https://arxiv.org/abs/1905.11001
    """
    checks.one_of("kind", kind, NOISES)
    inputs = np.asarray(inputs)
    _check_inputs(inputs)
    axes = tuple(range(inputs.ndim))
    if channel_axis is not None:
        axes = tuple(a for a in axes if a != channel_axis % inputs.ndim)
    # One row's mean must broadcast to its shape: the first axis goes away.
    mean = inputs.mean(axis=axes, keepdims=True, dtype=np.float64)[0]
    std = inputs.std(axis=axes, keepdims=True, dtype=np.float64)[0]
    if not np.all(np.isfinite(std)):
        raise checks.refusal(
            "Noise is drawn like inputs that are finite",
            f"inputs with mean {np.ravel(mean).tolist()}",
            "Drop or repair rows with NaN or infinite values",
        )
    draw = gaussian_noise if kind == "gaussian" else uniform_noise
    rows = inputs.shape[0] if num_rows is None else num_rows
    return draw(
        inputs.shape[1:],
        mean.astype(np.float32),
        std.astype(np.float32),
        num_rows=rows,
        seed=seed,
        dtype=inputs.dtype,
    )


def _pool(in_scores: Any, out_scores: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns 1 for rows from inside and 0 for others, and all scores."""
    inside = _check_scores("in_scores", in_scores)
    outside = _check_scores("out_scores", out_scores)
    is_in = np.concatenate([np.ones(inside.size), np.zeros(outside.size)])
    return is_in.astype(np.int64), np.concatenate([inside, outside])


def _check_scores(name: str, scores: Any) -> np.ndarray:
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or not scores.size:
        raise checks.refusal(
            f"`{name}` must be one score for each row, and at least one row",
            f"{name} of shape {scores.shape}",
            "Give a one-dimensional array, e.g. of `ood.confidence`",
        )
    wrong = int(np.sum(~np.isfinite(scores)))
    if wrong:
        raise checks.refusal(
            f"`{name}` must be finite",
            f"{name} with {wrong} of {scores.size} scores NaN or infinite",
            "Look for a diverged model, or leave these rows out",
        )
    return scores


def _start(
    shape: Sequence[int], num_rows: int, seed: int
) -> tuple[np.random.Generator, tuple[int, ...]]:
    checks.integer_at_least("num_rows", num_rows, 1, remedy="Draw some rows")
    return np.random.default_rng(seed), (num_rows, *shape)


def _finish(noise: np.ndarray, dtype: Any) -> np.ndarray:
    """Returns `noise` in `dtype`; bytes are rounded and clipped."""
    dtype = np.dtype(dtype)
    if dtype == np.uint8:
        return np.clip(np.rint(noise), 0, 255).astype(dtype)
    # Types such as bfloat16 are none of NumPy's own floats.
    if np.issubdtype(dtype, np.integer) or dtype == np.bool_:
        raise checks.refusal(
            "Noise is drawn for inputs that are floats or uint8",
            f"dtype={dtype.name}",
            "Give a set of rows of your own instead of noise",
        )
    return noise.astype(dtype)


def _check_inputs(inputs: np.ndarray) -> None:
    if inputs.ndim < 2 or not inputs.size or inputs.dtype.kind in "OSU":
        raise checks.refusal(
            "Noise is drawn like an array of numbers (N, ...) with some rows",
            f"inputs of shape {inputs.shape} and dtype {inputs.dtype}",
            "Give one array of inputs, or a set of rows of your own instead"
            " of noise",
        )
