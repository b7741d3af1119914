"""Argument checks with one shape of message.

Every refusal is three sentences: the rule, what was received, the remedy.
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
    """Composes the library's error: rule, `Received: ...`, remedy.

    Args:
        rule: What must hold, a sentence without its full stop.
        received: The offending argument, written `name=value`.
        remedy: What to write instead, a sentence without its full stop.

    Returns:
        error: The `ValueError` to raise.
    """
    return ValueError(f"{rule}. Received: {received}. {remedy}.")


def real_at_least(
    name: str,
    value: float,
    minimum: float,
    *,
    remedy: str,
    dtype: str = "float32",
) -> float:
    """Returns `value` as a float if it is finite and at least `minimum`.

    Args:
        name: Name of the argument.
        value: What was given.
        minimum: Smallest value allowed.
        remedy: What to write instead, a sentence without its full stop.
        dtype: Type that the number is used in, and must not be lost in.

    Returns:
        number: `value` as a float.

    Raises:
        ValueError: If it is too small, not finite or no number, or `dtype`
            would make it 0 or infinite.
    """
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
    """Returns `value` as a float if it lies in `[low, high]`.

    Args:
        name: Name of the argument.
        value: What was given.
        low: Smallest value allowed.
        high: Largest value allowed.
        remedy: What to write instead, a sentence without its full stop.
        dtype: Type that the number is used in, and must not be lost in.

    Returns:
        number: `value` as a float.

    Raises:
        ValueError: If it is out of range or no number, or `dtype` would make
            it 0 or infinite.
    """
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
    """Returns `value` as an int if it is whole and at least `minimum`.

    Args:
        name: Name of the argument.
        value: What was given.
        minimum: Smallest value allowed.
        remedy: What to write instead, a sentence without its full stop.
        dtype: Integer type that the number is used in, and must fit into.

    Returns:
        number: `value` as an int.

    Raises:
        ValueError: If it is too small, no integer, or too large for `dtype`.
    """
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
    """Returns what is subtracted and what divides, as floats that JSON takes.

    Args:
        mean: A number, or a sequence or array of one for each channel; None
            for 0.
        std: The same, above 0; None for 1.

    Returns:
        mean: A float, or a tuple of floats.
        std: The same.

    Raises:
        ValueError: If a number is not finite, `std` is not above 0, or
            float32 cannot hold a number of `mean`, one of `std` or its
            reciprocal.
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
    """Returns the axis of a batch that has the channels.

    It is the last; the second where `keras.config.image_data_format()` is
    `"channels_first"` and examples have more than one axis.

    Args:
        rank: Axes of the batch, at least 1.

    Returns:
        axis: In `[0, rank - 1]`; 0 for examples that are single numbers.
    """
    first = keras.config.image_data_format() == "channels_first"
    return 1 if first and rank > 2 else rank - 1


def along_channels(numbers: ChannelNumbers, rank: int) -> np.ndarray:
    """Returns statistics in a shape that goes with a batch of some rank.

    Args:
        numbers: As `statistics` returns them.
        rank: Axes of the batch.

    Returns:
        array: float64, to broadcast along the axis of the channels.
    """
    array = np.asarray(numbers, np.float64)
    if not array.ndim:
        return array
    return array.reshape(-1, *[1] * (rank - 1 - channel_axis(rank)))


def fits_channels(
    mean: ChannelNumbers, std: ChannelNumbers, shape: Sequence[int | None]
) -> None:
    """Refuses statistics of other channels: broadcasting would add some.

    Args:
        mean: As `statistics` returns it.
        std: The same.
        shape: Of a batch; its axis `channel_axis(len(shape))` has the
            channels.

    Raises:
        ValueError: If there are more or fewer numbers than channels.
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
    """Returns `value` if it is True or False.

    Args:
        name: Name of the argument.
        value: What was given.

    Raises:
        ValueError: If it is something else, such as the word "no".
    """
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
