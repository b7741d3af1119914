"""Results of a table of runs against alpha, with their spread over seeds."""

from collections.abc import Sequence

import matplotlib.axes
import numpy as np

from experiments.analysis import measures
from experiments.analysis import run_tables
from experiments.analysis import seed_statistics
from experiments.figures import common
from tf_mixup import _checks
from tf_mixup import _figure_text
from tf_mixup import plots

# The library's last color is a gray for the background.
COLORS = (*plots.SET_COLORS[:-1], "#66ccee")


def draw(table: run_tables.Table) -> common.Figure:
    """Draws accuracy, ECE, OE and confidence on other sets against alpha.

    Points are means, bars standard deviations, small dots single seeds. Alphas
    are equally spaced: they are chosen in ratios and include 0.

    Raises:
        ValueError: If the rows differ in other fields than alpha.
    """
    if table.fields != ("alpha",):
        raise _checks.refusal(
            "--figures draws against alpha alone",
            f"rows by {', '.join(table.fields)}",
            "Make tables of the other fields with --tables_by",
        )
    figure = common.new_figure(8.0, 6.0)
    panels = figure.subplots(2, 2, sharex=True)
    draws = {
        "accuracy": ["test_accuracy"],
        "ECE, 15 bins": ["test_ece", "test_null_ece"],
        "overconfidence error": ["test_oe"],
        "mean confidence on other sets": [
            f"{name}_confidence" for name in table.ood_sets
        ],
    }
    for axes, (title, names) in zip(panels.flat, draws.items(), strict=True):
        _draw_panel(axes, table, title, names)
    for axes in panels[0, 1], panels[1, 0]:
        axes.set_ylim(bottom=0)
    labels = [
        f"{row[0]:g}" if row[0] else "0\nno mixup" for row in sorted(table.rows)
    ]
    for axes in panels[1]:
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlabel("alpha")
    count = common.count_seeds(map(list, table.rows.values()))
    title = f"{table.heading}: mean ± deviation over {count}"
    figure.suptitle(
        _figure_text.fit(title, figure.get_figwidth() - 0.2, 12),
        **_figure_text.AS_WRITTEN,
    )
    return figure


def _draw_panel(
    axes: matplotlib.axes.Axes,
    table: run_tables.Table,
    title: str,
    names: Sequence[str],
) -> None:
    """Draws results, one line each, side by side."""
    rows = sorted(table.rows)
    handles = {}
    for place, name in enumerate(names):
        measure = measures.find(name)
        color = COLORS[place % len(COLORS)]
        at = np.arange(len(rows)) + 0.08 * (place - (len(names) - 1) / 2)
        values = [measure.scale * table.values(row, name) for row in rows]
        found = [seed_statistics.spread(each) for each in values]
        for x, each in zip(at, values, strict=True):
            axes.plot([x] * len(each), each, ".", color=color, alpha=0.35)
        handles[measure.title] = axes.errorbar(
            at,
            [each.mean for each in found],
            yerr=np.nan_to_num([each.deviation for each in found]),
            color=color,
            marker="o",
            markersize=5,
            capsize=3,
            linestyle="--" if name == "test_null_ece" else "-",
        )
    axes.set(title=title, ylabel="%")
    axes.grid(axis="y", **common.GRID)
    axes.set_axisbelow(True)
    if len(names) > 1:
        _figure_text.add_legend(axes, handles, width=2.0, fontsize="small")
