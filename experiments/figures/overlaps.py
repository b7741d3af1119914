"""Limitations of Temperature Scaling: errors by how far classes overlap.

Drawn from the ledger: scaling is measured when runs are collected.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import matplotlib.axes
import numpy as np

from experiments.analysis import arms
from experiments.analysis import measures
from experiments.analysis import seed_statistics
from experiments.analysis.arms import Arm
from experiments.analysis.records import Record
from experiments.datasets import gaussians
from experiments.figures import bars
from experiments.figures import common
from experiments.papers import overlaps_claims as paper

# Dashed: with a temperature; dash-dotted: as published; dotted: fitted on
# labels as noisy as the training set's.
STYLES: tuple[tuple[Arm, dict[str, Any]], ...] = (
    (paper.NO_MIXUP, {"color": common.BLUE}),
    (paper.SCALED, {"color": common.BLUE, "linestyle": "--"}),
    (paper.SCALED_PUBLISHED, {"color": common.BLUE, "linestyle": "-."}),
    (paper.SCALED_NOISY, {"color": common.BLUE, "linestyle": ":"}),
    (paper.MIXUP, {"color": common.ORANGE}),
    (paper.MIXUP_SCALED, {"color": common.ORANGE, "linestyle": "--"}),
    (paper.TWO, {"color": common.GREEN}),
    (paper.FOUR, {"color": common.PURPLE}),
)
LOGITS = ("train_first_logit", "train_second_logit")
PANELS = ("test_nll", "test_ece", "bayes_gap")


def draw(records: Sequence[Record]) -> common.Figures:
    """Draws a table of overlapping classes, a figure for each network.

    And the largest logits of training examples, where they were measured.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        config = record.config
        family = config.dataset.partition(":")[0]
        name = f"{family}-{config.network}"
        if config.epochs != records[0].config.epochs:
            name += f"-{config.epochs}"
        groups.setdefault(name, []).append(record)
    for name, group in groups.items():
        if len(order_by_overlap(group)) > 1:
            yield name, draw_overlaps(group, _title(group))
    # Older runs did not measure logits.
    measured = [
        record
        for record in records
        if not np.isnan(record.value(LOGITS[0])) and not record.after
    ]
    for name, figure in bars.draw(measured, LOGITS) if measured else ():
        yield f"logits-{name}", figure


def _title(records: Sequence[Record]) -> str:
    """Names the data set and the network for readers."""
    config = records[0].config
    dataset = "Two Gaussians"
    if not config.dataset.startswith(gaussians.PREFIX):
        dataset = arms.describe_dataset(config.dataset)
    return f"{dataset}, {arms.describe_network(config.network)}"


def draw_overlaps(records: Sequence[Record], title: str) -> common.Figure:
    """Draws each error against the overlap: means and deviations over seeds."""
    settings = order_by_overlap(records)
    panels = [
        result
        for result in PANELS
        if any(not np.isnan(record.value(result)) for record in records)
    ]
    figure = common.new_figure(1.0 + 3.0 * len(panels), 4.2)
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, result in zip(row, panels, strict=True):
        _draw_panel(axes, settings, result)
        axes.set(
            xlabel=_name_axis(records[0]), ylabel=measures.find(result).heading
        )
    common.add_legend(row[0], columns=len(panels))
    by_arm = arms.by_arm(records).values()
    count = common.count_seeds(map(list, by_arm))
    figure.suptitle(
        f"{title}, test set: mean ± deviation over {count}",
        fontsize="medium",
    )
    return figure


def order_by_overlap(records: Sequence[Record]) -> Mapping[str, list[Record]]:
    """Returns label -> records, from the least to the greatest overlap."""
    keys = {_overlap(record) for record in records}
    return {
        label: [each for each in records if _overlap(each) == (key, label)]
        for key, label in sorted(keys)
    }


def _overlap(record: Record) -> tuple[float, str]:
    """Returns a number that rises with the overlap, and what to call it."""
    config = record.config
    if config.dataset.startswith(gaussians.PREFIX):
        distance = config.dataset.removeprefix(gaussians.PREFIX)
        return -float(distance), distance
    return config.corruption, f"{config.corruption:.0%}"


def _name_axis(record: Record) -> str:
    if record.config.dataset.startswith(gaussians.PREFIX):
        return "distance of the classes, mu"
    return "labels flipped"


def _draw_panel(
    axes: matplotlib.axes.Axes,
    settings: Mapping[str, Sequence[Record]],
    result: str,
) -> None:
    scale = measures.find(result).scale
    shown = [
        (arm, style)
        for arm, style in STYLES
        if any(arms.select(group, arm) for group in settings.values())
    ]
    for place, (arm, style) in enumerate(shown):
        points = []
        for number, group in enumerate(settings.values()):
            runs = arms.select(group, arm)
            if runs:
                values = arms.values([runs], result)[:, 0]
                found = seed_statistics.spread(scale * values)
                # Side by side, so that bars do not hide each other.
                shift = 0.04 * (place - (len(shown) - 1) / 2)
                deviation = np.nan_to_num(found.deviation)
                points.append((number + shift, found.mean, deviation))
        x, y, error = np.array(points).T
        axes.errorbar(
            x, y, error, label=arm.name, marker="o", markersize=3, **style
        )
    _draw_truth(axes, settings, result)
    axes.set_xticks(range(len(settings)), list(settings))
    axes.set_ylim(bottom=0)
    axes.grid(**common.GRID)


def _draw_truth(
    axes: matplotlib.axes.Axes,
    settings: Mapping[str, Sequence[Record]],
    result: str,
) -> None:
    """Draws the least possible likelihood, where the truth is known."""
    best = [group[0].value("bayes_nll") for group in settings.values()]
    if result == "test_nll" and not np.isnan(best).any():
        axes.plot(best, color="black", linewidth=0.8, label="Bayes")
