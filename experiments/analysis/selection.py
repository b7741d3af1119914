"""Chooses a row by the validation set, and pairs it with the baseline.

The test set takes no part in the choice; it only reports. What the papers
claim is decided elsewhere, by `experiments.analysis.claims`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.analysis import run_tables
from experiments.analysis import seed_statistics


class Choice(NamedTuple):
    """A row that the validation set chose.

    Attributes:
        row: Lowest mean over the seeds that all rows have.
        by_seed: What each of these seeds alone would have chosen.
    """

    row: run_tables.Row
    by_seed: list[run_tables.Row]


def choose(table: run_tables.Table, name: str) -> Choice | None:
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


def paired_seeds(table: run_tables.Table, row: run_tables.Row) -> list[int]:
    """Returns the seeds that a row and the baseline both have."""
    baseline = {} if table.baseline is None else table.rows[table.baseline]
    return sorted(set(table.rows[row]) & set(baseline))


def oe_trend(
    table: run_tables.Table, rows: Sequence[run_tables.Row]
) -> seed_statistics.Trend | None:
    """Tests whether OE falls along rows, over the seeds that all have."""
    seeds = table.common_seeds
    if not rows or not seeds:
        return None
    values = [table.values(row, "test_oe", seeds) for row in rows]
    return seed_statistics.falling_trend(np.stack(values, axis=1))
