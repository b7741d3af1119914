"""Figure 5 of mixup (1710.09412): samples of generators during training."""

from collections.abc import Mapping

import numpy as np

from experiments.analysis.arms import Arm
from experiments.figures import common
from experiments.papers import mixup_claims as paper
from experiments.runs import atomic_files
from experiments.runs import gan
from experiments.runs import run_files

ARMS = (
    paper.NO_MIXUP,
    paper.MIXUP_GAN,
    Arm("any two points mixed", {"method": "mixup", "gan_pairs": "any"}),
)
# Half a side of the picture.
REACH = 1.5


def draw(setting: common.Setting) -> common.Figures:
    """Draws samples of the first seed: a row per method, a column per step."""
    rows = {}
    for method in setting.find(*ARMS):
        path = run_files.check_file(method.folders[0] / gan.SAMPLES)
        rows[method.name] = atomic_files.read_npz(path)
        modes = gan.MODES[method.records[0].config.dataset]
    if rows:
        yield "samples", draw_samples(rows, modes)


def draw_samples(
    rows: Mapping[str, Mapping[str, np.ndarray]], modes: np.ndarray
) -> common.Figure:
    """Draws samples over the modes of their target."""
    columns = max(len(samples) for samples in rows.values())
    figure = common.new_figure(0.6 + 1.8 * columns, 0.4 + 1.9 * len(rows))
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for panels, (name, samples) in zip(grid, rows.items(), strict=True):
        panels[0].set_ylabel(name)
        for axes, (iterations, points) in zip(
            panels, samples.items(), strict=False
        ):
            axes.scatter(*modes.T, s=24, color=common.ORANGE, label="target")
            axes.scatter(
                *points.T, s=1, color=common.BLUE, alpha=0.3, label="samples"
            )
            axes.set(
                xlim=(-REACH, REACH),
                ylim=(-REACH, REACH),
                aspect="equal",
                xticks=(),
                yticks=(),
            )
            axes.set_title(f"{int(iterations):,} iterations", fontsize="small")
    common.add_legend(grid[0, 0], columns=2)
    return figure
