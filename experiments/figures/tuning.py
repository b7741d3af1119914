"""Tuning alpha: alpha, signed gap and ECE by epoch, a line for each rule."""

import matplotlib.axes
import numpy as np

from experiments.analysis import arms
from experiments.analysis.arms import Arm
from experiments.figures import common
from experiments.runs import tuning

COLORS = (common.ORANGE, common.BLUE, common.GREEN, common.PURPLE)
NAMES = {
    "calibrate_late": "keep 1, then follow",
    "follow": "follow the gap (the library's)",
    "follow_average": "follow, averaged weights",
    "aim_ahead": "aim ahead",
}
# Number of the history -> what it is called, and its factor.
ROWS = {
    "alpha": ("alpha", 1),
    "val_signed_gap": ("signed gap (%)", 100),
    "val_ece": ("ECE, 15 bins (%)", 100),
}


def draw(setting: common.Setting) -> common.Figures:
    """Draws what the rules did, and how calibrated the network was."""
    methods = setting.find(
        *(Arm(NAMES[rule], {"tuning": rule}) for rule in tuning.RULES)
    )
    if methods:
        dataset = setting.records[0].config.dataset
        yield "epochs", draw_epochs(methods, arms.describe_dataset(dataset))


def draw_epochs(methods: list[common.Method], title: str) -> common.Figure:
    """Draws three panels, one above the other: means over seeds."""
    figure = common.new_figure(5.6, 6.6)
    count = common.count_seeds(method.records for method in methods)
    figure.suptitle(
        f"{title}, examples that tune alpha\nmean over {count}",
        fontsize="medium",
    )
    panels = figure.subplots(len(ROWS), 1, sharex=True)
    for axes, (name, (label, factor)) in zip(panels, ROWS.items(), strict=True):
        for method, color in zip(methods, COLORS, strict=False):
            values = factor * method.history(name)
            epochs = np.arange(1, values.shape[1] + 1)
            axes.plot(
                epochs,
                values.mean(axis=0),
                color=color,
                label=method.name.partition(" (alpha")[0],
            )
        axes.set(ylabel=label)
        axes.grid(**common.GRID)
    _limit(panels)
    common.add_legend(panels[0], columns=2)
    return figure


def _limit(panels: np.ndarray) -> None:
    """Shows the later epochs, in which gaps are small."""
    first, gap, error = panels
    first.set_ylim(bottom=0)
    gap.axhline(0, color="black", linewidth=0.8)
    gap.set_ylim(*_range(gap))
    error.set_ylim(0, _range(error)[1])
    error.set(xlabel="epoch")


def _range(axes: matplotlib.axes.Axes) -> tuple[float, float]:
    """Returns ends that leave out a twentieth of the values at either end."""
    values = np.concatenate([line.get_ydata() for line in axes.get_lines()])
    low, high = np.quantile(values, (0.05, 0.95))
    return 1.1 * min(low, 0), 1.1 * high
