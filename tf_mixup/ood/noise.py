"""Noise with the shape and type of real inputs."""

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from tf_mixup import _checks
from tf_mixup._checks import channels
from tf_mixup._checks import numbers as numbers_lib


def _standard_gaussian(
    generator: np.random.Generator, size: tuple[int, ...], dtype: Any
) -> np.ndarray:
    return generator.standard_normal(size, dtype=dtype)


def _standard_uniform(
    generator: np.random.Generator, size: tuple[int, ...], dtype: Any
) -> np.ndarray:
    # The variance of the uniform distribution on [-1, 1] is 1/3.
    unit = 2 * generator.random(size, dtype=dtype) - 1
    return unit * dtype(np.sqrt(3))


# What draws numbers of mean 0 and deviation 1, float32 or float64.
_STANDARD = {"gaussian": _standard_gaussian, "uniform": _standard_uniform}
NOISES = tuple(_STANDARD)


def gaussian_noise(
    shape: Sequence[int],
    mean: Any,
    std: Any,
    *,
    num_examples: int,
    seed: int,
    dtype: Any = "float32",
) -> np.ndarray:
    """Draws examples of independent Gaussian noise.

    Args:
        shape: Shape of one example, e.g. `(32, 32, 3)`.
        mean: Mean, a number or an array that broadcasts to `shape`.
        std: Standard deviation, of the same form.
        num_examples: Number of examples to draw, N.
        seed: Integer that fixes the draw.
        dtype: A float, integer or Boolean type. Values are clipped to its
            range, and rounded for an integer, which lowers the variance where
            the mean is within two deviations of an end.

    Returns:
        noise: Array of shape `(N, *shape)`.

    Raises:
        ValueError: If `num_examples` is below 1, or `dtype` has no numbers.

    Example:
        >>> gaussian_noise((4, 4), 0.5, 0.1, num_examples=2, seed=0).shape
        (2, 4, 4)
    """
    options = {"num_examples": num_examples, "seed": seed, "dtype": dtype}
    return _noise("gaussian", shape, mean, std, **options)


def uniform_noise(
    shape: Sequence[int],
    mean: Any,
    std: Any,
    *,
    num_examples: int,
    seed: int,
    dtype: Any = "float32",
) -> np.ndarray:
    """Draws uniform noise, independent within `mean ± sqrt(3) * std`.

    Args:
        shape: As in `gaussian_noise`, as all other arguments.
        mean: Mean.
        std: Standard deviation.
        num_examples: Number of examples to draw, N.
        seed: Integer that fixes the draw.
        dtype: A float, integer or Boolean type.

    Returns:
        noise: Array of shape `(N, *shape)`.

    Raises:
        ValueError: As `gaussian_noise`.
    """
    options = {"num_examples": num_examples, "seed": seed, "dtype": dtype}
    return _noise("uniform", shape, mean, std, **options)


def noise_like(
    inputs: np.ndarray,
    *,
    kind: str = "gaussian",
    num_examples: int | None = None,
    seed: int = 0,
    channel_axis: int | str | None = "auto",
) -> np.ndarray:
    """Draws noise with the shape, mean and variance of given inputs.

    Training inputs are the usual choice. A network that is confident on such
    noise is confident without evidence. Noise of an integer type keeps to the
    values that `inputs` span, so that one-hot inputs give zeros and ones, and
    class or token ids give ids that exist.

    Args:
        inputs: Array `(N, ...)`, of a float, integer or Boolean type.
        kind: `"gaussian"` or `"uniform"`. Defaults to `"gaussian"`.
        num_examples: Examples to draw. Defaults to N.
        seed: Integer that fixes the draw.
        channel_axis: The axis along which mean and variance are separate, or
            None for one mean and one variance. Defaults to `"auto"`: the last
            axis, but the second of `(N, C, ...)` with three axes or more where
            `keras.config.image_data_format()` is `"channels_first"`.

    Returns:
        noise: Array of shape `(num_examples, ...)` and the dtype of `inputs`.

    Raises:
        ValueError: If `kind` or `channel_axis` is unknown, or `inputs` has no
            examples, no numbers or values that are not finite.

    Example:
        >>> noise_like(np.ones((3, 8, 8, 1), "uint8"), num_examples=2).shape
        (2, 8, 8, 1)

    References:
        Thulasidasan et al. On Mixup Training: Improved Calibration and
        Predictive Uncertainty for Deep Neural Networks. NeurIPS 2019.
        https://arxiv.org/abs/1905.11001
    """
    _checks.one_of("kind", kind, NOISES)
    numbers_lib.check_dense(inputs, "Inputs")
    inputs = np.asarray(inputs)
    dtype = _check_inputs(inputs)
    axes = tuple(range(inputs.ndim))
    channel_axis = _find_channels(channel_axis, inputs.ndim)
    if channel_axis is not None:
        axes = tuple(a for a in axes if a != channel_axis % inputs.ndim)
    # Squares of float64 may overflow.
    unit = np.abs(inputs).max() if inputs.dtype == np.float64 else 1.0
    unit = unit if np.isfinite(unit) and unit else 1.0
    scaled = inputs if unit == 1.0 else inputs / unit
    mean = unit * scaled.mean(axis=axes, keepdims=True, dtype=np.float64)[0]
    std = unit * scaled.std(axis=axes, keepdims=True, dtype=np.float64)[0]
    if not np.all(np.isfinite(std)):
        raise _checks.refusal(
            "Noise is drawn like inputs that are finite",
            f"inputs with mean {np.ravel(mean).tolist()}",
            "Drop or repair examples with NaN or infinite values",
        )
    whole = dtype.kind in "iub"
    limits = (inputs.min(), inputs.max()) if whole else _limits(dtype)
    count = inputs.shape[0] if num_examples is None else num_examples
    standard = _draw(kind, inputs.shape[1:], count, seed, dtype)
    return _finish(standard, mean, std, dtype, limits)


