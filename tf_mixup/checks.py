"""Argument checks with one shape of message.

Every refusal is three sentences: the rule, what was received, the remedy.
"""

import math
from collections.abc import Collection


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
