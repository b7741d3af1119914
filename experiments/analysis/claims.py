"""Claim: what a paper says, and the rule that decides it from paired seeds.

The rule was fixed before the runs that it judges. With `d` the difference
between an arm and its baseline, positive in the direction of the claim, and
its 95 % interval over seeds:

- holds: the interval excludes 0 and the mean `d` is at least the least effect
  that matters;
- does not hold: the interval lies below the least effect that matters;
- not decided here: anything else, or fewer than 2 common seeds.

A claim of the form "not worse" holds if the interval lies above minus the
least effect, and does not hold if it lies below it.

A trend, of numbers that fall from level to level, holds if Page's test says so
(p < .05) and the mean falls by at least the least effect from the first level
to the last; if it falls by less, it does not hold.
"""

import dataclasses
import enum
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.analysis import seed_statistics


class Verdict(enum.Enum):
    """What the runs say of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    OPEN = "not decided here"


class Direction(enum.Enum):
    """What a claim says of an arm against its baseline."""

    LOWER = "lower than"
    HIGHER = "higher than"
    NOT_LOWER = "not lower than"
    FALLS = "falls along"


@dataclasses.dataclass(frozen=True)
class Arm:
    """Runs that differ in nothing but the seed, found by their fields.

    Attributes:
        name: For readers.
        fields: Field of `Config` -> value that a run must have, or the
            frozenset of those that it may have.
        after: What was done to its outputs: `""` for nothing, or a name of
            `afterwards.METHODS`.
        chosen_by: Where `fields` leaves several rows, the result on the
            validation set that chooses: the lowest mean, of an accuracy the
            highest. Empty if there is one row.
    """

    name: str
    fields: Mapping[str, Any]
    after: str = ""
    chosen_by: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of a paper that numbers can decide.

    Attributes:
        says: The claim, in words.
        source: Where the paper says it.
        table: Name of the table whose runs decide it.
        result: Name of the number, e.g. `"test_ece"`; `"*_confidence"` is
            one claim for each set.
        arm: Who it speaks of.
        direction: How it differs from the baseline.
        baseline: Whom with; None compares with 0.
        least: Least effect that matters, in the unit of the number.
        printed: The paper's or its replication's numbers, for comparison.
        settings: Field -> values; the settings that it speaks of; all if
            empty.
    """

    says: str
    source: str
    table: str
    result: str
    arm: Arm
    direction: Direction
    baseline: Arm | None
    least: float
    printed: str = ""
    settings: Mapping[str, tuple[Any, ...]] = dataclasses.field(
        default_factory=dict
    )


def decide(
    values: np.ndarray,
    baseline: np.ndarray,
    direction: Direction,
    least: float,
) -> tuple[Verdict, seed_statistics.Difference]:
    """Decides a claim from paired seeds, by the rule of this module.

    Args:
        values: `(S,)`, the arm's number for each seed.
        baseline: `(S,)`, of the same seeds.
        direction: What is claimed; not `FALLS`.
        least: Least effect that matters, at least 0.

    Returns:
        verdict: What the seeds say.
        difference: Of the arm minus the baseline, with its interval.
    """
    difference = seed_statistics.paired_difference(values, baseline)
    if math.isnan(difference.low):
        return Verdict.OPEN, difference
    low, high, mean = difference.low, difference.high, difference.mean
    if direction is Direction.LOWER:
        low, high, mean = -high, -low, -mean
    if direction is Direction.NOT_LOWER:
        holds, fails = low > -least, high < -least
    else:
        holds, fails = low > 0 and mean >= least, high < least
    if holds:
        return Verdict.HOLDS, difference
    return (Verdict.FAILS if fails else Verdict.OPEN), difference


def decide_trend(
    values: np.ndarray, least: float, *, level: float = 0.05
) -> tuple[Verdict, seed_statistics.Trend | None]:
    """Decides whether numbers fall from column to column.

    Args:
        values: `(S, L)`, a row for each seed, columns in order.
        least: Least fall from the first to the last mean that matters.
        level: Of Page's test.

    Returns:
        verdict: Holds if the test says so and the fall is large enough; does
            not hold if the means do not fall by as much from first to last.
        trend: Page's test; None of fewer than 2 seeds or 3 columns.
    """
    trend = seed_statistics.falling_trend(values)
    if trend is None:
        return Verdict.OPEN, None
    fall = float(np.mean(values[:, 0] - values[:, -1]))
    if fall < least:
        return Verdict.FAILS, trend
    return (Verdict.HOLDS if trend.p_value < level else Verdict.OPEN), trend
