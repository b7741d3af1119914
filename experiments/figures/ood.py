"""Section 5: confidence on other sets, and their detection."""

import dataclasses
import logging
import textwrap
from collections.abc import Mapping
from collections.abc import Sequence

import matplotlib.axes
import numpy as np

from experiments.analysis import measures
from experiments.analysis import posthoc
from experiments.figures import common
from experiments.papers import calibration_claims as paper
from experiments.runs import outputs as outputs_lib
from experiments.runs import run_files
from experiments.runs.outputs import Outputs
from tf_mixup import plots
from tf_mixup import posthoc as posthoc_lib

METHODS = (paper.NO_MIXUP, paper.MIXUP, paper.SMOOTHING, paper.ERL)
NUM_BINS = 20


def draw(setting: common.Setting) -> common.Figures:
    """Draws the figures of a setting, from its runs' predictions."""
    outputs = read_outputs(setting)
    if outputs:
        yield from draw_ood(outputs, setting.title)


def read_outputs(setting: common.Setting) -> dict[str, list[Outputs]]:
    """Returns the outputs of each method, one per seed.

    Adds no mixup after temperature scaling, the average over passes with
    dropout, and the ensemble over the networks of all seeds.
    """
    found = {each.name: each.outputs() for each in setting.find(*METHODS)}
    for plain in setting.find(paper.NO_MIXUP):
        found[paper.SCALED.name] = [
            posthoc.scale(
                outputs, posthoc_lib.TemperatureScaling(), "validation"
            )
            for outputs in found[plain.name]
        ]
    for dropout in setting.find(dataclasses.replace(paper.DROPOUT, after="")):
        found[dropout.name] = dropout.outputs(run_files.MC_PREDICTIONS)
    for plain in setting.find(paper.NO_MIXUP):
        size = len(plain.folders)
        if setting.sources is None or size < 2:
            logging.info(
                "Skipped the ensemble of %s: it takes --data_dir and two"
                " seeds.",
                setting.title,
            )
        else:
            found[f"{paper.ENSEMBLE.name} (of {size})"] = [
                posthoc.average(
                    plain.records[0].config, plain.folders, setting.sources
                )
            ]
    return found


def draw_ood(
    outputs: Mapping[str, Sequence[Outputs]], title: str
) -> common.Figures:
    """Draws confidences on all sets, and ROC curves on each other set."""
    count = common.count_seeds(
        seeds
        for method, seeds in outputs.items()
        if not method.startswith(paper.ENSEMBLE.name)
    )
    title = f"{title}, {count}"
    names = next(iter(outputs.values()))[0].ood_names
    yield "confidence", draw_confidences(outputs, names, title)
    styles = {method: common.style_of(method) for method in outputs}
    for name in names:
        place = measures.describe_set(name)
        pairs = {
            method: [
                (
                    each.confidence("test"),
                    each.confidence(outputs_lib.OOD + name),
                )
                for each in seeds
            ]
            for method, seeds in outputs.items()
        }
        yield (
            f"roc-{name}",
            plots.roc_curves(
                pairs,
                styles=styles,
                title=f"{title}\ntest set against {place}",
            ),
        )


def draw_confidences(
    outputs: Mapping[str, Sequence[Outputs]], names: Sequence[str], title: str
) -> common.Figure:
    """Draws a histogram for each method (row) and set (column)."""
    sets = {"test set": "test"}
    sets |= {
        measures.describe_set(name): outputs_lib.OOD + name for name in names
    }
    figure = common.new_figure(7.0, 1.2 + 0.8 * len(outputs))
    figure.suptitle(title, fontsize="medium")
    grid = figure.subplots(
        len(outputs), len(sets), sharex=True, sharey=True, squeeze=False
    )
    for row, (method, seeds) in zip(grid, outputs.items(), strict=True):
        for axes, name in zip(row, sets.values(), strict=True):
            values = np.concatenate([each.confidence(name) for each in seeds])
            _draw_histogram(axes, values, common.color_of(method))
        row[0].set_ylabel(
            textwrap.fill(method, 11),
            rotation="horizontal",
            horizontalalignment="right",
            verticalalignment="center",
            fontsize="small",
        )
    for axes, label in zip(grid[0], sets, strict=True):
        axes.set_title(textwrap.fill(label, 18), fontsize="small")
    figure.supxlabel("confidence", fontsize="medium")
    figure.supylabel("share of examples (%)", fontsize="medium")
    return figure


def _draw_histogram(
    axes: matplotlib.axes.Axes, values: np.ndarray, color: str
) -> None:
    axes.hist(
        values,
        np.linspace(0, 1, NUM_BINS + 1),
        weights=np.full(values.size, 100 / values.size),
        color=color,
    )
    axes.text(
        0.04,
        0.9,
        f"mean {values.mean():.2f}",
        transform=axes.transAxes,
        verticalalignment="top",
        fontsize="small",
    )
    axes.set(xlim=(0, 1), xticks=[0, 0.5, 1])
    axes.tick_params(labelsize="small")
