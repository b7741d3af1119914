"""Figure 2 of mixup (1710.09412): networks between two training images.

Drawn from the ledger: networks are measured when they are collected.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import matplotlib.axes
import numpy as np

from experiments.analysis import arms
from experiments.analysis import interpolation
from experiments.analysis import measures
from experiments.analysis.records import Record
from experiments.figures import common
from experiments.papers import mixup_claims as paper

STYLES: tuple[tuple[arms.Arm, str], ...] = (
    (paper.NO_MIXUP_BETWEEN, common.BLUE),
    (paper.MIXUP_BETWEEN, common.ORANGE),
)
PANELS = {"miss": "class of neither (%)", "slope": "gradient norm"}
# The paper's figure 2a, in percent, digitized. It does not name its network,
# and its gradients have another unit.
PRINTED: Mapping[str, Sequence[float]] = {
    paper.NO_MIXUP_BETWEEN.name: (
        *(1.27, 1.20, 1.60, 2.24, 3.55, 5.58),
        *(8.27, 11.26, 14.22, 15.79, 16.52),
    ),
    paper.MIXUP_BETWEEN.name: (
        *(0.71, 0.73, 0.92, 1.23, 1.82, 2.68),
        *(3.66, 4.57, 5.30, 5.94, 6.04),
    ),
}


def draw(records: Sequence[Record]) -> common.Figures:
    """Draws misses and slopes on the way, a figure for each setting."""
    for group in arms.by_setting(records).values():
        if any(record.after == "between" for record in group):
            config = group[0].config
            name = f"{config.dataset}-{config.network}-between"
            title = (
                f"{arms.describe_dataset(config.dataset)},"
                f" {arms.describe_network(config.network)}"
            )
            yield name, draw_between(group, title)


def draw_between(records: Sequence[Record], title: str) -> common.Figure:
    """Draws one setting: means, and bands of one deviation over seeds."""
    figure = common.new_figure(7.2, 3.8)
    row = figure.subplots(1, 2)
    for axes, (result, label) in zip(row, PANELS.items(), strict=True):
        for arm, color in STYLES:
            runs = list(arms.select(records, arm).values())
            if runs:
                _draw_band(axes, runs, result, label=arm.name, color=color)
        axes.set(
            xlabel="share of the other image, lam", ylabel=label, xlim=(0, 0.5)
        )
        axes.set_ylim(bottom=0)
        axes.grid(**common.GRID)
    for arm, color in STYLES:
        label = f"{arm.name}, in the paper"
        curve = PRINTED[arm.name]
        row[0].plot(interpolation.LAMS, curve, ":", color=color, label=label)
    common.add_legend(row[0], columns=2)
    seeds = [arms.select(records, arm) for arm, _ in STYLES]
    count = common.count_seeds([*filter(None, map(list, seeds))])
    figure.suptitle(
        f"{title}, between its training images\nmean ± deviation over {count}",
        fontsize="medium",
    )
    return figure


def _draw_band(
    axes: matplotlib.axes.Axes,
    runs: Sequence[Record],
    result: str,
    **options: Any,
) -> None:
    values = np.array(
        [
            [run.value(f"between_{lam:.2f}_{result}") for run in runs]
            for lam in interpolation.LAMS
        ]
    ).T
    values *= measures.find(f"between_0.00_{result}").scale
    common.draw_band(axes, interpolation.LAMS, values, **options)
