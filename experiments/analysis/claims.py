"""Claims of the papers, and the rule that decides them from paired seeds.

The rule was fixed before the runs that it judges. Let `d` be the difference
between an arm and its baseline, positive in the direction of the claim, with
its 95 % interval over seeds. The claim

- holds: if the interval excludes 0 and the mean `d` is at least the least
  effect that matters;
- does not hold: if the interval lies below the least effect that matters;
- is not decided: otherwise, or with fewer than 2 common seeds.

A claim of the form "not worse" holds if the interval lies above minus the
least effect, and does not hold if it lies below it.

A trend of numbers that fall from level to level holds if Page's test finds it
(p < 0.05) and the mean falls by at least the least effect from the first level
to the last; if it falls by less, it does not hold. Shapes: S seeds, L levels.
"""

import dataclasses
import enum
import math
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.analysis import arms
from experiments.analysis import measures
from experiments.analysis import seed_statistics
from experiments.analysis.arms import NO_MIXUP
from experiments.analysis.arms import Arm
from experiments.analysis.records import Record


class Verdict(enum.Enum):
    """Outcome of the rule."""

    HOLDS = "holds"
    FAILS = "does not hold"
    OPEN = "not decided here"
    MISSING = "no runs"


class Direction(enum.Enum):
    """What a claim says of an arm compared with its baseline."""

    BETTER = "better than"
    LOWER = "lower than"
    HIGHER = "higher than"
    NOT_LOWER = "not lower than"
    NOT_HIGHER = "not higher than"
    FALLS = "falls along"


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence of a paper that numbers can decide.

    Attributes:
        says: The claim, in words.
        result: Name of a measure, e.g. `"test_ece"`.
        source: Where the paper says it.
        table: Name of the table whose runs decide it.
        arm: Arm that it is about.
        least: Least effect that matters, as the measure is stored.
        direction: How it differs from the baseline; `BETTER` is higher or
            lower, as `measures` has it.
        baseline: Arm to compare with; None compares with 0.
        printed: The paper's or its replication's numbers.
        settings: Field -> values: the settings that it is about; all if
            empty.
        explanation: Why it does not hold here, as far as it is known; or that
            by a part of the setting's description.
        changed: What was changed when its runs were known; empty if the claim
            is older than they are.
    """

    says: str
    result: str
    _: dataclasses.KW_ONLY
    source: str
    table: str
    arm: Arm
    least: float
    direction: Direction = Direction.BETTER
    baseline: Arm | None = NO_MIXUP
    printed: str = ""
    settings: Mapping[str, tuple[Any, ...]] = dataclasses.field(
        default_factory=dict
    )
    explanation: str | Mapping[str, str] = ""
    changed: str = ""

    def __post_init__(self) -> None:
        """Takes the direction from the measure unless it is given."""
        if self.direction is Direction.BETTER:
            better = measures.find(self.result).better
            direction = Direction.HIGHER if better > 0 else Direction.LOWER
            object.__setattr__(self, "direction", direction)

    @property
    def paper(self) -> str:
        """The paper's number on arXiv, or its authors."""
        return self.source.partition(",")[0]


@dataclasses.dataclass(frozen=True)
class Judgment:
    """What the runs of one setting say of a claim.

    Attributes:
        claim: The claim.
        setting: In words.
        numbers: Of the arms, means ± deviations.
        difference: With its interval, or the test of a trend.
        verdict: By the rule.
        effect: Mean difference, positive in the direction of the claim.
    """

    claim: Claim
    setting: str = "-"
    numbers: str = "-"
    difference: str = "-"
    verdict: Verdict = Verdict.MISSING
    effect: float = 0.0

    @property
    def explanation(self) -> str:
        """Why the claim does not hold; empty unless it does not."""
        if self.verdict is not Verdict.FAILS:
            return ""
        known = self.claim.explanation
        if not isinstance(known, str):
            found = (known[part] for part in known if part in self.setting)
            known = next(found, "")
        if known:
            return known
        if self.effect > 0:
            return "in the claimed direction, but below the least effect"
        if self.effect > -self.claim.least:
            return "no difference as large as the least effect"
        return "not explained yet"


