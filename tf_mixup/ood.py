"""Out-of-distribution detection: scores, exact measures and noise sets.

A detector scores every example; examples of the distribution that the model
was trained on ("in") should score higher than examples from elsewhere
("out"). The score here is the model's confidence, the baseline of Hendrycks
and Gimpel. The measures are exact, with no grid of thresholds; a random score
has AUROC 1/2, AUPR the share of its positives, FPR95 0.95.

Packages differ in what they count as **positive**. Here it is the examples
from inside, as in Hendrycks and Gimpel, unless the name ends in `_out`. Others,
such as OpenOOD, count those from outside for FPR95, and take AUPR by the
trapezoidal rule, which interpolates between thresholds; AUROC is the same for
both. For scores `[.9, .8, .7, .3]` inside and `[.6, .5, .4, .2]` outside:

| | here | elsewhere |
|---|---|---|
| FPR95 | 0.75 | 0.25, `fpr_at_95_tpr(-out, -in)` |
| AUPR of "in" | 0.893 | 0.884, by trapezoids |

References:
    Hendrycks and Gimpel. A Baseline for Detecting Misclassified and
    Out-of-Distribution Examples in Neural Networks. ICLR 2017.
    https://arxiv.org/abs/1610.02136
"""

from collections.abc import Sequence
from typing import Any

import keras
import ml_dtypes
import numpy as np

from tf_mixup import _numbers
from tf_mixup import checks
from tf_mixup.predictions import confidence as confidence

NOISES = ("gaussian", "uniform")


def auroc(in_scores: Any, out_scores: Any) -> float:
    """Returns the area under the ROC curve.

    It is the chance that an example from inside scores higher than one from
    outside, ties counting half. It does not depend on the sizes of the sets,
    nor on which side counts as positive.

    Args:
        in_scores: Scores inside the distribution, `(N,)`, higher for inside.
        out_scores: Scores outside of it, `(M,)`.

    Returns:
        auroc: In `[0, 1]`; 1/2 for a random score.

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
    """Returns the average precision at finding the examples from inside.

    Examples from inside are the positives. Average precision is the sum of
    precision times the step of recall; packages that take the area by the
    trapezoidal rule get another number, see this module's table. It depends on
    the sizes of the sets: compare it only between detectors on the same two.

    Args:
        in_scores: Scores inside the distribution, `(N,)`, higher for inside.
        out_scores: Scores outside of it, `(M,)`.

    Returns:
        aupr: In `[0, 1]`; near `N / (N + M)` for a random score.

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
    """Returns the average precision at finding the examples from outside.

    Examples from outside are the positives, with the lowest scores first; else
    it is like `aupr_in`.

    Args:
        in_scores: Scores inside the distribution, `(N,)`, higher for inside.
        out_scores: Scores outside of it, `(M,)`.

    Returns:
        aupr: In `[0, 1]`; near `M / (N + M)` for a random score.

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
    """Returns the share of examples from outside that pass for inside.

    The threshold is the highest one that still accepts 95% of the examples
    from inside, which are the positives. Examples that score exactly the
    threshold are accepted.

    Packages that count the examples from outside as positive report another
    number: the share of examples from inside that are rejected where 95% of
    those from outside are. That is `fpr_at_95_tpr(-out_scores, -in_scores)`.

    Args:
        in_scores: Scores inside the distribution, `(N,)`, higher for inside.
        out_scores: Scores outside of it, `(M,)`.

    Returns:
        fpr: In `[0, 1]`; 0 is best.

    Raises:
        ValueError: If scores are empty, not one-dimensional or not finite.

    Example:
        >>> inside = np.array([0.9, 0.8, 0.7, 0.3])
        >>> outside = np.array([0.6, 0.5, 0.4, 0.2])
        >>> fpr_at_95_tpr(inside, outside), fpr_at_95_tpr(-outside, -inside)
        (0.75, 0.25)
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
    """Draws examples of independent Gaussian noise.

    Args:
        shape: Shape of one example, e.g. `(32, 32, 3)`.
        mean: Mean, a number or an array that broadcasts to `shape`.
        std: Standard deviation, of the same form.
        num_rows: How many examples to draw, N.
        seed: Integer that fixes the draw.
        dtype: A float, integer or Boolean type. Values are clipped to its
            range, and rounded for an integer, which lowers the variance where
            the mean is within two deviations of an end.

    Returns:
        noise: Array of shape `(N, *shape)`.

    Raises:
        ValueError: If `num_rows` is below 1, or `dtype` has no numbers.

    Example:
        >>> gaussian_noise((4, 4), 0.5, 0.1, num_rows=2, seed=0).shape
        (2, 4, 4)
    """
    dtype = _numeric_dtype(dtype)
    _check_moments(shape, mean, std)
    standard = _draw("gaussian", shape, num_rows, seed, dtype)
    return _finish(standard, mean, std, dtype, _limits(dtype))


