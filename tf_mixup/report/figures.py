"""The figures of a report, as PNG files in memory."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tf_mixup import plots
from tf_mixup.report.measures import Errors
from tf_mixup.report.predictions import Predictions

if TYPE_CHECKING:
    import matplotlib.figure

_PANELS = ("guo", "paper")


def draw(
    rows: Predictions,
    conventions: Mapping[str, Errors],
    outside: Mapping[str, np.ndarray],
) -> dict[str, bytes]:
    """Draws all figures of a report.

    Args:
        rows: Predictions and labels.
        conventions: Calibration errors by name of the convention.
        outside: Confidences on other sets, by name; may be empty.

    Returns:
        figures: PNG files by name: `reliability`, `confidence`, and with
            other sets `ood` and `roc`.
    """
    panels = {
        f"{conventions[name].num_bins} bins": conventions[name].bins
        for name in _PANELS
    }
    # Of soft targets the class with the most mass counts.
    right = rows.predicted == rows.labels
    answers = {
        "right answers": rows.confidence[right],
        "wrong answers": rows.confidence[~right],
    }
    figures = {
        "reliability": plots.reliability_diagram(panels),
        "confidence": plots.confidence_histogram(answers),
    }
    if outside:
        sets = {"data": rows.confidence, **outside}
        figures["ood"] = plots.confidence_histogram(sets)
        figures["roc"] = plots.roc_curves(
            {name: [(rows.confidence, x)] for name, x in outside.items()}
        )
    return {name: _to_png(figure) for name, figure in figures.items()}


def _to_png(figure: "matplotlib.figure.Figure") -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
