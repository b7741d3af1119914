"""Limitations of Temperature Scaling: errors by how far classes overlap.

Made of the ledger, not of runs: scaling is measured when runs are collected.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from experiments.analysis import ledger
from experiments.analysis.claims import Arm
from experiments.analysis.ledger import Line
from experiments.datasets import gaussians
from experiments.figures import methods
from experiments.papers import overlaps_claims as arms

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

# Dashes where a temperature was fitted, dots where it was to labels as noisy
# as the training set's.
STYLES: tuple[tuple[Arm, dict[str, Any]], ...] = (
    (arms.PLAIN, {"color": methods.BLUE}),
    (arms.SCALED, {"color": methods.BLUE, "linestyle": "--"}),
    (arms.SCALED_NOISY, {"color": methods.BLUE, "linestyle": ":"}),
    (arms.MIXUP, {"color": methods.ORANGE}),
    (arms.MIXUP_SCALED, {"color": methods.ORANGE, "linestyle": "--"}),
    (arms.TWO, {"color": methods.GREEN}),
    (arms.FOUR, {"color": methods.PURPLE}),
)
PANELS = {
    "test_nll": "NLL (nats)",
    "test_ece": "ECE, 15 bins (%)",
    "bayes_gap": "distance from the truth (%)",
}


def draw(
    lines: Sequence[Line],
) -> Iterator[tuple[str, "matplotlib.figure.Figure"]]:
    """Draws a table of overlapping classes, a figure for each network.

    Args:
        lines: Of the ledger; all of one table.

    Yields:
        figure: Its name and the figure.
    """
    groups: dict[str, list[Line]] = {}
    for line in lines:
        family = line.config.dataset.partition(":")[0]
        groups.setdefault(f"{family}-{line.config.network}", []).append(line)
    for name, group in groups.items():
        yield name, draw_overlaps(group, name)


def draw_overlaps(
    lines: Sequence[Line], title: str
) -> "matplotlib.figure.Figure":
    """Draws each error against the overlap: means and deviations over seeds.

    Args:
        lines: Of one network and kind of data.
        title: Names both.

    Returns:
        figure: A panel for each number that the lines have.
    """
    import matplotlib.figure

    settings = order_by_overlap(lines)
    panels = [
        result
        for result in PANELS
        if any(not np.isnan(line.value(result)) for line in lines)
    ]
    figure = matplotlib.figure.Figure(
        figsize=(1.0 + 3.0 * len(panels), 4.2), dpi=120, layout="constrained"
    )
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, result in zip(row, panels, strict=True):
        _draw_panel(axes, settings, result)
        axes.set(xlabel=_name_axis(lines[0]), ylabel=PANELS[result])
    figure.legend(
        *row[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        fontsize="small",
    )
    seeds = {line.config.seed for line in lines}
    figure.suptitle(
        f"{title}, test set: mean ± deviation over {len(seeds)} seeds",
        fontsize="medium",
    )
    return figure


def order_by_overlap(lines: Sequence[Line]) -> Mapping[str, list[Line]]:
    """Returns label -> lines, from the least to the greatest overlap."""
    keys = {_overlap(line) for line in lines}
    return {
        label: [line for line in lines if _overlap(line) == (key, label)]
        for key, label in sorted(keys)
    }


def _overlap(line: Line) -> tuple[float, str]:
    """Returns a number that rises with the overlap, and what to call it."""
    config = line.config
    if config.dataset.startswith(gaussians.PREFIX):
        distance = config.dataset.removeprefix(gaussians.PREFIX)
        return -float(distance), distance
    return config.corruption, f"{config.corruption:.0%}"


def _name_axis(line: Line) -> str:
    if line.config.dataset.startswith(gaussians.PREFIX):
        return "distance of the classes, mu"
    return "labels flipped"


def _draw_panel(
    axes: "matplotlib.axes.Axes",
    settings: Mapping[str, Sequence[Line]],
    result: str,
) -> None:
    factor = 100 if PANELS[result].endswith("(%)") else 1
    shown = [
        (arm, style)
        for arm, style in STYLES
        if any(ledger.select(group, arm) for group in settings.values())
    ]
    for place, (arm, style) in enumerate(shown):
        points = []
        for number, group in enumerate(settings.values()):
            values = [
                factor * line.value(result)
                for line in ledger.select(group, arm).values()
            ]
            if values:
                spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
                # Side by side, so that bars do not hide each other.
                shift = 0.04 * (place - (len(shown) - 1) / 2)
                points.append((number + shift, np.mean(values), spread))
        x, y, error = np.array(points).T
        axes.errorbar(
            x, y, error, label=arm.name, marker="o", markersize=3, **style
        )
    _draw_truth(axes, settings, result)
    axes.set_xticks(range(len(settings)), list(settings))
    axes.set_ylim(bottom=0)
    axes.grid(color="#dddddd", linewidth=0.6)


def _draw_truth(
    axes: "matplotlib.axes.Axes",
    settings: Mapping[str, Sequence[Line]],
    result: str,
) -> None:
    """Draws the least possible likelihood, where the truth is known."""
    best = [group[0].value("bayes_nll") for group in settings.values()]
    if result == "test_nll" and not np.isnan(best).any():
        axes.plot(best, color="black", linewidth=0.8, label="Bayes")
