"""The figures of a report, as PNG files in memory."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tf_mixup import plots
from tf_mixup.report_measures import Errors
from tf_mixup.report_predictions import Predictions

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
    right = rows.correct == 1
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
        figures["roc"] = _roc_curves(rows.confidence, outside)
    return {name: _to_png(figure) for name, figure in figures.items()}


def _roc_curves(
    inside: np.ndarray, outside: Mapping[str, np.ndarray]
) -> "matplotlib.figure.Figure":
    import matplotlib.figure
    from sklearn import metrics

    figure = matplotlib.figure.Figure(
        figsize=(4.5, 3.5), dpi=100, layout="constrained"
    )
    axes = figure.subplots()
    for index, (name, scores) in enumerate(outside.items(), 1):
        is_in = np.repeat([1, 0], [len(inside), len(scores)])
        passed, kept, _ = metrics.roc_curve(
            is_in, np.concatenate([inside, scores])
        )
        color = plots.SET_COLORS[index % len(plots.SET_COLORS)]
        axes.plot(passed, kept, color=color, label=name)
    axes.plot([0, 1], [0, 1], color="gray", linestyle="--", linewidth=1)
    axes.axhline(0.95, color="gray", linestyle=":", linewidth=1)
    axes.set(
        xlabel="share of the other set that passes",
        ylabel="share of the data kept",
        xlim=(0, 1),
        ylim=(0, 1.01),
    )
    axes.legend(loc="lower right")
    return figure


def _to_png(figure: "matplotlib.figure.Figure") -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
