"""Statistics of channels: what inputs are standardized by, and along what."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tf_mixup import _checks

# One number, or one for each channel.
Numbers = float | tuple[float, ...]


def statistics(mean: Any, std: Any) -> tuple[Numbers, Numbers]:
    """Returns what is subtracted and what divides, as floats for JSON.

    Args:
        mean: A number, or a sequence or array of one for each channel; None
            for 0.
        std: The same, above 0; None for 1.
    """
    return (
        _read("mean", 0.0 if mean is None else mean, -math.inf),
        _read("std", 1.0 if std is None else std, 0),
    )


def _read(name: str, values: Any, above: float) -> Numbers:
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
        raise _checks.refusal(
            f"`{name}` must be a finite number{limit}, or one for each channel",
            f"{name}={values!r}",
            "Leave it out to change nothing",
        )
    held = _checks.survives(numbers, "float32")
    if above == 0:
        with np.errstate(over="ignore"):
            held = held & _checks.survives(1 / numbers, "float32")
    if not held.all():
        raise _checks.refusal(
            f"`{name}` must be a number that float32 can hold, or one for"
            " each channel",
            f"{name}={values!r}",
            "Change the unit of the inputs",
        )
    return tuple(numbers.tolist()) if numbers.ndim else float(numbers)


def find_axis(rank: int) -> int:
    """Returns the axis of a batch that has the channels; 0 for single numbers.

    It is the last; the second where `keras.config.image_data_format()` is
    `"channels_first"` and examples have more than one axis.
    """
    first = keras.config.image_data_format() == "channels_first"
    return 1 if first and rank > 2 else rank - 1


def along(numbers: Numbers, rank: int) -> np.ndarray:
    """Returns statistics as float64 that broadcasts along the channels."""
    array = np.asarray(numbers, np.float64)
    if not array.ndim:
        return array
    return array.reshape(-1, *[1] * (rank - 1 - find_axis(rank)))


def check_fit(mean: Numbers, std: Numbers, shape: Sequence[int | None]) -> None:
    """Refuses statistics of other channels, which broadcasting would add.

    Args:
        mean: As `statistics` returns it.
        std: The same.
        shape: Of a batch.
    """
    rank = len(shape)
    channels = shape[find_axis(rank)] if rank > 1 else 1
    for name, numbers in (("mean", mean), ("std", std)):
        count = 1 if isinstance(numbers, float) else len(numbers)
        if count > 1 and channels not in (None, count):
            raise _checks.refusal(
                f"`{name}` must be one number, or one for each channel",
                f"{count} numbers for a batch of shape {tuple(shape)} with"
                f" channels on axis {find_axis(rank)}",
                "Give those of this data set, in the order of that axis, and"
                " check `keras.config.image_data_format()`",
            )
