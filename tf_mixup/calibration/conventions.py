"""Bins of papers and packages."""

import types
from collections.abc import Mapping
from typing import NamedTuple


class Convention(NamedTuple):
    """How a paper or package bins; numbers of different conventions differ.

    Attributes:
        num_bins: Number of equal-width bins.
        edges: Which side of a bin is closed, `"right"` or `"left"`.
        note: What else differs.
    """

    num_bins: int
    edges: str
    note: str


CONVENTIONS: Mapping[str, Convention] = types.MappingProxyType(
    {
        "paper": Convention(
            100,
            "right",
            "Thulasidasan et al. 2019 (mixup). With 500 examples most of it"
            " is bias; see `resampling.null_calibration_error`.",
        ),
        "guo": Convention(15, "right", "Guo et al. 2017, and most papers."),
        "tfp": Convention(
            10,
            "left",
            "`tfp.stats.expected_calibration_error`, whose documentation"
            " uses 10; `num_bins` has no default there.",
        ),
        "torchmetrics": Convention(
            15,
            "left",
            "`multiclass_calibration_error`. It gives a confidence of exactly"
            " 1 a bin of its own, here it shares the last one; its binary"
            " form bins P(y=1), not the confidence.",
        ),
        "netcal": Convention(
            10,
            "left",
            "`netcal.metrics.ECE`, 10 by default. Of two classes it bins"
            " P(y=1), not the confidence; its ACE averages over bins.",
        ),
    }
)
