"""Noise with the shape and type of real inputs."""

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
    _check_inputs(inputs)
    mean, std = _find_moments(inputs, _find_channels(channel_axis, inputs.ndim))
    count = inputs.shape[0] if num_examples is None else num_examples
    standard = _draw(kind, (count, *inputs.shape[1:]), seed, inputs.dtype)
    working = standard.dtype.type
    noise = standard * np.asarray(std, working) + np.asarray(mean, working)
    if inputs.dtype.kind not in "iub":
        largest = working(float(ml_dtypes.finfo(inputs.dtype).max))
        return noise.clip(-largest, largest).astype(inputs.dtype)
    low, high = working(inputs.min()), working(inputs.max())
    # The largest integers of 64 bits lie just below a float.
    if int(high) > int(inputs.max()):
        high = np.nextafter(high, working(0))
    return np.rint(noise).clip(low, high).astype(inputs.dtype)


def _find_moments(
    inputs: np.ndarray, channel_axis: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and deviation, broadcastable to the shape of an example."""
    axes = tuple(range(inputs.ndim))
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
    return mean, std


def _draw(
    kind: str, size: tuple[int, ...], seed: int, dtype: np.dtype
) -> np.ndarray:
    """Returns draws of mean 0 and deviation 1, float32 or float64."""
    _checks.integer_at_least(
        "num_examples", size[0], 1, remedy="Write 1 or more"
    )
    seed = _checks.integer_at_least("seed", seed, 0, remedy="Write 0")
    generator = np.random.default_rng(seed)
    # Float32 holds whole numbers of two bytes, and every shorter float.
    wide = dtype.itemsize > 4 or (dtype.kind in "iu" and dtype.itemsize > 2)
    return _STANDARD[kind](generator, size, np.float64 if wide else np.float32)


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


def _check_inputs(inputs: np.ndarray) -> None:
    """Refuses inputs that noise cannot match."""
    if inputs.ndim < 2 or not inputs.size:
        raise _checks.refusal(
            "Noise is drawn like an array (N, ...) with some examples",
            f"inputs of shape {inputs.shape} and dtype {inputs.dtype}",
            "Give one array of inputs, or a set of examples of your own"
            " instead of noise",
        )
    # Types such as bfloat16 are none of NumPy's own floats.
    if inputs.dtype.kind not in "biuf" and inputs.dtype != ml_dtypes.bfloat16:
        raise _checks.refusal(
            "Noise is drawn for a float, integer or Boolean type",
            f"dtype={inputs.dtype}",
            "Give an array of numbers, or a set of examples of your own"
            " instead of noise",
        )
