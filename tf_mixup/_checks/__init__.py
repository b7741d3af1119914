"""Argument checks with one form of message: rule, what was received, remedy.

`remedy` is what to write instead, a sentence without its full stop. A checked
number must survive in `dtype`, the type that it is used in: not become 0 or
infinite.
"""

import math
from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

# One number, or one for each channel.
ChannelNumbers = float | tuple[float, ...]


def refusal(rule: str, received: str, remedy: str) -> ValueError:
    """Returns the `ValueError` to raise; all parts come without full stops."""
    return ValueError(f"{rule}. Received: {received}. {remedy}.")


def real_at_least(
    name: str,
    value: float,
    minimum: float,
    *,
    remedy: str,
    dtype: str = "float32",
) -> float:
    """Returns `value` as a float if it is finite and at least `minimum`."""
    number = _real(value)
    if not (math.isfinite(number) and number >= minimum):
        raise refusal(
            f"`{name}` must be a finite number, at least {minimum:g}",
            f"{name}={value!r}",
            remedy,
        )
    _fits_dtype(name, number, dtype, remedy)
    return number


def real_between(
    name: str,
    value: float,
    low: float,
    high: float,
    *,
    remedy: str,
    dtype: str = "float32",
) -> float:
    """Returns `value` as a float if it lies in `[low, high]`."""
    number = _real(value)
    if not low <= number <= high:
        raise refusal(
            f"`{name}` must be a number in [{low:g}, {high:g}]",
            f"{name}={value!r}",
            remedy,
        )
    _fits_dtype(name, number, dtype, remedy)
    return number


def _real(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _survives(numbers: Any, dtype: str) -> Any:
    """Returns which numbers a type can hold.

    TensorFlow takes what is smaller than the smallest normal number for 0.
    """
    numbers = np.asarray(numbers, np.float64)
    limits = np.finfo(dtype)
    size = np.abs(numbers)
    fits = (size >= float(limits.tiny)) & (size <= float(limits.max))
    return fits | (numbers == 0)


def _fits_dtype(name: str, number: float, dtype: str, remedy: str) -> None:
    if not _survives(number, dtype):
        limits = np.finfo(dtype)
        raise refusal(
            f"`{name}` must be 0 or a number that {dtype} can hold, from"
            f" {limits.tiny:.3g} to {limits.max:.3g} in size",
            f"{name}={number!r}",
            remedy,
        )


def integer_at_least(
    name: str, value: int, minimum: int, *, remedy: str, dtype: str = "int64"
) -> int:
    """Returns `value` as an int if it is a whole number, at least `minimum`."""
    whole = not isinstance(value, bool) and hasattr(value, "__index__")
    if not (whole and int(value) >= minimum):
        raise refusal(
            f"`{name}` must be an integer, at least {minimum}",
            f"{name}={value!r}",
            remedy,
        )
    if int(value) > np.iinfo(dtype).max:
        raise refusal(
            f"`{name}` must be an integer that {dtype} can hold, at most"
            f" {np.iinfo(dtype).max}",
            f"{name}={value!r}",
            remedy,
        )
    return int(value)


def statistics(mean: Any, std: Any) -> tuple[ChannelNumbers, ChannelNumbers]:
    """Returns what is subtracted and what divides, as floats for JSON.

    Args:
        mean: A number, or a sequence or array of one for each channel; None
            for 0.
        std: The same, above 0; None for 1.
    """
    return (
        _channel_numbers("mean", 0.0 if mean is None else mean, -math.inf),
        _channel_numbers("std", 1.0 if std is None else std, 0),
    )


def _channel_numbers(name: str, values: Any, above: float) -> ChannelNumbers:
    try:
        given = np.asarray(values)
        numbers = given.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        given = numbers = np.array(math.nan)
    # Text, dates and masked entries would be converted, too.
    if given.dtype.kind in "USMmc" or np.ma.is_masked(values):
        numbers = np.array(math.nan)
    valid = np.isfinite(numbers) & (numbers > above)
    if numbers.ndim > 1 or not numbers.size or not valid.all():
        limit = "" if above == -math.inf else f" above {above:g}"
        raise refusal(
            f"`{name}` must be a finite number{limit}, or one for each channel",
            f"{name}={values!r}",
            "Leave it out to change nothing",
        )
    held = _survives(numbers, "float32")
    if above == 0:
        with np.errstate(over="ignore"):
            held = held & _survives(1 / numbers, "float32")
    if not held.all():
        raise refusal(
            f"`{name}` must be a number that float32 can hold, or one for"
            " each channel",
            f"{name}={values!r}",
            "Change the unit of the inputs",
        )
    return tuple(numbers.tolist()) if numbers.ndim else float(numbers)


def channel_axis(rank: int) -> int:
    """Returns the axis of a batch that has the channels; 0 for single numbers.

    It is the last; the second where `keras.config.image_data_format()` is
    `"channels_first"` and examples have more than one axis.
    """
    first = keras.config.image_data_format() == "channels_first"
    return 1 if first and rank > 2 else rank - 1


def along_channels(numbers: ChannelNumbers, rank: int) -> np.ndarray:
    """Returns statistics as float64 that broadcasts along the channels."""
    array = np.asarray(numbers, np.float64)
    if not array.ndim:
        return array
    return array.reshape(-1, *[1] * (rank - 1 - channel_axis(rank)))


def fits_channels(
    mean: ChannelNumbers, std: ChannelNumbers, shape: Sequence[int | None]
) -> None:
    """Refuses statistics of other channels, which broadcasting would add.

    Args:
        mean: As `statistics` returns it.
        std: The same.
        shape: Of a batch.
    """
    rank = len(shape)
    channels = shape[channel_axis(rank)] if rank > 1 else 1
    for name, numbers in (("mean", mean), ("std", std)):
        count = 1 if isinstance(numbers, float) else len(numbers)
        if count > 1 and channels not in (None, count):
            raise refusal(
                f"`{name}` must be one number, or one for each channel",
                f"{count} numbers for a batch of shape {tuple(shape)} with"
                f" channels on axis {channel_axis(rank)}",
                "Give those of this data set, in the order of that axis, and"
                " check `keras.config.image_data_format()`",
            )


def boolean(name: str, value: bool) -> bool:
    """Returns `value` if it is True or False, not a word such as "no"."""
    if not isinstance(value, (bool, np.bool_)):
        raise refusal(
            f"`{name}` must be True or False",
            f"{name}={value!r}",
            "Leave it out for the default",
        )
    return bool(value)


def one_of(name: str, value: str, choices: Collection[str]) -> str:
    """Returns `value` if it is one of the named `choices`."""
    if value not in choices:
        names = ", ".join(repr(choice) for choice in choices)
        raise refusal(
            f"`{name}` must be one of {names}",
            f"{name}={value!r}",
            "Choose one of these names",
        )
    return value
