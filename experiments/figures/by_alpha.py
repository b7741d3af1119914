"""Fixed alphas beside a tuned one and the rivals, a panel for each data set."""

from collections.abc import Sequence

import matplotlib.axes
import numpy as np

from experiments.analysis import arms
from experiments.analysis import measures
from experiments.analysis.arms import Arm
from experiments.analysis.records import Record
from experiments.figures import common
from experiments.papers import tuning_claims as claims

MEASURES = ("test_ece", "test_nll", "test_accuracy")
COLUMNS = 4
# Arms that are lines, and how they are drawn.
LINES = (
    (claims.TUNED, {"color": common.ORANGE}),
    (claims.EARLY_STOPPING, {"color": common.GREEN, "linestyle": "--"}),
    (claims.SCALED, {"color": common.PURPLE, "linestyle": ":"}),
)
UNMIXED = "none"


def draw(records: Sequence[Record]) -> common.Figures:
    """Draws each measure against alpha, from the ledger."""
    settings = list(arms.by_setting(records).items())
    if settings:
        for name in MEASURES:
            yield name, draw_measure(settings, measures.find(name))


def draw_measure(
    settings: Sequence[tuple[tuple, list[Record]]], measure: measures.Measure
) -> common.Figure:
    """Draws a panel for each setting: means ± one deviation over seeds."""
    rows = -(-(len(settings) + 1) // COLUMNS)
    figure = common.new_figure(2.6 * COLUMNS, 2.3 * rows + 0.3)
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes, (setting, group) in zip(grid.flat, settings, strict=False):
        _draw_panel(axes, group, measure)
        axes.set_title(_title(setting), fontsize="small")
    for axes in grid.flat[len(settings) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set(ylabel=measure.heading)
    # The last place is free.
    grid.flat[-1].legend(
        *grid.flat[0].get_legend_handles_labels(),
        loc="center",
        fontsize="small",
        frameon=False,
    )
    # Of the trainings; what is applied to them may have been added later.
    trained = [
        arms.by_arm(record for record in group if not record.after)
        for _, group in settings
    ]
    seeds = common.count_seeds(
        list(runs) for by_arm in trained for runs in by_arm.values()
    )
    figure.suptitle(
        f"Test {measure.title}: mean ± deviation over {seeds}",
        fontsize="medium",
    )
    return figure


def _title(setting: tuple) -> str:
    """Returns the data set, and the share of wrong labels if there are any."""
    fields = dict(zip(arms.SETTING, setting, strict=True))
    title = arms.describe_dataset(fields["dataset"])
    if fields["corruption"]:
        title += f", {fields['corruption']:.0%} wrong labels"
    return title


def _draw_panel(
    axes: matplotlib.axes.Axes,
    records: Sequence[Record],
    measure: measures.Measure,
) -> None:
    """Draws fixed alphas as points, and the other arms as lines."""
    fixed = _by_alpha(records)
    names = [f"{alpha:g}" if alpha else UNMIXED for alpha in fixed]
    means, deviations = np.array(
        [_spread(runs, measure) for runs in fixed.values()]
    ).T
    axes.errorbar(
        range(len(names)),
        means,
        deviations,
        color=common.BLUE,
        marker="o",
        markersize=4,
        linewidth=1,
        label="fixed alpha",
    )
    for arm, style in LINES:
        runs = list(arms.select(records, arm).values())
        if runs:
            mean, deviation = _spread(runs, measure)
            axes.axhline(mean, label=arm.name, **style)
            axes.axhspan(
                mean - deviation,
                mean + deviation,
                color=style["color"],
                alpha=0.15,
                linewidth=0,
            )
    axes.set_xticks(range(len(names)), names)
    axes.set(xlabel="alpha")
    axes.grid(**common.GRID)
    if measure.better < 0 and measure.unit == "%":
        axes.set_ylim(bottom=0)


def _by_alpha(records: Sequence[Record]) -> dict[float, list[Record]]:
    """Returns the runs of each fixed alpha, 0 for no mixup, rising."""
    included = (arms.NO_MIXUP, Arm("fixed", claims.FIXED))
    groups: dict[float, list[Record]] = {}
    for record in records:
        if any(arm.includes(record) for arm in included):
            groups.setdefault(record.config.alpha, []).append(record)
    return dict(sorted(groups.items()))


def _spread(
    records: Sequence[Record], measure: measures.Measure
) -> tuple[float, float]:
    """Returns mean and deviation, as shown; 0 for one run."""
    values = measure.scale * np.array(
        [record.value(measure.name) for record in records]
    )
    return float(values.mean()), float(values.std(ddof=1 % len(values)))