def decide(
    values: np.ndarray,
    baseline: np.ndarray,
    direction: Direction,
    least: float,
) -> tuple[Verdict, seed_statistics.Difference]:
    """Decides a claim, not a trend, from paired seeds, each `(S,)`."""
    difference = seed_statistics.paired_difference(values, baseline)
    if math.isnan(difference.low):
        return Verdict.OPEN, difference
    low, high, mean = difference.low, difference.high, difference.mean
    if direction in (Direction.LOWER, Direction.NOT_HIGHER):
        low, high, mean = -high, -low, -mean
    if direction in (Direction.NOT_LOWER, Direction.NOT_HIGHER):
        holds, fails = low > -least, high < -least
    else:
        holds, fails = low > 0 and mean >= least, high < least
    if holds:
        return Verdict.HOLDS, difference
    return (Verdict.FAILS if fails else Verdict.OPEN), difference


def decide_trend(
    values: np.ndarray, least: float, *, level: float = 0.05
) -> tuple[Verdict, seed_statistics.Trend | None]:
    """Decides whether numbers `(S, L)` fall from level to level."""
    trend = seed_statistics.falling_trend(values)
    if trend is None:
        return Verdict.OPEN, None
    fall = float(np.mean(values[:, 0] - values[:, -1]))
    if fall < least:
        return Verdict.FAILS, trend
    return (Verdict.HOLDS if trend.p_value < level else Verdict.OPEN), trend


def judge(claim: Claim, records: Sequence[Record]) -> Iterator[Judgment]:
    """Yields a judgment for each setting of a table, or one without runs."""
    found = False
    for setting, group in arms.by_setting(records).items():
        fields = dict(zip(arms.SETTING, setting, strict=True))
        if any(fields[k] not in v for k, v in claim.settings.items()):
            continue
        by_trend = claim.direction is Direction.FALLS
        decided = (_judge_trend if by_trend else _judge_pair)(claim, group)
        if decided is not None:
            found = True
            words = arms.describe_setting(setting)
            yield dataclasses.replace(decided, setting=words)
    if not found:
        yield Judgment(claim)


def _judge_pair(claim: Claim, records: Sequence[Record]) -> Judgment | None:
    """Decides a claim about two arms, or about one and 0."""
    chosen = [
        arms.select(records, arm)
        for arm in (claim.arm, claim.baseline)
        if arm is not None
    ]
    values = arms.values(chosen, claim.result)
    if not values.size or np.isnan(values).any():
        return None
    others = values[:, 1] if len(chosen) > 1 else np.zeros(len(values))
    verdict, difference = decide(
        values[:, 0], others, claim.direction, claim.least
    )
    measure = measures.find(claim.result)
    numbers = "; ".join(
        f"{arms.describe(next(iter(runs.values())))}"
        f" {measure.format_spread(column)}"
        for runs, column in zip(chosen, values.T, strict=True)
    )
    mean = measure.format(difference.mean, sign=True)
    interval = measure.format_interval(difference)
    lower = claim.direction in (Direction.LOWER, Direction.NOT_HIGHER)
    return Judgment(
        claim,
        numbers=numbers,
        difference=f"{mean}, {interval}"
        if difference.num_seeds < 2
        else f"{mean} ({interval}), {difference.num_seeds} seeds",
        verdict=verdict,
        effect=-difference.mean if lower else difference.mean,
    )


def _judge_trend(claim: Claim, records: Sequence[Record]) -> Judgment | None:
    """Decides whether a result falls from no mixup on as alpha grows."""
    included = [arm for arm in (claim.arm, claim.baseline) if arm is not None]
    levels = sorted(
        arms.by_arm(
            record
            for record in records
            if any(arm.includes(record) for arm in included)
        ).values(),
        key=_alpha,
    )
    values = arms.values(levels, claim.result)
    if len(levels) < 3 or not values.size:
        return None
    verdict, trend = decide_trend(values, claim.least)
    measure = measures.find(claim.result)
    means = ", ".join(map(measure.format, values.mean(axis=0)))
    alphas = ", ".join(f"{_alpha(runs):g}" for runs in levels)
    return Judgment(
        claim,
        numbers=f"{means} at alpha {alphas}",
        difference="-"
        if trend is None
        else f"Page's test, p = {trend.p_value:.2g}",
        verdict=verdict,
        effect=float(values[:, 0].mean() - values[:, -1].mean()),
    )


def _alpha(runs: Mapping[int, Record]) -> float:
    return next(iter(runs.values())).config.alpha
