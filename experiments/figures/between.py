"""Figure 2 of mixup (1710.09412): networks between two training images.

Drawn from the ledger: networks are measured when they are collected.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from experiments.analysis import arms
from experiments.analysis import interpolation
from experiments.analysis import measures
from experiments.analysis.records import Record
from experiments.figures import methods
from experiments.papers import mixup_claims as paper

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

STYLES: tuple[tuple[arms.Arm, str], ...] = (
    (paper.NO_MIXUP_BETWEEN, methods.BLUE),
    (paper.MIXUP_BETWEEN, methods.ORANGE),
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


def draw(
    records: Sequence[Record],
) -> Iterator[tuple[str, "matplotlib.figure.Figure"]]:
    """Draws misses and slopes on the way, a figure for each setting.

    Args:
        records: Of the ledger; all of one table.

    Yields:
        figure: Its name and the figure; none where nothing was measured.
    """
    for group in arms.by_setting(records).values():
        if any(record.after == "between" for record in group):
            config = group[0].config
            name = f"{config.dataset}-{config.network}"
            yield f"{name}-between", draw_between(group, name)


def draw_between(
    records: Sequence[Record], title: str
) -> "matplotlib.figure.Figure":
    """Draws one setting: means, and bands of one deviation over seeds.

    Args:
        records: Of one setting.
        title: Names it.

    Returns:
        figure: Misses beside slopes.
    """
    import matplotlib.figure

    figure = matplotlib.figure.Figure(
        figsize=(7.2, 3.8), dpi=120, layout="constrained"
    )
    row = figure.subplots(1, 2)
    for axes, (result, label) in zip(row, PANELS.items(), strict=True):
        for arm, color in STYLES:
            runs = list(arms.select(records, arm).values())
            if runs:
                _draw_band(axes, runs, result, label=arm.name, color=color)
        axes.set(xlabel="lam", ylabel=label, xlim=(0, 0.5))
        axes.set_ylim(bottom=0)
        axes.grid(color="#dddddd", linewidth=0.6)
    for arm, color in STYLES:
        options: dict[str, Any] = {"color": color, "linestyle": ":"}
        row[0].plot(
            interpolation.LAMS,
            PRINTED[arm.name],
            label=f"{arm.name}, in the paper",
            **options,
        )
    figure.legend(
        *row[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        fontsize="small",
    )
    figure.suptitle(f"{title}, between its training images", fontsize="medium")
    return figure


def _draw_band(
    axes: "matplotlib.axes.Axes",
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
    methods.draw_band(axes, interpolation.LAMS, values, **options)
