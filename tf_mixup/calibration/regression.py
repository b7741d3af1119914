"""Calibration of regression: predicted quantiles and intervals.

Shapes: B examples, Q quantiles. Shares are fractions in [0, 1]. An example
with a NaN makes the result NaN: nothing is left out silently.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_mixup import _checks
from tf_mixup._checks import numbers


def interval_coverage(targets: Any, lower: Any, upper: Any) -> float:
    """Returns the share of targets within their predicted intervals.

    For central intervals of a level of 90 % it should be 0.9. Of n examples it
    varies by `sqrt(level * (1 - level) / n)`. Both ends belong to an interval;
    one whose ends are swapped is empty.

    Args:
        targets: Numbers `(B,)` or `(B, 1)`.
        lower: Lower ends, in the same shapes and unit.
        upper: Upper ends.

    Returns:
        coverage: In [0, 1]; NaN without examples, or if a number is NaN.

    Raises:
        ValueError: If they are not one number for each example.

    Example:
        >>> interval_coverage([1.0, 2.0, 5.0, 0.0], [0] * 4, [2, 2, 3, 1])
        0.75
    """
    columns = {"targets": targets, "lower": lower, "upper": upper}
    y, low, high = read_columns(columns)
    if not y.size or np.isnan([y, low, high]).any():
        return math.nan
    return float(np.mean((low <= y) & (y <= high)))


def quantile_calibration_error(
    targets: Any,
    quantiles: Any,
    levels: Sequence[float],
    *,
    squared: bool = False,
) -> float:
    """Returns how far predicted quantiles are from their levels, on average.

    With f_q the share of targets that are at most the predicted quantile of
    level p_q it is

        1 / Q * sum over q of |f_q - p_q|,

    or of `(f_q - p_q)^2` if it is squared. The quantiles may come from a
    network with a pinball loss, from a predicted distribution, or be those of
    samples. As ECE it is biased upward by the chance of few examples, and 0 for
    a model that always predicts the quantiles of all targets: read it beside a
    proper score, such as the pinball loss.

    Args:
        targets: Numbers `(B,)` or `(B, 1)`.
        quantiles: Predicted quantiles `(B, Q)`, in the unit of the targets.
        levels: Level of each quantile, `(Q,)`, each in (0, 1).
        squared: Whether differences are squared, as in the paper.

    Returns:
        error: In [0, 1]; NaN without examples, or if a number is NaN.

    Raises:
        ValueError: If shapes do not fit, or a level is out of range.

    Example:
        >>> quantiles = [[-1.0, 0.0, 1.0]] * 4
        >>> targets = [-2.0, -0.5, 0.5, 0.7]
        >>> error = quantile_calibration_error(
        ...     targets, quantiles, [0.25, 0.5, 0.75])
        >>> round(error, 4)
        0.0833

    References:
        Kuleshov, Fenner and Ermon. Accurate Uncertainties for Deep Learning
        Using Calibrated Regression. ICML 2018, section 3.5, with equal weights.
        https://arxiv.org/abs/1807.00263
    """
    (y,) = read_columns({"targets": targets})
    table = numbers.to_numpy(quantiles, "`quantiles`", dtype="float64")
    given = numbers.to_numpy(levels, "`levels`", dtype="float64")
    if given.ndim != 1 or not np.all((given > 0) & (given < 1)):
        raise _checks.refusal(
            "`levels` must be numbers between 0 and 1, one for each quantile",
            f"levels={levels!r}",
            "Write e.g. [0.05, 0.5, 0.95]",
        )
    if table.shape != (y.size, given.size) or not given.size:
        raise _checks.refusal(
            "`quantiles` must have a row for each target and a column for each"
            " level",
            f"shape {table.shape} for {y.size} targets and {given.size} levels",
            "Give an array (B, Q)",
        )
    if not y.size or np.isnan(y).any() or np.isnan(table).any():
        return math.nan
    gaps = np.abs(np.mean(y[:, None] <= table, axis=0) - given)
    return float(np.mean(gaps**2 if squared else gaps))


def read_columns(columns: dict[str, Any]) -> list[np.ndarray]:
    """Returns numbers of as many examples, float64 `(B,)` each."""
    read = [
        numbers.to_numpy(each, f"`{name}`", dtype="float64")
        for name, each in columns.items()
    ]
    fit = all(each.ndim == 1 or each.shape[1:] == (1,) for each in read)
    if not fit or len({each.size for each in read}) != 1:
        shapes = ", ".join(str(each.shape) for each in read)
        raise _checks.refusal(
            f"{', '.join(f'`{name}`' for name in columns)} must be one number"
            " for each example",
            f"shapes {shapes}",
            "Give arrays (B,); measure the columns of several targets apart",
        )
    return [each.reshape(-1) for each in read]
