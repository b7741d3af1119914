"""What the mixup paper leads one to expect, held against the records.

A row is chosen by the validation set, then compared with the baseline on the
test set, seed by seed. An expectation counts as reached by its mean; the
interval beside it tells how sure that is.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments import comparison
from experiments import records

LEVEL = 0.05


class Choice(NamedTuple):
    """A row that the validation set chose.

    Attributes:
        row: Lowest mean over the seeds that all rows have.
        by_seed: What each of these seeds alone would have chosen.
    """

    row: records.Row
    by_seed: list[records.Row]


class Verdict(NamedTuple):
    """An expectation and what became of it.

    Attributes:
        claim: What is expected.
        reached: Whether the numbers show it.
        numbers: The numbers.
    """

    claim: str
    reached: bool
    numbers: str


def choose(table: records.Table, name: str) -> Choice | None:
    """Chooses the row, not the baseline, with the lowest mean of a result.

    Args:
        table: The runs.
        name: A result of the validation set: one of the test set would make
            what is reported of it too good.

    Returns:
        choice: None if no row is left, or rows share no seed.
    """
    candidates = [row for row in table.rows if row != table.baseline]
    seeds = table.common_seeds
    if not candidates or not seeds:
        return None
    values = np.stack([table.values(row, name, seeds) for row in candidates])
    if not np.isfinite(values).all():
        return None
    return Choice(
        candidates[int(values.mean(axis=1).argmin())],
        [candidates[place] for place in values.argmin(axis=0)],
    )


def paired_seeds(table: records.Table, row: records.Row) -> list[int]:
    """Returns the seeds that a row and the baseline both have."""
    baseline = {} if table.baseline is None else table.rows[table.baseline]
    return sorted(set(table.rows[row]) & set(baseline))


def oe_trend(
    table: records.Table, rows: Sequence[records.Row]
) -> comparison.Trend | None:
    """Tests whether OE falls along rows, over the seeds that all have."""
    seeds = table.common_seeds
    if not rows or not seeds:
        return None
    values = [table.values(row, "test_oe", seeds) for row in rows]
    return comparison.falling_trend(np.stack(values, axis=1))


def judge(table: records.Table, row: records.Row) -> list[Verdict]:
    """Holds the expectations against a row.

    Args:
        table: The runs; it has a baseline.
        row: The chosen row.

    Returns:
        verdicts: On ECE, on OE over alpha where only alpha varies, on
            accuracy, and on the confidence on each out-of-distribution set.
    """
    found = [_judge_ece(table, row)]
    if table.fields == ("alpha",):
        found.append(_judge_trend(table))
    found.append(_judge_accuracy(table, row))
    for name in table.ood_sets:
        difference = _difference(table, row, f"{name}_confidence")
        found.append(
            Verdict(
                f"Confidence on {name} below the baseline's",
                difference.mean < 0,
                _describe(difference),
            )
        )
    return found


def _judge_ece(table: records.Table, row: records.Row) -> Verdict:
    ratios = {}
    for name in ("test_ece", "test_ece_100"):
        values, others = _paired_values(table, row, name)
        ratios[name] = values.mean() / others.mean()
    values, others = _paired_values(table, row, "test_ece")
    return Verdict(
        "ECE (15 bins) at most half of the baseline's",
        bool(ratios["test_ece"] <= 0.5),
        f"{100 * values.mean():.2f} % / {100 * others.mean():.2f} %"
        f" = {ratios['test_ece']:.2f}; at most half in"
        f" {int((values <= others / 2).sum())} of {len(values)} seeds;"
        f" with 100 bins {ratios['test_ece_100']:.2f}",
    )


def _judge_trend(table: records.Table) -> Verdict:
    claim = "OE falls with alpha"
    rows = sorted(table.rows)
    trend = oe_trend(table, rows)
    if trend is None:
        return Verdict(claim, False, "no test: needs 2 seeds and 3 rows")
    means = [
        100 * table.values(row, "test_oe", table.common_seeds).mean()
        for row in rows
    ]
    return Verdict(
        claim,
        trend.p_value < LEVEL,
        f"p = {trend.p_value:.2g} over {len(table.common_seeds)} seeds; means"
        f" {', '.join(f'{mean:.2f}' for mean in means)} %",
    )


def _judge_accuracy(table: records.Table, row: records.Row) -> Verdict:
    difference = _difference(table, row, "test_accuracy")
    return Verdict(
        "Accuracy not below the baseline's",
        difference.mean >= 0,
        _describe(difference),
    )


def _paired_values(
    table: records.Table, row: records.Row, name: str
) -> tuple[np.ndarray, np.ndarray]:
    seeds = paired_seeds(table, row)
    baseline = row if table.baseline is None else table.baseline
    return table.values(row, name, seeds), table.values(baseline, name, seeds)


def _difference(
    table: records.Table, row: records.Row, name: str
) -> comparison.Difference:
    return comparison.paired_difference(*_paired_values(table, row, name))


def _describe(difference: comparison.Difference) -> str:
    text = f"{100 * difference.mean:+.2f} points"
    if difference.num_seeds < 2:
        return f"{text}, no interval: one seed"
    sure = "does not hold 0" if difference.excludes_zero else "holds 0"
    return (
        f"{text}, 95 % interval {100 * difference.low:+.2f} to"
        f" {100 * difference.high:+.2f}, which {sure}"
    )