def uniform_noise(
    shape: Sequence[int],
    mean: Any,
    std: Any,
    *,
    num_rows: int,
    seed: int,
    dtype: Any = "float32",
) -> np.ndarray:
    """Draws examples of uniform noise of a given mean and deviation.

    Values are independent and lie in `mean ± sqrt(3) * std`.

    Args:
        shape: Shape of one example, e.g. `(32, 32, 3)`.
        mean: Mean, a number or an array that broadcasts to `shape`.
        std: Standard deviation, of the same form.
        num_rows: How many examples to draw, N.
        seed: Integer that fixes the draw.
        dtype: As in `gaussian_noise`.

    Returns:
        noise: Array of shape `(N, *shape)`.

    Raises:
        ValueError: If `num_rows` is below 1, or `dtype` has no numbers.

    Example:
        >>> uniform_noise((4, 4), 0.5, 0.1, num_rows=2, seed=0).shape
        (2, 4, 4)
    """
    dtype = _numeric_dtype(dtype)
    _check_moments(shape, mean, std)
    standard = _draw("uniform", shape, num_rows, seed, dtype)
    return _finish(standard, mean, std, dtype, _limits(dtype))


def noise_like(
    inputs: np.ndarray,
    *,
    kind: str = "gaussian",
    num_rows: int | None = None,
    seed: int = 0,
    channel_axis: int | str | None = "auto",
) -> np.ndarray:
    """Draws noise with the shape, mean and variance of given inputs.

    Training inputs are the usual choice. A network that is sure of a class
    for such noise is sure of nothing that it has learnt.

    Noise of an integer type keeps to the values that `inputs` span: it is
    rounded and clipped to their smallest and largest, so that one-hot inputs
    give zeros and ones, and class or token ids give ids that exist.

    Args:
        inputs: Array `(N, ...)`, of a float, integer or Boolean type.
        kind: `"gaussian"` or `"uniform"`. Defaults to `"gaussian"`.
        num_rows: Examples to draw. Defaults to N.
        seed: Integer that fixes the draw.
        channel_axis: The axis along which mean and variance are separate, or
            None for one mean and one variance. Defaults to `"auto"`: the last
            axis, but the second of images `(N, C, H, W)` where
            `keras.config.image_data_format()` is `"channels_first"`.

    Returns:
        noise: Array of shape `(num_rows, ...)` and the dtype of `inputs`.

    Raises:
        ValueError: If `kind` or `channel_axis` is unknown, or `inputs` has no
            examples, no numbers or values that are not finite.

    Example:
        >>> noise_like(np.ones((3, 8, 8, 1), "uint8"), num_rows=2).shape
        (2, 8, 8, 1)

    References:
        Thulasidasan et al. On Mixup Training: Improved Calibration and
        Predictive Uncertainty for Deep Neural Networks. NeurIPS 2019.
        https://arxiv.org/abs/1905.11001
    """
    checks.one_of("kind", kind, NOISES)
    _numbers.check_dense(inputs, "Inputs")
    inputs = np.asarray(inputs)
    dtype = _check_inputs(inputs)
    axes = tuple(range(inputs.ndim))
    channel_axis = _find_channels(channel_axis, inputs.ndim)
    if channel_axis is not None:
        axes = tuple(a for a in axes if a != channel_axis % inputs.ndim)
    # One example's mean must broadcast to its shape: the first axis goes away.
    # Squares of numbers of float64 may be beyond it.
    unit = np.abs(inputs).max() if inputs.dtype == np.float64 else 1.0
    unit = unit if np.isfinite(unit) and unit else 1.0
    scaled = inputs if unit == 1.0 else inputs / unit
    mean = unit * scaled.mean(axis=axes, keepdims=True, dtype=np.float64)[0]
    std = unit * scaled.std(axis=axes, keepdims=True, dtype=np.float64)[0]
    if not np.all(np.isfinite(std)):
        raise checks.refusal(
            "Noise is drawn like inputs that are finite",
            f"inputs with mean {np.ravel(mean).tolist()}",
            "Drop or repair examples with NaN or infinite values",
        )
    whole = dtype.kind in "iub"
    limits = (inputs.min(), inputs.max()) if whole else _limits(dtype)
    count = inputs.shape[0] if num_rows is None else num_rows
    standard = _draw(kind, inputs.shape[1:], count, seed, dtype)
    return _finish(standard, mean, std, dtype, limits)


