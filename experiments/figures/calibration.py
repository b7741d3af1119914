"""Figures 1 and 2: accuracy against confidence, and results by alpha."""

import logging
from collections.abc import Sequence

import numpy as np

from experiments.analysis import run_tables
from experiments.analysis.records import Record
from experiments.figures import against_alpha
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


def draw(setting: common.Setting) -> common.Figures:
    """Draws all figures of a setting that it has runs for."""
    title = setting.title
    methods = setting.find(*METHODS)
    pair = setting.find(paper.NO_MIXUP, paper.MIXUP)
    if methods:
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
        yield "alpha", against_alpha.draw(table)
    else:
        logging.info(
            "Skipped alpha of %s: it takes runs of three alphas.", title
        )


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
