"""Bars of every arm of a table, a panel for each setting, from the ledger."""

import collections
import math
import textwrap
from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.axes
import numpy as np
from absl import logging

from experiments.analysis import arms
from experiments.analysis import measures
from experiments.analysis import seed_statistics
from experiments.analysis.records import Record
from experiments.figures import common

# Characters in an inch of a panel's title, of the names and of the figure's.
_SMALL, _NAMES, _LARGE = 13, 14, 11
_PANEL = 2.2
_MOST_IN_A_ROW = 3
# What several arms of the ablation have in common.
_DECAY = ", weight decay "
# Result -> that of calibrated predictions.
_NULLS = {"test_ece": "test_null_ece"}


class Panel(NamedTuple):
    """One axis: a measure of the runs of one setting."""

    title: str
    runs: Mapping[str, Mapping[int, Record]]
    measure: measures.Measure


def draw(
    records: Sequence[Record], results: Sequence[str], *, after: str = ""
) -> common.Figures:
    """Draws results of a table: means ± one deviation over seeds.

    Args:
        records: Of the table.
        results: A figure for each, with a panel for each setting; one figure
            if there is one setting.
        after: Key of `measures.AFTER`: of which outputs.
    """
    chosen = [record for record in records if record.after == after]
    settings = {
        arms.describe_setting(setting): {
            name.removesuffix(f", {measures.AFTER[after]}"): runs
            for name, runs in arms.by_arm(group).items()
        }
        for setting, group in arms.by_setting(chosen).items()
    }
    shared, own = _split_titles(list(settings))
    found = [each for each in map(measures.find, results) if _has(chosen, each)]
    if found and len(settings) == 1:
        (runs,) = settings.values()
        panels = [Panel(each.heading, runs, each) for each in found]
        yield "bars", draw_panels(panels, shared)
        return
    for each in found:
        title = f"{each.heading}: {shared}" if shared else each.heading
        panels = [
            Panel(words, runs, each)
            for words, runs in zip(own, settings.values(), strict=True)
        ]
        yield each.name, draw_panels(panels, title)


def _has(records: Sequence[Record], measure: measures.Measure) -> bool:
    missing = [np.isnan(each.value(measure.name)) for each in records]
    if any(missing):
        logging.info(
            "Skipped %s: %d of %d runs lack it.",
            *(measure.heading, sum(missing), len(missing)),
        )
    return bool(missing) and not any(missing)


def _split_titles(titles: Sequence[str]) -> tuple[str, list[str]]:
    """Returns what all titles have in common, and the rest of each."""
    parts = [title.split(", ") for title in titles]
    shared = (
        [part for part in parts[0] if all(part in each for each in parts)]
        if parts
        else []
    )
    rest = [
        ", ".join(part for part in each if part not in shared) for each in parts
    ]
    return ", ".join(shared), rest


def draw_panels(panels: Sequence[Panel], title: str) -> common.Figure:
    """Draws panels, in two rows if many, with the same arms top to bottom."""
    arms_of = [name for each in panels for name in each.runs]
    names, note = _shorten(list(dict.fromkeys(arms_of)))
    rows = 1 if len(panels) <= _MOST_IN_A_ROW else 2
    columns = math.ceil(len(panels) / rows)
    width = max(map(len, names.values())) / _NAMES + (_PANEL + 0.5) * columns
    seeds = [list(runs) for each in panels for runs in each.runs.values()]
    title = textwrap.fill(title, int(_LARGE * width))
    title += f"\nmean ± deviation over {common.count_seeds(seeds)}{note}"
    headings = [
        textwrap.fill(each.title, int(_SMALL * _PANEL)) for each in panels
    ]
    lines = title.count("\n") + max(each.count("\n") for each in headings)
    height = 0.5 + 0.2 * lines + 0.23 * len(names)
    figure = common.new_figure(width, 1.0 + rows * height)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, panel, heading in zip(grid.flat, panels, headings, strict=False):
        _draw_panel(axes, panel, names)
        axes.set_title(heading, fontsize="small")
    # Shared: the first arm is at the top.
    grid[0, 0].invert_yaxis()
    common.add_legend(grid[0, 0], columns=2)
    figure.suptitle(title, fontsize="medium")
    return figure


def _shorten(names: Sequence[str]) -> tuple[dict[str, str], str]:
    """Returns arms with a star for what several end with, and what it means."""
    short = {name: name for name in names}
    endings = collections.Counter(
        name[name.index(_DECAY) :] for name in names if _DECAY in name
    )
    for ending, count in endings.most_common(1):
        if count > 1:
            short |= {
                name: f"{name.removesuffix(ending)} *"
                for name in names
                if name.endswith(ending)
            }
            return short, f"; *{ending.removeprefix(',')}"
    return short, ""


def _draw_panel(
    axes: matplotlib.axes.Axes, panel: Panel, names: Mapping[str, str]
) -> None:
    order = list(names)
    places = [order.index(name) for name in panel.runs]
    scale = panel.measure.scale
    digits = 1 if panel.measure.unit == "%" else 3
    values = [
        scale * np.array([each.value(panel.measure.name) for each in runs])
        for runs in (by_seed.values() for by_seed in panel.runs.values())
    ]
    spreads = [seed_statistics.spread(each) for each in values]
    axes.barh(
        places,
        [each.mean for each in spreads],
        xerr=np.nan_to_num([each.deviation for each in spreads]),
        color=[_color(name) for name in panel.runs],
        capsize=2,
        height=0.7,
    )
    for place, each, spread in zip(places, values, spreads, strict=True):
        axes.text(
            *(1.02, place, f"{spread.mean:.{digits}f}"),
            transform=axes.get_yaxis_transform(),
            verticalalignment="center",
            fontsize="x-small",
        )
        (dots,) = axes.plot(each, [place] * len(each), "k.", markersize=2)
    dots.set_label("one seed")
    null = _NULLS.get(panel.measure.name)
    if null is not None:
        axes.plot(
            [
                scale * np.mean([each.value(null) for each in runs.values()])
                for runs in panel.runs.values()
            ],
            places,
            linestyle="",
            marker="|",
            markersize=9,
            markeredgewidth=2,
            color="black",
            label="calibrated predictions (null ECE)",
        )
    axes.set_yticks(range(len(names)), names.values(), fontsize="small")
    # Bars begin at an end, where all point the same way.
    if min(each.mean for each in spreads) >= 0:
        axes.set_xlim(left=0)
    elif max(each.mean for each in spreads) <= 0:
        axes.set_xlim(right=0)
    axes.grid(axis="x", **common.GRID)
    axes.set_axisbelow(True)


def _color(name: str) -> str:
    """Returns one color for arms that mix, and one for others."""
    unmixed = ("no mixup", "label smoothing", "ERL", "dropout", "noise")
    return common.BLUE if name.startswith(unmixed) else common.ORANGE
