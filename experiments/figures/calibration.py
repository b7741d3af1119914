"""Figures 1 and 2: accuracy against confidence, ECE and OE by method."""

import logging
from collections.abc import Sequence

import matplotlib.axes
import numpy as np

from experiments.analysis import alpha_figure
from experiments.analysis import measures
from experiments.analysis import run_tables
from experiments.analysis import seed_statistics
from experiments.analysis.records import Record
from experiments.figures import common
from experiments.papers import calibration_claims as paper
from tf_mixup import calibration
from tf_mixup import plots

METHODS = (
    paper.NO_MIXUP,
    paper.MIXUP,
    paper.SMOOTHING,
    paper.ERL,
    paper.INPUTS_ONLY,
)
# Epochs of the joint density, evenly spaced.
NUM_EPOCHS = 5
# Result -> that of calibrated predictions.
BARS = {
    "test_ece": "test_null_ece",
    "test_ece_100": "test_null_ece_100",
    "test_oe": None,
    "test_oe_100": None,
}


def draw(setting: common.Setting) -> common.Figures:
    """Draws all figures of a setting that it has runs for."""
    title = setting.title
    methods = setting.find(*METHODS)
    pair = setting.find(paper.NO_MIXUP, paper.MIXUP)
    if methods:
        yield "bars", draw_bars(methods, title)
        yield "reliability", draw_reliability(methods, title)
    if len(pair) == 2:
        yield "scatter", draw_scatter(pair, title)
        yield "density", draw_density(pair, title)
    else:
        logging.info(
            "Skipped scatter and density of %s: they take runs with and"
            " without mixup.",
            title,
        )
    table = arrange_alphas(setting.records)
    if table is not None and len(table.rows) > 2:
        yield "alpha", alpha_figure.draw(table)
    else:
        logging.info(
            "Skipped alpha of %s: it takes runs of three alphas.", title
        )


def draw_bars(methods: Sequence[common.Method], title: str) -> common.Figure:
    """Draws ECE and OE with 15 and with 100 bins, a bar per method."""
    figure = common.new_figure(6.5, 2.0 + 0.55 * len(methods))
    grid = figure.subplots(2, 2, sharey=True)
    for axes, (result, null) in zip(grid.flat, BARS.items(), strict=True):
        _draw_panel(axes, methods, result, null)
        axes.set(xlabel=measures.find(result).heading)
    # Shared: the first method is at the top.
    grid[0, 0].invert_yaxis()
    common.add_legend(grid[0, 0], columns=2)
    count = common.count_seeds(method.records for method in methods)
    figure.suptitle(
        f"{title}, test set: mean ± deviation over {count}", fontsize="medium"
    )
    return figure


def _draw_panel(
    axes: matplotlib.axes.Axes,
    methods: Sequence[common.Method],
    result: str,
    null: str | None,
) -> None:
    places = np.arange(len(methods))
    values = [100 * method.values(result) for method in methods]
    found = [seed_statistics.spread(each) for each in values]
    axes.barh(
        places,
        [each.mean for each in found],
        xerr=np.nan_to_num([each.deviation for each in found]),
        color=[common.color_of(method.name) for method in methods],
        capsize=3,
    )
    for place, each in zip(places, values, strict=True):
        seeds = axes.plot(each, [place] * len(each), "k.", markersize=3)
    seeds[0].set_label("one seed")
    if null is not None:
        axes.plot(
            [100 * np.mean(method.values(null)) for method in methods],
            places,
            linestyle="",
            marker="|",
            markersize=14,
            markeredgewidth=2,
            color="black",
            label="calibrated predictions (null ECE)",
        )
    axes.set_yticks(places, [method.name for method in methods])
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def draw_reliability(
    methods: Sequence[common.Method], title: str
) -> common.Figure:
    """Draws the reliability diagram of each method, with all seeds pooled."""
    count = common.count_seeds(method.records for method in methods)
    return plots.reliability_diagram(
        {method.name: method.test_bins(15) for method in methods},
        title=f"{title}: test set, 15 bins, examples of {count}",
    )


def draw_scatter(methods: Sequence[common.Method], title: str) -> common.Figure:
    """Draws accuracy against confidence in the paper's 100 bins."""
    markers = ("o", "s", "^", "D", "v")
    styles = {
        method.name: {
            "color": common.color_of(method.name),
            "marker": marker,
        }
        for method, marker in zip(methods, markers, strict=False)
    }
    count = common.count_seeds(method.records for method in methods)
    return plots.accuracy_confidence_scatter(
        {method.name: method.test_bins(100) for method in methods},
        styles=styles,
        title=f"{title}\ntest set, 100 bins, examples of {count}",
    )


def draw_density(methods: Sequence[common.Method], title: str) -> common.Figure:
    """Draws accuracy and confidence at several epochs, a row per method."""
    tables = {method.name: method.epochs() for method in methods}
    shared = sorted(set.intersection(*map(set, tables.values())))
    places = np.linspace(0, len(shared) - 1, min(NUM_EPOCHS, len(shared)))
    chosen = [shared[round(place)] for place in places]
    count = common.count_seeds(method.records for method in methods)
    return plots.accuracy_confidence_density(
        {
            name: {
                f"epoch {epoch}": calibration.merge_bins(epochs[epoch], 3)
                for epoch in chosen
            }
            for name, epochs in tables.items()
        },
        title=f"{title}: validation set, 100 bins, examples of {count}",
    )


def arrange_alphas(records: Sequence[Record]) -> run_tables.Table | None:
    """Returns the runs of no mixup and mixup by alpha; None without any."""
    runs = [
        record
        for record in records
        if paper.NO_MIXUP.includes(record) or paper.MIXUP.includes(record)
    ]
    if not runs:
        return None
    (table,) = run_tables.arrange(
        runs, tables_by=("dataset", "network"), group_by=("alpha",)
    )
    return table
