"""Rules by which a run's alpha changes after each epoch, by name.

`docs/tuning.md` compares them. Each takes a `callbacks.Observation`, and
returns what is added to the logarithm of alpha.
"""

import math
from collections.abc import Callable

from tf_mixup import callbacks


def calibrate_late(seen: callbacks.Observation) -> float:
    """Keeps alpha for a third of the epochs, then follows the gap faster."""
    if seen.progress < 1 / 3 or abs(seen.gap) <= seen.standard_error:
        return 0.0
    return _clip(10 * seen.gap, math.log(2))


def aim_ahead(seen: callbacks.Observation) -> float:
    """Aims at a gap that falls with the learning rate, with a growing gain.

    While the rate is high accuracy is lower than it will be in the end.
    """
    missed = seen.gap - 0.15 * seen.learning_rate
    if seen.progress <= 0.1 or abs(missed) <= seen.standard_error:
        return 0.0
    return _clip((4 + 16 * seen.progress) * missed, 0.5)


def _clip(change: float, largest: float) -> float:
    return min(max(change, -largest), largest)


RULES: dict[str, Callable[[callbacks.Observation], float]] = {
    "calibrate_late": calibrate_late,
    "follow": callbacks.follow_gap,
    # Validated with averages of the weights, which are also the result.
    "follow_average": callbacks.follow_gap,
    "aim_ahead": aim_ahead,
}
# Those that are for the alphas of classes alone.
CLASS_RULES: dict[str, Callable[[callbacks.Observation], float]] = {
    "camixup": callbacks.switch_by_gap,
}
# What `--alpha=auto` stands for.
AUTO = {"alpha": 1.0, "tuning": "follow"}