def _pool(in_scores: Any, out_scores: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns 1 for examples from inside, 0 for others, and all scores."""
    inside = _check_scores("in_scores", in_scores)
    outside = _check_scores("out_scores", out_scores)
    is_in = np.concatenate([np.ones(inside.size), np.zeros(outside.size)])
    return is_in.astype(np.int64), np.concatenate([inside, outside])


def _check_scores(name: str, scores: Any) -> np.ndarray:
    given = _numbers.to_numpy(scores, f"`{name}`")
    scores = given.astype(np.float64)
    largest = int(np.abs(scores).max(initial=0)) if _is_whole(given) else 0
    if largest >= 2**53:
        raise checks.refusal(
            f"`{name}` must be numbers that float64 holds",
            f"integers up to {largest}",
            "Subtract what all scores have in common",
        )
    if scores.ndim != 1 or not scores.size:
        raise checks.refusal(
            f"`{name}` must be one score for each example, at least one",
            f"{name} of shape {scores.shape}",
            "Give a one-dimensional array, e.g. of `ood.confidence`",
        )
    wrong = int(np.sum(~np.isfinite(scores)))
    if wrong:
        raise checks.refusal(
            f"`{name}` must be finite",
            f"{name} with {wrong} of {scores.size} scores NaN or infinite",
            "Look for a diverged model, or leave these examples out",
        )
    return scores


def _is_whole(numbers: np.ndarray) -> bool:
    return numbers.dtype.kind in "iu"


def _draw(
    kind: str, shape: Sequence[int], num_rows: int, seed: int, dtype: np.dtype
) -> np.ndarray:
    """Returns draws of mean 0 and deviation 1, `(num_rows, *shape)`."""
    checks.integer_at_least("num_rows", num_rows, 1, remedy="Draw some")
    seed = checks.integer_at_least("seed", seed, 0, remedy="Write 0")
    generator = np.random.default_rng(seed)
    size = (num_rows, *shape)
    # Float32 holds whole numbers of two bytes, and every shorter float.
    wide = dtype.itemsize > 4 or (dtype.kind in "iu" and dtype.itemsize > 2)
    working: Any = np.float64 if wide else np.float32
    if kind == "gaussian":
        return generator.standard_normal(size, dtype=working)
    # The variance of the uniform distribution on [-1, 1] is 1/3.
    unit = 2 * generator.random(size, dtype=working) - 1
    return unit * working(np.sqrt(3))


def _finish(
    standard: np.ndarray,
    mean: Any,
    std: Any,
    dtype: np.dtype,
    limits: tuple[Any, Any],
) -> np.ndarray:
    """Returns noise of a mean and a deviation, within limits, in `dtype`."""
    working = standard.dtype.type
    noise = standard * np.asarray(std, working) + np.asarray(mean, working)
    low, high = (working(limit) for limit in limits)
    if dtype.kind in "iub":
        noise = np.rint(noise)
        # The largest integers of 64 bits lie just below a float.
        if int(high) > int(limits[1]):
            high = np.nextafter(high, working(0))
    return np.clip(noise, low, high).astype(dtype)


def _check_moments(shape: Sequence[int], mean: Any, std: Any) -> None:
    """Refuses moments that are not those of examples of this shape."""
    for name, given, least in (("mean", mean, -np.inf), ("std", std, 0)):
        numbers = _numbers.to_numpy(given, f"`{name}`", dtype=np.float64)
        try:
            fits = np.broadcast_shapes(numbers.shape, shape) == tuple(shape)
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise checks.refusal(
                f"`{name}` must be a number, or an array that broadcasts to"
                " the shape of an example",
                f"{name} of shape {numbers.shape} with shape={shape}",
                "Write `shape=(32, 32, 3)` and one number for each channel",
            )
        if not np.all(np.isfinite(numbers) & (numbers >= least)):
            raise checks.refusal(
                f"`{name}` must be finite{', at least 0' if not least else ''}",
                f"{name}={given!r}",
                "Look for NaN in the inputs that it was taken from",
            )


def _limits(dtype: np.dtype) -> tuple[Any, Any]:
    """Returns the smallest and the largest number of a type."""
    if dtype.kind == "b":
        return np.False_, np.True_
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return dtype.type(info.min), dtype.type(info.max)
    largest = float(ml_dtypes.finfo(dtype).max)
    return -largest, largest


def _find_channels(channel_axis: int | str | None, rank: int) -> int | None:
    """Returns the axis of channels, or None where there is to be none."""
    if channel_axis is None:
        return None
    if channel_axis == "auto":
        first = keras.config.image_data_format() == "channels_first"
        return 1 if first and rank > 3 else -1
    if isinstance(channel_axis, str) or not -rank <= channel_axis < rank:
        raise checks.refusal(
            "`channel_axis` must be 'auto', None or an axis of the inputs",
            f"channel_axis={channel_axis!r} for inputs of {rank} axes",
            "Write -1 for the last axis, or 1 for channels first",
        )
    return int(channel_axis)


def _numeric_dtype(dtype: Any) -> np.dtype:
    """Returns a NumPy type of real numbers, also one such as bfloat16."""
    bfloat16 = np.dtype(ml_dtypes.bfloat16)
    # TensorFlow's types have a name, too.
    name = getattr(dtype, "name", dtype)
    try:
        found = bfloat16 if name == "bfloat16" else np.dtype(name)
    except TypeError:
        found = np.dtype(object)
    # Types such as bfloat16 are none of NumPy's own floats.
    if found.kind not in "biuf" and found != bfloat16:
        raise checks.refusal(
            "Noise is drawn for a float, integer or Boolean type",
            f"dtype={dtype}",
            "Give an array of numbers, or a set of examples of your own"
            " instead of noise",
        )
    return found


def _check_inputs(inputs: np.ndarray) -> np.dtype:
    """Returns the type of inputs that noise can be drawn like."""
    if inputs.ndim < 2 or not inputs.size:
        raise checks.refusal(
            "Noise is drawn like an array (N, ...) with some examples",
            f"inputs of shape {inputs.shape} and dtype {inputs.dtype}",
            "Give one array of inputs, or a set of examples of your own"
            " instead of noise",
        )
    return _numeric_dtype(inputs.dtype)
