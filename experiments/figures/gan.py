"""Figure 5 of mixup (1710.09412): what generators draw, as they learn."""

from collections.abc import Iterator
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from experiments.analysis.arms import Arm
from experiments.figures import methods
from experiments.figures.methods import Setting
from experiments.papers import mixup_claims as paper
from experiments.runs import atomic_files
from experiments.runs import gan
from experiments.runs import run_files

if TYPE_CHECKING:
    import matplotlib.figure

ARMS = (paper.NO_MIXUP, Arm("mixup", {"method": "mixup"}))
# Half a side of the picture.
REACH = 1.5


def draw(setting: Setting) -> Iterator[tuple[str, "matplotlib.figure.Figure"]]:
    """Draws the first seed's samples, a row a method, a column a snapshot.

    Args:
        setting: Complete runs of one target.

    Yields:
        figure: A file's name without its suffix, and the figure.
    """
    rows = {}
    for method in setting.find(*ARMS):
        path = run_files.check_file(method.folders[0] / gan.SAMPLES)
        rows[method.name] = atomic_files.read_npz(path)
        modes = gan.MODES[method.records[0].config.dataset]
    if rows:
        yield "samples", draw_samples(rows, modes)


def draw_samples(
    rows: Mapping[str, Mapping[str, np.ndarray]], modes: np.ndarray
) -> "matplotlib.figure.Figure":
    """Draws samples over the modes of their target.

    Args:
        rows: Name of a method -> iterations -> samples `(S, 2)`.
        modes: `(M, 2)`.

    Returns:
        figure: A panel for each method and number of iterations.
    """
    import matplotlib.figure

    columns = max(len(samples) for samples in rows.values())
    figure = matplotlib.figure.Figure(
        figsize=(0.6 + 1.8 * columns, 0.4 + 1.9 * len(rows)),
        dpi=120,
        layout="constrained",
    )
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for panels, (name, samples) in zip(grid, rows.items(), strict=True):
        panels[0].set_ylabel(name)
        for axes, (iterations, points) in zip(
            panels, samples.items(), strict=False
        ):
            axes.scatter(*modes.T, s=24, color=methods.ORANGE)
            axes.scatter(*points.T, s=1, color=methods.BLUE, alpha=0.3)
            axes.set(
                xlim=(-REACH, REACH),
                ylim=(-REACH, REACH),
                aspect="equal",
                xticks=(),
                yticks=(),
            )
            axes.set_title(f"{int(iterations):,}", fontsize="medium")
    return figure
