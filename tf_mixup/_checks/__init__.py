"""Argument checks with one form of message: rule, what was received, remedy.

`remedy` is what to write instead, a sentence without its full stop. A checked
number must survive in `dtype`, the type that it is used in: not become 0 or
infinite.
"""

import math
from collections.abc import Collection
from typing import Any

import numpy as np


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
        # Text, too, would be a number.
        return math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def survives(numbers: Any, dtype: str) -> Any:
    """Returns which numbers a type can hold.

    TensorFlow takes what is smaller than the smallest normal number for 0.
    """
    numbers = np.asarray(numbers, np.float64)
    limits = np.finfo(dtype)
    size = np.abs(numbers)
    fits = (size >= float(limits.tiny)) & (size <= float(limits.max))
    return fits | (numbers == 0)


def _fits_dtype(name: str, number: float, dtype: str, remedy: str) -> None:
    if not survives(number, dtype):
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
