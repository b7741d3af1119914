"""Argument checks with one shape of message.

Every refusal is three sentences: the rule, what was received, the remedy.
"""

import math
from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

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
    name: str, value: float, minimum: float, *, remedy: str
) -> float:
    """Returns `value` as a float if it is finite and at least `minimum`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= minimum):
        raise refusal(
            f"`{name}` must be a finite number, at least {minimum:g}",
            f"{name}={value!r}",
            remedy,
        )
    return number


def real_between(
    name: str, value: float, low: float, high: float, *, remedy: str
) -> float:
    """Returns `value` as a float if it lies in `[low, high]`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high:
        raise refusal(
            f"`{name}` must be a number in [{low:g}, {high:g}]",
            f"{name}={value!r}",
            remedy,
        )
    return number


def integer_at_least(
    name: str, value: int, minimum: int, *, remedy: str
) -> int:
    """Returns `value` as an int if it is whole and at least `minimum`."""
    whole = not isinstance(value, bool) and hasattr(value, "__index__")
    if not (whole and int(value) >= minimum):
        raise refusal(
            f"`{name}` must be an integer, at least {minimum}",
            f"{name}={value!r}",
            remedy,
        )
    return int(value)


def statistics(mean: Any, std: Any) -> tuple[ChannelNumbers, ChannelNumbers]:
    """Returns what is subtracted and what divides, as floats that JSON takes.

    Args:
        mean: A number, or a sequence or array of one for each channel; None
            for 0.
        std: Likewise, above 0; None for 1.
    """
    return (
        _channel_numbers("mean", 0.0 if mean is None else mean, -math.inf),
        _channel_numbers("std", 1.0 if std is None else std, 0),
    )


def _channel_numbers(name: str, values: Any, above: float) -> ChannelNumbers:
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        numbers = np.array(math.nan)
    valid = np.isfinite(numbers) & (numbers > above)
    if numbers.ndim > 1 or not numbers.size or not valid.all():
        limit = "" if above == -math.inf else f" above {above:g}"
        raise refusal(
            f"`{name}` must be a finite number{limit}, or one for each channel",
            f"{name}={values!r}",
            "Leave it out to change nothing",
        )
    return tuple(numbers.tolist()) if numbers.ndim else float(numbers)


def fits_channels(
    mean: ChannelNumbers, std: ChannelNumbers, shape: Sequence[int | None]
) -> None:
    """Refuses statistics of other channels: broadcasting would add some.

    Args:
        mean: As `statistics` returns it.
        std: Likewise.
        shape: Of a batch; its last axis has the channels.
    """
    channels = shape[-1] if len(shape) > 1 else 1
    for name, numbers in (("mean", mean), ("std", std)):
        count = 1 if isinstance(numbers, float) else len(numbers)
        if count > 1 and channels not in (None, count):
            raise refusal(
                f"`{name}` must be one number, or one for each channel",
                f"{count} numbers for a batch of shape {tuple(shape)}",
                "Give those of this data set, in the order of the last axis",
            )


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
