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
        "mapie": Convention(
            49,
            "right",
            "`expected_calibration_error` of the largest probabilities, whose"
            " `num_bins`, 50 by default, counts edges. A probability of exactly"
            " 0 has a bin of its own; `top_label_ece` averages over classes.",
        ),
        "probcal": Convention(
            15,
            "left",
            '`probcal.metrics.ece(strategy="width")` of confidence and'
            " correctness. Its default bins lie between quantiles.",
        ),
        "relplot": Convention(
            10,
            "left",
            "`relplot.metrics.binnedECE` of confidence and correctness. A"
            " confidence of exactly 1 has a bin of its own, and one of exactly"
            " 0.3, 0.6 or 0.7 is in the bin below.",
        ),
        "scikit-learn": Convention(
            5,
            "right",
            "`sklearn.calibration.calibration_curve`, which gives the curve and"
            " not its error.",
        ),
        "torch-uncertainty": Convention(
            10,
            "left",
            "`CalibrationError`, by torchmetrics, but with 10 bins. It gives a"
            " confidence of exactly 1 a bin of its own.",
        ),
        "uncertainty-calibration": Convention(
            15,
            "right",
            "`calibration.get_ece`. Its `get_calibration_error` is another"
            " number, of squares without their bias, over equal-mass bins.",
        ),
    }
)