def _noise(
    kind: str,
    shape: Sequence[int],
    mean: Any,
    std: Any,
    *,
    num_examples: int,
    seed: int,
    dtype: Any,
) -> np.ndarray:
    dtype = _numeric_dtype(dtype)
    _check_moments(shape, mean, std)
    standard = _draw(kind, shape, num_examples, seed, dtype)
    return _finish(standard, mean, std, dtype, _limits(dtype))


def _draw(
    kind: str,
    shape: Sequence[int],
    num_examples: int,
    seed: int,
    dtype: np.dtype,
) -> np.ndarray:
    """Returns draws of mean 0 and deviation 1, `(num_examples, *shape)`."""
    _checks.integer_at_least(
        "num_examples", num_examples, 1, remedy="Draw some"
    )
    seed = _checks.integer_at_least("seed", seed, 0, remedy="Write 0")
    generator = np.random.default_rng(seed)
    size = (num_examples, *shape)
    # Float32 holds whole numbers of two bytes, and every shorter float.
    wide = dtype.itemsize > 4 or (dtype.kind in "iu" and dtype.itemsize > 2)
    return _STANDARD[kind](generator, size, np.float64 if wide else np.float32)


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
    """Refuses moments that do not fit examples of this shape."""
    for name, given, least in (("mean", mean, -np.inf), ("std", std, 0)):
        numbers = numbers_lib.to_numpy(given, f"`{name}`", dtype=np.float64)
        try:
            fits = np.broadcast_shapes(numbers.shape, shape) == tuple(shape)
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise _checks.refusal(
                f"`{name}` must be a number, or an array that broadcasts to"
                " the shape of an example",
                f"{name} of shape {numbers.shape} with shape={shape}",
                "Write `shape=(32, 32, 3)` and one number for each channel",
            )
        if not np.all(np.isfinite(numbers) & (numbers >= least)):
            raise _checks.refusal(
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
    """Returns the axis of channels, or None."""
    if channel_axis is None:
        return None
    if channel_axis == "auto":
        return channels.find_axis(rank)
    if isinstance(channel_axis, str) or not -rank <= channel_axis < rank:
        raise _checks.refusal(
            "`channel_axis` must be 'auto', None or an axis of the inputs",
            f"channel_axis={channel_axis!r} for inputs of {rank} axes",
            "Write -1 for the last axis, or 1 for channels first",
        )
    return int(channel_axis)


def _numeric_dtype(dtype: Any) -> np.dtype:
    """Returns a NumPy type of real numbers, such as bfloat16."""
    bfloat16 = np.dtype(ml_dtypes.bfloat16)
    # TensorFlow's types have a name, too.
    name = getattr(dtype, "name", dtype)
    try:
        found = bfloat16 if name == "bfloat16" else np.dtype(name)
    except TypeError:
        found = np.dtype(object)
    # Types such as bfloat16 are none of NumPy's own floats.
    if found.kind not in "biuf" and found != bfloat16:
        raise _checks.refusal(
            "Noise is drawn for a float, integer or Boolean type",
            f"dtype={dtype}",
            "Give an array of numbers, or a set of examples of your own"
            " instead of noise",
        )
    return found


def _check_inputs(inputs: np.ndarray) -> np.dtype:
    """Returns the type of inputs; refuses those that noise cannot match."""
    if inputs.ndim < 2 or not inputs.size:
        raise _checks.refusal(
            "Noise is drawn like an array (N, ...) with some examples",
            f"inputs of shape {inputs.shape} and dtype {inputs.dtype}",
            "Give one array of inputs, or a set of examples of your own"
            " instead of noise",
        )
    return _numeric_dtype(inputs.dtype)
