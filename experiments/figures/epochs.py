"""Section 4.3: calibration by epoch, with and without augmentation."""

import dataclasses
from typing import Any

from experiments.figures import common
from experiments.figures.calibration import METHODS

AUGMENTATIONS = {"none": "no augmentation", "standard": "crops and flips"}
# Number of the history -> what it is called.
ROWS = {
    "val_ece": "ECE, 15 bins (%)",
    "val_signed_gap": "confidence - accuracy (%)",
}


def draw(setting: common.Setting) -> common.Figures:
    """Draws the validation set's calibration against the epoch."""
    panels = {}
    for augmentation, label in AUGMENTATIONS.items():
        records = [
            record
            for record in setting.records
            if record.config.augmentation == augmentation
        ]
        methods = dataclasses.replace(setting, records=records).find(*METHODS)
        if methods:
            panels[label] = methods
    if panels:
        yield "epochs", draw_epochs(panels, setting.title)


def draw_epochs(
    panels: dict[str, list[common.Method]], title: str
) -> common.Figure:
    """Draws ECE above the signed gap: means, and bands of one deviation."""
    figure = common.new_figure(1.2 + 3.2 * len(panels), 5.6)
    everyone = [method for methods in panels.values() for method in methods]
    count = common.count_seeds(method.records for method in everyone)
    figure.suptitle(
        f"{title}, validation set\nmean and deviation over {count}",
        fontsize="medium",
    )
    grid = figure.subplots(
        2, len(panels), sharex="col", sharey="row", squeeze=False
    )
    for column, (label, methods) in zip(grid.T, panels.items(), strict=True):
        for axes, name in zip(column, ROWS, strict=True):
            for method in methods:
                values = 100 * method.history(name)
                common.draw_history(axes, method, values)
            axes.grid(**common.GRID)
        column[0].set_title(label, fontsize="medium")
        column[0].set_ylim(bottom=0)
        column[1].axhline(0, color="black", linewidth=0.8)
        column[1].set(xlabel="epoch")
    for axes, label in zip(grid[:, 0], ROWS.values(), strict=True):
        axes.set(ylabel=label)
    names: dict[str, Any] = {}
    for axes in grid[0]:
        names |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(
        names.values(),
        names.keys(),
        loc="outside lower center",
        ncols=3,
        fontsize="small",
    )
    return figure
