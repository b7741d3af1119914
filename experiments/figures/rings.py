"""Figure 1b of mixup (1710.09412): confidence of networks in the plane."""

from collections.abc import Mapping

import numpy as np

from experiments.analysis import posthoc
from experiments.analysis.arms import Arm
from experiments.datasets import Splits
from experiments.figures import common
from experiments.papers import mixup_claims as paper
from experiments.runs import run_data
from experiments.runs import run_evaluation

ARMS = (
    paper.NO_MIXUP,
    Arm("mixup", {"method": "mixup", "alpha": 1.0}),
)
# The square that is drawn, and its pixels a side.
REACH = 1.6
PIXELS = 161
COLORS = {"outer ring": common.GREEN, "inner ring": common.ORANGE}


def draw(setting: common.Setting) -> common.Figures:
    """Draws the first seed's networks, side by side."""
    surfaces, splits = {}, None
    for method in setting.find(*ARMS):
        config = method.records[0].config
        network = posthoc.load_model(method.folders[0])
        logits = run_evaluation.predict_logits(network, _grid())
        odds = logits[:, 1] - logits[:, 0]
        surfaces[method.name] = 1 / (1 + np.exp(-np.float64(odds)))
        splits = run_data.load_splits(config, run_data.Sources())
    if splits is not None:
        yield "surface", draw_surfaces(surfaces, splits, setting.title)


def draw_surfaces(
    surfaces: Mapping[str, np.ndarray], splits: Splits, title: str
) -> common.Figure:
    """Draws probabilities of the inner ring, under the training points."""
    figure = common.new_figure(1.2 + 3.4 * len(surfaces), 3.8)
    row = figure.subplots(1, len(surfaces), squeeze=False)[0]
    points, labels = splits.train
    for axes, (name, surface) in zip(row, surfaces.items(), strict=True):
        image = axes.imshow(
            surface.reshape(PIXELS, PIXELS),
            extent=(-REACH, REACH, -REACH, REACH),
            origin="lower",
            cmap="Blues",
            vmin=0,
            vmax=1,
        )
        for label, (ring, color) in enumerate(COLORS.items()):
            chosen = points[labels == label]
            axes.scatter(*chosen.T, s=3, color=color, label=ring)
        axes.set_title(name, fontsize="medium")
        axes.set(xticks=(), yticks=())
    figure.colorbar(image, ax=list(row), label="p(inner ring)")
    common.add_legend(row[0], columns=2)
    figure.suptitle(f"{title}, training points", fontsize="medium")
    return figure


def _grid() -> np.ndarray:
    """Returns the square's points, row by row from below, `(P * P, 2)`."""
    side = np.linspace(-REACH, REACH, PIXELS, dtype=np.float32)
    x, y = np.meshgrid(side, side)
    return np.stack([x.ravel(), y.ravel()], axis=1)
