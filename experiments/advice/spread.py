"""Means and deviations of a table's cells."""

from collections.abc import Sequence

import numpy as np


def cells(
    runs: Sequence[Sequence[float]],
    *,
    scale: float | Sequence[float] = 1,
    digits: int = 2,
) -> list[str]:
    """Returns mean ± standard deviation over runs `(R, C)`, C cells."""
    values = np.asarray(runs) * np.asarray(scale)
    deviations = values.std(axis=0, ddof=1)
    return [
        f"{mean:.{digits}f} ± {deviation:.{digits}f}"
        for mean, deviation in zip(values.mean(axis=0), deviations, strict=True)
    ]
